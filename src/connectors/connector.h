/* SPDX-License-Identifier: MIT
 * What a scheme is to the registry, and a URL taken apart for it.  One file for each scheme. */
#ifndef BECK_SRC_CONNECTORS_CONNECTOR_H
#define BECK_SRC_CONNECTORS_CONNECTOR_H

#include "base/url.h"
#include "flow/connector.h"

#define BKI_OPTIONS_MAX 16

struct bki_option {
    char *name;
    char *value; /* "" for a flag */
};

/* A URL for a connector; lives while the node is being added, so connectors copy what they keep. */
struct bki_target {
    const char *url;
    struct bki_url parts;
    char *path; /* decoded; NULL when the scheme reads the rest of its URL itself */
    char name[BKI_NODE_NAME_MAX]; /* for messages: no options, no secrets */
    struct bki_option options[BKI_OPTIONS_MAX];
    size_t n_options;
};

struct bki_connector {
    bk_connector info;
    /* Where options are: in the query, in the fragment (the query is the peer's), or nowhere, the
     * rest of the URL being taken as it is. */
    enum { BKI_OPTIONS_IN_QUERY, BKI_OPTIONS_IN_FRAGMENT, BKI_NO_OPTIONS } options_in;
    const char *const *source_options, *const *sink_options; /* names, NULL at the end */
    int (*add_source)(bk_flow *flow, const struct bki_target *target);
    int (*add_sink)(bk_flow *flow, const struct bki_target *target);
};

extern const struct bki_connector bki_connector_exec, bki_connector_file, bki_connector_gen,
    bki_connector_null, bki_connector_sqlite, bki_connector_stdio, bki_connector_ws,
    bki_connector_ws_listen, bki_connector_wss;

/* The connector of a URL's scheme; NULL with bk_errmsg: what there is, and what may have been
 * meant. */
const struct bki_connector *bki_connector_find(const struct bki_url *url, const char *text);

/* The value of an option, NULL when it was not given. */
const char *bki_target_option(const struct bki_target *target, const char *name);
/* A flag: given, and not "no", "false" or "0". */
bool bki_target_flag(const struct bki_target *target, const char *name);

/* The value of an option in *out, or its default.  0, or -BK_EURL when it is no such value. */
int bki_target_int(const struct bki_target *target, const char *name, int64_t min, int64_t max,
                   int64_t fallback, int64_t *out);
int bki_target_duration(const struct bki_target *target, const char *name, bk_duration fallback,
                        bk_duration *out);
int bki_target_size(const struct bki_target *target, const char *name, uint64_t fallback,
                    uint64_t *out);
/* One of several words; *out is its index. */
int bki_target_choice(const struct bki_target *target, const char *name, const char *const *words,
                      int fallback, int *out);

/* Of names (NULL at the end) the one most like text, NULL when none is. */
const char *bki_nearest(const char *text, size_t len, const char *const *names);

#endif
