/* SPDX-License-Identifier: MIT
 * Finding out that a peer has gone silent: a ping now and then, whose pong is due.
 *
 * Pongs are seen by the receiving task, so a deadline means something only while one waits for
 * bytes and there are none.  A peer in the middle of a long frame cannot answer before its end.
 *
 * The timer lies in the connection, and what it does needs no task: an idle connection costs one
 * timer.  It also sees to it that a receiver which has heard nothing since the last time holds no
 * more of its stack than it stands on. */
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include "proto/ws_stream.h"

#define DEFAULT_SECONDS 20

enum { INTERNAL_ERROR = 1011 };

static void ping_due(struct bki_timer *timer);

/* Cannot fail once the timer has fired: the heap has had a place for it. */
static int arm(struct bk_ws *ws, int64_t from_ns, bk_duration d)
{
    bki_timer_stop(ws->stream->loop, &ws->ping.timer);
    bk_time when = bk_time_add((bk_time){from_ns}, d);
    ws->ping.heard = false;
    return bki_timer_start(ws->stream->loop, &ws->ping.timer, when.ns, ping_due);
}

static bool is_over(const struct bk_ws *ws)
{
    return ws->ended || ws->conn.sent_close || ws->conn.got_close ||
           bk_stream_is_closing(ws->stream);
}

static bool forever(bk_duration d)
{
    return d.ns == BK_FOREVER_NS;
}

/* ---- Sending ---- */

void bki_ws_ping_push(struct bk_ws *ws)
{
    char frame[BKI_WS_CONTROL_FRAME_MAX];
    ws->ping.owed = false;
    ssize_t n = bki_ws_control(&ws->conn, BKI_WS_OP_PING,
                               bk_span_of(&ws->ping.number, sizeof ws->ping.number), frame);
    if (n > 0)
        bki_stream_push(ws->stream, frame, (size_t)n);
}

static void send_ping(struct bk_ws *ws, int64_t now)
{
    if (ws->receiver && !ws->ping.heard)
        bki_task_trim(ws->receiver);
    ws->ping.number++;
    ws->ping.sent_ns = now;
    ws->ping.unanswered = !forever(ws->ping.timeout);
    if (ws->sending)
        ws->ping.owed = true;
    else
        bki_ws_ping_push(ws);
    arm(ws, now, ws->ping.unanswered ? ws->ping.timeout : ws->ping.interval);
}

/* ---- Judging ---- */

bool bki_ws_has_input(const struct bk_ws *ws)
{
    int n = 0;
    return bki_stream_buffered(ws->stream) > 0 ||
           (ioctl(ws->stream->fd.fd, FIONREAD, &n) == 0 && n > 0);
}

static bool may_still_answer(const struct bk_ws *ws)
{
    return !ws->receiver || bki_ws_has_input(ws) ||
           (ws->ping.heard && bki_ws_frame_left(&ws->conn) > 0);
}

static void ping_due(struct bki_timer *timer)
{
    struct bk_ws *ws = bki_container(timer, struct bk_ws, ping.timer);
    int64_t now = bki_clock_ns(ws->stream->loop);
    if (is_over(ws))
        return;
    if (!ws->ping.unanswered)
        send_ping(ws, now);
    else if (may_still_answer(ws))
        arm(ws, now, ws->ping.timeout);
    else
        bki_ws_dismiss(ws, INTERNAL_ERROR, -ETIMEDOUT);
}

void bki_ws_ping_answered(struct bk_ws *ws, bk_span payload)
{
    bk_span number = bk_span_of(&ws->ping.number, sizeof ws->ping.number);
    if (!ws->ping.unanswered || !bk_span_equal(payload, number))
        return;
    ws->ping.unanswered = false;
    arm(ws, ws->ping.sent_ns, ws->ping.interval);
}

/* ---- Beginning and end ---- */

/* The kernel finds out about a peer that takes nothing, also while no task receives. */
static void limit_silence(struct bk_ws *ws)
{
    int64_t ms = bk_time_add((bk_time){ws->ping.interval.ns}, ws->ping.timeout).ns / 1000000;
    unsigned limit = ms < INT32_MAX ? (unsigned)ms : INT32_MAX;
    setsockopt(ws->stream->fd.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit);
}

int bki_ws_ping_start(struct bk_ws *ws, const bk_ws_opts *opts)
{
    ws->ping.interval = opts->ping_interval.ns ? opts->ping_interval : bk_seconds(DEFAULT_SECONDS);
    ws->ping.timeout = opts->ping_timeout.ns ? opts->ping_timeout : bk_seconds(DEFAULT_SECONDS);
    if (forever(ws->ping.interval))
        return 0;
    if (!forever(ws->ping.timeout))
        limit_silence(ws);
    return arm(ws, bki_clock_ns(ws->stream->loop), ws->ping.interval);
}

void bki_ws_ping_stop(struct bk_ws *ws)
{
    bki_timer_stop(ws->stream->loop, &ws->ping.timer);
}
