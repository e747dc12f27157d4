/* SPDX-License-Identifier: MIT
 * Tasks that wait for each other while others run on are reported when the circle closes, once, and
 * whatever breaks it later still does. */
#include <beck/group.h>
#include <beck/sync.h>

#include "tests/run_helper.h"

static struct {
    bk_lock *a, *b, *c;
    bk_task *one, *two;
    int n_reports;
    char what[64], detail[300];
} all;

static void note(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    if (report->result != -EDEADLK)
        return;
    all.n_reports++;
    snprintf(all.what, sizeof all.what, "%s", report->what);
    snprintf(all.detail, sizeof all.detail, "%s", report->detail);
}

static int run(bk_fn *fn)
{
    memset(&all, 0, sizeof all);
    trace_reset();
    return bk_run(fn, NULL, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL, .on_error = note});
}

static int open_locks(void)
{
    int r = bk_lock_new(&all.a, "a");
    r = r < 0 ? r : bk_lock_new(&all.b, "b");
    return r < 0 ? r : bk_lock_new(&all.c, "c");
}

static void free_locks(void)
{
    bk_lock_free(&all.a);
    bk_lock_free(&all.b);
    bk_lock_free(&all.c);
}

/* The first lock, a moment, the second. */
static int take_both(bk_lock *first, bk_lock *second)
{
    int r = bk_lock_acquire(first);
    if (r == 0)
        r = bk_sleep(bk_ms(1));
    if (r == 0)
        r = bk_lock_acquire(second);
    if (r == 0)
        bk_lock_release(second);
    bk_lock_release(first);
    return r;
}

static int a_b(void *ctx)
{
    (void)ctx;
    return take_both(all.a, all.b);
}

static int b_c(void *ctx)
{
    (void)ctx;
    return take_both(all.b, all.c);
}

static int c_a(void *ctx)
{
    (void)ctx;
    return take_both(all.c, all.a);
}

static bk_task *go(bk_fn *fn, const char *name)
{
    bk_task *task = NULL;
    return bk_go(&task, fn, NULL, &(bk_task_opts){.name = name}) == 0 ? task : NULL;
}

static int end(bk_task **task)
{
    bk_task_cancel(*task);
    return finish(task);
}

static int three_locks(void *ctx)
{
    (void)ctx;
    int r = open_locks();
    bk_task *t[] = {go(a_b, "one"), go(b_c, "two"), go(c_a, "three")};
    bk_sleep(bk_ms(500));         /* others run on */
    if (end(&t[0]) != -ECANCELED) /* which breaks the circle */
        return -EIO;
    r = finish(&t[2]);
    int r2 = finish(&t[1]);
    free_locks();
    return r < 0 ? r : r2;
}

static void D2_a_circle_of_locks_is_reported_while_others_run(void)
{
    CHECK_EQ(run(three_locks), 0);
    CHECK_EQ(all.n_reports, 1);
    CHECK_STR(all.what, "tasks wait for each other in a circle");
    CHECK_STR(all.detail, "#4 three waits for lock 'a' held by #2 one since 0.001 s; "
                          "#2 one waits for lock 'b' held by #3 two since 0.001 s; "
                          "#3 two waits for lock 'c' held by #4 three since 0.001 s");
}

static int join_two(void *ctx)
{
    (void)ctx;
    return bk_task_wait_shielded(all.two, NULL);
}

static int join_one(void *ctx)
{
    (void)ctx;
    return bk_task_wait_shielded(all.one, NULL);
}

static int two_joins(void *ctx)
{
    (void)ctx;
    all.one = go(join_two, "one");
    all.two = go(join_one, "two");
    bk_sleep(bk_ms(5));
    int r = end(&all.one), r2 = end(&all.two);
    return r == -ECANCELED && r2 == 0 ? 0 : -EIO; /* the other one has joined it */
}

static void D2_a_circle_of_joins(void)
{
    CHECK_EQ(run(two_joins), 0);
    CHECK_EQ(all.n_reports, 1);
    CHECK_STR(all.detail, "#3 two waits for task #2 one; #2 one waits for task #3 two");
}

static int want_a(void *ctx)
{
    (void)ctx;
    return bk_lock_acquire(all.a);
}

static int group_under_lock(void *ctx)
{
    bk_group *group = NULL;
    (void)ctx;
    int r = bk_lock_acquire(all.a);
    if (r == 0)
        r = bk_group_open(&group, &(bk_group_opts){.name = "pool"});
    if (r == 0)
        r = bk_group_go(group, want_a, NULL, NULL);
    if (r == 0 && ctx)
        r = bk_yield(); /* the child waits first */
    r = bk_group_close(&group, r);
    bk_lock_release(all.a);
    return r;
}

static int child_first(void *ctx)
{
    (void)ctx;
    open_locks();
    bk_task *t = NULL;
    bk_go(&t, group_under_lock, &all, NULL);
    bk_sleep(bk_ms(5));
    int r = end(&t);
    free_locks();
    return r == -ECANCELED ? 0 : -EIO;
}

static int opener_first(void *ctx)
{
    (void)ctx;
    open_locks();
    bk_task *t = NULL;
    bk_go(&t, group_under_lock, NULL, NULL);
    bk_sleep(bk_ms(5));
    int r = end(&t);
    free_locks();
    return r == -ECANCELED ? 0 : -EIO;
}

static void D2_a_circle_through_a_group(void)
{
    CHECK_EQ(run(child_first), 0);
    CHECK_EQ(all.n_reports, 1);
    CHECK(strstr(all.detail, "waits for end of group 'pool' (1 of 1024 tasks); "));
    CHECK_EQ(run(opener_first), 0);
    CHECK_EQ(all.n_reports, 1);
    CHECK(strstr(all.detail, "waits for lock 'a' held by #2 group_under_lock since"));
}

static int hold_a_and_sleep(void *ctx)
{
    (void)ctx;
    int r = bk_lock_acquire(all.a);
    if (r == 0)
        r = bk_sleep(bk_ms(10));
    bk_lock_release(all.a);
    return r;
}

static int no_circle(void *ctx)
{
    (void)ctx;
    open_locks();
    bk_task *t[] = {go(hold_a_and_sleep, NULL), go(want_a, NULL)};
    bk_yield();
    int r = finish(&t[0]), r2 = finish(&t[1]);
    bk_lock_release(all.a); /* which the second has left held */
    /* held by one that has ended: nobody to wait for */
    t[0] = go(want_a, NULL);
    bk_sleep(bk_ms(1));
    bk_task_free(&t[0]);
    t[1] = go(want_a, NULL);
    bk_sleep(bk_ms(1));
    end(&t[1]);
    free_locks();
    return r < 0 ? r : r2;
}

static void D2_a_chain_is_no_circle(void)
{
    CHECK_EQ(run(no_circle), 0);
    CHECK_EQ(all.n_reports, 0);
}

CHECK_MAIN(TEST(D2_a_circle_of_locks_is_reported_while_others_run), TEST(D2_a_circle_of_joins),
           TEST(D2_a_circle_through_a_group), TEST(D2_a_chain_is_no_circle))
