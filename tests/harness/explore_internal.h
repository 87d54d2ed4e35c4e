/* What the files of the explore harness share. explore.c starts a process for each search and reports;
 * explore_run.c makes one run: workers, clock, futex; explore_search.c decides; explore_tell.c tells. */
#ifndef TESTS_HARNESS_EXPLORE_INTERNAL_H
#define TESTS_HARNESS_EXPLORE_INTERNAL_H

#include "explore.h"

#include "registry/registry.h"

#include "port/futex.h"

/* A decision: who makes the next step; whose sleep ends; which sleeper a wake-up takes. */
enum ex_kind { EX_RUN, EX_TIMEOUT, EX_SPURIOUS, EX_PICK };

struct ex_option {
    enum ex_kind kind;
    int who;
    int cost; /* in preemptions */
};

enum {
    EX_OPTIONS = 3 * EXPLORE_WORKERS,
    EX_TOKENS = 8192, /* of one schedule; more are not kept */
    EX_LINES = 16384, /* of one telling; the last ones are kept */
};

/* A piece of a schedule: RUN, with the steps made until another's turn; or one of the others. */
struct ex_token {
    uint8_t kind, who;
    int count;
};

/* One step, for the telling. */
struct ex_line {
    int who;
    const char *what; /* NULL: a remark */
    const void *word;
    uint64_t before, after;
    bool ended; /* `after` is known */
    char remark[80];
};

enum ex_mode { EX_SEARCH, EX_RANDOM, EX_REPLAY };

/* Memory that outlives the process of a search, so that its crash can be told. */
struct ex_box {
    struct explore_report report;
    long alive; /* grows with each step: whether it hangs between two */
    int n_tokens;
    struct ex_token tokens[EX_TOKENS];
    long n_lines;
    struct ex_line lines[EX_LINES];
};

enum ex_state { EX_READY, EX_ASLEEP, EX_ENDED };

struct ex_context;
struct ex_worker {
    struct ex_context *context;
    char *stack;
    struct pl_self self;  /* pl_self while it does not run */
    struct pl_slot fresh; /* its entry as it was before the first run */
    enum ex_state state;
    unsigned yields_to; /* a bit for each who is to make a step first */

    /* Asleep: */
    const struct pl_watch *watch;
    int n_watch;
    int64_t until;
    long since; /* order of arrival */
    int result; /* what the sleep returns */
    long line;  /* its last step in the telling, -1: none */
};

struct ex {
    const struct explore_scenario *s;
    struct ex_box *box;
    enum ex_mode mode;
    bool shared; /* the world lies in the arena */
    bool tells;
    void *world;

    int n, cur; /* workers; the one that runs, -1: setup or check */
    struct ex_worker workers[EXPLORE_WORKERS];

    /* Of the current run: */
    bool running, failed;
    bool fresh; /* the current one has not made a step since its turn began */
    int spent;  /* preemptions */
    long steps, arrivals;
    int64_t clock;
};
extern struct ex ex;

/* --- explore_run.c --- */

void ex_prepare(void); /* once per process: workers, world, hooks */
void ex_run(void);     /* one run; sets ex.failed */
enum { EX_STACK = 256 * 1024 };

/* Ends the run, in a worker: does not return then. */
void ex_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- explore_search.c --- */

void ex_search(void);
void ex_random(long runs);
void ex_replay(const char *schedule);

/* A word is about to be used by the current worker. */
void ex_touch(const void *word, bool changes);
/* Whether to choose before this step. */
bool ex_is_a_point(const void *word);
/* One of the options. */
int ex_choose(const struct ex_option *options, int n);
/* For the record: a choice; a step of the current worker. */
void ex_log_choice(const struct ex_option *option);
void ex_log_step(void);
void ex_schedule_text(const struct ex_box *box, char *text, size_t size);

/* --- explore_tell.c --- */

void ex_tell_step(const char *what, const void *word);
void ex_tell_end_of_step(struct ex_worker *w);
void ex_tell(int who, const char *format, ...) __attribute__((format(printf, 2, 3)));
void ex_forget_names(void);
void ex_name_of(const void *word, char *name, size_t size);
void ex_print_lines(const struct ex_box *box, long most);

#endif
