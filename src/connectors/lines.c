/* SPDX-License-Identifier: MIT
 * Lines out of bytes, and their pace: see lines.h. */
#include "connectors/lines.h"

#include <stdlib.h>

#include <beck/task.h>

#include "base/alloc.h"
#include "flow/json.h"

#define READ_SIZE ((size_t)256 * 1024)
#define MAX_LINE ((uint64_t)1024 * 1024)

/* ---- Options ---- */

/* "1000x", "1000", "0.5" */
static int parse_speed(const char *text, double *out)
{
    struct bki_json_value number = {.type = BKI_JSON_REAL, .text = bk_span_str(text)};
    if (number.text.len > 0 && text[number.text.len - 1] == 'x')
        number.text.len--;
    if (bki_json_check(number.text) == 1)
        *out = bki_json_double(&number);
    if (!(*out > 0))
        return bk_fail(-BK_EURL, "speed=%s: a number such as 10, 0.5 or 1000x is wanted", text);
    return 0;
}

int bki_lines_init(struct bki_lines *lines, const struct bki_target *target)
{
    const char *pace = bki_target_option(target, "pace");
    const char *speed = bki_target_option(target, "speed");
    uint64_t max_line;
    *lines = (struct bki_lines){.speed = 1};
    int r = bki_target_size(target, "max", MAX_LINE, &max_line);
    if (r < 0)
        return r;
    if (max_line == 0 || max_line > INT32_MAX)
        return bk_fail(-BK_EURL, "max: a line holds from 1 byte to 2 GiB");
    lines->max_line = (size_t)max_line;
    bki_buf_init(&lines->buf, lines->max_line + 1 + READ_SIZE);
    if (speed && !pace)
        return bk_fail(-BK_EURL, "speed is for pace: say pace=FIELD too");
    if (speed) {
        lines->speed = 0;
        r = parse_speed(speed, &lines->speed);
        if (r < 0)
            return r;
    }
    if (pace && !pace[0])
        return bk_fail(-BK_EURL, "pace=FIELD: the name of the field with the time is wanted");
    if (pace && !(lines->pace = bki_strdup(pace)))
        return bk_fail(-ENOMEM, "no memory for an option");
    return 0;
}

void bki_lines_free(struct bki_lines *lines)
{
    bki_buf_free(&lines->buf);
    bki_free(lines->pace);
    lines->pace = NULL;
}

/* ---- Finding lines ---- */

static int read_more(struct bki_lines *lines)
{
    struct bki_buf *buf = &lines->buf;
    if (lines->draining) {
        lines->ended = true;
        return 0;
    }
    int r = bki_buf_reserve(buf, READ_SIZE);
    if (r < 0)
        return r;
    ssize_t n = lines->read(lines->ctx, bki_buf_end(buf), READ_SIZE);
    if (n > 0) {
        bki_buf_commit(buf, (size_t)n);
    } else if (n == 0) {
        lines->ended = lines->at_break = true;
    } else if (n == BKI_LINES_BREAK) {
        lines->at_break = true;
    } else if (n == BKI_LINES_DROP) {
        bki_buf_consume(buf, bki_buf_len(buf));
        lines->scanned = 0;
    } else {
        return (int)n;
    }
    return 0;
}

/* Sees to it that a line stands at the front of the buffer: 1, 0 at the end, or an error. */
static int find_line(struct bki_lines *lines)
{
    while (lines->line_len == 0) {
        const char *start = bki_buf_start(&lines->buf);
        size_t len = bki_buf_len(&lines->buf);
        const char *nl = NULL;
        if (len > lines->scanned)
            nl = memchr(start + lines->scanned, '\n', len - lines->scanned);
        if (nl) {
            lines->line_len = (size_t)(nl - start) + 1;
        } else if (lines->at_break) {
            lines->at_break = false;
            lines->line_len = len;
            if (len == 0 && lines->ended)
                return 0;
        } else {
            lines->scanned = len;
            if (len > lines->max_line)
                break;
            int r = lines->ended ? 0 : read_more(lines);
            if (r < 0 || (lines->ended && !lines->at_break))
                return r;
        }
    }
    if (lines->line_len == 0 || lines->line_len > lines->max_line + 1)
        return bk_fail(-EMSGSIZE, "a line of more than %zu bytes (raise it with max=)",
                       lines->max_line);
    return 1;
}

/* ---- Pace ---- */

static bool digits(const char **p, const char *end, int n, int *out)
{
    *out = 0;
    if (end - *p < n)
        return false;
    for (int i = 0; i < n; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return false;
        *out = *out * 10 + (**p - '0');
    }
    return true;
}

static bool skip(const char **p, const char *end, const char *set)
{
    if (*p == end || !**p || !strchr(set, **p))
        return false;
    (*p)++;
    return true;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar. */
static int64_t days_to(int year, int month, int day)
{
    int64_t y = year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

/* "Z", "+01:00", "-0530", or nothing, which is taken as UTC. */
static bool parse_zone(const char *p, const char *end, int *minutes)
{
    int h, m;
    *minutes = 0;
    if (p == end || (end - p == 1 && (*p == 'Z' || *p == 'z')))
        return true;
    int sign = *p == '-' ? -1 : 1;
    if (!skip(&p, end, "+-") || !digits(&p, end, 2, &h))
        return false;
    (void)skip(&p, end, ":");
    if (!digits(&p, end, 2, &m) || p != end)
        return false;
    *minutes = sign * (h * 60 + m);
    return true;
}

static bool parse_iso(const char *p, const char *end, double *ms)
{
    int year, month, day, hour = 0, minute = 0, second = 0, zone;
    double fraction = 0, unit = 100;
    if (!digits(&p, end, 4, &year) || !skip(&p, end, "-") || !digits(&p, end, 2, &month) ||
        !skip(&p, end, "-") || !digits(&p, end, 2, &day) || month < 1 || month > 12)
        return false;
    if (p < end) {
        if (!skip(&p, end, "Tt ") || !digits(&p, end, 2, &hour) || !skip(&p, end, ":") ||
            !digits(&p, end, 2, &minute))
            return false;
        if (skip(&p, end, ":") && !digits(&p, end, 2, &second))
            return false;
        if (skip(&p, end, ".,"))
            for (int digit; digits(&p, end, 1, &digit); unit /= 10)
                fraction += digit * unit;
    }
    if (p < end && *p != 'Z' && *p != 'z' && *p != '+' && *p != '-')
        return false;
    if (!parse_zone(p, end, &zone))
        return false;
    int64_t seconds = days_to(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    *ms = (double)(seconds - zone * 60) * 1000 + fraction;
    return true;
}

bool bki_time_parse(bk_span text, bool quoted, double *ms)
{
    if (quoted)
        return parse_iso(text.data, text.data + text.len, ms);
    struct bki_json_value number = {.type = BKI_JSON_REAL, .text = text};
    *ms = bki_json_double(&number);
    return true;
}

static bool time_of(const struct bki_lines *lines, bk_span line, double *ms)
{
    struct bki_json_value v;
    if (bki_json_find(line, lines->pace, &v) <= 0)
        return false;
    if (v.type != BKI_JSON_STRING && v.type != BKI_JSON_INTEGER && v.type != BKI_JSON_REAL)
        return false;
    return bki_time_parse(v.text, v.type == BKI_JSON_STRING, ms);
}

/* Suspends until a line is due.  A line without a time goes at once, except the first of all: then
 * the field is probably wrong. */
static int keep_pace(struct bki_lines *lines, bk_span line)
{
    double ms;
    if (!time_of(lines, line, &ms))
        return lines->paced ? 0
                            : bk_fail(-BK_EFORMAT,
                                      "line 1 has no field '%s' with a time "
                                      "to keep pace by",
                                      lines->pace);
    if (!lines->paced) {
        lines->paced = true;
        lines->first_ms = ms;
        lines->start = bk_now();
        return 0;
    }
    double wait_ns = (ms - lines->first_ms) / lines->speed * 1e6;
    if (!(wait_ns > 0))
        return 0;
    bk_time due = bk_time_add(lines->start, bk_ns(wait_ns < 9e18 ? (int64_t)wait_ns : INT64_MAX));
    return due.ns <= bk_now().ns ? 0 : bk_sleep_until(due);
}

int bki_lines_next(struct bki_lines *lines, bk_msg **msg)
{
    int r = find_line(lines);
    if (r <= 0)
        return r;
    const char *start = bki_buf_start(&lines->buf);
    size_t len = lines->line_len;
    bk_span line = bk_span_of(start, start[len - 1] == '\n' ? len - 1 : len);
    if (lines->pace && !lines->draining) {
        r = keep_pace(lines, line);
        if (r < 0)
            return r;
    }
    r = bk_msg_copy(msg, line.data, line.len);
    if (r < 0)
        return r;
    bki_buf_consume(&lines->buf, len);
    lines->scanned = lines->line_len = 0;
    return 1;
}
