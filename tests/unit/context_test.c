/* Contexts: what a switch keeps, what a flow begins with, what sanitizers and debuggers see of it. */
#ifdef CONTEXT_TEST_ALONE
#include "alone.h"
#else
#include "harness/harness.h"
#endif

#include "port/context.h"
#include "task/stack.h"

#include <fenv.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FLOWS = 64, ROUNDS = 1000 };

static struct pl_context self; /* the thread's own flow */
static struct pl_stacks stacks;

/* A flow besides the thread's. */
struct flow {
    struct pl_context context;
    struct pl_stack stack;
    void (*body)(struct flow *);
    int steps, id;
    bool ended;
};

static void run_body(void *arg)
{
    struct flow *f = arg;
    f->body(f);
    f->ended = true;
    pl_context_leave(&f->context, &self);
}

static void start(struct flow *f, void (*body)(struct flow *), size_t size)
{
    f->body = body;
    f->steps = 0;
    f->ended = false;
    CHECK_RC(pl_stack_take(&stacks, size, &f->stack), 0);
    pl_context_make(&f->context, f->stack.low, f->stack.size, run_body, f);
}

static void enter(struct flow *f)
{
    pl_context_switch(&self, &f->context);
}

static void back(struct flow *f)
{
    pl_context_switch(&f->context, &self);
}

static void finish(struct flow *f)
{
    while (!f->ended)
        enter(f);
    pl_context_drop(&f->context);
    pl_stack_give(&stacks, &f->stack);
}

static int begin_all(void **state)
{
    (void)state;
    pl_stacks_begin(&stacks);
    pl_context_adopt(&self);
    return 0;
}

static int end_all(void **state)
{
    (void)state;
    pl_context_drop(&self);
    pl_stacks_end(&stacks);
    return 0;
}

/* --- order --- */

static void count_steps(struct flow *f)
{
    for (int i = 0; i < ROUNDS; i++) {
        f->steps++;
        back(f);
    }
}

static void a_flow_goes_on_where_it_left(void **state)
{
    (void)state;
    struct flow f;
    start(&f, count_steps, 0);
    for (int i = 1; i <= ROUNDS; i++) {
        enter(&f);
        assert_int_equal(f.steps, i);
        assert_false(f.ended);
    }
    finish(&f);
}

static void many_flows_do_not_mix(void **state)
{
    (void)state;
    static struct flow f[FLOWS];
    for (int i = 0; i < FLOWS; i++)
        start(&f[i], count_steps, i % 2 ? 0 : 40000);
    for (int round = 0; round < 100; round++)
        for (int i = 0; i < FLOWS; i++)
            for (int n = 0; n <= i % 3; n++)
                enter(&f[i]);
    for (int i = 0; i < FLOWS; i++) {
        assert_int_equal(f[i].steps, 100 * (i % 3 + 1));
        finish(&f[i]);
        assert_int_equal(f[i].steps, ROUNDS);
    }
}

static struct flow ring[FLOWS];

static void go_round(struct flow *f)
{
    for (int i = 0; i < 100; i++) {
        f->steps++;
        struct flow *next = &ring[(f->id + 1) % FLOWS];
        pl_context_switch(&f->context, next->id == 0 ? &self : &next->context);
    }
}

static void flows_switch_to_each_other(void **state)
{
    (void)state;
    for (int i = 0; i < FLOWS; i++) {
        start(&ring[i], go_round, 0);
        ring[i].id = i;
    }
    for (int i = 0; i < 100; i++)
        enter(&ring[0]);
    for (int i = 0; i < FLOWS; i++) {
        assert_int_equal(ring[i].steps, 100);
        finish(&ring[i]);
    }
}

/* --- the stack --- */

static uintptr_t at_entry;

static void note_place(struct flow *f)
{
    (void)f;
    at_entry = (uintptr_t)__builtin_frame_address(0);
    _Alignas(16) volatile char aligned[16]; /* the compiler relies on the alignment at entry */
    aligned[0] = 1;
    if ((uintptr_t)aligned % 16 != 0)
        at_entry = 1;
}

static void a_flow_begins_aligned_near_the_top_of_its_stack(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < 64; cut++) {
        struct flow f;
        start(&f, note_place, 0);
        pl_context_drop(&f.context);
        pl_context_make(&f.context, f.stack.low, f.stack.size - cut, run_body, &f);
        enter(&f);
        assert_int_equal(at_entry % 16, 0);
#ifndef PL_CONTEXT_ASAN
        assert_true(at_entry < (uintptr_t)f.stack.low + f.stack.size - cut);
        assert_true(at_entry > (uintptr_t)f.stack.low + f.stack.size - 3000);
#endif
        finish(&f);
    }
}

__attribute__((noinline)) static long deep(int n)
{
    volatile char frame[256];
    memset((void *)frame, n & 127, sizeof frame);
    long below = n > 0 ? deep(n - 1) : 0;
    for (size_t i = 0; i < sizeof frame; i++)
        below += frame[i] == (n & 127);
    return below;
}

static long reached;

static void dive(struct flow *f)
{
    reached = 0;
    reached = deep(100);
    back(f);
    reached = deep(f->stack.size > 1 << 20 ? 3000 : 100);
}

static void deep_recursion_uses_the_whole_stack(void **state)
{
    (void)state;
    struct flow f;
    start(&f, dive, 4 << 20);
    enter(&f);
    assert_int_equal(reached, 101 * 256);
    assert_int_equal(deep(100), 101 * 256); /* meanwhile on this one */
    enter(&f);
    assert_int_equal(reached, 3001 * 256);
    finish(&f);
}

/* --- what is kept --- */

/* Fills the registers that a callee keeps with seed, seed + 1 ..., calls fn(arg), and tells whether they came back:
 * 0. In assembly, so that the compiler neither hides nor helps. */
int keeps_registers(void (*fn)(struct flow *), struct flow *arg, uintptr_t seed);

#if defined(__x86_64__)
__asm__(".text\n.globl keeps_registers\n.type keeps_registers, @function\nkeeps_registers:\n"
        "pushq %rbx\n pushq %rbp\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
        "pushq %rdx\n"
        "movq %rdi, %rax\n movq %rsi, %rdi\n"
        "movq %rdx, %rbx\n leaq 1(%rdx), %rbp\n leaq 2(%rdx), %r12\n leaq 3(%rdx), %r13\n"
        "leaq 4(%rdx), %r14\n leaq 5(%rdx), %r15\n"
        "call *%rax\n"
        "popq %rdx\n movl $1, %eax\n"
        "cmpq %rbx, %rdx\n jne 1f\n incq %rdx\n cmpq %rbp, %rdx\n jne 1f\n"
        "incq %rdx\n cmpq %r12, %rdx\n jne 1f\n incq %rdx\n cmpq %r13, %rdx\n jne 1f\n"
        "incq %rdx\n cmpq %r14, %rdx\n jne 1f\n incq %rdx\n cmpq %r15, %rdx\n jne 1f\n"
        "xorl %eax, %eax\n"
        "1: popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbp\n popq %rbx\n ret\n"
        ".size keeps_registers, . - keeps_registers\n");
#elif defined(__aarch64__)
#define SET(i, x, d) "add " #x ", x2, #" #i "\n fmov " #d ", " #x "\n"
#define TRY(i, x, d)                                                                               \
    "add x2, x9, #" #i "\n cmp x2, " #x "\n b.ne 1f\n fmov x10, " #d "\n cmp x2, x10\n b.ne 1f\n"
__asm__(".text\n.globl keeps_registers\n.type keeps_registers, %function\nkeeps_registers:\n"
        "stp x29, x30, [sp, #-176]!\n stp x19, x20, [sp, #16]\n stp x21, x22, [sp, #32]\n"
        "stp x23, x24, [sp, #48]\n stp x25, x26, [sp, #64]\n stp x27, x28, [sp, #80]\n"
        "stp d8, d9, [sp, #96]\n stp d10, d11, [sp, #112]\n stp d12, d13, [sp, #128]\n"
        "stp d14, d15, [sp, #144]\n str x2, [sp, #160]\n"
        "mov x9, x0\n mov x0, x1\n" SET(0, x19, d8) SET(1, x20, d9) SET(2, x21, d10)
            SET(3, x22, d11) SET(4, x23, d12) SET(5, x24, d13) SET(6, x25, d14)
                SET(7, x26,
                    d15) "add x27, x2, #8\n add x28, x2, #9\n"
                         "blr x9\n"
                         "ldr x9, [sp, #160]\n mov w0, #1\n" TRY(0, x19, d8) TRY(1, x20, d9)
                             TRY(2, x21, d10) TRY(3, x22, d11) TRY(4, x23, d12) TRY(5, x24, d13)
                                 TRY(6, x25, d14)
                                     TRY(7, x26,
                                         d15) "add x2, x9, #8\n cmp x2, x27\n b.ne 1f\n add x2, "
                                              "x9, #9\n cmp x2, x28\n b.ne 1f\n"
                                              "mov w0, #0\n"
                                              "1: ldp x19, x20, [sp, #16]\n ldp x21, x22, [sp, "
                                              "#32]\n ldp x23, x24, [sp, #48]\n"
                                              "ldp x25, x26, [sp, #64]\n ldp x27, x28, [sp, #80]\n "
                                              "ldp d8, d9, [sp, #96]\n"
                                              "ldp d10, d11, [sp, #112]\n ldp d12, d13, [sp, "
                                              "#128]\n ldp d14, d15, [sp, #144]\n"
                                              "ldp x29, x30, [sp], #176\n ret\n"
                                              ".size keeps_registers, . - keeps_registers\n");
#else
int keeps_registers(void (*fn)(struct flow *), struct flow *arg, uintptr_t seed)
{
    (void)seed;
    fn(arg);
    return 0;
}
#endif

static int lost;

static void fill_registers(struct flow *f)
{
    for (int i = 0; i < 10; i++)
        lost += keeps_registers(back, f, 1000000u * (unsigned)(f->id + 1));
}

static void registers_of_a_callee_are_kept(void **state)
{
    (void)state;
    struct flow f[2];
    lost = 0;
    for (int i = 0; i < 2; i++) {
        start(&f[i], fill_registers, 0);
        f[i].id = i;
    }
    for (int i = 0; i < 10; i++)
        lost += keeps_registers(enter, &f[i % 2], 77);
    assert_int_equal(lost, 0);
    finish(&f[0]);
    finish(&f[1]);
    assert_int_equal(lost, 0);
}

static int roundings_right;

static void round_upward(struct flow *f)
{
    roundings_right = fegetround() == FE_DOWNWARD; /* as who made it had it */
    fesetround(FE_UPWARD);
    volatile double one = 1, three = 3;
    double up = one / three;
    back(f);
    roundings_right += fegetround() == FE_UPWARD && one / three == up;
    fesetround(FE_TOWARDZERO);
}

static void rounding_is_a_flows_own(void **state)
{
    (void)state;
    struct flow f;
    fesetround(FE_DOWNWARD);
    start(&f, round_upward, 0);
    fesetround(FE_TONEAREST);
    volatile double one = 1, three = 3;
    double nearest = one / three;
    enter(&f);
    assert_int_equal(roundings_right, 1);
    assert_int_equal(fegetround(), FE_TONEAREST);
    assert_true(one / three == nearest);
    enter(&f);
    assert_int_equal(roundings_right, 2);
    assert_int_equal(fegetround(), FE_TONEAREST);
    finish(&f);
}

static jmp_buf place;

static void jump_within(struct flow *f)
{
    if (setjmp(place) == 0)
        longjmp(place, 1);
    f->steps = 1;
    back(f);
    static int jumps;
    jumps = 0;
    if (setjmp(place) < 5)
        longjmp(place, ++jumps);
    f->steps = 2;
}

static void longjmp_works_within_a_flow(void **state)
{
    (void)state;
    struct flow f;
    start(&f, jump_within, 0);
    enter(&f);
    assert_int_equal(f.steps, 1);
    finish(&f);
    assert_int_equal(f.steps, 2);
}

/* --- ends --- */

static void one_step(struct flow *f)
{
    f->steps++;
}

static void a_stack_serves_flow_after_flow(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct flow f;
        start(&f, i % 7 ? one_step : dive, 0);
        finish(&f);
    }
}

__attribute__((noinline)) static int wait_deep(struct flow *f, int n)
{
    volatile char frame[64];
    frame[n % 64] = 1;
    if (n == 0)
        back(f);
    else
        wait_deep(f, n - 1);
    return frame[n % 64];
}

static void stop_deep(struct flow *f)
{
    wait_deep(f, 20);
}

/* So often that a sanitizer which took them for calls of one flow would run out of memory for its own stack. */
static void a_flow_can_be_dropped_before_its_end(void **state)
{
    (void)state;
    for (int i = 0; i < 10000; i++) {
        struct flow f;
        start(&f, i % 3 == 0 ? dive : i % 3 == 1 ? stop_deep : count_steps, 0);
        enter(&f);
        if (i % 3 == 2)
            enter(&f);
        pl_context_drop(&f.context);
        pl_stack_give(&stacks, &f.stack);
    }
}

static void a_flow_never_entered_can_be_dropped(void **state)
{
    (void)state;
    struct flow f;
    start(&f, count_steps, 0);
    pl_context_drop(&f.context);
    pl_stack_give(&stacks, &f.stack);
    assert_int_equal(f.steps, 0);
}

static void the_threads_own_flow_can_be_adopted_again(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct flow f;
        pl_context_drop(&self);
        pl_context_adopt(&self);
        start(&f, count_steps, 0);
        enter(&f);
        finish(&f);
        assert_int_equal(f.steps, ROUNDS);
    }
}

/* --- what debuggers see --- */

/* Where gdb stops; names that the backtrace is searched for. */
__attribute__((noinline)) void context_test_innermost(struct flow *f);
__attribute__((noinline)) void context_test_innermost(struct flow *f)
{
    f->steps++;
    __asm__ volatile("" ::: "memory");
}

static void stop_here(struct flow *f)
{
    context_test_innermost(f);
    back(f);
}

/* What gdb runs: this program with the argument "innermost". */
static int be_debugged(void)
{
    begin_all(NULL);
    struct flow f;
    start(&f, stop_here, 0);
    finish(&f);
    end_all(NULL);
    return 0;
}

#ifndef CONTEXT_TEST_ALONE

/* Runs a shell command; what it prints, at most size - 1 bytes. Its exit status. */
static int output_of(const char *command, char *text, size_t size)
{
    FILE *out = popen(command, "r");
    assert_non_null(out);
    size_t n = fread(text, 1, size - 1, out);
    text[n] = 0;
    while (!feof(out) && fgetc(out) != EOF)
        ;
    int status = pclose(out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_backtrace_ends_at_the_flows_entry(void **state)
{
    (void)state;
    char program[4096], command[8192], text[1 << 16];
    if (system("command -v gdb >/dev/null 2>&1") != 0)
        skip();
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    assert_true(n > 0);
    program[n] = 0;
    snprintf(command, sizeof command,
             "gdb -nx -batch -iex 'set debuginfod enabled off' -ex 'set disable-randomization off' "
             "-ex 'break context_test_innermost' "
             "-ex run -ex bt -ex 'echo end of it\\n' -ex kill --args '%s' innermost 2>&1",
             program);
    assert_int_equal(output_of(command, text, sizeof text), 0);
    const char *frames = strstr(text, "#0 ");
    if (!frames && strstr(text, "ptrace: Operation not permitted"))
        skip();
    if (!frames || !strstr(frames, "run_body"))
        fail_msg("%s", text);
    /* Nothing outside the flow, nothing that gdb made up. */
    if (strstr(frames, " main ") || strstr(frames, "Backtrace stopped"))
        fail_msg("%s", text);
#if !defined(PL_CONTEXT_UCONTEXT) /* there it ends in libc, which may have no names */
    if (!strstr(frames, "pl_context_begin") || strstr(frames, "?? ()"))
        fail_msg("%s", text);
#endif
    assert_non_null(strstr(frames, "end of it"));
}

#endif

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "innermost") == 0)
        return be_debugged();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flow_goes_on_where_it_left),
        cmocka_unit_test(many_flows_do_not_mix),
        cmocka_unit_test(flows_switch_to_each_other),
        cmocka_unit_test(a_flow_begins_aligned_near_the_top_of_its_stack),
        cmocka_unit_test(deep_recursion_uses_the_whole_stack),
        cmocka_unit_test(registers_of_a_callee_are_kept),
        cmocka_unit_test(rounding_is_a_flows_own),
        cmocka_unit_test(longjmp_works_within_a_flow),
        cmocka_unit_test(a_stack_serves_flow_after_flow),
        cmocka_unit_test(a_flow_can_be_dropped_before_its_end),
        cmocka_unit_test(a_flow_never_entered_can_be_dropped),
        cmocka_unit_test(the_threads_own_flow_can_be_adopted_again),
#ifndef CONTEXT_TEST_ALONE
        cmocka_unit_test(a_backtrace_ends_at_the_flows_entry),
#endif
    };
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
