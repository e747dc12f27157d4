/* SPDX-License-Identifier: MIT
 * Every allocation of the library goes through here, and so through the one hook
 * (bk_set_allocator). */
#ifndef BECK_SRC_BASE_ALLOC_H
#define BECK_SRC_BASE_ALLOC_H

#include <beck/base.h>

/* All return NULL when memory is out (or the size overflows); bki_free(NULL) is fine.  A size of
 * zero gives a block of its own like any other, never NULL for success; only bki_free frees. */
void *bki_alloc(size_t size);
void *bki_zalloc(size_t size);
void *bki_realloc(void *ptr, size_t size);
void *bki_realloc_array(void *ptr, size_t n, size_t size);
char *bki_strdup(const char *text);
/* Copies exactly len bytes (text need not be NUL-terminated) and adds a NUL. */
char *bki_strndup(const char *text, size_t len);
void bki_free(void *ptr);

/* Gives memory that is free back to the system, also where something in use lies behind it; takes
 * some milliseconds if it is much.  Nothing under bk_set_allocator, or where the C library cannot.
 */
void bki_alloc_trim(void);

#endif
