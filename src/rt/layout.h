/* SPDX-License-Identifier: MIT
 * Where things lie in memory, written down for those who look from outside: another process
 * (bk_snapshot_take, `beck ps`), a debugger, a core file.
 *
 * The table lies in a section of its own, .beck_layout, of every program and library that holds the
 * runtime, stripped or not.  What is read through it must be read defensively: the process runs on.
 * A change of meaning raises BKI_LAYOUT_VERSION; moved members do not. */
#ifndef BECK_SRC_RT_LAYOUT_H
#define BECK_SRC_RT_LAYOUT_H

#include "rt/rt.h"

#define BKI_LAYOUT_SECTION ".beck_layout"
#define BKI_LAYOUT_MAGIC "becktask"
#define BKI_LAYOUT_VERSION 1
#define BKI_MOST_TASK_SIZE 1024 /* for those who copy one */

struct bki_layout {
    char magic[8];
    uint32_t version;
    uint32_t size; /* of this table */
    const struct bki_list *loops;
    const char *library_version;
    struct {
        uint16_t link, id, thread_id, tasks, ended, virtual_clock, virtual_ns;
    } loop;
    struct {
        uint16_t size, sp, state, fn, name, name_made, id, parent_id, site, link, joiners, group,
            wait_kind, wait_object, wait_since, cancel_frame;
    } task;
    struct {
        uint16_t size, what, about, at, edge;
    } kind;
    struct {
        uint16_t link, task, value, select;
    } waiter; /* in a task's joiners; task is NULL in a watch, whose value is the task then */
    struct {
        uint16_t pc, fp, sp; /* from the saved stack pointer; sp is 0: the pointer plus add */
        uint16_t add;
    } saved;
};

extern const struct bki_layout bki_layout;

#endif
