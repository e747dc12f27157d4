/* SPDX-License-Identifier: MIT
 * Happy eyeballs: several addresses are tried, overlapping, by one task. */
#include "net/connect_race.h"

#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/socket_opts.h"

#define BACKLOG_RETRY_MS 10

struct attempt {
    struct race *race;
    struct bk_stream *s; /* NULL: not begun, or over */
    struct bki_op op;    /* connects it */
    int result;          /* below zero: it has failed */
};

/* While there are addresses left, either `due` is set, or the timer will set it, or the failure of
 * an attempt in flight. */
struct race {
    struct bk_loop *loop;
    struct bk_task *task;
    const struct bki_race_opts *opts;
    const struct bki_address *list;
    int n, next; /* addresses, and the next to try */
    int n_in_flight;
    int last_error;
    bool due; /* the next attempt may start */
    struct bki_timer timer;
    struct attempt *winner;
    struct attempt *attempts; /* one for each address */
};

static void describe_race(const void *object, char *buf, size_t size)
{
    const struct race *race = object;
    char text[BKI_ADDRESS_TEXT];
    int last = race->next > 0 ? race->next - 1 : 0;
    bki_address_format(&race->list[last], text);
    int n = snprintf(buf, size, "%.80s", text);
    if (race->n > 1 && n > 0 && (size_t)n < size)
        snprintf(buf + n, size - (size_t)n, " (%d of %d)", last + 1, race->n);
}

static const struct bki_wait_kind wait_connect = {
    .what = "connect",
    .describe = describe_race,
    .about = "address %i of %i",
    .at = {offsetof(struct race, next), offsetof(struct race, n)},
};

/* ---- The order ---- */

void bki_interleave(struct bki_address *list, int n)
{
    for (int at = 1; at < n; at++) {
        int family = list[at - 1].any.sa_family, i = at;
        while (i < n && list[i].any.sa_family == family)
            i++;
        if (i == n)
            return; /* only this family is left */
        struct bki_address other = list[i];
        memmove(&list[at + 1], &list[at], (size_t)(i - at) * sizeof *list);
        list[at] = other;
    }
}

/* ---- One attempt ---- */

static void next_is_due(struct bki_timer *timer)
{
    struct race *race = bki_container(timer, struct race, timer);
    race->due = true;
    bki_wake(race->task);
}

static int next_after(struct race *race, bk_duration delay)
{
    if (delay.ns == BK_FOREVER_NS)
        return 0;
    return bki_timer_start(race->loop, &race->timer, bk_time_add(bk_now(), delay).ns, next_is_due);
}

/* A Unix socket whose backlog is full says so, and nothing tells when to ask again. */
static bool is_full_backlog(const struct attempt *a)
{
    int family = a->race->list[a - a->race->attempts].any.sa_family;
    return family == AF_UNIX && (a->result == -EAGAIN || a->result == -EBUSY);
}

static void attempt_over(struct attempt *a, int result)
{
    struct race *race = a->race;
    a->result = result;
    if (result >= 0 && !race->winner) {
        race->winner = a;
    } else if (is_full_backlog(a)) {
        bki_timer_stop(race->loop, &race->timer);
        int r = next_after(race, bk_ms(BACKLOG_RETRY_MS));
        if (r < 0)
            race->last_error = r;
        else
            race->next = (int)(a - race->attempts);
    } else if (result < 0) {
        race->last_error = result;
        race->due = true;
    }
}

static void attempt_done(struct bki_op *op)
{
    struct attempt *a = op->owner;
    a->race->n_in_flight--;
    attempt_over(a, (int)op->result);
    bki_wake(a->race->task);
}

static void attempt_free(struct attempt *a)
{
    if (a->s)
        bki_stream_free(a->s);
    a->s = NULL;
}

static int bind_local(int fd, const struct race *race, int family)
{
    const struct bki_race_opts *opts = race->opts;
    int r = opts->n_local > 0 ? -EADDRNOTAVAIL : 0;
    for (int i = 0; i < opts->n_local && r < 0; i++) {
        const struct bki_address *local = &opts->local[i];
        if (local->any.sa_family != family)
            continue;
        if (family != AF_UNIX) /* the port is chosen when the other end is known: more to choose */
            bki_set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        r = bind(fd, &local->any, local->len) < 0 ? -errno : 0;
    }
    return r;
}

static int open_socket(const struct race *race, int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = bind_local(fd, race, family);
    if (r == 0 && family != AF_UNIX) {
        r = bki_set_nodelay(fd);
        if (r == 0)
            r = bki_set_keep_alive(fd, race->opts->keep_alive);
    }
    if (r == 0)
        return fd;
    close(fd);
    return r;
}

/* 1 done, 0 in flight, or why it could not begin. */
static int attempt_start(struct attempt *a, const struct bki_address *to)
{
    attempt_free(a); /* a full backlog is tried again */
    int r = bki_stream_new(&a->s, -1, true, a->race->opts->stream);
    if (r < 0)
        return r;
    int fd = open_socket(a->race, to->any.sa_family);
    if (fd < 0)
        return fd;
    bki_stream_set_fd(a->s, fd);
    struct bki_op *op = &a->op;
    op->kind = BKI_OP_CONNECT;
    op->fd = &a->s->fd;
    op->nowait = false;
    op->addr = &to->any;
    op->addr_len = to->len;
    op->done = attempt_done;
    op->owner = a;
    return a->race->loop->backend->start(a->race->loop, op);
}

/* ---- The race ---- */

static int start_next(struct race *race)
{
    struct attempt *a = &race->attempts[race->next];
    const struct bki_address *to = &race->list[race->next++];
    race->due = false;
    bki_timer_stop(race->loop, &race->timer);
    int r = attempt_start(a, to);
    if (r == -ENOMEM)
        return r;
    if (r != 0) {
        attempt_over(a, r < 0 ? r : (int)a->op.result);
        return 0;
    }
    race->n_in_flight++;
    return race->next < race->n ? next_after(race, race->opts->delay) : 0;
}

static int run_race(struct race *race)
{
    int r = bki_check_cancel();
    while (r >= 0 && !race->winner) {
        if (race->due && race->next < race->n)
            r = start_next(race);
        else if (race->n_in_flight == 0 && race->next == race->n)
            return race->last_error;
        else
            r = bki_park(&wait_connect, race);
    }
    return race->winner ? 0 : r;
}

/* Nobody is left behind: what is in flight ends, what is open is closed. */
static void end_race(struct race *race)
{
    for (int i = 0; i < race->n; i++) {
        struct attempt *a = &race->attempts[i];
        if (a->op.in_flight)
            race->loop->backend->cancel(race->loop, &a->op);
    }
    while (race->n_in_flight > 0)
        bki_park_hard(&wait_connect, race);
    bki_timer_stop(race->loop, &race->timer);
    for (int i = 0; i < race->n; i++)
        if (&race->attempts[i] != race->winner)
            attempt_free(&race->attempts[i]);
}

static int all_failed(const struct race *race)
{
    char text[BKI_ADDRESS_TEXT], all[400];
    size_t len = 0;
    if (race->n == 1)
        return bki_fail_errno(race->last_error, "connect %s",
                              bki_address_format(&race->list[0], text));
    for (int i = 0; i < race->n && len < sizeof all; i++) {
        bki_address_format(&race->list[i], text);
        len += (size_t)snprintf(all + len, sizeof all - len, "%s%s: %s", i ? ", " : "", text,
                                bk_strerror(race->attempts[i].result));
    }
    return bk_fail(race->last_error, "connect %s: %s", race->opts->name, all);
}

int bki_connect_race(bk_stream **out, const struct bki_address *list, int n,
                     const struct bki_race_opts *opts)
{
    struct race race = {
        .loop = bki_loop, .task = bki_self(), .opts = opts, .list = list, .n = n, .due = true};
    char text[BKI_ADDRESS_TEXT];
    race.attempts = bki_zalloc((size_t)n * sizeof *race.attempts);
    if (!race.attempts)
        return bk_fail(-ENOMEM, "no memory for a connection");
    for (int i = 0; i < n; i++)
        race.attempts[i].race = &race;
    int r = run_race(&race);
    end_race(&race);
    if (race.winner) {
        struct bk_stream *s = race.winner->s;
        s->peer = bki_strdup(bki_address_format(&list[race.winner - race.attempts], text));
        *out = s;
    } else if (r == -ENOMEM) {
        bk_fail(r, "connect %s: no memory", opts->name);
    } else if (r != -ECANCELED) {
        r = all_failed(&race);
    }
    bki_free(race.attempts);
    return r;
}
