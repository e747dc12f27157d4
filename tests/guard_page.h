/* SPDX-License-Identifier: MIT
 * Puts test input flush against a page that may not be touched, so that reading one byte too far
 * crashes.
 *
 *     struct guard_page page = {0};
 *     char *in = guard_page_put(&page, data, len);      in[len] is out of bounds for the hardware
 *     guard_page_free(&page); */
#ifndef BECK_TESTS_GUARD_PAGE_H
#define BECK_TESTS_GUARD_PAGE_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct guard_page {
    char *map;
    size_t size; /* of the usable part; one page without access follows */
};

static inline void guard_page_free(struct guard_page *g)
{
    if (g->map)
        munmap(g->map, g->size + (size_t)sysconf(_SC_PAGESIZE));
    g->map = NULL;
    g->size = 0;
}

/* Copies data[0..len) so that its last byte lies before the guard; valid until the next call. */
static inline char *guard_page_put(struct guard_page *g, const void *data, size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), need = (len + page) / page * page;
    if (need > g->size) {
        guard_page_free(g);
        g->map = (char *)mmap(NULL, need + page, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (g->map == MAP_FAILED || mprotect(g->map + need, page, PROT_NONE) != 0)
            abort();
        g->size = need;
    }
    char *at = g->map + g->size - len;
    if (len > 0)
        memcpy(at, data, len);
    return at;
}

#endif
