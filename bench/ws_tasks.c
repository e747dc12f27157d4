/* SPDX-License-Identifier: MIT
 * The whole program: a live feed over WebSocket, a task for each message, its JSON parsed and added
 * up by symbol, a ticker beside it.  ws_tasks PORT MESSAGES BATCH, as ws_recv. */
#include <beck.h>

#include "bench.h"

enum { SYMBOLS = 256 };

struct symbol {
    char name[16];
    uint64_t n;
    double price, volume;
};

struct app {
    char url[100];
    uint64_t wanted, done;
    struct symbol symbols[SYMBOLS];
};

struct trade {
    bk_span symbol, side;
    double price, size, time, id;
};

/* ---- JSON: one flat object of strings without escapes, and plain numbers ---- */

static const char *number(const char *p, const char *end, double *out)
{
    static const double scale[] = {1,    1e-1, 1e-2, 1e-3, 1e-4,  1e-5,
                                   1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11};
    uint64_t digits = 0;
    int places = 0;
    for (; p < end && *p >= '0' && *p <= '9'; p++)
        digits = digits * 10 + (uint64_t)(*p - '0');
    if (p < end && *p == '.')
        for (p++; p < end && *p >= '0' && *p <= '9' && places < 11; p++, places++)
            digits = digits * 10 + (uint64_t)(*p - '0');
    *out = (double)digits * scale[places];
    return p;
}

static const char *string(const char *p, const char *end, bk_span *out)
{
    if (p == end || *p != '"')
        return NULL;
    const char *start = ++p;
    while (p < end && *p != '"' && *p != '\\')
        p++;
    if (p == end || *p != '"')
        return NULL;
    *out = bk_span_of(start, (size_t)(p - start));
    return p + 1;
}

static bool is(bk_span key, const char *name)
{
    return bk_span_equal(key, bk_span_str(name));
}

static const char *member(struct trade *t, const char *p, const char *end)
{
    bk_span key, other;
    double unused;
    p = string(p, end, &key);
    if (!p || p == end || *p++ != ':')
        return NULL;
    if (p < end && *p == '"')
        return string(p, end, is(key, "symbol") ? &t->symbol : is(key, "side") ? &t->side : &other);
    return number(p, end,
                  is(key, "price")  ? &t->price
                  : is(key, "size") ? &t->size
                  : is(key, "time") ? &t->time
                  : is(key, "id")   ? &t->id
                                    : &unused);
}

static bool parse(struct trade *t, bk_span text)
{
    const char *p = text.data, *end = p + text.len;
    *t = (struct trade){0};
    if (p == end || *p != '{')
        return false;
    do {
        p = member(t, p + 1, end);
    } while (p && p < end && *p == ',');
    return p && p + 1 == end && *p == '}' && t->symbol.len > 0 && t->symbol.len < 16;
}

/* ---- Tasks ---- */

static struct symbol *find(struct app *app, bk_span name)
{
    unsigned h = 0;
    for (size_t i = 0; i < name.len; i++)
        h = h * 31 + (unsigned char)name.data[i];
    for (;; h++) {
        struct symbol *s = &app->symbols[h % SYMBOLS];
        if (s->n == 0)
            memcpy(s->name, name.data, name.len);
        if (memcmp(s->name, name.data, name.len) == 0 && s->name[name.len] == '\0')
            return s;
    }
}

static int process(void *ctx, bk_msg **msg)
{
    struct app *app = ctx;
    struct trade t;
    if (!parse(&t, bk_msg_span(*msg)))
        return bk_fail(-BK_EFORMAT, "not a trade");
    struct symbol *s = find(app, t.symbol);
    s->n++;
    s->price = t.price;
    s->volume += is(t.side, "buy") ? t.size : -t.size;
    app->done++;
    return 0;
}

static int ticker(void *ctx)
{
    const struct app *app = ctx;
    for (;;) {
        int r = bk_sleep(bk_seconds(1));
        if (r < 0)
            return r;
        fprintf(stderr, "%llu\n", (unsigned long long)app->done);
    }
}

static int receive(void *ctx)
{
    struct app *app = ctx;
    bk_ws *ws = NULL;
    bk_msg *msg = NULL;
    bk_group *tasks = NULL;
    bk_task *tick = NULL;
    uint64_t n = 0;
    int r = bk_ws_connect(&ws, app->url, NULL);
    if (r == 0)
        r = bk_go(&tick, ticker, app, NULL);
    if (r == 0)
        r = bk_group_open(&tasks, NULL);
    int64_t start = bench_ns();
    while (r >= 0 && n < app->wanted && (r = bk_ws_recv(ws, &msg)) > 0) {
        r = bk_group_go_msg(tasks, process, app, &msg);
        n++;
    }
    bk_msg_free(&msg);
    r = bk_group_close(&tasks, r);
    double seconds = (double)(bench_ns() - start) / 1e9;
    if (r >= 0 && app->done == app->wanted)
        printf("RESULT msgs_s=%.0f\n", (double)n / seconds);
    bk_task_cancel(tick);
    bk_task_free(&tick);
    return bk_ws_close(&ws, r);
}

int main(int argc, char **argv)
{
    static struct app app;
    if (argc != 4)
        return 2;
    app.wanted = strtoull(argv[2], NULL, 10);
    snprintf(app.url, sizeof app.url, "ws://127.0.0.1:%s/%s/%s", argv[1], argv[2], argv[3]);
    if (bk_run(receive, &app, NULL) >= 0)
        return 0;
    fprintf(stderr, "ws_tasks: %s\n", bk_errmsg());
    return 1;
}
