/* SPDX-License-Identifier: MIT
 * WebSocket frames (RFC 6455 section 5.2): headers read and written, masking, close codes. */
#ifndef BECK_SRC_PROTO_WS_FRAME_H
#define BECK_SRC_PROTO_WS_FRAME_H

#include <beck/base.h>

enum bki_ws_opcode {
    BKI_WS_CONT = 0,
    BKI_WS_TEXT = 1,
    BKI_WS_BINARY = 2,
    BKI_WS_OP_CLOSE = 8,
    BKI_WS_OP_PING = 9,
    BKI_WS_OP_PONG = 10,
};

enum { BKI_WS_RSV1 = 0x40, BKI_WS_RSV2 = 0x20, BKI_WS_RSV3 = 0x10 };

#define BKI_WS_HEAD_MAX 14u     /* bytes of the longest frame header */
#define BKI_WS_CONTROL_MAX 125u /* bytes of the longest control frame payload */
#define BKI_WS_CONTROL_FRAME_MAX (6u + BKI_WS_CONTROL_MAX)

/* A masking key as it lies in memory: its first byte is the first of the key on the wire. */
struct bki_ws_frame {
    uint64_t len; /* of the payload, below 2^63 */
    uint32_t key;
    uint8_t opcode;
    uint8_t rsv; /* BKI_WS_RSV1 | ... */
    bool fin, masked;
};

/* Reads the header at in[0..len).  Opcode, RSV bits and masking are told, not judged.
 * Returns its size, 2 to 14; 0 when more bytes are needed; -BK_EPROTO when the length is not in its
 * shortest form or not below 2^63. */
int bki_ws_frame_read(struct bki_ws_frame *f, const char *in, size_t len);

/* The bytes of a header that starts with these two. */
static inline size_t bki_ws_head_size(const char first[2])
{
    unsigned b = (uint8_t)first[1], n = b & 0x7f;
    return 2u + (n == 126 ? 2u : n == 127 ? 8u : 0u) + (b & 0x80 ? 4u : 0u);
}

/* Writes the header of f; returns its size. */
size_t bki_ws_frame_write(char out[BKI_WS_HEAD_MAX], const struct bki_ws_frame *f);

/* Masks or unmasks payload bytes (the same operation), at memory speed.  offset: where src[0]
 * stands in the payload.  dst: may be src itself; must not overlap it otherwise. */
void bki_ws_mask(char *dst, const char *src, size_t len, uint32_t key, uint64_t offset);

/* The key as it applies from `offset` on: its bytes turned round in memory order. */
static inline uint32_t bki_ws_turn_key(uint32_t key, uint64_t offset)
{
    unsigned bits = (unsigned)(offset & 3) * 8;
    if (bits == 0)
        return key;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return key >> bits | key << (32 - bits);
#else
    return key << bits | key >> (32 - bits);
#endif
}

typedef uint64_t bki_ws_vec __attribute__((vector_size(16)));

static inline bki_ws_vec bki_ws_load(const char *p)
{
    bki_ws_vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline bki_ws_vec bki_ws_key_vec(uint32_t key)
{
    uint64_t twice = (uint64_t)key << 32 | key;
    return (bki_ws_vec){twice, twice};
}

static inline bki_ws_vec bki_ws_move(char *dst, const char *src, bki_ws_vec key)
{
    bki_ws_vec v = bki_ws_load(src) ^ key;
    memcpy(dst, &v, sizeof v);
    return v;
}

/* Copies a whole payload while unmasking it (key 0: as it is), and tells whether every byte of the
 * result is ASCII.  For the short payloads that most messages are: 16 bytes at a time, the last
 * ones by a step that overlaps the one before, so that no byte is handled alone.  dst and src must
 * not overlap. */
static inline bool bki_ws_take(char *dst, const char *src, size_t len, uint32_t key)
{
    const uint64_t high = UINT64_C(0x8080808080808080);
    if (len < 16) {
        uint8_t seen = 0;
        char k[4];
        memcpy(k, &key, 4);
        for (size_t i = 0; i < len; i++)
            seen |= (uint8_t)(dst[i] = (char)(src[i] ^ k[i & 3]));
        return !(seen & 0x80);
    }
    bki_ws_vec keys = bki_ws_key_vec(key), seen = {0, 0};
    size_t i = 0;
    for (; i + 32 <= len; i += 32) {
        seen |= bki_ws_move(dst + i, src + i, keys);
        seen |= bki_ws_move(dst + i + 16, src + i + 16, keys);
    }
    if (i + 16 <= len)
        seen |= bki_ws_move(dst + i, src + i, keys);
    if (key)
        keys = bki_ws_key_vec(bki_ws_turn_key(key, len - 16));
    seen |= bki_ws_move(dst + len - 16, src + len - 16, keys);
    return !((seen[0] | seen[1]) & high);
}

/* Masking keys: unpredictable (RFC 6455 10.3), drawn from the kernel 64 at a time.  Zero it to
 * begin; fill: NULL for getrandom, else called for the random bytes, returns 0 or -errno.  One
 * thread. */
struct bki_ws_keys {
    uint32_t key[64];
    unsigned left;
    int (*fill)(void *out, size_t len);
};

/* Takes the next key.  Returns 0, or fill's error. */
int bki_ws_key_take(struct bki_ws_keys *keys, uint32_t *key);

/* May a close frame carry this code (RFC 6455 7.4 and the IANA registry)?  1000-1003, 1007-1014 and
 * 3000-4999. */
bool bki_ws_code_valid(unsigned code);

#endif
