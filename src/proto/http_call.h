/* SPDX-License-Identifier: MIT
 * One request and its response, for the files of the HTTP client.
 *
 *   http_client.c   the public calls: time limits, retries, redirects
 *   http_call.c     one exchange on one connection: request out, head in
 *   http_reply.c    the response's body: framing, compression, limits
 *   http_pool.c, http_connect.c   connections */
#ifndef BECK_SRC_PROTO_HTTP_CALL_H
#define BECK_SRC_PROTO_HTTP_CALL_H

#include <beck/http_client.h>

#include "proto/http_body_read.h"
#include "proto/http_inflate.h"
#include "proto/http_pool.h"

#define BKI_HTTP_METHOD_MAX 32

/* A whole head is looked at in the stream's buffer. */
#define BKI_HTTP_STREAM_LIMIT ((size_t)BKI_HTTP_MAX_LINE + BKI_HTTP_MAX_BLOCK + 1)

/* What is to be sent; borrowed until the head is in. */
struct bki_http_request {
    bk_span body; /* all of it, unless streamed */
    const bk_http_headers *headers;
    const char *user, *password, *bearer;
    bool foreign;  /* after a redirect to another origin: no credentials go with it */
    bool bodiless; /* after a redirect that made it a GET: nothing about a body goes with it */
};

struct bk_http_call {
    struct bk_http_client *client;
    struct bk_http_client *own_client; /* made for this call alone; NULL: the caller's is used */
    struct bki_http_conn *conn;        /* NULL: none, or handed out */
    struct bki_endpoint target, proxy;
    bool by_proxy;

    /* The request. */
    char method[BKI_HTTP_METHOD_MAX];
    bool streamed;    /* its body comes by bk_http_call_write */
    int64_t body_len; /* -1: chunked */
    int64_t body_sent;
    bool body_done;  /* all of it went out, or no more is wanted */
    bool broken;     /* a write failed: the connection ends here */
    bool expect;     /* wait for "100 Continue" */
    bool answered;   /* the response's head is in */
    bool own_coding; /* the body is the caller's as it comes */
    bool ranged;     /* part of a body is asked for, which cannot be decoded alone */
    bool upgrade;    /* the caller asks for another protocol */
    bk_duration timeout, stall_timeout;
    int max_redirects;
    bool redirect_to_http;
    size_t max_body;

    /* The response. */
    struct bki_http_head head;
    struct bk_http_headers headers;
    struct bki_http_reader reader;
    enum bki_http_body kind;
    struct bki_inflate *inflate; /* NULL: the body is as it comes */
    int body_error;              /* told to every later read */
};

/* Sends the request and receives the response's head, on a connection from the pool.
 * *stale: the connection had been used before and ended without a byte of an answer. */
int bki_http_exchange(struct bk_http_call *call, const struct bki_http_request *request, bool fresh,
                      bool *stale);

/* The two halves of it, for a body that is streamed. */
int bki_http_begin(struct bk_http_call *call, const struct bki_http_request *request, bool fresh);
int bki_http_end_body(struct bk_http_call *call);
int bki_http_receive_head(struct bk_http_call *call, bool *stale);

/* Gives the server a moment to refuse before the body is sent (RFC 9110 10.1.1). */
int bki_http_wait_for_continue(struct bk_http_call *call, bool *stale);

/* Forgets the response, and gives its connection back: for a redirect, and at the end. */
void bki_http_reset(struct bk_http_call *call);

/* Prepares to read the body of the response that has come. */
int bki_http_reply_begin(struct bk_http_call *call);

#endif
