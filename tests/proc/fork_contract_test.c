/* The fork contract (docs/internals/fork.md): what a child has that the program forks itself, with threads running in its
 * parent. What single primitives do is in their unit tests too; here the parent is busy with all of it. */
#include "program.h"

#include "park/park.h"
#include "port/process.h"
#include "registry/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONG plait_seconds(T_PATIENCE_S / 2)

/* In the arena. */
struct world {
    plait_lock lock;
    plait_event event, pulse;
    plait_condition changed;
    plait_semaphore slots;
    plait_barrier barrier;
    plait_worker self, subject;
    long sum;
    int go, ready, stop, children;
    pid_t pids[8];
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

static int stand_still(void *unused)
{
    (void)unused;
    while (pause())
        ;
    return 0;
}

static int wait_for_event(void *world)
{
    struct world *w = world;
    return plait_event_wait(&w->event, PLAIT_FOREVER);
}

/* --- a parent that is busy with everything --- */

static int keep_memory_and_locks_busy(void *world)
{
    struct world *w = world;
    plait_lock mine = {0};
    while (!SEEN(w->stop)) {
        void *block = plait_alloc(300);
        CHECK(block != NULL);
        PLAIT_WITH(&w->lock)
            w->sum++;
        PLAIT_WITH(&mine)
            CHECK_RC(plait_free(block), 0);
        PLAIT_WITH(&w->changed)
            plait_condition_notify_all(&w->changed);
        plait_event_set(&w->pulse);
        plait_event_clear(&w->pulse);
        COUNT(w->ready);
    }
    return 0;
}

static int sleep_on(void *world)
{
    struct world *w = world;
    while (!SEEN(w->stop))
        CHECK_RC(plait_sleep(plait_us(20)), 0);
    return 0;
}

static int listen_on(void *world)
{
    struct world *w = world;
    while (!SEEN(w->stop))
        plait_event_wait(&w->pulse, plait_us(100)); /* by the loop's ear */
    return 0;
}

static int help_on(void *world)
{
    struct world *w = world;
    int got;
    while (!SEEN(w->stop)) {
        CHECK_RC(plait_to_thread(give_back, (void *)6, &got, LONG), 0);
        CHECK_EQ(got, 6);
    }
    return 0;
}

static int talk_on(void *world)
{
    struct world *w = world;
    plait_stream *a, *b;
    char c;
    CHECK_RC(plait_stream_pair(&a, &b), 0);
    while (!SEEN(w->stop)) {
        CHECK_RC(plait_write(a, "x", 1, NULL, LONG), 0);
        CHECK_EQ(plait_read(b, &c, 1, LONG), 1);
        plait_yield();
    }
    CHECK_RC(plait_stream_close(a), 0);
    return plait_stream_close(b);
}

static int run_tasks(void *world)
{
    plait_function *const all[] = {sleep_on, listen_on, help_on, talk_on, sleep_on};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        t_start_one(PLAIT_TASK, all[i], world);
    return 0;
}

static int keep_a_loop_busy(void *world)
{
    return plait_run(run_tasks, world);
}

static int keep_starting(void *world)
{
    struct world *w = world;
    for (int i = 0; !SEEN(w->stop); i++)
        CHECK_EQ(
            t_join_one(t_start_one(i % 8 ? PLAIT_THREAD : PLAIT_PROCESS, give_back, (void *)5)), 5);
    return 0;
}

static int double_item(const void *in, void *out)
{
    *(int *)out = 2 * *(const int *)in;
    return 0;
}

static int map_once(int kind)
{
    plait_pool *pool;
    int *in = plait_alloc(64 * sizeof *in), *out = plait_alloc(64 * sizeof *out);
    for (int i = 0; i < 64; i++)
        in[i] = i;
    CHECK_RC(plait_pool_open(&pool, kind, 2, NULL), 0);
    plait_map_call call = {.fn = double_item,
                           .in = in,
                           .in_size = sizeof *in,
                           .out = out,
                           .out_size = sizeof *out,
                           .n = 64};
    CHECK_RC(plait_map_items(pool, &call, LONG), 0);
    for (int i = 0; i < 64; i++)
        CHECK_EQ(out[i], 2 * i);
    CHECK_RC(plait_pool_close(pool, LONG), 0);
    CHECK_RC(plait_free(in), 0);
    return plait_free(out);
}

static int map_on(void *world)
{
    struct world *w = world;
    while (!SEEN(w->stop))
        CHECK_RC(map_once(PLAIT_THREAD), 0);
    return 0;
}

static int spawn_on(void *world)
{
    struct world *w = world;
    char *arguments[] = {"true", NULL};
    while (!SEEN(w->stop)) {
        pid_t pid;
        CHECK_EQ(posix_spawnp(&pid, "true", NULL, NULL, arguments, NULL), 0);
        CHECK_EQ(t_reap(pid), 0);
    }
    return 0;
}

static void start_all(struct t_team *team, struct world *w)
{
    plait_function *const all[] = {
        keep_memory_and_locks_busy, keep_a_loop_busy, keep_starting, map_on, help_on, spawn_on};
    team->n = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        team->workers[team->n++] = t_start_one(PLAIT_THREAD, all[i], w);
}

/* --- and a child that does everything --- */

static int wait_for_child_event(void *world)
{
    struct world *w = world;
    return plait_event_wait(&w->event, LONG);
}

static int talk_a_little(void *unused)
{
    plait_stream *a, *b;
    char text[6];
    (void)unused;
    CHECK_RC(plait_stream_pair(&a, &b), 0);
    CHECK_RC(plait_write(a, "hello", 6, NULL, LONG), 0);
    CHECK_RC(plait_read_exactly(b, text, 6, NULL, LONG), 0);
    CHECK(strcmp(text, "hello") == 0);
    CHECK_RC(plait_stream_close(a), 0);
    return plait_stream_close(b);
}

static int sleep_a_little(void *unused)
{
    (void)unused;
    return plait_sleep(plait_us(200));
}

static int be_helped(void *unused)
{
    int got;
    (void)unused;
    CHECK_RC(plait_to_thread(give_back, (void *)6, &got, LONG), 0);
    return got;
}

/* The event is the child's own, in the arena: the loop hears of it by an ear, that is by another thread. */
static int do_all_in_tasks(void *mine)
{
    struct world *m = mine;
    plait_worker w[4];
    plait_blame ends[4];
    w[0] = t_start_one(PLAIT_TASK, talk_a_little, NULL);
    w[1] = t_start_one(PLAIT_TASK, sleep_a_little, NULL);
    w[2] = t_start_one(PLAIT_TASK, be_helped, NULL);
    w[3] = t_start_one(PLAIT_TASK, wait_for_child_event, m);
    CHECK_RC(plait_sleep(plait_us(100)), 0);
    CHECK_RC(plait_event_set(&m->event), 0);
    CHECK_RC(plait_gather(w, 4, ends, NULL, LONG), 0);
    CHECK_EQ(ends[2].status, 6);
    return 0;
}

static void do_all_without_tasks(struct world *w, struct world *mine)
{
    plait_lock private = {0};
    int pipe_ends[2];
    void *block = plait_alloc(5000);
    CHECK(block != NULL);
    PLAIT_WITH(&private)
        CHECK_RC(plait_free(block), 0);
    PLAIT_WITH(&w->lock) /* which the parent's threads take, too */
        w->children++;
    PLAIT_WITH(&w->changed) /* and notify */
        CHECK_RC(plait_condition_wait(&w->changed, LONG), 0);
    CHECK_EQ(pipe(pipe_ends), 0);
    CHECK_RC(plait_wait_fd(pipe_ends[0], POLLIN, plait_ms(1)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_cancel(plait_self()), 0);
    CHECK_RC(plait_event_wait(&mine->event, LONG), PLAIT_ECANCELED);
    PLAIT_TIMEOUT(plait_ms(1))
        CHECK_RC(plait_event_wait(&mine->event, LONG), PLAIT_ECANCELED);
    talk_a_little(NULL);
    CHECK_EQ(be_helped(NULL), 6);
}

static int do_all(void *world)
{
    struct world *w = world, *mine = new_world();
    do_all_without_tasks(w, mine);
    CHECK_RC(plait_run(do_all_in_tasks, mine), 0);
    FOR_EACH_KIND(kind)
    CHECK_EQ(t_join_one(t_start_one(kind, give_back, (void *)7)), 7);
    FOR_EACH_KIND(kind)
    CHECK_RC(map_once(kind), 0);
    plait_worker worker = t_start_one(PLAIT_PROCESS, stand_still, NULL);
    int fd = plait_sentinel(worker);
    CHECK(fd >= 0);
    CHECK_RC(plait_kill_tree(worker), 0);
    CHECK(plait_wait_fd(fd, POLLIN, LONG) > 0);
    CHECK_EQ(t_join_one(worker), -SIGKILL);
    close(fd);
    CHECK_EQ(plait_children(NULL, 0), 0);
    CHECK_RC(plait_free(mine), 0);
    exit(9); /* through all exit handlers */
}

static int a_child_forked_beside_all_of_it_can_do_all_of_it(void *unused)
{
    (void)unused;
    if (t_is_sanitized()) /* whose own locks are not made for it */
        return PROGRAM_SKIPPED;
    struct world *w = new_world();
    struct t_team team;
    start_all(&team, w);
    long n = t_scaled(40);
    for (long i = 0; i < n; i++)
        CHECK_EQ(t_in_fork(do_all, w), 9);
    TELL(w->stop, 1);
    t_join(&team);
    CHECK_EQ(w->children, n);
    CHECK(!t_has_children());
    return 0;
}

/* --- what others of the parent's threads hold, in private memory --- */

static struct {
    plait_lock lock, fair;
    plait_rlock rlock;
    plait_rwlock written, read;
    plait_pi_lock pi;
    plait_gil gil;
    plait_once once;
    plait_semaphore semaphore;
} own;

static int hold_until_told(void *world, int again)
{
    struct world *w = world;
    CHECK_EQ(again, 0);
    TELL(w->ready, 1);
    return plait_event_wait(&w->event, PLAIT_FOREVER);
}

static int hold_all(void *world)
{
    CHECK_RC(plait_lock_acquire(&own.lock, LONG), 0);
    CHECK_RC(plait_lock_acquire(&own.fair, LONG), 0);
    CHECK_RC(plait_rlock_acquire(&own.rlock, LONG), 0);
    CHECK_RC(plait_rwlock_acquire_write(&own.written, LONG), 0);
    CHECK_RC(plait_rwlock_acquire_read(&own.read, LONG), 0);
    CHECK_RC(plait_pi_lock_acquire(&own.pi, LONG), 0);
    CHECK_RC(plait_gil_acquire(&own.gil, LONG), 0);
    CHECK_RC(plait_once_call(&own.once, hold_until_told, world), 0);
    CHECK_RC(plait_gil_release(&own.gil), 0);
    CHECK_RC(plait_pi_lock_release(&own.pi), 0);
    CHECK_RC(plait_rwlock_release_read(&own.read), 0);
    CHECK_RC(plait_rwlock_release_write(&own.written), 0);
    CHECK_RC(plait_rlock_release(&own.rlock), 0);
    CHECK_RC(plait_lock_release(&own.fair), 0);
    return plait_lock_release(&own.lock);
}

static void expect_had(int rc)
{
    CHECK(rc == 0 || rc == PLAIT_OWNER_DIED);
}

static int run_here(void *ran, int again)
{
    (void)again;
    COUNT(*(int *)ran);
    return 0;
}

static int take_all(void *unused)
{
    (void)unused;
    int ran = 0;
    CHECK_RC(plait_lock_acquire(&own.lock, LONG), PLAIT_OWNER_DIED);
    expect_had(plait_lock_acquire(&own.fair, LONG));
    expect_had(plait_rlock_acquire(&own.rlock, LONG));
    expect_had(plait_rwlock_acquire_write(&own.written, LONG));
    expect_had(plait_rwlock_acquire_write(&own.read, LONG));
    expect_had(plait_pi_lock_acquire(&own.pi, LONG));
    expect_had(plait_gil_acquire(&own.gil, LONG));
    expect_had(plait_once_call(&own.once, run_here, &ran));
    CHECK_EQ(ran, 1); /* anew: who ran it is not here */
    CHECK_RC(plait_semaphore_acquire(&own.semaphore, plait_ms(1)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_semaphore_release(&own.semaphore, 1), 0);
    CHECK_RC(plait_semaphore_acquire(&own.semaphore, LONG), 0);
    return 0;
}

static int acquire_own_semaphore(void *unused)
{
    (void)unused;
    return plait_semaphore_acquire(&own.semaphore, PLAIT_FOREVER);
}

static int what_another_thread_holds_privately_is_to_be_had_in_the_child(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    plait_lock_init(&own.fair, &(plait_lock_options){.fair = true});
    plait_pi_lock_init(&own.pi);
    plait_gil_init(&own.gil, 0);
    plait_worker holder = t_start_one(PLAIT_THREAD, hold_all, w);
    plait_worker waiter = t_start_one(PLAIT_THREAD, acquire_own_semaphore, NULL);
    UNTIL(SEEN(w->ready));
    UNTIL_WAITS(waiter, PL_WAIT_SEMAPHORE);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(t_in_fork(take_all, NULL), 0);
    plait_event_set(&w->event);
    CHECK_EQ(t_join_one(holder), 0); /* to whom nothing has happened */
    CHECK_RC(plait_semaphore_release(&own.semaphore, 1), 0);
    CHECK_EQ(t_join_one(waiter), 0);
    return 0;
}

/* --- what they hold in the arena --- */

static int hold_shared(void *world)
{
    struct world *w = world;
    CHECK_RC(plait_lock_acquire(&w->lock, LONG), 0);
    TELL(w->ready, 1);
    CHECK_RC(plait_event_wait(&w->event, PLAIT_FOREVER), 0);
    return plait_lock_release(&w->lock);
}

static int wait_for_shared(void *world)
{
    struct world *w = world;
    CHECK_RC(plait_lock_acquire(&w->lock, plait_ms(1)), PLAIT_ETIMEDOUT);
    CHECK(plait_same(plait_lock_holder(&w->lock), w->subject));
    COUNT(w->children);
    CHECK_RC(plait_lock_acquire(&w->lock, LONG), 0);
    return plait_lock_release(&w->lock);
}

static int what_another_thread_holds_in_the_arena_stays_its_own(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    w->subject = t_start_one(PLAIT_THREAD, hold_shared, w);
    UNTIL_WAITS(
        w->subject,
        PL_WAIT_EVENT); /* not in the middle of a sanitizer's malloc, which a fork does not expect */
    pid_t child = t_fork(wait_for_shared, w);
    UNTIL(SEEN(w->children));
    plait_event_set(&w->event);
    CHECK_EQ(t_reap(child), 0);
    CHECK_EQ(t_join_one(w->subject), 0);
    return 0;
}

static int take_and_die(void *world)
{
    struct world *w = world;
    CHECK_RC(plait_lock_acquire(&w->lock, LONG), 0);
    raise(SIGKILL);
    return 0;
}

static int a_forked_child_that_dies_as_holder_is_named(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    plait_blame end;
    CHECK_EQ(t_in_fork(take_and_die, w), 1000 + SIGKILL);
    CHECK_RC(plait_lock_acquire(&w->lock, LONG), PLAIT_OWNER_DIED);
    CHECK_RC(plait_lock_blame(&w->lock, &end), 0);
    CHECK_EQ(end.kind, PLAIT_PROCESS);
    return plait_lock_release(&w->lock);
}

/* --- flows that the child has not --- */

static int count_on(void *world)
{
    struct world *w = world;
    while (!SEEN(w->stop)) {
        COUNT(w->sum);
        plait_sleep(plait_us(50));
    }
    return 0;
}

static int run_none_of_them(void *world)
{
    struct world *w = world;
    CHECK(plait_task_list(NULL, 0) <= 0);
    CHECK_RC(plait_join(w->subject, NULL, PLAIT_NOWAIT), PLAIT_EPRIVATE);
    CHECK_RC(plait_sleep(plait_ms(5)), 0); /* would let any run that is there */
    return 0;
}

static int fork_beside_tasks(void *world)
{
    struct world *w = world;
    w->subject = t_start_one(PLAIT_TASK, count_on, w);
    plait_sleep(plait_us(200));
    CHECK(w->sum > 0);
    pid_t child = t_fork(run_none_of_them, w);
    int status;
    long before = w->sum;
    while (waitpid(child, &status, WNOHANG) == 0) /* nobody of the parent gives way meanwhile */
        usleep(100);
    CHECK_EQ(status, 0);
    CHECK_EQ(w->sum, before);
    w->stop = 1;
    return t_join_one(w->subject);
}

static int tasks_and_their_timers_stay_the_parents(void *unused)
{
    (void)unused;
    CHECK_RC(plait_run(fork_beside_tasks, new_world()), 0);
    return 0;
}

static int is_told_that_it_is_its_parents(void *pool)
{
    CHECK_RC(plait_pool_workers(pool), PLAIT_ECHILD);
    CHECK_RC(plait_pool_close(pool, PLAIT_NOWAIT), PLAIT_ECHILD);
    return map_once(PLAIT_THREAD);
}

static int pools_stay_the_parents(void *unused)
{
    (void)unused;
    if (!t_may_fork_beside_threads() || t_is_sanitized())
        return PROGRAM_SKIPPED;
    FOR_EACH_KIND(kind)
    {
        plait_pool *pool;
        CHECK_RC(plait_pool_open(&pool, kind, 2, NULL), 0);
        CHECK_EQ(t_in_fork(is_told_that_it_is_its_parents, pool), 0);
        CHECK_EQ(plait_pool_workers(pool), 2);
        CHECK_RC(plait_pool_close(pool, LONG), 0);
    }
    return 0;
}

static plait_local number = PLAIT_LOCAL(NULL);

static int see_value(void *unused)
{
    (void)unused;
    CHECK_EQ((intptr_t)plait_local_get(&number), 5);
    CHECK_RC(plait_local_set(&number, (void *)6, NULL), 0);
    return 0;
}

static int is_in_no_scope(void *world)
{
    struct world *w = world;
    CHECK(plait_scope_effective_deadline() == INT64_MAX ||
          plait_scope_effective_deadline() == PLAIT_FOREVER);
    CHECK_RC(plait_event_wait(&w->event, plait_ms(30)), PLAIT_ETIMEDOUT);
    return 0;
}

static int values_of_locals_are_inherited_scopes_are_not(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    CHECK_RC(plait_local_set(&number, (void *)5, NULL), 0);
    CHECK_EQ(t_in_fork(see_value, NULL), 0);
    CHECK_EQ((intptr_t)plait_local_get(&number), 5);
    PLAIT_TIMEOUT(plait_ms(10))
        CHECK_EQ(t_in_fork(is_in_no_scope, w), 0);
    return 0;
}

static char said[100];

static void hear(const char *text, void *where)
{
    snprintf(where, sizeof said, "%.90s", text);
}

/* A ring of two threads of the child, which it alone can find. */
static struct {
    plait_lock a, b;
    int have;
} ring;

static int take_a_then_b(void *unused)
{
    (void)unused;
    CHECK_RC(plait_lock_acquire(&ring.a, LONG), 0);
    COUNT(ring.have);
    UNTIL(SEEN(ring.have) == 2);
    int rc = plait_lock_acquire(&ring.b, PLAIT_FOREVER);
    if (rc == 0)
        plait_lock_release(&ring.b);
    plait_lock_release(&ring.a);
    return rc;
}

static int find_a_ring(void *unused)
{
    (void)unused;
    CHECK_RC(plait_deadlock_policy(PLAIT_DEADLOCK_FAIL, 0), 0);
    plait_worker other = t_start_one(PLAIT_THREAD, take_a_then_b, NULL);
    CHECK_RC(plait_lock_acquire(&ring.b, LONG), 0);
    COUNT(ring.have);
    UNTIL(SEEN(ring.have) == 2);
    int rc = plait_lock_acquire(&ring.a, PLAIT_FOREVER);
    plait_lock_release(&ring.b);
    if (rc == 0)
        plait_lock_release(&ring.a);
    int others = t_join_one(other);
    CHECK((rc == PLAIT_EDEADLK) + (others == PLAIT_EDEADLK) == 1);
    CHECK(strstr(said, "dead") !=
          NULL); /* the parent's function of the log, and memory of its own */
    return 0;
}

static int deadlocks_are_found_in_the_child_and_told_to_the_inherited_log(void *unused)
{
    (void)unused;
    if (t_is_sanitized())
        return PROGRAM_SKIPPED;
    struct world *w = new_world();
    plait_set_log(hear, said);
    plait_worker beside = t_start_one(PLAIT_THREAD, wait_for_event, w);
    UNTIL_WAITS(beside, PL_WAIT_EVENT);
    CHECK_EQ(t_in_fork(find_a_ring, NULL), 0);
    CHECK_EQ(said[0], 0);
    plait_event_set(&w->event);
    CHECK_EQ(t_join_one(beside), 0);
    return 0;
}

/* --- streams --- */

static int read_and_close_copy(void *stream)
{
    char c;
    CHECK_EQ(plait_read(stream, &c, 1, LONG), 1);
    CHECK_EQ(c, 'x');
    CHECK_RC(plait_write(stream, "y", 1, NULL, LONG), 0);
    return plait_stream_close(stream); /* ends the child's use, not the connection */
}

static int a_stream_can_be_used_by_the_child_and_closed_without_harm(void *unused)
{
    (void)unused;
    plait_stream *a, *b;
    char c;
    CHECK_RC(plait_stream_pair(&a, &b), 0);
    CHECK_RC(plait_write(a, "x", 1, NULL, LONG), 0);
    CHECK_EQ(t_in_fork(read_and_close_copy, b), 0);
    CHECK_EQ(plait_read(a, &c, 1, LONG), 1);
    CHECK_RC(plait_write(a, "z", 1, NULL, LONG), 0);
    CHECK_EQ(plait_read(b, &c, 1, LONG), 1);
    CHECK_EQ(c, 'z');
    CHECK_RC(plait_stream_close(a), 0);
    return plait_stream_close(b);
}

/* --- the program's own handlers --- */

static struct {
    plait_lock lock;
    plait_rlock rlock;
    int before, in_parent, in_child;
    void *block;
} handlers;

static void handle_before(void)
{
    CHECK_RC(plait_lock_acquire(&handlers.lock, LONG), 0);
    CHECK_RC(plait_rlock_acquire(&handlers.rlock, LONG), 0);
    handlers.block = plait_alloc(100);
    CHECK(handlers.block != NULL);
    handlers.before++;
}

static void handle_in_parent(void)
{
    CHECK_RC(plait_free(handlers.block), 0);
    CHECK_RC(plait_rlock_release(&handlers.rlock), 0);
    CHECK_RC(plait_lock_release(&handlers.lock), 0);
    handlers.in_parent++;
}

/* Plait's own have run before: the child is a worker. What the forking thread holds it has to make anew, or to release. */
static void handle_in_child(void)
{
    CHECK_EQ(plait_pid(plait_self()), getpid());
    CHECK_RC(plait_lock_release(&handlers.lock), 0);
    CHECK_RC(plait_rlock_init(&handlers.rlock, NULL), 0);
    void *block = plait_alloc(100);
    CHECK(block != NULL);
    CHECK_RC(plait_free(block), 0);
    handlers.in_child++;
}

static int use_handled(void *unused)
{
    (void)unused;
    CHECK_EQ(handlers.before, handlers.in_parent + 1);
    CHECK_EQ(handlers.in_child, 1);
    PLAIT_WITH(&handlers.lock)
        CHECK_RC(plait_rlock_acquire(&handlers.rlock, LONG), 0);
    return plait_rlock_release(&handlers.rlock);
}

static int keep_handled_busy(void *world)
{
    struct world *w = world;
    for (; !SEEN(w->stop); COUNT(w->ready))
        PLAIT_WITH(&handlers.lock)
            CHECK_RC(plait_free(plait_alloc(200)), 0);
    return 0;
}

static int handlers_of_the_program_may_use_plait(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    CHECK_EQ(pthread_atfork(handle_before, handle_in_parent, handle_in_child), 0);
    struct t_team team;
    t_start(&team, &t_threads, 2, keep_handled_busy, w);
    UNTIL(SEEN(w->ready) > 100);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(t_in_fork(use_handled, NULL), 0);
    TELL(w->stop, 1);
    t_join(&team);
    CHECK_EQ(handlers.in_parent, handlers.before);
    CHECK_EQ(handlers.in_child, 0);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, use_handled, NULL)), 0); /* as any fork */
    return 0;
}

/* --- daemon(3) --- */

static int become_a_daemon(void *world)
{
    struct world *w = world;
    plait_worker beside = t_start_one(PLAIT_THREAD, wait_for_event, w);
    UNTIL_WAITS(beside, PL_WAIT_EVENT);
    w->self = plait_self();
    CHECK_EQ(daemon(1, 1), 0);
    w->pids[0] = getpid();
    CHECK(!plait_same(plait_self(), w->self));
    CHECK_EQ(plait_pid(plait_self()), getpid());
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, give_back, (void *)3)), 3);
    plait_worker mine = t_start_one(PLAIT_PROCESS, stand_still, NULL);
    w->pids[1] = plait_pid(mine);
    TELL(w->ready, 1);
    return stand_still(NULL);
}

/* It is a new worker, outlives its program, and its own workers die with it. */
static int a_daemon_is_a_worker_and_has_workers(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    adopt_orphans();
    CHECK_EQ(t_in_fork(become_a_daemon, w), 0);
    UNTIL(SEEN(w->ready));
    t_sleep(plait_ms(20));
    CHECK(!has_ended(w->pids[0]) && !has_ended(w->pids[1]));
    CHECK_EQ(kill(w->pids[0], SIGKILL), 0);
    CHECK_EQ(t_reap(w->pids[0]), 1000 + SIGKILL);
    CHECK_EQ(t_reap(w->pids[1]), 1000 + SIGKILL);
    return 0;
}

/* --- who runs no handlers --- */

static int processes_made_without_handlers_do_no_harm_if_they_leave_plait_alone(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    struct t_team team;
    t_start(&team, &t_threads, 2, keep_memory_and_locks_busy, w);
    UNTIL(SEEN(w->ready) > 100);
    char *arguments[] = {"true", NULL};
    for (int i = 0; i < 10; i++) {
        long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL); /* as _Fork() */
        if (pid == 0)
            syscall(SYS_exit_group, 3);
        CHECK_EQ(t_reap((pid_t)pid), 3);
        pid = vfork();
        if (pid == 0) {
            execvp("true", arguments);
            _exit(4);
        }
        CHECK_EQ(t_reap((pid_t)pid), 0);
    }
    CHECK_EQ(plait_is_alive(plait_self()), 1);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, give_back, (void *)8)), 8);
    TELL(w->stop, 1);
    t_join(&team);
    return 0;
}

/* --- ends --- */

static int end_in_order(void *world)
{
    struct world *w = world;
    plait_worker own_daemon;
    CHECK_RC(plait_start(&own_daemon, PLAIT_PROCESS, stand_still, NULL,
                         &(plait_options){.daemon = true, .start_method = PLAIT_FORK}),
             0);
    w->pids[0] = plait_pid(own_daemon);
    exit(6);
}

/* The parent has a thread and a process that never end; the child waits for neither, ends its own daemon and not the parent's. */
static int a_childs_exit_is_its_own(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    plait_worker thread = t_start_one(PLAIT_THREAD, wait_for_event, w), daemon_of_mine;
    plait_worker process = t_start_one(PLAIT_PROCESS, wait_for_event, w);
    CHECK_RC(plait_start(&daemon_of_mine, PLAIT_PROCESS, wait_for_event, w,
                         &(plait_options){.daemon = true, .start_method = PLAIT_FORK}),
             0);
    UNTIL_WAITS(thread, PL_WAIT_EVENT);
    CHECK_EQ(t_in_fork(end_in_order, w), 6);
    CHECK(has_ended(w->pids[0]));
    t_sleep(plait_ms(10));
    CHECK(plait_is_alive(thread) && plait_is_alive(process) && plait_is_alive(daemon_of_mine));
    plait_event_set(&w->event);
    CHECK_EQ(t_join_one(thread), 0);
    CHECK_EQ(t_join_one(process), 0);
    CHECK_EQ(t_join_one(daemon_of_mine), 0);
    return 0;
}

/* A forked child has no tie to its parent, and holds nobody else's: the parent's workers die though it lives. */
static int have_worker_and_forked(void *world)
{
    struct world *w = world;
    w->pids[0] = plait_pid(t_start_one(PLAIT_PROCESS, stand_still, NULL));
    w->pids[1] = t_fork(stand_still, NULL);
    TELL(w->ready, 1);
    return stand_still(NULL);
}

static int a_forked_child_is_not_tied_and_ties_nobody(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    adopt_orphans();
    pid_t parent = t_fork(have_worker_and_forked, w);
    UNTIL(SEEN(w->ready));
    CHECK_EQ(kill(parent, SIGKILL), 0);
    CHECK_EQ(t_reap(parent), 1000 + SIGKILL);
    CHECK_EQ(t_reap(w->pids[0]), 1000 + SIGKILL);
    t_sleep(plait_ms(20));
    CHECK(!has_ended(w->pids[1]));
    CHECK_EQ(kill(w->pids[1], SIGKILL), 0);
    t_reap(w->pids[1]);
    return 0;
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        PROGRAM(a_child_forked_beside_all_of_it_can_do_all_of_it),
        PROGRAM(what_another_thread_holds_privately_is_to_be_had_in_the_child),
        PROGRAM(what_another_thread_holds_in_the_arena_stays_its_own),
        PROGRAM(a_forked_child_that_dies_as_holder_is_named),
        PROGRAM(tasks_and_their_timers_stay_the_parents),
        PROGRAM(pools_stay_the_parents),
        PROGRAM(values_of_locals_are_inherited_scopes_are_not),
        PROGRAM(deadlocks_are_found_in_the_child_and_told_to_the_inherited_log),
        PROGRAM(a_stream_can_be_used_by_the_child_and_closed_without_harm),
        PROGRAM(handlers_of_the_program_may_use_plait),
        PROGRAM(a_daemon_is_a_worker_and_has_workers),
        PROGRAM(processes_made_without_handlers_do_no_harm_if_they_leave_plait_alone),
        PROGRAM(a_childs_exit_is_its_own),
        PROGRAM(a_forked_child_is_not_tied_and_ties_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
