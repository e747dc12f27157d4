/* SPDX-License-Identifier: MIT
 * Base64: three bytes are four characters. */
#include "base/base64.h"

#include <stdint.h>

void bki_base64_encode(char *out, const void *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = data;
    for (; len > 0; in += 3) {
        size_t n = len < 3 ? len : 3;
        uint32_t bits = (uint32_t)in[0] << 16;
        bits |= n > 1 ? (uint32_t)in[1] << 8 : 0;
        bits |= n > 2 ? in[2] : 0;
        *out++ = digits[bits >> 18];
        *out++ = digits[bits >> 12 & 63];
        *out++ = '=';
        *out++ = '=';
        if (n > 1)
            out[-2] = digits[bits >> 6 & 63];
        if (n > 2)
            out[-1] = digits[bits & 63];
        len -= n;
    }
    *out = '\0';
}
