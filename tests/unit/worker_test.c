/* Starting workers of both kinds, and asking about them. */
#include "harness.h"
#include "park/park.h"
#include "registry/registry.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const plait_worker nobody;

static void *number(intptr_t n)
{
    return (void *)n;
}

static int give_back(void *n)
{
    return (int)(intptr_t)n;
}

static int wait_for_event(void *event)
{
    return plait_event_wait(event, PLAIT_FOREVER);
}

static plait_event *new_event(void)
{
    plait_event *event = plait_alloc(sizeof *event);
    CHECK(event != NULL);
    return event;
}

/* A worker of either kind that waits for the event. */
static plait_worker start_waiting(int kind, plait_event *event)
{
    plait_worker w = t_start_one(kind, wait_for_event, event);
    UNTIL_WAITS(w, PL_WAIT_EVENT);
    return w;
}

static void finish_waiting(plait_worker w, plait_event *event)
{
    CHECK_RC(plait_event_set(event), 0);
    CHECK_EQ(t_join_one(w), 0);
    CHECK_RC(plait_free(event), 0);
}

/* --- init --- */

static void init_takes_both_or_neither(void **state)
{
    (void)state;
    char *argv[] = {"test", NULL}, **p = argv;
    int argc = 1;
    errno = EXDEV;
    CHECK_RC(plait_init(&argc, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_init(NULL, &p), PLAIT_EINVAL);
    CHECK_RC(plait_init(&argc, &p), 0);
    CHECK_EQ(argc, 1);
    CHECK(p == argv);
    plait_worker self = plait_self();
    CHECK_RC(plait_init(NULL, NULL), 0); /* a second call does nothing */
    CHECK(plait_same(plait_self(), self));
    CHECK_EQ(errno, EXDEV);
}

/* --- refusals --- */

struct attempt {
    int kind, start_method;
    plait_function *fn;
    void *arg;
    size_t arg_size;
    int expected;
};

static char private_memory[100];

static void what_makes_no_sense_is_refused_and_leaves_nothing(void **state)
{
    (void)state;
    const struct attempt attempts[] = {
        {0, 0, give_back, NULL, 0, PLAIT_EINVAL},
        {-1, 0, give_back, NULL, 0, PLAIT_EINVAL},
        {4, 0, give_back, NULL, 0, PLAIT_EINVAL},
        {INT_MAX, 0, give_back, NULL, 0, PLAIT_EINVAL},
        {PLAIT_TASK + 1, 0, give_back, NULL, 0, PLAIT_EINVAL},
        {PLAIT_THREAD, 0, NULL, NULL, 0, PLAIT_EINVAL},
        {PLAIT_PROCESS, 0, NULL, NULL, 0, PLAIT_EINVAL},
        {PLAIT_THREAD, 0, give_back, NULL, 1, PLAIT_EINVAL},
        {PLAIT_PROCESS, 0, give_back, NULL, 1, PLAIT_EINVAL},
        {PLAIT_PROCESS, -1, give_back, NULL, 0, PLAIT_EINVAL},
        {PLAIT_PROCESS, 4, give_back, NULL, 0, PLAIT_EINVAL},
        {PLAIT_PROCESS, 0, give_back, private_memory, 0, PLAIT_EPRIVATE},
        {PLAIT_PROCESS, 0, give_back, &private_memory[99], 0, PLAIT_EPRIVATE},
        {PLAIT_PROCESS, 0, give_back, (void *)1, 0, PLAIT_EPRIVATE},
        {PLAIT_PROCESS, 0, give_back, "constant", 0, PLAIT_EPRIVATE},
    };
    plait_arena_statistics before, after;
    plait_self();
    CHECK_RC(plait_arena_stats(&before), 0);
    errno = EXDEV;
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
        const struct attempt *a = &attempts[i];
        plait_options o = {.arg_size = a->arg_size, .start_method = a->start_method};
        plait_worker w = {12, 34};
        CHECK_RC(plait_start(&w, a->kind, a->fn, a->arg, &o), a->expected);
        CHECK(w.slot == 12 && w.generation == 34);
        CHECK_RC(plait_start(NULL, a->kind, a->fn, a->arg, &o), PLAIT_EINVAL);
    }
    CHECK_RC(plait_start(NULL, PLAIT_THREAD, give_back, NULL, NULL), PLAIT_EINVAL);
    CHECK_EQ(errno, EXDEV);
    CHECK_RC(plait_arena_stats(&after), 0);
    CHECK_EQ(after.blocks, before.blocks);
    CHECK_EQ(plait_children(NULL, 0), 0);
    CHECK_EQ(plait_enumerate(NULL, 0), 1);
    CHECK(!t_has_children());
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_blame blame;
        plait_worker w, all[4];
        char name[PLAIT_NAME_SIZE];
        errno = EXDEV;
        CHECK_RC(plait_start(&w, kind, give_back, NULL, NULL), 0);
        plait_state(w), plait_is_alive(w), plait_pid(w), plait_tid(w), plait_kind_of(w);
        plait_name(w, name, sizeof name), plait_parent(w), plait_exit_status(w, &blame);
        plait_children(all, 4), plait_enumerate(all, 4), plait_cpu_count(), plait_cancel(w);
        CHECK_RC(plait_set_name("main"), 0);
        CHECK(plait_join(w, NULL, PLAIT_FOREVER) >= 0);
        plait_join(w, NULL, PLAIT_FOREVER), plait_detach(w), plait_kill(w), plait_terminate(w);
        CHECK_EQ(errno, EXDEV);
    }
}

/* --- running --- */

static void the_status_is_what_the_function_returned(void **state)
{
    (void)state;
    const int statuses[] = {0, 1, -1, 255, 256, 4711, INT_MAX, INT_MIN};
    FOR_EACH_KIND(kind)
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        plait_blame end;
        plait_worker w = t_start_one(kind, give_back, number(statuses[i]));
        CHECK_RC(plait_join(w, &end, PLAIT_FOREVER), 0);
        CHECK_EQ(end.status, statuses[i]);
        CHECK(end.returned);
    }
}

struct shared {
    int value;
    pid_t pid, tid;
    plait_worker self, parent;
    int kind;
    char name[PLAIT_NAME_SIZE];
};

static int look_at_oneself(void *shared)
{
    struct shared *s = shared;
    s->value++;
    s->pid = getpid();
    s->tid = gettid();
    s->self = plait_self();
    s->parent = plait_parent(s->self);
    s->kind = plait_kind_of(s->self);
    CHECK_EQ(plait_state(s->self), PLAIT_STATE_RUNNING);
    CHECK_EQ(plait_is_alive(s->self), 1);
    CHECK_EQ(plait_pid(s->self), s->pid);
    CHECK_EQ(plait_tid(s->self), s->tid);
    CHECK_RC(plait_name(s->self, s->name, sizeof s->name), 0);
    CHECK_EQ(plait_children(NULL, 0), 0);
    return 0;
}

static void a_worker_knows_itself(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct shared *s = plait_alloc(sizeof *s);
        plait_worker w;
        CHECK_RC(plait_start(&w, kind, look_at_oneself, s, NULL), 0);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_EQ(s->value, 1);
        CHECK(plait_same(s->self, w));
        CHECK(plait_same(s->parent, plait_self()));
        CHECK_EQ(s->kind, kind);
        CHECK(kind == PLAIT_THREAD ? s->pid == getpid() && s->tid != gettid()
                                   : s->pid != getpid() && s->pid == s->tid);
        CHECK_RC(plait_free(s), 0);
    }
}

static void it_is_listed_when_start_returns(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    for (int i = 0; i < 100; i++) {
        plait_worker w, all[8];
        bool found = false;
        CHECK_RC(plait_start(&w, kind, give_back, NULL, NULL), 0);
        int n = plait_children(all, 8);
        CHECK_EQ(n, 1);
        CHECK(plait_same(all[0], w));
        n = plait_enumerate(all, 8);
        for (int k = 0; k < n; k++)
            found |= plait_same(all[k], w);
        CHECK(found || !plait_is_alive(w));
        CHECK_EQ(plait_kind_of(w), kind);
        CHECK(plait_same(plait_parent(w), plait_self()));
        CHECK(kind == PLAIT_THREAD ? plait_pid(w) == getpid() : plait_pid(w) > 0);
        CHECK(plait_tid(w) > 0 || plait_state(w) == PLAIT_STATE_NEW || plait_tid(w) > 0);
        CHECK(kind == PLAIT_THREAD || plait_tid(w) == plait_pid(w));
        CHECK_EQ(t_join_one(w), 0);
    }
}

/* --- arguments --- */

static int add_up(void *bytes)
{
    const unsigned char *b = bytes;
    int sum = 0;
    for (int i = 0; i < 100; i++)
        sum += b[i];
    memset(bytes, 0, 100); /* its own copy */
    return sum;
}

static void an_argument_of_a_size_is_copied(void **state)
{
    (void)state;
    plait_arena_statistics before, after;
    plait_self();
    CHECK_RC(plait_arena_stats(&before), 0);
    FOR_EACH_KIND(kind)
    {
        unsigned char bytes[100];
        plait_worker w;
        memset(bytes, 3, sizeof bytes);
        CHECK_RC(plait_start(&w, kind, add_up, bytes, &(plait_options){.arg_size = 100}), 0);
        memset(bytes, 5, sizeof bytes); /* nobody looks at it any more */
        CHECK_EQ(t_join_one(w), 300);
        CHECK_EQ(bytes[0], 5);
    }
    CHECK_RC(plait_arena_stats(&after), 0);
    CHECK_EQ(after.blocks, before.blocks);
}

static int check_large(void *bytes)
{
    const unsigned char *b = bytes;
    for (int i = 0; i < 300000; i++)
        CHECK_EQ(b[i], i % 251);
    return 0;
}

static void a_large_argument_is_copied_whole(void **state)
{
    (void)state;
    unsigned char *bytes = malloc(300000);
    for (int i = 0; i < 300000; i++)
        bytes[i] = (unsigned char)(i % 251);
    FOR_EACH_KIND(kind)
    {
        plait_worker w;
        CHECK_RC(plait_start(&w, kind, check_large, bytes, &(plait_options){.arg_size = 300000}),
                 0);
        CHECK_EQ(t_join_one(w), 0);
    }
    free(bytes);
}

static int leave_early(void *unused)
{
    (void)unused;
    pthread_exit(number(3));
}

static void the_copy_is_freed_when_the_thread_leaves_early(void **state)
{
    (void)state;
    plait_arena_statistics before, after;
    plait_worker w;
    plait_self();
    CHECK_RC(plait_arena_stats(&before), 0);
    CHECK_RC(plait_start(&w, PLAIT_THREAD, leave_early, private_memory,
                         &(plait_options){.arg_size = 100}),
             0);
    CHECK_RC(plait_join(w, NULL, PLAIT_FOREVER), PLAIT_DIED);
    CHECK_RC(plait_arena_stats(&after), 0);
    CHECK_EQ(after.blocks, before.blocks);
}

static int is_shared(void *arg)
{
    return plait_is_shared(arg);
}

static int is_private_text(void *arg)
{
    return strcmp(arg, "text") == 0 && !plait_is_shared(arg);
}

static void arguments_reach_whom_they_can(void **state)
{
    (void)state;
    plait_worker w;
    void *block = plait_alloc(10);
    strcpy(private_memory, "text");
    FOR_EACH_KIND(kind)
    {
        CHECK_RC(plait_start(&w, kind, is_shared, block, NULL), 0);
        CHECK_EQ(t_join_one(w), 1);
        CHECK_RC(plait_start(&w, kind, give_back, NULL, NULL), 0);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(plait_start(&w, kind, is_shared, private_memory, &(plait_options){.arg_size = 10}),
                 0);
        CHECK_EQ(t_join_one(w), 1);
        CHECK_RC(plait_start(&w, kind, is_private_text, private_memory,
                             &(plait_options){.start_method = PLAIT_FORK}),
                 0);
        CHECK_EQ(t_join_one(w), 1);
    }
    CHECK_RC(plait_start(&w, PLAIT_THREAD, is_private_text, private_memory, NULL), 0);
    CHECK_EQ(t_join_one(w), 1);
    CHECK_RC(plait_free(block), 0);
}

/* --- names --- */

static void expect_name(plait_worker w, const char *expected)
{
    char name[PLAIT_NAME_SIZE];
    CHECK_RC(plait_name(w, name, sizeof name), 0);
    if (strcmp(name, expected) != 0)
        t_die(__FILE__, __LINE__, "its name is \"%s\", not \"%s\"", name, expected);
}

static void names_are_given_copied_and_cut(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_event *event = new_event();
        char name[] = "a name that is longer than the thirty-one bytes there are";
        char made[PLAIT_NAME_SIZE];
        plait_worker named, cut, unnamed, empty;
        CHECK_RC(plait_start(&named, kind, wait_for_event, event, &(plait_options){.name = "one"}),
                 0);
        CHECK_RC(plait_start(&cut, kind, wait_for_event, event, &(plait_options){.name = name}), 0);
        memset(name, 'x', 10);
        CHECK_RC(plait_start(&unnamed, kind, wait_for_event, event, NULL), 0);
        CHECK_RC(plait_start(&empty, kind, wait_for_event, event, &(plait_options){.name = ""}), 0);
        expect_name(named, "one");
        expect_name(cut, "a name that is longer than the ");
        expect_name(empty, "");
        CHECK_RC(plait_name(unnamed, made, sizeof made), 0);
        CHECK(strncmp(made, kind == PLAIT_THREAD ? "Thread-" : "Process-",
                      kind == PLAIT_THREAD ? 7 : 8) == 0);
        plait_event_set(event);
        plait_worker all[] = {named, cut, unnamed, empty};
        for (int i = 0; i < 4; i++) {
            plait_blame end;
            CHECK_EQ(t_join_blame(all[i], &end), 0);
            CHECK(i != 0 || strcmp(end.name, "one") == 0);
        }
        CHECK_RC(plait_free(event), 0);
    }
}

/* What the kernel calls a thread. */
static void kernel_name(int pid, int tid, char *text, size_t size)
{
    char path[60];
    snprintf(path, sizeof path, "/proc/%d/task/%d/comm", pid, tid);
    FILE *f = fopen(path, "r");
    CHECK(f != NULL && fgets(text, (int)size, f) != NULL);
    fclose(f);
    text[strcspn(text, "\n")] = 0;
}

static int rename_and_wait(void *event)
{
    CHECK_RC(plait_set_name("renamed by itself"), 0);
    return wait_for_event(event);
}

static void the_kernel_shows_the_names(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    for (int renamed = 0; renamed < 2; renamed++) {
        plait_event *event = new_event();
        char text[100];
        plait_worker w;
        CHECK_RC(plait_start(&w, kind, renamed ? rename_and_wait : wait_for_event, event,
                             &(plait_options){.name = "given at the start"}),
                 0);
        UNTIL_WAITS(w, PL_WAIT_EVENT);
        expect_name(w, renamed ? "renamed by itself" : "given at the start");
        kernel_name(plait_pid(w), plait_tid(w), text, sizeof text);
        CHECK(strcmp(text, renamed ? "renamed by itse" : "given at the st") == 0);
        finish_waiting(w, event);
    }
}

static void names_need_a_place_and_a_text(void **state)
{
    (void)state;
    char text[4] = "old";
    plait_worker self = plait_self();
    CHECK_RC(plait_set_name("before"), 0);
    CHECK_RC(plait_set_name(NULL), PLAIT_EINVAL);
    expect_name(self, "before");
    CHECK_RC(plait_name(self, NULL, 10), PLAIT_EINVAL);
    CHECK_RC(plait_name(self, text, 0), PLAIT_EINVAL);
    CHECK(strcmp(text, "old") == 0);
    CHECK_RC(plait_name(nobody, text, sizeof text), PLAIT_EINVAL);
    CHECK(strcmp(text, "old") == 0);
    CHECK_RC(plait_name(self, text, sizeof text), 0);
    CHECK(strcmp(text, "bef") == 0);
}

/* --- states --- */

static int run_until_told(void *go)
{
    UNTIL(SEEN(*(int *)go));
    return 3;
}

static void states_follow_the_life(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        int *go = plait_alloc(sizeof *go);
        plait_event *event = new_event();
        plait_blame end;
        plait_worker runs = t_start_one(kind, run_until_told, go);
        UNTIL(plait_state(runs) != PLAIT_STATE_NEW);
        CHECK_EQ(plait_state(runs), PLAIT_STATE_RUNNING);
        CHECK_EQ(plait_is_alive(runs), 1);
        CHECK_RC(plait_exit_status(runs, &end), PLAIT_EBUSY);
        plait_worker waits = start_waiting(kind, event);
        CHECK_EQ(plait_state(waits), PLAIT_STATE_BLOCKED);
        CHECK_EQ(plait_is_alive(waits), 1);
        CHECK_RC(plait_exit_status(waits, &end), PLAIT_EBUSY);
        TELL(*go, 1);
        UNTIL(plait_state(runs) == PLAIT_STATE_ENDED);
        CHECK_EQ(plait_is_alive(runs), 0);
        UNTIL(plait_exit_status(runs, &end) == 0);
        CHECK_EQ(end.status, 3);
        CHECK(end.returned);
        CHECK_EQ(plait_kind_of(runs), kind); /* known until it is joined */
        CHECK_EQ(t_join_one(runs), 3);
        CHECK_RC(plait_state(runs), PLAIT_ESTALE);
        CHECK_RC(plait_exit_status(runs, &end), PLAIT_ESTALE);
        finish_waiting(waits, event);
        CHECK_RC(plait_free(go), 0);
    }
}

static void exit_status_needs_a_place(void **state)
{
    (void)state;
    plait_blame end;
    plait_worker w = t_start_one(PLAIT_THREAD, give_back, NULL);
    CHECK_RC(plait_exit_status(w, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_exit_status(nobody, &end), PLAIT_EINVAL);
    CHECK_EQ(t_join_one(w), 0);
}

/* --- lists --- */

static bool is_among(plait_worker w, const plait_worker *all, int n)
{
    for (int i = 0; i < n; i++)
        if (plait_same(all[i], w))
            return true;
    return false;
}

static int start_one_and_wait(void *event)
{
    plait_worker child = start_waiting(PLAIT_PROCESS, event);
    plait_worker all[8];
    CHECK_EQ(plait_children(all, 8), 1);
    CHECK(plait_same(all[0], child));
    CHECK_EQ(t_join_one(child), 0);
    return 0;
}

static void children_are_ones_own_and_enumerate_knows_all(void **state)
{
    (void)state;
    plait_event *event = new_event();
    plait_worker all[16], mine[4];
    int before = plait_enumerate(NULL, 0);
    FOR_EACH_KIND(kind)
    {
        mine[2 * kind - 2] = start_waiting(kind, event);
        mine[2 * kind - 1] = t_start_one(kind, start_one_and_wait, event);
        UNTIL_WAITS(mine[2 * kind - 1], PL_WAIT_JOIN);
    }
    CHECK_EQ(plait_children(all, 16), 4);
    for (int i = 0; i < 4; i++)
        CHECK(is_among(mine[i], all, 4));
    CHECK_EQ(plait_enumerate(all, 16), before + 6);
    for (int i = 0; i < 4; i++)
        CHECK(is_among(mine[i], all, before + 6));
    CHECK(is_among(plait_self(), all, before + 6));
    plait_event_set(event);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(t_join_one(mine[i]), 0);
    CHECK_EQ(plait_children(all, 16), 0);
    CHECK_EQ(plait_enumerate(all, 16), before);
    CHECK_RC(plait_free(event), 0);
}

static void the_ended_are_children_until_joined_and_not_enumerated(void **state)
{
    (void)state;
    int before = plait_enumerate(NULL, 0);
    FOR_EACH_KIND(kind)
    {
        plait_worker w = t_start_one(kind, give_back, NULL), all[4];
        UNTIL(!plait_is_alive(w));
        CHECK_EQ(plait_children(all, 4), 1);
        CHECK(plait_same(all[0], w));
        CHECK_EQ(plait_enumerate(NULL, 0), before);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_EQ(plait_children(NULL, 0), 0);
    }
}

static void a_short_array_is_filled_and_the_whole_number_told(void **state)
{
    (void)state;
    plait_event *event = new_event();
    struct t_team team;
    plait_worker all[4] = {{0, 0}};
    t_start(&team, &t_mixed, 3, wait_for_event, event);
    CHECK_EQ(plait_children(all, 2), 3);
    CHECK(all[0].slot && all[1].slot && !all[2].slot);
    CHECK_EQ(plait_children(NULL, 0), 3);
    CHECK_EQ(plait_children(NULL, -1), 3);
    CHECK_EQ(plait_children(all, 0), 3);
    CHECK_RC(plait_children(NULL, 1), PLAIT_EINVAL);
    CHECK_RC(plait_enumerate(NULL, 1), PLAIT_EINVAL);
    CHECK_EQ(plait_enumerate(all, 1), 4);
    CHECK(!all[2].slot);
    plait_event_set(event);
    t_join(&team);
    CHECK_RC(plait_free(event), 0);
}

/* --- parents --- */

static plait_worker inner;

static int start_inner(void *event)
{
    inner = t_start_one(PLAIT_THREAD, wait_for_event, event);
    CHECK(plait_same(plait_parent(inner), plait_self()));
    return 0;
}

static void the_parent_is_the_thread_that_started_it(void **state)
{
    (void)state;
    plait_event *event = new_event();
    plait_worker starter = t_start_one(PLAIT_THREAD, start_inner, event);
    CHECK_EQ(t_join_one(starter), 0);
    plait_worker parent = plait_parent(inner);
    CHECK(plait_same(parent, starter) || plait_same(parent, nobody)); /* gone, never another */
    finish_waiting(inner, event);
    CHECK(plait_same(plait_parent(inner), nobody));
    CHECK(plait_same(plait_parent(nobody), nobody));
}

/* --- detaching --- */

static int leave_number(void *box)
{
    TELL(*(int *)box, 7);
    return 1;
}

static void the_detached_free_themselves(void **state)
{
    (void)state;
    plait_self();
    FOR_EACH_KIND(kind)
    for (int late = 0; late < 2; late++) {
        int *box = plait_alloc(sizeof *box);
        plait_worker w;
        CHECK_RC(plait_start(&w, kind, leave_number, box, &(plait_options){.detach = !late}), 0);
        if (late)
            CHECK_RC(plait_detach(w), 0);
        CHECK_RC(plait_detach(w), PLAIT_ESTALE);
        CHECK_RC(plait_join(w, NULL, PLAIT_FOREVER), PLAIT_ESTALE);
        CHECK_EQ(plait_children(NULL, 0), 0);
        UNTIL(plait_state(w) == PLAIT_ESTALE);
        CHECK_EQ(SEEN(*box), 7);
        UNTIL(plait_children(NULL, 0) == 0 && !t_has_children());
        CHECK_RC(plait_free(box), 0);
    }
    UNTIL(plait_enumerate(NULL, 0) == 1);
}

static void one_that_has_ended_can_be_detached(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_worker w = t_start_one(kind, give_back, NULL);
        UNTIL(!plait_is_alive(w));
        CHECK_RC(plait_detach(w), 0);
        CHECK_RC(plait_state(w), PLAIT_ESTALE);
        CHECK_RC(plait_join(w, NULL, PLAIT_NOWAIT), PLAIT_ESTALE);
        CHECK_RC(plait_detach(w), PLAIT_ESTALE);
    }
    CHECK_RC(plait_detach(nobody), PLAIT_EINVAL);
    UNTIL(plait_children(NULL, 0) == 0 && !t_has_children());
}

static int detach_self(void *unused)
{
    (void)unused;
    return plait_detach(plait_self());
}

static void a_worker_may_detach_itself(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_worker w = t_start_one(kind, detach_self, NULL);
        UNTIL(plait_state(w) == PLAIT_ESTALE);
        CHECK_RC(plait_join(w, NULL, PLAIT_NOWAIT), PLAIT_ESTALE);
    }
    UNTIL(plait_children(NULL, 0) == 0 && !t_has_children());
}

/* --- stacks --- */

static int stack_is_at_least(void *size)
{
    pthread_attr_t attr;
    size_t have;
    CHECK_EQ(pthread_getattr_np(pthread_self(), &attr), 0);
    CHECK_EQ(pthread_attr_getstacksize(&attr, &have), 0);
    pthread_attr_destroy(&attr);
    CHECK(have + 4096 >= *(size_t *)size); /* the C library rounds down */
    volatile char deep[10000];
    memset((void *)deep, 1, sizeof deep);
    return 0;
}

static void a_stack_is_as_large_as_asked_for(void **state)
{
    (void)state;
    size_t sizes[] = {64 << 10, 100001, 1 << 20, 64 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        plait_worker w;
        CHECK_RC(plait_start(&w, PLAIT_THREAD, stack_is_at_least, &sizes[i],
                             &(plait_options){.stack_size = sizes[i]}),
                 0);
        CHECK_EQ(t_join_one(w), 0);
    }
    plait_worker w;
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, &(plait_options){.stack_size = 1}),
             0); /* a thread's matter */
    CHECK_EQ(t_join_one(w), 0);
}

/* --- threads that leave --- */

static int cancel_itself_by_pthread(void *unused)
{
    (void)unused;
    pthread_cancel(pthread_self());
    pthread_testcancel();
    return 1;
}

static void a_thread_that_leaves_early_did_not_return(void **state)
{
    (void)state;
    plait_function *ways[] = {leave_early, cancel_itself_by_pthread};
    for (int i = 0; i < 2; i++) {
        plait_blame end;
        plait_worker w = t_start_one(PLAIT_THREAD, ways[i], NULL);
        CHECK_RC(plait_join(w, &end, PLAIT_FOREVER), PLAIT_DIED);
        CHECK(!end.returned);
        CHECK_EQ(end.signal, 0);
        CHECK_EQ(end.status, 0);
    }
}

/* --- a thread that is slow to begin --- */

static struct {
    bool armed;
    int go;
    void *(*fn)(void *);
    void *arg;
} late;

static void *begin_late(void *unused)
{
    (void)unused;
    while (!SEEN(late.go))
        sched_yield();
    return late.fn(late.arg);
}

/* Stands before the C library's, which the linker calls __real (--wrap): the thread that plait makes next waits before its
 * first step. */
int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
                          void *arg)
{
    if (!late.armed)
        return __real_pthread_create(thread, attr, fn, arg);
    late.armed = false;
    late.fn = fn;
    late.arg = arg;
    return __real_pthread_create(thread, attr, begin_late, NULL);
}

static int start_late(void *box)
{
    late.go = 0;
    late.armed = true;
    inner = t_start_one(PLAIT_THREAD, leave_number, box);
    return 0;
}

/* The starter has ended before its thread runs; nobody may take the entry for a leftover. */
static void a_thread_runs_though_its_starter_is_gone(void **state)
{
    (void)state;
    int box = 0;
    CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, start_late, &box)), 0);
    CHECK_EQ(plait_state(inner), PLAIT_STATE_NEW);
    CHECK_EQ(plait_is_alive(inner), 1);
    CHECK_EQ(plait_pid(inner), getpid());
    CHECK_EQ(plait_tid(inner), 0);
    for (int i = 0; i < 3; i++)
        pl_sweep(0);
    CHECK_EQ(plait_state(inner), PLAIT_STATE_NEW);
    CHECK_RC(plait_join(inner, NULL, plait_ms(20)), PLAIT_ETIMEDOUT);
    TELL(late.go, 1);
    CHECK_EQ(t_join_one(inner), 1);
    CHECK_EQ(box, 7);
}

static void one_that_has_not_begun_can_be_cancelled_and_detached(void **state)
{
    (void)state;
    int box = 0;
    CHECK_EQ(start_late(&box), 0);
    CHECK_RC(plait_cancel(inner), 0);
    CHECK_RC(plait_kill(inner), PLAIT_ENOTSUP);
    CHECK_RC(plait_detach(inner), 0);
    TELL(late.go, 1);
    UNTIL(plait_state(inner) == PLAIT_ESTALE);
    CHECK_EQ(SEEN(box), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_takes_both_or_neither),
        cmocka_unit_test(what_makes_no_sense_is_refused_and_leaves_nothing),
        cmocka_unit_test(errno_is_left_alone),
        cmocka_unit_test(the_status_is_what_the_function_returned),
        cmocka_unit_test(a_worker_knows_itself),
        cmocka_unit_test(it_is_listed_when_start_returns),
        cmocka_unit_test(an_argument_of_a_size_is_copied),
        cmocka_unit_test(a_large_argument_is_copied_whole),
        cmocka_unit_test(the_copy_is_freed_when_the_thread_leaves_early),
        cmocka_unit_test(arguments_reach_whom_they_can),
        cmocka_unit_test(names_are_given_copied_and_cut),
        cmocka_unit_test(the_kernel_shows_the_names),
        cmocka_unit_test(names_need_a_place_and_a_text),
        cmocka_unit_test(states_follow_the_life),
        cmocka_unit_test(exit_status_needs_a_place),
        cmocka_unit_test(children_are_ones_own_and_enumerate_knows_all),
        cmocka_unit_test(the_ended_are_children_until_joined_and_not_enumerated),
        cmocka_unit_test(a_short_array_is_filled_and_the_whole_number_told),
        cmocka_unit_test(the_parent_is_the_thread_that_started_it),
        cmocka_unit_test(the_detached_free_themselves),
        cmocka_unit_test(one_that_has_ended_can_be_detached),
        cmocka_unit_test(a_worker_may_detach_itself),
        cmocka_unit_test(a_stack_is_as_large_as_asked_for),
        cmocka_unit_test(a_thread_that_leaves_early_did_not_return),
        cmocka_unit_test(a_thread_runs_though_its_starter_is_gone),
        cmocka_unit_test(one_that_has_not_begun_can_be_cancelled_and_detached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
