/* Atomics: every access to a word that two workers share goes through one of these names (D10).
 *
 * The memory order is in the name, so a glance at a line shows what it promises:
 *   relaxed   the value alone; nothing else is ordered by it
 *   acquire   what the matching release wrote before is visible after
 *   release   what was written before is visible to whoever acquires this
 *   acq_rel   both; for read-modify-write that both takes and gives
 *   seq_cst   all such operations stand in one order that every worker agrees on
 *
 * In the test build (PL_STEP_HOOKS) each operation first calls pl_step(): that is where a worker is
 * killed (crash harness) or descheduled (explore harness), before the operation takes place. */
#ifndef PL_BASE_ATOMIC_H
#define PL_BASE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#ifdef PL_STEP_HOOKS
/* Set by a harness; NULL does nothing. `what` is the operation's name, `word` its address. */
extern void (*pl_step_hook)(const char *what, const void *word);
#define PL_STEP(what, p) (pl_step_hook ? pl_step_hook((what), (const void *)(p)) : (void)0)
/* The hook comes after the value, which may contain steps of its own. Names differ, for they nest. */
#define PL_STEP_WITH(what, p, v) PL_STEP_NAMED_1(what, p, v, __COUNTER__)
#define PL_STEP_NAMED_1(what, p, v, n) PL_STEP_NAMED_2(what, p, v, n)
#define PL_STEP_NAMED_2(what, p, v, n)                                                             \
    ({                                                                                             \
        __auto_type pl_value_##n = (v);                                                            \
        PL_STEP(what, p);                                                                          \
        pl_value_##n;                                                                              \
    })
#else
#define PL_STEP(what, p) ((void)0)
#define PL_STEP_WITH(what, p, v) (v)
#endif

#define pl_load_relaxed(p) (PL_STEP("load", p), __atomic_load_n((p), __ATOMIC_RELAXED))
#define pl_load_acquire(p) (PL_STEP("load", p), __atomic_load_n((p), __ATOMIC_ACQUIRE))
#define pl_load_seq_cst(p) (PL_STEP("load", p), __atomic_load_n((p), __ATOMIC_SEQ_CST))

#define pl_store_relaxed(p, v) __atomic_store_n((p), PL_STEP_WITH("store", p, v), __ATOMIC_RELAXED)
#define pl_store_release(p, v) __atomic_store_n((p), PL_STEP_WITH("store", p, v), __ATOMIC_RELEASE)
#define pl_store_seq_cst(p, v) __atomic_store_n((p), PL_STEP_WITH("store", p, v), __ATOMIC_SEQ_CST)

#define pl_exchange_acquire(p, v)                                                                  \
    __atomic_exchange_n((p), PL_STEP_WITH("exchange", p, v), __ATOMIC_ACQUIRE)
#define pl_exchange_release(p, v)                                                                  \
    __atomic_exchange_n((p), PL_STEP_WITH("exchange", p, v), __ATOMIC_RELEASE)
#define pl_exchange_acq_rel(p, v)                                                                  \
    __atomic_exchange_n((p), PL_STEP_WITH("exchange", p, v), __ATOMIC_ACQ_REL)

/* Compare and swap: true if *p was *expected and now is v; else *expected is what *p was. The order
 * named is that of success; failure is relaxed, except for seq_cst, where it is acquire. */
#define pl_cas_relaxed(p, expected, v)                                                             \
    __atomic_compare_exchange_n((p), (expected), PL_STEP_WITH("cas", p, v), false,                 \
                                __ATOMIC_RELAXED, __ATOMIC_RELAXED)
#define pl_cas_acquire(p, expected, v)                                                             \
    __atomic_compare_exchange_n((p), (expected), PL_STEP_WITH("cas", p, v), false,                 \
                                __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)
#define pl_cas_release(p, expected, v)                                                             \
    __atomic_compare_exchange_n((p), (expected), PL_STEP_WITH("cas", p, v), false,                 \
                                __ATOMIC_RELEASE, __ATOMIC_RELAXED)
#define pl_cas_acq_rel(p, expected, v)                                                             \
    __atomic_compare_exchange_n((p), (expected), PL_STEP_WITH("cas", p, v), false,                 \
                                __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)
#define pl_cas_seq_cst(p, expected, v)                                                             \
    __atomic_compare_exchange_n((p), (expected), PL_STEP_WITH("cas", p, v), false,                 \
                                __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE)

/* Each returns the value before. */
#define pl_fetch_add_relaxed(p, v)                                                                 \
    __atomic_fetch_add((p), PL_STEP_WITH("fetch_add", p, v), __ATOMIC_RELAXED)
#define pl_fetch_add_acq_rel(p, v)                                                                 \
    __atomic_fetch_add((p), PL_STEP_WITH("fetch_add", p, v), __ATOMIC_ACQ_REL)
#define pl_fetch_add_seq_cst(p, v)                                                                 \
    __atomic_fetch_add((p), PL_STEP_WITH("fetch_add", p, v), __ATOMIC_SEQ_CST)
#define pl_fetch_or_relaxed(p, v)                                                                  \
    __atomic_fetch_or((p), PL_STEP_WITH("fetch_or", p, v), __ATOMIC_RELAXED)
#define pl_fetch_or_acq_rel(p, v)                                                                  \
    __atomic_fetch_or((p), PL_STEP_WITH("fetch_or", p, v), __ATOMIC_ACQ_REL)
#define pl_fetch_or_seq_cst(p, v)                                                                  \
    __atomic_fetch_or((p), PL_STEP_WITH("fetch_or", p, v), __ATOMIC_SEQ_CST)
#define pl_fetch_and_acq_rel(p, v)                                                                 \
    __atomic_fetch_and((p), PL_STEP_WITH("fetch_and", p, v), __ATOMIC_ACQ_REL)

/* Tells the processor that this is a spin loop. Not an ordering point. */
static inline void pl_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

#endif
