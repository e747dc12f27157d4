/* SPDX-License-Identifier: MIT
 * Base64 of what RFC 4648 section 10 lists, and of every byte. */
#include "base/base64.h"

#include "tests/check.h"

static const char *encoded(const void *data, size_t len)
{
    static char out[BKI_BASE64_LEN(256) + 1];
    bki_base64_encode(out, data, len);
    return out;
}

static void the_rfc_s_examples(void)
{
    CHECK_STR(encoded("", 0), "");
    CHECK_STR(encoded("f", 1), "Zg==");
    CHECK_STR(encoded("fo", 2), "Zm8=");
    CHECK_STR(encoded("foo", 3), "Zm9v");
    CHECK_STR(encoded("foob", 4), "Zm9vYg==");
    CHECK_STR(encoded("fooba", 5), "Zm9vYmE=");
    CHECK_STR(encoded("foobar", 6), "Zm9vYmFy");
}

static void every_digit(void)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char bytes[48];
    for (unsigned i = 0; i < 16; i++) {
        uint32_t bits = (i * 4) << 18 | (i * 4 + 1) << 12 | (i * 4 + 2) << 6 | (i * 4 + 3);
        bytes[i * 3] = (unsigned char)(bits >> 16);
        bytes[i * 3 + 1] = (unsigned char)(bits >> 8);
        bytes[i * 3 + 2] = (unsigned char)bits;
    }
    CHECK_STR(encoded(bytes, sizeof bytes), digits);
    CHECK_EQ(strlen(encoded(bytes, sizeof bytes)), BKI_BASE64_LEN(sizeof bytes));
}

CHECK_MAIN(TEST(the_rfc_s_examples), TEST(every_digit))
