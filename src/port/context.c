/* Contexts: what the first switch to each finds on its stack, and what sanitizers are told.
 *
 * The switch is assembly, by processor, in arch/. Where there is none for the processor, or with PL_CONTEXT_UCONTEXT,
 * libc's ucontext does it, which makes a system call each time to set a signal mask that is the same. */
#include "port/context.h"

#include <stdint.h>
#include <string.h>

#if PL_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if PL_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if PL_ASAN || PL_TSAN
#include <pthread.h>
#endif

/* The first frame of a stack, below its top: what to run. */
struct first {
    void (*entry)(void *);
    void *arg;
};

/* In the new flow: the sanitizer learns that the switch to it is done. */
static void begin(void *first_frame)
{
    struct first *first = first_frame;
#if PL_ASAN
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
    first->entry(first->arg);
    __builtin_trap(); /* entry has returned */
}

#if defined(__x86_64__) && defined(__LP64__) && !defined(PL_CONTEXT_UCONTEXT)

void pl_context_begin(void);

/* As arch/context_x86_64.h has it. */
struct kept {
    uint32_t mxcsr;
    uint16_t x87, unused;
    void *rip, *rbp, *entry, *argument;
};

static void *lay(char *low, struct first *first)
{
    struct kept *kept =
        (struct kept *)(void *)first - 1; /* all popped, rsp is `first`: 16 bytes aligned */
    (void)low;
    memset(kept, 0, sizeof *kept);
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(kept->mxcsr), "=m"(kept->x87));
    void (*at)(void) = pl_context_begin;
    memcpy(&kept->rip, &at, sizeof at);
    void (*run)(void *) = begin;
    memcpy(&kept->entry, &run, sizeof run);
    kept->argument = first;
    return kept;
}

#elif defined(__aarch64__) && defined(__LP64__) && !defined(PL_CONTEXT_UCONTEXT)

void pl_context_begin(void);

/* As arch/context_aarch64.S has it. */
struct kept {
    uint64_t d8_to_d15[8];
    void *x19, *x20, *x21_to_x28[8], *x29, *x30;
    uint64_t fpcr, unused;
};

static void *lay(char *low, struct first *first)
{
    struct kept *kept = (struct kept *)(void *)first - 1;
    (void)low;
    memset(kept, 0, sizeof *kept);
    __asm__ volatile("mrs %0, fpcr" : "=r"(kept->fpcr));
    void (*run)(void *) = begin;
    memcpy(&kept->x19, &run, sizeof run);
    kept->x20 = first;
    void (*at)(void) = pl_context_begin;
    memcpy(&kept->x30, &at, sizeof at);
    return kept;
}

#else

#include <ucontext.h>

/* makecontext hands over ints. */
static void begin_halves(unsigned high, unsigned low)
{
    begin((void *)(uintptr_t)(((uint64_t)high << 16 << 16) | low));
}

static void *lay(char *low, struct first *first)
{
    ucontext_t *kept = (void *)(((uintptr_t)first - sizeof(ucontext_t)) & ~(uintptr_t)63);
    getcontext(kept);
    kept->uc_stack.ss_sp = low;
    kept->uc_stack.ss_size = (size_t)((char *)kept - low);
    kept->uc_link = NULL;
    uint64_t address = (uintptr_t)first;
    makecontext(kept, (void (*)(void))begin_halves, 2, (unsigned)(address >> 16 >> 16),
                (unsigned)address);
    return kept;
}

void pl_context_swap(void **save, void *load)
{
    ucontext_t kept;
    *save = &kept;
    swapcontext(&kept, load);
}

#endif

void pl_context_make(struct pl_context *c, void *low, size_t size, void (*entry)(void *), void *arg)
{
#if PL_ASAN
    __asan_unpoison_memory_region(low, size); /* frames of whoever left this stack before */
    c->fake = NULL;
    c->low = low;
    c->size = size;
#endif
#if PL_TSAN
    c->fiber = __tsan_create_fiber(0);
    c->is_threads = 0;
#endif
    uintptr_t top = ((uintptr_t)low + size - sizeof(struct first)) & ~(uintptr_t)15;
    struct first *first = (void *)top;
    first->entry = entry;
    first->arg = arg;
    c->sp = lay(low, first);
}

void pl_context_adopt(struct pl_context *c)
{
    memset(c, 0, sizeof *c);
#if PL_ASAN
    pthread_attr_t attributes;
    void *low = NULL;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &low, &c->size);
        pthread_attr_destroy(&attributes);
    }
    c->low = low;
#endif
#if PL_TSAN
    c->fiber = __tsan_get_current_fiber();
    c->is_threads = 1;
#endif
}

void pl_context_drop(struct pl_context *c)
{
#if PL_TSAN
    if (!c->is_threads && c->fiber)
        __tsan_destroy_fiber(c->fiber);
#endif
    memset(c, 0, sizeof *c);
}

#if PL_ASAN || PL_TSAN

/* Between the two calls no function is to be instrumented. */
#define PLAIN __attribute__((no_sanitize_address, no_sanitize_thread))

PLAIN void pl_context_switch(struct pl_context *from, struct pl_context *to)
{
#if PL_ASAN
    __sanitizer_start_switch_fiber(&from->fake, to->low, to->size);
#endif
#if PL_TSAN
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
    pl_context_swap(&from->sp, to->sp);
#if PL_ASAN
    __sanitizer_finish_switch_fiber(from->fake, NULL, NULL);
#endif
}

PLAIN _Noreturn void pl_context_leave(struct pl_context *from, struct pl_context *to)
{
#if PL_ASAN
    __sanitizer_start_switch_fiber(NULL, to->low, to->size); /* frees its fake frames */
#endif
#if PL_TSAN
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
    pl_context_swap(&from->sp, to->sp);
    __builtin_unreachable();
}

#endif
