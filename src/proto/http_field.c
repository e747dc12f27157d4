/* SPDX-License-Identifier: MIT
 * Questions about a finished HTTP head: find a field, walk a list, is there a body, does the
 * connection stay. */
#include "proto/http_head.h"

#include <beck/error.h>

#include "proto/http_chars.h"

ssize_t bki_http_find(const struct bki_http_head *h, const char *name, size_t from)
{
    bk_span want = bk_span_str(name);
    for (size_t i = from; i < h->n_fields; i++)
        if (bki_same_nocase(bki_http_span(h, h->fields[i].name), want))
            return (ssize_t)i;
    return -1;
}

int bki_http_get(const struct bki_http_head *h, const char *name, bk_span *value)
{
    ssize_t i = bki_http_find(h, name, 0);
    if (i < 0)
        return 0;
    if (bki_http_find(h, name, (size_t)i + 1) >= 0)
        return -BK_EPROTO;
    *value = bki_http_span(h, h->fields[i].value);
    return 1;
}

static void drop(bk_span *s, size_t n)
{
    s->data += n;
    s->len -= n;
}

size_t bki_http_span_until(bk_span s, char stop)
{
    bool quoted = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '"')
            quoted = !quoted;
        else if (quoted && s.data[i] == '\\')
            i++;
        else if (!quoted && s.data[i] == stop)
            return i;
    }
    return s.len;
}

bool bki_http_list_next(bk_span *rest, bk_span *element)
{
    while (rest->len > 0) {
        size_t n = bki_http_span_until(*rest, ',');
        *element = bki_trim(bk_span_of(rest->data, n));
        drop(rest, n < rest->len ? n + 1 : n);
        if (element->len > 0)
            return true;
    }
    return false;
}

/* Takes the quotes off; false when they are not one whole quoted string. */
static bool unquote(struct bki_http_param *p)
{
    bk_span v = p->value;
    if (v.len < 2)
        return false;
    for (size_t i = 1; i < v.len; i++) {
        if (v.data[i] == '\\') {
            i++;
        } else if (v.data[i] == '"') {
            p->value = bk_span_of(v.data + 1, v.len - 2);
            p->quoted = true;
            return i == v.len - 1;
        }
    }
    return false;
}

int bki_http_param_next(bk_span *rest, struct bki_http_param *p)
{
    bk_span part = {NULL, 0};
    while (part.len == 0) {
        if (rest->len == 0)
            return 0;
        size_t n = bki_http_span_until(*rest, ';');
        part = bki_trim(bk_span_of(rest->data, n));
        drop(rest, n < rest->len ? n + 1 : n);
    }
    size_t eq = bki_http_span_until(part, '=');
    *p = (struct bki_http_param){.name = bk_span_of(part.data, eq), .has_value = eq < part.len};
    if (!bki_is_token(p->name))
        return -BK_EPROTO;
    if (!p->has_value)
        return 1;
    p->value = bk_span_of(part.data + eq + 1, part.len - eq - 1);
    if (p->value.len > 0 && p->value.data[0] == '"')
        return unquote(p) ? 1 : -BK_EPROTO;
    return bki_is_token(p->value) ? 1 : -BK_EPROTO;
}

bool bki_http_has_token(const struct bki_http_head *h, const char *name, const char *token)
{
    for (ssize_t i = bki_http_find(h, name, 0); i >= 0; i = bki_http_find(h, name, (size_t)i + 1)) {
        bk_span rest = bki_http_span(h, h->fields[i].value), element;
        while (bki_http_list_next(&rest, &element))
            if (bki_is_nocase(element, token))
                return true;
    }
    return false;
}

static bool answers(const struct bki_http_head *h, const char *method)
{
    return h->kind == BKI_HTTP_RESPONSE && h->asked && strcmp(h->asked, method) == 0;
}

static bool opens_tunnel(const struct bki_http_head *h)
{
    return h->status == 101 || (h->status / 100 == 2 && answers(h, "CONNECT"));
}

bool bki_http_ends_with_head(const struct bki_http_head *h)
{
    if (h->kind != BKI_HTTP_RESPONSE)
        return false;
    return h->status / 100 == 1 || h->status == 204 || h->status == 304 || opens_tunnel(h) ||
           answers(h, "HEAD");
}

enum bki_http_body bki_http_body_of(const struct bki_http_head *h)
{
    if (opens_tunnel(h))
        return BKI_HTTP_BODY_TUNNEL;
    if (bki_http_ends_with_head(h))
        return BKI_HTTP_BODY_NONE;
    if (h->chunked)
        return BKI_HTTP_BODY_CHUNKED;
    if (h->content_length > 0)
        return BKI_HTTP_BODY_LENGTH;
    if (h->content_length == 0 || h->kind != BKI_HTTP_RESPONSE)
        return BKI_HTTP_BODY_NONE;
    return BKI_HTTP_BODY_UNTIL_CLOSE;
}

bool bki_http_keep_alive(const struct bki_http_head *h)
{
    if (bki_http_has_token(h, "Connection", "close"))
        return false;
    return h->minor >= 1 || bki_http_has_token(h, "Connection", "keep-alive");
}
