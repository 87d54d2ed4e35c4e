/* What the files of the steps harness share. Scenarios include steps.h only.
 *
 * Three kinds of process: the runner (the test program; it never uses plait itself), the root of each
 * round's family, forked by the runner, and the family's members. They talk through one piece of
 * shared memory, struct round, with plain futexes, so that the harness takes no step of plait.
 *
 *     steps.c          counting and dying; what a scenario may ask
 *     steps_family.c   a round, as its root and its members run it
 *     steps_trace.c    dying at each change of memory, under ptrace
 *     steps_runner.c   repeating rounds; reports */
#ifndef TESTS_HARNESS_STEPS_INTERNAL_H
#define TESTS_HARNESS_STEPS_INTERNAL_H

#include "steps.h"

enum {
    ST_VICTIMS = 8,
    ST_MEMBERS = 40,
    ST_TRACE = 24, /* last steps that are remembered */
    ST_ASLEEP = 0, /* the k that means: killed from outside while asleep */
};

#define ST_MS INT64_C(1000000) /* ns */

/* What is counted, and who kills. */
enum st_mode {
    ST_AT_STEPS,  /* the victim kills itself before its k-th atomic operation */
    ST_AT_STORES, /* the root steps through it and kills it at its k-th change of shared memory */
    ST_AT_RANDOM, /* as ST_AT_STEPS; k is drawn for each victim */
};

/* One worker that may be killed at a step. The last fate of a round is the recoverer's. */
struct fate {
    long k;     /* dies before this step; LONG_MAX: lives */
    long steps; /* so far */
    uint32_t ready, finished, killed;
    int64_t killed_at;
    plait_worker worker;
    char where[80]; /* the step it was killed at */
    struct {
        const char *what;
        const void *word;
    } trace[ST_TRACE];
};

struct member {
    const struct steps_crew *crew;
    int who;
    plait_worker worker;
    uint32_t through;
    int64_t began_at, through_at;
};

/* Shared by the runner and the family; private to a round. */
struct round {
    const struct steps_scenario *s;
    enum st_mode mode;
    long k, j; /* of the victim (the seed, if random), of the recoverer (0: there is none) */
    void *world;
    uint32_t may_act;   /* futex: victims wait for 1 */
    uint32_t may_go_on; /* futex: a victim that is held at its step waits for 1 */
    uint32_t any_news;  /* futex: counts whatever the root may wait for */
    int n_members, n_victims;
    struct fate fates[ST_VICTIMS + 1];
    struct member members[ST_MEMBERS];
    int64_t deed_at, slowest;
    uint32_t failed;
    char failure[400];
    const char *stage; /* what the root is at */
};

extern struct round *st_now; /* the round; mapped by the runner, inherited by all */

static inline struct fate *st_recoverer(void)
{
    return &st_now->fates[ST_VICTIMS];
}

/* --- words without steps --- */

uint32_t st_look(const uint32_t *word);
void st_sleep_while(uint32_t *word, uint32_t seen, int64_t ns);
void st_raise(uint32_t *word);
void st_wait_for(uint32_t *gate);

/* Sets a word of the round to 1; the root looks again at whatever it waits for. */
void st_tell(uint32_t *word);

/* --- steps.c --- */

/* From here on the calling thread's steps count for `fate`, unless its children's do; until here. */
void st_arm(struct fate *fate);
void st_disarm(void);

_Noreturn void st_kill_self(void);

/* "cas world+8", "store slot 3 turn.word". */
void st_describe(char *buffer, size_t size, const char *what, const void *word);

/* The scenario's last look at a dying victim. */
void st_look_last(const struct fate *fate);

/* A zombie, or its own child that was collected: without collecting it. */
bool st_has_ended(plait_worker worker);

/* Whether a slot serves a worker, or may not serve a new one yet. */
bool st_is_in_use(struct pl_slot *slot);

/* How long those who are through needed since the last thing that happened. */
void st_measure(void);

int64_t st_patience(void);

/* --- steps_trace.c --- */

/* The victim: lets its parent, the root's first thread, step through it from here on. */
void st_be_traced(void);

/* The root: steps through the victim until it dies at its k-th change, or its operation ends. */
void st_trace_victim(struct fate *fate);

/* --- steps_family.c --- */

_Noreturn void st_root_main(void);

#endif
