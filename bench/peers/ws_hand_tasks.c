/* SPDX-License-Identifier: MIT
 * The limit of ws_tasks: the same JSON taken apart in the receive buffer and added up, by a plain
 * call for each message instead of a task.  ws_hand_tasks PORT MESSAGES BATCH. */
#include <stdbool.h>

#include "ws_dial.h"

enum { SYMBOLS = 256 };

static struct symbol {
    char name[16];
    uint64_t n;
    double price, volume;
} symbols[SYMBOLS];

static uint64_t count;

/* Behind the text, from p on. */
static const char *behind(const char *p, const char *end, const char *text, size_t len)
{
    const char *hit = memmem(p, (size_t)(end - p), text, len);
    if (!hit)
        exit(1);
    return hit + len;
}

#define BEHIND(p, end, text) behind(p, end, text, sizeof(text) - 1)

static double number(const char *p, const char *end)
{
    double value = 0, place = 1;
    bool fraction = false;
    for (; p < end && ((*p >= '0' && *p <= '9') || *p == '.'); p++) {
        if (*p == '.') {
            fraction = true;
        } else {
            value = value * 10 + (*p - '0');
            place = fraction ? place * 10 : place;
        }
    }
    return value / place;
}

static struct symbol *find(const char *name, size_t len)
{
    unsigned h = 0;
    for (size_t i = 0; i < len; i++)
        h = h * 31 + (unsigned char)name[i];
    for (;; h++) {
        struct symbol *s = &symbols[h % SYMBOLS];
        if (s->n == 0)
            memcpy(s->name, name, len);
        if (memcmp(s->name, name, len) == 0 && s->name[len] == '\0')
            return s;
    }
}

static void take(const char *data, size_t len)
{
    const char *end = data + len, *name = BEHIND(data, end, "\"symbol\":\"");
    const char *name_end = memchr(name, '"', (size_t)(end - name));
    const char *price = BEHIND(name_end, end, "\"price\":");
    const char *size = BEHIND(price, end, "\"size\":");
    const char *side = BEHIND(size, end, "\"side\":\"");
    struct symbol *s = find(name, (size_t)(name_end - name));
    s->n++;
    s->price = number(price, end);
    s->volume += *side == 'b' ? number(size, end) : -number(size, end);
    count++;
}

int main(int argc, char **argv)
{
    static struct dial d;
    if (argc < 4)
        return 2;
    uint64_t wanted = strtoull(argv[2], NULL, 10);
    dial_open(&d, argv);
    int64_t start = dial_ns();
    for (dial_each(&d, take); count < wanted; dial_each(&d, take))
        dial_more(&d);
    printf("RESULT msgs_s=%.0f\n", (double)count * 1e9 / (double)(dial_ns() - start));
    return 0;
}
