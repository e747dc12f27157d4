/* SPDX-License-Identifier: MIT
 * Base64 with padding (RFC 4648 section 4). */
#ifndef BECK_SRC_BASE_BASE64_H
#define BECK_SRC_BASE_BASE64_H

#include <stddef.h>

/* Characters that n bytes make, without a NUL. */
#define BKI_BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* Writes BKI_BASE64_LEN(len) characters and a NUL. */
void bki_base64_encode(char *out, const void *data, size_t len);

#endif
