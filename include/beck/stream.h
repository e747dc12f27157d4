/* SPDX-License-Identifier: MIT
 * Byte streams: connect, read and write.  (To listen and serve: server.h.)
 *
 *     bk_stream *s = NULL;
 *     bk_span line;
 *     int r = bk_connect(&s, "127.0.0.1:7000", NULL);
 *     if (r == 0)
 *         r = bk_stream_write(s, "how are you?\n", 13);
 *     if (r == 0)
 *         r = bk_stream_read_line(s, &line);
 *     if (r == 1)
 *         printf("%.*s\n", (int)line.len, line.data);
 *     return bk_stream_close(&s, r);
 *
 * An address is text: "127.0.0.1:8080", "[::1]:8080", "example.org:80", "unix:/run/app.sock", or
 * "unix:@name" (a Unix socket without a file).
 *
 * One task at a time reads a stream and one writes it (-EBUSY for a second); they may be two tasks.
 * Everything here is for the loop thread, in a task, and every call that can suspend fails with
 * -ECANCELED in a cancelled task. */
#ifndef BECK_STREAM_H
#define BECK_STREAM_H

#include <beck/msg.h>
#include <beck/run.h>

BK_BEGIN_DECLS

typedef struct bk_stream bk_stream;

typedef struct bk_stream_opts {
    size_t read_limit;   /* longest line, longest read_until, most bytes to peek; default 64 KiB */
    size_t write_buffer; /* unsent bytes a write may leave behind; default 64 KiB */
} bk_stream_opts;

typedef struct bk_tls bk_tls; /* tls.h */

typedef struct bk_connect_opts {
    bk_duration timeout;   /* for resolving, connecting and TLS together; default 30 s */
    bk_stream_opts stream; /* of the connection */
    /* A host with several addresses: how long to wait for an answer of one before trying the next
     * as well.  At least 10 ms; default 250 ms; bk_forever(): only when it has failed. */
    bk_duration attempt_delay;
    const char *local_address; /* "192.0.2.1:0": connect from here; default: the kernel chooses */
    bk_duration keep_alive;  /* ask a TCP peer silent for so long if it is there; default: never */
    bk_tls *tls;             /* be its client from the start; default: plain */
    const char *server_name; /* with tls, as in bk_start_tls_opts; default: address's host */
    const char *const *alpn; /* with tls, as in bk_start_tls_opts */
} bk_connect_opts;

/* Connects to address.  Of a host with several, IPv6 and IPv4 are tried in turn, and the first that
 * connects is taken (RFC 8305, "happy eyeballs").  TCP_NODELAY is set.
 * out: NULL on entry; bk_stream_close it.
 * Suspends until connected.  Returns 0, or -BK_EURL (not an address), -BK_ERESOLVE, -ETIMEDOUT,
 * -ECANCELED, -ENOMEM; when every address failed, what the kernel says of the last one to do so
 * (-ECONNREFUSED, ...), with a detail that names each; or with tls as bk_stream_start_tls. */
BK_API int bk_connect(bk_stream **out, const char *address, const bk_connect_opts *opts);

/* Makes a stream of an open file descriptor: a stream socket, a pipe, a terminal.  On success the
 * stream owns fd and closes it in the end; on failure fd is still yours and as it was.
 * fd becomes non-blocking for this process only: a pipe or terminal that others share (stdin!) is
 * opened anew under the same number; where that is not allowed, and for sockets, the mode of the
 * shared description changes and is restored by bk_stream_close.
 * Errors: -EINVAL for what cannot be waited for (regular files, /dev/null), -EBADF, -ENOMEM.
 * Does not suspend. */
BK_API int bk_stream_from_fd(bk_stream **out, int fd, const bk_stream_opts *opts);

/* ---- Reading ----
 *
 * Each call returns at once, without letting other tasks run, when what it promises has come
 * already; else it suspends until then.  (A loop that hands lines on without ever suspending calls
 * bk_yield now and then.)  When a call fails with -ECANCELED, no byte is lost: whatever came is
 * there for the next. */

/* Reads up to len bytes into buf: what there is, and at least one.
 * Returns the count; 0 at the end of the stream; or the connection's error (-ECONNRESET, ...). */
BK_API ssize_t bk_stream_read(bk_stream *stream, void *buf, size_t len);

/* Reads exactly len bytes into buf.
 * Returns 0; -BK_EINCOMPLETE when the stream ended first; or an error.  When it fails, the bytes
 * that came stay in the stream, for another read. */
BK_API int bk_stream_read_exactly(bk_stream *stream, void *buf, size_t len);

/* Reads up to and including the separator, which has 1 to 16 bytes.
 * *out: the bytes, separator included, inside the stream; valid until the next read call.
 * Returns 1; 0 at the end of the stream with nothing left; -BK_EINCOMPLETE at the end without a
 * separator (*out is what was left, now consumed); -BK_ELIMIT when the first read_limit bytes hold
 * no whole separator (nothing is consumed); or an error, nothing consumed. */
BK_API int bk_stream_read_until(bk_stream *stream, bk_span separator, bk_span *out);

/* The same with n separators (1 to 16): up to and including whichever ends first. */
BK_API int bk_stream_read_until_any(bk_stream *stream, const bk_span *separators, size_t n,
                                    bk_span *out);

/* Reads a line, without its "\n" or "\r\n"; a last line without one counts.
 * *line: inside the stream; valid until the next read call.
 * Returns 1; 0 at the end of the stream; -BK_ELIMIT for a line over read_limit, whose rest the next
 * bk_stream_read_line skips; or an error. */
BK_API int bk_stream_read_line(bk_stream *stream, bk_span *line);

/* Reads all that comes until the stream ends, into a message of its own.
 * limit: most bytes (BK_UNBOUNDED if you trust the peer).  out: NULL on entry, yours after
 * (bk_msg_free); an empty one when nothing came.
 * Returns 0; -BK_ELIMIT when more came than limit; -ENOMEM; or an error.  When it fails, the bytes
 * that came stay in the stream, for another read. */
BK_API int bk_stream_read_all(bk_stream *stream, size_t limit, bk_msg **out);

/* For parsers: shows what is buffered, once that is at least `want` bytes, and consumes nothing.
 * want: at most read_limit; 0 shows what is there already.
 * *out: all that is buffered; valid until the next read or consume call; may be changed in place.
 * Returns 1; 0 when the stream ended with fewer than `want` bytes (*out holds them); -EINVAL for a
 * want over read_limit; or an error. */
BK_API int bk_stream_peek(bk_stream *stream, size_t want, bk_span *out);

/* Drops the first len buffered bytes (all of them when there are fewer).  Never suspends. */
BK_API void bk_stream_consume(bk_stream *stream, size_t len);

/* ---- Writing ---- */

/* Writes all of data, which is yours again when the call returns.
 * The kernel gets what it takes at once; up to write_buffer bytes more are kept in the stream and
 * sent in the background; the call suspends only while there is more than that.
 * Returns 0, or the connection's error, which may be that of an earlier write.  -ECANCELED: part of
 * data may be sent, so close the stream; later writes fail with -EPIPE if it was. */
BK_API int bk_stream_write(bk_stream *stream, const void *data, size_t len);

/* Writes n pieces in order, as one write.  Returns as bk_stream_write. */
BK_API int bk_stream_writev(bk_stream *stream, const bk_span *pieces, size_t n);

/* Writes data if that needs no waiting: all of it, or nothing.  For who has many streams to write
 * to, and will not have a slow one delay the others.  Never suspends, deaf to cancels.
 * Returns 0; -EAGAIN when more than write_buffer would then be unsent (while nothing is unsent, a
 * piece of any length is taken); -EBUSY; or the connection's error. */
BK_API int bk_stream_try_write(bk_stream *stream, const void *data, size_t len);

typedef struct bk_sendfile_opts {
    bool no_fallback; /* -EOPNOTSUPP where the kernel cannot do it alone: TLS, odd file systems */
} bk_sendfile_opts;

/* Sends count bytes of the open file fd, from offset on; the kernel does, without a copy in the
 * process (sendfile(2)), and where it cannot, the file is read and written.  A file that is not in
 * memory yet is read on a thread of the pool.
 * offset: -1 for where the file's position is.  count: below zero for all up to the file's end.
 * fd: borrowed; a file that has a position.  That is behind the last byte sent afterwards, whatever
 * the result.
 * Suspends as bk_stream_write.  Returns how many bytes were sent, fewer than count when the file
 * ended; -ESPIPE for a pipe or a socket; an error of reading the file, after which the stream is
 * fine; -ECANCELED, likewise; or as bk_stream_write. */
BK_API int64_t bk_stream_sendfile(bk_stream *stream, int fd, int64_t offset, int64_t count,
                                  const bk_sendfile_opts *opts);

/* Suspends until at most a quarter of write_buffer is unsent: for a writer who would rather wait
 * early than have its data queue up.  Returns 0, -ECANCELED, or the connection's error. */
BK_API int bk_stream_drain(bk_stream *stream);

/* Suspends until the kernel has taken every byte written.  Otherwise as bk_stream_drain. */
BK_API int bk_stream_flush(bk_stream *stream);

/* Bytes written that the kernel has not taken yet. */
BK_API size_t bk_stream_unsent(const bk_stream *stream);

/* Flushes, then tells the peer that no more will come; it reads the end of the stream, and reading
 * from it goes on.  Returns 0, as bk_stream_flush, or -EOPNOTSUPP for what is not a socket: close
 * that instead. */
BK_API int bk_stream_write_eof(bk_stream *stream);

/* Closes *stream and sets it to NULL.  NULL is fine.
 * r: how the caller's work with it went.  r >= 0: suspends until what is unsent is out, deaf to
 * cancels, for 5 s at most; r < 0: drops it.  What is dropped the peer does not take for all there
 * was: it sees a TCP connection reset.
 * Returns r, or the first error of writing that made data be lost (-ETIMEDOUT after those 5 s).
 * And nothing is closed: -EBUSY, another task is inside a call on the stream; -BK_ENOTASK, with
 * something to flush, outside of tasks. */
BK_API int bk_stream_close(bk_stream **stream, int r);

/* ---- Ending it from elsewhere ----
 *
 * bk_stream_close is for whoever owns the stream.  These are for others, in any task of the loop,
 * also while the owner is inside a call; the stream remains its owner's to close. */

/* Asks for an end: from now on reading tells, after what has come already, of the end of the
 * stream, and new writes fail with -EPIPE.  What was written is still sent, and then the peer sees
 * the end too (over TLS when the owner closes the stream).  Never suspends. */
BK_API void bk_stream_hang_up(bk_stream *stream);

/* Ends the connection at once: drops what is unsent, resets a TCP connection.  Calls inside the
 * stream, and later ones, fail with -ECONNABORTED.  Never suspends. */
BK_API void bk_stream_abort(bk_stream *stream);

/* Writing makes no sense any more: the connection failed, or was ended by one of these two. */
BK_API bool bk_stream_is_closing(const bk_stream *stream);

/* ---- Facts ---- */

/* The addresses of the other end and of this one, as "127.0.0.1:52110"; "" for what has none.
 * Valid while the stream is. */
BK_API const char *bk_stream_peer(const bk_stream *stream);
BK_API const char *bk_stream_local(const bk_stream *stream);

/* The file descriptor.  It stays the stream's: do not read, write or close it. */
BK_API int bk_stream_fd(const bk_stream *stream);

BK_END_DECLS
#endif
