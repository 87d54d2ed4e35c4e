/* Ten thousand waiters on one word: each primitive serves all of them, each once. */
#include "harness/harness.h"

#include "park/park.h"

enum { CROWD = 10000, STACK = 64 * 1024 };

struct crowd {
    plait_lock lock, fair;
    plait_semaphore semaphore;
    plait_event event;
    plait_condition condition;
    int n, through;
    long count; /* under whichever lock is tried */
    bool open;
};

static int pass_lock(void *arg)
{
    struct crowd *c = arg;
    CHECK_RC(plait_lock_acquire(&c->lock, PLAIT_FOREVER), 0);
    c->count++;
    return plait_lock_release(&c->lock);
}

static int pass_fair(void *arg)
{
    struct crowd *c = arg;
    CHECK_RC(plait_lock_acquire(&c->fair, PLAIT_FOREVER), 0);
    c->count++;
    return plait_lock_release(&c->fair);
}

static int pass_semaphore(void *arg)
{
    struct crowd *c = arg;
    CHECK_RC(plait_semaphore_acquire(&c->semaphore, PLAIT_FOREVER), 0);
    COUNT(c->through);
    return 0;
}

static int pass_event(void *arg)
{
    struct crowd *c = arg;
    CHECK_RC(plait_event_wait(&c->event, PLAIT_FOREVER), 0);
    COUNT(c->through);
    return 0;
}

static int pass_condition(void *arg)
{
    struct crowd *c = arg;
    PLAIT_WITH(&c->condition) {
        while (!c->open)
            CHECK_RC(plait_condition_wait(&c->condition, PLAIT_FOREVER), 0);
        c->count++;
    }
    return 0;
}

/* Starts `n`, or as many as this machine lets us. */
static int gather(struct crowd *c, plait_worker *workers, plait_function *fn, int kind, int n)
{
    plait_options options = {.stack_size = STACK};
    n = t_is_sanitized() ? n / 10 : n;
    for (c->n = 0; c->n < n; c->n++) {
        int rc = plait_start(&workers[c->n], PLAIT_THREAD, fn, c, &options);
        if (rc == PLAIT_EAGAIN || rc == PLAIT_ENOMEM)
            break;
        CHECK_RC(rc, 0);
    }
    CHECK(c->n > 100);
    for (int i = 0; i < c->n; i++)
        UNTIL_WAITS(workers[i], kind);
    return c->n;
}

static void dismiss(struct crowd *c, const plait_worker *workers)
{
    for (int i = 0; i < c->n; i++)
        CHECK_EQ(t_join_one(workers[i]), 0);
}

static plait_worker workers[CROWD];

static void locks_pass_through_the_whole_crowd(void **state)
{
    (void)state;
    struct crowd *c = plait_alloc(sizeof *c);
    CHECK_RC(plait_lock_acquire(&c->lock, PLAIT_FOREVER), 0);
    int n = gather(c, workers, pass_lock, PL_WAIT_LOCK, CROWD);
    CHECK_RC(plait_lock_release(&c->lock), 0);
    dismiss(c, workers);
    CHECK_EQ(c->count, n);
    plait_free(c);
}

static void a_fair_lock_passes_down_the_whole_line(void **state)
{
    (void)state;
    struct crowd *c = plait_alloc(sizeof *c);
    CHECK_RC(plait_lock_init(&c->fair, &(plait_lock_options){.fair = true}), 0);
    CHECK_RC(plait_lock_acquire(&c->fair, PLAIT_FOREVER), 0);
    int n = gather(c, workers, pass_fair, PL_WAIT_LOCK, CROWD / 5);
    CHECK_RC(plait_lock_release(&c->fair), 0);
    dismiss(c, workers);
    CHECK_EQ(c->count, n);
    plait_free(c);
}

static void each_permit_goes_to_one(void **state)
{
    (void)state;
    struct crowd *c = plait_alloc(sizeof *c);
    int n = gather(c, workers, pass_semaphore, PL_WAIT_SEMAPHORE, CROWD);
    CHECK_RC(plait_semaphore_release(&c->semaphore, n / 2), 0);
    UNTIL(SEEN(c->through) == n / 2);
    CHECK_RC(plait_semaphore_release(&c->semaphore, n - n / 2), 0);
    dismiss(c, workers);
    CHECK_EQ(c->through, n);
    CHECK_EQ(plait_semaphore_value(&c->semaphore), 0);
    plait_free(c);
}

static void an_event_lets_all_go(void **state)
{
    (void)state;
    struct crowd *c = plait_alloc(sizeof *c);
    int n = gather(c, workers, pass_event, PL_WAIT_EVENT, CROWD);
    CHECK_RC(plait_event_set(&c->event), 0);
    CHECK_RC(plait_event_clear(&c->event), 0);
    dismiss(c, workers);
    CHECK_EQ(c->through, n);
    plait_free(c);
}

static void notify_counts_them_exactly(void **state)
{
    (void)state;
    struct crowd *c = plait_alloc(sizeof *c);
    int n = gather(c, workers, pass_condition, PL_WAIT_CONDITION, CROWD);
    PLAIT_WITH(&c->condition) {
        c->open = true;
        CHECK_EQ(plait_condition_notify(&c->condition, n / 2), n / 2);
        CHECK_EQ(plait_condition_notify_all(&c->condition), n - n / 2);
    }
    dismiss(c, workers);
    CHECK_EQ(c->count, n);
    plait_free(c);
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locks_pass_through_the_whole_crowd),
        cmocka_unit_test(a_fair_lock_passes_down_the_whole_line),
        cmocka_unit_test(each_permit_goes_to_one),
        cmocka_unit_test(an_event_lets_all_go),
        cmocka_unit_test(notify_counts_them_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
