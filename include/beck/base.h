/* SPDX-License-Identifier: MIT
 * Attributes, byte spans, durations and clock instants: what every other header builds on. */
#ifndef BECK_BASE_H
#define BECK_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#ifdef __cplusplus
#define BK_BEGIN_DECLS extern "C" {
#define BK_END_DECLS }
#else
#define BK_BEGIN_DECLS
#define BK_END_DECLS
#endif

#define BK_API __attribute__((visibility("default")))
#define BK_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define BK_WARN_UNUSED __attribute__((warn_unused_result))

BK_BEGIN_DECLS

/* A borrowed run of bytes.  Not NUL-terminated; the declaration that returns one says how long it
 * stays valid. */
typedef struct bk_span {
    const char *data;
    size_t len;
} bk_span;

static inline bk_span bk_span_of(const void *data, size_t len)
{
    bk_span s = {(const char *)data, len};
    return s;
}

static inline bk_span bk_span_str(const char *text)
{
    return bk_span_of(text, strlen(text));
}

/* A length of time.  In an options struct the zero value means "the documented default"; BK_FOREVER
 * means no limit. */
typedef struct bk_duration {
    int64_t ns;
} bk_duration;

/* An instant on the loop's monotonic clock (bk_now).  Only differences mean anything. */
typedef struct bk_time {
    int64_t ns;
} bk_time;

static inline bk_duration bk_ns(int64_t n)
{
    bk_duration d = {n};
    return d;
}

static inline bk_duration bk_us(int64_t n)
{
    return bk_ns(n * 1000);
}

static inline bk_duration bk_ms(int64_t n)
{
    return bk_ns(n * 1000000);
}

static inline bk_duration bk_seconds(int64_t n)
{
    return bk_ns(n * 1000000000);
}

static inline bk_duration bk_minutes(int64_t n)
{
    return bk_seconds(n * 60);
}

#define BK_FOREVER_NS INT64_MAX
static inline bk_duration bk_forever(void)
{
    return bk_ns(BK_FOREVER_NS);
}

/* t + d, saturating: an instant BK_FOREVER after any other is never reached. */
static inline bk_time bk_time_add(bk_time t, bk_duration d)
{
    bk_time sum;
    if (__builtin_add_overflow(t.ns, d.ns, &sum.ns))
        sum.ns = d.ns > 0 ? INT64_MAX : INT64_MIN;
    return sum;
}

static inline bk_duration bk_time_since(bk_time later, bk_time earlier)
{
    return bk_ns(later.ns - earlier.ns);
}

/* The library's version, "MAJOR.MINOR.PATCH". */
BK_API const char *bk_version(void);

/* The one allocator hook.  realloc_fn(ptr, 0) frees; realloc_fn(NULL, n) allocates; a NULL result
 * means out of memory.  Set it before any other call and never again.  Any thread may call
 * realloc_fn. NULL restores the C library's.  (Task stacks come from mmap, not from here.) */
BK_API void bk_set_allocator(void *(*realloc_fn)(void *ptr, size_t size));

BK_END_DECLS
#endif
