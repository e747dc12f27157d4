/* SPDX-License-Identifier: MIT
 * Names for code addresses, static functions included. */
#ifndef BECK_SRC_RT_SYMBOL_H
#define BECK_SRC_RT_SYMBOL_H

#include <stddef.h>

/* The name of the function that starts at or holds addr, cut to size.  Returns the offset of addr
 * in it, or -ENOENT. Reads the program's files: not for hot paths. */
long bki_symbol_name(const void *addr, char *buf, size_t size);

#endif
