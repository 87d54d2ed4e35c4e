/* The bank when a worker is killed at every step: of declaring, acquiring, waiting, releasing, leaving,
 * giving up.
 *
 * The invariant: all that the dead one had is the bank's, the others get what they ask for, nothing
 * is lost and nothing lent twice. */
#include "steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

enum { KINDS = 2, X = 2, Y = 3 };

struct world {
    plait_bank bank;
    uint32_t lent[KINDS]; /* to survivors */
};

static const int all[KINDS] = {X, Y}, one[KINDS] = {1, 1};

static void count(struct world *w, const int *n, bool in)
{
    for (int k = 0; k < KINDS; k++) {
        uint32_t now = in ? __atomic_add_fetch(&w->lent[k], (uint32_t)n[k], __ATOMIC_SEQ_CST)
                          : __atomic_sub_fetch(&w->lent[k], (uint32_t)n[k], __ATOMIC_SEQ_CST);
        STEPS_EXPECT(now <= (uint32_t)all[k]);
    }
}

/* --- survivors --- */

static void visit(struct world *w, const int *want)
{
    STEPS_EXPECT(plait_bank_declare(&w->bank, want) == 0);
    STEPS_EXPECT(plait_bank_acquire(&w->bank, want, PLAIT_FOREVER) == 0);
    count(w, want, true);
    count(w, want, false);
    STEPS_EXPECT(plait_bank_release(&w->bank, want) == 0);
    STEPS_EXPECT(plait_bank_leave(&w->bank) == 0);
}

static void want_all(void *world, int who)
{
    (void)who;
    visit(world, all);
}

static void want_one(void *world, int who)
{
    (void)who;
    visit(world, one);
}

/* --- the victim --- */

static void declare(void *world, int who)
{
    (void)who;
    STEPS_EXPECT(plait_bank_declare(&((struct world *)world)->bank, all) == 0);
}

static void declare_and_take_one(void *world, int who)
{
    declare(world, who);
    STEPS_EXPECT(plait_bank_acquire(&((struct world *)world)->bank, one, PLAIT_FOREVER) == 0);
}

static void take_one(void *world, int who)
{
    (void)who;
    STEPS_EXPECT(plait_bank_acquire(&((struct world *)world)->bank, one, PLAIT_FOREVER) == 0);
}

static void give_one(void *world, int who)
{
    (void)who;
    STEPS_EXPECT(plait_bank_release(&((struct world *)world)->bank, one) == 0);
}

static void leave(void *world, int who)
{
    (void)who;
    STEPS_EXPECT(plait_bank_leave(&((struct world *)world)->bank) == 0);
}

static void take_within_2_ms(void *world, int who)
{
    (void)who;
    int rc = plait_bank_acquire(&((struct world *)world)->bank, all, plait_ms(2));
    STEPS_EXPECT(rc == 0 || rc == PLAIT_ETIMEDOUT);
}

static void take_until_cancelled(void *world, int who)
{
    (void)who;
    int rc = plait_bank_acquire(&((struct world *)world)->bank, all, PLAIT_FOREVER);
    STEPS_EXPECT(rc == 0 || rc == PLAIT_ECANCELED);
}

/* --- the root --- */

static void open_bank(void *world)
{
    STEPS_EXPECT(plait_bank_init(&((struct world *)world)->bank, all, KINDS) == 0);
}

static void open_bank_and_take_one(void *world)
{
    open_bank(world);
    declare_and_take_one(world, 0);
}

static void root_leaves(void *world)
{
    steps_deed();
    leave(world, 0);
}

static void root_cancels(void *world)
{
    (void)world;
    int rc = plait_cancel(steps_victim(0));
    STEPS_EXPECT(rc == 0 || rc == PLAIT_ESRCH);
}

static void root_cancels_and_leaves(void *world)
{
    root_cancels(world);
    root_leaves(world);
}

static void all_is_back(void *world)
{
    struct world *w = world;
    int left[KINDS];
    STEPS_EXPECT(plait_bank_available(&w->bank, left) == 0);
    for (int k = 0; k < KINDS; k++) {
        STEPS_EXPECT(left[k] == all[k], "(%d of %d)", left[k], all[k]);
        STEPS_EXPECT(w->lent[k] == 0);
    }
    for (int i = 0; i < PLAIT_BANK_CLAIMANTS; i++)
        STEPS_EXPECT(w->bank.rows_[i].id_ == 0);
    STEPS_EXPECT(!plait_lock_locked(&w->bank.lock_));
}

/* --- many at once --- */

static void visit_often(void *world, int who)
{
    for (int i = 0; i < 20; i++)
        visit(world, (i + who) % 3 ? one : all);
}

static void take_in_two_steps_often(void *world, int who)
{
    (void)who;
    struct world *w = world;
    static const int first[KINDS] = {1, 0};
    for (int i = 0; i < 12; i++) {
        STEPS_EXPECT(plait_bank_declare(&w->bank, all) == 0);
        STEPS_EXPECT(plait_bank_acquire(&w->bank, first, PLAIT_FOREVER) == 0);
        int rc = plait_bank_acquire(&w->bank, one, i % 3 ? PLAIT_FOREVER : plait_us(300));
        STEPS_EXPECT(rc == 0 || rc == PLAIT_ETIMEDOUT);
        STEPS_EXPECT(plait_bank_leave(&w->bank) == 0);
    }
}

/* --- scenarios --- */

#define BANK .world_size = sizeof(struct world), .check = all_is_back
#define NEWCOMERS                                                                                  \
    {                                                                                              \
        .threads = 1, .processes = 1, .run = want_all                                              \
    }
#define WAITERS                                                                                    \
    {                                                                                              \
        .threads = 1, .processes = 1, .sleep_in = PL_WAIT_BANK, .run = want_all                    \
    }

static const struct steps_scenario declare_alone = {
    .name = "bank: declare", BANK, .setup = open_bank, .act = declare, .late = NEWCOMERS};

static const struct steps_scenario declare_others_wait = {.name = "bank: declare, others wait",
                                                          BANK,
                                                          .setup = open_bank_and_take_one,
                                                          .ahead = WAITERS,
                                                          .act = declare,
                                                          .aftermath = root_leaves,
                                                          .late = NEWCOMERS};

static const struct steps_scenario take_free = {.name = "bank: take, free",
                                                BANK,
                                                .setup = open_bank,
                                                .prepare = declare,
                                                .act = take_one,
                                                .late = NEWCOMERS};

static const struct steps_scenario take_and_wait = {.name = "bank: take, wait for another",
                                                    BANK,
                                                    .setup = open_bank_and_take_one,
                                                    .prepare = declare,
                                                    .ahead = WAITERS,
                                                    .act = take_one,
                                                    .sleeps = true,
                                                    .behind = WAITERS,
                                                    .direct = root_leaves,
                                                    .late = NEWCOMERS};

static const struct steps_scenario take_old_kernel = {.name = "bank: take, without futex_waitv",
                                                      BANK,
                                                      .old_kernel = true,
                                                      .setup = open_bank_and_take_one,
                                                      .prepare = declare,
                                                      .act = take_one,
                                                      .sleeps = true,
                                                      .behind = WAITERS,
                                                      .direct = root_leaves,
                                                      .late = NEWCOMERS};

static const struct steps_scenario give_others_wait = {
    .name = "bank: give, others wait",
    BANK,
    .setup = open_bank,
    .prepare = declare_and_take_one,
    .ahead = {.threads = 2, .processes = 1, .sleep_in = PL_WAIT_BANK, .run = want_all},
    .act = give_one,
    .late = NEWCOMERS};

static const struct steps_scenario leave_others_wait = {
    .name = "bank: leave, others wait",
    BANK,
    .setup = open_bank,
    .prepare = declare_and_take_one,
    .ahead = WAITERS,
    .act = leave,
    .late = {.threads = 1, .processes = 1, .run = want_one}};

static const struct steps_scenario time_out = {.name = "bank: time out",
                                               BANK,
                                               .setup = open_bank_and_take_one,
                                               .prepare = declare,
                                               .act = take_within_2_ms,
                                               .sleeps = true,
                                               .behind = WAITERS,
                                               .aftermath = root_leaves,
                                               .late = NEWCOMERS};

static const struct steps_scenario cancelled = {.name = "bank: cancelled while served",
                                                BANK,
                                                .setup = open_bank_and_take_one,
                                                .prepare = declare,
                                                .act = take_until_cancelled,
                                                .behind = WAITERS,
                                                .direct = root_cancels_and_leaves,
                                                .late = NEWCOMERS};

static const struct steps_scenario several_at_random = {.name = "bank: several at random steps",
                                                        BANK,
                                                        .victims = 3,
                                                        .setup = open_bank,
                                                        .ahead = {1, 1, 0, visit_often},
                                                        .act = take_in_two_steps_often,
                                                        .late = NEWCOMERS};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(declare_alone),
        STEPS_TEST(declare_others_wait),
        STEPS_TEST(take_free),
        STEPS_TEST(take_and_wait),
        STEPS_TEST(take_old_kernel),
        STEPS_TEST(give_others_wait),
        STEPS_TEST(leave_others_wait),
        STEPS_TEST(time_out),
        STEPS_TEST(cancelled),
        STEPS_STORES_TEST(take_free),
        STEPS_STORES_TEST(give_others_wait),
        STEPS_STORES_TEST(leave_others_wait),
        STEPS_RANDOM_TEST(several_at_random),
    };
    int rc = cmocka_run_group_tests_name("bank", tests, NULL, NULL);
    steps_print_total();
    return rc;
}
