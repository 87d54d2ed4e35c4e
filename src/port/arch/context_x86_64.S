/* Where a flow begins on x86-64: entry(arg), which pl_context_swap has left on top of its stack
 * (context_x86_64.h). Nobody called it: debuggers and unwinders stop here. */
#if defined(__x86_64__) && defined(__LP64__) && !defined(PL_CONTEXT_UCONTEXT)

    .text
    .p2align 4
    .globl pl_context_begin
    .hidden pl_context_begin
    .type pl_context_begin, @function
pl_context_begin:
    .cfi_startproc
    .cfi_undefined %rip
    popq %rbp
    popq %rax
    popq %rdi
    callq *%rax
    ud2
    .cfi_endproc
    .size pl_context_begin, . - pl_context_begin

#endif

    .section .note.GNU-stack, "", @progbits
