/* SPDX-License-Identifier: MIT
 * Fuzzes what is read of programs' files: sections, functions, lines, call frames, of whatever
 * bytes. */
#include <stdlib.h>
#include <string.h>

#include "base/debug_line.h"
#include "base/elf_image.h"
#include "base/unwind.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool read_nothing(void *ctx, uint64_t address, void *buf, size_t size)
{
    (void)ctx;
    memset(buf, (int)(address & 0x7f), size);
    return address % 3 != 0;
}

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void look_at(const struct bki_elf *elf, uint64_t address)
{
    char text[16];
    uint64_t bias;
    if (bki_elf_function(elf, address, text, sizeof text) >= 0)
        must(strlen(text) < sizeof text);
    if (bki_debug_line(elf, address, text, sizeof text) >= 0)
        must(strlen(text) < sizeof text);
    bki_elf_bias(elf, 0x10000, 0, &bias);
    struct bki_frame frame = {.pc = address};
    bki_frame_set(&frame, BKI_UNWIND_SP, 0x7000);
    bki_frame_set(&frame, BKI_UNWIND_FP, 0x7100);
    for (int i = 0; i < 4 && bki_unwind(&frame, elf, 0, read_nothing, NULL) == 1; i++)
        must(frame.pc != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A file is mapped at the beginning of a page. */
    unsigned char *copy = aligned_alloc(64, (size + 64) / 64 * 64);
    struct bki_elf elf;
    struct bki_elf_part text = {0};
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    if (bki_elf_read(&elf, copy, size) == 0) {
        bki_elf_section(&elf, ".text", &text);
        for (uint64_t i = 0; i < 64; i += 7)
            look_at(&elf, text.address + i);
    }
    free(copy);
    return 0;
}
