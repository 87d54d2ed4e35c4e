/* A library that the test of the start methods loads at run time, and one that starts a thread before main, if it is
 * told to. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((visibility("default"))) int library_function(void *arg);
int library_function(void *arg)
{
    *(int *)arg = 4711;
    return 11;
}

static void *stay(void *unused)
{
    for (;;)
        pause();
    return unused;
}

__attribute__((constructor)) static void begin(void)
{
    pthread_t thread;
    if (getenv("PLAIT_TEST_THREAD"))
        pthread_create(&thread, NULL, stay, NULL);
}
