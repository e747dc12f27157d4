/* SPDX-License-Identifier: MIT
 * permessage-deflate by zlib. */
#include "proto/ws_deflate.h"

#include <beck/error.h>
#include <limits.h>
#include <zlib.h>

#include "base/alloc.h"

#define LEAST_DEFLATE_BITS 9
#define DEFLATE_STEP ((size_t)64 * 1024) /* of input, at a time */

static const uint8_t tail[BKI_WS_TAIL] = {0x00, 0x00, 0xff, 0xff};

struct bki_ws_deflater {
    z_stream z;
    uint8_t n_held; /* the last bytes that came out, not handed on yet */
    bool came_out;  /* something of this message has */
    char held[BKI_WS_TAIL];
};

struct bki_ws_inflater {
    z_stream z;
    uint8_t n_tail;   /* bytes of the tail given to zlib */
    bool block_ended; /* zlib stands between blocks, and has taken all there was */
    bool begun;       /* a byte of the message has come */
    bool final_ended; /* the last byte of it ended a block that says it is the last */
};

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

static uInt at_most(size_t len)
{
    return len > UINT_MAX ? UINT_MAX : (uInt)len;
}

/* ---- Compressing ---- */

int bki_ws_deflater_new(struct bki_ws_deflater **out, int bits, int level, int mem_level)
{
    struct bki_ws_deflater *d = bki_zalloc(sizeof *d);
    if (!d)
        return bk_fail(-ENOMEM, "no memory to compress");
    d->z.zalloc = zlib_alloc;
    d->z.zfree = zlib_free;
    int window = bits < LEAST_DEFLATE_BITS ? LEAST_DEFLATE_BITS : bits;
    if (deflateInit2(&d->z, level, Z_DEFLATED, -window, mem_level, Z_DEFAULT_STRATEGY) != Z_OK) {
        bki_free(d);
        return bk_fail(-ENOMEM, "no memory to compress");
    }
    *out = d;
    return 0;
}

void bki_ws_deflater_free(struct bki_ws_deflater **deflater)
{
    if (!*deflater)
        return;
    deflateEnd(&(*deflater)->z);
    bki_free(*deflater);
    *deflater = NULL;
}

void bki_ws_deflater_reset(struct bki_ws_deflater *d)
{
    deflateReset(&d->z);
    d->n_held = 0;
    d->came_out = false;
}

/* Runs zlib into out[0..len) once, over a step of the input; returns what it made. */
static size_t run_deflate(struct bki_ws_deflater *d, const char **in, size_t *in_len, char *out,
                          size_t len)
{
    size_t step = *in_len < DEFLATE_STEP ? *in_len : DEFLATE_STEP;
    d->z.next_in = (uint8_t *)(uintptr_t)*in;
    d->z.avail_in = (uInt)step;
    d->z.next_out = (uint8_t *)out;
    d->z.avail_out = at_most(len);
    /* It fails only when there is nothing to do. */
    deflate(&d->z, step == *in_len ? Z_SYNC_FLUSH : Z_NO_FLUSH);
    *in += step - d->z.avail_in;
    *in_len -= step - d->z.avail_in;
    return (size_t)((char *)d->z.next_out - out);
}

bool bki_ws_deflate(struct bki_ws_deflater *d, const char **in, size_t *in_len, bool last,
                    char *out, size_t out_len, size_t *made)
{
    size_t n = d->n_held;
    memcpy(out, d->held, n);
    size_t more = run_deflate(d, in, in_len, out + n, out_len - n);
    n += more;
    d->came_out |= more > 0;
    bool done = *in_len == 0 && n < out_len;
    if (done && last && !d->came_out)
        out[n++] = 0; /* an empty message: the first byte of the empty block */
    else
        n -= d->n_held = (uint8_t)(n < BKI_WS_TAIL ? n : BKI_WS_TAIL);
    memcpy(d->held, out + n, d->n_held);
    *made = n;
    if (done && last) {
        d->n_held = 0;
        d->came_out = false;
    }
    return done;
}

/* ---- Decompressing ---- */

int bki_ws_inflater_new(struct bki_ws_inflater **out, int bits)
{
    struct bki_ws_inflater *f = bki_zalloc(sizeof *f);
    if (!f)
        return bk_fail(-ENOMEM, "no memory to decompress");
    f->z.zalloc = zlib_alloc;
    f->z.zfree = zlib_free;
    if (inflateInit2(&f->z, -bits) != Z_OK) {
        bki_free(f);
        return bk_fail(-ENOMEM, "no memory to decompress");
    }
    *out = f;
    return 0;
}

int bki_ws_inflater_copy(struct bki_ws_inflater **out, struct bki_ws_inflater *inflater)
{
    struct bki_ws_inflater *f = bki_alloc(sizeof *f);
    if (f)
        *f = *inflater;
    if (!f || inflateCopy(&f->z, &inflater->z) != Z_OK) {
        bki_free(f);
        return bk_fail(-ENOMEM, "no memory to decompress");
    }
    *out = f;
    return 0;
}

void bki_ws_inflater_free(struct bki_ws_inflater **inflater)
{
    if (!*inflater)
        return;
    inflateEnd(&(*inflater)->z);
    bki_free(*inflater);
    *inflater = NULL;
}

/* Runs zlib once, until the end of a block at most. */
static int run_inflate(struct bki_ws_inflater *f, const uint8_t *in, size_t in_len, size_t *used)
{
    uInt room = f->z.avail_out;
    f->z.next_in = (uint8_t *)(uintptr_t)in;
    f->z.avail_in = at_most(in_len);
    int r = inflate(&f->z, Z_BLOCK);
    *used = (size_t)(f->z.next_in - in);
    if (r == Z_MEM_ERROR)
        return bk_fail(-ENOMEM, "no memory to decompress");
    if (r != Z_OK && r != Z_BUF_ERROR && r != Z_STREAM_END)
        return bk_fail(-BK_EFORMAT, "not DEFLATE data: %s", f->z.msg ? f->z.msg : "malformed");
    /* Between blocks, and no bit of the last byte unused.  (When there was nothing to do, zlib
     * stands where it stood, and does not say.) */
    if (*used > 0 || room != f->z.avail_out)
        f->block_ended = (f->z.data_type & 0xff) == 128;
    /* A block may claim to be the last (RFC 7692 7.2.3.4).  More follows all the same, and may
     * refer to what was. */
    f->final_ended = r == Z_STREAM_END || (f->final_ended && *used == 0);
    if (r == Z_STREAM_END) {
        f->block_ended = true;
        inflateResetKeep(&f->z);
    }
    return 0;
}

/* Runs zlib over the message's bytes, then over the tail.  *left: how much it has not had. */
static int run_further(struct bki_ws_inflater *f, const char **in, size_t *in_len, bool last,
                       size_t *left)
{
    size_t used;
    bool in_tail = last && *in_len == 0;
    if (in_tail && f->final_ended) {
        *left = 0; /* no byte for the tail to begin in: some peers leave that out */
        return 0;
    }
    int r = in_tail ? run_inflate(f, tail + f->n_tail, BKI_WS_TAIL - f->n_tail, &used)
                    : run_inflate(f, (const uint8_t *)*in, *in_len, &used);
    if (r < 0)
        return r;
    if (in_tail) {
        f->n_tail = (uint8_t)(f->n_tail + used);
    } else {
        *in += used;
        *in_len -= used;
    }
    *left = *in_len + (last ? BKI_WS_TAIL - f->n_tail : 0);
    return 0;
}

int bki_ws_inflate(struct bki_ws_inflater *f, const char **in, size_t *in_len, bool last, char *out,
                   size_t out_len, size_t *made)
{
    size_t left;
    f->begun |= *in_len > 0;
    if (last && !f->begun) {
        *made = 0; /* not what the RFC writes for an empty message, but what some peers do */
        return 0;
    }
    f->z.next_out = (uint8_t *)out;
    f->z.avail_out = at_most(out_len);
    do {
        int r = run_further(f, in, in_len, last, &left);
        if (r < 0)
            return r;
    } while (left > 0 && f->z.avail_out > 0);
    /* Of the end of a block that says it is the last, zlib tells when it is asked once more. */
    if (last && f->z.avail_out > 0 && !f->block_ended) {
        int r = run_inflate(f, tail, 0, &left);
        if (r < 0)
            return r;
    }
    *made = (size_t)((char *)f->z.next_out - out);
    if (!last || f->z.avail_out == 0)
        return 0;
    if (!f->block_ended)
        return bk_fail(-BK_EFORMAT, "not DEFLATE data: the message ends in the middle");
    f->n_tail = 0;
    f->begun = f->final_ended = false;
    return 0;
}
