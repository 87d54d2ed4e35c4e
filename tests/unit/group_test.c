/* Groups: who is cancelled by whose failure, what leaving waits for and says, and whose requests are whose. */
#include "harness.h"
#include "park/park.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

struct world {
    plait_event never, go;
    plait_group *group;
    int ready, ended, cancelled, started;
    int rc, after, body, cancelling, other;
    int kind;
};

static struct world *new_world(int kind)
{
    struct world *w = plait_alloc(sizeof *w);
    CHECK(w != NULL);
    w->kind = kind;
    return w;
}

static int just_end(void *arg)
{
    COUNT(((struct world *)arg)->ended);
    return 0;
}

static int wait_to_be_cancelled(void *arg)
{
    struct world *w = arg;
    COUNT(w->ready);
    int rc = plait_event_wait(&w->never, PLAIT_FOREVER);
    CHECK_RC(rc, PLAIT_ECANCELED);
    COUNT(w->cancelled);
    return rc;
}

static int wait_for_go(void *arg)
{
    struct world *w = arg;
    COUNT(w->ready);
    int rc = plait_event_wait(&w->go, PLAIT_FOREVER);
    COUNT(w->ended);
    return rc;
}

static int fail_at_go(void *arg)
{
    struct world *w = arg;
    COUNT(w->ready);
    CHECK_RC(plait_event_wait(&w->go, PLAIT_FOREVER), 0);
    return -77;
}

static int kill_oneself_at_go(void *arg)
{
    struct world *w = arg;
    COUNT(w->ready);
    CHECK_RC(plait_event_wait(&w->go, PLAIT_FOREVER), 0);
    raise(SIGKILL);
    return 0;
}

static int exit_at_go(void *arg)
{
    CHECK_RC(plait_event_wait(&((struct world *)arg)->go, PLAIT_FOREVER), 0);
    _exit(3);
}

static plait_worker start(plait_group *g, int kind, plait_function *fn, void *arg)
{
    plait_worker w;
    CHECK_RC(plait_group_start(g, &w, kind, fn, arg, NULL), 0);
    return w;
}

/* --- waiting for all --- */

static void leaving_waits_for_all_kinds(void **state)
{
    (void)state;
    struct world *w = new_world(0);
    plait_group g = {0};
    bool other = false;
    PLAIT_GROUP(&g) {
        for (int i = 0; i < 10; i++)
            start(&g, i % 2 ? PLAIT_THREAD : PLAIT_PROCESS, wait_for_go, w);
        UNTIL(SEEN(w->ready) == 10);
        CHECK_RC(plait_event_set(&w->go), 0);
    } else
        other = true;
    CHECK(!other);
    CHECK_EQ(w->ended, 10);
    CHECK_RC(plait_group_error(&g), 0);
    CHECK_RC(plait_group_leave(&g), PLAIT_ECLOSED);
    CHECK_EQ(plait_scope_effective_deadline(), INT64_MAX);
    CHECK_RC(plait_free(w), 0);
}

static int leave_by_return(struct world *w, plait_group *g)
{
    PLAIT_GROUP(g) {
        for (int i = 0; i < 4; i++)
            start(g, w->kind, just_end, w);
        return 4;
    }
    return 5;
}

static void every_way_out_waits(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world(kind);
        plait_group g = {0}, h = {0};
        CHECK_EQ(leave_by_return(w, &g), 4);
        CHECK_EQ(w->ended, 4);
        PLAIT_GROUP(&h) {
            start(&h, kind, just_end, w);
            break;
        }
        CHECK_EQ(w->ended, 5);
        CHECK_RC(plait_free(w), 0);
    }
}

static void a_group_that_nobody_entered_is_entered_by_its_first_start(void **state)
{
    (void)state;
    struct world *w = new_world(PLAIT_THREAD);
    plait_group g = {0}, unused = {0};
    CHECK_RC(plait_group_leave(&unused), 0);
    CHECK_RC(plait_group_start(&unused, NULL, PLAIT_THREAD, just_end, w, NULL), PLAIT_ECLOSED);
    CHECK_RC(plait_group_start(&g, NULL, PLAIT_THREAD, just_end, w, NULL), 0);
    CHECK_RC(plait_group_enter(&g), PLAIT_EBUSY);
    CHECK_RC(plait_group_leave(&g), 0);
    CHECK_RC(plait_group_start(&g, NULL, PLAIT_THREAD, just_end, w, NULL), PLAIT_ECLOSED);
    CHECK_EQ(w->ended, 1);
    CHECK_RC(plait_free(w), 0);
}

/* --- failures --- */

static void a_failure_cancels_the_others_and_the_body(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        for (int other_kind = PLAIT_THREAD; other_kind <= PLAIT_PROCESS; other_kind++) {
            struct world *w = new_world(kind);
            plait_group g = {0};
            plait_blame failures[3];
            bool other = false;
            plait_worker failing = {0, 0};
            PLAIT_GROUP(&g) {
                for (int i = 0; i < 4; i++)
                    start(&g, i % 2 ? kind : other_kind, wait_to_be_cancelled, w);
                failing = start(&g, kind, fail_at_go, w);
                UNTIL(SEEN(w->ready) == 5);
                CHECK_RC(plait_event_set(&w->go), 0);
                CHECK_RC(plait_event_wait(&w->never, PLAIT_FOREVER), PLAIT_ECANCELED);
                CHECK_RC(plait_event_wait(&w->never, PLAIT_FOREVER), PLAIT_ECANCELED);
                CHECK_RC(plait_group_start(&g, NULL, kind, just_end, w, NULL), PLAIT_ECLOSED);
                CHECK_EQ(plait_cancelling(), 0);
            } else
                other = true;
            CHECK(other);
            CHECK_EQ(w->cancelled, 4);
            CHECK_RC(plait_group_error(&g), -77);
            CHECK_EQ(plait_group_failures(&g, failures, 3), 1);
            CHECK(plait_same(failures[0].worker, failing));
            CHECK_EQ(failures[0].status, -77);
            CHECK_RC(plait_checkpoint(), 0); /* nothing leaks */
            CHECK_EQ(plait_cancelling(), 0);
            CHECK_RC(plait_free(w), 0);
        }
    }
}

static void a_failure_while_the_owner_leaves_cancels_the_others(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world(kind);
        plait_group g = {0};
        for (int i = 0; i < 3; i++)
            start(&g, kind, wait_to_be_cancelled, w);
        start(&g, kind, fail_at_go, w);
        UNTIL(SEEN(w->ready) == 4);
        CHECK_RC(plait_event_set(&w->go), 0);
        CHECK_RC(plait_group_leave(&g), -77);
        CHECK_EQ(w->cancelled, 3);
        CHECK_RC(plait_checkpoint(), 0);
        CHECK_RC(plait_free(w), 0);
    }
}

static void a_member_that_is_killed_fails_the_group(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++) {
        struct world *w = new_world(0);
        plait_group g = {0};
        plait_blame failure;
        plait_worker victim;
        bool self = round % 2, in_body = round < 2;
        for (int i = 0; i < 4; i++)
            start(&g, i % 2 ? PLAIT_THREAD : PLAIT_PROCESS, wait_to_be_cancelled, w);
        victim = start(&g, PLAIT_PROCESS, self ? kill_oneself_at_go : wait_to_be_cancelled, w);
        UNTIL(SEEN(w->ready) == 5);
        if (self)
            CHECK_RC(plait_event_set(&w->go), 0);
        else
            CHECK_RC(plait_kill(victim), 0);
        if (in_body)
            CHECK_RC(plait_event_wait(&w->never, PLAIT_FOREVER), PLAIT_ECANCELED);
        CHECK_RC(plait_group_leave(&g), PLAIT_EDIED);
        CHECK_EQ(w->cancelled, 4);
        CHECK_EQ(plait_group_failures(&g, &failure, 1), 1);
        CHECK_EQ(failure.signal, SIGKILL);
        CHECK(plait_same(failure.worker, victim));
        CHECK_RC(plait_checkpoint(), 0);
        CHECK_RC(plait_free(w), 0);
    }
}

static void a_member_that_exits_fails_the_group(void **state)
{
    (void)state;
    struct world *w = new_world(0);
    plait_group g = {0};
    plait_blame failure;
    start(&g, PLAIT_THREAD, wait_to_be_cancelled, w);
    start(&g, PLAIT_PROCESS, exit_at_go, w);
    CHECK_RC(plait_event_set(&w->go), 0);
    CHECK_RC(plait_group_leave(&g), PLAIT_EDIED);
    CHECK_EQ(plait_group_failures(&g, &failure, 1), 1);
    CHECK_EQ(failure.status, 3);
    CHECK_RC(plait_free(w), 0);
}

static int fail_when_cancelled(void *arg)
{
    struct world *w = arg;
    COUNT(w->ready);
    CHECK_RC(plait_event_wait(&w->never, PLAIT_FOREVER), PLAIT_ECANCELED);
    return -5;
}

static void the_first_failure_is_returned_and_all_are_listed(void **state)
{
    (void)state;
    enum { MANY = 12 };
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world(kind);
        plait_group g = {0};
        plait_blame failures[MANY];
        for (int i = 0; i < MANY - 1; i++)
            start(&g, kind, fail_when_cancelled, w);
        start(&g, kind, fail_at_go, w);
        UNTIL(SEEN(w->ready) == MANY);
        CHECK_RC(plait_event_set(&w->go), 0);
        CHECK_RC(plait_event_wait(&w->never, PLAIT_FOREVER), PLAIT_ECANCELED);
        CHECK_RC(plait_group_leave(&g), -77);
        CHECK_EQ(plait_group_failures(&g, failures, MANY), MANY);
        CHECK_EQ(failures[0].status, -77);
        for (int i = 1; i < PLAIT_GROUP_FAILURES; i++)
            CHECK_EQ(failures[i].status, -5);
        CHECK_RC(plait_free(w), 0);
    }
}

static void the_bodys_own_failure_counts(void **state)
{
    (void)state;
    struct world *w = new_world(PLAIT_THREAD);
    plait_group g = {0};
    plait_blame failure;
    int rc = 0;
    PLAIT_GROUP(&g) {
        start(&g, PLAIT_THREAD, wait_to_be_cancelled, w);
        start(&g, PLAIT_PROCESS, wait_to_be_cancelled, w);
        UNTIL(SEEN(w->ready) == 2);
        CHECK_RC(plait_group_fail(&g, 0), PLAIT_EINVAL);
        CHECK_RC(plait_group_fail(&g, PLAIT_ECANCELED), PLAIT_EINVAL);
        CHECK_RC(plait_group_fail(&g, -9), 0);
        break;
    } else
        rc = plait_group_error(&g);
    CHECK_RC(rc, -9);
    CHECK_EQ(w->cancelled, 2);
    CHECK_EQ(plait_group_failures(&g, &failure, 1), 1);
    CHECK_EQ(failure.worker.slot, 0);
    CHECK_RC(plait_free(w), 0);
}

static void a_child_cancelled_alone_does_not_fail_the_group(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world(kind);
        plait_group g = {0};
        plait_worker one = start(&g, kind, wait_to_be_cancelled, w);
        start(&g, kind, wait_for_go, w);
        UNTIL(SEEN(w->ready) == 2);
        CHECK_RC(plait_cancel(one), 0);
        UNTIL(SEEN(w->cancelled) == 1);
        CHECK_RC(plait_event_wait(&w->never, plait_ms(20)), PLAIT_ETIMEDOUT);
        CHECK_EQ(w->ended, 0);
        CHECK_RC(plait_event_set(&w->go), 0);
        CHECK_RC(plait_group_leave(&g), 0);
        CHECK_EQ(w->ended, 1);
        CHECK_RC(plait_free(w), 0);
    }
}

/* --- cancelling --- */

static void cancelling_a_group_ends_it_without_an_error(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world(kind);
        plait_group g = {0}, before = {0};
        bool other = false;
        PLAIT_GROUP(&g) {
            start(&g, kind, wait_to_be_cancelled, w);
            UNTIL(SEEN(w->ready) == 1);
            CHECK_RC(plait_group_cancel(&g), 0);
            CHECK_RC(plait_group_cancel(&g), 0);
            CHECK_RC(plait_group_start(&g, NULL, kind, just_end, w, NULL), PLAIT_ECLOSED);
            CHECK_RC(plait_event_wait(&w->never, PLAIT_FOREVER), PLAIT_ECANCELED);
        } else
            other = true;
        CHECK(!other);
        CHECK_EQ(w->cancelled, 1);
        CHECK_RC(plait_group_cancel(&g), 0);
        CHECK_RC(plait_group_error(&g), 0);
        CHECK_RC(plait_group_cancel(&before), 0);
        PLAIT_GROUP(&before)
            CHECK(false);
        else
            other = true;
        CHECK(!other);
        CHECK_RC(plait_free(w), 0);
    }
}

static int cancel_group(void *arg)
{
    struct world *w = arg;
    CHECK_RC(plait_event_wait(&w->go, PLAIT_FOREVER), 0);
    CHECK_RC(plait_group_cancel(w->group), 0);
    return 0;
}

static void a_member_can_cancel_its_group(void **state)
{
    (void)state;
    struct world *w = new_world(PLAIT_THREAD);
    plait_group g = {0};
    w->group = &g;
    start(&g, PLAIT_THREAD, cancel_group, w);
    start(&g, PLAIT_PROCESS, wait_to_be_cancelled, w);
    UNTIL(SEEN(w->ready) == 1);
    CHECK_RC(plait_event_set(&w->go), 0);
    CHECK_RC(plait_event_wait(&w->never, PLAIT_FOREVER), PLAIT_ECANCELED);
    CHECK_RC(plait_group_leave(&g), 0);
    CHECK_EQ(w->cancelled, 1);
    CHECK_RC(plait_free(w), 0);
}

/* A worker that owns a group and is itself asked to stop. */
static int own_a_group(void *arg)
{
    struct world *w = arg;
    plait_group g = {0};
    int other = 0;
    PLAIT_GROUP(&g) {
        start(&g, PLAIT_THREAD, w->body == 2 ? fail_when_cancelled : wait_to_be_cancelled, w);
        start(&g, PLAIT_PROCESS, wait_to_be_cancelled, w);
        if (w->body)
            w->rc = plait_event_wait(&w->never, PLAIT_FOREVER);
    } else
        other = plait_group_error(&g);
    TELL(w->other, other);
    w->cancelling = plait_cancelling();
    w->after = plait_event_wait(&w->never, plait_ms(5));
    return 0;
}

static void a_request_from_outside_cancels_the_members_and_is_not_lost(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        for (int body = 0; body <= 2; body++) {
            struct world *w = new_world(kind);
            w->body = body;
            plait_worker owner = t_start_one(kind, own_a_group, w);
            UNTIL(SEEN(w->ready) == 2);
            UNTIL_WAITS(owner, body ? PL_WAIT_EVENT : PL_WAIT_JOIN);
            CHECK_RC(plait_cancel(owner), 0);
            CHECK_EQ(t_join_one(owner), 0);
            if (body)
                CHECK_RC(w->rc, PLAIT_ECANCELED);
            CHECK_EQ(w->cancelling, 1);
            /* errors have priority over the request, which is said again */
            CHECK_RC(w->other, body == 2 ? -5 : PLAIT_ECANCELED);
            CHECK_RC(w->after, body == 2 ? PLAIT_ECANCELED : PLAIT_ETIMEDOUT);
            CHECK_EQ(w->cancelled, body == 2 ? 1 : 2);
            CHECK_RC(plait_free(w), 0);
        }
    }
}

static int fail_at_once(void *arg)
{
    (void)arg;
    return -3;
}

/* The body fails by a member and is asked from outside as well. */
static int fail_and_be_asked(void *arg)
{
    struct world *w = arg;
    plait_group g = {0};
    start(&g, PLAIT_THREAD, fail_at_once, w);
    CHECK_RC(plait_event_wait(&w->never, PLAIT_FOREVER), PLAIT_ECANCELED);
    CHECK_RC(plait_cancel(plait_self()), 0);
    CHECK_RC(plait_group_leave(&g), -3);
    CHECK_EQ(plait_cancelling(), 1);
    CHECK_RC(plait_checkpoint(), PLAIT_ECANCELED);
    CHECK_RC(plait_checkpoint(), 0);
    CHECK_EQ(plait_uncancel(), 0);

    plait_group h = {0};
    CHECK_RC(plait_cancel(plait_self()), 0); /* before it is entered: it is not this group's */
    CHECK_RC(plait_group_start(&h, NULL, PLAIT_THREAD, fail_when_cancelled, w, NULL), 0);
    CHECK_RC(plait_group_leave(&h), -5);
    CHECK_EQ(plait_cancelling(), 1);
    CHECK_RC(plait_checkpoint(), PLAIT_ECANCELED);
    CHECK_EQ(plait_uncancel(), 0);

    plait_group i = {0};
    CHECK_RC(plait_cancel(plait_self()), 0);
    CHECK_RC(plait_group_start(&i, NULL, PLAIT_THREAD, wait_to_be_cancelled, w, NULL), 0);
    CHECK_RC(plait_event_wait(&w->never, PLAIT_FOREVER), PLAIT_ECANCELED); /* the body gets it */
    CHECK_RC(plait_group_leave(&i), PLAIT_ECANCELED);
    CHECK_RC(plait_checkpoint(), 0);
    return 0;
}

static void requests_and_failures_are_not_mixed_up(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world(kind);
        CHECK_EQ(t_join_one(t_start_one(kind, fail_and_be_asked, w)), 0);
        CHECK_RC(plait_free(w), 0);
    }
}

static void a_scope_around_a_group_ends_it(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world(kind);
        plait_group g = {0};
        int other = 0;
        bool timed_out = false;
        PLAIT_TIMEOUT(plait_ms(30)) {
            PLAIT_GROUP(&g) {
                start(&g, kind, wait_to_be_cancelled, w);
                UNTIL(SEEN(w->ready) == 1);
            } else
                other = plait_group_error(&g);
        } else
            timed_out = true;
        CHECK(timed_out);
        CHECK_RC(other, PLAIT_ECANCELED);
        CHECK_EQ(w->cancelled, 1);
        CHECK_RC(plait_free(w), 0);
    }
}

static void a_scope_inside_a_group_leaves_it_alone(void **state)
{
    (void)state;
    struct world *w = new_world(PLAIT_THREAD);
    plait_group g = {0};
    int timed_out = 0;
    PLAIT_GROUP(&g) {
        start(&g, PLAIT_THREAD, fail_at_go, w);
        PLAIT_TIMEOUT(plait_ms(2))
            CHECK_RC(plait_event_wait(&w->never, PLAIT_FOREVER), PLAIT_ECANCELED);
        else
            timed_out++;
        CHECK_EQ(timed_out, 1);
        CHECK_RC(plait_event_set(&w->go), 0);
        PLAIT_TIMEOUT(plait_seconds(30))
            CHECK_RC(plait_event_wait(&w->never, PLAIT_FOREVER), PLAIT_ECANCELED);
        else
            timed_out++; /* it was the group's */
    }
    CHECK_EQ(timed_out, 1);
    CHECK_RC(plait_group_error(&g), -77);
    CHECK_RC(plait_free(w), 0);
}

static void groups_nest(void **state)
{
    (void)state;
    struct world *w = new_world(PLAIT_THREAD);
    plait_group outer = {0}, inner = {0};
    int failed = 0;
    PLAIT_GROUP(&outer) {
        start(&outer, PLAIT_PROCESS, fail_at_go, w);
        PLAIT_GROUP(&inner) {
            start(&inner, PLAIT_THREAD, wait_to_be_cancelled, w);
            UNTIL(SEEN(w->ready) == 2);
            CHECK_RC(plait_event_set(&w->go), 0);
        } else
            failed = plait_group_error(&inner);
    }
    CHECK_RC(failed, PLAIT_ECANCELED);
    CHECK_RC(plait_group_error(&outer), -77);
    CHECK_EQ(w->cancelled, 1);
    CHECK_RC(plait_free(w), 0);
}

/* --- members that start members --- */

static int start_another(void *arg)
{
    struct world *w = arg;
    int kind = w->kind == PLAIT_PROCESS ? PLAIT_PROCESS : PLAIT_THREAD;
    UNTIL(SEEN(w->ready));
    CHECK_RC(plait_group_start(w->group, NULL, kind, just_end, w, NULL), 0);
    return 0;
}

static void members_can_be_started_while_the_owner_leaves(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world(kind);
        plait_group g = {0};
        w->group = &g;
        for (int i = 0; i < 5; i++)
            start(&g, PLAIT_THREAD, start_another, w);
        TELL(w->ready, 1);
        CHECK_RC(plait_group_leave(&g), 0);
        CHECK_EQ(w->ended, 5);
        CHECK_RC(plait_free(w), 0);
    }
}

static int refuse_in_child(void *arg)
{
    struct world *w = arg;
    CHECK_RC(plait_group_start(w->group, NULL, PLAIT_THREAD, just_end, w, NULL), PLAIT_ECHILD);
    CHECK_RC(plait_group_cancel(w->group), PLAIT_ECHILD);
    CHECK_RC(plait_group_leave(w->group), PLAIT_ECHILD);
    return 0;
}

static int refuse_to_another(void *arg)
{
    struct world *w = arg;
    CHECK_RC(plait_group_leave(w->group), PLAIT_EPERM);
    CHECK_RC(plait_group_fail(w->group, -4), PLAIT_EPERM);
    return 0;
}

static void misuse_is_told(void **state)
{
    (void)state;
    struct world *w = new_world(PLAIT_THREAD);
    plait_group g = {0}, copy;
    plait_worker ret;
    w->group = &g;
    errno = EXDEV;
    CHECK_RC(plait_group_enter(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_group_leave(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_group_cancel(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_group_error(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_group_failures(NULL, NULL, 0), PLAIT_EINVAL);
    CHECK_RC(plait_group_enter(&g), 0);
    CHECK_RC(plait_group_start(&g, &ret, PLAIT_THREAD, NULL, NULL, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_group_start(&g, &ret, 9, just_end, w, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_group_start(&g, &ret, PLAIT_PROCESS, just_end, &copy, NULL), PLAIT_EPRIVATE);
    CHECK_RC(
        plait_group_start(&g, &ret, PLAIT_THREAD, just_end, w, &(plait_options){.detach = true}),
        PLAIT_EINVAL);
    CHECK_RC(
        plait_group_start(&g, &ret, PLAIT_THREAD, just_end, w, &(plait_options){.daemon = true}),
        PLAIT_EINVAL);
    copy = g;
    CHECK_RC(plait_group_leave(&copy), PLAIT_EINVAL);
    CHECK_RC(plait_group_start(&copy, &ret, PLAIT_THREAD, just_end, w, NULL), PLAIT_EINVAL);
    CHECK_EQ(t_in_fork(refuse_in_child, w), 0);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, refuse_to_another, w)), 0);
    CHECK_RC(plait_group_failures(&g, NULL, 1), PLAIT_EINVAL);
    CHECK_RC(plait_group_leave(&g), 0);
    CHECK_RC(plait_group_fail(&g, -4), PLAIT_ECLOSED);
    plait_group *shared = plait_alloc(sizeof *shared);
    CHECK_RC(plait_group_enter(shared), PLAIT_EPRIVATE);
    CHECK_RC(plait_free(shared), 0);
    CHECK_EQ(errno, EXDEV);
    CHECK_EQ(w->ended, 0);
    CHECK_RC(plait_free(w), 0);
}

static void a_group_that_lives_long_does_not_grow(void **state)
{
    (void)state;
    struct world *w = new_world(PLAIT_THREAD);
    plait_group g = {0};
    for (int i = 0; i < 300; i++) {
        plait_worker one = start(&g, PLAIT_THREAD, just_end, w);
        UNTIL(!plait_is_alive(one));
    }
    plait_worker left[8];
    CHECK(plait_children(left, 8) <= 2);
    CHECK_RC(plait_group_leave(&g), 0);
    CHECK_EQ(w->ended, 300);
    CHECK_RC(plait_free(w), 0);
}

static void a_member_joined_by_another_is_only_not_told_of(void **state)
{
    (void)state;
    struct world *w = new_world(PLAIT_THREAD);
    plait_group g = {0};
    plait_worker one = start(&g, PLAIT_THREAD, fail_at_go, w);
    PLAIT_SHIELD
    {
        CHECK_RC(plait_event_set(&w->go), 0);
        CHECK_EQ(t_join_one(one), -77);
    }
    CHECK_RC(plait_group_leave(&g), 0);
    CHECK_RC(plait_free(w), 0);
}

static int64_t failure_of_the_last_of(int kind)
{
    struct world *w = new_world(kind);
    plait_group g = {0};
    start(&g, kind, wait_to_be_cancelled, w);
    start(&g, kind, fail_at_go, w);
    UNTIL(SEEN(w->ready) == 2);
    t_let_naps_grow();
    plait_worker helper = t_start_one(PLAIT_THREAD, just_end, w);
    CHECK_EQ(t_join_one(helper), 0);
    int64_t start_of = plait_now();
    CHECK_RC(plait_event_set(&w->go), 0);
    CHECK_RC(plait_event_wait(&w->never, PLAIT_FOREVER), PLAIT_ECANCELED);
    CHECK_RC(plait_group_leave(&g), -77);
    CHECK_RC(plait_free(w), 0);
    return plait_now() - start_of;
}

static int64_t failing_thread(void)
{
    return failure_of_the_last_of(PLAIT_THREAD);
}

static int64_t failing_process(void)
{
    return failure_of_the_last_of(PLAIT_PROCESS);
}

static void the_body_learns_at_once(void **state)
{
    (void)state;
    t_check_at_once(failing_thread);
    t_check_at_once(failing_process);
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
        cmocka_unit_test(leaving_waits_for_all_kinds),
        cmocka_unit_test(every_way_out_waits),
        cmocka_unit_test(a_group_that_nobody_entered_is_entered_by_its_first_start),
        cmocka_unit_test(a_failure_cancels_the_others_and_the_body),
        cmocka_unit_test(a_failure_while_the_owner_leaves_cancels_the_others),
        cmocka_unit_test(a_member_that_is_killed_fails_the_group),
        cmocka_unit_test(a_member_that_exits_fails_the_group),
        cmocka_unit_test(the_first_failure_is_returned_and_all_are_listed),
        cmocka_unit_test(the_bodys_own_failure_counts),
        cmocka_unit_test(a_child_cancelled_alone_does_not_fail_the_group),
        cmocka_unit_test(cancelling_a_group_ends_it_without_an_error),
        cmocka_unit_test(a_member_can_cancel_its_group),
        cmocka_unit_test(a_request_from_outside_cancels_the_members_and_is_not_lost),
        cmocka_unit_test(requests_and_failures_are_not_mixed_up),
        cmocka_unit_test(a_scope_around_a_group_ends_it),
        cmocka_unit_test(a_scope_inside_a_group_leaves_it_alone),
        cmocka_unit_test(groups_nest),
        cmocka_unit_test(members_can_be_started_while_the_owner_leaves),
        cmocka_unit_test(misuse_is_told),
        cmocka_unit_test(a_group_that_lives_long_does_not_grow),
        cmocka_unit_test(a_member_joined_by_another_is_only_not_told_of),
        cmocka_unit_test(the_body_learns_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
