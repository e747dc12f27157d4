/* SPDX-License-Identifier: MIT
 * The library's allocation calls, with checked sizes, in front of the one hook. */
#include "base/alloc.h"

#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

/* NULL means the C library's.  Written before any other call (bk_set_allocator), so read without
 * synchronisation. */
static void *(*hook)(void *ptr, size_t size);

void bk_set_allocator(void *(*realloc_fn)(void *ptr, size_t size))
{
    hook = realloc_fn;
}

/* Sizes beyond PTRDIFF_MAX are always a computation gone wrong; and the hook reads 0 as "free". */
static bool size_ok(size_t *size)
{
    if (*size == 0)
        *size = 1;
    return *size <= PTRDIFF_MAX;
}

void *bki_alloc(size_t size)
{
    if (!size_ok(&size))
        return NULL;
    return hook ? hook(NULL, size) : malloc(size);
}

void *bki_zalloc(size_t size)
{
    if (!size_ok(&size))
        return NULL;
    if (!hook)
        return calloc(1, size);
    void *ptr = hook(NULL, size);
    return ptr ? memset(ptr, 0, size) : NULL;
}

void *bki_realloc(void *ptr, size_t size)
{
    if (!size_ok(&size))
        return NULL;
    return hook ? hook(ptr, size) : realloc(ptr, size);
}

void *bki_realloc_array(void *ptr, size_t n, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(n, size, &total))
        return NULL;
    return bki_realloc(ptr, total);
}

char *bki_strdup(const char *text)
{
    return bki_strndup(text, strlen(text));
}

/* Copies exactly len bytes, which need no NUL among or after them, and adds one. */
char *bki_strndup(const char *text, size_t len)
{
    if (len >= PTRDIFF_MAX)
        return NULL;
    char *copy = bki_alloc(len + 1);
    if (!copy)
        return NULL;
    if (len)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

void bki_free(void *ptr)
{
    if (!hook)
        free(ptr);
    else if (ptr)
        hook(ptr, 0);
}

void bki_alloc_trim(void)
{
#ifdef __GLIBC__
    if (!hook)
        malloc_trim(0);
#endif
}
