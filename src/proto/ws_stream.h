/* SPDX-License-Identifier: MIT
 * A WebSocket connection on a stream: what its files share.
 *
 * One task receives; any number send, each message whole, in the order they asked.  The receiver
 * never waits for a sender, since that one may be waiting for a peer that waits for us to receive:
 * what it owes in answer (pong, close) goes out at once when nobody is sending, and else is left
 * here for the sender to send next.  Of several pongs owed, the last is enough (RFC 6455 5.5.3). */
#ifndef BECK_SRC_PROTO_WS_STREAM_H
#define BECK_SRC_PROTO_WS_STREAM_H

#include <beck/ws.h>

#include "base/alloc.h"
#include "net/stream.h"
#include "proto/http_write.h"
#include "proto/ws_conn.h"
#include "proto/ws_deflate.h"
#include "proto/ws_offer.h"
#include "rt/intake.h"

/* permessage-deflate, once it is agreed. */
struct bki_ws_zip {
    struct bki_ws_terms terms;
    uint8_t level, mem_level;
    size_t min_size;
    struct bki_ws_deflater *deflater; /* NULL: nothing to remember */
    struct bki_ws_inflater *inflater;
    size_t contexts; /* bytes, as counted in the loop's intake.contexts */
    /* Of the message being received: */
    bk_span rest;   /* what has come and is to be inflated next: in the in-buffer, or kept */
    bool more;      /* there may be such, or something still inside the inflater */
    bool rest_last; /* the message ends with it */
    bool keeping;   /* it comes in pieces, and is inflated when it is whole */
    uint8_t kind;
    char *kept; /* the pieces */
    size_t kept_len, kept_room;
    size_t packed; /* bytes of the message, once it is whole */
    char *piece;   /* where a part is inflated to and handed out from; NULL: not in use */
};

/* A frame that several connections send. */
struct bki_ws_shared {
    unsigned refs;
    bool zipped;
    size_t len;
    char bytes[];
};

static inline void bki_ws_shared_unref(struct bki_ws_shared *frame)
{
    if (frame && --frame->refs == 0)
        bki_free(frame);
}

/* The frames that wait for a connection to take them.  Once it has the right to send, nobody else
 * does until they are gone: messages keep their order. */
struct bki_ws_outbox {
    struct bki_list frames;
    size_t n;
    size_t quota; /* frames that go before the first task in the line */
    bool has_turn;
};

enum bki_ws_receiving {
    BKI_WS_WHOLE, /* between messages, or in one that comes whole */
    BKI_WS_CUT,   /* a compressed one has come, and is not inflated to its end */
    BKI_WS_PARTS, /* part of a message has been handed out */
};

struct bk_ws {
    bk_stream *stream;
    struct bki_ws_zip *zip; /* NULL: no compression */
    char *target;           /* of the request; servers */
    char *protocol;         /* agreed; NULL: none */
    char *extensions;       /* likewise */

    const bk_task *receiver; /* who is in a receive call */
    uint8_t mode;            /* enum bki_ws_receiving */
    size_t worked;           /* bytes received, sent or computed on since it gave way */
    bool ended;              /* nothing more will be received: */
    int end;                 /* 0 the peer closed, else the error */
    bk_msg *part;            /* the message in progress, with room to spare */
    size_t part_len;
    struct bki_intake intake; /* what it and zip->kept may grow to */
    bk_duration close_timeout;
    bk_time close_deadline; /* for the peer's close frame, once ours went out */

    bool sending;    /* a task holds the right to send a frame */
    bool send_parts; /* a message is being sent in parts: */
    bool parts_zipped;
    const bk_task *parts_task; /* who began it */
    uint8_t owed;              /* bytes of conn.reply that are still to be sent */
    struct bki_list send_line;
    struct bki_list parts_line; /* messages that wait for the last part of another */
    struct bki_utf8 part_utf8;

    struct bki_ws_outbox *outbox; /* NULL: empty */
    struct bki_list members;      /* its places in hubs */

    struct {
        struct bki_timer timer;
        bk_duration interval, timeout;
        int64_t sent_ns; /* the last one */
        uint32_t number; /* of it: its payload */
        bool owed;       /* it is still to be sent */
        bool unanswered;
        bool heard; /* something has come since the timer was set */
    } ping;
    int given_up; /* why we ended the stream ourselves; 0: we did not */

    struct bki_ws_conn conn;
    struct bki_ws_keys keys[]; /* one, of a client */
};

/* ---- Opening (ws_stream.c, ws_stream_open.c, ws_accept.c) ---- */

/* Makes a connection, still without a stream.  -ENOMEM, -EINVAL. */
int bki_ws_new(struct bk_ws **out, enum bki_ws_role role, const bk_ws_opts *opts);

/* The handshake is done: gives it its stream (taken on success), and its first ping is due in a
 * while.  -ENOMEM. */
int bki_ws_start(struct bk_ws *ws, bk_stream **stream, const bk_ws_opts *opts);

/* Closes the stream, if there is one, as bk_stream_close(.., r), and frees everything.  NULL is
 * fine.  Returns what that returned, else r. */
int bki_ws_free(struct bk_ws *ws, int r);

bk_duration bki_ws_timeout_of(const bk_ws_opts *opts);

/* Sends what write(w, what) makes. */
typedef ssize_t bki_ws_write_fn(struct bki_http_writer *w, const void *what);
int bki_ws_send_head(bk_stream *s, bki_ws_write_fn *write, const void *what);

int bki_ws_keep_text(char **out, bk_span text);
int bki_ws_begin_compression(struct bk_ws *ws, const struct bki_ws_terms *agreed,
                             const bk_ws_opts *opts);

/* ---- Receiving (ws_stream_recv.c) ---- */

/* The connection has ended with r; returns r. */
int bki_ws_end(struct bk_ws *ws, int r);

/* Ends it for a reason of ours, having told the peer. */
int bki_ws_end_failed(struct bk_ws *ws, unsigned code, int r, const char *detail);

/* The same, when bytes that have left the stream could not be kept: -ENOMEM. */
int bki_ws_end_no_memory(struct bk_ws *ws);

/* Nothing more will come: 0 for the end of the stream, or its error.  Returns how the connection
 * has ended; -ECANCELED and -ENOMEM are no end. */
int bki_ws_input_ended(struct bk_ws *ws, int r);

/* Where the rest of a long frame may be read to; room 0: nowhere. */
struct bki_ws_place {
    char *at;
    size_t room;
};

/* The next piece of a message's payload; control frames are dealt with on the way.  Between
 * bki_ws_begin_receive and bki_ws_end_receive.  1: *ev is a BKI_WS_DATA event; or how the
 * connection ended; or -ECANCELED, -ENOMEM. */
int bki_ws_next_data(struct bk_ws *ws, struct bki_ws_place place, struct bki_ws_event *ev);

/* Runs body(ws, out) as the one receiver, within what is left of close_timeout after our close
 * frame. */
typedef int bki_ws_receive_fn(struct bk_ws *ws, void *out);
int bki_ws_receive(struct bk_ws *ws, bki_ws_receive_fn *body, void *out);

/* What the receiver owes the peer, in conn.reply: sends it, or leaves it to who is sending. */
void bki_ws_reply(struct bk_ws *ws, bk_span reply);

enum { BKI_WS_CONTINUE = 2 }; /* besides a receive call's results: nothing to return yet */

/* ---- Receiving whole messages (ws_stream_whole.c) ---- */

/* For bki_ws_receive; out: a bk_msg **. */
bki_ws_receive_fn bki_ws_receive_whole;

/* Drops what there is of the message in progress; and all that receiving needs. */
void bki_ws_drop_part(struct bk_ws *ws);
void bki_ws_drop_begun(struct bk_ws *ws);

/* How large to make the place for what has outgrown this one: twice as large, but not larger than
 * what may be held, nor than the byte that shows that the message is over max_message. */
size_t bki_ws_grown(const struct bk_ws *ws, size_t room);

/* The connection's intake.let_go. */
void bki_ws_let_go(struct bki_intake *intake);

/* ---- Sending (ws_stream_send.c) ---- */

/* The right to send one frame.  0, -ECANCELED. */
int bki_ws_begin_send(struct bk_ws *ws);
void bki_ws_end_send(struct bk_ws *ws);

/* Begins the close handshake.  Suspends for its turn.  0, -BK_ECLOSED, -EINVAL, -ECANCELED, or the
 * connection's error. */
int bki_ws_begin_close(struct bk_ws *ws, unsigned code, bk_span reason);

/* Whether it is UTF-8.  A long one takes its time: gives way now and then. */
bool bki_ws_is_text(bk_span text);

/* A data frame to be sent. */
struct bki_ws_out {
    bk_span payload;
    uint8_t kind, rsv;
    bool first, last;
    bool scratch; /* the payload may be overwritten */
};

/* Sends it.  *taken: how many bytes went out, also of a frame that failed; 0: as if never tried. */
int bki_ws_send_frame(struct bk_ws *ws, const struct bki_ws_out *frame, size_t *taken);

/* Sends what the connection owes: a reply, a ping.  By whoever has the right to send. */
void bki_ws_push_owed(struct bk_ws *ws);

/* ---- Shared frames (ws_stream_outbox.c) ---- */

enum bki_ws_given { BKI_WS_GIVEN, BKI_WS_GONE, BKI_WS_FULL };

/* Gives the connection a frame to send; never suspends.  limit: of frames that may wait.  One of
 * the above, or -ENOMEM. */
int bki_ws_outbox_give(struct bk_ws *ws, struct bki_ws_shared *frame, size_t limit);

/* Somebody's turn has ended: whether the outbox takes the next. */
bool bki_ws_outbox_turn(struct bk_ws *ws);

/* Drops what waits, and gives up the turn. */
void bki_ws_outbox_clear(struct bk_ws *ws);

/* The next sender's turn. */
void bki_ws_next_sender(struct bk_ws *ws);

/* Cuts the connection off: calls inside it, and later ones, fail with error. */
void bki_ws_give_up(struct bk_ws *ws, int error);

/* The same, having told the peer why if the kernel takes that at once.  Outside tasks. */
void bki_ws_dismiss(struct bk_ws *ws, unsigned code, int error);

/* Such an error in words. */
const char *bki_ws_why_given_up(int error);

/* The last words are out.  Closing a socket with input unread resets it, and the peer may lose them
 * to that: ends only our side, and gives the peer a moment to end its own. */
void bki_ws_linger(bk_stream *s);

/* Takes the connection out of every hub; tells those that wait for it that there is room
 * (ws_hub.c). */
void bki_ws_leave_hubs(struct bk_ws *ws);
void bki_ws_tell_hubs(struct bk_ws *ws);

/* ---- Compression (ws_stream_zip.c, ws_stream_unzip.c) ---- */

/* A message beyond this size is long: it is compressed, or inflated further, in the loop's turn
 * (turn.h).  So is one of that many compressed bytes, from the start. */
#define BKI_WS_LONG ((size_t)64 * 1024)
#define BKI_WS_LONG_PACKED ((size_t)16 * 1024)

#define BKI_WS_DEFLATE_WEIGHT 4 /* compressing takes that much longer than inflating */

#define BKI_WS_SEND_BITS 12 /* 38 KiB for a context instead of 262, and most of the gain */
#define BKI_WS_LEVEL 6
#define BKI_WS_MEM_LEVEL 5

/* 0, or -EINVAL for numbers out of range. */
int bki_ws_zip_check(const bk_ws_deflate *opts);

int bki_ws_zip_new(struct bki_ws_zip **out, const bk_ws_deflate *opts,
                   const struct bki_ws_terms *agreed);
void bki_ws_zip_free(struct bki_ws_zip **zip);

/* What opts ask for, as terms. */
struct bki_ws_terms bki_ws_zip_wish(const bk_ws_deflate *opts);

/* When there are many connections: a server's wish that each message is compressed by itself, so
 * that nothing is held between messages. */
void bki_ws_zip_spare(struct bki_ws_terms *wish);

/* Takes a compressed piece that has come, to be inflated while zip->more.  whole: not before the
 * message is whole; what has come of it is kept. */
int bki_ws_zip_take(struct bk_ws *ws, const struct bki_ws_event *ev, bool whole);

/* What was kept so far is to be inflated now. */
void bki_ws_zip_use_kept(struct bki_ws_zip *zip);

/* Inflates a step of what was taken to out[0..room), checks what comes out, and ends the connection
 * when something is wrong with it.  Gives way now and then.
 * Returns 0: *made bytes have come out, and there may be more to come (zip->more); or an error. */
int bki_ws_zip_inflate(struct bk_ws *ws, char *out, size_t room, size_t *made);

/* Inflates the rest without keeping it, to see whether the message would be over max_message.
 * Returns 0, or how the connection has ended. */
int bki_ws_zip_measure(struct bk_ws *ws);

/* Makes it as if nothing had been inflated of a message that began with a new inflater; message is
 * what zip->rest was then. */
void bki_ws_zip_rewind(struct bk_ws *ws, bk_span message);

/* Forgets what was kept. */
void bki_ws_zip_drop(struct bki_ws_zip *zip);

/* Sends a part of a message compressed, in one frame or more.  Otherwise as bki_ws_send_frame; when
 * it fails and the part was not the message's first, the connection is broken. */
int bki_ws_zip_send(struct bk_ws *ws, const struct bki_ws_out *part, size_t *taken);

/* ---- Pings (ws_stream_ping.c) ---- */

int bki_ws_ping_start(struct bk_ws *ws, const bk_ws_opts *opts);
void bki_ws_ping_stop(struct bk_ws *ws);
void bki_ws_ping_answered(struct bk_ws *ws, bk_span payload);

/* Something has come that was not looked at yet. */
bool bki_ws_has_input(const struct bk_ws *ws);

/* Sends the ping that could not go out when it was due; by whoever has the right to send. */
void bki_ws_ping_push(struct bk_ws *ws);

#endif
