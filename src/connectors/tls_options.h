/* SPDX-License-Identifier: MIT
 * The options by which a URL says how its connections are under TLS. */
#ifndef BECK_SRC_CONNECTORS_TLS_OPTIONS_H
#define BECK_SRC_CONNECTORS_TLS_OPTIONS_H

#include <beck/tls.h>

#include "connectors/connector.h"

#define BKI_TLS_CLIENT_OPTIONS "cacert", "cert", "key", "insecure"
#define BKI_TLS_SERVER_OPTIONS "cert", "key", "cacert"

/* A client's TLS; *out stays NULL when no option is given, which means bk_tls_default.
 * bk_tls_free it.  0, -BK_EURL, or as bk_tls_client_new. */
int bki_target_tls_client(const struct bki_target *target, bk_tls **out);

/* A server's; *out stays NULL without a certificate, which means no TLS. */
int bki_target_tls_server(const struct bki_target *target, bk_tls **out);

#endif
