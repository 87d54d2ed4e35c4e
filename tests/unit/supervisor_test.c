/* Supervisors: who is started, restarted and stopped, in which order, by whom, and what is said of it.
 *
 * What a supervisor does is told to a listener, which writes it down as words: "+a" a was started, "!a" said that it
 * is ready, "-a" ended because it was stopped, "=a" ended by itself, "*a1" is restarted, the first time in this period, "/a-22" could not be
 * started, "?a" has refused to stop, "X" given up, "." over. */
#include "harness.h"
#include "park/park.h"
#include "port/process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PARTS = 64, LOG = 4096 };

struct world;

/* What a child is given. */
struct part {
    struct world *w;
    plait_event end, ready;
    int status;        /* returned when it is told to end */
    int signal, exits; /* or by which it dies; exit(status) */
    int starts, here, refusals;
    bool says_ready, fails_once;
    plait_worker self;
};

struct world {
    plait_supervisor s;
    plait_event never;
    plait_worker supervisor;
    char log[LOG];
    int log_length;
    int kind; /* of the children */
    int rc, rc2;
    struct part parts[PARTS];
    plait_supervisor inner;
};

static struct world *new_world(int kind)
{
    struct world *w = plait_alloc(sizeof *w);
    CHECK(w != NULL);
    w->kind = kind;
    for (int i = 0; i < PARTS; i++)
        w->parts[i].w = w;
    return w;
}

/* --- the log --- */

static void add_word(struct world *w, char what, const char *name, int number)
{
    char word[64];
    int n = number ? snprintf(word, sizeof word, "%c%s%d ", what, name, number)
                   : snprintf(word, sizeof word, "%c%s ", what, name);
    int at = SEEN(w->log_length);
    CHECK(at + n < LOG);
    memcpy(w->log + at, word, (size_t)n);
    TELL(w->log_length, at + n);
}

static void listen(const plait_supervisor_report *r, void *arg)
{
    static const char marks[] = " +!/=*?X.";
    char mark = r->event == PLAIT_REPORT_END && r->asked ? '-' : marks[r->event];
    add_word(arg, mark, r->child, r->error ? r->error : r->restarts);
}

static void forget_log(struct world *w)
{
    TELL(w->log_length, 0);
}

static bool has_word(struct world *w, const char *word)
{
    char log[LOG];
    int n = SEEN(w->log_length);
    memcpy(log, w->log, (size_t)n);
    log[n] = 0;
    return strstr(log, word) != NULL;
}

#define CHECK_LOG(w, expected) check_log(__LINE__, w, expected)
static void check_log(int line, struct world *w, const char *expected)
{
    int n = SEEN(w->log_length);
    if (n != (int)strlen(expected) || memcmp(w->log, expected, (size_t)n) != 0)
        t_die(__FILE__, line, "told \"%.*s\", not \"%s\"", n, w->log, expected);
}

/* --- children --- */

static int be_a_part(void *arg)
{
    struct part *p = arg;
    p->self = plait_self();
    int starts = COUNT(p->starts);
    if (p->fails_once && starts == 2)
        return -33;
    if (p->says_ready) {
        int rc = plait_event_wait(&p->ready, PLAIT_FOREVER);
        if (rc < 0)
            return rc;
        CHECK_RC(plait_supervisor_ready(), 0);
        CHECK_RC(plait_supervisor_ready(), 0);
    }
    COUNT(p->here);
    int rc = plait_event_wait(&p->end, PLAIT_FOREVER);
    while (rc < 0 && ADD(p->refusals, -1) >= 0)
        rc = plait_event_wait(&p->end, PLAIT_FOREVER);
    ADD(p->here, -1);
    if (rc < 0)
        return rc;
    plait_event_clear(&p->end);
    if (p->signal)
        raise(p->signal);
    if (p->exits)
        exit(p->status);
    return p->status;
}

static plait_child child_of(struct world *w, const char *name, int i)
{
    return (plait_child){
        .name = name, .kind = w->kind, .function = be_a_part, .argument = &w->parts[i]};
}

static void add(struct world *w, const char *name, int i, int restart)
{
    plait_child c = child_of(w, name, i);
    c.restart = restart;
    CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, PLAIT_FOREVER), 0);
}

static void init(struct world *w, plait_supervisor_options o)
{
    o.listener = listen;
    o.argument = w;
    CHECK_RC(plait_supervisor_init(&w->s, &o), 0);
}

static void add_three(struct world *w)
{
    add(w, "a", 0, PLAIT_PERMANENT);
    add(w, "b", 1, PLAIT_PERMANENT);
    add(w, "c", 2, PLAIT_PERMANENT);
}

static void start(struct world *w, int kind)
{
    CHECK_RC(plait_supervisor_start(&w->supervisor, &w->s, kind, NULL), 0);
}

static void stop(struct world *w, int expected)
{
    CHECK_RC(plait_supervisor_stop(&w->s, PLAIT_FOREVER), 0);
    CHECK_EQ(t_join_one(w->supervisor), expected);
}

static void until_here(struct world *w, int n, int starts)
{
    for (int i = 0; i < n; i++)
        UNTIL(SEEN(w->parts[i].here) == 1 && SEEN(w->parts[i].starts) == starts);
}

/* Tasks of the supervisor's process can be told of by it only, so children are events' business here. */
static void end_part(struct world *w, int i)
{
    CHECK_RC(plait_event_set(&w->parts[i].end), 0);
}

#define FOR_ALL_PAIRS(sup, kind) FOR_EVERY_KIND(sup) FOR_EVERY_KIND(kind)

static void run_of(struct world **ret, int sup, int kind, plait_supervisor_options o)
{
    struct world *w = new_world(kind);
    init(w, o);
    add_three(w);
    start(w, sup);
    until_here(w, 3, 1);
    UNTIL(has_word(w, "+c"));
    forget_log(w);
    *ret = w;
}

/* --- starting and stopping --- */

static void children_start_in_order_and_stop_in_reverse(void **state)
{
    (void)state;
    FOR_ALL_PAIRS(sup, kind)
    {
        struct world *w = new_world(kind);
        init(w, (plait_supervisor_options){0});
        add_three(w);
        start(w, sup);
        until_here(w, 3, 1);
        stop(w, 0);
        CHECK_LOG(w, "+a +b +c -c -b -a . ");
        CHECK_EQ(w->parts[0].here + w->parts[1].here + w->parts[2].here, 0);
        plait_free(w);
    }
}

static void one_that_is_not_ready_is_waited_for(void **state)
{
    (void)state;
    FOR_ALL_PAIRS(sup, kind)
    {
        struct world *w = new_world(kind);
        init(w, (plait_supervisor_options){0});
        plait_child c = child_of(w, "a", 0);
        c.ready = w->parts[0].says_ready = true;
        CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
        add(w, "b", 1, PLAIT_PERMANENT);
        start(w, sup);
        UNTIL(SEEN(w->parts[0].starts) == 1);
        UNTIL_WAITS(w->supervisor, PL_WAIT_WORKERS);
        CHECK_EQ(SEEN(w->parts[1].starts), 0);
        plait_child_info info[2];
        CHECK_EQ(plait_supervisor_list(&w->s, info, 2), 2);
        CHECK_EQ(info[0].state, PLAIT_CHILD_STARTING);
        CHECK_EQ(info[1].state, PLAIT_CHILD_STOPPED);
        plait_event_set(&w->parts[0].ready);
        until_here(w, 2, 1);
        stop(w, 0);
        CHECK_LOG(w, "+a !a +b -b -a . ");
        plait_free(w);
    }
}

static void who_ends_or_dawdles_before_it_is_ready_has_not_started(void **state)
{
    (void)state;
    FOR_ALL_PAIRS(sup, kind)
    {
        struct world *w = new_world(kind);
        init(w, (plait_supervisor_options){0});
        add(w, "a", 0, PLAIT_PERMANENT);
        plait_child c = child_of(w, "b", 1);
        c.ready = true;
        w->parts[1].status = -44;
        CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
        end_part(w, 1);
        start(w, sup);
        CHECK_EQ(t_join_one(w->supervisor), -44);
        CHECK_LOG(w, "+a +b =b /b-44 -a .-44 ");
        forget_log(w);
        w->parts[1].status = 0;
        end_part(w, 1);
        start(w, sup);
        CHECK_EQ(t_join_one(w->supervisor), PLAIT_EDIED);
        CHECK_RC(plait_supervisor_remove(&w->s, "b", 0), 0);
        c.ready_timeout = plait_ms(20);
        CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
        forget_log(w);
        start(w, sup);
        CHECK_EQ(t_join_one(w->supervisor), PLAIT_ETIMEDOUT);
        CHECK_LOG(w, "+a +b -b /b-110 -a .-110 ");
        plait_free(w);
    }
}

static void stop_ends_the_wait_for_ready(void **state)
{
    (void)state;
    FOR_ALL_PAIRS(sup, kind)
    {
        struct world *w = new_world(kind);
        init(w, (plait_supervisor_options){0});
        plait_child c = child_of(w, "a", 0);
        c.ready = true;
        CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
        add(w, "b", 1, PLAIT_PERMANENT);
        start(w, sup);
        UNTIL(SEEN(w->parts[0].here) == 1);
        stop(w, 0);
        CHECK_LOG(w, "+a -a . ");
        plait_free(w);
    }
}

static void a_start_that_fails_ends_those_before(void **state)
{
    (void)state;
    FOR_EVERY_KIND(sup)
    {
        struct world *w = new_world(PLAIT_THREAD);
        int private_thing = 0;
        init(w, (plait_supervisor_options){0});
        add(w, "a", 0, PLAIT_PERMANENT);
        plait_child c = child_of(w, "b", 1);
        c.kind = PLAIT_PROCESS;
        c.argument = &private_thing;
        CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
        start(w, sup);
        CHECK_EQ(t_join_one(w->supervisor), PLAIT_EPRIVATE);
        CHECK_LOG(w, "+a /b-4002 -a .-4002 ");
        plait_free(w);
    }
}

static void an_argument_is_copied_for_each_start(void **state)
{
    (void)state;
    FOR_EVERY_KIND(kind)
    {
        struct world *w = new_world(kind);
        init(w, (plait_supervisor_options){0});
        plait_child c = child_of(w, "a", 0);
        c.options.arg_size = sizeof(struct part);
        c.options.daemon = true;
        CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
        start(w, PLAIT_THREAD);
        UNTIL(has_word(w, "+a"));
        plait_worker again;
        CHECK_RC(plait_supervisor_restart(&w->s, "a", &again, PLAIT_FOREVER), 0);
        stop(w, 0);
        CHECK_EQ(w->parts[0].starts, 0); /* it was a copy that they counted in */
        CHECK_LOG(w, "+a -a +a -a . ");
        plait_free(w);
    }
}

/* --- which ends call for a restart --- */

struct ending {
    const char *what;
    int status, signal, exits, normal;
    int kinds; /* bits */
};

static const struct ending endings[] = {
    {"0", 0, 0, 0, 1, 14},
    {"positive", 5, 0, 0, 1, 14},
    {"cancelled", PLAIT_ECANCELED, 0, 0, 1, 14},
    {"negative", -5, 0, 0, 0, 14},
    {"killed", 0, SIGKILL, 0, 0, 1 << PLAIT_PROCESS},
    {"exit(0)", 0, 0, 1, 1, 1 << PLAIT_PROCESS},
    {"exit(3)", 3, 0, 1, 0, 1 << PLAIT_PROCESS},
};

static void check_ending(int sup, int kind, const struct ending *e, int restart)
{
    struct world *w = new_world(kind);
    plait_child_info info;
    init(w, (plait_supervisor_options){0});
    add(w, "a", 0, restart);
    w->parts[0].status = e->status;
    w->parts[0].signal = e->signal;
    w->parts[0].exits = e->exits;
    start(w, sup);
    until_here(w, 1, 1);
    end_part(w, 0);
    bool again = restart == PLAIT_PERMANENT || (restart == PLAIT_TRANSIENT && !e->normal);
    UNTIL(has_word(w, "=a"));
    if (e->signal || e->exits)
        TELL(w->parts[0].here, again ? SEEN(w->parts[0].here) : 0);
    if (again)
        UNTIL(SEEN(w->parts[0].starts) == 2);
    UNTIL_WAITS(w->supervisor, PL_WAIT_WORKERS);
    CHECK_EQ(plait_supervisor_list(&w->s, &info, 1), restart == PLAIT_TEMPORARY ? 0 : 1);
    if (restart != PLAIT_TEMPORARY) {
        CHECK_EQ(info.starts, 1 + again);
        CHECK_EQ(info.restarts, again);
        CHECK_EQ(info.failures, !e->normal);
        CHECK_EQ(info.last.signal, e->signal);
        CHECK_EQ(info.last.status, e->signal ? -e->signal : e->status);
        CHECK_EQ(info.state, again ? PLAIT_CHILD_RUNNING : PLAIT_CHILD_STOPPED);
    }
    stop(w, 0);
    CHECK_LOG(w, again ? "+a =a *a1 +a -a . " : "+a =a . ");
    plait_free(w);
}

static void the_way_of_ending_decides_on_a_restart(void **state)
{
    (void)state;
    FOR_ALL_PAIRS(sup, kind)
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        for (int restart = PLAIT_PERMANENT; restart <= PLAIT_TEMPORARY; restart++)
            if (endings[i].kinds & 1 << kind)
                check_ending(sup, kind, &endings[i], restart);
}

/* --- strategies --- */

static void check_strategy(int sup, int kind, int strategy, const char *expected)
{
    struct world *w;
    run_of(&w, sup, kind, (plait_supervisor_options){.strategy = strategy});
    end_part(w, 1);
    UNTIL(has_word(w, "*b1") && SEEN(w->parts[1].starts) == 2);
    int all = strategy == PLAIT_ONE_FOR_ALL, rest = strategy != PLAIT_ONE_FOR_ONE;
    UNTIL(SEEN(w->parts[0].starts) == 1 + all && SEEN(w->parts[2].starts) == 1 + rest);
    UNTIL_WAITS(w->supervisor, PL_WAIT_WORKERS);
    CHECK_LOG(w, expected);
    plait_child_info info[3];
    CHECK_EQ(plait_supervisor_list(&w->s, info, 3), 3);
    CHECK_EQ(info[0].restarts, all);
    CHECK_EQ(info[1].restarts, 1);
    CHECK_EQ(info[2].restarts, rest);
    stop(w, 0);
    plait_free(w);
}

static void the_strategy_says_who_else_is_restarted(void **state)
{
    (void)state;
    FOR_ALL_PAIRS(sup, kind)
    {
        check_strategy(sup, kind, PLAIT_ONE_FOR_ONE, "=b *b1 +b ");
        check_strategy(sup, kind, PLAIT_ONE_FOR_ALL, "=b *b1 -c -a +a +b +c ");
        check_strategy(sup, kind, PLAIT_REST_FOR_ONE, "=b *b1 -c +b +c ");
    }
}

static void temporary_ones_are_forgotten_when_stopped_for_another(void **state)
{
    (void)state;
    FOR_EVERY_KIND(kind)
    {
        struct world *w = new_world(kind);
        init(w, (plait_supervisor_options){.strategy = PLAIT_ONE_FOR_ALL});
        add(w, "a", 0, PLAIT_PERMANENT);
        add(w, "b", 1, PLAIT_TEMPORARY);
        add(w, "c", 2, PLAIT_TRANSIENT);
        start(w, PLAIT_THREAD);
        until_here(w, 3, 1);
        end_part(w, 2); /* normally: it stays stopped, until all are started */
        UNTIL(has_word(w, "=c"));
        end_part(w, 0);
        UNTIL(SEEN(w->parts[2].starts) == 2);
        stop(w, 0);
        CHECK_LOG(w, "+a +b +c =c =a *a1 -b +a +c -c -a . ");
        plait_free(w);
    }
}

static void children_of_all_kinds_live_side_by_side(void **state)
{
    (void)state;
    FOR_EVERY_KIND(sup)
    {
        struct world *w = new_world(PLAIT_THREAD);
        init(w, (plait_supervisor_options){.strategy = PLAIT_REST_FOR_ONE, .intensity = 9});
        FOR_EVERY_KIND(kind)
        {
            char name[2] = {(char)('a' + kind - PLAIT_THREAD), 0};
            w->kind = kind;
            add(w, name, kind - PLAIT_THREAD, PLAIT_PERMANENT);
        }
        start(w, sup);
        for (int i = 0; i < 3; i++) {
            until_here(w, 3, 1 + i);
            end_part(w, 0);
            UNTIL(SEEN(w->parts[2].starts) == 2 + i);
        }
        until_here(w, 3, 4);
        stop(w, 0);
        plait_free(w);
    }
}

/* --- intensity --- */

static void more_restarts_than_allowed_end_it(void **state)
{
    (void)state;
    FOR_ALL_PAIRS(sup, kind)
    {
        struct world *w;
        run_of(&w, sup, kind,
               (plait_supervisor_options){.intensity = 2, .period = plait_seconds(1000)});
        for (int i = 1; i <= 3; i++) {
            UNTIL(SEEN(w->parts[1].here) == 1 && SEEN(w->parts[1].starts) == i);
            end_part(w, 1);
        }
        CHECK_EQ(t_join_one(w->supervisor), PLAIT_EINTENSITY);
        CHECK_LOG(w, "=b *b1 +b =b *b2 +b =b Xb-4018 -c -a .-4018 ");
        plait_free(w);
    }
}

static void no_restart_may_be_allowed(void **state)
{
    (void)state;
    struct world *w;
    run_of(&w, PLAIT_THREAD, PLAIT_THREAD, (plait_supervisor_options){.intensity = -1});
    end_part(w, 2);
    CHECK_EQ(t_join_one(w->supervisor), PLAIT_EINTENSITY);
    CHECK_LOG(w, "=c Xc-4018 -b -a .-4018 ");
    plait_free(w);
}

static void restarts_that_are_long_past_do_not_count(void **state)
{
    (void)state;
    struct world *w;
    run_of(&w, PLAIT_THREAD, PLAIT_THREAD,
           (plait_supervisor_options){.intensity = 1, .period = plait_ms(10)});
    for (int i = 1; i <= 4; i++) {
        UNTIL(SEEN(w->parts[0].here) == 1 && SEEN(w->parts[0].starts) == i);
        end_part(w, 0);
        UNTIL(SEEN(w->parts[0].starts) == i + 1);
        t_sleep(plait_ms(12));
    }
    stop(w, 0);
    CHECK_LOG(w, "=a *a1 +a =a *a1 +a =a *a1 +a =a *a1 +a -c -b -a . ");
    plait_free(w);
}

static void a_restart_that_fails_counts_as_an_end(void **state)
{
    (void)state;
    FOR_EVERY_KIND(kind)
    {
        struct world *w = new_world(kind);
        init(w, (plait_supervisor_options){.strategy = PLAIT_REST_FOR_ONE});
        add(w, "a", 0, PLAIT_PERMANENT);
        plait_child c = child_of(w, "b", 1);
        c.ready = w->parts[1].says_ready = w->parts[1].fails_once = true;
        plait_event_set(&w->parts[1].ready);
        CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
        start(w, PLAIT_THREAD);
        until_here(w, 2, 1);
        end_part(w, 0);
        UNTIL(SEEN(w->parts[1].starts) == 3 && SEEN(w->parts[1].here) == 1);
        stop(w, 0);
        CHECK_LOG(w, "+a +b !b =a *a1 -b +a +b =b /b-33 *b2 +b !b -b -a . ");
        plait_free(w);
    }
}

/* --- trees --- */

static int run_inner(void *arg)
{
    struct part *p = arg;
    COUNT(p->starts);
    return plait_supervisor_run(&p->w->inner);
}

static struct world *new_tree(int kind, int branch)
{
    struct world *w = new_world(branch);
    plait_supervisor_options o = {.intensity = -1};
    init(w, (plait_supervisor_options){0});
    CHECK_RC(plait_supervisor_init(&w->inner, &o), 0);
    plait_child leaf = child_of(w, "leaf", 1);
    leaf.kind = kind;
    CHECK_RC(plait_supervisor_add(&w->inner, &leaf, NULL, 0), 0);
    plait_child c = child_of(w, "branch", 0);
    c.function = run_inner;
    c.grace = PLAIT_FOREVER;
    CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
    return w;
}

static void a_branch_that_gives_up_is_started_afresh(void **state)
{
    (void)state;
    FOR_ALL_PAIRS(branch, kind)
    {
        struct world *w = new_tree(kind, branch);
        start(w, PLAIT_THREAD);
        UNTIL(SEEN(w->parts[1].here) == 1);
        end_part(w, 1);
        UNTIL(SEEN(w->parts[1].starts) == 2 && SEEN(w->parts[1].here) == 1);
        CHECK_EQ(SEEN(w->parts[0].starts), 2);
        stop(w, 0);
        CHECK_EQ(w->parts[1].here, 0);
        CHECK_LOG(w, "+branch =branch *branch1 +branch -branch . ");
        plait_free(w);
    }
}

static void a_branch_that_is_killed_takes_its_leaves_along(void **state)
{
    (void)state;
    FOR_EVERY_KIND(kind)
    {
        struct world *w = new_tree(kind, PLAIT_PROCESS);
        plait_child_info info;
        start(w, PLAIT_THREAD);
        UNTIL(SEEN(w->parts[1].here) == 1);
        plait_worker leaf = w->parts[1].self;
        int pid = plait_pid(leaf);
        UNTIL(plait_supervisor_list(&w->s, &info, 1) == 1 && info.worker.slot);
        CHECK_RC(plait_kill(info.worker), 0);
        UNTIL(SEEN(w->parts[1].starts) == 2 && SEEN(w->parts[1].here) == 2);
        UNTIL(!pl_process_lives(pid, 0));
        TELL(w->parts[1].here, 1);
        stop(w, 0);
        CHECK_LOG(w, "+branch =branch *branch1 +branch -branch . ");
        plait_free(w);
    }
}

/* --- processes that are not copies --- */

static void functions_are_found_by_processes_of_another_image(void **state)
{
    (void)state;
    for (int method = PLAIT_FORK; method <= PLAIT_SPAWN; method++)
        FOR_EVERY_KIND(kind)
        {
            struct world *w = new_world(kind);
            plait_child_info info[2];
            CHECK_RC(plait_set_start_method(method), 0);
            init(w, (plait_supervisor_options){0});
            add(w, "a", 0, PLAIT_PERMANENT);
            start(w, PLAIT_PROCESS);
            until_here(w, 1, 1);
            plait_child b = child_of(w, "b", 1); /* by an order */
            CHECK_RC(plait_supervisor_add(&w->s, &b, NULL, PLAIT_FOREVER), 0);
            until_here(w, 2, 1);
            w->parts[0].signal = kind == PLAIT_PROCESS ? SIGKILL : 0;
            end_part(w, 0);
            UNTIL(SEEN(w->parts[0].starts) == 2);
            UNTIL(plait_supervisor_list(&w->s, info, 2) == 2 && info[0].starts == 2);
            stop(w, 0);
            CHECK_LOG(w, "+a +b =a *a1 +a -b -a . ");
            plait_free(w);
        }
    CHECK_RC(plait_set_start_method(PLAIT_FORK), 0);
    CHECK_RC(plait_zygote_stop(), 0);
}

/* --- those who do not want to stop --- */

static int ignore_all(void *arg)
{
    struct part *p = arg;
    if (p->signal)
        signal(SIGTERM, SIG_IGN);
    COUNT(p->here);
    while (pause() < 0)
        ;
    return 0;
}

static void a_process_that_refuses_is_told_and_killed(void **state)
{
    (void)state;
    FOR_EVERY_KIND(sup)
    for (int deaf = 0; deaf < 2; deaf++) {
        struct world *w = new_world(PLAIT_PROCESS);
        init(w, (plait_supervisor_options){0});
        w->parts[0].signal = deaf;
        plait_child c = child_of(w, "a", 0);
        c.function = ignore_all;
        c.grace = plait_ms(20);
        CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
        start(w, sup);
        UNTIL(SEEN(w->parts[0].here) == 1);
        int64_t began = plait_now();
        stop(w, 0);
        CHECK(plait_now() - began >= plait_ms(deaf ? 20 : 10));
        plait_child_info info;
        CHECK_EQ(plait_supervisor_list(&w->s, &info, 1), 1);
        CHECK_EQ(info.last.signal, deaf ? SIGKILL : SIGTERM);
        CHECK_EQ(info.failures, 0);
        CHECK_LOG(w, "+a -a . ");
        plait_free(w);
    }
}

static void a_thread_that_refuses_is_asked_again_and_waited_for(void **state)
{
    (void)state;
    FOR_EVERY_KIND(sup)
    for (int kind = PLAIT_THREAD; kind <= PLAIT_TASK; kind += PLAIT_TASK - PLAIT_THREAD) {
        struct world *w = new_world(kind);
        init(w, (plait_supervisor_options){0});
        w->parts[0].refusals = 2;
        plait_child c = child_of(w, "a", 0);
        c.grace = plait_ms(5);
        CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
        start(w, sup);
        UNTIL(SEEN(w->parts[0].here) == 1);
        stop(w, 0);
        CHECK(has_word(w, "+a ?a ?a ") && has_word(w, "?a -a . "));
        plait_free(w);
    }
}

/* --- orders --- */

static int give_orders(void *arg)
{
    struct world *w = arg;
    plait_worker worker, again;
    plait_child_info info[4];
    plait_child d = child_of(w, "d", 3);
    CHECK_RC(plait_supervisor_add(&w->s, &d, &worker, PLAIT_FOREVER), 0);
    CHECK_EQ(plait_supervisor_list(&w->s, info, 4), 4);
    CHECK(plait_same(info[3].worker, worker) && strcmp(info[3].name, "d") == 0);
    CHECK_EQ(info[3].state, PLAIT_CHILD_RUNNING);
    CHECK_RC(plait_supervisor_add(&w->s, &d, &worker, PLAIT_FOREVER), PLAIT_EEXIST);
    UNTIL(SEEN(w->parts[3].here) == 1);
    CHECK_RC(plait_supervisor_restart(&w->s, "d", &again, PLAIT_FOREVER), 0);
    CHECK(!plait_same(worker, again));
    CHECK_EQ(plait_supervisor_list(&w->s, info, 2), 4);
    UNTIL(SEEN(w->parts[3].here) == 1);
    CHECK_RC(plait_supervisor_remove(&w->s, "b", PLAIT_FOREVER), 0);
    CHECK_RC(plait_supervisor_remove(&w->s, "b", PLAIT_FOREVER), PLAIT_ENOENT);
    CHECK_RC(plait_supervisor_restart(&w->s, "b", NULL, PLAIT_FOREVER), PLAIT_ENOENT);
    CHECK_EQ(plait_supervisor_list(&w->s, info, 4), 3);
    CHECK_EQ(info[2].starts, 2);
    CHECK_EQ(info[2].restarts, 0);
    CHECK_RC(plait_supervisor_stop(&w->s, PLAIT_FOREVER), 0);
    return 0;
}

static void anybody_may_give_orders(void **state)
{
    (void)state;
    FOR_ALL_PAIRS(sup, kind)
    FOR_EVERY_KIND(who)
    {
        struct world *w;
        run_of(&w, sup, kind, (plait_supervisor_options){0});
        CHECK_EQ(t_join_one(t_start_one(who, give_orders, w)), 0);
        CHECK_EQ(t_join_one(w->supervisor), 0);
        CHECK_LOG(w, "+d -d +d -b -d -c -a . ");
        plait_free(w);
    }
}

static void an_order_that_cannot_be_obeyed_changes_nothing(void **state)
{
    (void)state;
    struct world *w;
    plait_child_info info;
    int private_thing = 0;
    run_of(&w, PLAIT_PROCESS, PLAIT_THREAD, (plait_supervisor_options){0});
    plait_child c = child_of(w, "d", 3);
    c.kind = PLAIT_PROCESS;
    c.argument = &private_thing;
    plait_worker worker = {7, 7};
    CHECK_RC(plait_supervisor_add(&w->s, &c, &worker, PLAIT_FOREVER), PLAIT_EPRIVATE);
    CHECK_EQ(worker.slot, 7);
    c = child_of(w, "d", 3);
    c.ready = true;
    c.ready_timeout = plait_ms(5);
    CHECK_RC(plait_supervisor_add(&w->s, &c, &worker, PLAIT_FOREVER), PLAIT_ETIMEDOUT);
    CHECK_EQ(plait_supervisor_list(&w->s, &info, 1), 3);
    stop(w, 0);
    CHECK_LOG(w, "/d-4002 +d -d /d-110 -c -b -a . ");
    plait_free(w);
}

static void without_a_run_orders_change_the_table(void **state)
{
    (void)state;
    struct world *w = new_world(PLAIT_THREAD);
    plait_worker worker = {7, 7};
    plait_child c = child_of(w, "a", 0);
    CHECK_RC(plait_supervisor_add(&w->s, &c, &worker, PLAIT_NOWAIT), 0);
    CHECK_EQ(worker.slot, 0);
    CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, PLAIT_NOWAIT), PLAIT_EEXIST);
    CHECK_RC(plait_supervisor_restart(&w->s, "a", NULL, PLAIT_NOWAIT), PLAIT_ECLOSED);
    CHECK_RC(plait_supervisor_remove(&w->s, "b", PLAIT_NOWAIT), PLAIT_ENOENT);
    CHECK_RC(plait_supervisor_remove(&w->s, "a", PLAIT_NOWAIT), 0);
    CHECK_RC(plait_supervisor_stop(&w->s, PLAIT_FOREVER), 0);
    for (int i = 0; i < PLAIT_SUPERVISOR_CHILDREN; i++) {
        char name[16];
        snprintf(name, sizeof name, "c%d", i);
        c.name = name;
        CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, PLAIT_NOWAIT), 0);
    }
    c.name = "more";
    CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, PLAIT_NOWAIT), PLAIT_EOVERFLOW);
    CHECK_RC(plait_supervisor_remove(&w->s, "c0", PLAIT_NOWAIT), 0);
    CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, PLAIT_NOWAIT), 0);
    plait_child_info info[PLAIT_SUPERVISOR_CHILDREN];
    CHECK_EQ(plait_supervisor_list(&w->s, info, PLAIT_SUPERVISOR_CHILDREN),
             PLAIT_SUPERVISOR_CHILDREN);
    CHECK(strcmp(info[0].name, "c1") == 0);
    CHECK(strcmp(info[PLAIT_SUPERVISOR_CHILDREN - 1].name, "more") == 0);
    plait_free(w);
}

static int remove_a(void *arg)
{
    struct world *w = arg;
    w->rc = plait_supervisor_remove(&w->s, "a", PLAIT_FOREVER);
    return 0;
}

static void an_order_stands_whose_giver_has_no_time(void **state)
{
    (void)state;
    FOR_EVERY_KIND(sup)
    {
        struct world *w = new_world(PLAIT_THREAD);
        init(w, (plait_supervisor_options){0});
        w->parts[0].refusals = 1;
        plait_child c = child_of(w, "a", 0);
        c.grace = PLAIT_FOREVER;
        CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
        add(w, "b", 1, PLAIT_PERMANENT);
        start(w, sup);
        until_here(w, 2, 1);
        CHECK_RC(plait_supervisor_remove(&w->s, "a", plait_ms(5)), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_supervisor_remove(&w->s, "b", plait_ms(5)), PLAIT_EBUSY);
        CHECK_RC(plait_supervisor_remove(&w->s, "b", PLAIT_NOWAIT), PLAIT_EBUSY);
        plait_worker other = t_start_one(PLAIT_THREAD, remove_a, w);
        UNTIL_WAITS(other, PL_WAIT_SUPERVISOR);
        CHECK_RC(plait_supervisor_remove(&w->s, "b", plait_ms(5)), PLAIT_EBUSY);
        CHECK_RC(plait_cancel(other), 0);
        t_join_one(other);
        CHECK_RC(w->rc, PLAIT_ECANCELED);
        end_part(w, 0); /* at last */
        CHECK_RC(plait_supervisor_remove(&w->s, "b", PLAIT_FOREVER), 0);
        stop(w, 0);
        CHECK_LOG(w, "+a +b -a -b . ");
        plait_free(w);
    }
}

static void orders_that_come_too_late_are_told_so(void **state)
{
    (void)state;
    struct world *w = new_world(PLAIT_THREAD);
    init(w, (plait_supervisor_options){0});
    w->parts[0].refusals = 1;
    plait_child c = child_of(w, "a", 0);
    c.grace = PLAIT_FOREVER;
    CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
    start(w, PLAIT_THREAD);
    until_here(w, 1, 1);
    CHECK_RC(plait_supervisor_stop(&w->s, plait_ms(5)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_supervisor_stop(&w->s, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    plait_worker other = t_start_one(PLAIT_THREAD, remove_a, w);
    UNTIL_WAITS(other, PL_WAIT_SUPERVISOR);
    end_part(w, 0);
    t_join_one(other);
    CHECK_RC(w->rc, PLAIT_ECLOSED);
    CHECK_EQ(t_join_one(w->supervisor), 0);
    plait_free(w);
}

/* --- ending --- */

static void a_supervisor_that_is_cancelled_stops_all(void **state)
{
    (void)state;
    FOR_ALL_PAIRS(sup, kind)
    {
        struct world *w;
        run_of(&w, sup, kind, (plait_supervisor_options){0});
        CHECK_RC(plait_cancel(w->supervisor), 0);
        CHECK_EQ(t_join_one(w->supervisor), PLAIT_ECANCELED);
        CHECK_LOG(w, "-c -b -a .-125 ");
        plait_free(w);
    }
}

static int run_for_a_while(void *arg)
{
    struct world *w = arg;
    int late = 0;
    PLAIT_TIMEOUT(plait_ms(30)) {
        w->rc = plait_supervisor_run(&w->s);
    } else {
        late = 1;
    }
    CHECK_EQ(plait_cancelling(), 0);
    return late;
}

static void a_scope_that_is_over_stops_it(void **state)
{
    (void)state;
    FOR_ALL_PAIRS(sup, kind)
    {
        struct world *w = new_world(kind);
        init(w, (plait_supervisor_options){0});
        add_three(w);
        CHECK_EQ(t_join_one(t_start_one(sup, run_for_a_while, w)), 1);
        CHECK_RC(w->rc, PLAIT_ECANCELED);
        CHECK_LOG(w, "+a +b +c -c -b -a .-125 ");
        plait_free(w);
    }
}

static void it_may_end_when_nothing_is_left(void **state)
{
    (void)state;
    FOR_ALL_PAIRS(sup, kind)
    {
        struct world *w = new_world(kind);
        init(w, (plait_supervisor_options){.ends = true});
        add(w, "a", 0, PLAIT_TRANSIENT);
        add(w, "b", 1, PLAIT_TEMPORARY);
        start(w, sup);
        until_here(w, 2, 1);
        end_part(w, 0);
        UNTIL(has_word(w, "=a"));
        CHECK_EQ(plait_is_alive(w->supervisor), 1);
        end_part(w, 1);
        CHECK_EQ(t_join_one(w->supervisor), 0);
        CHECK_LOG(w, "+a +b =a =b . ");
        plait_free(w);
    }
}

static int stop_the_supervisor(void *arg)
{
    struct part *p = arg;
    COUNT(p->here);
    int rc = plait_supervisor_stop(&p->w->s, PLAIT_FOREVER);
    p->status = rc;
    return rc;
}

static void a_child_may_stop_its_supervisor(void **state)
{
    (void)state;
    FOR_ALL_PAIRS(sup, kind)
    {
        struct world *w = new_world(kind);
        init(w, (plait_supervisor_options){0});
        add(w, "a", 0, PLAIT_PERMANENT);
        plait_child c = child_of(w, "b", 1);
        c.function = stop_the_supervisor;
        CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
        start(w, sup);
        CHECK_EQ(t_join_one(w->supervisor), 0);
        CHECK_RC(w->parts[1].status, PLAIT_ECANCELED);
        plait_free(w);
    }
}

static void it_may_be_run_again(void **state)
{
    (void)state;
    FOR_EVERY_KIND(sup)
    {
        struct world *w;
        run_of(&w, sup, PLAIT_PROCESS, (plait_supervisor_options){0});
        stop(w, 0);
        start(w, sup);
        until_here(w, 3, 2);
        stop(w, 0);
        plait_free(w);
    }
}

/* --- death --- */

static void a_killed_supervisor_leaves_no_process(void **state)
{
    (void)state;
    FOR_EVERY_KIND(kind)
    {
        struct world *w;
        plait_child_info info[3];
        int pids[3];
        run_of(&w, PLAIT_PROCESS, kind, (plait_supervisor_options){0});
        for (int i = 0; i < 3; i++)
            pids[i] = plait_pid(w->parts[i].self);
        t_kill(w->supervisor);
        for (int i = 0; i < 3; i++)
            UNTIL(!pl_process_lives(pids[i], 0));
        plait_child d = child_of(w, "d", 3);
        CHECK_RC(plait_supervisor_add(&w->s, &d, NULL, PLAIT_FOREVER), PLAIT_EDIED);
        CHECK_RC(plait_supervisor_remove(&w->s, "a", PLAIT_FOREVER), PLAIT_EDIED);
        CHECK_RC(plait_supervisor_stop(&w->s, PLAIT_FOREVER), PLAIT_EDIED);
        CHECK_EQ(plait_supervisor_list(&w->s, info, 3), 3);
        CHECK_EQ(info[0].state, PLAIT_CHILD_STOPPED);
        for (int i = 0; i < 3; i++)
            TELL(w->parts[i].here, 0);
        start(w, PLAIT_THREAD);
        until_here(w, 3, 2);
        stop(w, 0);
        plait_free(w);
    }
}

static int wait_for_its_end(void *arg)
{
    struct world *w = arg;
    w->rc2 = plait_supervisor_stop(&w->s, PLAIT_FOREVER);
    return 0;
}

static int64_t death_and_a_waiter(void)
{
    struct world *w = new_world(PLAIT_THREAD);
    init(w, (plait_supervisor_options){0});
    w->parts[0].refusals = 1;
    plait_child c = child_of(w, "a", 0);
    c.grace = PLAIT_FOREVER;
    CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
    start(w, PLAIT_PROCESS);
    UNTIL(SEEN(w->parts[0].here) == 1);
    plait_worker asks = t_start_one(PLAIT_THREAD, remove_a, w);
    UNTIL_WAITS(asks, PL_WAIT_SUPERVISOR);
    plait_worker waits = t_start_one(PLAIT_THREAD, wait_for_its_end, w);
    UNTIL_WAITS(waits, PL_WAIT_SUPERVISOR);
    t_let_naps_grow();
    CHECK_RC(plait_kill(w->supervisor), 0);
    int64_t killed = plait_now();
    t_join_one(asks);
    t_join_one(waits);
    int64_t took = plait_now() - killed;
    CHECK_RC(w->rc, PLAIT_EDIED);
    CHECK_RC(w->rc2, PLAIT_EDIED);
    plait_join(w->supervisor, NULL, PLAIT_FOREVER);
    plait_free(w);
    return took;
}

static void who_waits_for_a_supervisor_learns_of_its_death_at_once(void **state)
{
    (void)state;
    t_check_at_once(death_and_a_waiter);
}

/* --- nobody looks twice --- */

/* So many children that a task does not watch them with ease. */
enum { MANY = 9 };

struct scene {
    struct world *w;
    int n, signal;
};

static struct scene a_long_sleep(int sup, int kind, int signal)
{
    struct scene scene = {new_world(kind), kind == PLAIT_PROCESS ? MANY : 2, signal};
    init(scene.w, (plait_supervisor_options){0});
    for (int i = 0; i < scene.n; i++) {
        char name[16];
        snprintf(name, sizeof name, "c%d", i);
        add(scene.w, name, i, PLAIT_PERMANENT);
    }
    start(scene.w, sup);
    until_here(scene.w, scene.n, 1);
    UNTIL_WAITS(scene.w->supervisor, PL_WAIT_WORKERS);
    return scene;
}

static int64_t time_to_restart(struct scene scene)
{
    struct part *last = &scene.w->parts[scene.n - 1];
    last->signal = scene.signal;
    int64_t began = plait_now();
    plait_event_set(&last->end);
    UNTIL(SEEN(last->starts) == 2);
    int64_t took = plait_now() - began;
    last->signal = 0;
    stop(scene.w, 0);
    plait_free(scene.w);
    return took;
}

static int64_t ends_after_long_sleep(void)
{
    struct scene scenes[12];
    int n = 0;
    int64_t worst = 0;
    FOR_ALL_PAIRS(sup, kind)
    for (int killed = 0; killed <= (kind == PLAIT_PROCESS); killed++)
        scenes[n++] = a_long_sleep(sup, kind, killed ? SIGKILL : 0);
    t_let_naps_grow();
    for (int i = 0; i < n; i++) {
        int64_t took = time_to_restart(scenes[i]);
        worst = took > worst ? took : worst;
    }
    return worst;
}

/* Sleeping workers notice any death of the family; these children sleep where they notice nothing. */
static int be_elsewhere(void *arg)
{
    struct part *p = arg;
    p->self = plait_self();
    COUNT(p->starts);
    while (pause() < 0)
        ;
    return 0;
}

static int kill_in_silence_by;

static int64_t a_kill_in_silence(void)
{
    struct world *w = new_world(PLAIT_PROCESS);
    init(w, (plait_supervisor_options){0});
    for (int i = 0; i < MANY; i++) {
        char name[16];
        snprintf(name, sizeof name, "c%d", i);
        plait_child c = child_of(w, name, i);
        c.function = be_elsewhere;
        c.grace = 1;
        CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
    }
    start(w, kill_in_silence_by);
    for (int i = 0; i < MANY; i++)
        UNTIL(SEEN(w->parts[i].starts) == 1);
    UNTIL_WAITS(w->supervisor, PL_WAIT_WORKERS);
    t_let_naps_grow();
    CHECK_RC(kill(plait_pid(w->parts[MANY - 1].self), SIGKILL), 0);
    int64_t began = plait_now();
    UNTIL(SEEN(w->parts[MANY - 1].starts) == 2);
    int64_t took = plait_now() - began;
    stop(w, 0);
    plait_free(w);
    return took;
}

static void it_learns_of_a_kill_though_nobody_else_looks(void **state)
{
    (void)state;
    FOR_EVERY_KIND(sup)
    {
        kill_in_silence_by = sup;
        t_check_at_once(a_kill_in_silence);
    }
}

static void it_learns_of_an_end_at_once(void **state)
{
    (void)state;
    t_check_at_once(ends_after_long_sleep);
}

/* --- misuse --- */

static void bad_arguments_are_refused(void **state)
{
    (void)state;
    struct world *w = new_world(PLAIT_THREAD);
    plait_worker worker;
    plait_child good = child_of(w, "a", 0), c;
    errno = 77;
#define BAD(field, value)                                                                          \
    c = good;                                                                                      \
    c.field = value;                                                                               \
    CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, 0), PLAIT_EINVAL)
    BAD(name, NULL);
    BAD(name, "");
    BAD(name, "0123456789012345678901234567890123456789");
    BAD(kind, 0);
    BAD(kind, 4);
    BAD(function, NULL);
    BAD(restart, -1);
    BAD(restart, 3);
    BAD(ready_timeout, -1);
    BAD(grace, -2);
    BAD(options.detach, true);
    BAD(options.name, "b");
    CHECK_RC(plait_supervisor_add(&w->s, NULL, NULL, 0), PLAIT_EINVAL);
    CHECK_RC(plait_supervisor_add(NULL, &good, NULL, 0), PLAIT_EINVAL);
    CHECK_RC(plait_supervisor_add(&w->s, &good, NULL, -2), PLAIT_EINVAL);
    CHECK_RC(plait_supervisor_remove(NULL, "a", 0), PLAIT_EINVAL);
    CHECK_RC(plait_supervisor_remove(&w->s, NULL, 0), PLAIT_EINVAL);
    CHECK_RC(plait_supervisor_restart(NULL, "a", NULL, 0), PLAIT_EINVAL);
    CHECK_RC(plait_supervisor_restart(&w->s, "", NULL, 0), PLAIT_EINVAL);
    CHECK_RC(plait_supervisor_list(NULL, NULL, 0), PLAIT_EINVAL);
    CHECK_RC(plait_supervisor_list(&w->s, NULL, 1), PLAIT_EINVAL);
    CHECK_RC(plait_supervisor_list(&w->s, NULL, -1), PLAIT_EINVAL);
    CHECK_RC(plait_supervisor_stop(NULL, 0), PLAIT_EINVAL);
    CHECK_RC(plait_supervisor_stop(&w->s, -2), PLAIT_EINVAL);
    CHECK_RC(plait_supervisor_run(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_supervisor_start(&worker, NULL, PLAIT_THREAD, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_supervisor_start(NULL, &w->s, PLAIT_THREAD, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_supervisor_init(NULL, NULL), PLAIT_EINVAL);
    plait_supervisor_options bad[] = {
        {.strategy = -1}, {.strategy = 3}, {.intensity = 129}, {.period = -1}};
    for (int i = 0; i < 4; i++)
        CHECK_RC(plait_supervisor_init(&w->s, &bad[i]), PLAIT_EINVAL);
    CHECK_EQ(plait_supervisor_list(&w->s, NULL, 0), 0);
    CHECK_EQ(errno, 77);
    plait_free(w);
}

static plait_supervisor private_one;

static int use_the_copy(void *unused)
{
    (void)unused;
    plait_child c = {.name = "b", .kind = PLAIT_THREAD, .function = be_a_part};
    CHECK_RC(plait_supervisor_run(&private_one), PLAIT_ECHILD);
    CHECK_RC(plait_supervisor_add(&private_one, &c, NULL, 0), PLAIT_ECHILD);
    CHECK_RC(plait_supervisor_stop(&private_one, 0), PLAIT_ECHILD);
    CHECK_RC(plait_supervisor_list(&private_one, NULL, 0), PLAIT_ECHILD);
    return 0;
}

static void copies_are_refused(void **state)
{
    (void)state;
    plait_worker worker;
    plait_child c = {.name = "a", .kind = PLAIT_THREAD, .function = be_a_part};
    CHECK_RC(plait_supervisor_init(&private_one, NULL), 0);
    CHECK_RC(plait_supervisor_add(&private_one, &c, NULL, 0), 0);
    plait_supervisor *copy = malloc(sizeof *copy);
    *copy = private_one;
    CHECK_RC(plait_supervisor_run(copy), PLAIT_EINVAL);
    CHECK_RC(plait_supervisor_remove(copy, "a", 0), PLAIT_EINVAL);
    CHECK_RC(plait_supervisor_list(copy, NULL, 0), PLAIT_EINVAL);
    free(copy);
    CHECK_RC(plait_supervisor_start(&worker, &private_one, PLAIT_PROCESS, NULL), PLAIT_EPRIVATE);
    CHECK_EQ(t_in_fork(use_the_copy, NULL), 0);
}

static void a_private_one_serves_its_process(void **state)
{
    (void)state;
    for (int sup = PLAIT_THREAD; sup <= PLAIT_TASK; sup += PLAIT_TASK - PLAIT_THREAD) {
        struct world *w = new_world(PLAIT_PROCESS);
        plait_supervisor_options o = {.listener = listen, .argument = w};
        CHECK_RC(plait_supervisor_init(&private_one, &o), 0);
        plait_child a = child_of(w, "a", 0), b = child_of(w, "b", 1);
        b.kind = PLAIT_THREAD;
        CHECK_RC(plait_supervisor_add(&private_one, &a, NULL, 0), 0);
        CHECK_RC(plait_supervisor_start(&w->supervisor, &private_one, sup, NULL), 0);
        UNTIL(SEEN(w->parts[0].here) == 1);
        CHECK_RC(plait_supervisor_add(&private_one, &b, NULL, PLAIT_FOREVER), 0);
        UNTIL(SEEN(w->parts[1].here) == 1);
        w->parts[0].signal = SIGKILL;
        end_part(w, 0);
        UNTIL(SEEN(w->parts[0].starts) == 2);
        w->parts[0].signal = 0;
        CHECK_RC(plait_supervisor_stop(&private_one, PLAIT_FOREVER), 0);
        CHECK_EQ(t_join_one(w->supervisor), 0);
        CHECK_LOG(w, "+a +b =a *a1 +a -b -a . ");
        plait_free(w);
    }
}

static void it_is_run_by_one(void **state)
{
    (void)state;
    struct world *w;
    run_of(&w, PLAIT_PROCESS, PLAIT_THREAD, (plait_supervisor_options){0});
    CHECK_RC(plait_supervisor_run(&w->s), PLAIT_EBUSY);
    stop(w, 0);
    plait_free(w);
}

static void ask_in_listener(const plait_supervisor_report *r, void *arg)
{
    struct world *w = arg;
    if (r->event == PLAIT_REPORT_START) {
        w->rc = plait_supervisor_remove(&w->s, "a", PLAIT_FOREVER);
        w->rc2 = plait_supervisor_stop(&w->s, PLAIT_FOREVER);
        CHECK_EQ(plait_supervisor_list(&w->s, NULL, 0), 1);
    }
}

static void a_listener_may_look_and_stop_but_not_order(void **state)
{
    (void)state;
    struct world *w = new_world(PLAIT_THREAD);
    plait_supervisor_options o = {.listener = ask_in_listener, .argument = w};
    CHECK_RC(plait_supervisor_init(&w->s, &o), 0);
    add(w, "a", 0, PLAIT_PERMANENT);
    CHECK_RC(plait_supervisor_run(&w->s), 0);
    CHECK_RC(w->rc, PLAIT_EDEADLK);
    CHECK_RC(w->rc2, 0);
    plait_free(w);
}

static void a_child_that_another_has_joined_counts_as_ended(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w;
        plait_child_info info[3];
        run_of(&w, PLAIT_THREAD, kind, (plait_supervisor_options){0});
        CHECK_EQ(plait_supervisor_list(&w->s, info, 3), 3);
        CHECK_RC(plait_detach(info[1].worker), 0);
        end_part(w, 1);
        UNTIL(SEEN(w->parts[1].starts) == 2 && SEEN(w->parts[1].here) == 1);
        stop(w, 0);
        CHECK_LOG(w, "=b *b1 +b -c -b -a . ");
        plait_free(w);
    }
}

static int say_ready(void *unused)
{
    (void)unused;
    return plait_supervisor_ready();
}

static void ready_means_nothing_elsewhere(void **state)
{
    (void)state;
    CHECK_RC(plait_supervisor_ready(), 0);
    FOR_EVERY_KIND(kind)
    CHECK_EQ(t_join_one(t_start_one(kind, say_ready, NULL)), 0);
}

static void nothing_is_left(void **state)
{
    (void)state;
    /* Under TSan zygotes fork twice, and the program inherits those of its children when they end. */
    CHECK(!t_has_children() || t_is_sanitized());
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(children_start_in_order_and_stop_in_reverse),
        cmocka_unit_test(one_that_is_not_ready_is_waited_for),
        cmocka_unit_test(who_ends_or_dawdles_before_it_is_ready_has_not_started),
        cmocka_unit_test(stop_ends_the_wait_for_ready),
        cmocka_unit_test(a_start_that_fails_ends_those_before),
        cmocka_unit_test(an_argument_is_copied_for_each_start),
        cmocka_unit_test(the_way_of_ending_decides_on_a_restart),
        cmocka_unit_test(the_strategy_says_who_else_is_restarted),
        cmocka_unit_test(temporary_ones_are_forgotten_when_stopped_for_another),
        cmocka_unit_test(children_of_all_kinds_live_side_by_side),
        cmocka_unit_test(more_restarts_than_allowed_end_it),
        cmocka_unit_test(no_restart_may_be_allowed),
        cmocka_unit_test(restarts_that_are_long_past_do_not_count),
        cmocka_unit_test(a_restart_that_fails_counts_as_an_end),
        cmocka_unit_test(a_branch_that_gives_up_is_started_afresh),
        cmocka_unit_test(a_branch_that_is_killed_takes_its_leaves_along),
        cmocka_unit_test(functions_are_found_by_processes_of_another_image),
        cmocka_unit_test(a_process_that_refuses_is_told_and_killed),
        cmocka_unit_test(a_thread_that_refuses_is_asked_again_and_waited_for),
        cmocka_unit_test(anybody_may_give_orders),
        cmocka_unit_test(an_order_that_cannot_be_obeyed_changes_nothing),
        cmocka_unit_test(without_a_run_orders_change_the_table),
        cmocka_unit_test(an_order_stands_whose_giver_has_no_time),
        cmocka_unit_test(orders_that_come_too_late_are_told_so),
        cmocka_unit_test(a_supervisor_that_is_cancelled_stops_all),
        cmocka_unit_test(a_scope_that_is_over_stops_it),
        cmocka_unit_test(it_may_end_when_nothing_is_left),
        cmocka_unit_test(a_child_may_stop_its_supervisor),
        cmocka_unit_test(it_may_be_run_again),
        cmocka_unit_test(a_killed_supervisor_leaves_no_process),
        cmocka_unit_test(who_waits_for_a_supervisor_learns_of_its_death_at_once),
        cmocka_unit_test(it_learns_of_an_end_at_once),
        cmocka_unit_test(it_learns_of_a_kill_though_nobody_else_looks),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(copies_are_refused),
        cmocka_unit_test(a_private_one_serves_its_process),
        cmocka_unit_test(it_is_run_by_one),
        cmocka_unit_test(a_listener_may_look_and_stop_but_not_order),
        cmocka_unit_test(a_child_that_another_has_joined_counts_as_ended),
        cmocka_unit_test(ready_means_nothing_elsewhere),
        cmocka_unit_test(nothing_is_left),
    };
    CHECK_RC(plait_init(&argc, &argv), 0);
    t_arguments(argc, argv);
    return cmocka_run_group_tests_name("supervisor", tests, NULL, NULL);
}
