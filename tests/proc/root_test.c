/* The family goes on without its root: no repair waits for a process that has been killed itself. */
#include "program.h"

#include "park/park.h"

#include <signal.h>
#include <unistd.h>

enum { SURVIVORS = 3 };

/* What the survivors tell the program that watches from outside. */
struct board {
    int ready;             /* the root holds what it is to hold */
    int arrived;           /* survivors that wait */
    int status[SURVIVORS]; /* how they ended; 1: well */
    pid_t pids[SURVIVORS];
    int notices; /* PLAIT_OWNER_DIED, of all */
};
static struct board *board;

/* What the family shares, in the arena. */
struct world {
    plait_lock lock, fair;
    plait_rlock rlock;
    plait_condition condition;
    int places[SURVIVORS];
    long count;
    bool open;
};
static struct world *world;

static void note(int rc)
{
    if (rc == PLAIT_OWNER_DIED)
        COUNT(board->notices);
    CHECK(rc >= 0);
}

static void count_under(int (*acquire)(void *, int64_t), int (*release)(void *), void *lock)
{
    for (int i = 0; i < 100; i++) {
        note(acquire(lock, plait_seconds(T_PATIENCE_S)));
        world->count++;
        CHECK_RC(release(lock), 0);
    }
}

static int acquire_lock(void *lock, int64_t timeout)
{
    return plait_lock_acquire(lock, timeout);
}

static int release_lock(void *lock)
{
    return plait_lock_release(lock);
}

static int acquire_rlock(void *rlock, int64_t timeout)
{
    return plait_rlock_acquire(rlock, timeout);
}

static int release_rlock(void *rlock)
{
    return plait_rlock_release(rlock);
}

/* One of the survivors opens the door for the others, by way of the condition. */
static void meet(int me)
{
    note(plait_condition_acquire(&world->condition, plait_seconds(T_PATIENCE_S)));
    if (me == 0) {
        world->open = true;
        CHECK(plait_condition_notify_all(&world->condition) >= 0);
    }
    while (!world->open)
        CHECK(plait_condition_wait(&world->condition, plait_seconds(T_PATIENCE_S)) >= 0);
    CHECK_RC(plait_condition_release(&world->condition), 0);
}

static int do_nothing(void *unused)
{
    return unused != NULL;
}

static int survive(void *who)
{
    int me = *(int *)who;
    board->pids[me] = getpid();
    COUNT(board->arrived);
    count_under(acquire_lock, release_lock, &world->lock);
    count_under(acquire_lock, release_lock, &world->fair);
    count_under(acquire_rlock, release_rlock, &world->rlock);
    meet(me);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, do_nothing, NULL)), 0); /* and start others */
    TELL(board->status[me], 1);
    return 0;
}

/* The root holds everything, has its children wait for it, and stands still until it is killed. */
static int hold_all(void *unused)
{
    (void)unused;
    world = plait_alloc(sizeof *world);
    CHECK_RC(plait_lock_init(&world->fair, &(plait_lock_options){.fair = true}), 0);
    CHECK_RC(plait_lock_acquire(&world->lock, PLAIT_FOREVER), 0);
    CHECK_RC(plait_lock_acquire(&world->fair, PLAIT_FOREVER), 0);
    CHECK_RC(plait_rlock_acquire(&world->rlock, PLAIT_FOREVER), 0);
    CHECK_RC(plait_condition_acquire(&world->condition, PLAIT_FOREVER), 0);
    for (int i = 0; i < SURVIVORS; i++) {
        plait_worker w;
        world->places[i] = i;
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, survive, &world->places[i],
                             &(plait_options){.detach = true}),
                 0);
        UNTIL_WAITS(w, PL_WAIT_LOCK);
    }
    TELL(board->ready, 1);
    t_sleep_for_ever();
}

static int survivors_go_on_when_the_root_is_killed(void *unused)
{
    (void)unused;
    board = board_new(sizeof *board);
    adopt_orphans();
    pid_t root = t_fork(hold_all, NULL);
    UNTIL(SEEN(board->ready) || has_ended(root));
    CHECK_EQ(kill(root, SIGKILL), 0);
    CHECK_EQ(t_reap(root), 1000 + SIGKILL);
    for (int i = 0; i < SURVIVORS; i++) {
        UNTIL(SEEN(board->status[i]) || has_ended(board->pids[i]));
        CHECK_EQ(t_reap(board->pids[i]), 0);
        CHECK_EQ(board->status[i], 1);
    }
    CHECK_EQ(board->notices, 4); /* one for each thing that it held */
    return 0;
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        PROGRAM(survivors_go_on_when_the_root_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
