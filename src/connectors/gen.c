/* SPDX-License-Identifier: MIT
 * The connector "gen:": JSON objects made up on the spot, as many, as fast and as big as asked for.
 *
 * {"id":17,"time":1700000000170,"key":"k3","value":0.7251,"pad":"xxxx"}: id counts from 1, time
 * steps by 1/rate (a millisecond without a rate), key and value come from a generator that starts
 * the same each time. */
#include <stdio.h>
#include <stdlib.h>

#include <beck/task.h>

#include "base/alloc.h"
#include "connectors/connector.h"
#include "flow/json.h"

#define FIRST_TIME_MS 1700000000000LL
#define N_KEYS 16
#define LATE_MS 100 /* how much of a lag behind the rate is made up for */

struct source {
    uint64_t count; /* 0: without end */
    double rate;    /* per second, 0: as fast as it goes */
    uint64_t size;  /* of an object at least, in bytes */
    uint64_t seed, state;
    uint64_t n;
    bk_time due; /* of the next */
};

/* xorshift64* */
static uint64_t next_random(struct source *s)
{
    s->state ^= s->state >> 12;
    s->state ^= s->state << 25;
    s->state ^= s->state >> 27;
    return s->state * 0x2545f4914f6cdd1dULL;
}

static int source_open(void *self, struct bki_port *port)
{
    (void)port;
    struct source *s = self;
    s->due = bk_now();
    s->state = s->seed * 0x9e3779b97f4a7c15ULL + 1;
    return 0;
}

static int wait_until_due(struct source *s)
{
    bk_time now = bk_now();
    if (s->due.ns > now.ns) {
        int r = bk_sleep_until(s->due);
        if (r < 0)
            return r;
    } else if (now.ns - s->due.ns > bk_ms(LATE_MS).ns) {
        s->due = now;
    }
    s->due = bk_time_add(s->due, bk_ns((int64_t)(1e9 / s->rate)));
    return 0;
}

static int source_next(void *self, bk_msg **msg)
{
    struct source *s = self;
    if (s->count && s->n == s->count)
        return 0;
    if (s->rate > 0) {
        int r = wait_until_due(s);
        if (r < 0)
            return r;
    }
    char head[160];
    uint64_t random = next_random(s);
    double step_ms = s->rate > 0 ? 1000 / s->rate : 1;
    int len =
        snprintf(head, sizeof head, "{\"id\":%llu,\"time\":%lld,\"key\":\"k%u\",\"value\":%.4f",
                 (unsigned long long)s->n + 1, FIRST_TIME_MS + (long long)((double)s->n * step_ms),
                 (unsigned)(random % N_KEYS), (double)(random >> 40) / (1 << 24));
    size_t shortest = (size_t)len + sizeof ",\"pad\":\"\"}" - 1;
    bool padded = s->size > (size_t)len + 1;
    size_t pad = s->size > shortest ? (size_t)s->size - shortest : 0;
    int r = bk_msg_new(msg, padded ? shortest + pad : (size_t)len + 1);
    if (r < 0)
        return r;
    char *p = bk_msg_data(*msg);
    memcpy(p, head, (size_t)len);
    p += len;
    if (padded) {
        memcpy(p, ",\"pad\":\"", 8);
        memset(p + 8, 'x', pad);
        p[8 + pad] = '"';
        p += 9 + pad;
    }
    *p = '}';
    s->n++;
    return 1;
}

static const struct bki_source_ops source_ops = {
    .source_class = BK_SOURCE_POSITION,
    .open = source_open,
    .next = source_next,
    .dispose = bki_free,
};

/* "100", "100/s", "0.5/s", "90/m" */
static int parse_rate(const char *text, double *out)
{
    double per = 1;
    size_t len = strlen(text);
    if (len > 2 && text[len - 2] == '/') {
        per = text[len - 1] == 's'   ? 1
              : text[len - 1] == 'm' ? 60
              : text[len - 1] == 'h' ? 3600
                                     : 0;
        len -= 2;
    }
    struct bki_json_value number = {.type = BKI_JSON_REAL, .text = bk_span_of(text, len)};
    if (per > 0 && bki_json_check(number.text) == 1)
        *out = bki_json_double(&number) / per;
    if (!(*out > 0))
        return bk_fail(-BK_EURL, "rate=%s: a rate such as 100/s, 0.5/s or 90/m is wanted", text);
    return 0;
}

static int add_source(bk_flow *flow, const struct bki_target *target)
{
    struct source *s = bki_zalloc(sizeof *s);
    if (!s)
        return bk_fail(-ENOMEM, "no memory for a source");
    int64_t count = 0, seed = 0;
    const char *rate = bki_target_option(target, "rate");
    int r = bki_target_int(target, "count", 1, INT64_MAX, 0, &count);
    if (r == 0)
        r = bki_target_int(target, "seed", 0, INT64_MAX, 1, &seed);
    if (r == 0)
        r = bki_target_size(target, "size", 0, &s->size);
    if (r == 0 && s->size > INT32_MAX)
        r = bk_fail(-BK_EURL, "size: at most 2 GiB");
    if (r == 0 && rate)
        r = parse_rate(rate, &s->rate);
    s->count = (uint64_t)count;
    s->seed = (uint64_t)seed;
    if (r == 0)
        r = bki_flow_add_source(flow, &source_ops, s, target->name);
    if (r < 0)
        bki_free(s);
    return r;
}

const struct bki_connector bki_connector_gen = {
    .info = {.scheme = "gen",
             .usage = "gen:[?count=N&rate=N/s&size=BYTES&seed=N]",
             .about = "Made-up JSON objects {id,time,key,value}, the same on every run.",
             .source = true,
             .source_class = BK_SOURCE_POSITION},
    .options_in = BKI_OPTIONS_IN_QUERY,
    .source_options = (const char *const[]){"count", "rate", "size", "seed", NULL},
    .add_source = add_source,
};
