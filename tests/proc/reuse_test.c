/* An entry that is joined and used for the next worker in the middle of a call about the last one.
 *
 * The windows are a few instructions wide. So the library is built with its step hooks: right before
 * a chosen atomic step of the call under test, the worker it is about ends, is joined, and another
 * takes its place. The call may say that its worker is gone; it must not reach, name or wait for the
 * other one. */
#include "program.h"

#include "base/atomic.h"
#include "park/park.h"
#include "registry/registry.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In the arena. */
struct world {
    plait_event first_done, second_done;
    plait_worker first, second;
    int first_pid, first_tid;
};

static struct world *world;

static int wait_for_event(void *event)
{
    int rc = plait_event_wait(event, PLAIT_FOREVER);
    return rc < 0 ? rc : 7;
}

static void set_up(int kind)
{
    world = plait_alloc(sizeof *world);
    CHECK(world != NULL);
    world->first = t_start_one(kind, wait_for_event, &world->first_done);
    UNTIL_WAITS(world->first, PL_WAIT_EVENT);
    world->first_pid = plait_pid(world->first);
    world->first_tid = plait_tid(world->first);
}

/* The second is unharmed: alive, not asked to stop, joinable. */
static void tear_down(void)
{
    CHECK_EQ(plait_is_alive(world->second), 1);
    CHECK_EQ(pl_slot_find(world->second)->asked.made & ~PL_TAG_MASK, 0);
    CHECK_RC(plait_event_set(&world->second_done), 0);
    CHECK_EQ(t_join_one(world->second), 7);
    CHECK_RC(plait_free(world), 0);
}

/* The first ends and is joined; the second takes its entry. */
static void replace(void)
{
    int kind = plait_kind_of(world->first);
    struct pl_slot *slot = pl_slot_find(world->first);
    CHECK_RC(plait_event_set(&world->first_done), 0);
    int rc = plait_join(world->first, NULL, plait_seconds(T_PATIENCE_S));
    CHECK(rc == 0 || rc == PLAIT_ESTALE); /* the call under test has detached it already */
    UNTIL(pl_heart_is_stopped(slot));
    do {
        pl_store_relaxed(&pl_arena->slot_cursor, world->first.slot);
        world->second = t_start_one(kind, wait_for_event, &world->second_done);
        if (world->second.slot == world->first.slot)
            break;
        CHECK_RC(plait_event_set(&world->second_done), 0);
        CHECK_EQ(t_join_one(world->second), 7);
        CHECK_RC(plait_event_clear(&world->second_done), 0);
    } while (true);
    UNTIL_WAITS(world->second, PL_WAIT_EVENT);
}

/* --- the trap --- */

enum { MISSED, CLOSED, BARRED };

static _Thread_local struct {
    struct pl_slot *slot;
    int countdown; /* it closes before this many further steps on words of the entry; 0: not set */
    int outcome;
} trap;

/* Before a step on a word of the entry. While this very thread collects the worker, nobody else can
 * join it. */
static void on_step(const char *what, const void *word)
{
    (void)what;
    const char *at = word, *entry = (const char *)trap.slot;
    if (trap.countdown == 0 || at < entry || at >= entry + sizeof(struct pl_slot) ||
        --trap.countdown > 0)
        return;
    uint32_t reaper = __atomic_load_n(&trap.slot->reaper, __ATOMIC_SEQ_CST);
    trap.outcome = reaper == 0 || reaper == PL_REAPED ? CLOSED : BARRED;
    if (trap.outcome == CLOSED)
        replace();
}

typedef int call_about(plait_worker worker);

/* Makes the call with the change before its k-th step on the entry. */
static int call_with_change(call_about *call, int k)
{
    trap.slot = pl_slot_find(world->first);
    trap.outcome = MISSED;
    trap.countdown = k;
    int rc = call(world->first);
    trap.countdown = 0;
    return rc;
}

/* The call has gone by without the change; the first worker may be there, or be what the call made
 * of it. */
static void tear_down_first(void)
{
    CHECK_RC(plait_event_set(&world->first_done), 0);
    plait_join(world->first, NULL, PLAIT_FOREVER);
    UNTIL(plait_state(world->first) == PLAIT_ESTALE);
    CHECK_RC(plait_free(world), 0);
}

/* For each step and each kind of worker. `acceptable` judges what the call said. */
static int at_every_step(call_about *call, bool (*acceptable)(int rc))
{
    pl_step_hook = on_step;
    FOR_EACH_KIND(kind)
    for (int k = 1; k == 1 || trap.outcome != MISSED; k++) {
        set_up(kind);
        int rc = call_with_change(call, k);
        if (trap.outcome != CLOSED) {
            CHECK(k > 1);
            tear_down_first();
            continue;
        }
        if (!acceptable(rc))
            t_die(__FILE__, __LINE__, "kind %d, step %d: %d", kind, k, rc);
        tear_down();
    }
    pl_step_hook = NULL;
    return 0;
}

/* --- calls --- */

static bool is_gone(int rc)
{
    return rc == PLAIT_ESTALE || rc == PLAIT_ESRCH;
}

static bool is_gone_or_no_process(int rc)
{
    return is_gone(rc) || rc == PLAIT_ENOTSUP;
}

static bool is_gone_or_done(int rc)
{
    return rc == 0 || is_gone(rc); /* what was done was done to nobody: tear_down looks */
}

static int a_signal_does_not_reach_the_next_in_that_place(void *unused)
{
    (void)unused;
    at_every_step(plait_kill, is_gone_or_no_process);
    return at_every_step(plait_terminate, is_gone_or_no_process);
}

static int a_request_does_not_reach_the_next_in_that_place(void *unused)
{
    (void)unused;
    return at_every_step(plait_cancel, is_gone_or_done);
}

static int the_next_in_that_place_is_not_detached(void *unused)
{
    (void)unused;
    return at_every_step(plait_detach, is_gone_or_done);
}

static int join_now(plait_worker worker)
{
    plait_blame end;
    int rc = plait_join(worker, &end, plait_ms(20));
    if (rc == 0)
        CHECK(plait_same(end.worker, worker) && end.status == 7);
    return rc;
}

static bool is_joined_or_gone(int rc)
{
    return rc == 0 || rc == PLAIT_ESTALE;
}

static int the_next_in_that_place_is_not_joined(void *unused)
{
    (void)unused;
    return at_every_step(join_now, is_joined_or_gone);
}

static int ask_how_it_ended(plait_worker worker)
{
    plait_blame end;
    int rc = plait_exit_status(worker, &end);
    if (rc == 0)
        CHECK(plait_same(end.worker, worker) && end.status == 7);
    return rc;
}

static bool is_told_or_gone(int rc)
{
    return rc == 0 || rc == PLAIT_EBUSY || rc == PLAIT_ESTALE;
}

static int the_end_that_is_told_is_that_workers(void *unused)
{
    (void)unused;
    return at_every_step(ask_how_it_ended, is_told_or_gone);
}

static bool is_first_pid(int rc)
{
    return rc == world->first_pid || rc == PLAIT_ESTALE;
}

static bool is_first_tid(int rc)
{
    return rc == world->first_tid || rc == PLAIT_ESTALE;
}

static int the_ids_that_are_told_are_that_workers(void *unused)
{
    (void)unused;
    at_every_step(plait_pid, is_first_pid);
    return at_every_step(plait_tid, is_first_tid);
}

/* A moment past is fine; but one that is not alive any more must not come to life again. */
static bool is_a_state(int rc)
{
    return (rc >= PLAIT_STATE_NEW && rc <= PLAIT_STATE_ENDED) || rc == PLAIT_ESTALE;
}

static int asking_for_the_state_does_no_harm(void *unused)
{
    (void)unused;
    return at_every_step(plait_state, is_a_state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROGRAM(a_signal_does_not_reach_the_next_in_that_place),
        PROGRAM(a_request_does_not_reach_the_next_in_that_place),
        PROGRAM(the_next_in_that_place_is_not_detached),
        PROGRAM(the_next_in_that_place_is_not_joined),
        PROGRAM(the_end_that_is_told_is_that_workers),
        PROGRAM(the_ids_that_are_told_are_that_workers),
        PROGRAM(asking_for_the_state_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
