/* pl_context_swap for x86-64, System V: see port/context.h. Only to be included from there.
 *
 * Not a function, but inline: a call leaves a note in the processor of where it will return to, and with two stacks these
 * notes are in disorder; each return after that would be foreseen wrongly. Within one function there are none, and the
 * compiler keeps only the registers that it needs.
 *
 * What lies on the stack of a flow that does not run, upwards from its sp:
 *     0  MXCSR, 4 bytes: how SSE rounds and traps
 *     4  x87 control word, 2 bytes; 2 unused
 *     8  where it goes on
 *    16  rbp
 *    24  128 bytes that the function around may use without saying so (the red zone)
 * and for one that has not run yet, to go on at pl_context_begin (context_x86_64.S): 16 rbp 0, 24 the entry, 32 its
 * argument.
 *
 * The control words are the same in nearly all flows, and loading them costs as much as all the rest: so they are
 * compared first. The lowest six bits of MXCSR are not control, but what has happened.
 *
 * Hardware shadow stacks (CET) do not know of any of this: our objects are not marked for them, so the linker marks
 * no program that contains them, and they stay off. */
#ifndef PL_PORT_ARCH_CONTEXT_X86_64_H
#define PL_PORT_ARCH_CONTEXT_X86_64_H

static inline __attribute__((always_inline)) void pl_context_swap(void **save, void *load)
{
    __asm__ volatile("leaq -128(%%rsp), %%rsp\n\t"
                     "pushq %%rbp\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "subq $8, %%rsp\n\t"
                     "stmxcsr (%%rsp)\n\t"
                     "fnstcw 4(%%rsp)\n\t"
                     "movl (%%rsp), %%ecx\n\t"
                     "movw 4(%%rsp), %%dx\n\t"
                     "movq %%rsp, (%%rdi)\n\t"
                     "movq %%rsi, %%rsp\n\t" /* the other flow's stack */
                     "xorl (%%rsp), %%ecx\n\t"
                     "testl $0xffc0, %%ecx\n\t"
                     "jne 2f\n\t"
                     "cmpw 4(%%rsp), %%dx\n\t"
                     "jne 2f\n"
                     "3:\n\t"
                     "addq $8, %%rsp\n\t"
                     "popq %%rax\n\t"
                     "jmpq *%%rax\n"
                     "2:\n\t"
                     "ldmxcsr (%%rsp)\n\t"
                     "fldcw 4(%%rsp)\n\t"
                     "jmp 3b\n"
                     "1:\n\t"
                     "popq %%rbp\n\t"
                     "leaq 128(%%rsp), %%rsp"
                     : "+D"(save), "+S"(load)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                       "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
                       "memory", "cc");
}

#endif
