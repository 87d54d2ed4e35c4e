/* One run: the workers as coroutines of one thread, the futex and the clock that they see.
 *
 * Facts: 1 exactly one worker runs; another goes on only through pass_to;
 *        2 pl_self, which is the thread's, is exchanged with the worker;
 *        3 each run begins with the same state: worker table, arena's head, clock, world. What a
 *          scenario or the allocator keeps from run to run must make no difference. */
#undef _FORTIFY_SOURCE /* its longjmp refuses to go to another stack */
#include "explore_internal.h"

#include "base/atomic.h"
#include "base/clock.h"
#include "base/model.h"
#include "base/sanitizers.h"
#include "park/park.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { START = 1000 * 1000 * 1000 }; /* the clock at the beginning of a run */

struct ex ex;

/* --- contexts --- */

/* Switching by _longjmp saves the system calls of swapcontext; AddressSanitizer follows the latter
 * only. */

struct ex_context {
    ucontext_t uc;
    jmp_buf jmp;
    bool begun;
};

static struct ex_context contexts[EXPLORE_WORKERS], main_context = {.begun = true};
static struct pl_self main_self;
static _Thread_local bool is_explorer; /* other threads pass the hooks by */

static __attribute__((noinline)) void switch_context(struct ex_context *from, struct ex_context *to)
{
#if PL_ASAN
    swapcontext(&from->uc, &to->uc);
#else
    if (_setjmp(from->jmp) != 0)
        return;
    if (to->begun)
        _longjmp(to->jmp, 1);
    to->begun = true;
    setcontext(&to->uc);
#endif
}

static struct ex_context *context_of(int who)
{
    return who < 0 ? &main_context : &contexts[who];
}

static struct pl_self *self_of(int who)
{
    return who < 0 ? &main_self : &ex.workers[who].self;
}

static void pass_to(int who)
{
    int from = ex.cur;
    if (who == from)
        return;
    *self_of(from) = pl_self;
    pl_self = *self_of(who);
    ex.cur = who;
    ex.fresh = true;
    switch_context(context_of(from), context_of(who));
}

/* --- failing --- */

static void fail_v(const char *format, va_list args)
{
    struct explore_report *report = &ex.box->report;
    if (!ex.failed)
        vsnprintf(report->failure, sizeof report->failure, format, args);
    ex.failed = report->failed = true;
    if (ex.tells)
        ex_tell(ex.cur, "FAILED: %s", report->failure);
    if (ex.cur >= 0)
        pass_to(-1); /* for good */
}

void ex_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail_v(format, args);
    va_end(args);
}

void explore_fail(const char *file, int line, const char *format, ...)
{
    char text[400];
    const char *name = strrchr(file, '/');
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ex_fail("%s:%d: not true in %s: %s", name ? name + 1 : file, line,
            ex.cur < 0 ? "setup or check" : (char[]){(char)('a' + ex.cur), 0}, text);
}

/* --- deciding --- */

static bool is_ready(int who)
{
    return ex.workers[who].state == EX_READY;
}

/* Who has yielded lets each of the others make a step before it is his turn again; out of turn he may
 * come as a preemption only, or there would be no end of runs in which two yield to each other. */
static bool is_eager(int who)
{
    const struct ex_worker *w = &ex.workers[who];
    bool waits = false;
    for (int i = 0; i < ex.n; i++)
        waits |= (w->yields_to >> i & 1) && is_ready(i);
    return is_ready(who) && !waits;
}

/* Who may run, the current one first; after `woken` costs nothing. How many. */
static int add_runs(struct ex_option *options, int woken)
{
    bool any_eager = false, goes_on = ex.cur >= 0 && is_eager(ex.cur);
    int n = 0;
    for (int i = 0; i < ex.n; i++)
        any_eager |= is_eager(i);
    if (goes_on)
        options[n++] = (struct ex_option){EX_RUN, ex.cur, 0};
    for (int k = 1; k <= ex.n; k++) {
        int who = (ex.cur + k) % ex.n;
        if (!is_ready(who) || (who == ex.cur && any_eager))
            continue;
        bool costs = (goes_on && who != woken) || (any_eager && !is_eager(who));
        if (any_eager || n == 0) /* all yield: in turn */
            options[n++] = (struct ex_option){EX_RUN, who, costs};
    }
    return n;
}

/* Whose sleep may end by itself. */
static int add_events(struct ex_option *options, int runs)
{
    int n = 0;
    for (int i = 0; i < ex.n; i++)
        if (ex.workers[i].state == EX_ASLEEP && ex.workers[i].until != PL_NEVER)
            options[n++] = (struct ex_option){EX_TIMEOUT, i, runs > 0};
    for (int i = 0; i < ex.n && ex.s->spurious && runs + n > 0; i++)
        if (ex.workers[i].state == EX_ASLEEP)
            options[n++] = (struct ex_option){EX_SPURIOUS, i, 1};
    return n;
}

static void wake(int who, int result)
{
    ex.workers[who].state = EX_READY;
    ex.workers[who].result = result;
}

static void happen(const struct ex_option *event)
{
    struct ex_worker *w = &ex.workers[event->who];
    if (event->kind == EX_TIMEOUT) {
        if (w->until > ex.clock)
            ex.clock = w->until;
        ex_touch(&ex.clock, true);
        wake(event->who, -ETIMEDOUT);
        ex_tell(event->who, "its time is over");
    } else {
        wake(event->who, 0);
        ex_tell(event->who, "wakes for no reason");
    }
}

static void fail_by_deadlock(void)
{
    char text[400] = "", name[80];
    size_t at = 0;
    for (int i = 0; i < ex.n; i++)
        if (ex.workers[i].state == EX_ASLEEP) {
            ex_name_of(ex.workers[i].watch[0].word, name, sizeof name);
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%c on %s", at ? ", " : "",
                                   'a' + i, name);
        }
    ex_fail("deadlock: asleep for ever are %s", text);
}

/* The next to run, -1: all have ended. */
static int decide(void)
{
    struct ex_option options[EX_OPTIONS];
    for (int woken = -1;;) {
        int runs = add_runs(options, woken);
        int n = runs + add_events(options + runs, runs);
        bool all_ended = n == 0;
        for (int i = 0; i < ex.n; i++)
            all_ended &= ex.workers[i].state == EX_ENDED;
        if (all_ended)
            return -1;
        if (n == 0) {
            fail_by_deadlock();
            return -1;
        }
        struct ex_option chosen = options[ex_choose(options, n)];
        ex.spent += chosen.cost;
        ex_log_choice(&chosen);
        if (chosen.kind == EX_RUN)
            return chosen.who;
        happen(&chosen);
        woken = chosen.who;
    }
}

/* --- what the library calls --- */

static const char yielding[] = "yield";

static void yield(struct ex_worker *w)
{
    w->yields_to = ((1u << ex.n) - 1) & ~(1u << ex.cur);
}

static void end_yields(void)
{
    for (int i = 0; i < ex.n; i++)
        ex.workers[i].yields_to &= ~(1u << ex.cur);
}

static void ask_invariant(void)
{
    ex.running = false;
    ex.s->always(ex.world);
    ex.running = true;
}

static void on_step(const char *what, const void *word)
{
    if (!ex.running || ex.cur < 0 || !is_explorer)
        return;
    struct ex_worker *w = &ex.workers[ex.cur];
    ex_tell_end_of_step(w);
    if (ex.s->always)
        ask_invariant();
    ex.box->alive++;
    if (++ex.steps > (ex.s->longest ? ex.s->longest : 5000))
        ex_fail("does not end: more than %ld steps", ex.steps - 1);
    if (what == yielding)
        yield(w);
    ex_touch(word, strncmp(what, "load", 4) != 0 && strcmp(what, "futex_wait") != 0);
    if (what == yielding || ex_is_a_point(word))
        pass_to(decide());
    ex.fresh = false;
    w->yields_to = 0;
    ex_log_step();
    end_yields();
    ex_tell_step(what, word);
}

static int64_t on_now(void)
{
    on_step("load", &ex.clock);
    return ex.clock;
}

static bool is_as_seen(const struct pl_watch *watch, int n)
{
    bool as_seen = true;
    for (int i = 0; i < n; i++) {
        ex_touch(watch[i].word, false);
        as_seen &= __atomic_load_n(watch[i].word, __ATOMIC_SEQ_CST) == watch[i].seen;
    }
    return as_seen;
}

static int on_wait(const struct pl_watch *watch, int n, int64_t until)
{
    if (ex.cur < 0) {
        ex_fail("setup or check would have to sleep");
        _exit(0);
    }
    struct ex_worker *w = &ex.workers[ex.cur];
    if (!is_as_seen(watch, n))
        return 0;
    if (until <= ex.clock)
        return -ETIMEDOUT;
    w->watch = watch;
    w->n_watch = n;
    w->until = until;
    w->since = ex.arrivals++;
    w->state = EX_ASLEEP;
    ex_tell(ex.cur, until == PL_NEVER ? "sleeps" : "sleeps, with a timeout");
    pass_to(decide());
    return w->result;
}

static bool sleeps_on(const struct ex_worker *w, const uint32_t *word)
{
    for (int i = 0; w->state == EX_ASLEEP && i < w->n_watch; i++)
        if (w->watch[i].word == word)
            return true;
    return false;
}

/* Sleepers of the word, the first to come first. */
static int sleepers_of(const uint32_t *word, struct ex_option *ret)
{
    int n = 0;
    for (int i = 0; i < ex.n; i++) {
        if (!sleeps_on(&ex.workers[i], word))
            continue;
        int k = n++;
        for (; k > 0 && ex.workers[ret[k - 1].who].since > ex.workers[i].since; k--)
            ret[k] = ret[k - 1];
        ret[k] = (struct ex_option){EX_PICK, i, 0};
    }
    return n;
}

static int on_wake(uint32_t *word, int most)
{
    struct ex_option sleepers[EX_OPTIONS];
    int woken = 0, n;
    while (woken < most && (n = sleepers_of(word, sleepers)) > 0) {
        int k = 0;
        if (ex.s->any_sleeper && n > most - woken) {
            k = ex_choose(sleepers, n);
            ex_log_choice(&sleepers[k]);
        }
        ex_tell(ex.cur, "wakes %c", 'a' + sleepers[k].who);
        wake(sleepers[k].who, 0);
        woken++;
    }
    return woken;
}

/* --- workers --- */

static void worker_main(int who)
{
    for (;;) { /* each round is a run */
        ex.s->run[who](ex.world);
        ex_tell_end_of_step(&ex.workers[who]);
        ex_tell(who, "has come to its end");
        ex.workers[who].state = EX_ENDED;
        pass_to(decide());
    }
}

static void make_context(int who)
{
    struct ex_worker *w = &ex.workers[who];
    enum { PAGE = 65536 };
    char *stack =
        mmap(NULL, EX_STACK + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED)
        abort();
    mprotect(stack, PAGE, PROT_NONE);
    w->stack = stack + PAGE;
    w->context = &contexts[who];
    ucontext_t *uc = &w->context->uc;
    getcontext(uc);
    uc->uc_stack.ss_sp = w->stack;
    uc->uc_stack.ss_size = EX_STACK;
    makecontext(uc, (void (*)(void))worker_main, 1, who);
}

/* What all workers keep in the arena's head, but for what the allocator needs and what lives there. */
enum {
    HEAD_FROM = offsetof(struct pl_arena, slots_ready),
    HEAD_TO = offsetof(struct pl_arena, lockdep),
};
static char fresh_head[HEAD_TO - HEAD_FROM];

/* An entry of the worker table each, for this one thread. */
static void enter(struct pl_self *self)
{
    memset(&pl_self, 0, sizeof pl_self);
    if (pl_self_enter() < 0)
        abort();
    pl_self.spin_budget = 1; /* others do not move while we look */
    *self = pl_self;
}

static void make_world(void)
{
    size_t size = ex.s->world_size ? ex.s->world_size : 1;
    ex.world = ex.shared ? plait_alloc(size) : aligned_alloc(64, (size + 63) / 64 * 64);
    if (!ex.world)
        abort();
}

/* An arena of our own has no other workers than these: no need to look further for them, as waits and
 * repairs now and then do. */
static void end_table_here(void)
{
    pl_arena->slots_ready = PL_ID_SLOT(ex.workers[ex.n - 1].self.id) + 1;
}

void ex_prepare(void)
{
    static struct pl_model model = {.now = on_now, .wait = on_wait, .wake = on_wake};
    bool own_arena = pl_arena == NULL;
    is_explorer = true;
    enter(&main_self);
    while (ex.n < EXPLORE_WORKERS && ex.s->run[ex.n]) {
        enter(&ex.workers[ex.n].self);
        make_context(ex.n++);
    }
    for (int i = 0; i < ex.n; i++) /* all at once: their hearts are linked to each other */
        ex.workers[i].fresh = *ex.workers[i].self.slot;
    pl_self = main_self;
    ex.cur = -1;
    make_world();
    if (own_arena)
        end_table_here();
    pl_arena->last_sweep = START;
    memcpy(fresh_head, (char *)pl_arena + HEAD_FROM, sizeof fresh_head);
    pl_spin_slept(0); /* measures something, once per process, with the clock that is */
    if (ex.s->old_kernel)
        pl_futex_forget_waitv();
    model.longest_nap = ex.s->longest_nap;
    pl_model = &model;
    pl_step_hook = on_step;
}

/* --- the run --- */

static void reset_worker(struct ex_worker *w)
{
    *w->self.slot = w->fresh;
    w->self.spin_budget = 1;
    w->self.woke = 0;
    w->self.spins_missed = w->self.spins_skip = 0;
    w->self.unparks = 0;
    w->state = EX_READY;
    w->yields_to = 0;
    w->line = -1;
}

static void begin(void)
{
    ex.clock = START;
    pl_self.unparks = 0;
    memcpy((char *)pl_arena + HEAD_FROM, fresh_head, sizeof fresh_head);
    for (int i = 0; i < ex.n; i++)
        reset_worker(&ex.workers[i]);
    ex.steps = ex.arrivals = 0;
    ex.spent = 0;
    ex.failed = false;
    ex.box->n_tokens = 0;
    ex.box->n_lines = 0;
    memset(ex.world, 0, ex.s->world_size);
    ex_forget_names();
}

void ex_run(void)
{
    begin();
    if (ex.s->setup)
        ex.s->setup(ex.world);
    ex.running = true;
    pass_to(decide());
    ex.running = false;
    if (!ex.failed && ex.s->check)
        ex.s->check(ex.world);
    struct explore_report *report = &ex.box->report;
    report->runs++;
    report->steps += ex.steps;
    if (ex.steps > report->longest)
        report->longest = ex.steps;
}

/* --- for scenarios --- */

void explore_step(const char *what, const void *word)
{
    on_step(what, word);
}

void explore_yield(void)
{
    on_step(yielding, NULL);
}

plait_worker explore_worker(int i)
{
    return pl_worker_of(ex.workers[i].self.slot);
}

uint32_t explore_worker_id(int i)
{
    return ex.workers[i].self.id;
}

int explore_self(void)
{
    return ex.cur;
}

bool explore_is_asked(int i)
{
    struct pl_slot *slot = ex.workers[i].self.slot;
    return slot->asked.made != slot->asked.delivered;
}

bool explore_sleeps(int i)
{
    return ex.workers[i].state == EX_ASLEEP;
}

bool explore_ended(int i)
{
    return ex.workers[i].state == EX_ENDED;
}
