/* SPDX-License-Identifier: MIT
 * The bottom frame of every task on x86-64; the switch itself is inline, in switch.h.
 *
 * Entered by the first switch with entry's argument and entry on the stack, which is then a
 * multiple of 16.  It pushes a return address and jumps: a call that never returns would put the
 * processor's return stack out of step for whoever the task hands over to.  rip is undefined in its
 * CFI: backtraces end here. */
#if defined(__x86_64__) && !defined(BECK_FORCE_UCONTEXT)
    .text
    .globl bki_switch_start
    .hidden bki_switch_start
    .type bki_switch_start, @function
    .p2align 4
bki_switch_start:
    .cfi_startproc
    .cfi_undefined %rip
    .cfi_undefined %rbp
    popq %rdi
    popq %rax
    xorl %ebp, %ebp
    leaq 1f(%rip), %rdx
    pushq %rdx
    jmp *%rax
1:  ud2
    .cfi_endproc
    .size bki_switch_start, . - bki_switch_start
#endif
    .section .note.GNU-stack, "", %progbits
