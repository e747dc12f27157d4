/* SPDX-License-Identifier: MIT
 * Task-local values: who sees which, and when they are freed. */
#include <beck/future.h>
#include <beck/group.h>
#include <beck/local.h>
#include <beck/loop.h>
#include <beck/thread.h>

#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

static bk_local colour, shape;

static const char *get(const bk_local *local)
{
    const char *value = bk_local_get(local);
    return value ? value : "-";
}

static int say_colour(void *ctx)
{
    trace("%s%s", (const char *)ctx, get(&colour));
    return 0;
}

static int change_colour(void *ctx)
{
    say_colour("");
    int r = bk_local_set(&colour, ctx);
    if (r == 0)
        r = bk_yield();
    say_colour("");
    return r;
}

LOOP_TEST(C054_R8_a_task_starts_with_a_copy)
{
    CHECK(bk_local_get(&colour) == NULL);
    CHECK_EQ(bk_local_set(&colour, "red"), 0);
    bk_task *task = start(change_colour, "blue");
    CHECK_EQ(bk_local_set(&colour, "green"), 0); /* after it was started: it does not see that */
    let_run(1);
    say_colour("main:"); /* nor is its own change seen here */
    CHECK_EQ(finish(&task), 0);
    say_colour("main:");
    CHECK_STR(trace_text(), "red main:green blue main:green");
}

static int start_deep(void *ctx)
{
    int depth = (int)(intptr_t)ctx;
    bk_group *group = NULL;
    int r = bk_group_open(&group, NULL);
    if (r == 0 && depth > 0)
        r = bk_group_go(group, start_deep, (void *)(intptr_t)(depth - 1), NULL);
    else
        say_colour("");
    return bk_group_close(&group, r);
}

LOOP_TEST(R8_values_go_down_through_any_number_of_tasks)
{
    CHECK_EQ(bk_local_set(&colour, "red"), 0);
    CHECK_EQ(start_deep((void *)5), 0);
    bk_task *task = NULL;
    CHECK_EQ(bk_go(&task, say_colour, "eager:", &(bk_task_opts){.eager = true}), 0);
    bk_task_free(&task);
    CHECK_STR(trace_text(), "red eager:red");
}

LOOP_TEST(several_values_and_unset_ones)
{
    CHECK_EQ(bk_local_set(&colour, NULL), 0); /* nothing to unset */
    CHECK_EQ(bk_local_set(&colour, "red"), 0);
    CHECK_EQ(bk_local_set(&shape, "round"), 0);
    CHECK_EQ(bk_local_set(&colour, "blue"), 0);
    CHECK_STR(get(&colour), "blue");
    CHECK_STR(get(&shape), "round");
    CHECK_EQ(bk_local_set(&colour, NULL), 0);
    CHECK(bk_local_get(&colour) == NULL);
    CHECK_STR(get(&shape), "round");
}

/* ---- Values that the local owns ---- */

static int n_freed;

static void count_free(void *value)
{
    *(bool *)value = true;
    n_freed++;
}

static bk_local owned = {.free = count_free};

static int hold_until_told(void *ctx)
{
    int r = bk_task_wait(ctx, NULL);
    trace("%d", *(bool *)bk_local_get(&owned));
    return r;
}

static int nap(void *ctx)
{
    (void)ctx;
    return bk_sleep(bk_ms(10));
}

LOOP_TEST(R8_an_owned_value_is_freed_when_nobody_sees_it)
{
    bool a = false, b = false;
    n_freed = 0;
    CHECK_EQ(bk_local_set(&owned, &a), 0);
    bk_task *alarm = start(nap, NULL), *holder = start(hold_until_told, alarm);
    CHECK_EQ(bk_local_set(&owned, &a), 0); /* the same again */
    CHECK_EQ(bk_local_set(&owned, &b), 0); /* the others still have the first */
    CHECK_EQ(finish(&holder), 0);
    CHECK(a && !b);
    CHECK_EQ(bk_local_set(&owned, NULL), 0);
    CHECK(b);
    CHECK_EQ(n_freed, 2);
    CHECK_STR(trace_text(), "0");
    bk_task_free(&alarm);
}

static int leave_it_set(void *ctx)
{
    return bk_local_set(&owned, ctx);
}

static void R8_the_end_of_the_task_lets_go(void)
{
    bool a = false;
    n_freed = 0;
    CHECK_EQ(in_loop(leave_it_set, &a), 0);
    CHECK(a);
    CHECK_EQ(n_freed, 1);
}

static int main_sees(void *ctx)
{
    say_colour("main:");
    int r = bk_local_set(&colour, "blue");
    trace("%d", bk_local_get(&owned) == ctx);
    return r;
}

/* Between the runs of a loop that is kept, values belong to the loop. */
static void R2_R8_several_runs_of_a_loop_start_with_the_same_values(void)
{
    bool a = false;
    bk_loop *loop = NULL;
    trace_reset();
    n_freed = 0;
    CHECK_EQ(bk_loop_new(&loop, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL}), 0);
    CHECK_EQ(bk_local_set(&colour, "red"), 0);
    CHECK_EQ(bk_local_set(&owned, &a), 0);
    CHECK_EQ(bk_loop_run(loop, main_sees, &a), 0);
    CHECK_EQ(bk_loop_run(loop, main_sees, &a), 0);
    CHECK_EQ(n_freed, 0);
    CHECK_EQ(bk_loop_close(&loop, 0), 0);
    CHECK_EQ(n_freed, 1);
    CHECK(a);
    CHECK_STR(trace_text(), "main:red 1 main:red 1");
}

static void say_in_handler(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    trace("%s:%s", report->what, get(&colour));
    bk_local_set(&colour, "white");
}

static int fail_in_blue(void *ctx)
{
    (void)ctx;
    int r = bk_local_set(&colour, "blue");
    return r < 0 ? r : -EIO;
}

static int cause_reports(void *ctx)
{
    (void)ctx;
    int r = bk_local_set(&colour, "red");
    if (r == 0)
        r = bk_call_soon(NULL, fail_in_blue, NULL);
    if (r == 0)
        r = bk_yield();
    if (r == 0)
        r = bk_call_soon(NULL, say_colour, "next:");
    return r < 0 ? r : bk_yield();
}

static void D1_R8_the_handler_of_errors_sees_those_of_what_failed(void)
{
    trace_reset();
    bk_run_opts opts = {.clock = BK_CLOCK_VIRTUAL, .on_error = say_in_handler};
    CHECK_EQ(bk_run(cause_reports, NULL, &opts), 0);
    CHECK_STR(trace_text(), "call failed:blue next:red");
}

static void outside_of_tasks_there_are_none(void)
{
    CHECK(bk_local_get(&colour) == NULL);
    CHECK_EQ(bk_local_set(&colour, "red"), -EINVAL);
    CHECK_STR(bk_errmsg(), "a task-local value outside of tasks");
}

/* ---- Calls, callbacks, threads ---- */

LOOP_TEST(R8_calls_run_with_the_values_of_who_made_them)
{
    CHECK_EQ(bk_local_set(&colour, "red"), 0);
    CHECK_EQ(bk_call_soon(NULL, say_colour, "soon:"), 0);
    CHECK_EQ(bk_call_later(NULL, bk_ms(5), say_colour, "later:"), 0);
    CHECK_EQ(bk_call_soon_threadsafe(bk_loop_current(), say_colour, "threadsafe:"), 0);
    bk_handle *never = NULL;
    CHECK_EQ(bk_call_soon(&never, say_colour, "never:"), 0);
    CHECK_EQ(bk_handle_cancel(never), 1);
    bk_handle_free(&never);
    CHECK_EQ(bk_local_set(&colour, "blue"), 0);
    CHECK_EQ(bk_sleep(bk_ms(10)), 0);
    CHECK_STR(trace_text(), "soon:red threadsafe:red later:red");
}

static int set_in_a_call(void *ctx)
{
    int r = bk_local_set(&colour, ctx);
    return r < 0 ? r : bk_call_soon(NULL, say_colour, "next:");
}

LOOP_TEST(R8_what_a_call_sets_ends_with_it)
{
    CHECK_EQ(bk_call_soon(NULL, set_in_a_call, "red"), 0);
    CHECK_EQ(bk_call_soon(NULL, say_colour, "other:"), 0);
    let_run(2);
    CHECK_STR(trace_text(), "other:- next:red");
}

static int say_in_callback(void *ctx, bk_future *future)
{
    (void)future;
    return say_colour(ctx);
}

LOOP_TEST(R8_callbacks_run_with_the_values_of_who_added_them)
{
    bk_future *future = NULL;
    CHECK_EQ(bk_future_new(&future), 0);
    CHECK_EQ(bk_local_set(&colour, "red"), 0);
    CHECK_EQ(bk_future_add_done_callback(future, say_in_callback, "1:"), 0);
    CHECK_EQ(bk_future_add_done_callback(future, say_in_callback, NULL), 0);
    CHECK_EQ(bk_local_set(&colour, "blue"), 0);
    CHECK_EQ(bk_future_remove_done_callback(future, say_in_callback, NULL), 1);
    CHECK_EQ(bk_future_set(future, 0, NULL), 0);
    CHECK_EQ(bk_future_add_done_callback(future, say_in_callback, "2:"), 0);
    CHECK_EQ(bk_local_set(&colour, "green"), 0);
    let_run(1);
    CHECK_STR(trace_text(), "1:red 2:blue");
    bk_future_free(&future);
}

static int use_on_thread(void *ctx)
{
    bool *of_thread = ctx;
    int ok = strcmp(get(&colour), "red") == 0;
    if (bk_local_set(&colour, "blue") < 0 || bk_local_set(&owned, of_thread) < 0)
        return -1;
    return ok + 2 * (strcmp(get(&colour), "blue") == 0);
}

static int scope_on_thread(void *ctx)
{
    int r = bk_local_scope(use_on_thread, ctx);
    return r < 0 ? r : r + 4 * (strcmp(get(&colour), "red") == 0);
}

LOOP_TEST(C163_R8_a_thread_has_them_too_and_keeps_its_changes_to_itself)
{
    bool of_task = false, of_thread = false;
    CHECK_EQ(bk_local_set(&colour, "red"), 0);
    CHECK_EQ(bk_local_set(&owned, &of_task), 0);
    CHECK_EQ(bk_to_thread(use_on_thread, &of_thread, NULL), 3);
    CHECK(of_thread && !of_task);
    CHECK_STR(get(&colour), "red");
    of_thread = false;
    CHECK_EQ(bk_to_thread(scope_on_thread, &of_thread, NULL), 7);
    CHECK(of_thread && !of_task);
    CHECK_EQ(bk_local_set(&owned, NULL), 0);
    CHECK(of_task);
}

static int go_from_thread(void *ctx)
{
    return bk_go_threadsafe(ctx, say_colour, "from thread:");
}

LOOP_TEST(R8_tasks_started_from_a_thread_have_its_values)
{
    CHECK_EQ(bk_local_set(&colour, "red"), 0);
    CHECK_EQ(bk_to_thread(go_from_thread, bk_loop_current(), NULL), 0);
    CHECK_EQ(bk_local_set(&colour, "blue"), 0);
    while (!trace_text()[0])
        bk_sleep(bk_ms(1));
    CHECK_STR(trace_text(), "from thread:red");
}

/* ---- Scopes and contexts ---- */

static int change_and_say(void *ctx)
{
    int r = bk_local_set(&colour, ctx);
    say_colour("in:");
    return r < 0 ? r : 5;
}

LOOP_TEST(R8_a_scope_undoes_what_it_sets)
{
    bool a = false, b = false;
    CHECK_EQ(bk_local_set(&colour, "red"), 0);
    CHECK_EQ(bk_local_set(&owned, &a), 0);
    CHECK_EQ(bk_local_scope(change_and_say, "blue"), 5);
    CHECK_EQ(bk_local_scope(leave_it_set, &b), 0);
    say_colour("out:");
    CHECK(b && !a);
    CHECK(bk_local_get(&owned) == &a);
    CHECK_STR(trace_text(), "in:blue out:red");
    CHECK_EQ(bk_local_set(&owned, NULL), 0);
}

LOOP_TEST(R8_tasks_may_share_a_context)
{
    bk_context *context = NULL;
    CHECK_EQ(bk_local_set(&colour, "red"), 0);
    CHECK_EQ(bk_context_copy(&context), 0);
    CHECK_EQ(bk_local_set(&colour, "blue"), 0);
    bk_task_opts opts = {.context = context};
    bk_task *first = NULL, *second = NULL;
    CHECK_EQ(bk_go(&first, change_colour, "green", &opts), 0);
    CHECK_EQ(bk_go(&second, say_colour, "second:", &opts), 0);
    bk_context_free(&context); /* the tasks keep it */
    CHECK(context == NULL);
    CHECK_EQ(finish(&first), 0);
    CHECK_EQ(finish(&second), 0);
    say_colour("main:");
    CHECK_STR(trace_text(), "red second:green green main:blue");
    bk_context_free(&context);
}

static int in_a_scope(void *ctx)
{
    (void)ctx;
    return bk_local_scope(change_and_say, "white");
}

LOOP_TEST(R8_a_context_keeps_what_is_set_in_it)
{
    bk_context *context = NULL;
    CHECK_EQ(bk_context_copy(&context), 0);
    CHECK_EQ(bk_context_run(context, change_and_say, "black"), 5);
    say_colour("main:");
    CHECK_EQ(bk_context_run(context, say_colour, "again:"), 0);
    CHECK_EQ(bk_context_run(context, in_a_scope, NULL), 5);
    CHECK_EQ(bk_context_run(context, say_colour, "again:"), 0);
    CHECK_STR(trace_text(), "in:black main:- again:black in:white again:black");
    bk_context_free(&context);
}

/* ---- Out of memory ---- */

static int set_some(void *ctx)
{
    static bool values[3];
    (void)ctx;
    int r = bk_local_set(&owned, &values[0]);
    if (r == 0)
        r = bk_local_set(&colour, "red");
    bk_task *task = NULL;
    if (r == 0)
        r = bk_go(&task, change_colour, "blue", NULL);
    if (r == 0)
        r = bk_local_set(&owned, &values[1]);
    if (r == 0)
        r = bk_call_soon(NULL, say_colour, "");
    int result = 0;
    if (task)
        bk_task_wait(task, &result);
    bk_task_free(&task);
    bk_context *context = NULL;
    if (r == 0)
        r = bk_context_copy(&context);
    if (r == 0)
        r = bk_context_run(context, leave_it_set, &values[2]);
    bk_context_free(&context);
    return r < 0 ? r : result;
}

static int run_set_some(void *ctx)
{
    return in_loop(set_some, ctx);
}

static void out_of_memory_each_allocation(void)
{
    CHECK(alloc_sweep(run_set_some, NULL) > 0);
}

CHECK_MAIN(TEST(C054_R8_a_task_starts_with_a_copy),
           TEST(R8_values_go_down_through_any_number_of_tasks), TEST(several_values_and_unset_ones),
           TEST(R8_an_owned_value_is_freed_when_nobody_sees_it),
           TEST(R8_the_end_of_the_task_lets_go),
           TEST(R2_R8_several_runs_of_a_loop_start_with_the_same_values),
           TEST(D1_R8_the_handler_of_errors_sees_those_of_what_failed),
           TEST(outside_of_tasks_there_are_none),
           TEST(R8_calls_run_with_the_values_of_who_made_them),
           TEST(R8_what_a_call_sets_ends_with_it),
           TEST(R8_callbacks_run_with_the_values_of_who_added_them),
           TEST(C163_R8_a_thread_has_them_too_and_keeps_its_changes_to_itself),
           TEST(R8_tasks_started_from_a_thread_have_its_values),
           TEST(R8_a_scope_undoes_what_it_sets), TEST(R8_tasks_may_share_a_context),
           TEST(R8_a_context_keeps_what_is_set_in_it), TEST(out_of_memory_each_allocation))
