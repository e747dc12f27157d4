/* SPDX-License-Identifier: MIT
 * The earthquake watch: receives earthquakes from a WebSocket, handles each in a task of its own,
 * stores them in SQLite, and shows how it goes and the strongest so far.  `make demo` runs it.
 *
 *     build/beck pipe file:quakes.ndjson --to 'ws-listen://127.0.0.1:9000/?wait=1' &
 *     build/examples/earthquakes ws://127.0.0.1:9000/ quakes.db
 *
 * Exit status: 0 all that was received is stored (also after Ctrl-C), 1 failure, 2 wrong usage, 130
 * stopped by a second Ctrl-C. */
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <beck.h>

enum { STRONGEST = 5, IN_FLIGHT = 256, TURNS = 10 /* of the picture in a second */ };

struct quake {
    double magnitude;
    time_t time;
    char place[80];
};

struct app {
    const char *url, *database;
    bk_flow *flow;
    struct quake latest, strongest[STRONGEST]; /* the strongest in falling order */
    char note[160];                            /* what the user must know, "" if nothing */
    bool live, colour;                         /* there is a picture; it has colours */
    struct winsize screen;
    int lines; /* of the picture that is on the screen */
};

/* ---- One earthquake ---- */

/* The text after a name in a flat JSON object, "" if it is not there. */
static const char *field(const char *json, const char *name)
{
    const char *at = strstr(json, name);
    return at ? at + strlen(name) : "";
}

static void note_strength(struct app *app, const struct quake *quake)
{
    int i = STRONGEST;
    while (i > 0 && app->strongest[i - 1].magnitude < quake->magnitude)
        i--;
    if (i == STRONGEST)
        return;
    memmove(&app->strongest[i + 1], &app->strongest[i],
            (size_t)(STRONGEST - 1 - i) * sizeof *quake);
    app->strongest[i] = *quake;
}

/* A task for each message. */
static int handle_quake(void *ctx, bk_msg **msg)
{
    struct app *app = ctx;
    int r = bk_sleep(bk_ms(50)); /* stands for real work: a look-up, a request, an alert */
    if (r < 0)
        return r;
    char json[1024]; /* a string of its own: a message does not end with a zero */
    snprintf(json, sizeof json, "%.*s", (int)bk_msg_len(*msg), bk_msg_data(*msg));
    const char *place = field(json, "\"place\":\"");
    struct quake quake = {.magnitude = strtod(field(json, "\"mag\":"), NULL),
                          .time = strtoll(field(json, "\"time\":"), NULL, 10) / 1000};
    snprintf(quake.place, sizeof quake.place, "%.*s", (int)strcspn(place, "\""), place);
    note_strength(app, &quake);
    if (app->latest.time < quake.time)
        app->latest = quake;
    return 0; /* what is in *msg goes on to the database */
}

/* ---- The picture: drawn over the last one, in one write, no line longer than the screen ---- */

/* How many bytes of a text in UTF-8 fit into so many columns. */
static int fitting(const char *text, int columns)
{
    int i = 0;
    for (; text[i]; i++)
        if ((text[i] & 0xc0) != 0x80 && columns-- == 0)
            break;
    return i;
}

static void draw_line(struct app *app, const char *colour, const char *format, ...)
{
    char text[256];
    if (app->lines + 1 >= app->screen.ws_row)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bool plain = !app->colour || !colour;
    printf("%s%.*s%s\033[K\n", plain ? "" : colour, fitting(text, app->screen.ws_col - 1), text,
           plain ? "" : "\033[0m");
    app->lines++;
}

static const char *date(time_t time, char *buf, size_t size)
{
    struct tm utc;
    buf[0] = '\0';
    if (time)
        strftime(buf, size, "%a %e %b %Y %H:%M UTC", gmtime_r(&time, &utc));
    return buf;
}

static void draw(struct app *app, double per_second)
{
    char when[40];
    bk_flow_stats s;
    bk_flow_stats_get(app->flow, &s);
    if (app->lines)
        printf("\033[%dA\r", app->lines); /* up, over the last picture */
    app->lines = 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &app->screen) < 0 || app->screen.ws_col == 0)
        app->screen = (struct winsize){.ws_row = 24, .ws_col = 80};
    draw_line(app, "\033[1m",
              "%7" PRIu64 " received %7" PRIu64 " stored %5" PRIu64 " tasks in flight %6.0f/s",
              s.received, s.stored, s.in_flight, per_second);
    date(app->latest.time, when, sizeof when);
    draw_line(app, NULL, "        %s", app->note[0] ? app->note : s.started ? when : "connecting");
    for (int i = 0; i < STRONGEST && app->strongest[i].magnitude > 0; i++) {
        const struct quake *q = &app->strongest[i];
        const char *colour = q->magnitude >= 6 ? "\033[31m" : q->magnitude >= 5 ? "\033[33m" : NULL;
        draw_line(app, colour, "%7.1f  %-44s %.10s", q->magnitude, q->place,
                  date(q->time, when, sizeof when));
    }
    printf("\033[J"); /* and nothing below, such as a ^C */
    fflush(stdout);
}

static void note(struct app *app, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(app->note, sizeof app->note, format, args);
    va_end(args);
    if (!app->live && app->note[0]) {
        puts(app->note);
        fflush(stdout);
    }
}

/* The flow tells that its connection is lost, or back. */
static void on_event(void *ctx, const bk_flow_event *event)
{
    bool fine = event->kind == BK_FLOW_READY || event->kind == BK_FLOW_RECONNECTED;
    note(ctx, "%s", fine ? "" : event->text);
}

/* ---- The tasks beside it ---- */

static int show(void *ctx)
{
    struct app *app = ctx;
    uint64_t received[TURNS] = {0};
    int r = 0;
    for (unsigned turn = 0; r == 0; turn = (turn + 1) % TURNS) {
        bk_flow_stats s;
        bk_flow_stats_get(app->flow, &s);
        draw(app, (double)(s.received - received[turn])); /* since a second ago */
        received[turn] = s.received;
        r = bk_sleep(bk_ms(1000 / TURNS));
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
        note(app, "stopping: %" PRIu64 " earthquakes in flight are finished and stored first",
             s.in_flight);
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
    int r = bk_flow_new(&app->flow, &(bk_flow_opts){.on_event = on_event, .event_ctx = app});
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
    if (r == 0 && app->live)
        r = bk_group_go(beside, show, app, NULL);
    if (r == 0)
        r = bk_flow_run(app->flow); /* until the server has sent its last */
    if (beside)
        bk_group_cancel(beside);
    return bk_group_close(&beside, r);
}

/* What the environment says about the screen. */
static void look_at_screen(struct app *app)
{
    const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    app->live = isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0;
    app->colour = app->live && !(no_colour && no_colour[0]);
    if (app->live)
        setvbuf(stdout, NULL, _IOFBF, 1 << 14); /* a picture is one write: nothing flickers */
}

static void sum_up(struct app *app)
{
    bk_flow_stats s;
    bk_flow_stats_get(app->flow, &s);
    if (!s.started)
        return;
    double seconds = (double)s.elapsed.ns / 1e9;
    if (app->live)
        draw(app, seconds > 0 ? (double)s.received / seconds : 0);
    printf("%" PRIu64 " received, %" PRIu64 " processed, %" PRIu64 " stored, %" PRIu64
           " lost in %.1f s\n",
           s.received, s.processed, s.stored, s.lost, seconds);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: earthquakes ws://HOST:PORT/ DATABASE\n");
        return 2;
    }
    struct app app = {.url = argv[1], .database = argv[2]};
    look_at_screen(&app);
    int r = bk_run(watch, &app, NULL);
    if (app.flow)
        sum_up(&app);
    bk_flow_free(&app.flow);
    if (r < 0)
        fprintf(stderr, "earthquakes: %s\n", bk_errmsg()[0] ? bk_errmsg() : bk_strerror(r));
    return r == -BK_EINTERRUPTED ? 130 : r < 0;
}
