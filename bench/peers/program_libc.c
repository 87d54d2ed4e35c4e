/* posix_spawn, vfork with execve, fork with execve, each with waitpid, beside plait_run_program. Needs: libc6-dev */
#include "program_shape.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

static char *const arguments[] = {(char *)"true", NULL};

static void collect(pid_t pid)
{
    int status;
    bench_check(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "the program failed");
}

static void cycle_spawn(void)
{
    pid_t pid;
    bench_check(posix_spawn(&pid, "/bin/true", NULL, NULL, arguments, environ) == 0, "not spawned");
    collect(pid);
}

static void cycle_vfork(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execve("/bin/true", arguments, environ);
        _exit(127);
    }
    collect(pid);
}

static void cycle_fork(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        execve("/bin/true", arguments, environ);
        _exit(127);
    }
    collect(pid);
}

static program_cycle *const spawn = cycle_spawn, *const by_vfork = cycle_vfork,
                            *const by_fork = cycle_fork;

static const struct bench_subject table[] = {
    PROGRAM_CASES("posix_spawn", spawn),
    PROGRAM_CASES("vfork", by_vfork),
    PROGRAM_CASES("fork", by_fork),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
