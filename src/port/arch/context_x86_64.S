/* pl_context_swap for x86-64, System V: see port/context.h.
 *
 * What lies on the stack of a flow that does not run, upwards from its sp:
 *     0  MXCSR, 4 bytes: how SSE rounds and traps
 *     4  x87 control word, 2 bytes; 2 unused
 *     8  r12  16 r13  24 r14  32 r15  40 rbx  48 rbp
 *    56  where it goes on
 * and for one that has not run yet: r12 the entry, r13 its argument, rbp 0, to go on at pl_context_begin (context.c).
 *
 * It goes on by a jump, not a return: the processor foresees returns from the calls it has seen, and
 * here would be wrong each time. Hardware shadow stacks (CET) do not know of any of this: the object is
 * not marked for them, so the linker marks no program that contains it, and they stay off. */
#if defined(__x86_64__) && defined(__LP64__) && !defined(PL_CONTEXT_UCONTEXT)

    .text
    .p2align 4
    .globl pl_context_swap
    .hidden pl_context_swap
    .type pl_context_swap, @function
pl_context_swap:                        /* rdi: void **save, rsi: void *load */
    .cfi_startproc
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r15, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r14, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r13, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r12, 0
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    stmxcsr (%rsp)
    fnstcw 4(%rsp)

    movq %rsp, (%rdi)
    movq %rsi, %rsp                     /* the other flow's stack, laid out alike: the notes above hold */

    ldmxcsr (%rsp)
    fldcw 4(%rsp)
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r12
    popq %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r13
    popq %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r14
    popq %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r15
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    popq %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbp
    popq %rcx
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rcx
    jmp *%rcx
    .cfi_endproc
    .size pl_context_swap, . - pl_context_swap

/* Where a flow begins: entry(arg). Nobody called it: debuggers and unwinders stop here. */
    .p2align 4
    .globl pl_context_begin
    .hidden pl_context_begin
    .type pl_context_begin, @function
pl_context_begin:
    .cfi_startproc
    .cfi_undefined %rip
    movq %r13, %rdi
    callq *%r12
    ud2
    .cfi_endproc
    .size pl_context_begin, . - pl_context_begin

#endif

    .section .note.GNU-stack, "", @progbits
