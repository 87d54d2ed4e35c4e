/* What all benchmark programs share: the command line, the clock, workers that start together.
 *
 * A program measures one or more cases for one or more subjects. Without arguments it lists them,
 * "case<TAB>subject<TAB>plait|peer|info" per line; with a case and a subject it makes one run and
 * prints "case<TAB>subject<TAB>nanoseconds per operation". A run that also learns something else, such as
 * memory, prints more such lines, of cases named after its own; a fourth column is the unit if that is not
 * ns. bench/run does the rest.
 *
 * The shapes of loops (lock_shape.h and so on) are always_inline and take the operations as
 * constant function pointers: each subject gets the same loop with its own direct calls in it. */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bench_subject {
    const char *name;    /* the case; "curve/8" is the point 8 of a curve */
    const char *subject; /* "plait...", or who is measured instead */
    double (*run)(const struct bench_subject *self); /* one run: nanoseconds per operation */
    const void *what;                                /* for `run`: what is measured */
    long x;                                          /* for `run`: how many, how large */
    bool info; /* shown, but not a peer to be compared with: it does something else */
};

/* Entries of a table. */
#define BENCH_AS(is_info, ...)                                                                     \
    {                                                                                              \
        __VA_ARGS__, is_info                                                                       \
    }
#define BENCH_SUBJECT(...) BENCH_AS(false, __VA_ARGS__)
#define BENCH_INFO(...) BENCH_AS(true, __VA_ARGS__)

/* The whole main. The table ends with a NULL name. */
int bench_main(int argc, char **argv, const struct bench_subject *table);

/* One more figure of this run, less being better: of "case_suffix", or "curve_suffix/8". The unit is
 * "ns" or "B" (bytes). At most 4; the texts are constant. */
void bench_also(const char *suffix, double value, const char *unit);

/* Ends the run with a message on standard error and status 1. */
void bench_fail(const char *what) __attribute__((noreturn, cold));

static inline void bench_check(bool ok, const char *what)
{
    if (__builtin_expect(!ok, 0))
        bench_fail(what);
}

int64_t bench_now(void);    /* monotonic nanoseconds */
int64_t bench_worked(void); /* nanoseconds of processor time that this process has used */
int64_t bench_budget(void); /* nanoseconds that a run should take: BENCH_MS or 200 ms */

/* Finds an n for which measure(arg, n) takes about bench_budget, and returns the time per n.
 * measure does n operations and returns how many nanoseconds they took. */
double bench_per_operation(int64_t (*measure)(void *arg, long n), void *arg);

/* Zeroed memory that forked processes share; never freed. */
void *bench_shared(size_t size);

/* Memory of this process on cache lines of its own; zeroed, never freed. */
void *bench_private(size_t size);

/* Bytes of memory that the process has resident; 0: this one. */
long bench_resident(int pid);

/* Runs body(arg, 0) ... body(arg, n - 1) at once, in threads or in forked processes (number 0 is
 * the caller), and returns the nanoseconds from the common start to the last one's end. */
int64_t bench_together(int n, bool processes, void (*body)(void *arg, int which), void *arg);

/* Starts a thread that sleeps until the program ends, so that no subject profits from the short
 * cuts that libc takes in a program with one thread. */
void bench_be_threaded(void);

/* Keeps the compiler from knowing what is in `p` or whether it is used. */
static inline void bench_escape(void *p)
{
    __asm__ volatile("" : : "g"(p) : "memory");
}

/* A few nanoseconds that the compiler cannot shorten. */
static inline void bench_dawdle(int turns)
{
    for (int i = 0; i < turns; i++)
        __asm__ volatile("");
}

#define BENCH_INLINE static inline __attribute__((always_inline))

#ifdef __cplusplus
}
#endif
#endif
