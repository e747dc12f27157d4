/* SPDX-License-Identifier: MIT
 * The formats of bki_wait_kind.about. */
#include "rt/about.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MOST_TEXT 80

struct text {
    char *buf;
    size_t len, size;
};

static void add(struct text *text, const char *format, ...) BK_PRINTF(2, 3);

static void add(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text->buf + text->len, text->size - text->len, format, args);
    va_end(args);
    size_t room = text->size - text->len - 1;
    text->len += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room;
}

struct place {
    const struct bki_about_source *source;
    uint64_t object;
    const uint16_t *at;
};

static uint64_t next_word(struct place *p)
{
    uint64_t word = 0;
    p->source->read(p->source->ctx, p->object + *p->at++, &word, sizeof word);
    return word;
}

static void add_int(struct text *text, struct place *p)
{
    int value = 0;
    p->source->read(p->source->ctx, p->object + *p->at++, &value, sizeof value);
    add(text, "%d", value);
}

static void add_name(struct text *text, struct place *p)
{
    char name[BKI_NAME_MAX] = "";
    p->source->read(p->source->ctx, p->object + *p->at++, name, sizeof name);
    name[sizeof name - 1] = '\0';
    if (name[0])
        add(text, "'%s' ", name);
}

static void add_text(struct text *text, struct place *p)
{
    uint64_t at = next_word(p);
    char c;
    for (int i = 0; at && i < MOST_TEXT &&
                    p->source->read(p->source->ctx, at + (uint64_t)i, &c, 1) && c >= ' ';
         i++)
        add(text, "%c", c);
}

static void add_time_left(struct text *text, struct place *p)
{
    int64_t ns = (int64_t)next_word(p) - p->source->now_ns;
    add(text, "%.3f s", (double)(ns > 0 ? ns : 0) / 1e9);
}

static void add_len(struct text *text, struct place *p)
{
    uint64_t ends[2] = {0};
    p->source->read(p->source->ctx, p->object + *p->at++, ends, sizeof ends);
    uint64_t more = *p->at ? next_word(p) : (p->at++, 0);
    add(text, "%llu", (unsigned long long)(ends[1] - ends[0] + more));
}

static void add_difference(struct text *text, struct place *p)
{
    uint64_t n = next_word(p);
    add(text, "%llu", (unsigned long long)(n - next_word(p)));
}

static void add_holder(struct text *text, struct place *p)
{
    uint64_t id = next_word(p);
    int64_t since_ns = (int64_t)next_word(p), for_ns = p->source->now_ns - since_ns;
    const char *name = p->source->name_of(p->source->ctx, id);
    if (!name) {
        add(text, "held by a task that has ended");
        return;
    }
    add(text, "held by #%llu %s since %.3f s", (unsigned long long)id, name,
        (double)(for_ns > 0 ? for_ns : 0) / 1e9);
}

static void add_partner(struct text *text, struct place *p, const char *role)
{
    uint64_t id = next_word(p);
    const char *name = id ? p->source->name_of(p->source->ctx, id) : NULL;
    if (name)
        add(text, ", %s #%llu %s", role, (unsigned long long)id, name);
}

static void add_task(struct text *text, struct place *p)
{
    uint64_t id = 0;
    const char *name = p->source->task_at(p->source->ctx, p->object, &id);
    if (name)
        add(text, "#%llu %s", (unsigned long long)id, name);
}

static void add_limit(struct text *text, uint64_t limit)
{
    if (limit != BK_UNBOUNDED)
        add(text, " of %llu", (unsigned long long)limit);
}

static void add_value(struct text *text, struct place *p, char what)
{
    switch (what) {
    case 'n':
        add_name(text, p);
        break;
    case 'u':
        add(text, "%llu", (unsigned long long)next_word(p));
        break;
    case 'i':
        add_int(text, p);
        break;
    case 's':
        add_text(text, p);
        break;
    case 'w':
        add_time_left(text, p);
        break;
    case 'l':
        add_limit(text, next_word(p));
        break;
    case 'd':
        add_difference(text, p);
        break;
    case 'r':
        add_len(text, p);
        break;
    case 'h':
        add_holder(text, p);
        break;
    case 'c':
        add_partner(text, p, "consumer");
        break;
    case 'p':
        add_partner(text, p, "producer");
        break;
    case 'T':
        add_task(text, p);
        break;
    default:
        break;
    }
}

void bki_about(const struct bki_about_source *source, const char *format, const uint16_t *at,
               uint64_t object, char *buf, size_t size)
{
    struct text text = {.buf = buf, .size = size};
    struct place place = {.source = source, .object = object, .at = at};
    buf[0] = '\0';
    for (const char *c = format; *c; c++) {
        if (*c == '%' && c[1])
            add_value(&text, &place, *++c);
        else
            add(&text, "%c", *c);
    }
    while (text.len > 0 && buf[text.len - 1] == ' ')
        buf[--text.len] = '\0';
}

/* ---- In our own process ---- */

struct own {
    char label[BKI_NAME_MAX * 2];
};

static bool read_own(void *ctx, uint64_t address, void *buf, size_t size)
{
    (void)ctx;
    memcpy(buf, (const void *)(uintptr_t)address, size);
    return true;
}

static const char *own_name(void *ctx, uint64_t id)
{
    struct own *own = ctx;
    const struct bki_list *tasks = &bki_loop->tasks;
    for (const struct bki_list *n = bki_list_first(tasks); n; n = bki_list_next(tasks, n)) {
        const struct bk_task *task = bki_container(n, const struct bk_task, all_link);
        if (task->id == id)
            return bki_task_label(task, own->label, sizeof own->label);
    }
    return NULL;
}

static const char *own_task(void *ctx, uint64_t address, uint64_t *id)
{
    struct own *own = ctx;
    const struct bk_task *task = (const void *)(uintptr_t)address;
    *id = task->id;
    return bki_task_label(task, own->label, sizeof own->label);
}

void bki_describe(const struct bki_wait_kind *kind, const void *object, char *buf, size_t size)
{
    struct own own;
    struct bki_about_source source = {.read = read_own,
                                      .name_of = own_name,
                                      .task_at = own_task,
                                      .now_ns = bki_clock_ns(bki_loop),
                                      .ctx = &own};
    buf[0] = '\0';
    if (kind->describe)
        kind->describe(object, buf, size);
    else if (kind->about)
        bki_about(&source, kind->about, kind->at, (uint64_t)(uintptr_t)object, buf, size);
}
