/* SPDX-License-Identifier: MIT
 * gather: several calls as the children of a group. */
#include "base/alloc.h"
#include "rt/rt.h"

static int start_calls(bk_group *group, bk_call *calls, size_t n, bk_task **tasks)
{
    for (size_t i = 0; i < n; i++) {
        bk_task_opts opts = {.name = calls[i].name};
        int r = bk_group_go_task(group, &tasks[i], calls[i].fn, calls[i].ctx, &opts);
        if (r < 0)
            return r;
    }
    return 0;
}

int bk_gather(bk_call *calls, size_t n, const bk_gather_opts *opts)
{
    bool collect = opts && opts->collect;
    for (size_t i = 0; i < n; i++)
        calls[i].result = -ECANCELED; /* of a call that never ran */
    bk_task **tasks = bki_zalloc((n ? n : 1) * sizeof(bk_task *));
    if (!tasks)
        return bk_fail(-ENOMEM, "no memory to gather %zu calls", n);
    bk_group *group = NULL;
    bk_errors *seen = NULL; /* every failure is a call's result as well: none is to be reported */
    int r = bk_group_open(&group,
                          &(bk_group_opts){.limit = n,
                                           .keep_going = collect,
                                           .name = "gather",
                                           .errors = opts && opts->errors ? opts->errors : &seen});
    if (r == 0) {
        r = start_calls(group, calls, n, tasks);
        bool all_ended = false;
        if (collect && r == 0) {
            r = bk_group_wait(group);
            all_ended = r == 0;
        }
        int closed = bk_group_close(&group, r);
        /* To collect, a failure is a result like others; but not all have one when cancelled. */
        if (!collect)
            r = closed;
        else if (all_ended)
            r = closed == -ECANCELED ? closed : 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (tasks[i])
            calls[i].result = bk_task_result(tasks[i]);
        bk_task_free(&tasks[i]);
    }
    bk_errors_free(&seen);
    bki_free(tasks);
    return r;
}
