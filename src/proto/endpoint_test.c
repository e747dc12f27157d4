/* SPDX-License-Identifier: MIT
 * Tests of endpoints: what a URL asks for, and URLs that ask for nothing. */
#include "proto/endpoint.h"

#include <beck/error.h>

#include "base/alloc.h"
#include "tests/alloc_sweep.h"
#include "tests/check.h"

/* What is connected to, whose certificate is wanted, the Host field, the target; or the error. */
static const char *parts(const char *url)
{
    static char out[600];
    struct bki_endpoint t;
    int r = bki_endpoint_make(&t, url, "http", "https");
    if (r == 0)
        snprintf(out, sizeof out, "%s%s %s %s %s", t.secure ? "TLS " : "", t.address, t.host,
                 t.authority, t.path);
    else
        snprintf(out, sizeof out, "%s", bk_errmsg());
    bki_endpoint_free(&t);
    return out;
}

static void what_is_asked_of_whom(void)
{
    CHECK_STR(parts("http://h"), "h:80 h h /");
    CHECK_STR(parts("HTTPS://h/"), "TLS h:443 h h /");
    CHECK_STR(parts("http://h:80/a/./b?"), "h:80 h h /a/./b?");
    CHECK_STR(parts("http://h:/"), "h:80 h h /");
    CHECK_STR(parts("https://h:80?q=%20#f"), "TLS h:80 h h:80 /?q=%20");
    CHECK_STR(parts("http://[::1]/"), "[::1]:80 ::1 [::1] /");
    CHECK_STR(parts("http://[::1]:81/"), "[::1]:81 ::1 [::1]:81 /");
    CHECK_STR(parts("http://u:p@127.0.0.1/"), "127.0.0.1:80 127.0.0.1 127.0.0.1 /");
}

/* RFC 3986 6.2.2: these are the same host. */
static void hosts_have_one_spelling(void)
{
    CHECK_STR(parts("http://EXAMPLE.Org./"), "example.org.:80 example.org. example.org. /");
    CHECK_STR(parts("http://ex%61mpl%45.org/%61"), "example.org:80 example.org example.org /%61");
    CHECK_STR(parts("http://xn--bcher-kva/"), "xn--bcher-kva:80 xn--bcher-kva xn--bcher-kva /");
}

/* RFC 6874 4: the zone is for this host alone, neither for the server nor its certificate. */
static void a_zone_is_for_connecting(void)
{
    CHECK_STR(parts("http://[fe80::1%25eth0]:81/"), "[fe80::1%eth0]:81 fe80::1 [fe80::1]:81 /");
    CHECK_STR(parts("http://[fe80::1%25Ab]/"), "[fe80::1%Ab]:80 fe80::1 [fe80::1] /");
}

static void what_is_no_endpoint(void)
{
    CHECK_STR(parts("http:g"), "http:g: the host is missing");
    CHECK_STR(parts("http:/g"), "http:/g: the host is missing");
    CHECK_STR(parts("http:///g"), "http:///g: the host is missing");
    CHECK_STR(parts("http://:80/"), "http://:80/: the host is missing");
    CHECK_STR(parts("http://h:0/"), "http://h:0/: there is no port 0");
    CHECK_STR(parts("http://h:65536/"), "URL, byte 10: a port is at most 65535");
    CHECK_STR(parts("ftp://h/"), "ftp://h/: not a URL with http:// or https://");
    CHECK_STR(parts("http://u:secret@h%2fx/?k=secret"),
              "http://***@h%2fx/?k=***: a byte in the host that no name holds");
    CHECK_STR(parts("http://h%0d%0aX:y/"), "URL, byte 17: a port consists of digits");
    CHECK_STR(parts("http://h%0d%0a/"), "http://h%0d%0a/: a byte in the host that no name holds");
    CHECK_STR(parts("http://h%00/"), "%00 in a URL");
    CHECK_STR(parts("http://b%C3%BCcher/"),
              "http://b%C3%BCcher/: a host's name beyond ASCII is written in its xn-- form");
    CHECK_STR(parts("http://b\xc3\xbc"
                    "cher/"),
              "URL, byte 9: a host's name beyond ASCII is written in its xn-- form");
}

static bool same(const char *one, const char *other)
{
    struct bki_endpoint a, b;
    bki_endpoint_make(&a, one, "http", "https");
    bki_endpoint_make(&b, other, "http", "https");
    bool same = bki_endpoint_same_origin(&a, &b);
    bki_endpoint_free(&a);
    bki_endpoint_free(&b);
    return same;
}

static void origins(void)
{
    CHECK(same("http://h/a", "HTTP://u@H:80/b?c"));
    CHECK(same("https://h:443", "https://%68/"));
    CHECK(!same("http://h/", "https://h/"));
    CHECK(!same("http://h:443/", "https://h/"));
    CHECK(!same("http://h/", "http://h:81/"));
    CHECK(!same("http://h/", "http://h./"));
    CHECK(!same("http://[fe80::1%25a]/", "http://[fe80::1%25b]/"));
}

static int make_one(void *ctx)
{
    struct bki_endpoint t;
    (void)ctx;
    int r = bki_endpoint_make(&t, "https://u:p@[fe80::1%25a]:81/x?y", "http", "https");
    bki_endpoint_free(&t);
    if (r == 0) {
        r = bki_endpoint_make_proxy(&t, "u:p@h:1");
        bki_endpoint_free(&t);
    }
    return r;
}

static void every_allocation_may_fail(void)
{
    CHECK(alloc_sweep(make_one, NULL) > 0);
}

CHECK_MAIN(TEST(what_is_asked_of_whom), TEST(hosts_have_one_spelling),
           TEST(a_zone_is_for_connecting), TEST(what_is_no_endpoint), TEST(origins),
           TEST(every_allocation_may_fail))
