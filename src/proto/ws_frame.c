/* SPDX-License-Identifier: MIT
 * WebSocket frame headers, masking in vectors, and masking keys in batches. */
#include "proto/ws_frame.h"

#include <beck/error.h>
#include <sys/random.h>

int bki_ws_frame_read(struct bki_ws_frame *f, const char *in, size_t len)
{
    if (len < 2)
        return 0;
    const uint8_t *p = (const uint8_t *)in;
    size_t size = bki_ws_head_size(in);
    if (len < size)
        return 0;
    *f = (struct bki_ws_frame){
        .fin = p[0] & 0x80,
        .rsv = p[0] & 0x70,
        .opcode = p[0] & 0x0f,
        .masked = p[1] & 0x80,
        .len = p[1] & 0x7f,
    };
    size_t n_len = f->len == 126 ? 2 : f->len == 127 ? 8 : 0;
    if (n_len > 0) {
        f->len = 0;
        for (size_t i = 0; i < n_len; i++)
            f->len = f->len << 8 | p[2 + i];
        if (f->len < (n_len == 2 ? 126u : 65536u) || f->len > INT64_MAX)
            return -BK_EPROTO;
    }
    if (f->masked)
        memcpy(&f->key, p + 2 + n_len, 4);
    return (int)size;
}

size_t bki_ws_frame_write(char out[BKI_WS_HEAD_MAX], const struct bki_ws_frame *f)
{
    uint8_t *p = (uint8_t *)out;
    size_t n_len = f->len < 126 ? 0 : f->len < 65536 ? 2 : 8, n = 2 + n_len;
    p[0] = (uint8_t)((f->fin ? 0x80 : 0) | f->rsv | f->opcode);
    p[1] = (uint8_t)((f->masked ? 0x80u : 0u) | (n_len == 0 ? f->len : n_len == 2 ? 126u : 127u));
    for (size_t i = 0; i < n_len; i++)
        p[2 + i] = (uint8_t)(f->len >> (8 * (n_len - 1 - i)));
    if (f->masked) {
        memcpy(p + n, &f->key, 4);
        n += 4;
    }
    return n;
}

typedef uint32_t vec16 __attribute__((vector_size(16)));

static void xor16(char *dst, const char *src, vec16 key)
{
    vec16 v;
    memcpy(&v, src, 16);
    v ^= key;
    memcpy(dst, &v, 16);
}

void bki_ws_mask(char *dst, const char *src, size_t len, uint32_t key, uint64_t offset)
{
    key = bki_ws_turn_key(key, offset);
    vec16 v = {key, key, key, key};
    size_t i = 0;
    for (; len - i >= 64; i += 64) {
        xor16(dst + i, src + i, v);
        xor16(dst + i + 16, src + i + 16, v);
        xor16(dst + i + 32, src + i + 32, v);
        xor16(dst + i + 48, src + i + 48, v);
    }
    for (; len - i >= 16; i += 16)
        xor16(dst + i, src + i, v);
    for (; len - i >= 4; i += 4) {
        uint32_t w;
        memcpy(&w, src + i, 4);
        w ^= key;
        memcpy(dst + i, &w, 4);
    }
    for (size_t j = 0; i < len; i++, j++) {
        char k[4];
        memcpy(k, &key, 4);
        dst[i] = (char)(src[i] ^ k[j]);
    }
}

static int fill_from_kernel(void *out, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = getrandom((char *)out + done, len - done, 0);
        if (n >= 0)
            done += (size_t)n;
        else if (errno != EINTR)
            return -errno;
    }
    return 0;
}

int bki_ws_key_take(struct bki_ws_keys *keys, uint32_t *key)
{
    if (keys->left == 0) {
        int r = (keys->fill ? keys->fill : fill_from_kernel)(keys->key, sizeof keys->key);
        if (r < 0)
            return r;
        keys->left = sizeof keys->key / sizeof *keys->key;
    }
    *key = keys->key[--keys->left];
    return 0;
}

bool bki_ws_code_valid(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}
