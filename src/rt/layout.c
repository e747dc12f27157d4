/* SPDX-License-Identifier: MIT
 * The table of where things lie, filled in by the compiler. */
#include "rt/layout.h"

#include <stddef.h>

#include "base/version.h"
#include "rt/owner.h"
#include "rt/switch.h"

#define LOOP(member) offsetof(struct bk_loop, member)
#define TASK(member) offsetof(struct bk_task, member)
#define KIND(member) offsetof(struct bki_wait_kind, member)
#define WAITER(member) offsetof(struct bki_waiter, member)

/* `used`, and in a section whose name is no identifier: it stays when nothing refers to it. */
__attribute__((used, section(BKI_LAYOUT_SECTION))) const struct bki_layout bki_layout = {
    .magic = {'b', 'e', 'c', 'k', 't', 'a', 's', 'k'},
    .version = BKI_LAYOUT_VERSION,
    .size = sizeof(struct bki_layout),
    .loops = &bki_loops,
    .library_version = bki_version,
    .loop =
        {
            .link = LOOP(loops_link),
            .id = LOOP(id),
            .thread_id = LOOP(thread_id),
            .tasks = LOOP(tasks),
            .ended = LOOP(ended),
            .virtual_clock = LOOP(virtual_clock),
            .virtual_ns = LOOP(virtual_ns),
        },
    .task =
        {
            .size = sizeof(struct bk_task),
            .sp = TASK(run.sp),
            .state = TASK(state),
            .fn = TASK(fn),
            .name = TASK(name),
            .name_made = TASK(name_made),
            .id = TASK(id),
            .parent_id = TASK(parent_id),
            .site = TASK(spawn_site),
            .link = TASK(all_link),
            .joiners = TASK(joiners),
            .group = TASK(group),
            .wait_kind = TASK(wait_kind),
            .wait_object = TASK(wait_object),
            .wait_since = TASK(wait_since_ns),
            .cancel_frame = TASK(cancel_frame),
        },
    .kind =
        {
            .size = sizeof(struct bki_wait_kind),
            .what = KIND(what),
            .about = KIND(about),
            .at = KIND(at),
            .edge = KIND(edge),
        },
    .waiter =
        {
            .link = WAITER(link),
            .task = WAITER(task),
            .value = WAITER(value),
            .select = WAITER(select),
        },
    .saved =
        {
            .pc = BKI_SAVED_PC,
            .fp = BKI_SAVED_FP,
            .sp = BKI_SAVED_SP,
            .add = BKI_SAVED_SIZE,
        },
};
