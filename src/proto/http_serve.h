/* SPDX-License-Identifier: MIT
 * An HTTP server's inside, for its files: http_serve.c (connections), http_req.c (requests),
 * http_answer.c (replies), and those that reply in ways of their own (sse_send.c, WebSockets).
 *
 * A bk_http_req is one for each connection, and used again for each of its requests; what it has
 * allocated is kept as long as it is small.
 *
 * What is to be sent is gathered in `pending`.  It goes out in one write at the end of a reply,
 * when it has grown large, or when the task gives way: `flush_call` is then next in the ready
 * queue.  At the end of a reply behind which the next request has come already, it stays: so the
 * replies to pipelined requests leave together. */
#ifndef BECK_SRC_PROTO_HTTP_SERVE_H
#define BECK_SRC_PROTO_HTTP_SERVE_H

#include <beck/http_server.h>

#include "net/stream.h"
#include "proto/http_body_read.h"
#include "proto/http_headers.h"
#include "proto/http_write.h"
#include "rt/intake.h"

/* Holds a client to a pace: what has moved, and how long it was waited for. */
struct bki_http_pace {
    uint64_t bytes;
    int64_t waited_ns;
};

enum bki_http_reply_state { BKI_REPLY_NONE, BKI_REPLY_STARTED, BKI_REPLY_ENDED };

struct bki_http_server {
    bk_http_fn *handler;
    void *ctx;
    bk_http_serve_opts opts; /* with the defaults filled in */
    struct bki_list conns;
    bool draining;
    int64_t date_second; /* whose text is: */
    char date[BKI_HTTP_DATE_SIZE];
};

struct bk_http_req {
    struct bki_http_server *server;
    struct bki_list link;
    bk_task *task;
    bk_stream *stream; /* NULL once an upgrade has taken it */
    bk_stream **slot;  /* where the connection's task has it */
    bool waiting;      /* in bki_http_wait_left */
    bool idle;         /* nothing of a next request has come: may be hung up at any time */
    bool close;        /* no further request */
    bool taken;        /* its stream belongs to another protocol */
    bool is_head;      /* the method is HEAD: a reply without a body */

    /* The request. */
    struct bki_http_head head;
    struct bk_http_headers in;
    const char *path, *host; /* NULL: not asked for yet */
    const char *pairs;       /* the query, decoded: name NUL value NUL name ... */
    size_t pairs_len;
    struct bki_http_reader body;
    struct bki_http_pace body_pace;
    size_t max_body, n_body;  /* n_body: read so far */
    struct bki_intake intake; /* while bk_http_req_body reads */
    bool dismissed;           /* others wait for what that holds */
    bool expects;             /* is waiting for "100 Continue" */
    int fault_status;         /* what answers a fault of the client's, such as a broken body; 0 */

    /* The reply. */
    struct bk_http_headers out, out_trailers;
    enum bki_http_reply_state reply;
    enum bki_http_body reply_kind;
    size_t reply_at; /* where in `pending` it begins */
    bool gone;       /* some of it has left */
    bool no_body;    /* the body is counted, and not sent */
    bool sending;    /* a task waits with part of a piece still to go */
    bool broken;     /* half of it went out, and no more can */
    int64_t left;    /* of BKI_HTTP_BODY_LENGTH */
    struct bki_http_pace reply_pace;
    uint64_t n_sent; /* bytes given to the stream on this connection */
    struct bki_buf pending;
    struct bki_call flush_call;
    bool flush_queued;
};

/* ---- http_serve.c ---- */

void bki_http_server_init(struct bki_http_server *server, bk_http_fn *handler, void *ctx,
                          const bk_http_serve_opts *opts);

/* Serves a connection from its first request to its end.  0, or -ECANCELED when it is to be
 * dropped: cancelled, or what went wrong has been told. */
int bki_http_serve_stream(struct bki_http_server *server, bk_stream **stream);

/* ---- http_req.c ---- */

/* Puts the request whose head is h into req. */
int bki_http_req_begin(struct bk_http_req *req, struct bki_http_head *h);

/* How long the client may still take, by its pace; zero or less: it is too slow. */
bk_duration bki_http_pace_left(const struct bki_http_server *server,
                               const struct bki_http_pace *pace);

/* Reads what the handler has left of a body and drops it, up to `most` bytes.  Returns 1 when the
 * body is over; 0 when there is more; or an error. */
int bki_http_req_skip_body(struct bk_http_req *req, size_t most);

/* Suspends until the client has ended the connection, or the server is being stopped.  0 or
 * -ECANCELED. */
int bki_http_wait_left(struct bk_http_req *req);

/* ---- http_answer.c ---- */

void bki_http_answer_init(struct bk_http_req *req);
/* Forgets the last reply. */
void bki_http_answer_begin(struct bk_http_req *req);
/* Waits for flush_call to be out of the ready queue, and frees what the reply has. */
void bki_http_answer_release(struct bk_http_req *req);

/* Answers in words of the server's own; headers set before go along.  Nothing may have been
 * answered yet. */
int bki_http_answer_error(struct bk_http_req *req, int status, const char *what);

/* The same for what is the client's fault: a handler that fails with it is not reported. */
int bki_http_answer_fault(struct bk_http_req *req, int status, const char *what);

/* Forgets a reply of which nothing has left yet, so that another can be given. */
void bki_http_answer_take_back(struct bk_http_req *req);

/* Sends "100 Continue" when the client waits for it and may be told. */
int bki_http_answer_continue(struct bk_http_req *req);

/* bk_http_reply_write if it needs no waiting, all or nothing.  Never suspends, deaf to cancels;
 * also outside of tasks.  -EAGAIN when the client is behind, or another task's piece is on its way.
 */
int bki_http_try_write(struct bk_http_req *req, bk_span data);

/* 0 when a reply may be given. */
int bki_http_check_unanswered(const struct bk_http_req *req);

/* The stream belongs to another protocol from now on; a reply of its own has been sent on it. */
void bki_http_hand_over(struct bk_http_req *req);

/* Sends what is pending.  Suspends while the client does not take it, within its pace. */
int bki_http_flush(struct bk_http_req *req);

/* The same without suspending, whatever is unsent already. */
int bki_http_push(struct bk_http_req *req);

#endif
