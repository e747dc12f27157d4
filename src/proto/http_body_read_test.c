/* SPDX-License-Identifier: MIT
 * Bodies read from a stream: whatever the portions, the same content, the same end, and the next
 * message untouched. */
#include "proto/http_body_read.h"

#include "net/net_test.h"

struct body {
    const char *wire;
    enum bki_http_body kind;
    int64_t length;
    size_t read_size; /* 0: by peek and took */
    char seen[1024];  /* content, "|", trailers, "|", what follows */
};

/* Sends the wire in two portions, or byte by byte when first is 0, and hangs up. */
struct portions {
    int fd;
    const char *text;
    size_t first;
};

static int send_portions(void *ctx)
{
    struct portions *p = ctx;
    size_t len = strlen(p->text);
    for (size_t at = 0; at < len;) {
        size_t n = p->first == 0 ? 1 : at == 0 ? p->first : len - at;
        if (write(p->fd, p->text + at, n) != (ssize_t)n)
            return -errno;
        at += n;
        int r = bk_sleep(bk_ms(1));
        if (r < 0)
            return r;
    }
    shutdown(p->fd, SHUT_WR);
    return 0;
}

static ssize_t read_some(struct bki_http_reader *reader, char *buf, size_t read_size)
{
    bk_span piece;
    if (read_size > 0)
        return bki_http_reader_read(reader, buf, read_size);
    int r = bki_http_reader_peek(reader, &piece);
    if (r <= 0)
        return r;
    size_t n = (piece.len + 1) / 2;
    memcpy(buf, piece.data, n);
    bki_http_reader_took(reader, n);
    return (ssize_t)n;
}

static int read_body(struct body *b, bk_stream *s)
{
    struct bki_http_reader reader = {0};
    const char *name, *value;
    size_t n = 0;
    ssize_t r;
    bki_http_reader_init(&reader, s, b->kind, b->length, false, 0);
    while ((r = read_some(&reader, b->seen + n, b->read_size)) > 0)
        n += (size_t)r;
    b->seen[n++] = '|';
    for (size_t i = 0; bk_http_headers_at(&reader.trailers, i, &name, &value); i++)
        n += (size_t)snprintf(b->seen + n, 100, "%s=%s ", name, value);
    b->seen[n++] = '|';
    b->seen[n] = '\0';
    bki_http_headers_release(&reader.trailers);
    if (r < 0)
        return (int)r;
    if ((r = bki_http_reader_read(&reader, b->seen + n, 10)) != 0)
        return r < 0 ? (int)r : -EILSEQ;
    while ((r = bk_stream_read(s, b->seen + n, 100)) > 0)
        n += (size_t)r;
    b->seen[n] = '\0';
    return (int)r;
}

static int play(struct body *b, size_t first)
{
    struct ends e;
    bk_task *sender = NULL;
    int sent, r = open_ends(&e, NULL);
    if (r < 0)
        return r;
    struct portions portions = {e.peer, b->wire, first};
    r = bk_go(&sender, send_portions, &portions, NULL);
    if (r == 0)
        r = read_body(b, e.s);
    bk_task_wait(sender, &sent);
    bk_task_free(&sender);
    close_ends(&e);
    return r < 0 ? r : sent;
}

/* In every cut, by reads of several sizes and by peeking. */
#define CHECK_BODY(body_kind, body_length, text, want_result, want_seen)                           \
    do {                                                                                           \
        static const size_t sizes[] = {0, 1, 2, 1000};                                             \
        for (size_t i = 0; i < 4; i++)                                                             \
            for (size_t first = 0; first <= strlen(text); first++) {                               \
                struct body b = {.wire = (text),                                                   \
                                 .kind = (body_kind),                                              \
                                 .length = (body_length),                                          \
                                 .read_size = sizes[i]};                                           \
                CHECK_EQ(play(&b, first), (want_result));                                          \
                CHECK_STR(b.seen, (want_seen));                                                    \
            }                                                                                      \
    } while (0)

LOOP_TEST(counted_bodies_end_by_their_length)
{
    CHECK_BODY(BKI_HTTP_BODY_LENGTH, 5, "helloGET /", 0, "hello||GET /");
    CHECK_BODY(BKI_HTTP_BODY_LENGTH, 5, "hell", -BK_EINCOMPLETE, "hell||");
    CHECK_BODY(BKI_HTTP_BODY_NONE, -1, "GET /", 0, "||GET /");
}

LOOP_TEST(chunked_bodies_end_by_their_last_chunk)
{
    CHECK_BODY(BKI_HTTP_BODY_CHUNKED, -1, "3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\nGET /", 0,
               "abcde||GET /");
    CHECK_BODY(BKI_HTTP_BODY_CHUNKED, -1, "1\r\na\r\n0\r\nA: b\r\nC: d\r\n\r\nx", 0,
               "a|A=b C=d |x");
    CHECK_BODY(BKI_HTTP_BODY_CHUNKED, -1, "3\r\nabc\r\n", -BK_EINCOMPLETE, "abc||");
    CHECK_BODY(BKI_HTTP_BODY_CHUNKED, -1, "3\r\nabc\r\n0\r\nA: b\r\n", -BK_EINCOMPLETE, "abc||");
    CHECK_BODY(BKI_HTTP_BODY_CHUNKED, -1, "1\r\na\r\nx", -BK_EPROTO, "a||");
    CHECK_BODY(BKI_HTTP_BODY_CHUNKED, -1, "0\r\n A: b\r\n\r\n", -BK_EPROTO, "||");
}

LOOP_TEST(other_bodies_end_with_the_connection)
{
    CHECK_BODY(BKI_HTTP_BODY_UNTIL_CLOSE, -1, "all of it", 0, "all of it||");
}

/* ---- Large ones ---- */

enum { LARGE = 300000 };

struct large {
    int fd;
    bool chunked;
};

static int send_large(void *ctx)
{
    struct large *l = ctx;
    bk_stream *s = NULL;
    char *data = malloc(LARGE);
    for (int i = 0; i < LARGE; i++)
        data[i] = (char)(i % 251);
    int r = bk_stream_from_fd(&s, l->fd, NULL);
    size_t size = 1;
    for (size_t at = 0; r == 0 && at < LARGE; at += size, size = size * 3 + 1) {
        char head[BKI_HTTP_CHUNK_HEAD];
        if (size > LARGE - at)
            size = LARGE - at;
        if (l->chunked)
            r = bk_stream_write(s, head, bki_http_chunk_head(head, size));
        if (r == 0)
            r = bk_stream_write(s, data + at, size);
        if (r == 0 && l->chunked)
            r = bk_stream_write(s, "\r\n", 2);
    }
    if (r == 0 && l->chunked)
        r = bk_stream_write(s, "0\r\n\r\n", 5);
    free(data);
    return bk_stream_close(&s, r);
}

static void large_body(bool chunked)
{
    struct ends e;
    CHECK_EQ(open_ends(&e, NULL), 0);
    struct large large = {e.peer, chunked};
    CHECK_EQ(bk_go(NULL, send_large, &large, NULL), 0);
    struct bki_http_reader reader = {0};
    bki_http_reader_init(&reader, e.s, chunked ? BKI_HTTP_BODY_CHUNKED : BKI_HTTP_BODY_LENGTH,
                         LARGE, false, 0);
    static char buf[50000];
    size_t n = 0;
    ssize_t r;
    while ((r = bki_http_reader_read(&reader, buf, n < 10 ? 3 : sizeof buf)) > 0)
        for (ssize_t i = 0; i < r; i++)
            CHECK_EQ((uint8_t)buf[i], n++ % 251);
    CHECK_EQ(r, 0);
    CHECK_EQ(n, LARGE);
    CHECK(reader.over);
    CHECK_EQ(bki_http_reader_read(&reader, buf, 0), -EINVAL);
    e.peer = -1;
    close_ends(&e);
}

LOOP_TEST(large_bodies_come_whole)
{
    large_body(false);
    large_body(true);
}

/* ---- Cancels ---- */

static int read_cancelled(void *ctx)
{
    struct bki_http_reader *reader = ctx;
    char buf[100];
    ssize_t r = bki_http_reader_read(reader, buf, sizeof buf);
    return (int)r;
}

LOOP_TEST(a_cancelled_read_loses_nothing)
{
    struct ends e;
    struct bki_http_reader reader = {0};
    static const char *const portions[] = {"", "3", "\r\n", "ab", "c", "\r\n0\r\n", "A: b\r\n"};
    char seen[100];
    size_t n = 0;
    CHECK_EQ(open_ends(&e, NULL), 0);
    bki_http_reader_init(&reader, e.s, BKI_HTTP_BODY_CHUNKED, -1, false, 0);
    for (size_t i = 0; i < sizeof portions / sizeof *portions; i++) {
        say(&e, portions[i]);
        int r;
        while ((r = bk_wait_for(read_cancelled, &reader, bk_ms(1))) > 0)
            n += (size_t)r;
        CHECK_EQ(r, -ETIMEDOUT);
    }
    CHECK_EQ(n, 3);
    say(&e, "\r\n");
    CHECK_EQ(bki_http_reader_read(&reader, seen, sizeof seen), 0);
    CHECK_STR(bk_http_headers_get(&reader.trailers, "a"), "b");
    bki_http_headers_release(&reader.trailers);
    close_ends(&e);
}

CHECK_MAIN(TEST(counted_bodies_end_by_their_length), TEST(chunked_bodies_end_by_their_last_chunk),
           TEST(other_bodies_end_with_the_connection), TEST(large_bodies_come_whole),
           TEST(a_cancelled_read_loses_nothing))
