/* SPDX-License-Identifier: MIT
 * Attributes, byte spans, durations and clock instants: what every other header builds on.
 *
 * Rules that hold everywhere:
 *   - Results: 0 or positive for success, -errno or -BK_E... (error.h) below zero.  Calls that
 * yield one item after the other return 1 for an item and 0 for the end.
 *   - `T **` shows ownership moving.  new, open, connect, recv fill *out, which must be NULL before
 *     (what it held would leak); put and send empty it when they succeed and leave it alone when
 * they fail; free and close empty it always, and take NULL.  `T *` is borrowed for the call.
 *   - Options are a const struct, last; NULL or zero means the default that its comment names.
 *   - Strings passed in are copied unless a comment says borrowed.
 *   - Everything belongs to the loop of the thread that made it, unless a comment says "any
 * thread". */
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

static inline bool bk_span_equal(bk_span a, bk_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bk_span bk_span_str(const char *text)
{
    return bk_span_of(text, strlen(text));
}

/* A length of time.  In an options struct the zero value means "the documented default";
 * bk_forever() means no limit. */
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

/* No limit on a number of items. */
#define BK_UNBOUNDED SIZE_MAX

static inline bk_duration bk_forever(void)
{
    return bk_ns(BK_FOREVER_NS);
}

/* t + d, saturating: an instant bk_forever() after any other is never reached. */
static inline bk_time bk_time_add(bk_time t, bk_duration d)
{
    bk_time sum;
    if (__builtin_add_overflow(t.ns, d.ns, &sum.ns))
        sum.ns = d.ns > 0 ? INT64_MAX : INT64_MIN;
    return sum;
}

static inline bool bk_time_before(bk_time a, bk_time b)
{
    return a.ns < b.ns;
}

/* For people: a duration in seconds. */
static inline double bk_to_seconds(bk_duration d)
{
    return (double)d.ns / 1e9;
}

/* For poll(2) and its like: d in milliseconds, rounded up so as not to wake early; -1 for
 * bk_forever(). */
static inline int bk_poll_ms(bk_duration d)
{
    if (d.ns == BK_FOREVER_NS)
        return -1;
    int64_t ms = d.ns <= 0 ? 0 : (d.ns - 1) / 1000000 + 1;
    return ms > INT32_MAX ? INT32_MAX : (int)ms;
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
