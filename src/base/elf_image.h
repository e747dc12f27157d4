/* SPDX-License-Identifier: MIT
 * A program or library file, mapped, to look things up in: sections, symbols (ELF, System V ABI
 * chapters 4 and 5).  Whatever the file holds, nothing outside of it is read. */
#ifndef BECK_SRC_BASE_ELF_IMAGE_H
#define BECK_SRC_BASE_ELF_IMAGE_H

#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bki_elf {
    const unsigned char *data; /* NULL: not open */
    size_t size;
    const ElfW(Shdr) * sections;
    size_t n_sections;
    const ElfW(Phdr) * segments;
    size_t n_segments;
};

/* A piece of the file, and the address that it has before relocation. */
struct bki_elf_part {
    const unsigned char *data;
    size_t size;
    uint64_t address;
};

/* Opens a file and maps it.  0; -errno; -ENOEXEC when it is no ELF file of this processor's kind.
 */
int bki_elf_open(struct bki_elf *elf, const char *path);
void bki_elf_close(struct bki_elf *elf);
/* The same for a file that lies in memory, and stays there. */
int bki_elf_read(struct bki_elf *elf, const void *data, size_t size);

/* False when there is none of that name, or it is compressed or not in the file. */
bool bki_elf_section(const struct bki_elf *elf, const char *name, struct bki_elf_part *out);

/* The function that holds an address (before relocation): its name, cut to size, in buf, and the
 * offset in it; -ENOENT. */
long bki_elf_function(const struct bki_elf *elf, uint64_t address, char *buf, size_t size);

/* How far the file was moved, of which the bytes from `offset` on are mapped at `start`; false when
 * no segment begins there. */
bool bki_elf_bias(const struct bki_elf *elf, uint64_t start, uint64_t offset, uint64_t *bias);

#endif
