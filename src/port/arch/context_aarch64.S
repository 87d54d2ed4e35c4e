/* pl_context_swap for 64-bit ARM, AAPCS64: see port/context.h.
 *
 * What lies on the stack of a flow that does not run, upwards from its sp:
 *     0  d8 .. d15     64  x19 .. x28     144  x29, x30: where it goes on     160  FPCR; 8 unused
 * and for one that has not run yet: x19 the entry, x20 its argument, x29 0, to go on at pl_context_begin (context.c).
 *
 * Branch protection: a return needs no landing pad, and what is kept here is never signed. The object is
 * not marked for it, so that a program that contains it runs without. */
#if defined(__aarch64__) && defined(__LP64__) && !defined(PL_CONTEXT_UCONTEXT)

    .text
    .p2align 4
    .globl pl_context_swap
    .hidden pl_context_swap
    .type pl_context_swap, %function
pl_context_swap:                        /* x0: void **save, x1: void *load */
    .cfi_startproc
    sub sp, sp, #176
    .cfi_adjust_cfa_offset 176
    stp d8, d9, [sp, #0]
    stp d10, d11, [sp, #16]
    stp d12, d13, [sp, #32]
    stp d14, d15, [sp, #48]
    stp x19, x20, [sp, #64]
    stp x21, x22, [sp, #80]
    stp x23, x24, [sp, #96]
    stp x25, x26, [sp, #112]
    stp x27, x28, [sp, #128]
    stp x29, x30, [sp, #144]
    .cfi_rel_offset x29, 144
    .cfi_rel_offset x30, 152
    mrs x9, fpcr
    str x9, [sp, #160]

    mov x10, sp
    str x10, [x0]
    mov sp, x1                          /* the other flow's stack, laid out alike */

    ldr x10, [sp, #160]
    cmp x9, x10
    b.eq 1f                             /* writing it stops the pipeline, and it rarely differs */
    msr fpcr, x10
1:  ldp d8, d9, [sp, #0]
    ldp d10, d11, [sp, #16]
    ldp d12, d13, [sp, #32]
    ldp d14, d15, [sp, #48]
    ldp x19, x20, [sp, #64]
    ldp x21, x22, [sp, #80]
    ldp x23, x24, [sp, #96]
    ldp x25, x26, [sp, #112]
    ldp x27, x28, [sp, #128]
    ldp x29, x30, [sp, #144]
    .cfi_restore x29
    .cfi_restore x30
    add sp, sp, #176
    .cfi_adjust_cfa_offset -176
    ret
    .cfi_endproc
    .size pl_context_swap, . - pl_context_swap

/* Where a flow begins: entry(arg). Nobody called it: debuggers and unwinders stop here. */
    .p2align 4
    .globl pl_context_begin
    .hidden pl_context_begin
    .type pl_context_begin, %function
pl_context_begin:
    .cfi_startproc
    .cfi_undefined x30
    mov x0, x20
    blr x19
    brk #1
    .cfi_endproc
    .size pl_context_begin, . - pl_context_begin

#endif

    .section .note.GNU-stack, "", %progbits
