/* SPDX-License-Identifier: MIT
 * Tests of choosing a proxy from the environment. */
#include "proto/http_proxy.h"

#include "tests/check.h"

static const char *vars[8][2];

static char *fake_env(const char *name)
{
    for (size_t i = 0; i < 8 && vars[i][0]; i++)
        if (strcmp(vars[i][0], name) == 0)
            return (char *)(uintptr_t)vars[i][1];
    return NULL;
}

static void set_env(const char *name, const char *value)
{
    size_t i = 0;
    while (vars[i][0])
        i++;
    vars[i][0] = name;
    vars[i][1] = value;
}

static const char *proxy_for(const char *host, int port, bool secure)
{
    struct bki_endpoint target = {.host = (char *)(uintptr_t)host, .port = port, .secure = secure};
    const char *proxy = bki_proxy_from_env(&target, fake_env);
    return proxy ? proxy : "none";
}

static void the_variables(void)
{
    memset(vars, 0, sizeof vars);
    CHECK_STR(proxy_for("h", 80, false), "none");
    set_env("HTTP_PROXY", "http://never:1");
    CHECK_STR(proxy_for("h", 80, false), "none");
    set_env("ALL_PROXY", "http://all:1");
    CHECK_STR(proxy_for("h", 80, false), "http://all:1");
    CHECK_STR(proxy_for("h", 443, true), "http://all:1");
    set_env("HTTPS_PROXY", "http://upper:1");
    set_env("http_proxy", "http://plain:1");
    CHECK_STR(proxy_for("h", 80, false), "http://plain:1");
    CHECK_STR(proxy_for("h", 443, true), "http://upper:1");
    set_env("https_proxy", "lower:1");
    CHECK_STR(proxy_for("h", 443, true), "lower:1");
    set_env("no_proxy", "h");
    CHECK_STR(proxy_for("h", 443, true), "none");
    CHECK_STR(proxy_for("g", 443, true), "lower:1");
}

static void an_empty_variable_names_no_proxy(void)
{
    memset(vars, 0, sizeof vars);
    set_env("https_proxy", "");
    set_env("HTTPS_PROXY", "http://upper:1");
    CHECK_STR(proxy_for("h", 443, true), "none");
}

static bool exempt(const char *list, const char *host, int port)
{
    struct bki_endpoint target = {.host = (char *)(uintptr_t)host, .port = port};
    return bki_proxy_exempt(list, &target);
}

static void names_and_subdomains(void)
{
    CHECK(exempt("example.com", "example.com", 80));
    CHECK(exempt("example.com", "a.example.com", 80));
    CHECK(exempt("Example.COM", "a.eXample.com", 80));
    CHECK(exempt(".example.com", "example.com", 80));
    CHECK(exempt("*.example.com", "a.example.com", 80));
    CHECK(exempt("example.com.", "example.com", 80));
    CHECK(exempt("example.com", "example.com.", 80));
    CHECK(!exempt("example.com", "badexample.com", 80));
    CHECK(!exempt("a.example.com", "example.com", 80));
    CHECK(!exempt("example.com", "example.org", 80));
    CHECK(!exempt("", "example.org", 80));
    CHECK(!exempt(".", "example.org", 80));
    CHECK(!exempt("*.", "example.org", 80));
    CHECK(exempt("*", "anything", 80));
    CHECK(exempt("a, b,c\td", "d", 80));
    CHECK(exempt(",,a,", "a", 80));
}

static void ports(void)
{
    CHECK(exempt("h:8080", "h", 8080));
    CHECK(!exempt("h:8080", "h", 80));
    CHECK(!exempt("h:80800000000", "h", 80));
    CHECK(exempt("[::1]:81", "::1", 81));
    CHECK(!exempt("[::1]:81", "::1", 80));
    CHECK(!exempt("[::1", "::1", 80));
}

static void addresses_and_ranges(void)
{
    CHECK(exempt("127.0.0.1", "127.0.0.1", 80));
    CHECK(exempt("::1", "::1", 80));
    CHECK(exempt("[::1]", "::1", 80));
    CHECK(exempt("0:0::1", "::1", 80));
    CHECK(exempt("10.0.0.0/8", "10.9.8.7", 80));
    CHECK(!exempt("10.0.0.0/8", "11.0.0.1", 80));
    CHECK(exempt("192.168.4.0/22", "192.168.7.255", 80));
    CHECK(!exempt("192.168.4.0/22", "192.168.8.0", 80));
    CHECK(exempt("0.0.0.0/0", "9.9.9.9", 80));
    CHECK(!exempt("0.0.0.0/0", "host", 80));
    CHECK(exempt("fd00::/8", "fd12::1", 80));
    CHECK(!exempt("fd00::/8", "fe80::1", 80));
    CHECK(!exempt("10.0.0.0/33", "10.0.0.0", 80));
    CHECK(!exempt("10.0.0.0/", "10.0.0.0", 80));
    CHECK(!exempt("10.0.0.0/x", "10.0.0.0", 80));
    CHECK(!exempt("10.0.0.0/8", "::1", 80));
}

CHECK_MAIN(TEST(the_variables), TEST(an_empty_variable_names_no_proxy), TEST(names_and_subdomains),
           TEST(ports), TEST(addresses_and_ranges))
