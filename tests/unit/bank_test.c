/* The bank: a test per promise of include/plait/bank.h, and each misuse. */
#include "harness/harness.h"

#include "park/park.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CLERKS = 3, KINDS = 2 };

enum deed { NOTHING, DECLARE, ACQUIRE, RELEASE, LEAVE, STOP };

/* A worker that does what it is told, one call after the other. */
struct clerk {
    struct box *box;
    enum deed deed;
    int numbers[KINDS];
    int64_t timeout;
    int rc;
    int told, done; /* deeds so far */
};

struct box {
    plait_bank bank;
    struct clerk clerks[CLERKS];
    struct t_waiter waiter;
};

static int serve(void *arg)
{
    struct clerk *c = arg;
    plait_bank *bank = &c->box->bank;
    for (int n = 1;; n++) {
        UNTIL(SEEN(c->told) == n);
        switch (c->deed) {
        case DECLARE:
            c->rc = plait_bank_declare(bank, c->numbers);
            break;
        case ACQUIRE:
            c->rc = plait_bank_acquire(bank, c->numbers, c->timeout);
            break;
        case RELEASE:
            c->rc = plait_bank_release(bank, c->numbers);
            break;
        case LEAVE:
            c->rc = plait_bank_leave(bank);
            break;
        default:
            return 0;
        }
        TELL(c->done, n);
    }
}

static void begin(struct clerk *c, enum deed deed, int a, int b, int64_t timeout)
{
    c->deed = deed;
    c->numbers[0] = a;
    c->numbers[1] = b;
    c->timeout = timeout;
    TELL(c->told, c->told + 1);
}

static int finish(struct clerk *c)
{
    UNTIL(SEEN(c->done) == c->told);
    return c->rc;
}

static int let(struct clerk *c, enum deed deed, int a, int b)
{
    begin(c, deed, a, b, PLAIT_NOWAIT);
    return finish(c);
}

static void start_waiting(struct t_team *team, struct box *b, int i, int x, int y)
{
    begin(&b->clerks[i], ACQUIRE, x, y, PLAIT_FOREVER);
    UNTIL_WAITS(team->workers[i], PL_WAIT_BANK);
}

static bool is_waiting(const struct box *b, int i)
{
    return SEEN(b->clerks[i].done) != b->clerks[i].told;
}

static struct box *open_bank(const struct t_setting *s, struct t_team *team, int clerks, int x,
                             int y)
{
    struct box *b = t_new(s, sizeof *b);
    int totals[KINDS] = {x, y};
    CHECK_RC(plait_bank_init(&b->bank, totals, KINDS), 0);
    for (int i = 0; i < clerks; i++)
        b->clerks[i].box = b;
    t_start_each(team, s, clerks, serve, b->clerks, sizeof b->clerks[0]);
    return b;
}

static void close_bank(const struct t_setting *s, struct t_team *team, struct box *b)
{
    for (int i = 0; i < team->n; i++)
        begin(&b->clerks[i], STOP, 0, 0, 0);
    t_join(team);
    t_delete(s, b);
}

static void check_left(struct box *b, int x, int y)
{
    int left[KINDS] = {-1, -1};
    CHECK_RC(plait_bank_available(&b->bank, left), 0);
    CHECK_EQ(left[0], x);
    CHECK_EQ(left[1], y);
}

/* For checks of any blocking call: by a worker that has not declared before. */
static int visit(void *bank, int64_t timeout)
{
    int one[KINDS] = {1, 0};
    int rc = plait_bank_declare(bank, one);
    if (rc < 0)
        return rc;
    rc = plait_bank_acquire(bank, one, timeout);
    CHECK_RC(plait_bank_leave(bank), 0);
    return rc;
}

/* --- opening --- */

static void without_an_arena_it_says_why_it_cannot_be_used(void **state)
{
    (void)state;
    static plait_bank bank;
    int totals[KINDS] = {1, 0};
    CHECK_RC(plait_bank_init(&bank, totals, KINDS), 0);
    t_check_no_arena(visit, &bank);
}

static void zeroed_memory_is_a_bank_without_kinds(void **state)
{
    (void)state;
    static plait_bank bank;
    int some[PLAIT_BANK_KINDS] = {0};
    CHECK_RC(plait_bank_declare(&bank, some), PLAIT_EINVAL);
    CHECK_RC(plait_bank_acquire(&bank, some, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_bank_release(&bank, some), PLAIT_EINVAL);
    CHECK_RC(plait_bank_leave(&bank), PLAIT_EINVAL);
    CHECK_RC(plait_bank_available(&bank, some), PLAIT_EINVAL);
}

static void init_opens_whatever_the_bytes_were(void **state)
{
    (void)state;
    plait_bank bank;
    int totals[PLAIT_BANK_KINDS] = {1, 2, 3, 4, 5, 6, 7, 8}, left[PLAIT_BANK_KINDS];
    memset(&bank, 0xff, sizeof bank);
    CHECK_RC(plait_bank_init(&bank, totals, PLAIT_BANK_KINDS), 0);
    CHECK_RC(plait_bank_available(&bank, left), 0);
    CHECK_EQ(memcmp(totals, left, sizeof totals), 0);
    CHECK_RC(plait_bank_declare(&bank, totals), 0); /* all of it */
    CHECK_RC(plait_bank_acquire(&bank, totals, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_bank_available(&bank, left), 0);
    for (int k = 0; k < PLAIT_BANK_KINDS; k++)
        CHECK_EQ(left[k], 0);
    CHECK_RC(plait_bank_leave(&bank), 0);
}

static void misuse_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    struct t_team team;
    struct box *b = open_bank(&t_private_threads, &team, 0, 3, 1);
    plait_bank *bank = &b->bank;
    int fine[KINDS] = {1, 1}, negative[KINDS] = {1, -1}, much[KINDS] = {4, 0};
    CHECK_RC(plait_bank_init(NULL, fine, KINDS), PLAIT_EINVAL);
    CHECK_RC(plait_bank_init(bank, NULL, KINDS), PLAIT_EINVAL);
    CHECK_RC(plait_bank_init(bank, fine, 0), PLAIT_EINVAL);
    CHECK_RC(plait_bank_init(bank, fine, -1), PLAIT_EINVAL);
    CHECK_RC(plait_bank_init(bank, fine, PLAIT_BANK_KINDS + 1), PLAIT_EINVAL);
    CHECK_RC(plait_bank_init(bank, negative, KINDS), PLAIT_EINVAL);

    CHECK_RC(plait_bank_acquire(bank, fine, PLAIT_FOREVER), PLAIT_EPERM);
    CHECK_RC(plait_bank_release(bank, fine), PLAIT_EPERM);
    CHECK_RC(plait_bank_leave(bank), PLAIT_EPERM);
    CHECK_RC(plait_bank_declare(NULL, fine), PLAIT_EINVAL);
    CHECK_RC(plait_bank_declare(bank, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_bank_declare(bank, negative), PLAIT_EINVAL);
    CHECK_RC(plait_bank_declare(bank, much), PLAIT_EOVERFLOW);
    CHECK_RC(plait_bank_leave(bank), PLAIT_EPERM);

    CHECK_RC(plait_bank_declare(bank, (int[]){2, 1}), 0);
    CHECK_RC(plait_bank_declare(bank, fine), PLAIT_EBUSY);
    CHECK_RC(plait_bank_acquire(NULL, fine, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_bank_acquire(bank, NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_bank_acquire(bank, negative, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_bank_acquire(bank, (int[]){3, 0}, PLAIT_FOREVER), PLAIT_EOVERFLOW);
    CHECK_RC(plait_bank_acquire(bank, (int[]){INT_MAX, 0}, PLAIT_FOREVER), PLAIT_EOVERFLOW);
    CHECK_RC(plait_bank_acquire(bank, (int[]){1, 1}, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_bank_acquire(bank, (int[]){0, 1}, PLAIT_FOREVER), PLAIT_EOVERFLOW);
    CHECK_RC(plait_bank_release(NULL, fine), PLAIT_EINVAL);
    CHECK_RC(plait_bank_release(bank, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_bank_release(bank, negative), PLAIT_EINVAL);
    CHECK_RC(plait_bank_release(bank, (int[]){1, 2}), PLAIT_EOVERFLOW);
    CHECK_RC(plait_bank_release(bank, (int[]){2, 1}), PLAIT_EOVERFLOW);
    CHECK_RC(plait_bank_leave(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_bank_available(NULL, fine), PLAIT_EINVAL);
    CHECK_RC(plait_bank_available(bank, NULL), PLAIT_EINVAL);
    check_left(b, 2, 0);
    CHECK_RC(plait_bank_release(bank, (int[]){1, 1}), 0);
    check_left(b, 3, 1);
    CHECK_RC(plait_bank_leave(bank), 0);
    CHECK_RC(plait_bank_leave(bank), PLAIT_EPERM);
    close_bank(&t_private_threads, &team, b);
}

static void what_is_taken_and_given_is_counted(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct t_team team;
        struct box *b = open_bank(s, &team, 2, 5, 3);
        struct clerk *c = b->clerks;
        CHECK_RC(let(&c[0], DECLARE, 3, 1), 0);
        CHECK_RC(let(&c[1], DECLARE, 2, 2), 0);
        check_left(b, 5, 3);
        CHECK_RC(let(&c[0], ACQUIRE, 2, 0), 0);
        CHECK_RC(let(&c[0], ACQUIRE, 1, 1), 0);
        CHECK_RC(let(&c[1], ACQUIRE, 2, 1), 0);
        check_left(b, 0, 1);
        CHECK_RC(let(&c[1], ACQUIRE, 0, 0), 0);
        CHECK_RC(let(&c[0], RELEASE, 0, 1), 0);
        check_left(b, 0, 2);
        CHECK_RC(let(&c[0], RELEASE, 0, 0), 0);
        CHECK_RC(let(&c[0], LEAVE, 0, 0), 0);
        check_left(b, 3, 2);
        CHECK_RC(let(&c[0], ACQUIRE, 1, 0), PLAIT_EPERM);
        CHECK_RC(let(&c[0], DECLARE, 5, 3), 0); /* it may come back with another claim */
        CHECK_RC(let(&c[1], LEAVE, 0, 0), 0);
        check_left(b, 5, 3);
        close_bank(s, &team, b);
    }
}

static void as_many_may_declare_as_there_is_room_for(void **state)
{
    (void)state;
    struct t_team team;
    struct box *b = open_bank(&t_private_threads, &team, 2, 1, 1);
    uint32_t full = pl_self.id; /* some living worker */
    for (int i = 2; i < PLAIT_BANK_CLAIMANTS; i++)
        b->bank.rows_[i].id_ = full;
    b->bank.pid_ = getpid();
    CHECK_RC(let(&b->clerks[0], DECLARE, 1, 1), 0);
    CHECK_RC(let(&b->clerks[1], DECLARE, 1, 1), 0);
    b->bank.rows_[0].id_ = full; /* and both places are taken */
    b->bank.rows_[1].id_ = full;
    CHECK_RC(let(&b->clerks[0], DECLARE, 1, 1), PLAIT_EWORKERS);
    b->bank.rows_[63].id_ = 0;
    CHECK_RC(let(&b->clerks[0], DECLARE, 1, 1), 0);
    close_bank(&t_private_threads, &team, b);
}

/* --- safe states only --- */

/* Each has one of two and may want both: a second one for the other would be the end of both. */
static void what_could_end_in_a_deadlock_is_not_lent(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct t_team team;
        struct box *b = open_bank(s, &team, 2, 2, 0);
        struct clerk *c = b->clerks;
        CHECK_RC(let(&c[0], DECLARE, 2, 0), 0);
        CHECK_RC(let(&c[1], DECLARE, 2, 0), 0);
        CHECK_RC(let(&c[0], ACQUIRE, 1, 0), 0);
        check_left(b, 1, 0);
        CHECK_RC(let(&c[1], ACQUIRE, 1, 0), PLAIT_ETIMEDOUT); /* though there is one */
        check_left(b, 1, 0);
        start_waiting(&team, b, 1, 1, 0);
        CHECK_RC(let(&c[0], ACQUIRE, 1, 0), 0); /* this one can always finish */
        CHECK(is_waiting(b, 1));
        CHECK_RC(let(&c[0], RELEASE, 1, 0), 0);
        CHECK(is_waiting(b, 1));
        CHECK_RC(let(&c[0], RELEASE, 1, 0), 0);
        CHECK_RC(finish(&c[1]), 0);
        check_left(b, 1, 0);
        close_bank(s, &team, b);
    }
}

/* The example of the textbooks, with one kind: 12 in all. */
static void a_state_is_safe_if_some_order_lets_all_finish(void **state)
{
    (void)state;
    struct t_team team;
    struct box *b = open_bank(&t_threads, &team, 3, 12, 0);
    struct clerk *c = b->clerks;
    CHECK_RC(let(&c[0], DECLARE, 10, 0), 0);
    CHECK_RC(let(&c[1], DECLARE, 4, 0), 0);
    CHECK_RC(let(&c[2], DECLARE, 9, 0), 0);
    CHECK_RC(let(&c[0], ACQUIRE, 5, 0), 0);
    CHECK_RC(let(&c[1], ACQUIRE, 2, 0), 0);
    CHECK_RC(let(&c[2], ACQUIRE, 2, 0), 0); /* 3 left: 1, then 0, then 2 can finish */
    CHECK_RC(let(&c[2], ACQUIRE, 1, 0), PLAIT_ETIMEDOUT);
    CHECK_RC(let(&c[0], ACQUIRE, 2, 0), PLAIT_ETIMEDOUT);
    CHECK_RC(let(&c[1], ACQUIRE, 2, 0), 0);
    CHECK_RC(let(&c[1], RELEASE, 4, 0), 0);
    CHECK_RC(let(&c[2], ACQUIRE, 1, 0), PLAIT_ETIMEDOUT);
    check_left(b, 5, 0);
    close_bank(&t_threads, &team, b);
}

static void each_kind_counts_by_itself(void **state)
{
    (void)state;
    struct t_team team;
    struct box *b = open_bank(&t_threads, &team, 2, 2, 2);
    struct clerk *c = b->clerks;
    CHECK_RC(let(&c[0], DECLARE, 2, 2), 0);
    CHECK_RC(let(&c[1], DECLARE, 1, 1), 0);
    CHECK_RC(let(&c[0], ACQUIRE, 2, 1), 0);
    CHECK_RC(let(&c[1], ACQUIRE, 0, 1), PLAIT_ETIMEDOUT); /* then neither could finish */
    CHECK_RC(let(&c[1], ACQUIRE, 1, 0), PLAIT_ETIMEDOUT); /* there is none */
    CHECK_RC(let(&c[0], RELEASE, 2, 0), 0);
    CHECK_RC(let(&c[1], ACQUIRE, 1, 1), 0);
    close_bank(&t_threads, &team, b);
}

/* --- whose turn it is --- */

static void who_asks_first_is_served_first(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct t_team team;
        struct box *b = open_bank(s, &team, 3, 1, 0);
        struct clerk *c = b->clerks;
        for (int i = 0; i < 3; i++)
            CHECK_RC(let(&c[i], DECLARE, 1, 0), 0);
        CHECK_RC(let(&c[0], ACQUIRE, 1, 0), 0);
        start_waiting(&team, b, 2, 1, 0);
        start_waiting(&team, b, 1, 1, 0);
        CHECK_RC(let(&c[0], RELEASE, 1, 0), 0);
        CHECK_RC(finish(&c[2]), 0);
        CHECK(is_waiting(b, 1));
        CHECK_RC(let(&c[0], ACQUIRE, 1, 0), PLAIT_ETIMEDOUT);
        CHECK_RC(let(&c[2], LEAVE, 0, 0), 0);
        CHECK_RC(finish(&c[1]), 0);
        close_bank(s, &team, b);
    }
}

static void one_release_serves_all_who_can_be_served(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct t_team team;
        struct box *b = open_bank(s, &team, 3, 4, 0);
        struct clerk *c = b->clerks;
        CHECK_RC(let(&c[0], DECLARE, 4, 0), 0);
        CHECK_RC(let(&c[1], DECLARE, 2, 0), 0);
        CHECK_RC(let(&c[2], DECLARE, 2, 0), 0);
        CHECK_RC(let(&c[0], ACQUIRE, 4, 0), 0);
        start_waiting(&team, b, 1, 2, 0);
        start_waiting(&team, b, 2, 1, 0);
        CHECK_RC(let(&c[0], RELEASE, 4, 0), 0);
        CHECK_RC(finish(&c[1]), 0);
        CHECK_RC(finish(&c[2]), 0);
        check_left(b, 1, 0);
        close_bank(s, &team, b);
    }
}

/* Two who want little never have it both given back at the same time. Each round one overtakes. */
static void a_large_request_is_overtaken_so_often_and_no_more(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct t_team team;
        struct box *b = open_bank(s, &team, 3, 2, 0);
        struct clerk *c = b->clerks;
        CHECK_RC(let(&c[0], DECLARE, 1, 0), 0);
        CHECK_RC(let(&c[1], DECLARE, 1, 0), 0);
        CHECK_RC(let(&c[2], DECLARE, 2, 0), 0);
        CHECK_RC(let(&c[0], ACQUIRE, 1, 0), 0);
        start_waiting(&team, b, 2, 2, 0);
        int overtook = 0, holder = 0;
        while (let(&c[!holder], ACQUIRE, 1, 0) == 0) {
            overtook++;
            CHECK(is_waiting(b, 2));
            CHECK_RC(let(&c[holder], RELEASE, 1, 0), 0);
            holder = !holder;
        }
        CHECK_EQ(overtook, PLAIT_BANK_OVERTAKEN);
        CHECK(is_waiting(b, 2));
        CHECK_RC(let(&c[holder], RELEASE, 1, 0), 0);
        CHECK_RC(finish(&c[2]), 0);
        close_bank(s, &team, b);
    }
}

/* Shut out for ever, who holds what it waits for could never give it back. */
static void who_holds_something_is_never_shut_out(void **state)
{
    (void)state;
    struct t_team team;
    struct box *b = open_bank(&t_threads, &team, 3, 3, 0);
    struct clerk *c = b->clerks;
    CHECK_RC(let(&c[0], DECLARE, 2, 0), 0);
    CHECK_RC(let(&c[1], DECLARE, 1, 0), 0);
    CHECK_RC(let(&c[2], DECLARE, 3, 0), 0);
    CHECK_RC(let(&c[0], ACQUIRE, 1, 0), 0);
    start_waiting(&team, b, 2, 3, 0);
    for (int i = 0; i < PLAIT_BANK_OVERTAKEN; i++) {
        CHECK_RC(let(&c[1], ACQUIRE, 1, 0), 0);
        CHECK_RC(let(&c[1], RELEASE, 1, 0), 0);
    }
    CHECK_RC(let(&c[1], ACQUIRE, 1, 0), PLAIT_ETIMEDOUT); /* holds nothing */
    CHECK_RC(let(&c[0], ACQUIRE, 1, 0), 0);
    CHECK_RC(let(&c[0], RELEASE, 2, 0), 0);
    CHECK_RC(finish(&c[2]), 0);
    close_bank(&t_threads, &team, b);
}

static void who_gives_up_lets_those_pass_that_it_shut_out(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct t_team team;
        struct box *b = open_bank(s, &team, 3, 2, 0);
        struct clerk *c = b->clerks;
        CHECK_RC(let(&c[0], DECLARE, 1, 0), 0);
        CHECK_RC(let(&c[1], DECLARE, 1, 0), 0);
        CHECK_RC(let(&c[2], DECLARE, 2, 0), 0);
        CHECK_RC(let(&c[0], ACQUIRE, 1, 0), 0);
        start_waiting(&team, b, 2, 2, 0);
        for (int i = 0; i < PLAIT_BANK_OVERTAKEN; i++) {
            CHECK_RC(let(&c[1], ACQUIRE, 1, 0), 0);
            CHECK_RC(let(&c[1], RELEASE, 1, 0), 0);
        }
        start_waiting(&team, b, 1, 1, 0);
        CHECK_RC(plait_cancel(team.workers[2]), 0);
        CHECK_RC(finish(&c[2]), PLAIT_ECANCELED);
        CHECK_RC(finish(&c[1]), 0);
        close_bank(s, &team, b);
    }
}

/* --- waiting --- */

static struct box *open_exhausted(const struct t_setting *s, struct t_team *team)
{
    struct box *b = open_bank(s, team, 1, 1, 0);
    CHECK_RC(let(&b->clerks[0], DECLARE, 1, 0), 0);
    CHECK_RC(let(&b->clerks[0], ACQUIRE, 1, 0), 0);
    return b;
}

static void a_timeout_is_over_in_time_and_takes_nothing(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct t_team team;
        struct box *b = open_exhausted(s, &team);
        t_check_bad_timeouts(visit, &b->bank);
        t_check_time(visit, &b->bank);
        t_check_signals(visit, &b->bank);
        CHECK_RC(let(&b->clerks[0], RELEASE, 1, 0), 0);
        check_left(b, 1, 0);
        t_check_bad_timeouts(visit, &b->bank); /* also if there is enough */
        CHECK_RC(visit(&b->bank, PLAIT_NOWAIT), 0);
        CHECK_RC(visit(&b->bank, PLAIT_TIMEOUT_MAX), 0);
        close_bank(s, &team, b);
    }
}

static void cancellation_ends_a_wait_and_takes_nothing(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct t_team team;
        struct box *b = open_exhausted(s, &team);
        t_check_cancel(s, visit, &b->bank);
        t_check_cancel_pending(s, visit, &b->bank);
        t_check_cancel_counts(s, visit, &b->bank);
        t_check_uncancel(s, visit, &b->bank);
        CHECK_RC(let(&b->clerks[0], LEAVE, 0, 0), 0);
        check_left(b, 1, 0);
        close_bank(s, &team, b);
    }
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    struct t_team team;
    struct box *b = open_exhausted(&t_mixed, &team);
    errno = EXDEV;
    CHECK_RC(visit(&b->bank, plait_ms(2)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_bank_leave(&b->bank), PLAIT_EPERM);
    check_left(b, 0, 0);
    CHECK_EQ(errno, EXDEV);
    close_bank(&t_mixed, &team, b);
}

enum { SETTINGS = 4 };

static int64_t give_to_one_who_sleeps(void)
{
    struct box *b[SETTINGS];
    struct t_team teams[SETTINGS];
    plait_worker waiters[SETTINGS];
    for (int i = 0; i < SETTINGS; i++) {
        b[i] = open_exhausted(&t_settings[i], &teams[i]);
        b[i]->waiter = (struct t_waiter){visit, &b[i]->bank, PLAIT_FOREVER, 0, 0, 0};
        waiters[i] = t_start_one(t_settings[i].kinds[1], t_wait_once, &b[i]->waiter);
        UNTIL_WAITS(waiters[i], PL_WAIT_BANK);
    }
    t_let_naps_grow();
    int64_t start = plait_now();
    for (int i = 0; i < SETTINGS; i++)
        CHECK_RC(let(&b[i]->clerks[0], RELEASE, 1, 0), 0);
    for (int i = 0; i < SETTINGS; i++)
        CHECK_EQ(t_join_one(waiters[i]), 0);
    int64_t took = plait_now() - start;
    for (int i = 0; i < SETTINGS; i++) {
        CHECK_RC(b[i]->waiter.rc, 0);
        close_bank(&t_settings[i], &teams[i], b[i]);
    }
    return took;
}

static void release_wakes_at_once(void **state)
{
    (void)state;
    t_check_at_once(give_to_one_who_sleeps);
}

/* --- death --- */

/* 0 holds all and dies; 1 and 2 wait, 2 came after 0 had declared, 1 before. */
static int64_t kill_who_holds_all(void)
{
    struct t_team team;
    struct box *b = open_bank(&t_processes, &team, 3, 2, 0);
    struct clerk *c = b->clerks;
    CHECK_RC(let(&c[0], DECLARE, 2, 0), 0);
    CHECK_RC(let(&c[1], DECLARE, 1, 0), 0);
    CHECK_RC(let(&c[2], DECLARE, 1, 0), 0);
    CHECK_RC(let(&c[0], ACQUIRE, 2, 0), 0);
    start_waiting(&team, b, 1, 1, 0);
    start_waiting(&team, b, 2, 1, 0);
    t_let_naps_grow();
    int64_t start = plait_now();
    CHECK_RC(plait_kill(team.workers[0]), 0);
    CHECK_RC(finish(&c[1]), 0);
    CHECK_RC(finish(&c[2]), 0);
    int64_t took = plait_now() - start;
    CHECK_EQ(t_join_one(team.workers[0]), -SIGKILL);
    check_left(b, 0, 0);
    c[0].told = c[0].done = 0;
    team.workers[0] = t_start_one(PLAIT_PROCESS, serve, &c[0]);
    close_bank(&t_processes, &team, b);
    return took;
}

static void what_a_dead_one_held_is_lent_at_once(void **state)
{
    (void)state;
    t_check_at_once(kill_who_holds_all);
}

/* It declares when the others are asleep already. */
static int64_t kill_one_who_came_late(void)
{
    struct t_team team;
    struct box *b = open_bank(&t_mixed, &team, 3, 2, 0);
    struct clerk *c = b->clerks;
    CHECK_RC(let(&c[1], DECLARE, 2, 0), 0);
    CHECK_RC(let(&c[0], DECLARE, 1, 0), 0);
    CHECK_RC(let(&c[0], ACQUIRE, 1, 0), 0);
    start_waiting(&team, b, 1, 2, 0);
    t_let_naps_grow();
    CHECK_RC(let(&c[2], DECLARE, 1, 0), 0);
    CHECK_RC(let(&c[2], ACQUIRE, 1, 0), 0);
    CHECK_RC(let(&c[0], LEAVE, 0, 0), 0);
    UNTIL_WAITS(team.workers[1], PL_WAIT_BANK);
    int64_t start = plait_now();
    CHECK_RC(plait_kill(team.workers[2]), 0);
    CHECK_RC(finish(&c[1]), 0);
    int64_t took = plait_now() - start;
    CHECK_EQ(t_join_one(team.workers[2]), -SIGKILL);
    team.n = 2;
    close_bank(&t_mixed, &team, b);
    return took;
}

static void a_death_of_one_who_came_later_is_noticed_at_once(void **state)
{
    (void)state;
    t_check_at_once(kill_one_who_came_late);
}

struct joining {
    plait_worker whom;
    int rc;
};

static int join_a_brother(void *arg)
{
    struct joining *j = arg;
    TELL(j->rc, plait_join(j->whom, NULL, PLAIT_FOREVER));
    return 0;
}

/* The kernel wakes only one of those who watch a heart: here one who waits at the bank. */
static int64_t kill_one_who_is_joined(void)
{
    struct t_team team;
    struct box *b = open_bank(&t_processes, &team, 2, 1, 0);
    struct joining *j = t_new(&t_processes, sizeof *j);
    CHECK_RC(let(&b->clerks[0], DECLARE, 1, 0), 0);
    CHECK_RC(let(&b->clerks[1], DECLARE, 1, 0), 0);
    CHECK_RC(let(&b->clerks[0], ACQUIRE, 1, 0), 0);
    start_waiting(&team, b, 1, 1, 0);
    j->whom = team.workers[0];
    plait_worker brother = t_start_one(PLAIT_PROCESS, join_a_brother, j);
    UNTIL_WAITS(brother, PL_WAIT_JOIN);
    t_let_naps_grow();
    UNTIL_WAITS(team.workers[1], PL_WAIT_BANK);
    int64_t start = plait_now();
    CHECK_RC(plait_kill(team.workers[0]), 0);
    CHECK_RC(finish(&b->clerks[1]), 0);
    UNTIL(SEEN(j->rc) == PLAIT_DIED);
    int64_t took = plait_now() - start;
    CHECK_EQ(t_join_one(brother), 0);
    begin(&b->clerks[1], STOP, 0, 0, 0);
    CHECK_EQ(t_join_one(team.workers[1]), 0);
    t_delete(&t_processes, j);
    t_delete(&t_processes, b);
    return took;
}

static void a_death_noticed_at_the_bank_is_told_to_all_who_watch(void **state)
{
    (void)state;
    t_check_at_once(kill_one_who_is_joined);
}

static void a_dead_ones_place_claim_and_request_are_free(void **state)
{
    (void)state;
    struct t_team team;
    struct box *b = open_bank(&t_processes, &team, 3, 2, 0);
    struct clerk *c = b->clerks;
    for (int i = 0; i < 3; i++)
        CHECK_RC(let(&c[i], DECLARE, 2, 0), 0);
    CHECK_RC(let(&c[0], ACQUIRE, 1, 0), 0);
    start_waiting(&team, b, 1, 2, 0);
    CHECK_RC(let(&c[2], ACQUIRE, 1, 0), PLAIT_ETIMEDOUT);
    t_kill(team.workers[1]); /* waiting */
    t_kill(team.workers[0]);
    check_left(b, 2, 0);
    CHECK_RC(let(&c[2], ACQUIRE, 2, 0), 0);
    int used = 0;
    for (int i = 0; i < PLAIT_BANK_CLAIMANTS; i++)
        used += b->bank.rows_[i].id_ != 0;
    CHECK_EQ(used, 1);
    begin(&c[2], STOP, 0, 0, 0);
    CHECK_EQ(t_join_one(team.workers[2]), 0);
    t_delete(&t_processes, b);
}

static int end_without_leaving(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_bank_declare(&b->bank, (int[]){1, 0}), 0);
    CHECK_RC(plait_bank_acquire(&b->bank, (int[]){1, 0}, PLAIT_NOWAIT), 0);
    return 0;
}

static void who_ends_without_leaving_leaves(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct t_team team;
        struct box *b = open_bank(s, &team, 0, 1, 0);
        for (int i = 0; i < 4; i++)
            CHECK_EQ(t_join_one(t_start_one(s->kinds[i % 2], end_without_leaving, b)), 0);
        check_left(b, 1, 0);
        close_bank(s, &team, b);
    }
}

/* --- fork in user code --- */

static int use_as_child(void *arg)
{
    struct box *b = arg;
    int one[KINDS] = {1, 0};
    CHECK_RC(plait_bank_release(&b->bank, one), PLAIT_EPERM);
    CHECK_RC(plait_bank_leave(&b->bank), PLAIT_EPERM);
    if (pl_arena_holds(b)) {
        check_left(b, 0, 0);
        return visit(&b->bank, PLAIT_NOWAIT) == PLAIT_ETIMEDOUT ? 0 : 1;
    }
    check_left(b, 1, 0); /* a copy: its own bank, of which nobody has anything */
    return visit(&b->bank, PLAIT_NOWAIT);
}

static void a_forked_child_has_declared_nothing(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_private_threads, &t_threads};
    for (int i = 0; i < 2; i++) {
        struct t_team team;
        struct box *b = open_bank(both[i], &team, 0, 1, 0);
        int one[KINDS] = {1, 0};
        CHECK_RC(plait_bank_declare(&b->bank, one), 0);
        CHECK_RC(plait_bank_acquire(&b->bank, one, PLAIT_NOWAIT), 0);
        CHECK_EQ(t_in_fork(use_as_child, b), 0);
        check_left(b, 0, 0);
        CHECK_RC(plait_bank_leave(&b->bank), 0);
        close_bank(both[i], &team, b);
    }
}

static int use_in_foreign_memory(void *bank)
{
    return visit(bank, PLAIT_NOWAIT) == PLAIT_EPRIVATE ? 0 : 1;
}

static void shared_memory_of_ones_own_is_told_apart(void **state)
{
    (void)state;
    plait_bank *bank =
        mmap(NULL, sizeof *bank, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(bank != MAP_FAILED);
    CHECK_RC(plait_bank_init(bank, (int[]){1, 0}, KINDS), 0);
    CHECK_RC(visit(bank, PLAIT_NOWAIT), 0);
    CHECK_EQ(t_in_fork(use_in_foreign_memory, bank), 0);
    CHECK_RC(visit(bank, PLAIT_NOWAIT), 0);
    munmap(bank, sizeof *bank);
}

static int nothing_is_left(void **state)
{
    (void)state;
    return t_has_children() ? -1 : 0;
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_an_arena_it_says_why_it_cannot_be_used),
        cmocka_unit_test(zeroed_memory_is_a_bank_without_kinds),
        cmocka_unit_test(init_opens_whatever_the_bytes_were),
        cmocka_unit_test(misuse_is_refused_and_changes_nothing),
        cmocka_unit_test(what_is_taken_and_given_is_counted),
        cmocka_unit_test(as_many_may_declare_as_there_is_room_for),
        cmocka_unit_test(what_could_end_in_a_deadlock_is_not_lent),
        cmocka_unit_test(a_state_is_safe_if_some_order_lets_all_finish),
        cmocka_unit_test(each_kind_counts_by_itself),
        cmocka_unit_test(who_asks_first_is_served_first),
        cmocka_unit_test(one_release_serves_all_who_can_be_served),
        cmocka_unit_test(a_large_request_is_overtaken_so_often_and_no_more),
        cmocka_unit_test(who_holds_something_is_never_shut_out),
        cmocka_unit_test(who_gives_up_lets_those_pass_that_it_shut_out),
        cmocka_unit_test(a_timeout_is_over_in_time_and_takes_nothing),
        cmocka_unit_test(cancellation_ends_a_wait_and_takes_nothing),
        cmocka_unit_test(errno_is_left_alone),
        cmocka_unit_test(release_wakes_at_once),
        cmocka_unit_test(what_a_dead_one_held_is_lent_at_once),
        cmocka_unit_test(a_death_of_one_who_came_later_is_noticed_at_once),
        cmocka_unit_test(a_death_noticed_at_the_bank_is_told_to_all_who_watch),
        cmocka_unit_test(a_dead_ones_place_claim_and_request_are_free),
        cmocka_unit_test(who_ends_without_leaving_leaves),
        cmocka_unit_test(a_forked_child_has_declared_nothing),
        cmocka_unit_test(shared_memory_of_ones_own_is_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
