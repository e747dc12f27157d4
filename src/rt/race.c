/* SPDX-License-Identifier: MIT
 * race: several ways to the same end, each started when the one before it is slow or has failed. */
#include "base/alloc.h"
#include "rt/rt.h"
#include "rt/symbol.h"

struct race {
    bk_group *group;
    bk_call *calls;
    int winner;  /* -1: none yet */
    int failure; /* the first */
    struct bki_error_slot error;
    struct racer {
        struct race *race;
        bk_call *call;
    } racers[];
};

static int run_racer(void *ctx)
{
    struct racer *racer = ctx;
    struct race *race = racer->race;
    int r = racer->call->result = racer->call->fn(racer->call->ctx);
    if (race->winner >= 0)
        return 0;
    if (r >= 0) {
        race->winner = (int)(racer->call - race->calls);
        bk_group_cancel(race->group);
    } else if (race->failure == 0) {
        race->failure = r;
        bki_error_slot_copy(&race->error, &bki_self()->error);
    }
    return 0;
}

static int start_racer(struct race *race, bk_task **out, size_t i)
{
    char label[BKI_NAME_MAX * 2];
    const bk_call *call = &race->calls[i];
    bk_task_opts opts = {.name = call->name};
    if (!opts.name && bki_symbol_name((void *)(uintptr_t)call->fn, label, sizeof label) >= 0)
        opts.name = label;
    return bk_group_go_task(race->group, out, run_racer, &race->racers[i], &opts);
}

/* Starts the racers; the group's end, by a winner or by a cancel from outside, ends the waits. */
static int start_all(struct race *race, size_t n, bk_duration delay)
{
    int r = 0;
    for (size_t i = 0; r >= 0 && i < n; i++) {
        bk_task *task = NULL;
        r = start_racer(race, &task, i);
        if (r == 0 && delay.ns > 0 && i + 1 < n)
            r = bk_wait(&task, 1, BK_FIRST_COMPLETED, delay);
        bk_task_free(&task);
    }
    return r < 0 ? r : bk_group_wait(race->group);
}

static int run_race(struct race *race, size_t n, bk_duration delay)
{
    int r = bk_group_open(&race->group, &(bk_group_opts){.limit = n, .name = "race"});
    if (r < 0)
        return r;
    struct bki_cancel_told told = bki_cancel_told_save();
    r = bk_group_close(&race->group, start_all(race, n, delay));
    if (race->winner >= 0) {
        bki_cancel_told_restore(told); /* it has won: a cancel shows at the caller's next call */
        return race->winner;
    }
    if (r == 0 && race->failure < 0) {
        r = race->failure;
        bki_error_slot_adopt(&race->error);
    }
    return r;
}

int bk_race(bk_call *calls, size_t n, bk_duration delay)
{
    if (n == 0)
        return bk_fail(-EINVAL, "bk_race of no calls");
    for (size_t i = 0; i < n; i++)
        calls[i].result = -ECANCELED; /* of a call that never ran */
    int r = bki_check_cancel();
    if (r < 0)
        return r;
    struct race *race = bki_zalloc(sizeof *race + n * sizeof race->racers[0]);
    if (!race)
        return bk_fail(-ENOMEM, "no memory for a race of %zu calls", n);
    race->calls = calls;
    race->winner = -1;
    for (size_t i = 0; i < n; i++)
        race->racers[i] = (struct racer){race, &calls[i]};
    r = run_race(race, n, delay);
    bki_error_slot_free(&race->error);
    bki_free(race);
    return r;
}
