/* SPDX-License-Identifier: MIT
 * A stream's end: closed by its owner, or hung up and aborted by others. */
#include <sys/socket.h>

#include "net/stream.h"

#define CLOSE_FLUSH_SECONDS 5

/* ---- From elsewhere ---- */

void bki_stream_end_hung_up(struct bk_stream *s)
{
    if (s->filter || s->writing || s->write_closed || bki_stream_unsent(s) > 0)
        return;
    s->write_closed = true;
    if (s->fd.is_socket)
        shutdown(s->fd.fd, SHUT_WR);
}

void bki_stream_interrupt(struct bk_stream *s)
{
    if (s->fd.reader)
        s->loop->backend->cancel(s->loop, s->fd.reader);
}

void bk_stream_hang_up(bk_stream *s)
{
    if (s->hung_up || s->aborted)
        return;
    s->hung_up = true;
    bki_stream_interrupt(s);
    bki_stream_end_hung_up(s);
}

/* Leaves a TCP peer no doubt that this is not the orderly end. */
static void reset_connection(int fd)
{
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    connect(fd, &none, sizeof none); /* TCP alone knows it */
    shutdown(fd, SHUT_RDWR);
}

void bk_stream_abort(bk_stream *s)
{
    if (s->aborted)
        return;
    bk_stream_peer(s); /* while it has one: errors name it */
    s->aborted = true;
    if (!s->read_error)
        s->read_error = -ECONNABORTED;
    bki_stream_interrupt(s);
    bki_stream_fail_write(s, -ECONNABORTED);
    if (s->fd.is_socket)
        reset_connection(s->fd.fd);
}

bool bk_stream_is_closing(const bk_stream *s)
{
    return s->hung_up || s->read_error || s->write_error;
}

/* ---- By its owner ---- */

static int flush_for_close(void *ctx)
{
    struct bk_stream *s = ctx;
    bk_timeout *limit = NULL;
    int r = bk_timeout_open(&limit, bk_seconds(CLOSE_FLUSH_SECONDS));
    if (r < 0)
        return r;
    if (s->filter && !s->write_closed)
        r = s->filter->eof(s);
    if (r >= 0)
        r = bki_stream_wait_unsent(s, 0);
    r = bk_timeout_close(&limit, r);
    if (r >= 0 && s->filter)
        s->filter->linger(s);
    if (r == -ETIMEDOUT)
        bk_fail(r, "close %s: %zu bytes were not taken within %d s", bk_stream_peer(s),
                bki_stream_unsent(s), CLOSE_FLUSH_SECONDS);
    return r;
}

static void reset_on_close(int fd)
{
    const struct linger none = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

bool bki_stream_in_use(const struct bk_stream *s)
{
    return s->reading || s->writing || !bki_list_empty(&s->write_waiters);
}

void bki_stream_goodbye(struct bk_stream *s)
{
    if (s->filter && !s->write_closed && s->write_error == 0 && !bki_stream_in_use(s))
        (void)s->filter->eof(s);
}

static bool must_flush(const struct bk_stream *s)
{
    return s->write_error == 0 && (s->filter || bki_stream_unsent(s) > 0);
}

int bki_stream_finish(struct bk_stream *s, int r)
{
    if (r < 0)
        return r;
    int flushed = s->write_error;
    if (must_flush(s))
        flushed = bk_shield(flush_for_close, s);
    return flushed < 0 ? flushed : r;
}

int bk_stream_close(bk_stream **stream, int r)
{
    struct bk_stream *s = *stream;
    if (!s)
        return r;
    if (bki_stream_in_use(s))
        return bk_fail(-EBUSY, "close of a stream that another task is using");
    if (r >= 0 && must_flush(s) && bki_check_task() < 0)
        return -BK_ENOTASK;
    r = bki_stream_finish(s, r);
    if (bki_stream_unsent(s) > 0)
        reset_on_close(s->fd.fd);
    if (bki_out_stop(s))
        bki_stream_free(s);
    *stream = NULL;
    return r;
}
