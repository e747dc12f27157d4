/* SPDX-License-Identifier: MIT
 * Digests that protocols ask for, computed by the library that does TLS. */
#ifndef BECK_SRC_NET_DIGEST_H
#define BECK_SRC_NET_DIGEST_H

#include <stddef.h>

#define BKI_SHA1_LEN 20
#define BKI_SHA256_LEN 32

/* Any thread.  0, or -ENOMEM. */
int bki_sha1(unsigned char out[BKI_SHA1_LEN], const void *data, size_t len);
int bki_sha256(unsigned char out[BKI_SHA256_LEN], const void *data, size_t len);

#endif
