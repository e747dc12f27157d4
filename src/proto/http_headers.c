/* SPDX-License-Identifier: MIT
 * Lists of header fields, received and to be sent. */
#include "proto/http_headers.h"

#include "base/alloc.h"
#include "proto/http_chars.h"

#define FIRST_BYTES 512
#define FIRST_FIELDS 8
#define MOST_BYTES (1u << 30) /* offsets are of 32 bits */

int bk_http_headers_new(bk_http_headers **out)
{
    struct bk_http_headers *list = bki_zalloc(sizeof *list);
    if (!list)
        return bk_fail(-ENOMEM, "no memory for a list of headers");
    *out = list;
    return 0;
}

void bk_http_headers_free(bk_http_headers **headers)
{
    if (*headers)
        bki_http_headers_release(*headers);
    bki_free(*headers);
    *headers = NULL;
}

void bki_http_headers_clear(struct bk_http_headers *list)
{
    list->len = list->n = 0;
}

void bki_http_headers_release(struct bk_http_headers *list)
{
    bki_free(list->bytes);
    bki_free(list->fields);
    *list = (struct bk_http_headers){0};
}

static int no_memory(size_t n)
{
    return bk_fail(-ENOMEM, "no memory for %zu bytes of headers", n);
}

static size_t grown(size_t have, size_t need, size_t first)
{
    size_t twice = have ? have * 2 : first;
    return twice > need ? twice : need;
}

int bki_http_headers_reserve(struct bk_http_headers *list, size_t n, size_t n_fields)
{
    if (n > MOST_BYTES || n_fields > MOST_BYTES)
        return bk_fail(-BK_ELIMIT, "more than 1 GiB of headers");
    if (n > list->cap) {
        size_t cap = grown(list->cap, n, FIRST_BYTES);
        char *bytes = bki_realloc(list->bytes, cap);
        if (!bytes)
            return no_memory(n);
        list->bytes = bytes;
        list->cap = cap;
    }
    if (n_fields > list->max) {
        size_t max = grown(list->max, n_fields, FIRST_FIELDS);
        struct bki_http_field *fields = bki_realloc_array(list->fields, max, sizeof *fields);
        if (!fields)
            return no_memory(max * sizeof *fields);
        list->fields = fields;
        list->max = max;
    }
    return 0;
}

static void end_text(struct bk_http_headers *list, struct bki_range range)
{
    list->bytes[range.at + range.len] = '\0';
}

/* A fold is worth as many blanks (RFC 9112 5.2). */
static void unfold(struct bk_http_headers *list, struct bki_range value)
{
    for (char *p = list->bytes + value.at, *end = p + value.len; p < end; p++)
        if (*p == '\r' || *p == '\n')
            *p = ' ';
}

int bki_http_headers_take(struct bk_http_headers *list, struct bki_http_head *head, size_t n_extra)
{
    int r = bki_http_headers_reserve(list, head->len + n_extra, head->n_fields);
    if (r < 0)
        return r;
    memcpy(list->bytes, head->base, head->len);
    list->len = head->len;
    list->n = head->n_fields;
    /* A separator stands behind each part: a space, a colon, a line's end. */
    for (size_t i = 0; i < list->n; i++) {
        list->fields[i] = head->fields[i];
        end_text(list, list->fields[i].name);
        end_text(list, list->fields[i].value);
        if (head->folded)
            unfold(list, list->fields[i].value);
    }
    if (head->kind == BKI_HTTP_REQUEST) {
        end_text(list, head->method);
        end_text(list, head->target);
    } else if (head->kind == BKI_HTTP_RESPONSE) {
        end_text(list, head->reason);
    }
    head->base = list->bytes;
    head->fields = list->fields;
    return 0;
}

/* ---- Finding ---- */

static bk_span span_of(const struct bk_http_headers *list, struct bki_range range)
{
    return bk_span_of(list->bytes + range.at, range.len);
}

/* The index of the first field of that name at or after `from`, or list->n. */
static size_t find(const struct bk_http_headers *list, const char *name, size_t from)
{
    bk_span want = bk_span_str(name);
    while (from < list->n && !bki_same_nocase(span_of(list, list->fields[from].name), want))
        from++;
    return from;
}

const char *bk_http_headers_get(const bk_http_headers *headers, const char *name)
{
    size_t i = find(headers, name, 0);
    return i < headers->n ? bki_http_text(headers, headers->fields[i].value) : NULL;
}

bool bk_http_headers_has(const bk_http_headers *headers, const char *name, const char *token)
{
    for (size_t i = find(headers, name, 0); i < headers->n; i = find(headers, name, i + 1)) {
        bk_span rest = span_of(headers, headers->fields[i].value), element;
        while (bki_http_list_next(&rest, &element))
            if (bki_is_nocase(element, token))
                return true;
    }
    return false;
}

size_t bk_http_headers_count(const bk_http_headers *headers)
{
    return headers->n;
}

bool bk_http_headers_at(const bk_http_headers *headers, size_t i, const char **name,
                        const char **value)
{
    bool there = i < headers->n;
    *name = there ? bki_http_text(headers, headers->fields[i].name) : NULL;
    *value = there ? bki_http_text(headers, headers->fields[i].value) : NULL;
    return there;
}

/* ---- Changing ---- */

static struct bki_range append(struct bk_http_headers *list, bk_span s)
{
    struct bki_range range = {(uint32_t)list->len, (uint32_t)s.len};
    if (s.len > 0)
        memcpy(list->bytes + list->len, s.data, s.len);
    list->len += s.len;
    list->bytes[list->len++] = '\0';
    return range;
}

/* The value is not quoted: it may be a secret. */
static int check_field(bk_span name, bk_span value)
{
    if (!bki_is_token(name))
        return bk_fail(-EINVAL, "a header name is not a token");
    if (!bki_chars_all(value, BKI_CHAR_VALUE))
        return bk_fail(-EINVAL, "%.*s: a control character in a header value", (int)name.len,
                       name.data);
    return 0;
}

/* s may be a text of the list itself, whose bytes have moved. */
static void follow(bk_span *s, bk_span before, const char *now)
{
    uintptr_t at = (uintptr_t)s->data - (uintptr_t)before.data;
    if (before.data && at < before.len)
        s->data = now + at;
}

int bki_http_headers_add(struct bk_http_headers *list, bk_span name, bk_span value)
{
    int r = check_field(name, value);
    bk_span before = bk_span_of(list->bytes, list->len);
    value = bki_trim(value);
    if (r == 0)
        r = bki_http_headers_reserve(list, list->len + name.len + value.len + 2, list->n + 1);
    if (r < 0)
        return r;
    follow(&name, before, list->bytes);
    follow(&value, before, list->bytes);
    struct bki_http_field *field = &list->fields[list->n++];
    field->name = append(list, name);
    field->value = append(list, value);
    return 0;
}

int bk_http_headers_add(bk_http_headers *headers, const char *name, const char *value)
{
    return bki_http_headers_add(headers, bk_span_str(name), bk_span_str(value));
}

/* Closes the gaps that removed fields left, when they are most of the bytes; those that stay lie in
 * the order of their indexes. */
static void close_gaps(struct bk_http_headers *list)
{
    size_t used = 0;
    for (size_t i = 0; i < list->n; i++)
        used += list->fields[i].name.len + list->fields[i].value.len + 2;
    if (list->len <= 2 * used + FIRST_BYTES)
        return;
    list->len = 0;
    for (size_t i = 0; i < list->n; i++) {
        struct bki_range *parts[] = {&list->fields[i].name, &list->fields[i].value};
        for (size_t p = 0; p < 2; p++) {
            memmove(list->bytes + list->len, list->bytes + parts[p]->at, parts[p]->len + 1);
            parts[p]->at = (uint32_t)list->len;
            list->len += parts[p]->len + 1;
        }
    }
}

/* Removes the fields of that name among the first `end`. */
static size_t remove_before(struct bk_http_headers *list, bk_span name, size_t end)
{
    size_t kept = 0, n = list->n;
    for (size_t i = 0; i < n; i++)
        if (i >= end || !bki_same_nocase(span_of(list, list->fields[i].name), name))
            list->fields[kept++] = list->fields[i];
    list->n = kept;
    close_gaps(list);
    return n - kept;
}

int bk_http_headers_set(bk_http_headers *headers, const char *name, const char *value)
{
    size_t before = headers->n;
    int r = bk_http_headers_add(headers, name, value);
    if (r == 0) /* name may have been a text of the list, and moved */
        remove_before(headers, span_of(headers, headers->fields[before].name), before);
    return r;
}

size_t bk_http_headers_remove(bk_http_headers *headers, const char *name)
{
    return remove_before(headers, bk_span_str(name), headers->n);
}

/* ---- Writing ---- */

void bki_http_write_headers(struct bki_http_writer *w, const struct bk_http_headers *list,
                            const char *const *except)
{
    for (size_t i = 0; i < list->n; i++) {
        bk_span name = span_of(list, list->fields[i].name);
        if (!except || !bki_is_one_of(name, except))
            bki_http_write_field(w, name, span_of(list, list->fields[i].value));
    }
}

const char *bk_http_status_text(int status)
{
    return bki_http_reason(status);
}
