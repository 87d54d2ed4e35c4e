/* Forks wait while a program is being started.
 *
 * Naive: make a pipe, start the program, close its end here. Its race: another thread forks in between; that child, a worker
 * say, has the end as well, and the reader waits for the end of a program that has long ended. (An exec closes it, a
 * fork does not.) Cure: starters are counted, and fork() waits until there is none and lets none begin. Facts:
 *   1 a starter behind the gate waits for nothing but the kernel's exec: it makes pipes, the child, and closes its ends;
 *   2 it takes no lock that a fork takes before: what needs one (the lifeline) is had before the gate;
 *   3 the child itself is not made by fork(), which would wait for its own starter. */
#include "base/at_fork.h"
#include "program/program_internal.h"

static PL_WRITTEN_AT_FORK pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static PL_WRITTEN_AT_FORK pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
/* Threads that start a program, that want to fork. Under gate, which a fork holds while it takes place. */
static PL_WRITTEN_AT_FORK unsigned inside, forking;

void pl_gate_enter(void)
{
    pthread_mutex_lock(&gate);
    while (forking > 0)
        pthread_cond_wait(&changed, &gate);
    inside++;
    pthread_mutex_unlock(&gate);
}

void pl_gate_leave(void)
{
    pthread_mutex_lock(&gate);
    if (--inside == 0 && forking > 0)
        pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&gate);
}

static void before_fork(void)
{
    pthread_mutex_lock(&gate);
    forking++;
    while (inside > 0)
        pthread_cond_wait(&changed, &gate);
}

static void in_parent(void)
{
    forking--;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&gate);
}

static void in_child(void)
{
    forking = 0; /* others that wanted to fork are not there */
    changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    pthread_mutex_unlock(&gate);
}

/* After that of port/spawn.c: who is inside may be about to take its lock, so a fork waits here first. */
__attribute__((constructor(105))) static void guard_forks(void)
{
    pthread_atfork(before_fork, in_parent, in_child);
}
