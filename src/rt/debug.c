/* SPDX-License-Identifier: MIT
 * What debug mode keeps: the objects made and not freed, each with the place that made it, and the
 * map of the program's code to name it. */
#include "rt/debug.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "rt/code_map.h"
#include "rt/report.h"

#define DEFAULT_LIMIT_MS 100
#define MOST_FRAMES 16
#define SAFE_STACK 1024

struct bki_debug {
    struct bki_code_map code;
    struct bki_list tracked;
};

/* ---- The loop's part ---- */

static bool is_wanted(const struct bk_loop *loop)
{
    const char *set = getenv("BECK_DEBUG");
    return loop->opts.debug || (set && strcmp(set, "1") == 0);
}

int bki_debug_open(struct bk_loop *loop)
{
    if (!is_wanted(loop))
        return 0;
    if (!loop->opts.stall_limit.ns)
        loop->opts.stall_limit = bk_ms(DEFAULT_LIMIT_MS);
    loop->debug = bki_zalloc(sizeof *loop->debug);
    if (!loop->debug)
        return bk_fail(-ENOMEM, "no memory for debug mode");
    bki_list_init(&loop->debug->tracked);
    int r = bki_code_map_open(&loop->debug->code, 0);
    return r == -ENOMEM ? bk_fail(r, "no memory for debug mode") : 0; /* without /proc: no names */
}

void bki_debug_close(struct bk_loop *loop)
{
    if (!loop->debug)
        return;
    while (bki_list_pop(&loop->debug->tracked))
        ;
    bki_code_map_close(&loop->debug->code);
    bki_free(loop->debug);
    loop->debug = NULL;
}

/* ---- Who makes it ---- */

static bool read_own(void *ctx, uint64_t address, void *buf, size_t size)
{
    const uint64_t *bounds = ctx;
    if (address < bounds[0] || address >= bounds[1] || size > bounds[1] - address)
        return false;
    memcpy(buf, (const void *)(uintptr_t)address, size);
    return true;
}

static bool is_ours(struct bki_code_map *code, const struct bki_frame *frame)
{
    const char *name = bki_code_map_place(code, frame->pc, frame->is_caller)->function;
    return strncmp(name, "bk_", 3) == 0 || strncmp(name, "bki_", 4) == 0;
}

static bool is_public(struct bki_code_map *code, const struct bki_frame *frame)
{
    const char *name = bki_code_map_place(code, frame->pc, frame->is_caller)->function;
    return strncmp(name, "bk_", 3) == 0;
}

/* The first frame behind a public function, which called it; 0 when the way is lost. */
static uint64_t calling_line(struct bki_debug *debug)
{
    struct bki_frame frame;
    bki_frame_here(&frame);
    /* A task lies at the top of its stack; on the thread's own, a little is enough. */
    uint64_t low = frame.regs[BKI_UNWIND_SP];
    uint64_t bounds[2] = {low, bki_in_task() ? (uint64_t)(uintptr_t)bki_self() : low + SAFE_STACK};
    bool behind = false;
    for (int i = 0; i < MOST_FRAMES; i++) {
        if (behind && !is_ours(&debug->code, &frame))
            return frame.pc;
        behind = is_public(&debug->code, &frame);
        if (bki_code_map_unwind(&debug->code, &frame, read_own, bounds) != 1)
            break;
    }
    return 0;
}

void bki_track(struct bki_tracked *t, const char *what)
{
    struct bki_debug *debug = bki_loop->debug;
    if (__builtin_expect(!debug, 1))
        return;
    t->what = what;
    t->site = calling_line(debug);
    bki_list_push_back(&debug->tracked, &t->link);
}

/* ---- Words ---- */

const char *bki_debug_origin(const char *verb, const void *site, char *buf, size_t size)
{
    struct bki_debug *debug = bki_loop->debug;
    buf[0] = '\0';
    if (!debug || !site)
        return buf;
    const struct bki_place *p = bki_code_map_place(&debug->code, (uint64_t)(uintptr_t)site, true);
    if (p->line)
        snprintf(buf, size, "%s in %s (%s:%d)", verb, p->function, p->file, p->line);
    else if (p->function[0])
        snprintf(buf, size, "%s in %s+0x%lx", verb, p->function, p->offset);
    return buf;
}

void bki_debug_report_leaks(struct bk_loop *loop)
{
    struct bki_list *node;
    while (loop->debug && (node = bki_list_pop(&loop->debug->tracked))) {
        const struct bki_tracked *t = bki_container(node, struct bki_tracked, link);
        char what[64], origin[160];
        snprintf(what, sizeof what, "a %s was not freed", t->what);
        bk_error_report report = {
            .what = what,
            .origin =
                bki_debug_origin("made", (const void *)(uintptr_t)t->site, origin, sizeof origin),
        };
        bki_report(&report);
    }
}

/* ---- Time ---- */

int64_t bki_debug_clock_ns(void)
{
    struct timespec t;
    if (!bki_debug_on())
        return 0;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void bki_debug_slow(int64_t since_ns, int64_t allowed_ns, const char *what, const char *detail)
{
    if (!since_ns || !bki_debug_on())
        return;
    int64_t ns = bki_debug_clock_ns() - since_ns - allowed_ns;
    if (ns < bki_loop->opts.stall_limit.ns)
        return;
    char text[192];
    snprintf(text, sizeof text, "%s%s%.3f s", detail, detail[0] ? ": " : "", (double)ns / 1e9);
    bki_report(&(bk_error_report){.what = what, .detail = text});
}
