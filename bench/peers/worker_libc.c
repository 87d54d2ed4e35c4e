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

static void crowd_fork(void)
{
    pid_t pids[WORKER_CROWD];
    for (int i = 0; i < WORKER_CROWD; i++) {
        pids[i] = fork();
        bench_check(pids[i] >= 0, "not forked");
        if (pids[i] == 0)
            _exit(0);
    }
    for (int i = 0; i < WORKER_CROWD; i++)
        collect(pids[i]);
}

/* This very program, executed anew, which ends at once: what a process that is spawned costs at least. */
static void cycle_self(void)
{
    char *const arguments[] = {"worker_libc", "--nothing", NULL}, *const environment[] = {NULL};
    pid_t pid;
    bench_check(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, environment) == 0,
                "not spawned");
    collect(pid);
}

static worker_cycle *const thread = cycle_thread, *const process = cycle_fork,
                           *const program = cycle_spawn, *const self = cycle_self,
                           *const many = crowd_fork;

static const struct bench_subject table[] = {
    BENCH_SUBJECT("thread_start", "pthread", worker_start, &thread, 0),
    BENCH_SUBJECT("process_start", "fork", worker_start, &process, 0),
    BENCH_INFO("process_start", "posix_spawn true", worker_start, &program, 0),
    BENCH_SUBJECT("process_spawn", "posix_spawn self", worker_start, &self, 0),
    BENCH_INFO("process_spawn", "posix_spawn true", worker_start, &program, 0),
    BENCH_SUBJECT("process_start_memory/10", "fork", worker_start, &process, 10),
    BENCH_SUBJECT("process_start_memory/10", "posix_spawn self", worker_start, &self, 10),
    BENCH_SUBJECT("process_start_memory/1024", "fork", worker_start, &process, 1024),
    BENCH_SUBJECT("process_start_memory/1024", "posix_spawn self", worker_start, &self, 1024),
    BENCH_SUBJECT("process_crowd", "fork", worker_start, &many, 0),
    {0},
};

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--nothing") == 0)
        return 0;
    return bench_main(argc, argv, table);
}
