/* SPDX-License-Identifier: MIT
 * The writer of HTTP/1.1 heads: every part is checked against the class of bytes it may hold. */
#include "proto/http_write.h"

#include <errno.h>
#include <stdio.h>

#include "proto/http_chars.h"

void bki_http_write_init(struct bki_http_writer *w, char *buf, size_t cap)
{
    *w = (struct bki_http_writer){.buf = buf, .cap = cap};
}

static void put(struct bki_http_writer *w, bk_span s)
{
    if (w->len < w->cap && s.len > 0) {
        size_t room = w->cap - w->len;
        memcpy(w->buf + w->len, s.data, s.len < room ? s.len : room);
    }
    w->len += s.len;
}

static void put_text(struct bki_http_writer *w, const char *text)
{
    put(w, bk_span_str(text));
}

static bool check(struct bki_http_writer *w, bool good, const char *fault)
{
    if (!good && !w->fault)
        w->fault = fault;
    return good;
}

void bki_http_write_request(struct bki_http_writer *w, bk_span method, bk_span target)
{
    if (!check(w, bki_is_token(method), "the method is not a token") ||
        !check(w, target.len > 0 && bki_chars_all(target, BKI_CHAR_TARGET),
               "the request target has bytes that must be percent-encoded"))
        return;
    put(w, method);
    put_text(w, " ");
    put(w, target);
    put_text(w, " HTTP/1.1\r\n");
}

void bki_http_write_status(struct bki_http_writer *w, int status, bk_span reason)
{
    char line[] = "HTTP/1.1 000 ";
    if (!check(w, status >= 100 && status <= 999, "the status is not of three digits") ||
        !check(w, bki_chars_all(reason, BKI_CHAR_VALUE), "a control character in the reason"))
        return;
    for (int i = 11, left = status; i > 8; i--, left /= 10)
        line[i] = (char)('0' + left % 10);
    put(w, bk_span_of(line, sizeof line - 1));
    put(w, reason.len > 0 ? reason : bk_span_str(bki_http_reason(status)));
    put_text(w, "\r\n");
}

void bki_http_write_field(struct bki_http_writer *w, bk_span name, bk_span value)
{
    if (!check(w, bki_is_token(name), "a header name is not a token") ||
        !check(w, bki_chars_all(value, BKI_CHAR_VALUE), "a control character in a header value"))
        return;
    put(w, name);
    put_text(w, ": ");
    put(w, value);
    put_text(w, "\r\n");
}

void bki_http_write_number(struct bki_http_writer *w, bk_span name, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    bki_http_write_field(w, name, bk_span_of(digits + at, sizeof digits - at));
}

ssize_t bki_http_write_end(struct bki_http_writer *w)
{
    if (w->fault)
        return -EINVAL;
    put_text(w, "\r\n");
    return (ssize_t)w->len;
}

ssize_t bki_http_write_body(struct bki_http_writer *w, bk_span body)
{
    if (w->fault)
        return -EINVAL;
    put(w, body);
    return (ssize_t)w->len;
}

void bki_http_write_fault(struct bki_http_writer *w, const char *fault)
{
    check(w, false, fault);
}

void bki_http_date(char text[BKI_HTTP_DATE_SIZE], time_t when)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm t;
    gmtime_r(&when, &t);
    snprintf(text, BKI_HTTP_DATE_SIZE, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
             days + 3 * t.tm_wday, t.tm_mday, months + 3 * t.tm_mon, (t.tm_year + 1900) % 10000,
             t.tm_hour, t.tm_min, t.tm_sec);
}

static const struct {
    int status;
    const char *words;
} reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {102, "Processing"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {208, "Already Reported"},
    {226, "IM Used"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {305, "Use Proxy"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {506, "Variant Also Negotiates"},
    {507, "Insufficient Storage"},
    {508, "Loop Detected"},
    {510, "Not Extended"},
    {511, "Network Authentication Required"},
};

const char *bki_http_reason(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].words;
    return "";
}
