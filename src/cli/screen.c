/* SPDX-License-Identifier: MIT
 * What people see on stderr: messages, a progress line that is drawn anew, the summary. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

static bool live;  /* there is to be a progress line */
static bool drawn; /* there is one now */

void cli_screen_open(enum cli_progress progress, bool data_on_stdout)
{
    /* Data and a progress line on one terminal would write over each other. */
    bool mixed = data_on_stdout && isatty(STDOUT_FILENO);
    const char *term = getenv("TERM");
    bool capable = isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
    live = progress == CLI_PROGRESS_ALWAYS || (progress == CLI_PROGRESS_AUTO && capable && !mixed);
}

bool cli_screen_live(void)
{
    return live;
}

static void erase(void)
{
    if (drawn)
        fputs("\r\033[K", stderr);
    drawn = false;
}

void cli_say(const char *format, ...)
{
    va_list args;
    erase();
    fputs("beck: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* 1234567 as "1,234,567" */
static const char *grouped(uint64_t n, char *buf, size_t size)
{
    char digits[32];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    size_t out = 0;
    for (int i = 0; i < len && out + 2 < size; i++) {
        if (i && (len - i) % 3 == 0)
            buf[out++] = ',';
        buf[out++] = digits[i];
    }
    buf[out] = '\0';
    return buf;
}

static int terminal_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void cli_screen_draw(const bk_flow_stats *stats, double per_second)
{
    char line[512], a[32], b[32], c[32], d[32], e[32];
    if (!live)
        return;
    double seconds = (double)stats->elapsed.ns / 1e9;
    int len = snprintf(
        line, sizeof line, "%s received  %s processed  %s stored  %s in flight  %s/s  %.1f s",
        grouped(stats->received, a, sizeof a), grouped(stats->processed, b, sizeof b),
        grouped(stats->stored, c, sizeof c), grouped(stats->in_flight, d, sizeof d),
        grouped((uint64_t)per_second, e, sizeof e), seconds);
    if (stats->failed && len < 400)
        len += snprintf(line + len, sizeof line - (size_t)len, "  %s failed",
                        grouped(stats->failed, a, sizeof a));
    if (stats->draining && len < 400)
        snprintf(line + len, sizeof line - (size_t)len, "  draining");
    else if (!stats->started)
        snprintf(line, sizeof line, "connecting");
    fprintf(stderr, "\r\033[K%.*s", terminal_width() - 1, line);
    fflush(stderr);
    drawn = true;
}

void cli_screen_close(void)
{
    erase();
    fflush(stderr);
    live = false;
}

void cli_print_summary(const bk_flow_stats *s)
{
    char more[200] = "", rate[32];
    size_t len = 0;
    const struct {
        uint64_t n;
        const char *what;
    } extra[] = {
        {s->dropped, "dropped"}, {s->failed, "failed"}, {s->returned, "left in the source"}};
    for (size_t i = 0; i < sizeof extra / sizeof *extra; i++)
        if (extra[i].n)
            len += (size_t)snprintf(more + len, sizeof more - len, ", %llu %s",
                                    (unsigned long long)extra[i].n, extra[i].what);
    if (s->reconnects)
        snprintf(more + len, sizeof more - len, ", %llu reconnects (%.1f s without a connection)",
                 (unsigned long long)s->reconnects, (double)s->gap.ns / 1e9);
    double seconds = (double)s->elapsed.ns / 1e9;
    double per_second = seconds > 0 ? (double)s->received / seconds : (double)s->received;
    cli_say("%llu received, %llu processed, %llu stored, %llu lost%s in %.*f s (%s/s)",
            (unsigned long long)s->received, (unsigned long long)s->processed,
            (unsigned long long)s->stored, (unsigned long long)s->lost, more, seconds < 10 ? 3 : 1,
            seconds, grouped((uint64_t)per_second, rate, sizeof rate));
}

void cli_print_stats(const bk_flow_stats *s)
{
    erase();
    fprintf(
        stderr,
        "{\"received\":%llu,\"processed\":%llu,\"stored\":%llu,\"dropped\":%llu,\"failed\":%llu,"
        "\"lost\":%llu,\"returned\":%llu,\"in_flight\":%llu,\"peak\":%llu,\"bytes\":%llu,"
        "\"written\":%llu,\"reconnects\":%llu,\"gap_s\":%.3f,\"elapsed_s\":%.3f}\n",
        (unsigned long long)s->received, (unsigned long long)s->processed,
        (unsigned long long)s->stored, (unsigned long long)s->dropped,
        (unsigned long long)s->failed, (unsigned long long)s->lost, (unsigned long long)s->returned,
        (unsigned long long)s->in_flight, (unsigned long long)s->peak, (unsigned long long)s->bytes,
        (unsigned long long)s->written, (unsigned long long)s->reconnects, (double)s->gap.ns / 1e9,
        (double)s->elapsed.ns / 1e9);
}
