/* SPDX-License-Identifier: MIT
 * Snapshots: of this loop and of another process, the same tasks with their stacks, what they wait
 * for, and circles. */
#include <signal.h>
#include <sys/wait.h>

#include <beck/channel.h>
#include <beck/gather.h>
#include <beck/group.h>
#include <beck/inspect.h>
#include <beck/queue.h>
#include <beck/select.h>
#include <beck/sync.h>

#include "rt/layout.h"
#include "tests/alloc_sweep.h"
#include "tests/run_helper.h"

static struct {
    bk_lock *a, *b;
    bk_queue *queue;
    bk_channel *channel;
    bk_event *event;
    bk_task *sleeper;
} all;

static __attribute__((noinline)) int doze(void)
{
    int r = bk_sleep(bk_seconds(1000));
    __asm__ volatile("" ::: "memory");
    return r;
}

static int sleeper(void *ctx)
{
    (void)ctx;
    int r = doze();
    return r < 0 ? r : 1;
}

static int hold_a(void *ctx)
{
    (void)ctx;
    int r = bk_lock_acquire(all.a);
    if (r == 0)
        r = bk_event_wait(all.event);
    return r;
}

static int want_a(void *ctx)
{
    (void)ctx;
    int r = bk_lock_acquire(all.a);
    return r < 0 ? r : 1;
}

static int join_sleeper(void *ctx)
{
    (void)ctx;
    int r = bk_task_wait(all.sleeper, NULL);
    return r < 0 ? r : 1;
}

static int consume_slowly(void *ctx)
{
    void *item;
    (void)ctx;
    int r = bk_queue_get(all.queue, &item);
    return r < 0 ? r : doze();
}

static int fill(void *ctx)
{
    int r = 0;
    (void)ctx;
    while (r == 0)
        r = bk_queue_put(all.queue, NULL);
    return r;
}

static int send_on(void *ctx)
{
    int r = 0;
    (void)ctx;
    while (r == 0) {
        bk_msg *msg = NULL;
        r = bk_msg_copy(&msg, "x", 1);
        if (r == 0)
            r = bk_channel_send(all.channel, &msg);
        bk_msg_free(&msg);
    }
    return r;
}

static int select_both(void *ctx)
{
    (void)ctx;
    bk_case cases[] = {bk_case_task(all.sleeper), bk_case_event(all.event)};
    return bk_select(cases, 2);
}

static __attribute__((noinline)) bk_task *go(bk_fn *fn, const char *name)
{
    bk_task *task = NULL;
    return bk_go(&task, fn, NULL, &(bk_task_opts){.name = name}) == 0 ? task : NULL;
}

enum { N_TASKS = 9 };

static bk_task *tasks[N_TASKS];

static void open_all(void)
{
    bk_lock_new(&all.a, "db");
    bk_lock_new(&all.b, "b");
    bk_event_new(&all.event, "stop");
    bk_queue_new(&all.queue, &(bk_queue_opts){.limit = 2, .name = "in"});
    bk_channel_new(&all.channel, &(bk_channel_opts){.limit = 2, .name = "out"});
    tasks[0] = all.sleeper = go(sleeper, "night owl");
    tasks[1] = go(hold_a, "writer");
    tasks[2] = go(want_a, "reader");
    tasks[3] = go(join_sleeper, NULL);
    tasks[4] = go(consume_slowly, "parse");
    tasks[5] = go(fill, "feed");
    tasks[6] = go(select_both, NULL);
    tasks[8] = go(send_on, "post");
    bk_yield();
    bk_msg *msg = NULL;
    CHECK_EQ(bk_channel_try_recv(all.channel, &msg), 1);
    bk_msg_free(&msg);
    bk_yield();
}

static void close_all(void)
{
    for (int i = 0; i < N_TASKS; i++) {
        if (tasks[i])
            bk_task_cancel(tasks[i]);
        if (tasks[i])
            bk_task_wait(tasks[i], NULL);
        bk_task_free(&tasks[i]);
    }
    bk_lock_free(&all.a);
    bk_lock_free(&all.b);
    bk_queue_free(&all.queue);
    bk_channel_free(&all.channel);
    bk_event_free(&all.event);
}

static const bk_task_info *info_of(const bk_snapshot *s, const char *name)
{
    size_t n;
    const bk_task_info *infos = bk_snapshot_tasks(s, &n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(infos[i].name, name) == 0)
            return &infos[i];
    static const bk_task_info none = {.name = "", .state = "", .waits_for = ""};
    return &none;
}

static bool has_frame(const bk_task_info *info, const char *function)
{
    for (size_t i = 0; i < info->n_stack; i++)
        if (strcmp(info->stack[i].function, function) == 0)
            return true;
    return false;
}

/* What the tasks of open_all look like, from wherever. */
static void look_at(const bk_snapshot *s)
{
    size_t n;
    const bk_task_info *infos = bk_snapshot_tasks(s, &n);
    CHECK_EQ(n, 9);
    CHECK_EQ(bk_snapshot_total(s), 9);
    CHECK_STR(infos[0].name, "main");
    CHECK_EQ(infos[0].id, 1);
    CHECK_EQ(infos[0].parent_id, 0);
    const bk_task_info *owl = info_of(s, "night owl");
    CHECK_STR(owl->state, "waiting");
    CHECK(strncmp(owl->waits_for, "sleep", 5) == 0);
    CHECK_EQ(owl->parent_id, 1);
    CHECK(strcmp(owl->stack[0].function, "bk_sleep_until") == 0 ||
          strcmp(owl->stack[0].function, "bk_sleep") == 0);
    CHECK(has_frame(owl, "doze"));
    CHECK(has_frame(owl, "sleeper"));
    CHECK(!has_frame(owl, "task_entry"));
    CHECK_STR(owl->started.function, "go");
    CHECK_EQ(owl->n_awaited_by, 2);
    CHECK_EQ(owl->awaited_by[0], 5);
    CHECK_EQ(owl->awaited_by[1], 8);
    const bk_task_info *reader = info_of(s, "reader");
    CHECK(strstr(reader->waits_for, "lock 'db' held by #3 writer"));
    CHECK_EQ(reader->n_awaits, 1);
    CHECK_EQ(reader->awaits[0], 3);
    CHECK(!reader->in_cycle);
    const bk_task_info *joiner = info_of(s, "join_sleeper"); /* named after its function */
    CHECK_STR(joiner->waits_for, "task #2 night owl");
    CHECK_EQ(joiner->awaits[0], 2);
    CHECK_STR(info_of(s, "feed")->waits_for, "queue put 'in' (2 of 2), consumer #6 parse");
    CHECK_STR(info_of(s, "post")->waits_for, "channel send 'out' (2 of 2)");
    CHECK_STR(info_of(s, "writer")->waits_for, "event 'stop'");
    const bk_task_info *both = info_of(s, "select_both");
    CHECK(strncmp(both->waits_for, "first of several", 16) == 0);
    CHECK_EQ(both->n_awaits, 1);
    CHECK_EQ(both->awaits[0], 2);
}

LOOP_TEST(D3_the_stacks_and_edges_of_this_loop)
{
    bk_snapshot *s = NULL;
    open_all();
    CHECK_EQ(bk_snapshot_take(&s, 0, NULL), 0);
    look_at(s);
    const bk_task_info *me = info_of(s, "main");
    CHECK_STR(me->state, "running");
    CHECK_STR(me->stack[0].function, "bk_snapshot_take");
    CHECK_STR(me->stack[1].function, "D3_the_stacks_and_edges_of_this_loop_body");
    bk_snapshot_free(&s);
    CHECK(!s);
    close_all();
}

/* ---- Circles ---- */

static int a_then_b(void *ctx)
{
    (void)ctx;
    bk_lock_acquire(all.a);
    bk_sleep(bk_ms(1));
    return bk_lock_acquire(all.b);
}

static int b_then_a(void *ctx)
{
    (void)ctx;
    bk_lock_acquire(all.b);
    bk_sleep(bk_ms(1));
    return bk_lock_acquire(all.a);
}

LOOP_TEST(D3_D4_tasks_that_wait_for_each_other)
{
    bk_snapshot *s = NULL;
    open_all();
    CHECK_EQ(bk_event_set(all.event), 0); /* the writer ends, the reader gets the lock */
    let_run(3);
    CHECK_EQ(bk_lock_release(all.a), 0);
    let_run(3);
    CHECK_EQ(bk_lock_release(all.a), 0);
    bk_task *t1 = go(a_then_b, "one"), *t2 = go(b_then_a, "two"), *t3 = go(want_a, "three");
    bk_sleep(bk_ms(5));
    CHECK_EQ(bk_snapshot_take(&s, 0, NULL), 0);
    CHECK(info_of(s, "one")->in_cycle);
    CHECK(info_of(s, "two")->in_cycle);
    CHECK(!info_of(s, "three")->in_cycle); /* it waits for them, but they not for it */
    CHECK(!info_of(s, "main")->in_cycle);
    bk_snapshot_free(&s);
    const char *text = strstr(dump_text(), "these wait for each other, and none can go on:\n"
                                           "  #10 one waits for lock 'b' held by #11 two since");
    CHECK(text);
    CHECK(strstr(text, "  #11 two waits for lock 'db' held by #10 one since"));
    bk_task *more[] = {t1, t2, t3};
    for (int i = 0; i < 3; i++) {
        bk_task_cancel(more[i]);
        CHECK_EQ(finish(&more[i]), -ECANCELED);
    }
    close_all();
}

static int end_group_under_lock(void *ctx)
{
    bk_group *group = NULL;
    (void)ctx;
    bk_lock_acquire(all.a);
    int r = bk_group_open(&group, &(bk_group_opts){.name = "pool"});
    if (r == 0)
        r = bk_group_go(group, want_a, NULL, NULL);
    if (r == 0)
        r = bk_group_go(group, sleeper, NULL, NULL);
    return bk_group_close(&group, r);
}

/* The opener waits for its child, which wants the lock that the opener holds. */
LOOP_TEST(D3_a_group_in_a_circle)
{
    bk_snapshot *s = NULL;
    bk_lock_new(&all.a, "db");
    bk_task *t = go(end_group_under_lock, "opener");
    let_run(3);
    CHECK_EQ(bk_snapshot_take(&s, 0, NULL), 0);
    const bk_task_info *opener = info_of(s, "opener");
    CHECK_STR(opener->waits_for, "end of group 'pool' (2 of 1024 tasks)");
    CHECK_EQ(opener->n_awaits, 2);
    CHECK(opener->in_cycle);
    CHECK(info_of(s, "want_a")->in_cycle);
    CHECK(!info_of(s, "sleeper")->in_cycle);
    bk_snapshot_free(&s);
    bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    bk_lock_free(&all.a);
}

static int wait_for_two(void *ctx)
{
    return bk_wait(ctx, 2, BK_ALL_COMPLETED, bk_forever());
}

/* Whoever waits for several tasks is seen from each of them. */
LOOP_TEST(D3_combinators_are_edges_too)
{
    bk_snapshot *s = NULL;
    bk_task *two[2] = {go(sleeper, "x"), go(sleeper, "y")}, *t = NULL;
    CHECK_EQ(bk_go(&t, wait_for_two, two, &(bk_task_opts){.name = "both"}), 0);
    let_run(2);
    CHECK_EQ(bk_snapshot_take(&s, 0, NULL), 0);
    const bk_task_info *both = info_of(s, "both");
    CHECK_EQ(both->n_awaits, 2);
    CHECK_EQ(both->awaits[0], 2);
    CHECK_EQ(both->awaits[1], 3);
    bk_snapshot_free(&s);
    bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    for (int i = 0; i < 2; i++) {
        bk_task_cancel(two[i]);
        CHECK_EQ(finish(&two[i]), -ECANCELED);
    }
}

/* ---- Many ---- */

LOOP_TEST(siblings_are_left_out_and_counted)
{
    bk_snapshot *s = NULL;
    bk_group *group = NULL;
    size_t n;
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    for (int i = 0; i < 500; i++)
        CHECK_EQ(bk_group_go(group, sleeper, NULL, NULL), 0);
    let_run(1);
    CHECK_EQ(bk_snapshot_take(&s, 0, &(bk_snapshot_opts){.siblings = 3, .no_stacks = true}), 0);
    const bk_task_info *infos = bk_snapshot_tasks(s, &n);
    CHECK_EQ(n, 4);
    CHECK_EQ(bk_snapshot_total(s), 501);
    CHECK_EQ(infos[3].n_hidden, 497);
    CHECK_EQ(infos[3].n_stack, 0);
    bk_snapshot_free(&s);
    CHECK_EQ(bk_snapshot_take(&s, 0, &(bk_snapshot_opts){.siblings = BK_UNBOUNDED}), 0);
    bk_snapshot_tasks(s, &n);
    CHECK_EQ(n, 501);
    bk_snapshot_free(&s);
    CHECK(strstr(dump_text(), "  ... and 480 more beside them\n"));
    bk_group_cancel(group);
    CHECK_EQ(bk_group_close(&group, 0), 0);
}

static void without_a_loop(void)
{
    bk_snapshot *s = NULL;
    CHECK_EQ(bk_snapshot_take(&s, 0, NULL), -EINVAL);
    CHECK(!s);
    bk_snapshot_free(&s);
}

/* ---- Another process ---- */

/* When every other task waits. */
static int say_ready(void *ctx)
{
    return write(*(int *)ctx, "x", 1) == 1 ? 0 : -EIO;
}

static int child_main(void *ctx)
{
    open_all();
    int r = bk_go(NULL, say_ready, ctx, NULL);
    if (r == 0)
        r = bk_sleep(bk_seconds(60));
    return r < 0 ? 1 : 0;
}

/* A process with a loop in it, whose tasks wait; its number, 0 when it could not be made. */
static pid_t start_child(void)
{
    int ends[2];
    char byte;
    if (pipe(ends) < 0)
        return 0;
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        _exit(bk_run(child_main, &ends[1], NULL) != 0);
    }
    close(ends[1]);
    if (read(ends[0], &byte, 1) != 1)
        pid = 0;
    close(ends[0]);
    return pid;
}

static void end_child(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static bool may_not_read(int r)
{
    if (r == -EPERM)
        fprintf(stderr, "not looked at another process: %s\n", bk_errmsg());
    return r == -EPERM;
}

static void D4_the_tasks_of_another_process(void)
{
    bk_snapshot *s = NULL;
    pid_t pid = start_child();
    CHECK(pid > 0);
    int r;
    do {
        bk_snapshot_free(&s);
        r = bk_snapshot_take(&s, pid, NULL); /* until the task that said so has ended */
    } while (r == 0 && bk_snapshot_total(s) > 9);
    end_child(pid);
    CHECK(r == 0 || may_not_read(r));
    if (r == 0) {
        look_at(s);
        const bk_task_info *main_task = info_of(s, "main");
        CHECK(main_task->loop >= 1);
        CHECK_EQ(main_task->thread_id, pid);
        CHECK(has_frame(main_task, "child_main"));
        CHECK(info_of(s, "reader")->waiting.ns >= 0);
    }
    bk_snapshot_free(&s);
}

/* One without beck in it, and one that is gone. */
static void D4_what_cannot_be_looked_at(void)
{
    bk_snapshot *s = NULL;
    int in[2], out[2];
    char byte = 'x';
    CHECK_EQ(pipe(in), 0);
    CHECK_EQ(pipe(out), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execlp("cat", "cat", NULL);
        _exit(1);
    }
    close(in[0]);
    close(out[1]);
    CHECK_EQ(write(in[1], &byte, 1), 1);
    CHECK_EQ(read(out[0], &byte, 1), 1); /* it runs */
    int r = bk_snapshot_take(&s, pid, NULL);
    end_child(pid);
    close(in[1]);
    close(out[0]);
    CHECK(r == -BK_EUNSUPPORTED || may_not_read(r));
    if (r == -BK_EUNSUPPORTED)
        CHECK(strstr(bk_errmsg(), "is no beck program"));
    CHECK_EQ(bk_snapshot_take(&s, pid, NULL), -ESRCH);
    CHECK(strstr(bk_errmsg(), "there is no process"));
    CHECK(!s);
}

static int take_in_small_loop(void *ctx)
{
    bk_snapshot *s = NULL;
    (void)ctx;
    int r = bk_snapshot_take(&s, 0, NULL);
    if (r == 0) {
        int fd = memfd_create("snapshot", 0);
        r = bk_snapshot_write(s, fd, BK_TREE);
        if (r == 0)
            r = bk_snapshot_write(s, fd, BK_TABLE);
        close(fd);
    }
    bk_snapshot_free(&s);
    return r;
}

static int take_in_small_loop_run(void *ctx)
{
    return in_loop(take_in_small_loop, ctx);
}

static void every_allocation_may_fail(void)
{
    CHECK(alloc_sweep(take_in_small_loop_run, NULL) > 8);
}

/* The table says what the compiler says. */
static void D4_the_layout_is_in_its_section(void)
{
    CHECK_MEM(bki_layout.magic, 8, BKI_LAYOUT_MAGIC, 8);
    CHECK_EQ(bki_layout.version, BKI_LAYOUT_VERSION);
    CHECK(bki_layout.task.size <= BKI_MOST_TASK_SIZE);
    CHECK_STR(bki_layout.library_version, bk_version());
}

CHECK_MAIN(TEST(D3_the_stacks_and_edges_of_this_loop), TEST(D3_D4_tasks_that_wait_for_each_other),
           TEST(D3_a_group_in_a_circle), TEST(D3_combinators_are_edges_too),
           TEST(siblings_are_left_out_and_counted), TEST(without_a_loop),
           TEST(D4_the_tasks_of_another_process), TEST(D4_what_cannot_be_looked_at),
           TEST(every_allocation_may_fail), TEST(D4_the_layout_is_in_its_section))
