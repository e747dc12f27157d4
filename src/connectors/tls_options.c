/* SPDX-License-Identifier: MIT
 * TLS by options of a URL: files of certificates, whom to trust. */
#include "connectors/tls_options.h"

static bk_tls_opts read_options(const struct bki_target *target)
{
    return (bk_tls_opts){
        .cert_file = bki_target_option(target, "cert"),
        .key_file = bki_target_option(target, "key"),
        .ca_file = bki_target_option(target, "cacert"),
    };
}

int bki_target_tls_client(const struct bki_target *target, bk_tls **out)
{
    bk_tls_opts opts = read_options(target);
    bool insecure = bki_target_flag(target, "insecure");
    if (insecure && opts.ca_file)
        return bk_fail(-BK_EURL, "insecure trusts anybody: cacert would say nothing");
    if (opts.key_file && !opts.cert_file)
        return bk_fail(-BK_EURL, "key= needs the certificate that it is for, by cert=");
    if (insecure)
        opts.verify = BK_TLS_INSECURE_NO_VERIFY;
    return insecure || opts.cert_file || opts.ca_file ? bk_tls_client_new(out, &opts) : 0;
}

int bki_target_tls_server(const struct bki_target *target, bk_tls **out)
{
    bk_tls_opts opts = read_options(target);
    if (!opts.cert_file && (opts.key_file || opts.ca_file))
        return bk_fail(-BK_EURL, "key= and cacert= need a certificate, by cert=");
    return opts.cert_file ? bk_tls_server_new(out, &opts) : 0;
}
