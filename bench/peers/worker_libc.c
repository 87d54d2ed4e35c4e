/* pthread_create + pthread_join, fork + waitpid, and for information posix_spawn of /bin/true,
 * beside plait_start and plait_join. Needs: libc6-dev */
#include "worker_shape.h"

#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

static void *nothing(void *arg)
{
    return arg;
}

static void cycle_thread(void)
{
    pthread_t worker;
    bench_check(pthread_create(&worker, NULL, nothing, NULL) == 0, "not started");
    pthread_join(worker, NULL);
}

static void collect(pid_t pid)
{
    int status;
    bench_check(waitpid(pid, &status, 0) == pid && status == 0, "the child failed");
}

static void cycle_fork(void)
{
    pid_t pid = fork();
    bench_check(pid >= 0, "not forked");
    if (pid == 0)
        _exit(0);
    collect(pid);
}

static void cycle_spawn(void)
{
    char *const arguments[] = {"true", NULL}, *const environment[] = {NULL};
    pid_t pid;
    bench_check(posix_spawn(&pid, "/bin/true", NULL, NULL, arguments, environment) == 0,
                "not spawned");
    collect(pid);
}

static worker_cycle *const thread = cycle_thread, *const process = cycle_fork,
                           *const program = cycle_spawn;

static const struct bench_subject table[] = {
    BENCH_SUBJECT("thread_start", "pthread", worker_start, &thread, 0),
    BENCH_SUBJECT("process_start", "fork", worker_start, &process, 0),
    BENCH_INFO("process_start", "posix_spawn true", worker_start, &program, 0),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
