/* SPDX-License-Identifier: MIT
 * Looking at a loop's tasks from another thread. */
#include <pthread.h>

#include <beck/loop.h>

#include "tests/run_helper.h"

static int nap(void *ctx)
{
    (void)ctx;
    return bk_sleep(bk_ms(5));
}

struct snapshot {
    bk_loop *loop;
    char names[128];
    bool taken;
};

static int take(void *ctx)
{
    struct snapshot *snapshot = ctx;
    bk_task *tasks[8];
    size_t n = bk_task_list(tasks, 8), len = 0;
    for (size_t i = 0; i < n; i++) {
        len += (size_t)snprintf(snapshot->names + len, sizeof snapshot->names - len, "%s ",
                                bk_task_name(tasks[i]));
        bk_task_free(&tasks[i]);
    }
    snapshot->taken = true;
    return 0;
}

static void *ask(void *arg)
{
    struct snapshot *snapshot = arg;
    bk_call_soon_threadsafe(snapshot->loop, take, snapshot);
    return NULL;
}

/* asyncio's all_tasks may be called on any thread; the loop's objects are its thread's own here, so
 * that another thread asks the loop for what it wants to know. */
LOOP_TEST(T16_differs_another_thread_asks_for_the_tasks_by_a_call)
{
    struct snapshot snapshot = {.loop = bk_loop_current()};
    bk_task *task = start(nap, NULL);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, ask, &snapshot), 0);
    pthread_join(thread, NULL);
    while (!snapshot.taken)
        bk_yield();
    CHECK_STR(snapshot.names, "main nap-2 ");
    CHECK_EQ(finish(&task), 0);
}

CHECK_MAIN(TEST(T16_differs_another_thread_asks_for_the_tasks_by_a_call))
