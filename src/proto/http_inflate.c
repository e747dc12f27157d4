/* SPDX-License-Identifier: MIT
 * gzip and deflate bodies, by zlib. */
#include "proto/http_inflate.h"

#include <limits.h>
#include <strings.h>

#include <zlib.h>

#include <beck/error.h>

#include "base/alloc.h"

#define MIDDLE 4096

struct bki_inflate {
    struct bki_inflate *inner; /* decodes what this one makes; NULL: that is the content */
    char *middle;              /* on the way to inner: middle[at..len) */
    size_t at, len;
    z_stream z;
    enum bki_coding coding;
    bool open;      /* z has been set up */
    bool began;     /* some input came */
    bool ended;     /* the coded data is over, but for a further member of gzip */
    uint8_t n_head; /* bytes kept of a deflate body until its format shows */
    uint8_t head[2];
};

int bki_coding_named(bk_span name)
{
    static const struct {
        const char *name;
        enum bki_coding coding;
    } known[] = {
        {"gzip", BKI_CODING_GZIP}, {"x-gzip", BKI_CODING_GZIP}, {"deflate", BKI_CODING_DEFLATE}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (name.len == strlen(known[i].name) &&
            strncasecmp(name.data, known[i].name, name.len) == 0)
            return known[i].coding;
    return -1;
}

static void *zlib_alloc(void *opaque, uInt n, uInt size)
{
    (void)opaque;
    return bki_realloc_array(NULL, n, size);
}

static void zlib_free(void *opaque, void *ptr)
{
    (void)opaque;
    bki_free(ptr);
}

static int open_zlib(struct bki_inflate *f, int window_bits)
{
    if (inflateInit2(&f->z, window_bits) != Z_OK)
        return bk_fail(-ENOMEM, "no memory to decompress a body");
    f->open = true;
    return 0;
}

int bki_inflate_add(struct bki_inflate **chain, enum bki_coding coding)
{
    struct bki_inflate *f = bki_zalloc(sizeof *f);
    if (!f)
        return bk_fail(-ENOMEM, "no memory to decompress a body");
    f->coding = coding;
    f->z.zalloc = zlib_alloc;
    f->z.zfree = zlib_free;
    int r = coding == BKI_CODING_GZIP ? open_zlib(f, 16 + MAX_WBITS) : 0;
    if (r == 0 && *chain && !(f->middle = bki_alloc(MIDDLE)))
        r = bk_fail(-ENOMEM, "no memory to decompress a body");
    if (r < 0) {
        bki_inflate_free(&f);
        return r;
    }
    f->inner = *chain;
    *chain = f;
    return 0;
}

void bki_inflate_free(struct bki_inflate **inflate)
{
    struct bki_inflate *f = *inflate;
    *inflate = NULL;
    if (!f)
        return;
    bki_inflate_free(&f->inner);
    if (f->open)
        inflateEnd(&f->z);
    bki_free(f->middle);
    bki_free(f);
}

static int fail_format(const struct bki_inflate *f)
{
    return bk_fail(-BK_EFORMAT, "the %s body is damaged: %s",
                   f->coding == BKI_CODING_GZIP ? "gzip" : "deflate",
                   f->z.msg ? f->z.msg : "not in that format");
}

/* Runs zlib over in once; *used and *made grow.  1 when the coded data has ended. */
static int run(struct bki_inflate *f, const uint8_t *in, size_t in_len, size_t *used, char *out,
               size_t out_len, size_t *made)
{
    f->z.next_in = (uint8_t *)(uintptr_t)in;
    f->z.avail_in = in_len > UINT_MAX ? UINT_MAX : (uInt)in_len;
    f->z.next_out = (uint8_t *)out + *made;
    f->z.avail_out = out_len - *made > UINT_MAX ? UINT_MAX : (uInt)(out_len - *made);
    int r = inflate(&f->z, Z_NO_FLUSH);
    *used += (size_t)(f->z.next_in - in);
    *made = (size_t)((char *)f->z.next_out - out);
    if (r == Z_STREAM_END)
        return 1;
    if (r == Z_MEM_ERROR)
        return bk_fail(-ENOMEM, "no memory to decompress a body");
    return r == Z_OK || r == Z_BUF_ERROR ? 0 : fail_format(f);
}

/* The first two bytes of a deflate body tell zlib's format from bare deflate. */
static int open_by_head(struct bki_inflate *f)
{
    bool zlib = (f->head[0] & 15) == Z_DEFLATED && (f->head[0] * 256 + f->head[1]) % 31 == 0;
    return open_zlib(f, zlib ? MAX_WBITS : -MAX_WBITS);
}

/* Gives zlib the two bytes that were kept, which it takes at once. */
static int replay_head(struct bki_inflate *f, char *out, size_t out_len, size_t *made)
{
    size_t used = 0;
    int r = run(f, f->head, f->n_head, &used, out, out_len, made);
    if (r == 1)
        f->ended = true;
    return r < 0 ? r : 0;
}

/* Behind the end only a further gzip member may follow (RFC 1952 2.2). */
static int begin_member(struct bki_inflate *f)
{
    if (f->coding != BKI_CODING_GZIP)
        return bk_fail(-BK_EFORMAT, "data behind the end of a deflate body");
    f->ended = false;
    return inflateReset(&f->z) == Z_OK ? 0 : fail_format(f);
}

/* As bki_inflate_next, for this coding alone. */
static int undo(struct bki_inflate *f, const char *in, size_t in_len, size_t *used, char *out,
                size_t out_len, size_t *made)
{
    int r = 0;
    *used = *made = 0;
    f->began |= in_len > 0;
    if (!f->open) {
        while (f->n_head < 2 && *used < in_len)
            f->head[f->n_head++] = (uint8_t)in[(*used)++];
        if (f->n_head < 2)
            return 0;
        r = open_by_head(f);
        if (r == 0)
            r = replay_head(f, out, out_len, made);
    }
    while (r == 0 && *made < out_len) {
        size_t before = *used, made_before = *made;
        if (f->ended) {
            if (*used == in_len)
                break;
            if ((r = begin_member(f)) < 0)
                break;
        }
        r = run(f, (const uint8_t *)in + *used, in_len - *used, used, out, out_len, made);
        if (r == 1) {
            f->ended = true;
            r = 0;
        } else if (*used == before && *made == made_before) {
            break; /* zlib wants more input */
        }
    }
    return r;
}

int bki_inflate_next(struct bki_inflate *f, const char *in, size_t in_len, size_t *used, char *out,
                     size_t out_len, size_t *made)
{
    size_t took, gave;
    if (!f->inner)
        return undo(f, in, in_len, used, out, out_len, made);
    *used = *made = 0;
    for (;;) {
        int r = bki_inflate_next(f->inner, f->middle + f->at, f->len - f->at, &took, out + *made,
                                 out_len - *made, &gave);
        if (r < 0)
            return r;
        f->at += took;
        *made += gave;
        if (*made == out_len)
            return 0;
        r = undo(f, in + *used, in_len - *used, &took, f->middle, MIDDLE, &f->len);
        f->at = 0;
        *used += took;
        if (r < 0 || f->len == 0)
            return r;
    }
}

int bki_inflate_end(const struct bki_inflate *f)
{
    if (f->ended || !f->began)
        return f->inner ? bki_inflate_end(f->inner) : 0;
    return bk_fail(-BK_EINCOMPLETE, "the compressed body ended in the middle");
}
