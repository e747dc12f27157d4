/* SPDX-License-Identifier: MIT
 * The register switch for aarch64, AAPCS64: x19 to x30 and the low halves of v8 to v15 survive a
 * call.
 *
 * Saved frame from the stack pointer up: x19..x28, x29, x30, d8..d15 (160 bytes).  It leaves by
 * `br`, not `ret`, for the sake of the return predictor. */
#if defined(__aarch64__) && !defined(BECK_FORCE_UCONTEXT)
    .text
    .globl bki_switch
    .hidden bki_switch
    .type bki_switch, %function
    .p2align 5
bki_switch:
    .cfi_startproc
    sub sp, sp, #160
    .cfi_adjust_cfa_offset 160
    stp x19, x20, [sp, #0]
    .cfi_rel_offset x19, 0
    .cfi_rel_offset x20, 8
    stp x21, x22, [sp, #16]
    .cfi_rel_offset x21, 16
    .cfi_rel_offset x22, 24
    stp x23, x24, [sp, #32]
    .cfi_rel_offset x23, 32
    .cfi_rel_offset x24, 40
    stp x25, x26, [sp, #48]
    .cfi_rel_offset x25, 48
    .cfi_rel_offset x26, 56
    stp x27, x28, [sp, #64]
    .cfi_rel_offset x27, 64
    .cfi_rel_offset x28, 72
    stp x29, x30, [sp, #80]
    .cfi_rel_offset x29, 80
    .cfi_rel_offset x30, 88
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    .cfi_adjust_cfa_offset -160
    .cfi_restore x19
    .cfi_restore x20
    .cfi_restore x21
    .cfi_restore x22
    .cfi_restore x23
    .cfi_restore x24
    .cfi_restore x25
    .cfi_restore x26
    .cfi_restore x27
    .cfi_restore x28
    .cfi_restore x29
    .cfi_restore x30
    br x30
    .cfi_endproc
    .size bki_switch, . - bki_switch

/* The bottom frame of every task: x19 holds entry's argument, x20 entry.  Backtraces end here. */
    .globl bki_switch_start
    .hidden bki_switch_start
    .type bki_switch_start, %function
    .p2align 4
bki_switch_start:
    .cfi_startproc
    .cfi_undefined x30
    hint #36 /* bti j */
    mov x0, x19
    mov x29, #0
    mov x30, #0
    blr x20
    brk #1
    .cfi_endproc
    .size bki_switch_start, . - bki_switch_start
#endif
    .section .note.GNU-stack, "", %progbits
