/* SPDX-License-Identifier: MIT
 * What tasks wait for, told by a format and the places of the values in the object: data, so that
 * it can be read from another process as well.
 *
 *     .about = "%n(%u of %u)", .at = {offsetof(struct x, name), offsetof(struct x, len), ...}
 *
 *     %n   a name, char[BKI_NAME_MAX]:            'db' and a space, or nothing
 *     %u   a size_t
 *     %i   an int
 *     %l   a size_t that limits:                  " of 64", or nothing when it is BK_UNBOUNDED
 *     %r   two: a ring's head and tail, and a size_t to add (0: none):   how many are inside
 *     %d   two: a size_t, and one to subtract from it
 *     %h   two: the id of the task that holds it, and since when:        "held by #3 writer since
 *          3.200 s"; "held by a task that has ended"
 *     %c   the id of a task, 0 for none:          ", consumer #3 parse"
 *     %p   the same:                              ", producer #3 feed"
 *     %s   a pointer to a text, which may be NULL
 *     %w   a moment of the loop's clock, int64_t:  "9.250 s"
 *     %T   no place, the object is a task:        "#3 writer" */
#ifndef BECK_SRC_RT_ABOUT_H
#define BECK_SRC_RT_ABOUT_H

#include "rt/rt.h"

/* What the format needs from whoever reads the object. */
struct bki_about_source {
    /* False: the memory cannot be read. */
    bool (*read)(void *ctx, uint64_t address, void *buf, size_t size);
    /* The name of the task with an id, NULL when there is none; by address: *id as well. */
    const char *(*name_of)(void *ctx, uint64_t id);
    const char *(*task_at)(void *ctx, uint64_t address, uint64_t *id);
    int64_t now_ns;
    void *ctx;
};

/* Writes what `format` says of the object into buf. */
void bki_about(const struct bki_about_source *source, const char *format, const uint16_t *at,
               uint64_t object, char *buf, size_t size);

/* What a kind of wait says of an object of the running loop, "" when nothing. */
void bki_describe(const struct bki_wait_kind *kind, const void *object, char *buf, size_t size);

#endif
