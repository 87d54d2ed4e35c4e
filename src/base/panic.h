/* Broken invariants of our own stop the program; misuse by callers never comes here. */
#ifndef PL_BASE_PANIC_H
#define PL_BASE_PANIC_H

/* Writes "plait: FILE:LINE: MESSAGE" to standard error and aborts. */
_Noreturn void pl_panic_at(const char *file, int line, const char *message);

#define pl_panic(message) pl_panic_at(__FILE__, __LINE__, (message))

/* Kept in release builds: only for checks that are cheap. `fact` is what must hold, in words. */
#define pl_invariant(condition, fact)                                                              \
    ((condition) ? (void)0 : pl_panic_at(__FILE__, __LINE__, "broken invariant: " fact))

#endif
