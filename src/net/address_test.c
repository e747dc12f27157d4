/* SPDX-License-Identifier: MIT
 * Addresses: every form, there and back, and what is wrong with the others. */
#include "net/address.h"

#include "base/alloc.h"
#include "net/net_test.h"
#include "net/resolver_fixture.h"

static const char *there_and_back(const char *text)
{
    static char buf[BKI_ADDRESS_TEXT];
    struct bki_address_spec spec;
    if (bki_address_parse(&spec, text) < 0)
        return bk_errmsg();
    if (spec.is_name)
        snprintf(buf, sizeof buf, "name %s port %u", spec.host, spec.port);
    else
        bki_address_format(&spec.address, buf);
    return buf;
}

static void every_form_is_read(void)
{
    CHECK_STR(there_and_back("127.0.0.1:80"), "127.0.0.1:80");
    CHECK_STR(there_and_back("0.0.0.0:0"), "0.0.0.0:0");
    CHECK_STR(there_and_back("[::1]:65535"), "[::1]:65535");
    CHECK_STR(there_and_back("[fe80::1%1]:80"), "[fe80::1%1]:80");
    CHECK_STR(there_and_back("[fe80::1%lo]:80"), "[fe80::1%1]:80");
    CHECK_STR(there_and_back(":8080"), "[::]:8080");
    CHECK_STR(there_and_back("example.org:80"), "name example.org port 80");
    CHECK_STR(there_and_back("my_host-1:080"), "name my_host-1 port 80");
    CHECK_STR(there_and_back("unix:/run/a b.sock"), "unix:/run/a b.sock");
    CHECK_STR(there_and_back("unix:relative"), "unix:relative");
    CHECK_STR(there_and_back("unix:@name"), "unix:@name");
    CHECK_STR(there_and_back("unix:/a\nb"), "unix:/a\\x0ab");
}

static void an_ipv4_address_inside_ipv6_reads_as_ipv4(void)
{
    CHECK_STR(there_and_back("[::ffff:10.0.0.1]:80"), "10.0.0.1:80");
}

static void an_unnamed_unix_socket_has_a_text(void)
{
    char buf[BKI_ADDRESS_TEXT];
    struct bki_address a = {.len = sizeof(sa_family_t)};
    a.any.sa_family = AF_UNIX;
    CHECK_STR(bki_address_format(&a, buf), "unix:");
    a.len = 0;
    CHECK_STR(bki_address_format(&a, buf), "");
}

static void check_refused(const char *text, const char *why)
{
    struct bki_address_spec spec;
    CHECK_EQ(bki_address_parse(&spec, text), -BK_EURL);
    CHECK_STR(bk_errmsg(), why);
}

static void what_is_wrong_is_said(void)
{
    check_refused("", "address '': want host:port or unix:path");
    check_refused("localhost", "address 'localhost': want host:port or unix:path");
    check_refused("localhost:", "address 'localhost:': the port must be a number");
    check_refused("localhost:http", "address 'localhost:http': the port must be a number");
    check_refused("localhost:-1", "address 'localhost:-1': the port must be a number");
    check_refused("localhost:65536", "address 'localhost:65536': the port is over 65535");
    check_refused("h:99999999999999999999",
                  "address 'h:99999999999999999999': the port is over 65535");
    check_refused("::1:80", "address '::1:80': an IPv6 address stands in brackets, as in [::1]:80");
    check_refused("[::1:80", "address '[::1:80': an IPv6 address stands in brackets, as in "
                             "[::1]:80");
    check_refused("[1.2.3.4]:80", "address '[1.2.3.4]:80': not an IPv6 address in brackets");
    check_refused("[]:80", "address '[]:80': not an IPv6 address in brackets");
    check_refused("[::1%nosuch]:80", "address '[::1%nosuch]:80': no network interface 'nosuch'");
    check_refused("1.2.3:80", "address '1.2.3:80': not an IPv4 address");
    check_refused("0x7f.1:80", "address '0x7f.1:80': not an IPv4 address");
    check_refused("127.0.0.1.:80", "address '127.0.0.1.:80': not an IPv4 address");
    check_refused("1.2.3.400:80", "address '1.2.3.400:80': not an IPv4 address");
    check_refused("http//x:80", "address 'http//x:80': a host name holds no '/'");
    check_refused("a b:80", "address 'a b:80': a host name holds no ' '");
    check_refused("unix:", "address 'unix:': the socket's path is missing");
    check_refused("unix:@", "address 'unix:@': the socket's path is missing");
}

static void lengths_have_limits(void)
{
    char text[400] = "unix:";
    memset(text + 5, 'x', 107);
    CHECK_STR(there_and_back(text), text);
    text[5 + 107] = 'x';
    struct bki_address_spec spec;
    CHECK_EQ(bki_address_parse(&spec, text), -BK_EURL);
    CHECK(strstr(bk_errmsg(), "over 107 bytes") != NULL);
    text[5] = '@';
    CHECK_STR(there_and_back(text), text);
    text[5 + 108] = 'x';
    CHECK_EQ(bki_address_parse(&spec, text), -BK_EURL);

    memset(text, 'h', sizeof text);
    memcpy(text + 253, ":80", 4);
    CHECK_EQ(bki_address_parse(&spec, text), 0);
    memcpy(text + 253, "h:80", 5);
    CHECK_EQ(bki_address_parse(&spec, text), -BK_EURL);
    CHECK(strstr(bk_errmsg(), "over 253 bytes") != NULL);
}

static void check_resolves(const char *text, enum bki_address_use use, const char *want)
{
    struct bki_address *list = NULL;
    char buf[BKI_ADDRESS_TEXT], all[1024] = "";
    int n = bki_resolve(text, use, &list);
    CHECK(n > 0);
    for (int i = 0; i < n; i++) {
        size_t at = strlen(all);
        snprintf(all + at, sizeof all - at, "%s%s", i > 0 ? " " : "",
                 bki_address_format(&list[i], buf));
    }
    bki_free(list);
    CHECK_STR(all, want);
}

LOOP_TEST(P4_addresses_need_no_look_up)
{
    check_resolves("127.0.0.1:80", BKI_TO_CONNECT, "127.0.0.1:80");
    check_resolves("[::1]:80", BKI_TO_CONNECT, "[::1]:80");
    check_resolves(":80", BKI_TO_LISTEN, "[::]:80 0.0.0.0:80");
    check_resolves("unix:/x", BKI_TO_CONNECT, "unix:/x");
}

LOOP_TEST(a_name_to_listen_at_is_ipv4_first)
{
    fake_names("many", "[fd00::1]:81 10.0.0.1:81");
    check_resolves("many:81", BKI_TO_LISTEN, "10.0.0.1:81 [fd00::1]:81");
    check_resolves("many:81", BKI_TO_CONNECT, "[fd00::1]:81 10.0.0.1:81");
    real_names();
    check_resolves("localhost:81", BKI_TO_LISTEN, "127.0.0.1:81 [::1]:81");
    check_resolves("localhost:81", BKI_TO_CONNECT, "127.0.0.1:81 [::1]:81");
}

LOOP_TEST(what_cannot_be_resolved_is_named)
{
    struct bki_address *list = NULL;
    /* A label over 63 bytes is refused without asking anybody. */
    char text[] = "0123456789012345678901234567890123456789012345678901234567890123456789.a:80";
    CHECK_EQ(bki_resolve(text, BKI_TO_CONNECT, &list), -BK_ERESOLVE);
    CHECK(strncmp(bk_errmsg(), "resolve '0123456789", 19) == 0);
    CHECK(list == NULL);
    CHECK_EQ(bki_resolve(":80", BKI_TO_CONNECT, &list), -BK_EURL);
    CHECK_STR(bk_errmsg(), "address ':80': no host to connect to");
    CHECK_EQ(bki_resolve("127.0.0.1:0", BKI_TO_CONNECT, &list), -BK_EURL);
    CHECK_STR(bk_errmsg(), "address '127.0.0.1:0': port 0 is only for listening");
}

static int resolve_a_name(void *ctx)
{
    struct bki_address **list = ctx;
    return bki_resolve("name:80", BKI_TO_CONNECT, list);
}

LOOP_TEST(a_cancelled_look_up_cleans_up_after_itself)
{
    struct bki_address *list = NULL;
    bk_task *task = NULL;
    int r = 0;
    fake_names("name", "10.0.0.1:80");
    CHECK_EQ(bk_go(&task, resolve_a_name, &list, NULL), 0);
    bk_yield(); /* it is asking now */
    bk_task_cancel(task);
    CHECK_EQ(bk_task_wait(task, &r), 0);
    bk_task_free(&task);
    if (r > 0) /* the answer was faster */
        bki_free(list);
    else
        CHECK_EQ(r, -ECANCELED);
}

CHECK_MAIN(TEST(every_form_is_read), TEST(an_ipv4_address_inside_ipv6_reads_as_ipv4),
           TEST(an_unnamed_unix_socket_has_a_text), TEST(what_is_wrong_is_said),
           TEST(lengths_have_limits), TEST(P4_addresses_need_no_look_up),
           TEST(a_name_to_listen_at_is_ipv4_first), TEST(what_cannot_be_resolved_is_named),
           TEST(a_cancelled_look_up_cleans_up_after_itself))
