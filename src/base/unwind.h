/* SPDX-License-Identifier: MIT
 * From one stack frame to its caller's, by the call frame information that compilers leave in every
 * program (DWARF 5, section 6.4; the Linux Standard Base's .eh_frame).  It needs no frame pointers
 * and runs no code of the program, which may be another process. */
#ifndef BECK_SRC_BASE_UNWIND_H
#define BECK_SRC_BASE_UNWIND_H

#include "base/elf_image.h"

/* DWARF's numbers. */
#if defined(__aarch64__)
#define BKI_UNWIND_REGS 32
#define BKI_UNWIND_FP 29
#define BKI_UNWIND_SP 31
#define BKI_UNWIND_RA 30
#else
#define BKI_UNWIND_REGS 17
#define BKI_UNWIND_FP 6
#define BKI_UNWIND_SP 7
#define BKI_UNWIND_RA 16
#endif

/* A frame's registers, as far as they are known. */
struct bki_frame {
    uint64_t pc;
    uint64_t regs[BKI_UNWIND_REGS];
    uint64_t known; /* a bit for each */
    bool is_caller; /* pc is where a call returns to, so the call itself lies before it */
};

static inline void bki_frame_set(struct bki_frame *frame, unsigned reg, uint64_t value)
{
    frame->regs[reg] = value;
    frame->known |= (uint64_t)1 << reg;
}

/* The registers of the function that calls it, as far as unwinding needs them.  Inlined, so that it
 * has no frame of its own. */
static inline __attribute__((always_inline)) void bki_frame_here(struct bki_frame *frame)
{
    uint64_t pc, sp;
#if defined(__aarch64__)
    __asm__ volatile("adr %0, .\n\tmov %1, sp" : "=r"(pc), "=r"(sp));
#else
    __asm__ volatile("lea 0(%%rip), %0\n\tmov %%rsp, %1" : "=r"(pc), "=r"(sp));
#endif
    *frame = (struct bki_frame){.pc = pc};
    bki_frame_set(frame, BKI_UNWIND_FP, (uint64_t)(uintptr_t)__builtin_frame_address(0));
    bki_frame_set(frame, BKI_UNWIND_SP, sp);
}

/* Reads memory of the program; false when there is none. */
typedef bool bki_read_memory(void *ctx, uint64_t address, void *buf, size_t size);

/* Makes *frame its caller's.  elf: the file that holds frame->pc, moved by bias; NULL when it is
 * not known, and then the frame pointer is followed.  Returns 1; 0 at the outermost frame; -ENOENT
 * when the way is lost. */
int bki_unwind(struct bki_frame *frame, const struct bki_elf *elf, uint64_t bias,
               bki_read_memory *read, void *ctx);

#endif
