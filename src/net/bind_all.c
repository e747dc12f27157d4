/* SPDX-License-Identifier: MIT
 * The sockets of a server on several addresses. */
#include <string.h>

#include "base/alloc.h"
#include "net/server.h"

#define PORT_TRIES 10 /* to find one port that is free on every address of a host */

/* What is to be bound: every address of one item of the list. */
struct item {
    char text[BKI_ADDRESS_TEXT];
    struct bki_address *list; /* NULL: an adopted descriptor */
    int n;
    bool any_host; /* ":80": its addresses are one wildcard, if IPv6 can take both families */
};

struct binding {
    const bk_listen_opts *opts;
    struct item *items;
    int n_items;
    struct bk_listener **bound;
    int n_bound;
};

/* ---- Reading the list ---- */

static int count_items(const char *addresses)
{
    int n = 1;
    for (const char *c = addresses; *c; c++)
        n += *c == ',';
    return n;
}

static int read_item(struct item *item, const char *text, size_t len)
{
    while (len > 0 && text[0] == ' ')
        text++, len--;
    while (len > 0 && text[len - 1] == ' ')
        len--;
    if (len == 0)
        return bk_fail(-BK_EURL, "an address to listen on is missing");
    if (len >= sizeof item->text)
        return bk_fail(-BK_EURL, "address '%.40s...': over %zu bytes", text, sizeof item->text - 1);
    memcpy(item->text, text, len);
    item->any_host = text[0] == ':';
    if (bki_fd_address(item->text) >= 0)
        return 0;
    int r = bki_resolve(item->text, BKI_TO_LISTEN, &item->list);
    item->n = r > 0 ? r : 0;
    return r < 0 ? r : 0;
}

/* Drops what earlier items stand for already. */
static void drop_repeated(struct binding *b, struct item *item)
{
    int n = 0;
    for (int i = 0; i < item->n; i++) {
        bool repeated = false;
        for (const struct item *earlier = b->items; earlier < item && !repeated; earlier++)
            for (int k = 0; k < earlier->n && !repeated; k++)
                repeated = bki_address_equal(&earlier->list[k], &item->list[i]);
        if (!repeated)
            item->list[n++] = item->list[i];
    }
    item->n = n;
}

static int read_items(struct binding *b, const char *addresses)
{
    int r = 0;
    b->items = bki_zalloc((size_t)count_items(addresses) * sizeof *b->items);
    if (!b->items)
        return -ENOMEM;
    for (const char *at = addresses; r == 0; at++) {
        size_t len = strcspn(at, ",");
        r = read_item(&b->items[b->n_items], at, len);
        drop_repeated(b, &b->items[b->n_items++]);
        at += len;
        if (!*at)
            break;
    }
    return r;
}

/* ---- Binding ---- */

static uint16_t *port_of(struct bki_address *a)
{
    return a->any.sa_family == AF_INET    ? &a->in4.sin_port
           : a->any.sa_family == AF_INET6 ? &a->in6.sin6_port
                                          : NULL;
}

/* An IPv6 socket leaves IPv4 alone where that is bound by itself, here or in another item. */
static bool leaves_ipv4_alone(const struct binding *b, struct bki_address *a)
{
    const uint16_t *port = port_of(a);
    if (b->opts->ipv6_only || !port)
        return b->opts->ipv6_only;
    for (int i = 0; i < b->n_items; i++) {
        const struct item *item = &b->items[i];
        for (int k = 0; !item->any_host && k < item->n; k++)
            if (item->list[k].any.sa_family == AF_INET && item->list[k].in4.sin_port == *port)
                return true;
    }
    return false;
}

static int add_listener(struct binding *b, struct bk_listener **out)
{
    struct bk_listener **more =
        bki_realloc_array(b->bound, (size_t)b->n_bound + 1, sizeof *b->bound);
    if (!more)
        return -ENOMEM;
    b->bound = more;
    int r = bki_listener_new(&more[b->n_bound], b->opts);
    if (r == 0)
        *out = more[b->n_bound++];
    return r;
}

static void drop_last(struct binding *b)
{
    bk_listener_close(&b->bound[--b->n_bound], 0);
}

static int bind_one(struct binding *b, struct bki_address *a)
{
    struct bk_listener *l;
    struct bki_address bound = {.len = sizeof bound - offsetof(struct bki_address, any)};
    int r = add_listener(b, &l);
    if (r < 0)
        return r;
    r = bki_listener_bind(l, a, leaves_ipv4_alone(b, a));
    if (r == 0 && port_of(a) && getsockname(l->fd.fd, &bound.any, &bound.len) == 0)
        *port_of(a) = *port_of(&bound);
    if (r < 0)
        drop_last(b);
    return r;
}

/* Every address of the item.  What this host lacks (IPv6, mostly) is passed over, as long as there
 * is another. */
static int bind_each(struct binding *b, struct item *item)
{
    int n_before = b->n_bound, failure = 0;
    for (int i = 0; i < item->n; i++) {
        int r = bind_one(b, &item->list[i]);
        if (r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL)
            failure = r;
        else if (r < 0)
            return r;
        if (r == 0 && item->any_host && !b->opts->ipv6_only)
            break;
        if (r == 0 && i + 1 < item->n && port_of(&item->list[i + 1]))
            *port_of(&item->list[i + 1]) = *port_of(&item->list[i]);
    }
    return b->n_bound > n_before ? 0 : failure;
}

static int adopt(struct binding *b, const struct item *item)
{
    struct bk_listener *l;
    for (int i = 0; i < b->n_bound; i++)
        if (b->bound[i]->fd.fd == bki_fd_address(item->text))
            return 0;
    int r = add_listener(b, &l);
    return r < 0 ? r : bki_listener_adopt(l, item->text);
}

static int bind_item(struct binding *b, struct item *item)
{
    int n_before = b->n_bound, r = 0;
    bool chosen = item->n > 1 && port_of(item->list) && *port_of(item->list) == 0;
    if (!item->list)
        r = adopt(b, item);
    /* The port that the kernel chose for one address may be taken on the next. */
    for (int tries = 0; item->list && tries < PORT_TRIES; tries++) {
        r = bind_each(b, item);
        if (r != -EADDRINUSE || !chosen)
            break;
        while (b->n_bound > n_before)
            drop_last(b);
        *port_of(item->list) = 0;
    }
    return r < 0 ? bki_fail_errno(r, "listen on %s", item->text) : 0;
}

int bki_bind_all(struct bk_listener ***out, int *n, const char *addresses,
                 const bk_listen_opts *opts)
{
    struct binding b = {.opts = opts};
    int r = read_items(&b, addresses);
    for (int i = 0; i < b.n_items && r == 0; i++)
        r = bind_item(&b, &b.items[i]);
    for (int i = 0; i < b.n_items; i++)
        bki_free(b.items[i].list);
    bki_free(b.items);
    *out = b.bound;
    *n = b.n_bound;
    return r;
}
