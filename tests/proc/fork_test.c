/* fork() in the program's own code: the child is a new worker of the family. */
#include "program.h"

#include "park/park.h"
#include "registry/registry.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the arena; what the processes of a test share. */
struct world {
    plait_lock lock;
    plait_event event;
    plait_condition changed;
    plait_semaphore slots;
    plait_worker self, subject;
    long sum;
    int go, ready, stop;
};

static struct world *new_world(void)
{
    struct world *w = plait_alloc(sizeof *w);
    CHECK(w != NULL);
    return w;
}

static int give_back(void *n)
{
    return (int)(intptr_t)n;
}

static int wait_for_event(void *world)
{
    struct world *w = world;
    return plait_event_wait(&w->event, PLAIT_FOREVER);
}

/* --- who it is --- */

static int look_at_oneself(void *world)
{
    struct world *w = world;
    plait_worker self = plait_self();
    char name[PLAIT_NAME_SIZE];
    CHECK(self.slot != 0 && !plait_same(self, w->self));
    CHECK_EQ(plait_pid(self), getpid());
    CHECK_EQ(plait_tid(self), gettid());
    CHECK_EQ(plait_kind_of(self), PLAIT_PROCESS);
    CHECK_EQ(plait_state(self), PLAIT_STATE_RUNNING);
    CHECK(plait_same(plait_parent(self), w->self));
    CHECK_RC(plait_name(self, name, sizeof name), 0);
    CHECK_EQ(plait_children(NULL, 0), 0);
    CHECK_EQ(plait_is_alive(w->self), 1);
    CHECK_EQ(plait_pid(w->self), getppid());
    CHECK(plait_enumerate(NULL, 0) >= 2);
    return 0;
}

static int a_forked_child_is_a_new_worker(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    w->self = plait_self();
    CHECK_EQ(t_in_fork(look_at_oneself, w), 0);
    CHECK(plait_same(plait_self(), w->self));
    CHECK_EQ(plait_children(NULL, 0), 0); /* plait did not start it */
    plait_worker threads = t_start_one(PLAIT_THREAD, wait_for_event, w);
    CHECK_EQ(t_in_fork(look_at_oneself, w), 0);
    plait_event_set(&w->event);
    CHECK_EQ(t_join_one(threads), 0);
    return 0;
}

static int fork_from_here(void *world)
{
    struct world *w = world;
    w->self = plait_self();
    return t_in_fork(look_at_oneself, w);
}

static int a_fork_in_a_worker_is_that_workers_child(void *unused)
{
    (void)unused;
    FOR_EACH_KIND(kind)
    CHECK_EQ(t_join_one(t_start_one(kind, fork_from_here, new_world())), 0);
    CHECK_EQ(t_in_pthread(fork_from_here, new_world()), 0);
    return 0;
}

static int fork_again(void *world)
{
    struct world *w = world;
    CHECK_EQ(look_at_oneself(w), 0);
    w->self = plait_self();
    return t_in_fork(look_at_oneself, w);
}

static int forks_of_forks_are_workers_too(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    w->self = plait_self();
    CHECK_EQ(t_in_fork(fork_again, w), 0);
    return 0;
}

static int children_that_never_used_plait_leave_no_entry(void *unused)
{
    (void)unused;
    plait_self();
    for (int i = 0; i < 20; i++)
        CHECK_EQ(t_in_fork(give_back, NULL), 0);
    CHECK_EQ(entries_in_use(), 1);
    return 0;
}

static int use_plait(void *world)
{
    struct world *w = world;
    PLAIT_WITH(&w->lock)
        w->sum++;
    void *block = plait_alloc(100);
    CHECK(block != NULL);
    CHECK_RC(plait_free(block), 0);
    return 0;
}

/* They do not sign off; the death of each is found and its entry given back. */
static int entries_of_forked_children_are_given_back(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    plait_arena_statistics before, after;
    CHECK_RC(plait_arena_stats(&before), 0);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(t_in_fork(use_plait, w), 0);
    CHECK_EQ(w->sum, 100);
    while (entries_in_use() > 1)
        plait_event_wait(&w->event, plait_ms(20));
    CHECK_RC(plait_arena_stats(&after), 0);
    CHECK_EQ(after.blocks, before.blocks);
    return 0;
}

/* --- what it may do --- */

static int start_of_its_own(void *world)
{
    struct world *w = world;
    FOR_EACH_KIND(kind)
    CHECK_EQ(t_join_one(t_start_one(kind, use_plait, w)), 0);
    CHECK_EQ(plait_children(NULL, 0), 0);
    CHECK(!t_has_children());
    return 0;
}

static int a_forked_child_starts_workers_of_its_own(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    plait_worker mine = t_start_one(PLAIT_PROCESS, wait_for_event, w);
    CHECK_EQ(t_in_fork(start_of_its_own, w), 0);
    CHECK_EQ(w->sum, 2);
    plait_event_set(&w->event);
    CHECK_EQ(t_join_one(mine), 0);
    return 0;
}

static int join_subject(void *world)
{
    struct world *w = world;
    plait_blame end;
    TELL(w->ready, 1);
    CHECK_RC(plait_join(w->subject, &end, PLAIT_FOREVER), 0);
    CHECK(plait_same(end.worker, w->subject));
    return end.status;
}

static int a_forked_child_joins_its_parents_workers_as_a_stranger(void *unused)
{
    (void)unused;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        w->subject = t_start_one(kind, wait_for_event, w);
        pid_t child = t_fork(join_subject, w);
        UNTIL(SEEN(w->ready));
        plait_event_set(&w->event);
        CHECK_EQ(t_reap(child), 0);
        CHECK_RC(plait_join(w->subject, NULL, PLAIT_NOWAIT), PLAIT_ESTALE);
    }
    UNTIL(plait_children(NULL, 0) == 0 && !t_has_children());
    return 0;
}

static int join_parent(void *world)
{
    struct world *w = world;
    CHECK_RC(plait_join(w->self, NULL, plait_ms(20)), PLAIT_ESTALE); /* as if detached */
    CHECK_RC(plait_cancel(w->self), 0);
    return 0;
}

static int a_forked_child_may_cancel_its_parent(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    w->self = plait_self();
    CHECK_EQ(t_in_fork(join_parent, w), 0);
    CHECK_RC(plait_event_wait(&w->event, PLAIT_FOREVER), PLAIT_ECANCELED);
    return 0;
}

static int see_no_request(void *world)
{
    struct world *w = world;
    CHECK_EQ(plait_cancelling(), 0);
    CHECK_RC(plait_checkpoint(), 0);
    CHECK_RC(plait_event_wait(&w->event, plait_ms(5)), PLAIT_ETIMEDOUT);
    return 0;
}

static int a_request_to_the_parent_is_not_one_to_the_child(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    CHECK_RC(plait_cancel(plait_self()), 0);
    CHECK_EQ(t_in_fork(see_no_request, w), 0);
    CHECK_EQ(plait_cancelling(), 1);
    CHECK_RC(plait_checkpoint(), PLAIT_ECANCELED);
    return 0;
}

/* --- what it inherits --- */

static plait_lock private_lock;

static int take_copied_lock(void *unused)
{
    (void)unused;
    CHECK_RC(plait_lock_acquire(&private_lock, plait_seconds(20)), PLAIT_OWNER_DIED);
    CHECK_RC(plait_lock_release(&private_lock), 0);
    CHECK_RC(plait_lock_acquire(&private_lock, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_lock_release(&private_lock), 0);
    return 0;
}

static int a_private_lock_copied_while_held_is_not_held_for_ever(void *unused)
{
    (void)unused;
    CHECK_RC(plait_lock_acquire(&private_lock, PLAIT_FOREVER), 0);
    CHECK_EQ(t_in_fork(take_copied_lock, NULL), 0);
    CHECK_EQ(plait_lock_locked(&private_lock), 1);
    CHECK_RC(plait_lock_release(&private_lock), 0);
    return 0;
}

static int try_shared_lock(void *world)
{
    struct world *w = world;
    CHECK_RC(plait_lock_acquire(&w->lock, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    CHECK(plait_same(plait_lock_holder(&w->lock), w->self));
    return 0;
}

static int a_shared_lock_that_the_parent_holds_is_not_the_childs(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    w->self = plait_self();
    CHECK_RC(plait_lock_acquire(&w->lock, PLAIT_FOREVER), 0);
    CHECK_EQ(t_in_fork(try_shared_lock, w), 0);
    CHECK_RC(plait_lock_release(&w->lock), 0);
    return 0;
}

static plait_event private_event;

static int wait_private(void *unused)
{
    (void)unused;
    return plait_event_wait(&private_event, PLAIT_FOREVER);
}

/* The child has its own copy of the event; the parent's sleepers are not in it. */
static int set_private(void *unused)
{
    (void)unused;
    CHECK_RC(plait_event_wait(&private_event, plait_ms(5)), PLAIT_ETIMEDOUT);
    plait_worker w = t_start_one(PLAIT_THREAD, wait_private, NULL);
    UNTIL_WAITS(w, PL_WAIT_EVENT);
    CHECK_RC(plait_event_set(&private_event), 0);
    return t_join_one(w);
}

static int sleepers_in_private_memory_stay_the_parents(void *unused)
{
    (void)unused;
    struct t_team team;
    t_start(&team, &t_private_threads, 4, wait_private, NULL);
    for (int i = 0; i < 4; i++)
        UNTIL_WAITS(team.workers[i], PL_WAIT_EVENT);
    CHECK_EQ(t_in_fork(set_private, NULL), 0);
    for (int i = 0; i < 4; i++)
        UNTIL_WAITS(team.workers[i], PL_WAIT_EVENT);
    CHECK_RC(plait_event_set(&private_event), 0);
    t_join(&team);
    return 0;
}

/* --- while threads are at it --- */

static int keep_busy(void *world)
{
    struct world *w = world;
    plait_lock mine = {0};
    for (int i = 0; !SEEN(w->stop); i++) {
        void *block = plait_alloc((size_t)(i % 50) * 100);
        CHECK(block != NULL);
        PLAIT_WITH(&w->lock)
            w->sum++;
        PLAIT_WITH(&mine)
            CHECK_RC(plait_free(block), 0);
        plait_event_wait(&w->event, 1000);
        PLAIT_WITH(&w->changed)
            plait_condition_notify(&w->changed, 1);
    }
    return 0;
}

static int keep_starting(void *world)
{
    struct world *w = world;
    while (!SEEN(w->stop))
        CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, give_back, (void *)5)), 5);
    return 0;
}

/* A sanitizer's own locks are not made for forks among threads that start and end. */
static void start_a_thread(void)
{
    if (!t_is_sanitized())
        CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, give_back, (void *)7)), 7);
}

static int use_all(void *world)
{
    struct world *w = world;
    CHECK_EQ(use_plait(w), 0);
    PLAIT_WITH(&w->changed)
        plait_condition_wait(&w->changed, plait_ms(1));
    start_a_thread();
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, give_back, (void *)8)), 8);
    return 0;
}

/* Whatever the threads were in the middle of, the child finds nothing locked. */
static int forks_among_busy_threads_are_safe(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    struct t_team busy, starters;
    t_start(&busy, &t_threads, 3, keep_busy, w);
    t_start(&starters, &t_threads, 1, keep_starting, w);
    for (long i = 0; i < t_scaled(t_is_sanitized() ? 30 : 200); i++)
        CHECK_EQ(t_in_fork(use_all, w), 0);
    TELL(w->stop, 1);
    t_join(&busy);
    t_join(&starters);
    CHECK(!t_has_children());
    return 0;
}

/* Threads that come to need the arena just as the process forks. */
static void *first_use(void *unused)
{
    (void)unused;
    void *block = plait_alloc(100);
    CHECK(block != NULL);
    CHECK_RC(plait_free(block), 0);
    return NULL;
}

static int use_in_child(void *unused)
{
    first_use(unused);
    start_a_thread();
    return 0;
}

static int make_and_fork(void *delay)
{
    pthread_t thread;
    CHECK(pl_arena == NULL);
    CHECK_EQ(pthread_create(&thread, NULL, first_use, NULL), 0);
    for (volatile intptr_t i = 0; i < (intptr_t)delay; i++)
        ;
    CHECK_EQ(t_in_fork(use_in_child, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    first_use(NULL);
    return 0;
}

static int a_fork_never_sees_the_arena_half_made(void *unused)
{
    (void)unused;
    for (intptr_t i = 0; i < t_scaled(100); i++)
        CHECK_EQ(t_in_fork(make_and_fork, (void *)(i * 1000)), 0);
    return 0;
}

/* --- other ways to make a process --- */

static int programs_executed_by_the_way_do_no_harm(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    char *arguments[] = {"true", NULL};
    CHECK_RC(plait_lock_acquire(&w->lock, PLAIT_FOREVER), 0);
    plait_worker waiter = t_start_one(PLAIT_PROCESS, wait_for_event, w);
    for (int i = 0; i < 20; i++) {
        pid_t pid;
        CHECK_EQ(posix_spawnp(&pid, "true", NULL, NULL, arguments, NULL), 0);
        CHECK_EQ(t_reap(pid), 0);
        pid = vfork();
        if (pid == 0)
            _exit(3);
        CHECK_EQ(t_reap(pid), 3);
        CHECK_EQ(system("exit 5") >> 8, 5);
    }
    CHECK(plait_same(plait_lock_holder(&w->lock), plait_self()));
    CHECK_RC(plait_lock_release(&w->lock), 0);
    CHECK_EQ(plait_is_alive(plait_self()), 1);
    plait_event_set(&w->event);
    CHECK_EQ(t_join_one(waiter), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROGRAM(a_forked_child_is_a_new_worker),
        PROGRAM(a_fork_in_a_worker_is_that_workers_child),
        PROGRAM(forks_of_forks_are_workers_too),
        PROGRAM(children_that_never_used_plait_leave_no_entry),
        PROGRAM(entries_of_forked_children_are_given_back),
        PROGRAM(a_forked_child_starts_workers_of_its_own),
        PROGRAM(a_forked_child_joins_its_parents_workers_as_a_stranger),
        PROGRAM(a_forked_child_may_cancel_its_parent),
        PROGRAM(a_request_to_the_parent_is_not_one_to_the_child),
        PROGRAM(a_private_lock_copied_while_held_is_not_held_for_ever),
        PROGRAM(a_shared_lock_that_the_parent_holds_is_not_the_childs),
        PROGRAM(sleepers_in_private_memory_stay_the_parents),
        PROGRAM(forks_among_busy_threads_are_safe),
        PROGRAM(a_fork_never_sees_the_arena_half_made),
        PROGRAM(programs_executed_by_the_way_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
