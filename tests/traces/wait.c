/* SPDX-License-Identifier: MIT
 * Traces of gather and of task groups. */
#include "tests/traces/traces.h"

struct nap {
    int ms, value;
};

static int nap_and_say_done(void *ctx)
{
    const struct nap *nap = ctx;
    int r = bk_sleep(bk_ms(nap->ms));
    if (r < 0)
        return r;
    say("done%d", nap->value);
    return nap->value;
}

/* asyncio.gather */
static int t23(void *ctx)
{
    (void)ctx;
    struct nap a = {20, 1}, b = {10, 2};
    bk_call calls[] = {{.fn = nap_and_say_done, .ctx = &a}, {.fn = nap_and_say_done, .ctx = &b}};
    int r = bk_gather(calls, 2, NULL);
    say("[%d,%d]", calls[0].result, calls[1].result);
    return r;
}

static int fail_later(void *ctx)
{
    (void)ctx;
    int r = bk_sleep(bk_ms(10));
    return r < 0 ? r : VALUE_ERROR;
}

static int finish_slowly(void *ctx)
{
    (void)ctx;
    int r = bk_sleep(bk_ms(30));
    if (r == 0)
        say("slow-done");
    return r;
}

/* gather over tasks: the siblings of a failure run on. */
static int t24(void *ctx)
{
    (void)ctx;
    bk_task *tasks[2] = {NULL};
    bk_go(&tasks[0], fail_later, NULL, NULL);
    bk_go(&tasks[1], finish_slowly, NULL, NULL);
    if (bk_gather_tasks(tasks, 2, NULL) == VALUE_ERROR)
        say("VE");
    bk_sleep(bk_ms(50));
    bk_task_free(&tasks[0]);
    bk_task_free(&tasks[1]);
    return 0;
}

static int fail_at_once(void *ctx)
{
    (void)ctx;
    return VALUE_ERROR;
}

static int return_1(void *ctx)
{
    (void)ctx;
    return 1;
}

static int sleep_9(void *ctx)
{
    (void)ctx;
    return bk_sleep(bk_seconds(9));
}

static int cancel_task(void *ctx)
{
    bk_task_cancel(ctx);
    return 0;
}

/* gather(..., return_exceptions=True) */
static int t25(void *ctx)
{
    (void)ctx;
    bk_task *tasks[3] = {NULL};
    bk_go(&tasks[0], fail_at_once, NULL, NULL);
    bk_go(&tasks[1], return_1, NULL, NULL);
    bk_go(&tasks[2], sleep_9, NULL, NULL);
    bk_call_later(NULL, bk_ms(10), cancel_task, tasks[2]);
    int r = bk_gather_tasks(tasks, 3, &(bk_gather_opts){.collect = true});
    for (int i = 0; i < 3; i++) {
        say("%s", py_result(bk_task_result(tasks[i])));
        bk_task_free(&tasks[i]);
    }
    return r;
}

static int sleep_and_say_cancelled(void *ctx)
{
    int r = bk_sleep(bk_seconds(9));
    if (r == -ECANCELED)
        say("%s", (const char *)ctx);
    return r;
}

static int gather_two(void *ctx)
{
    (void)ctx;
    bk_call calls[] = {{.fn = sleep_and_say_cancelled, .ctx = "c1"},
                       {.fn = sleep_and_say_cancelled, .ctx = "c2"}};
    return bk_gather(calls, 2, NULL);
}

static int t26(void *ctx)
{
    (void)ctx;
    bk_task *t = NULL;
    bk_go(&t, gather_two, NULL, NULL);
    ticks(2);
    bk_task_cancel(t);
    bk_wait(&t, 1, BK_ALL_COMPLETED, bk_forever());
    say("%s", py_bool(bk_task_cancelled(t)));
    bk_task_free(&t);
    return 0;
}

static int say_once(void *ctx)
{
    (void)ctx;
    say("once");
    return 4;
}

static int t27(void *ctx)
{
    (void)ctx;
    if (bk_gather(NULL, 0, NULL) == 0)
        say("[]");
    bk_task *x = NULL;
    bk_go(&x, say_once, NULL, NULL);
    bk_task *tasks[] = {x, x};
    int r = bk_gather_tasks(tasks, 2, NULL);
    say("[%d,%d]", bk_task_result(tasks[0]), bk_task_result(tasks[1]));
    bk_task_free(&x);
    return r;
}

static int nap_and_say(void *ctx)
{
    const char *seconds = ctx; /* "0.02" */
    int r = bk_sleep(bk_ms(10 * (seconds[3] - '0')));
    if (r == 0)
        say("%s", seconds);
    return r;
}

/* asyncio.TaskGroup */
static int t37(void *ctx)
{
    (void)ctx;
    bk_group *g = NULL;
    int r = bk_group_open(&g, NULL);
    if (r == 0)
        r = bk_group_go(g, nap_and_say, "0.02", NULL);
    if (r == 0)
        r = bk_group_go(g, nap_and_say, "0.01", NULL);
    say("body");
    r = bk_group_close(&g, r);
    say("out");
    return r;
}

static int t38(void *ctx)
{
    (void)ctx;
    bk_group *g = NULL;
    bk_errors *errors = NULL;
    int r = bk_group_open(&g, &(bk_group_opts){.errors = &errors});
    if (r == 0)
        r = bk_group_go(g, fail_later, NULL, NULL);
    if (r == 0)
        r = bk_group_go(g, sleep_and_say_cancelled, "sib", NULL);
    if (r == 0)
        r = bk_sleep(bk_seconds(9));
    if (r == -ECANCELED)
        say("body");
    r = bk_group_close(&g, r);
    if (r == VALUE_ERROR)
        say("%zu", bk_errors_count(errors));
    bk_errors_free(&errors);
    say("%d", bk_cancelling());
    return 0;
}

static int t39(void *ctx)
{
    (void)ctx;
    bk_group *g = NULL;
    int r = bk_group_open(&g, NULL);
    if (r == 0)
        r = bk_group_go(g, sleep_and_say_cancelled, "sib", NULL);
    if (r == 0)
        r = bk_yield();
    if (r == 0)
        r = KEY_ERROR;
    if (bk_group_close(&g, r) == KEY_ERROR)
        say("KE");
    return 0;
}

const struct scenario wait_scenarios[] = {
    {"t23_gather_results_in_argument_order", t23},
    {"t24_gather_first_error_propagates_others_keep_running", t24},
    {"t25_gather_return_exceptions", t25},
    {"t26_cancel_gather_cancels_children", t26},
    {"t27_gather_empty_and_duplicates", t27},
    {"t37_taskgroup_waits_for_children", t37},
    {"t38_taskgroup_child_error_cancels_siblings_and_body", t38},
    {"t39_taskgroup_body_error_cancels_children", t39},
    {NULL, NULL},
};
