/* Memory with a name: two programs, neither started by the other, share a counter and an event.
 *
 * Try:  31_named_memory one            in one terminal, and in another
 *       31_named_memory two
 *       31_named_memory                starts both itself
 *
 * Both do the same but for who fires the gun. Whoever comes first makes the segment; zeroed, all in it is
 * ready for use, so nobody has to prepare anything. It is gone with the last of them, killed or not. */
#include <plait/plait.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { ROUNDS = 1000 };

struct shared {
    plait_value counter;
    plait_event gun;
    plait_event done[2]; /* of "one" and "two" */
};

static void check(const char *what, int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, plait_strerror(rc));
    _Exit(1);
}

static int run(int who)
{
    static plait_shm shm;
    plait_shm_options options = {.unlink_with_last = 1, .version = 1};
    int64_t sum;

    check("create", plait_shm_create(&shm, "example", sizeof(struct shared), &options));
    struct shared *s = plait_shm_address(&shm);

    if (who == 0)
        check("wait", plait_event_wait(&s->gun, PLAIT_FOREVER));
    else
        check("set", plait_event_set(&s->gun));
    for (int i = 0; i < ROUNDS; i++)
        check("add", plait_value_add(&s->counter, 1, NULL));

    check("done", plait_event_set(&s->done[who]));
    check("wait", plait_event_wait(&s->done[!who], PLAIT_FOREVER));
    check("get", plait_value_get(&s->counter, &sum));
    if (who == 1)
        printf("two programs counted to %ld\n", (long)sum);
    check("detach", plait_shm_detach(&shm));
    return 0;
}

static int run_both(void)
{
    char *arguments[2][3] = {{"31_named_memory", "one", NULL}, {"31_named_memory", "two", NULL}};
    extern char **environ;
    pid_t pids[2];
    int status, failed = 0;
    for (int i = 0; i < 2; i++)
        check("spawn", -posix_spawn(&pids[i], "/proc/self/exe", NULL, NULL, arguments[i], environ));
    for (int i = 0; i < 2; i++)
        failed |= waitpid(pids[i], &status, 0) != pids[i] || status != 0;
    return failed;
}

int main(int argc, char **argv)
{
    check("plait_init", plait_init(&argc, &argv));
    if (argc == 2)
        return run(strcmp(argv[1], "two") == 0);
    return run_both();
}
