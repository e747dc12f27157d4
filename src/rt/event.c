/* SPDX-License-Identifier: MIT
 * Events: a flag that any number of tasks wait for. */
#include <beck/sync.h>

#include "base/alloc.h"
#include "rt/select.h"
#include "rt/sync.h"

struct bk_event {
    struct bki_owner owner;
    struct bki_list waiters;
    bool set;
    char name[BKI_NAME_MAX];
};

static const struct bki_wait_kind event_kind = {
    .what = "event", .about = "%n", .at = {offsetof(struct bk_event, name)}};

int bk_event_new(bk_event **out, const char *name)
{
    struct bk_event *event = bki_zalloc(sizeof *event);
    if (!event)
        return bk_fail(-ENOMEM, "no memory for an event");
    bki_owner_init(&event->owner);
    bki_list_init(&event->waiters);
    bki_name_set(event->name, name);
    *out = event;
    return 0;
}

void bk_event_free(bk_event **event)
{
    struct bk_event *e = *event;
    *event = NULL;
    if (!e || bki_owner_refuse_free(&e->owner, "event"))
        return;
    bki_grant_all(&e->waiters, -BK_ECLOSED);
    bki_free(e);
}

int bk_event_set(bk_event *event)
{
    int r = bki_owner_check(&event->owner, "event");
    if (r < 0)
        return r;
    event->set = true;
    bki_grant_all(&event->waiters, 0);
    return 0;
}

int bk_event_clear(bk_event *event)
{
    int r = bki_owner_check(&event->owner, "event");
    if (r == 0)
        event->set = false;
    return r;
}

bool bk_event_is_set(const bk_event *event)
{
    return event->set;
}

int bk_event_wait(bk_event *event)
{
    int r = bki_owner_check_wait(&event->owner, "event");
    if (r < 0 || event->set)
        return r;
    struct bki_waiter w;
    r = bki_wait(&event->waiters, &w, &event_kind, event);
    /* The wake-up took nothing away from anybody: a cancel of the same turn shows at once. */
    return r < 0 ? bki_fail_freed(r, "event") : bki_check_cancel();
}

/* ---- In a select ---- */

static int check_case(bk_case *c, struct bki_case_state *state)
{
    (void)state;
    return bki_owner_check(&((struct bk_event *)c->object)->owner, "event");
}

static int try_case(bk_case *c, struct bki_case_state *state)
{
    (void)state;
    return bk_event_is_set(c->object) ? 0 : -EAGAIN;
}

static int join_case(bk_case *c, struct bki_case_state *state, struct bki_select *select)
{
    return bki_case_join(state, select, &((struct bk_event *)c->object)->waiters, NULL);
}

static int finish_case(bk_case *c, struct bki_case_state *state)
{
    (void)c;
    return bki_fail_freed(state->w.result, "event");
}

static const struct bki_case_kind event_case = {
    .wait = &event_kind,
    .check = check_case,
    .try_now = try_case,
    .join = join_case,
    .leave = bki_case_leave,
    .finish = finish_case,
};

bk_case bk_case_event(bk_event *event)
{
    return (bk_case){.kind = &event_case, .object = event};
}
