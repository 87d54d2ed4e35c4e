/* The bank, in every order of the steps of those who declare, borrow and give back.
 *
 * The invariant: never more is out than there is; whoever asks within its claim gets it in the end; nobody
 * is left asleep, whatever others have and want. */
#include "explore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { KINDS = 2, TOTAL = 2 }; /* of each kind */

struct world {
    plait_bank bank;
    int out[KINDS]; /* lent, as its borrowers count it */
    int passed, gave_up;
    bool heard; /* a request to stop */
};

static void is_open(void *world)
{
    struct world *w = world;
    EXPLORE_NAME(w->bank.lock_.word_);
    for (int i = 0; i < EXPLORE_WORKERS; i++)
        EXPLORE_NAME(w->bank.rows_[i].word_);
    EXPLORE_EXPECT(plait_bank_init(&w->bank, (int[]){TOTAL, TOTAL}, KINDS) == 0);
}

static void declare(struct world *w, int first, int second)
{
    EXPLORE_EXPECT(plait_bank_declare(&w->bank, (int[]){first, second}) == 0);
}

static void count_out(struct world *w, int first, int second)
{
    w->out[0] += first;
    w->out[1] += second;
    EXPLORE_EXPECT(w->out[0] <= TOTAL && w->out[1] <= TOTAL);
}

static int borrow_within(struct world *w, int first, int second, int64_t timeout)
{
    int rc = plait_bank_acquire(&w->bank, (int[]){first, second}, timeout);
    if (rc == 0)
        count_out(w, first, second);
    return rc;
}

static void borrow(struct world *w, int first, int second)
{
    EXPLORE_EXPECT(borrow_within(w, first, second, PLAIT_FOREVER) == 0);
}

/* It is counted as given back before: the next may have it before this call has returned. */
static void give(struct world *w, int first, int second)
{
    count_out(w, -first, -second);
    EXPLORE_EXPECT(plait_bank_release(&w->bank, (int[]){first, second}) == 0);
}

static void leave(struct world *w, int first, int second)
{
    count_out(w, -first, -second);
    EXPLORE_EXPECT(plait_bank_leave(&w->bank) == 0);
}

/* --- what workers do --- */

static void borrow_all(void *world)
{
    struct world *w = world;
    declare(w, 2, 0);
    borrow(w, 2, 0);
    give(w, 2, 0);
    leave(w, 0, 0);
    w->passed++;
}

/* Two of these, one half each, would wait for each other if the bank were not careful. */
static void borrow_by_halves(void *world)
{
    struct world *w = world;
    declare(w, 2, 0);
    borrow(w, 1, 0);
    borrow(w, 1, 0);
    leave(w, 2, 0);
    w->passed++;
}

static void borrow_both_ways(struct world *w, bool up)
{
    declare(w, 2, 2);
    borrow(w, up ? 2 : 0, up ? 0 : 2);
    borrow(w, up ? 0 : 2, up ? 2 : 0);
    give(w, 2, 2);
    w->passed++;
}

static void borrow_up(void *world)
{
    borrow_both_ways(world, true);
}

static void borrow_down(void *world)
{
    borrow_both_ways(world, false);
}

static void borrow_one(void *world)
{
    struct world *w = world;
    declare(w, 1, 0);
    borrow(w, 1, 0);
    leave(w, 1, 0);
    w->passed++;
}

static int borrow_perhaps(struct world *w, int64_t timeout, int or_else)
{
    declare(w, 2, 0);
    int rc = borrow_within(w, 2, 0, timeout);
    EXPLORE_EXPECT(rc == 0 || rc == or_else);
    if (rc < 0) /* it has nothing, nor gets it later */
        EXPLORE_EXPECT(plait_bank_release(&w->bank, (int[]){1, 0}) == PLAIT_EOVERFLOW);
    leave(w, rc == 0 ? 2 : 0, 0);
    w->passed += rc == 0;
    w->gave_up += rc < 0;
    return rc;
}

static void borrow_in_time(void *world)
{
    borrow_perhaps(world, plait_ms(5), PLAIT_ETIMEDOUT);
}

static void try_to_borrow(void *world)
{
    borrow_perhaps(world, PLAIT_NOWAIT, PLAIT_ETIMEDOUT);
}

static void borrow_until_cancelled(void *world)
{
    int rc = borrow_perhaps(world, PLAIT_FOREVER, PLAIT_ECANCELED);
    ((struct world *)world)->heard = rc == PLAIT_ECANCELED;
}

static void cancel_a(void *world)
{
    (void)world;
    EXPLORE_EXPECT(plait_cancel(explore_worker(0)) == 0);
}

/* --- what must be at the end --- */

static void came_to(struct world *w, int n)
{
    int left[KINDS];
    EXPLORE_EXPECT(w->passed + w->gave_up == n);
    EXPLORE_EXPECT(plait_bank_available(&w->bank, left) == 0);
    EXPLORE_EXPECT(left[0] == TOTAL && left[1] == TOTAL);
}

static void two_came(void *world)
{
    came_to(world, 2);
}

static void three_came(void *world)
{
    came_to(world, 3);
}

static void was_heard_or_will_be(void *world)
{
    EXPLORE_EXPECT(((struct world *)world)->heard != explore_is_asked(0));
    two_came(world);
}

#define BANK .world_size = sizeof(struct world), .setup = is_open

static const struct explore_scenario two = {.name = "bank: two borrow all there is",
                                            BANK,
                                            .preemptions = 3,
                                            .run = {borrow_all, borrow_all},
                                            .check = two_came};

static const struct explore_scenario halves = {.name = "bank: two borrow all by halves",
                                               BANK,
                                               .preemptions = 3,
                                               .run = {borrow_by_halves, borrow_by_halves},
                                               .check = two_came};

static const struct explore_scenario opposite = {
    .name = "bank: two borrow two kinds in opposite orders",
    BANK,
    .preemptions = 2,
    .run = {borrow_up, borrow_down},
    .check = two_came};

static const struct explore_scenario three = {.name = "bank: three borrow",
                                              BANK,
                                              .preemptions = 1,
                                              .run = {borrow_by_halves, borrow_all, borrow_one},
                                              .check = three_came};

static const struct explore_scenario in_time = {.name =
                                                    "bank: a timeout against what is given back",
                                                BANK,
                                                .preemptions = 3,
                                                .run = {borrow_in_time, borrow_all},
                                                .check = two_came};

static const struct explore_scenario in_time_of_three = {
    .name = "bank: one gives up, two others borrow",
    BANK,
    .preemptions = 1,
    .run = {borrow_in_time, borrow_by_halves, borrow_one},
    .check = three_came};

static const struct explore_scenario tried = {.name = "bank: one tries, two borrow",
                                              BANK,
                                              .preemptions = 1,
                                              .run = {try_to_borrow, borrow_all, borrow_one},
                                              .check = three_came};

static const struct explore_scenario cancelled = {
    .name = "bank: a request to stop against what is given back",
    BANK,
    .preemptions = 2,
    .run = {borrow_until_cancelled, borrow_all, cancel_a},
    .check = was_heard_or_will_be};

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXPLORE_TEST(two),       EXPLORE_TEST(halves),           EXPLORE_TEST(opposite),
        EXPLORE_TEST(three),     EXPLORE_TEST(in_time),          EXPLORE_TEST(tried),
        EXPLORE_TEST(cancelled), EXPLORE_TEST(in_time_of_three),
    };
    int rc = cmocka_run_group_tests_name("bank", tests, NULL, NULL);
    explore_print_total();
    return rc;
}
