/* Who goes next: in all ways, at random, or as a schedule says.
 *
 * All ways. A run is a path through a tree of choices; the path is kept, the last choice with an option
 * left takes its next one, what is behind it is forgotten (depth first, no states are stored). A choice
 * costs up to one preemption; what the budget does not allow is no option. Budgets 0, 1, 2 ... in turn,
 * so that a failure is found with as few as possible.
 *
 * Only words in use by two workers, and changed by one, are points to choose at: a step on any other
 * commutes with all that others do. Which words these are is learned while running. A word that is
 * found out during the search with the last budget makes it begin anew, for the points before it was
 * known were passed by.
 *
 * At random (PCT; Burckhardt and others 2010): workers and timeouts have random priorities, the highest
 * goes; at a few random steps the current one falls behind all others. A failure that needs d
 * such changes is found with a probability of at least 1 / (n * k^(d-1)) per run of k steps. */
#include "explore_internal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- words --- */

struct word {
    const void *at;
    uint8_t users, changers; /* a bit per worker */
    bool known;              /* a point, since the search with this budget began */
};

enum { WORDS = 1 << 14, POINTS_MOST = WORDS / 2 };

static struct word words[WORDS];
static int n_words;
static bool has_news; /* a word that should be known is not */

static struct word *word_at(const void *at)
{
    uint64_t i = (uint64_t)(uintptr_t)at * UINT64_C(0x9e3779b97f4a7c15) >> 50;
    while (words[i].at && words[i].at != at)
        i = (i + 1) % WORDS;
    if (!words[i].at) {
        words[i].at = at;
        if (++n_words > POINTS_MOST)
            ex_fail("the scenario uses too many words");
    }
    return &words[i];
}

static bool is_contended(const struct word *w)
{
    return w->changers && (w->users & (w->users - 1));
}

void ex_touch(const void *at, bool changes)
{
    if (ex.cur < 0 || !at)
        return;
    struct word *w = word_at(at);
    w->users |= (uint8_t)(1 << ex.cur);
    if (changes)
        w->changers |= (uint8_t)(1 << ex.cur);
    has_news |= !w->known && is_contended(w);
}

static int learn(void)
{
    int n = 0;
    for (int i = 0; i < WORDS; i++)
        n += words[i].known = is_contended(&words[i]);
    has_news = false;
    return n;
}

/* --- the record --- */

static void add_token(enum ex_kind kind, int who)
{
    if (ex.box->n_tokens < EX_TOKENS)
        ex.box->tokens[ex.box->n_tokens++] = (struct ex_token){(uint8_t)kind, (uint8_t)who, 0};
}

static struct ex_token *last_token(void)
{
    return ex.box->n_tokens ? &ex.box->tokens[ex.box->n_tokens - 1] : NULL;
}

void ex_log_choice(const struct ex_option *option)
{
    struct ex_token *last = last_token();
    if (!last || option->kind != EX_RUN || last->kind != EX_RUN || last->who != option->who)
        add_token(option->kind, option->who);
}

static void replay_step(void);

void ex_log_step(void)
{
    ex_log_choice(&(struct ex_option){EX_RUN, ex.cur, 0});
    last_token()->count++;
    if (ex.mode == EX_REPLAY)
        replay_step();
}

static const char kind_letters[] = {[EX_TIMEOUT] = 't', [EX_SPURIOUS] = 's', [EX_PICK] = 'p'};

void ex_schedule_text(const struct ex_box *box, char *text, size_t size)
{
    size_t at = 0;
    text[0] = 0;
    for (int i = 0; i < box->n_tokens && at + 16 < size; i++) {
        const struct ex_token *t = &box->tokens[i];
        const char *dot = i ? "." : "";
        if (t->kind == EX_RUN)
            at += (size_t)snprintf(text + at, size - at, "%s%c%d", dot, 'a' + t->who, t->count);
        else
            at += (size_t)snprintf(text + at, size - at, "%s%c%c", dot, kind_letters[t->kind],
                                   'a' + t->who);
    }
}

/* --- all ways --- */

struct choice {
    uint8_t n, taken;
    int8_t who; /* the current worker, and the steps made, which are the same in the next run */
    int steps;
};

enum { DEEPEST = 1 << 16 };

#define DIFFERS "the scenario is not the same in each run"

static struct choice path[DEEPEST];
static int depth, length; /* where the run is, how far the path goes */
static int budget;

static int choose_by_path(const struct ex_option *options, int n)
{
    int allowed[EX_OPTIONS], n_allowed = 0;
    for (int i = 0; i < n; i++)
        if (ex.spent + options[i].cost <= budget)
            allowed[n_allowed++] = i;
    if (n_allowed == 0) /* a wake-up for no reason was the only thing left */
        return 0;
    if (n_allowed == 1)
        return allowed[0];
    if (depth == DEEPEST)
        ex_fail("does not end: more than %d choices", DEEPEST);
    struct choice *c = &path[depth++];
    if (depth > length) {
        *c =
            (struct choice){.n = (uint8_t)n_allowed, .who = (int8_t)ex.cur, .steps = (int)ex.steps};
        length = depth;
    } else if (c->n != n_allowed || c->who != ex.cur || c->steps != ex.steps) {
        ex_fail(DIFFERS);
    }
    return allowed[c->taken];
}

/* The next path with this budget; false if there is none. */
static bool next_path(void)
{
    while (length > 0 && path[length - 1].taken + 1 == path[length - 1].n)
        length--;
    if (length == 0)
        return false;
    path[length - 1].taken++;
    return true;
}

static bool search_budget(void)
{
    ex.box->report.words = learn();
    length = 0;
    do {
        depth = 0;
        ex_run();
        if (!ex.failed && depth < length)
            ex_fail(DIFFERS);
    } while (!ex.failed && next_path());
    return !ex.failed;
}

static int scale(void)
{
    const char *text = getenv("PLAIT_TEST_SCALE");
    int n = text ? atoi(text) : 1;
    return n < 1 ? 1 : n;
}

static int budget_of(const struct explore_scenario *s)
{
    int n = s->preemptions == EXPLORE_NONE ? 0
            : s->preemptions               ? s->preemptions
            : ex.n <= 2                    ? 5
            : ex.n == 3                    ? 3
                                           : 2;
    return n + (scale() >= 5) + (scale() >= 50);
}

void ex_search(void)
{
    int most = budget_of(ex.s);
    ex.mode = EX_SEARCH;
    for (budget = 0; budget <= most; budget++) {
        ex.box->report.preemptions = budget;
        do
            if (!search_budget())
                return;
        while (budget == most && has_news);
    }
}

/* --- at random --- */

static uint64_t random_state;
static long priority[EXPLORE_WORKERS], time_priority[EXPLORE_WORKERS], lowest;
static long change_at[64];
static int n_changes;

/* splitmix64 */
static uint64_t draw(void)
{
    uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static long draw_priority(void)
{
    return (long)(draw() >> 24);
}

static void begin_random_run(long expected)
{
    for (int i = 0; i < EXPLORE_WORKERS; i++) {
        priority[i] = draw_priority();
        time_priority[i] = draw_priority();
    }
    lowest = 0;
    n_changes = ex.s->changes > 0 && ex.s->changes < 64 ? ex.s->changes : 3;
    for (int i = 0; i < n_changes; i++)
        change_at[i] = 1 + (long)(draw() % (uint64_t)expected);
}

/* The current worker falls behind if this is one of the steps, or if it says so itself. */
static void change_priorities(void)
{
    bool falls = ex.workers[ex.cur].yields_to != 0;
    for (int i = 0; i < n_changes; i++)
        falls |= change_at[i] == ex.steps;
    if (falls)
        priority[ex.cur] = --lowest;
}

static long priority_of(const struct ex_option *option)
{
    switch (option->kind) {
    case EX_TIMEOUT:
        return time_priority[option->who];
    case EX_SPURIOUS:
        return draw() % 16 ? LONG_MIN + 1 : LONG_MAX;
    case EX_PICK:
        return draw_priority();
    default:
        return priority[option->who];
    }
}

static int choose_at_random(const struct ex_option *options, int n)
{
    int best = 0;
    long highest = LONG_MIN;
    if (ex.cur >= 0 && options[0].kind != EX_PICK)
        change_priorities();
    for (int i = 0; i < n; i++) {
        long p = priority_of(&options[i]);
        if (p > highest) {
            highest = p;
            best = i;
        }
    }
    if (options[best].kind == EX_TIMEOUT)
        time_priority[options[best].who] = draw_priority();
    return best;
}

void ex_random(long runs)
{
    const char *text = getenv("PLAIT_TEST_SEED");
    ex.box->report.seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    random_state = ex.box->report.seed;
    ex.box->report.preemptions = -1;
    ex.mode = EX_RANDOM;
    for (long i = 0; i < runs * scale() && !ex.failed; i++) {
        begin_random_run(i ? ex.box->report.longest : 100);
        ex_run();
    }
    ex.box->report.words = learn();
}

/* --- as a schedule says --- */

static struct ex_token script[EX_TOKENS];
static int script_length, script_at, script_left;
static bool script_begun; /* the current piece's turn has begun */

static bool parse_token(const char **text, struct ex_token *ret)
{
    const char *letter = strchr("tsp", **text);
    *ret = (struct ex_token){EX_RUN, 0, 0};
    if (letter && **text)
        ret->kind = (uint8_t)(**text == 't' ? EX_TIMEOUT : **text == 's' ? EX_SPURIOUS : EX_PICK);
    *text += ret->kind != EX_RUN;
    if (**text < 'a' || **text >= 'a' + ex.n)
        return false;
    ret->who = (uint8_t)(*(*text)++ - 'a');
    if (ret->kind == EX_RUN)
        ret->count = (int)strtol(*text, (char **)text, 10);
    *text += **text == '.';
    return true;
}

static bool parse(const char *text)
{
    script_length = script_at = script_left = 0;
    script_begun = false;
    while (*text && script_length < EX_TOKENS)
        if (!parse_token(&text, &script[script_length++]))
            return false;
    return true;
}

static void replay_step(void)
{
    script_left--;
}

static void next_piece(void)
{
    script_at++;
    script_begun = false;
}

static int choose_by_script(const struct ex_option *options, int n)
{
    if (script_begun && script_left <= 0)
        next_piece();
    if (script_at >= script_length)
        return 0;
    const struct ex_token *t = &script[script_at];
    int i = 0;
    while (i < n && (options[i].kind != (enum ex_kind)t->kind || options[i].who != t->who))
        i++;
    if (i == n) {
        ex_fail("the schedule does not fit: its piece %d is not possible here", script_at + 1);
        return 0;
    }
    if (t->kind != EX_RUN) {
        next_piece();
    } else if (!script_begun) {
        script_begun = true;
        script_left = t->count;
    }
    return i;
}

void ex_replay(const char *schedule)
{
    ex.mode = EX_REPLAY;
    if (parse(schedule))
        ex_run();
    else
        ex_fail("no schedule: %s", schedule);
}

/* --- choosing --- */

bool ex_is_a_point(const void *word)
{
    if (ex.mode != EX_SEARCH)
        return true;
    return !ex.fresh && ex.spent < budget && (ex.s->everywhere || !word || word_at(word)->known);
}

int ex_choose(const struct ex_option *options, int n)
{
    switch (ex.mode) {
    case EX_SEARCH:
        return choose_by_path(options, n);
    case EX_RANDOM:
        return choose_at_random(options, n);
    default:
        return choose_by_script(options, n);
    }
}
