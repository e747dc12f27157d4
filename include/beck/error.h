/* SPDX-License-Identifier: MIT
 * Results: 0 or positive for success, -errno or -BK_E... below zero, and the detail behind them. */
#ifndef BECK_ERROR_H
#define BECK_ERROR_H

#include <errno.h>

#include <beck/base.h>

BK_BEGIN_DECLS

/* beck's own error numbers, returned negated like errno's: X(name, number, text). */
#define BK_ERRORS(X)                                                                               \
    X(BK_EINCOMPLETE, 4097, "the stream ended in the middle of an item")                           \
    X(BK_ELIMIT, 4098, "a configured limit was reached")                                           \
    X(BK_ECLOSED, 4099, "closed")                                                                  \
    X(BK_EPROTO, 4100, "the peer broke the protocol")                                              \
    X(BK_EREFUSED, 4101, "the peer refused the request")                                           \
    X(BK_ERESOLVE, 4102, "the name could not be resolved")                                         \
    X(BK_EFORMAT, 4103, "malformed data")                                                          \
    X(BK_EURL, 4104, "not a usable URL")                                                           \
    X(BK_EUNSUPPORTED, 4105, "not supported by this build")                                        \
    X(BK_EINTERRUPTED, 4106, "stopped by a signal")                                                \
    X(BK_EBROKEN, 4107, "the barrier is broken")                                                   \
    X(BK_ECERT, 4108, "the peer's certificate is not acceptable")                                  \
    X(BK_ENOTASK, 4109, "only a task can wait")

#define BK_ERROR_ENUM(name, number, text) name = number,
enum bk_error { BK_ERRORS(BK_ERROR_ENUM) BK_ERROR_LAST };
#undef BK_ERROR_ENUM

/* A fixed English text for a result: bk_strerror(-ENOENT) and bk_strerror(ENOENT) say the same.
 * Never NULL; static storage for known codes, else valid until this thread's next call.  Any
 * thread. */
BK_API const char *bk_strerror(int result);

/* The detail of the calling task's last failure ("connect 127.0.0.1:80: Connection refused"), or of
 * the calling thread's outside a task; "" when there is none.  Waiting for another task
 * (bk_task_wait, bk_group_close, bk_gather, bk_to_thread, bk_run) passes its text on to the waiter;
 * a cancel has none.  Valid until the task's next beck call, but for bk_fail, which may be given
 * it. */
BK_API const char *bk_errmsg(void);

/* Sets the detail that bk_errmsg returns and gives `result` back, so that a failure is one line:
 *     return bk_fail(-EINVAL, "line %d: no such side '%s'", line, side);
 * format and what follows: as for printf.  The text is cut at 255 bytes.  Never fails, never
 * suspends; any thread. */
BK_API int bk_fail(int result, const char *format, ...) BK_PRINTF(2, 3);

BK_END_DECLS
#endif
