/* SPDX-License-Identifier: MIT
 * The register switch for x86-64, System V calling convention.
 *
 * It leaves by pop and an indirect jump: a `ret` would be mispredicted every time, the return stack predicting the
 * caller of the other task.  That also rules out shadow stacks (CET), so this object carries no property
 * note and the linker turns them off for the program.  The CFI is that of an ordinary function, so that
 * debuggers walk a suspended task from its saved stack pointer: r15 r14 r13 r12 rbx rbp rip. */
#if defined(__x86_64__) && !defined(BECK_FORCE_UCONTEXT)
    .text
    .globl bki_switch
    .hidden bki_switch
    .type bki_switch, @function
    .p2align 5
bki_switch:
    .cfi_startproc
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r12, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r13, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r14, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r15, 0
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r15
    popq %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r14
    popq %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r13
    popq %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r12
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
    .size bki_switch, . - bki_switch

/* The bottom frame of every task: rbx holds entry's argument, r12 entry.  rip is undefined in its CFI: backtraces
 * end here. */
    .globl bki_switch_start
    .hidden bki_switch_start
    .type bki_switch_start, @function
    .p2align 4
bki_switch_start:
    .cfi_startproc
    .cfi_undefined %rip
    .cfi_undefined %rbp
    movq %rbx, %rdi
    call *%r12
    ud2
    .cfi_endproc
    .size bki_switch_start, . - bki_switch_start
#endif
    .section .note.GNU-stack, "", %progbits
