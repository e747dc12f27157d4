/* SPDX-License-Identifier: MIT
 * The connectors there are, and how a URL finds its own: bk_flow_from, bk_flow_to,
 * bk_connector_list. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "connectors/connector.h"

/* In alphabetical order of their schemes. */
static const struct bki_connector *const connectors[] = {
    &bki_connector_stdio, &bki_connector_exec,      &bki_connector_file,
    &bki_connector_gen,   &bki_connector_null,      &bki_connector_sqlite,
    &bki_connector_ws,    &bki_connector_ws_listen, &bki_connector_wss,
};

#define N_CONNECTORS (sizeof connectors / sizeof *connectors)

static bk_connector list[N_CONNECTORS];
static const char *schemes[N_CONNECTORS + 1];
static pthread_once_t list_once = PTHREAD_ONCE_INIT;

static void make_list(void)
{
    for (size_t i = 0; i < N_CONNECTORS; i++) {
        list[i] = connectors[i]->info;
        schemes[i] = connectors[i]->info.scheme;
    }
}

const bk_connector *bk_connector_list(size_t *n)
{
    pthread_once(&list_once, make_list);
    *n = N_CONNECTORS;
    return list;
}

static int list_schemes(char *out, size_t size)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < N_CONNECTORS && len < size; i++)
        len += (size_t)snprintf(out + len, size - len, "%s%s", i ? " " : "", schemes[i]);
    return -BK_EURL;
}

const struct bki_connector *bki_connector_find(const struct bki_url *url, const char *text)
{
    pthread_once(&list_once, make_list);
    for (size_t i = 0; i < N_CONNECTORS; i++)
        if (bki_url_scheme_is(url, schemes[i]))
            return connectors[i];
    char known[120];
    list_schemes(known, sizeof known);
    int len = (int)(url->scheme.len < 40 ? url->scheme.len : 40);
    const char *near = bki_nearest(url->scheme.data, url->scheme.len, schemes);
    if (access(text, F_OK) == 0)
        (void)bk_fail(-BK_EURL, "no scheme '%.*s'; for the file of that name say 'file:%.100s'",
                      len, url->scheme.data, text);
    else if (near)
        (void)bk_fail(-BK_EURL, "no scheme '%.*s': did you mean '%s'?", len, url->scheme.data,
                      near);
    else
        (void)bk_fail(-BK_EURL, "no scheme '%.*s'; there are: %s", len, url->scheme.data, known);
    return NULL;
}

/* ---- Taking a URL apart ---- */

static void target_free(struct bki_target *target)
{
    for (size_t i = 0; i < target->n_options; i++) {
        bki_free(target->options[i].name);
        bki_free(target->options[i].value);
    }
    bki_free(target->path);
}

static int check_option(const struct bki_target *target, const char *name, const char *const *names)
{
    if (bki_target_option(target, name))
        return bk_fail(-BK_EURL, "option '%s' is given twice", name);
    static const char *const none[] = {NULL};
    names = names ? names : none;
    char known[160] = "";
    for (size_t i = 0; names[i]; i++) {
        if (strcmp(names[i], name) == 0)
            return 0;
        size_t len = strlen(known);
        snprintf(known + len, sizeof known - len, "%s%s", i ? " " : "", names[i]);
    }
    const char *near = bki_nearest(name, strlen(name), names);
    if (near)
        return bk_fail(-BK_EURL, "no option '%s': did you mean '%s'?", name, near);
    return bk_fail(-BK_EURL, "no option '%s'; there %s", name, known[0] ? known : "are none here");
}

static int read_options(struct bki_target *target, bk_span query, const char *const *names)
{
    struct bki_url_query q;
    int r;
    bki_url_query_begin(&q, query);
    while ((r = bki_url_query_next(&q)) > 0) {
        r = check_option(target, q.name, names);
        if (r < 0)
            break;
        if (target->n_options == BKI_OPTIONS_MAX) {
            r = bk_fail(-BK_EURL, "too many options");
            break;
        }
        struct bki_option *o = &target->options[target->n_options++];
        o->name = bki_strdup(q.name);
        o->value = bki_strdup(q.value ? q.value : "");
        if (!o->name || !o->value) {
            r = bk_fail(-ENOMEM, "no memory for an option");
            break;
        }
    }
    bki_url_query_end(&q);
    return r;
}

/* "ws://user:pw@h/x?token=1#opt" is called "ws://h/x"; everything else its scheme and path. */
static void name_target(struct bki_target *target, const struct bki_connector *c)
{
    const struct bki_url *u = &target->parts;
    const char *scheme = c->info.scheme;
    if (strcmp(scheme, "-") == 0)
        snprintf(target->name, sizeof target->name, "-");
    else if (c->options_in == BKI_NO_OPTIONS)
        snprintf(target->name, sizeof target->name, "%s:%.*s", scheme, (int)u->rest.len,
                 u->rest.data);
    else if (!u->host.data)
        snprintf(target->name, sizeof target->name, "%s:%s", scheme, target->path);
    else if (u->port >= 0)
        snprintf(target->name, sizeof target->name, "%s://%.*s:%d%s", scheme, (int)u->host.len,
                 u->host.data, u->port, target->path);
    else
        snprintf(target->name, sizeof target->name, "%s://%.*s%s", scheme, (int)u->host.len,
                 u->host.data, target->path);
}

static const struct bki_connector *find_or_hint(struct bki_target *target, const char *url)
{
    if (bki_url_parse(&target->parts, url) == 0)
        return bki_connector_find(&target->parts, url);
    char known[120];
    pthread_once(&list_once, make_list);
    if (access(url, F_OK) == 0)
        (void)bk_fail(-BK_EURL, "'%.100s' is not a URL: say 'file:%.100s'", url, url);
    else if (!strchr(url, ':') && list_schemes(known, sizeof known))
        (void)bk_fail(-BK_EURL, "'%.80s' is not a URL: it starts with no scheme (%s)", url, known);
    return NULL;
}

static int add(bk_flow *flow, const char *url, bool as_source)
{
    struct bki_target target = {.url = url};
    const struct bki_connector *c = find_or_hint(&target, url);
    if (!c)
        return -BK_EURL;
    if (as_source ? !c->info.source : !c->info.sink)
        return bk_fail(-BK_EURL, "'%s' cannot be a %s", c->info.scheme,
                       as_source ? "source" : "sink");
    int r = 0;
    if (c->options_in != BKI_NO_OPTIONS) {
        const char *const *names = as_source ? c->source_options : c->sink_options;
        r = bki_url_decode(&target.path, target.parts.path);
        if (r == 0)
            r = read_options(&target,
                             c->options_in == BKI_OPTIONS_IN_QUERY ? target.parts.query
                                                                   : target.parts.fragment,
                             names);
    }
    if (r == 0) {
        name_target(&target, c);
        r = as_source ? c->add_source(flow, &target) : c->add_sink(flow, &target);
    }
    target_free(&target);
    return r;
}

int bk_flow_from(bk_flow *flow, const char *url)
{
    return add(flow, url, true);
}

int bk_flow_to(bk_flow *flow, const char *url)
{
    return add(flow, url, false);
}
