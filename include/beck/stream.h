/* SPDX-License-Identifier: MIT
 * Byte streams: connect, listen, serve, read and write.
 *
 * Addresses are text: "127.0.0.1:8080", "[::1]:8080", "example.org:80", "unix:/run/app.sock", "unix:@abstract",
 * and ":8080" (every interface) to listen on; port 0 lets the kernel choose.
 *
 * A stream has at most one reading task and one writing task at a time (-EBUSY for a second); they may be
 * different tasks.  Loop thread only. */
#ifndef BECK_STREAM_H
#define BECK_STREAM_H

#include <beck/run.h>

BK_BEGIN_DECLS

typedef struct bk_stream bk_stream;

typedef struct bk_stream_opts {
    size_t read_limit;   /* longest bk_stream_read_until; default 64 KiB */
    size_t write_buffer; /* bytes a write may leave behind before it suspends; default 64 KiB */
} bk_stream_opts;

typedef struct bk_connect_opts {
    bk_duration timeout;   /* for resolving and connecting together; default 30 s */
    bk_stream_opts stream;
} bk_connect_opts;

/* Connects to address, trying each address its name resolves to in order.
 * Errors: -BK_EURL, -BK_ERESOLVE, -ETIMEDOUT, -ECANCELED, -ENOMEM, connect's (of the last address tried). */
BK_API int bk_connect(bk_stream **out, const char *address, const bk_connect_opts *opts);

/* Makes a stream of an open file descriptor (socket, pipe, terminal), which it owns and closes from now on (only
 * on success).  The descriptor becomes non-blocking.  Regular files: -EINVAL. */
BK_API int bk_stream_from_fd(bk_stream **out, int fd, const bk_stream_opts *opts);

/* Reads what there is, at least one byte.  Returns the count, 0 at the end of the stream, or an error. */
BK_API ssize_t bk_stream_read(bk_stream *stream, void *buf, size_t len);

/* Reads exactly len bytes.  Returns 0; -BK_EINCOMPLETE when the stream ended first; on error and cancel the bytes that
 * came stay in the stream, up to read_limit (beyond that, they are lost with the failing stream). */
BK_API int bk_stream_read_exactly(bk_stream *stream, void *buf, size_t len);

/* Reads up to and including the separator (1 to 16 bytes).  *out is valid until the next read.
 * Returns 1; 0 at the end of the stream with nothing left; -BK_EINCOMPLETE at the end without a separator (*out is what
 * was left, now consumed); -BK_ELIMIT when read_limit bytes hold no separator (nothing is consumed); -ECANCELED,
 * nothing consumed. */
BK_API int bk_stream_read_until(bk_stream *stream, bk_span separator, bk_span *out);

/* Reads a line, without its "\n" or "\r\n"; a last line without one counts.  *line is valid until the next read.
 * Returns 1, 0 at the end, -BK_ELIMIT (the line is skipped), or an error. */
BK_API int bk_stream_read_line(bk_stream *stream, bk_span *line);

/* What is buffered now, waiting for at least `want` bytes (up to read_limit); consumes nothing: bk_stream_consume does.
 * For parsers.  Returns 1; 0 at the end of the stream with fewer (*out holds them); or an error.  *out is valid until the
 * next read or consume, and its bytes may be changed in place. */
BK_API int bk_stream_peek(bk_stream *stream, size_t want, bk_span *out);
BK_API void bk_stream_consume(bk_stream *stream, size_t len);

/* Writes all of data: sends at once what the kernel takes, keeps the rest (up to write_buffer, suspending beyond) and sends
 * it in the background.  data is free when it returns.  Returns 0, or the connection's error; after -ECANCELED part may
 * have been sent: close the stream. */
BK_API int bk_stream_write(bk_stream *stream, const void *data, size_t len);

/* Several pieces as one write, in order. */
BK_API int bk_stream_writev(bk_stream *stream, const bk_span *pieces, size_t n);

/* Suspends until at most a quarter of write_buffer is unsent.  bk_stream_flush: until nothing is. */
BK_API int bk_stream_drain(bk_stream *stream);
BK_API int bk_stream_flush(bk_stream *stream);

/* Bytes written but not yet sent. */
BK_API size_t bk_stream_unsent(const bk_stream *stream);

/* Flushes, then tells the peer that no more will come; reading goes on. */
BK_API int bk_stream_write_eof(bk_stream *stream);

/* Closes and empties *stream.  r >= 0: flushes first (5 s at most); r < 0: drops what is unsent.
 * Other tasks using the stream must have ended.  Returns r, or the first error of the flush.  NULL is fine. */
BK_API int bk_stream_close(bk_stream **stream, int r);

/* "127.0.0.1:52110"; "" when unknown.  Valid while the stream is. */
BK_API const char *bk_stream_peer(const bk_stream *stream);
BK_API const char *bk_stream_local(const bk_stream *stream);

/* The file descriptor, still the stream's. */
BK_API int bk_stream_fd(const bk_stream *stream);

typedef struct bk_listener bk_listener;

typedef struct bk_listen_opts {
    int backlog;       /* default 100 */
    bool reuse_port;
    bool ipv6_only;
    bk_stream_opts stream; /* of accepted connections */
} bk_listen_opts;

/* Binds and listens.  A stale Unix socket file is replaced.  Errors: -BK_EURL, -BK_ERESOLVE, bind's, -ENOMEM, -ECANCELED. */
BK_API int bk_listen(bk_listener **out, const char *address, const bk_listen_opts *opts);

/* The address bound, with the port the kernel chose.  Valid while the listener is. */
BK_API const char *bk_listener_address(const bk_listener *listener);

/* Accepts the next connection.  Returns 1, or an error.  Out of file descriptors or memory it waits a second and tries
 * again, so that a burst does not end a server. */
BK_API int bk_accept(bk_listener *listener, bk_stream **out);

/* Closes and empties *listener; a Unix socket file is removed if it is still this one.  Returns r. */
BK_API int bk_listener_close(bk_listener **listener, int r);

typedef struct bk_serve_opts {
    size_t limit; /* most connections at once, accepting pauses beyond; default 10,000 */
} bk_serve_opts;

/* Accepts connections for ever, each handled by handler(ctx, stream) in a task of its own; the stream is closed when the
 * handler returns.  A failing handler ends only its connection.  Returns when cancelled or when accepting fails for
 * good; handlers still running are cancelled and waited for. */
typedef int bk_stream_fn(void *ctx, bk_stream *stream);
BK_API int bk_serve(bk_listener *listener, bk_stream_fn *handler, void *ctx,
                    const bk_serve_opts *opts);

BK_END_DECLS
#endif
