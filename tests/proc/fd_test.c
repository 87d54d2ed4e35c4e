/* Waiting for descriptors among processes: a request to stop reaches the one who waits, from anywhere, each time. */
#include "program.h"

#include "park/park.h"
#include "registry/registry.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { MANY = 1000, CANCELERS = 4 };

/* In the arena; what the workers of a test share. */
struct world {
    plait_worker subject;
    int pipe[2];
    int ready, done, rc;
    long n;
};

static struct world *new_world(void)
{
    struct world *w = plait_alloc(sizeof *w);
    CHECK(w != NULL);
    CHECK_EQ(pipe(w->pipe), 0);
    return w;
}

static void delete_world(struct world *w)
{
    close(w->pipe[0]);
    close(w->pipe[1]);
    CHECK_RC(plait_free(w), 0);
}

static int wait_for_ever(void *world)
{
    struct world *w = world;
    return plait_wait_fd(w->pipe[0], PLAIT_READABLE, PLAIT_FOREVER);
}

static int cancel_subject(void *world)
{
    struct world *w = world;
    w->rc = plait_cancel(w->subject);
    return 0;
}

/* --- from anywhere --- */

static int any_worker_may_cancel_any(void *unused)
{
    (void)unused;
    FOR_EACH_KIND(subject)
    FOR_EACH_KIND(canceler)
    {
        struct world *w = new_world();
        w->subject = t_start_one(subject, wait_for_ever, w);
        UNTIL_WAITS(w->subject, PL_WAIT_FD);
        CHECK_EQ(t_join_one(t_start_one(canceler, cancel_subject, w)), 0);
        CHECK_RC(w->rc, 0);
        CHECK_EQ(t_join_one(w->subject), PLAIT_ECANCELED);
        delete_world(w);
    }
    return 0;
}

static int cancel_when_it_waits(void *world)
{
    struct world *w = world;
    UNTIL_WAITS(w->subject, PL_WAIT_FD);
    return cancel_subject(w);
}

static int start_canceler(void *world)
{
    return t_join_one(t_start_one(PLAIT_PROCESS, cancel_when_it_waits, world));
}

static void be_cancelled_by(plait_function *fn)
{
    struct world *w = new_world();
    w->subject = plait_self();
    plait_worker other = t_start_one(PLAIT_PROCESS, fn, w);
    CHECK_RC(wait_for_ever(w), PLAIT_ECANCELED);
    CHECK_EQ(plait_uncancel(), 0);
    CHECK_EQ(t_join_one(other), 0);
    delete_world(w);
}

static int children_and_grandchildren_may_cancel(void *unused)
{
    (void)unused;
    be_cancelled_by(cancel_when_it_waits);
    be_cancelled_by(start_canceler);
    return 0;
}

static int wait_as_child(void *world)
{
    struct world *w = world;
    w->subject = plait_self();
    TELL(w->ready, 1);
    CHECK_RC(wait_for_ever(w), PLAIT_ECANCELED);
    return 0;
}

/* By fork in the program itself, after its parent has waited. */
static int a_forked_child_may_be_cancelled(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    CHECK_RC(plait_wait_fd(w->pipe[0], PLAIT_READABLE, 1000), PLAIT_ETIMEDOUT);
    pid_t child = t_fork(wait_as_child, w);
    UNTIL(SEEN(w->ready));
    UNTIL_WAITS(w->subject, PL_WAIT_FD);
    CHECK_RC(plait_cancel(w->subject), 0);
    CHECK_EQ(t_reap(child), 0);
    delete_world(w);
    return 0;
}

static int cancel_as_another_user(void *world)
{
    become_nobody_else();
    return cancel_subject(world);
}

/* It may not send the signal; the request is found at the end of a nap. */
static int another_users_request_arrives_too(void *unused)
{
    (void)unused;
    if (geteuid() != 0)
        return PROGRAM_SKIPPED;
    struct world *w = new_world();
    w->subject = t_start_one(PLAIT_PROCESS, wait_for_ever, w);
    UNTIL_WAITS(w->subject, PL_WAIT_FD);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, cancel_as_another_user, w)), 0);
    CHECK_RC(w->rc, 0);
    CHECK_EQ(t_join_one(w->subject), PLAIT_ECANCELED);
    delete_world(w);
    return 0;
}

/* --- each time --- */

static int be_cancelled_often(void *world)
{
    struct world *w = world;
    for (int i = 1; i <= MANY; i++) {
        CHECK_RC(wait_for_ever(w), PLAIT_ECANCELED);
        CHECK_EQ(plait_cancelling(), i);
        TELL(w->n, i);
    }
    CHECK_RC(plait_wait_fd(w->pipe[0], PLAIT_READABLE, 1000), PLAIT_ETIMEDOUT);
    return 3;
}

/* One that were lost would cost a nap of 1 s: of a thousand, 20 may. In truth none is; but the processor may be elsewhere. */
static void cancel_often(int kind, bool asleep)
{
    struct world *w = new_world();
    int64_t start = plait_now();
    plait_worker worker = t_start_one(kind, be_cancelled_often, w);
    for (int i = 1; i <= MANY; i++) {
        if (asleep)
            UNTIL_WAITS(worker, PL_WAIT_FD);
        CHECK_RC(plait_cancel(worker), 0);
        UNTIL(SEEN(w->n) == i);
    }
    CHECK_EQ(t_join_one(worker), 3);
    CHECK(plait_now() - start < plait_seconds(20));
    delete_world(w);
}

static int each_of_a_thousand_requests_ends_a_wait(void *unused)
{
    (void)unused;
    FOR_EACH_KIND(kind)
    {
        cancel_often(kind, true);
        cancel_often(kind, false); /* also while it is about to sleep */
    }
    return 0;
}

static int take_them_all(void *world)
{
    struct world *w = world;
    TELL(w->ready, 1);
    while (plait_cancelling() < CANCELERS * MANY) {
        int rc = wait_for_ever(w);
        if (rc == PLAIT_READABLE)
            CHECK_EQ(read(w->pipe[0], &(char){0}, 1), 1);
        else
            CHECK_RC(rc, PLAIT_ECANCELED);
        COUNT(w->n);
    }
    return 4;
}

static int storm(void *world)
{
    struct world *w = world;
    UNTIL(SEEN(w->ready));
    for (int i = 0; i < MANY; i++) {
        CHECK_RC(plait_cancel(w->subject), 0);
        if (i % 100 == 0)
            CHECK_EQ(write(w->pipe[1], "x", 1), 1);
    }
    return 0;
}

static int a_storm_of_requests_is_counted_exactly(void *unused)
{
    (void)unused;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        struct t_team team;
        w->subject = t_start_one(kind, take_them_all, w);
        t_start(&team, &t_mixed, CANCELERS, storm, w);
        t_join(&team);
        CHECK_EQ(t_join_one(w->subject), 4);
        CHECK(w->n <= CANCELERS * MANY + CANCELERS * MANY / 100);
        delete_world(w);
    }
    return 0;
}

/* --- death --- */

static int where_one_was_killed_the_next_begins_anew(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    plait_worker first = t_start_one(PLAIT_PROCESS, wait_for_ever, w), next;
    struct pl_slot *slot = pl_slot_at(first.slot);
    UNTIL(__atomic_load_n(&slot->in_poll, __ATOMIC_SEQ_CST));
    t_kill(first);
    CHECK_EQ(__atomic_load_n(&slot->in_poll, __ATOMIC_SEQ_CST), 1);
    __atomic_store_n(&pl_arena->slot_cursor, first.slot, __ATOMIC_SEQ_CST);
    next = t_start_one(PLAIT_PROCESS, wait_for_ever, w);
    CHECK_EQ(next.slot, first.slot);
    UNTIL_WAITS(next, PL_WAIT_FD);
    CHECK_RC(plait_cancel(first), PLAIT_ESTALE);
    CHECK_RC(plait_cancel(next), 0);
    CHECK_EQ(t_join_one(next), PLAIT_ECANCELED);
    delete_world(w);
    return 0;
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        PROGRAM(any_worker_may_cancel_any),
        PROGRAM(children_and_grandchildren_may_cancel),
        PROGRAM(a_forked_child_may_be_cancelled),
        PROGRAM(another_users_request_arrives_too),
        PROGRAM(each_of_a_thousand_requests_ends_a_wait),
        PROGRAM(a_storm_of_requests_is_counted_exactly),
        PROGRAM(where_one_was_killed_the_next_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
