/* SPDX-License-Identifier: MIT
 * Futures: an outcome set once, and the tasks that wait for it. */
#include <beck/future.h>

#include "base/alloc.h"
#include "rt/sync.h"

enum future_state { PENDING, SETTLED, CANCELLED };

struct bk_future {
    struct bki_list waiters;
    enum future_state state;
    int result;
    void *value;
};

/* The outcome is copied to each waiter, for the future may be freed before the waiter runs. */
struct future_waiter {
    struct bki_waiter w;
    int result;
};

static const struct bki_wait_kind future_kind = {.what = "future"};

int bk_future_new(bk_future **out)
{
    struct bk_future *future = bki_zalloc(sizeof *future);
    if (!future)
        return bk_fail(-ENOMEM, "no memory for a future");
    bki_list_init(&future->waiters);
    *out = future;
    return 0;
}

void bk_future_free(bk_future **future)
{
    struct bk_future *f = *future;
    *future = NULL;
    if (!f)
        return;
    bki_grant_all(&f->waiters, -BK_ECLOSED);
    bki_free(f);
}

int bk_future_set(bk_future *future, int result, void *value)
{
    if (future->state != PENDING)
        return bk_fail(-EALREADY, "the future was settled before");
    if (bki_line_is_foreign(&future->waiters))
        return bki_fail_foreign("future");
    future->state = SETTLED;
    future->result = result;
    future->value = value;
    struct bki_list *first;
    while ((first = bki_list_first(&future->waiters))) {
        struct future_waiter *fw = bki_container(first, struct future_waiter, w.link);
        fw->result = result;
        fw->w.value = value;
        bki_grant(&fw->w, 0);
    }
    return 0;
}

int bk_future_cancel(bk_future *future)
{
    if (future->state != PENDING)
        return 0;
    future->state = CANCELLED;
    bki_grant_all(&future->waiters, -ECANCELED);
    return 1;
}

bool bk_future_done(const bk_future *future)
{
    return future->state != PENDING;
}

bool bk_future_cancelled(const bk_future *future)
{
    return future->state == CANCELLED;
}

static int hand_out(int result, void *value, int *result_out, void **value_out)
{
    if (result_out)
        *result_out = result;
    if (value_out)
        *value_out = value;
    return 0;
}

int bk_future_get(bk_future *future, int *result, void **value)
{
    if (future->state == PENDING)
        return -EINPROGRESS;
    if (future->state == CANCELLED)
        return -ECANCELED;
    return hand_out(future->result, future->value, result, value);
}

int bk_future_wait(bk_future *future, int *result, void **value)
{
    int r = bki_check_cancel();
    if (r < 0)
        return r;
    if (future->state != PENDING)
        return bk_future_get(future, result, value);
    if (bki_line_is_foreign(&future->waiters))
        return bki_fail_foreign("future");
    struct future_waiter fw;
    r = bki_wait(&future->waiters, &fw.w, &future_kind, future);
    /* The outcome stays with the future, so a cancel of the same turn shows at once. */
    if (r < 0 || (r = bki_check_cancel()) < 0)
        return bki_fail_freed(r, "future");
    return hand_out(fw.result, fw.w.value, result, value);
}
