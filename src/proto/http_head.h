/* SPDX-License-Identifier: MIT
 * The head of an HTTP/1.x message, request or response: bytes in, offsets out (RFC 9110, RFC 9112).
 *
 * The parser owns no memory and does no I/O.  The caller keeps the bytes of the head in one
 * contiguous buffer, which may grow and move between calls, and calls bki_http_feed with the whole
 * of it; the parser remembers how far it came, so feeding byte by byte costs the same as feeding at
 * once.  Everything found is kept as an offset: a finished head may be moved with its bytes (set
 * .base).
 *
 * Where leniency would let two parties see different messages, it is strict:
 *   - a CR is only ever part of CRLF; a line ended by a bare LF is refused in requests and taken in
 *     responses, as RFC 9112 2.2 allows, because old servers still send it;
 *   - no folded lines but in responses, where they count as blanks (RFC 9112 5.2);
 *   - no white space before the colon, no control characters in values;
 *   - one CRLF before a request is skipped, a second one is refused;
 *   - Host once in a 1.1 request, at most once in 1.0; Content-Length with Transfer-Encoding is
 * refused, so are two lengths that differ, a Transfer-Encoding in 1.0, chunked twice, and a request
 * whose last coding is not chunked;
 *   - codings besides chunked are refused, in a request with 501; no response may have them, since
 * nobody here sends TE;
 *   - HTTP/1.2 to 1.9 are read as 1.1 (RFC 9110 2.5); any other major version is refused with 505.
 */
#ifndef BECK_SRC_PROTO_HTTP_HEAD_H
#define BECK_SRC_PROTO_HTTP_HEAD_H

#include <beck/base.h>

/* X(name, result, status to answer a request with, text).  A broken response has no answer; 502 is
 * what a gateway would tell its own client. */
#define BKI_HTTP_ERRORS(X)                                                                         \
    X(OK, 0, 200, "no error")                                                                      \
    X(EMPTY_LINE, BK_EPROTO, 400, "more than one empty line before the start line")                \
    X(CONTROL, BK_EPROTO, 400, "a control character in the head")                                  \
    X(BARE_CR, BK_EPROTO, 400, "a carriage return without a line feed")                            \
    X(BARE_LF, BK_EPROTO, 400, "a line ended by a bare line feed")                                 \
    X(METHOD, BK_EPROTO, 400, "the method is not a token")                                         \
    X(TARGET, BK_EPROTO, 400, "the request target is malformed")                                   \
    X(TARGET_FORM, BK_EPROTO, 400, "this form of request target does not fit the method")          \
    X(REQUEST_LINE, BK_EPROTO, 400, "the request line is not method, target, version")             \
    X(VERSION, BK_EPROTO, 400, "the HTTP version is malformed")                                    \
    X(VERSION_MAJOR, BK_EPROTO, 505, "the HTTP version is not 1.x")                                \
    X(STATUS_LINE, BK_EPROTO, 400, "the status line is malformed")                                 \
    X(FOLDED, BK_EPROTO, 400, "a header line starts with white space")                             \
    X(NAME, BK_EPROTO, 400, "a header name is not a token directly before its colon")              \
    X(NO_HOST, BK_EPROTO, 400, "an HTTP/1.1 request without Host")                                 \
    X(HOST_TWICE, BK_EPROTO, 400, "Host is given more than once")                                  \
    X(HOST, BK_EPROTO, 400, "Host is malformed")                                                   \
    X(LENGTH, BK_EPROTO, 400, "Content-Length is not a number below 2^63")                         \
    X(LENGTH_DIFFERS, BK_EPROTO, 400, "two Content-Length values differ")                          \
    X(LENGTH_AND_CODING, BK_EPROTO, 400, "both Content-Length and Transfer-Encoding")              \
    X(CODING, BK_EPROTO, 400, "Transfer-Encoding is malformed")                                    \
    X(CODING_1_0, BK_EPROTO, 400, "Transfer-Encoding in an HTTP/1.0 message")                      \
    X(NOT_CHUNKED, BK_EPROTO, 400, "chunked is not the last transfer coding of a request")         \
    X(CODING_UNKNOWN, BK_EPROTO, 501, "a transfer coding other than chunked")                      \
    X(CHUNK_SIZE, BK_EPROTO, 400, "a chunk's size is not a hexadecimal number below 2^63")         \
    X(CHUNK_EXT, BK_EPROTO, 400, "a chunk extension is malformed")                                 \
    X(CHUNK_END, BK_EPROTO, 400, "a chunk does not end where its size says")                       \
    X(CHUNK_EXT_LIMIT, BK_ELIMIT, 400, "chunk extensions are over their limit")                    \
    X(LINE_LIMIT, BK_ELIMIT, 414, "the request line is over its limit")                            \
    X(STATUS_LINE_LIMIT, BK_ELIMIT, 400, "the status line is over its limit")                      \
    X(FIELDS_LIMIT, BK_ELIMIT, 431, "more header fields than the limit")                           \
    X(BLOCK_LIMIT, BK_ELIMIT, 431, "the header block is over its limit")

#define BKI_HTTP_ERROR_ENUM(name, result, status, text) BKI_HTTP_E_##name,
enum bki_http_error { BKI_HTTP_ERRORS(BKI_HTTP_ERROR_ENUM) BKI_HTTP_ERROR_COUNT };
#undef BKI_HTTP_ERROR_ENUM

#define BKI_HTTP_MAX_LINE 8192u
#define BKI_HTTP_MAX_BLOCK 65536u
#define BKI_HTTP_MAX_FIELDS 100u

/* Zero takes the default above.  Values beyond 1 GiB count as 1 GiB. */
struct bki_http_limits {
    size_t max_line;  /* bytes of the start line with its line end: 8 KiB */
    size_t max_block; /* bytes of all header lines with their ends and the empty one: 64 KiB */
};

/* BKI_HTTP_TRAILERS reads the header lines behind a chunked body: no start line, and none of them
 * says anything about framing (RFC 9110 6.5.1). */
enum bki_http_kind { BKI_HTTP_REQUEST, BKI_HTTP_RESPONSE, BKI_HTTP_TRAILERS };

/* RFC 9112 3.2. */
enum bki_http_form { BKI_HTTP_ORIGIN, BKI_HTTP_ABSOLUTE, BKI_HTTP_AUTHORITY, BKI_HTTP_ASTERISK };

/* Bytes [at, at+len) of the head. */
struct bki_range {
    uint32_t at, len;
};

struct bki_http_field {
    struct bki_range name, value; /* the value without the white space around it */
};

struct bki_http_head {
    /* What was found; valid once bki_http_feed has returned 1. */
    const char *base; /* where the head's bytes are */
    size_t len; /* bytes of the head, with the empty line that ends it; the body starts here */
    enum bki_http_kind kind;
    int minor;  /* of the version: 1.minor */
    int status; /* responses */
    enum bki_http_form form;
    struct bki_range method, target; /* requests */
    struct bki_range reason;         /* responses; may be empty */
    struct bki_http_field *fields;
    uint32_t n_fields;

    int64_t content_length; /* -1: none */
    bool chunked;           /* Transfer-Encoding was given, and is that */
    bool folded;            /* line ends and blanks stand in a value for one blank each */

    /* Why it was refused. */
    enum bki_http_error error;
    size_t error_at; /* offset of the line at fault */

    bool folds; /* set for responses, set it for their trailers: a field may be folded */
    /* Set it after bki_http_init of a response: the method that it answers; NULL: none that
     * matters.  Borrowed. */
    const char *asked;

    /* How far it came. */
    uint32_t max_fields, max_line, max_block;
    uint32_t line;    /* offset of the line being read */
    uint32_t scanned; /* bytes looked at so far */
    uint32_t block;   /* offset of the first header line */
    bool saw_empty, in_fields, has_host;
    bool has_coding, chunked_seen, other_coding;
};

/* Prepares h.  fields: room for max_fields of them, borrowed for as long as h is used; a head with
 * more is refused.  limits: NULL for the defaults. */
void bki_http_init(struct bki_http_head *h, enum bki_http_kind kind, struct bki_http_field *fields,
                   size_t max_fields, const struct bki_http_limits *limits);

/* Reads on.  buf[0..len): every byte received since the head began, those of earlier calls included
 * and unchanged (at the same address or moved). Returns 1: whole, h->len bytes long; 0: more bytes
 * are needed; -BK_EPROTO or -BK_ELIMIT: refused, see h->error, and so does every later call.  Never
 * suspends, never allocates. */
int bki_http_feed(struct bki_http_head *h, const char *buf, size_t len);

/* The words for an error, the result that goes with it, and the status that answers it. */
const char *bki_http_error_text(enum bki_http_error error);
int bki_http_error_result(enum bki_http_error error);
int bki_http_error_status(const struct bki_http_head *h);

/* The bytes of a range of h; valid as long as h->base is. */
static inline bk_span bki_http_span(const struct bki_http_head *h, struct bki_range r)
{
    return bk_span_of(h->base + r.at, r.len);
}

/* ---- Questions about a finished head (http_field.c) ---- */

/* The index of the first field of that name at or after `from`, or -1. */
ssize_t bki_http_find(const struct bki_http_head *h, const char *name, size_t from);

/* The value of the only field of that name.  Returns 1; 0 when there is none; -BK_EPROTO when there
 * is more than one. */
int bki_http_get(const struct bki_http_head *h, const char *name, bk_span *value);

/* Is token an element of the comma-separated value of any field of that name, but for ASCII case?
 * An element with parameters ("a;q=1") is not its bare token. */
bool bki_http_has_token(const struct bki_http_head *h, const char *name, const char *token);

/* The bytes of s before the first `stop` that is not inside a quoted string. */
size_t bki_http_span_until(bk_span s, char stop);

/* Takes the next element off a comma-separated list (RFC 9110 5.6.1): trimmed, empty ones skipped,
 * commas inside quoted strings not counted.  Returns false at the end. */
bool bki_http_list_next(bk_span *rest, bk_span *element);

/* Takes the next ";name" or ";name=value" off an element's parameters (RFC 9110 5.6.6); the leading
 * token of an element comes first, as a name without a value.  A quoted value is given with its
 * quotes taken off and .quoted set, its backslashes still there. Returns 1; 0 at the end;
 * -BK_EPROTO on what is not a parameter. */
struct bki_http_param {
    bk_span name, value;
    bool has_value, quoted;
};
int bki_http_param_next(bk_span *rest, struct bki_http_param *param);

/* How the end of the body is known (RFC 9112 6.3). */
enum bki_http_body {
    BKI_HTTP_BODY_NONE,
    BKI_HTTP_BODY_LENGTH,      /* h->content_length bytes */
    BKI_HTTP_BODY_CHUNKED,     /* chunked coding */
    BKI_HTTP_BODY_UNTIL_CLOSE, /* whatever comes until the connection ends */
    BKI_HTTP_BODY_TUNNEL,      /* no body: the connection now belongs to another protocol */
};

enum bki_http_body bki_http_body_of(const struct bki_http_head *h);

/* Is this a response that ends with its head, whatever its fields say of a body (RFC 9112 6.3)? */
bool bki_http_ends_with_head(const struct bki_http_head *h);

/* May the connection carry another message after this one (RFC 9112 9.3)?  A body that ends with
 * the connection forbids it as well; that is the caller's to see. */
bool bki_http_keep_alive(const struct bki_http_head *h);

#endif
