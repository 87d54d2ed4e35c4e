/* Groups when a member, or the owner, is killed at every step.
 *
 * The invariants: whichever step a member dies at, the owner learns of it - in its body or while it leaves - all others are
 * cancelled, and it gets PLAIT_EDIED; an owner that dies takes its processes along and leaves nothing in the arena. */
#include "steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

struct world {
    plait_event never, done;
    plait_lock lock;
    int member_ended, sibling_ended, sibling_cancelled;
};

static void count(int *word)
{
    __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
}

/* --- members --- */

static int work_a_little(void *arg)
{
    struct world *w = arg;
    PLAIT_WITH(&w->lock)
        count(&w->member_ended);
    return 0;
}

static int work_and_fail(void *arg)
{
    work_a_little(arg);
    return -9;
}

static int wait_in_a_scope(void *arg)
{
    struct world *w = arg;
    PLAIT_TIMEOUT(plait_ms(2))
        STEPS_EXPECT(plait_event_wait(&w->never, PLAIT_FOREVER) == PLAIT_ECANCELED);
    count(&w->member_ended);
    return -9;
}

static int wait_until_cancelled(void *arg)
{
    struct world *w = arg;
    int rc = plait_event_wait(&w->never, PLAIT_FOREVER);
    STEPS_EXPECT(rc == PLAIT_ECANCELED);
    count(&w->sibling_cancelled);
    return rc;
}

/* --- owners --- */

static int own(struct world *w, plait_function *fn, int sibling, bool in_body)
{
    plait_group g = {0};
    int rc = 0;
    PLAIT_GROUP(&g) {
        if (sibling)
            STEPS_EXPECT(plait_group_start(&g, NULL, sibling, wait_until_cancelled, w, NULL) == 0);
        STEPS_EXPECT(plait_group_start(&g, NULL, PLAIT_PROCESS, fn, w, NULL) == 0);
        if (in_body)
            STEPS_EXPECT(plait_event_wait(&w->never, PLAIT_FOREVER) == PLAIT_ECANCELED);
    } else
        rc = plait_group_error(&g);
    STEPS_EXPECT(plait_checkpoint() == 0);
    STEPS_EXPECT(plait_cancelling() == 0);
    return rc;
}

static void doom_the_members(void *world, int who)
{
    (void)world, (void)who;
    steps_doom_children();
}

static void expect_failure(struct world *w, int rc)
{
    STEPS_EXPECT(rc == PLAIT_EDIED || rc == -9, "(%s)", plait_errname(rc));
    STEPS_EXPECT(w->sibling_cancelled == 1);
}

static void own_and_leave(void *world, int who)
{
    (void)who;
    expect_failure(world, own(world, work_and_fail, PLAIT_THREAD, false));
}

static void own_and_wait(void *world, int who)
{
    (void)who;
    expect_failure(world, own(world, work_and_fail, PLAIT_THREAD, true));
}

static void own_a_scoped_one(void *world, int who)
{
    (void)who;
    expect_failure(world, own(world, wait_in_a_scope, PLAIT_THREAD, true));
}

static void own_one_that_succeeds(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = own(w, work_a_little, 0, false);
    STEPS_EXPECT(rc == PLAIT_EDIED || rc == 0, "(%s)", plait_errname(rc));
}

static void own_and_die(void *world, int who)
{
    (void)who;
    int rc = own(world, work_and_fail, PLAIT_PROCESS, true);
    STEPS_EXPECT(rc == -9, "(%s)", plait_errname(rc));
}

/* --- what must be --- */

static void owner_returned(void *world)
{
    (void)world;
    int rc = plait_join(steps_victim(0), NULL, plait_seconds(5));
    STEPS_EXPECT(rc == 0, "(%s)", plait_errname(rc));
}

static void use_what_they_used(void *world, int who)
{
    struct world *w = world;
    (void)who;
    PLAIT_WITH(&w->lock)
        STEPS_EXPECT(w->member_ended <= 1);
}

#define GROUP .world_size = sizeof(struct world), .alone = true
#define OTHERS .late = {.processes = 1, .threads = 1, .run = use_what_they_used}

static const struct steps_scenario member_while_leaving = {.name =
                                                               "group: a member, the owner leaves",
                                                           GROUP,
                                                           OTHERS,
                                                           .prepare = doom_the_members,
                                                           .act = own_and_leave,
                                                           .alive = true,
                                                           .aftermath = owner_returned};

static const struct steps_scenario member_in_body = {.name = "group: a member, the owner waits",
                                                     GROUP,
                                                     OTHERS,
                                                     .prepare = doom_the_members,
                                                     .act = own_and_wait,
                                                     .alive = true,
                                                     .aftermath = owner_returned};

static const struct steps_scenario member_in_scope = {.name = "group: a member in a scope",
                                                      GROUP,
                                                      OTHERS,
                                                      .prepare = doom_the_members,
                                                      .act = own_a_scoped_one,
                                                      .alive = true,
                                                      .aftermath = owner_returned};

static const struct steps_scenario member_that_succeeds = {.name = "group: the only member",
                                                           GROUP,
                                                           OTHERS,
                                                           .prepare = doom_the_members,
                                                           .act = own_one_that_succeeds,
                                                           .alive = true,
                                                           .aftermath = owner_returned};

static const struct steps_scenario owner = {
    .name = "group: the owner", GROUP, OTHERS, .act = own_and_die};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(member_while_leaving), STEPS_TEST(member_in_body), STEPS_TEST(member_in_scope),
        STEPS_TEST(member_that_succeeds), STEPS_TEST(owner),
    };
    int rc = cmocka_run_group_tests_name("group", tests, NULL, NULL);
    steps_print_total();
    return rc;
}
