/* SPDX-License-Identifier: MIT
 * URLs: what each mistake in one is answered with, and the list of connectors. */
#include "connectors/connector.h"
#include "connectors/url_fixture.h"

static int try(const char *url, bool source)
{
    bk_flow *flow = NULL;
    if (bk_flow_new(&flow, NULL) < 0)
        return -1;
    int r = source ? bk_flow_from(flow, url) : bk_flow_to(flow, url);
    char text[300];
    snprintf(text, sizeof text, "%s", r < 0 ? bk_errmsg() : "");
    bk_flow_free(&flow);
    (void)bk_fail(r, "%s", text);
    return r;
}

static const struct {
    const char *url;
    bool source;
    const char *error; /* a part of it; NULL: there is none */
} cases[] = {
    {"gen:", true, NULL},
    {"gen:?count=10&rate=0.5/s&size=1KiB&seed=7", true, NULL},
    {"-", true, NULL},
    {"-", false, NULL},
    {"null:", false, NULL},
    {"file:a b?follow", true, NULL},
    {"file:/x?pace=time&speed=1000x&max=2MiB", true, NULL},
    {"exec:echo '?a=b&c' | cat # all of it", true, NULL},
    {"sqlite:x.db?table=t&key=id&batch=10&every=1s&sync=full&untyped", false, NULL},
    {"ws://example.org:80/feed?token=1#reconnect=never&send=hello&stall=30s", true, NULL},
    {"ws-listen::9000", true, NULL},
    {"ws-listen://127.0.0.1:9000/?wait=1", false, NULL},
    {"ws-listen://[::1]:9000", true, NULL},
    {"ws-listen://h:1/path", true, "ws-listen: is written"},
    {"ws-listen://h/", true, "ws-listen: is written"},
    {"ws-listen:127.0.0.1:9000?wait=2&buffer=10&slow=drop", false, NULL},
    {"fiel:x", true, "no scheme 'fiel': did you mean 'file'?"},
    {"kafka://h/t", true,
     "no scheme 'kafka'; there are: - exec file gen null sqlite ws ws-listen wss"},
    {"/", true, "'/' is not a URL: say 'file:/'"},
    {"nowhere", true, "starts with no scheme"},
    {"null:", true, "'null' cannot be a source"},
    {"gen:", false, "'gen' cannot be a sink"},
    {"gen:?cuont=1", true, "no option 'cuont': did you mean 'count'?"},
    {"gen:?zzz", true, "no option 'zzz'; there count rate size seed"},
    {"null:?zzz", false, "no option 'zzz'; there are none here"},
    {"gen:?count=1&count=2", true, "option 'count' is given twice"},
    {"gen:?count=0", true, "count=0: a number from 1"},
    {"gen:?rate=fast", true, "rate=fast: a rate such as"},
    {"gen:?rate=5/y", true, "rate=5/y: a rate such as"},
    {"gen:?size=1XB", true, "size=1XB: a size such as"},
    {"file:", true, "file: needs a path"},
    {"file://host/x", true, "files are local"},
    {"file:x?from=middle", true, "from=middle: one of beginning end"},
    {"exec:", true, "exec: needs a command"},
    {"sqlite:", false, "sqlite: needs a file"},
    {"sqlite:x?table=", false, "table= needs a name"},
    {"sqlite:x?every=soon", false, "every=soon: a duration such as"},
    {"ws:x", true, "ws: is written ws://HOST"},
    {"ws://h/#reconnect=maybe", true, "reconnect=maybe: one of lost always never"},
    {"ws-listen:9000", false, "ws-listen: is written"},
    {"ws-listen:h:1/path", false, "ws-listen: is written"},
};

static void each_mistake_has_its_answer(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int r = try(cases[i].url, cases[i].source);
        if (!cases[i].error) {
            CHECK_EQ(r, 0);
            continue;
        }
        CHECK_EQ(r, -BK_EURL);
        if (!strstr(bk_errmsg(), cases[i].error))
            CHECK_STR(bk_errmsg(), cases[i].error);
    }
}

static void secrets_are_not_in_names(void)
{
    struct urls u = {.from = "ws://127.0.0.1:1/feed?token=secret"};
    CHECK(urls_run(&u) < 0);
    CHECK(strstr(u.error, "ws://127.0.0.1:1/feed: "));
    CHECK(!strstr(u.error, "secret"));
    struct urls v = {.from = "ws://user:secret@127.0.0.1:1/feed"};
    CHECK_EQ(urls_run(&v), -BK_EURL);
    CHECK(strstr(v.error, "password") && !strstr(v.error, "secret"));
}

static void the_list_is_sorted_and_told(void)
{
    size_t n = 0;
    const bk_connector *list = bk_connector_list(&n);
    CHECK(n >= 8);
    for (size_t i = 0; i < n; i++) {
        CHECK(i == 0 || strcmp(list[i - 1].scheme, list[i].scheme) < 0);
        CHECK(list[i].source || list[i].sink);
        CHECK(strlen(list[i].about) > 10 && strlen(list[i].usage) >= 1);
    }
}

static void nearest_words(void)
{
    static const char *const words[] = {"table", "key", "batch", "every", NULL};
    CHECK_STR(bki_nearest("tabel", 5, words), "table");
    CHECK_STR(bki_nearest("KEY", 3, words), "key");
    CHECK(!bki_nearest("zzzzz", 5, words));
    CHECK(!bki_nearest("", 0, words));
}

CHECK_MAIN(TEST(each_mistake_has_its_answer), TEST(secrets_are_not_in_names),
           TEST(the_list_is_sorted_and_told), TEST(nearest_words))
