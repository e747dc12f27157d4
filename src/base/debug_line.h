/* SPDX-License-Identifier: MIT
 * From a code address to the source file and line, where the file was compiled with -g (DWARF 2 to
 * 5, section 6.2). */
#ifndef BECK_SRC_BASE_DEBUG_LINE_H
#define BECK_SRC_BASE_DEBUG_LINE_H

#include "base/elf_image.h"

/* Puts the last part of the file's name, cut to size, into buf and returns the line; -ENOENT when
 * the file does not say.  Reads all line programs up to the right one: milliseconds for a large
 * program. */
int bki_debug_line(const struct bki_elf *elf, uint64_t address, char *buf, size_t size);

#endif
