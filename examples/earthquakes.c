/* SPDX-License-Identifier: MIT
 * The earthquake watch: receives earthquakes from a WebSocket, handles each in a task of its own,
 * stores them in SQLite, and shows the strongest so far.  `make demo` runs it.
 *
 *     earthquakes ws://127.0.0.1:9000/ quakes.db */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <beck.h>

enum { STRONGEST = 5, IN_FLIGHT = 256 };

struct quake {
    double magnitude;
    char place[64];
};

struct app {
    const char *url, *database;
    bk_flow *flow;
    struct quake strongest[STRONGEST]; /* in falling order */
    int lines;                         /* of the picture on the screen */
};

/* ---- One earthquake ---- */

/* The text after "name": in a flat JSON object, or NULL. */
static const char *field(bk_span json, const char *name)
{
    const char *at = memmem(json.data, json.len, name, strlen(name));
    return at ? at + strlen(name) : NULL;
}

static void note_strength(struct app *app, double magnitude, const char *place)
{
    int i = STRONGEST;
    while (i > 0 && app->strongest[i - 1].magnitude < magnitude)
        i--;
    if (i == STRONGEST)
        return;
    memmove(&app->strongest[i + 1], &app->strongest[i],
            (size_t)(STRONGEST - 1 - i) * sizeof(struct quake));
    app->strongest[i].magnitude = magnitude;
    snprintf(app->strongest[i].place, sizeof app->strongest[i].place, "%.*s",
             (int)strcspn(place, "\""), place);
}

/* A task for each message. */
static int handle_quake(void *ctx, bk_msg **msg)
{
    int r = bk_sleep(bk_ms(50)); /* stands for real work: a look-up, a request, an alert */
    if (r < 0)
        return r;
    bk_span json = bk_msg_span(*msg);
    const char *magnitude = field(json, "\"mag\":"), *place = field(json, "\"place\":\"");
    if (magnitude && place)
        note_strength(ctx, strtod(magnitude, NULL), place);
    return 0; /* what is in *msg goes on to the database */
}

/* ---- The tasks beside it ---- */

static void draw(struct app *app, uint64_t rate)
{
    bk_flow_stats s;
    bk_flow_stats_get(app->flow, &s);
    if (app->lines)
        printf("\033[%dA", app->lines); /* up, over the last picture */
    printf("\033[K%8" PRIu64 " received %8" PRIu64 " stored %6" PRIu64 "/s %5" PRIu64
           " in flight\n",
           s.received, s.stored, rate, s.in_flight);
    app->lines = 1;
    for (int i = 0; i < STRONGEST && app->strongest[i].magnitude > 0; i++, app->lines++)
        printf("\033[K  %4.1f  %s\n", app->strongest[i].magnitude, app->strongest[i].place);
    fflush(stdout);
}

static int show(void *ctx)
{
    struct app *app = ctx;
    uint64_t received[10] = {0};
    int r = 0;
    for (unsigned turn = 0; r == 0; turn++) {
        bk_flow_stats s;
        bk_flow_stats_get(app->flow, &s);
        draw(app, s.received - received[turn % 10]); /* ten turns: a second */
        received[turn % 10] = s.received;
        r = bk_sleep(bk_ms(100));
    }
    return r;
}

/* The first Ctrl-C takes no more and finishes what is in flight; a second one stops. */
static int drain_on(struct app *app, int signo)
{
    bk_signal *signal = NULL;
    int r = bk_signal_open(&signal, signo);
    if (r == 0)
        r = bk_signal_wait(signal);
    if (r > 0) {
        bk_flow_stats s;
        bk_flow_stats_get(app->flow, &s);
        printf("stopping: %" PRIu64 " earthquakes in flight are finished and stored first\n",
               s.in_flight);
        app->lines = 0;
        bk_flow_drain(app->flow);
        r = 0;
    }
    bk_signal_close(&signal);
    return r;
}

static int drain_on_interrupt(void *ctx)
{
    return drain_on(ctx, SIGINT);
}

static int drain_on_terminate(void *ctx)
{
    return drain_on(ctx, SIGTERM);
}

/* ---- The program ---- */

static int build(struct app *app)
{
    char sink[512];
    snprintf(sink, sizeof sink, "sqlite:%s?table=quakes&key=id", app->database);
    int r = bk_flow_new(&app->flow, NULL);
    if (r == 0)
        r = bk_flow_from(app->flow, app->url);
    if (r == 0)
        r = bk_flow_map(app->flow, handle_quake, app, &(bk_stage_opts){.parallel = IN_FLIGHT});
    if (r == 0)
        r = bk_flow_to(app->flow, sink);
    return r;
}

static int watch(void *ctx)
{
    struct app *app = ctx;
    bk_group *beside = NULL;
    int r = build(app);
    if (r == 0)
        r = bk_group_open(&beside, NULL);
    if (r == 0)
        r = bk_group_go(beside, drain_on_interrupt, app, NULL);
    if (r == 0)
        r = bk_group_go(beside, drain_on_terminate, app, NULL);
    if (r == 0 && isatty(STDOUT_FILENO))
        r = bk_group_go(beside, show, app, NULL);
    if (r == 0)
        r = bk_flow_run(app->flow); /* until the server has sent its last */
    if (beside)
        bk_group_cancel(beside);
    return bk_group_close(&beside, r);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: earthquakes ws://HOST:PORT/ DATABASE\n");
        return 2;
    }
    struct app app = {.url = argv[1], .database = argv[2]};
    int r = bk_run(watch, &app, NULL);
    if (r < 0)
        fprintf(stderr, "earthquakes: %s\n", bk_errmsg()[0] ? bk_errmsg() : bk_strerror(r));
    if (app.flow) {
        bk_flow_stats s;
        if (isatty(STDOUT_FILENO))
            draw(&app, 0);
        bk_flow_stats_get(app.flow, &s);
        printf("%" PRIu64 " received, %" PRIu64 " processed, %" PRIu64 " stored, %" PRIu64
               " lost\n",
               s.received, s.processed, s.stored, s.lost);
    }
    bk_flow_free(&app.flow);
    return r < 0;
}
