/* pthread_once beside plait_once. Needs: libc6-dev */
#include "once_shape.h"

#include <pthread.h>

static void nothing(void)
{
}

static void call(void *once)
{
    pthread_once(once, nothing);
}

static void *make(bool shared)
{
    (void)shared; /* it cannot be */
    pthread_once_t *once = bench_private(sizeof *once), fresh = PTHREAD_ONCE_INIT;
    *once = fresh;
    call(once);
    return once;
}

ONCE_KIND(posix, make, call)

static const struct bench_subject table[] = {
    BENCH_SUBJECT("once_done", "pthread", once_done, &posix, 0),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
