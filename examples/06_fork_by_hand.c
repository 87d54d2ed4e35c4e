/* fork() by hand: it returns twice, and the library works on both sides.
 *
 * Try:  06_fork_by_hand
 *
 * plait_start(.., PLAIT_PROCESS, ..) is the way to make processes. A program may call fork() all the same, even with
 * threads running. The child is a new worker of the family: it has a pid of its own and its parent's as getppid(), sees the
 * arena, locks the same locks, and may start workers. What lies in private memory is a copy. docs/internals/fork.md has the whole list. */
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct shared {
    plait_lock lock;
    long sum;
    plait_event hello;
    pid_t child, childs_parent;
};

static int private_number = 1;

static void check(const char *what, int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, plait_strerror(rc));
    _Exit(1);
}

static int add(void *arg)
{
    struct shared *shared = arg;
    for (int i = 0; i < 1000; i++)
        PLAIT_WITH(&shared->lock)
            shared->sum++;
    return 0;
}

/* A thread and a process, on each side of the fork. */
static void work(struct shared *shared)
{
    plait_worker w[2];
    check("plait_start", plait_start(&w[0], PLAIT_THREAD, add, shared, NULL));
    check("plait_start", plait_start(&w[1], PLAIT_PROCESS, add, shared, NULL));
    check("plait_join", plait_join(w[0], NULL, PLAIT_FOREVER));
    check("plait_join", plait_join(w[1], NULL, PLAIT_FOREVER));
}

static _Noreturn void be_the_child(struct shared *shared)
{
    private_number++; /* its own copy */
    shared->child = getpid();
    shared->childs_parent = getppid();
    check("plait_event_set", plait_event_set(&shared->hello));
    work(shared);
    exit(7);
}

int main(int argc, char **argv)
{
    check("plait_init", plait_init(&argc, &argv));
    struct shared *shared = plait_alloc(sizeof *shared);
    check("plait_alloc", shared ? 0 : plait_last_error());
    fflush(stdout); /* or what is in its buffer would be printed twice */

    pid_t pid = fork();
    if (pid == 0)
        be_the_child(shared);
    check("fork", pid < 0 ? PLAIT_EAGAIN : 0);

    check("plait_event_wait", plait_event_wait(&shared->hello, PLAIT_FOREVER));
    printf("fork returned 0 in the child, and in the parent %s\n",
           pid == shared->child ? "the child's pid" : "something else");
    printf("the child's parent is %s\n",
           shared->childs_parent == getpid() ? "this one" : "another");
    work(shared);
    int status;
    waitpid(pid, &status, 0);
    printf("the child has exited with %d\n", WEXITSTATUS(status));
    printf("both sides have added to one sum: %ld\n", shared->sum);
    printf("private memory was copied: %d\n", private_number);
    return 0;
}
