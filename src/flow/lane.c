/* SPDX-License-Identifier: MIT
 * Lanes: the inside of a parallel stage, where each item has a task of its own; and, without a
 * stage, the place where several sources meet.
 *
 * A job is an item inside.  `jobs` lists them in the order in which they leave: ordered, a job is
 * listed as it enters and its turn comes when it is done and first; unordered, it is listed when it
 * is done.  Invariants: n_running <= parallel; n_inside <= window, so a finished job never has to
 * wait for room, and a lane holds a bounded number of items however unequal their work is. */
#include <stdio.h>

#include "base/alloc.h"
#include "flow/engine.h"

#define MERGE_WINDOW 64
#define ORDERED_WINDOW 4 /* times parallel */
#define MAX_PARALLEL ((size_t)1 << 20)

struct job {
    struct bki_list link; /* in the lane's running, jobs or unused */
    struct bki_lane *lane;
    struct bki_item item; /* handle NULL: settled inside, nothing leaves */
    bool done;
};

struct bki_lane {
    struct bki_stage *stage; /* NULL: nothing to do inside */
    struct bki_list jobs;    /* in the order in which they leave */
    struct bki_list running; /* unordered: not done yet */
    struct bki_list unused;
    struct bki_list room;  /* tasks that wait to enter */
    struct bki_list taker; /* the segment's task, waiting */
    size_t parallel, window;
    size_t n_running, n_inside;
    size_t stack_size;
    bool ordered;
    bool closed;
};

static void describe_lane(const void *object, char *buf, size_t size);

static const struct bki_wait_kind wait_room = {.what = "room in a stage",
                                               .describe = describe_lane};
static const struct bki_wait_kind wait_result = {.what = "results of a stage",
                                                 .describe = describe_lane};

static void describe_lane(const void *object, char *buf, size_t size)
{
    const struct bki_lane *lane = object;
    snprintf(buf, size, "'%s' (%zu inside, %zu running)", lane->stage ? lane->stage->name : "merge",
             lane->n_inside, lane->n_running);
}

int bki_lane_new(struct bki_lane **out, struct bki_stage *stage, const bk_stage_opts *opts)
{
    struct bki_lane *lane = bki_zalloc(sizeof *lane);
    if (!lane)
        return bk_fail(-ENOMEM, "no memory for a stage");
    bki_list_init(&lane->jobs);
    bki_list_init(&lane->running);
    bki_list_init(&lane->unused);
    bki_list_init(&lane->room);
    bki_list_init(&lane->taker);
    lane->stage = stage;
    lane->parallel = lane->window = MERGE_WINDOW;
    if (stage) {
        lane->parallel = opts->parallel < MAX_PARALLEL ? opts->parallel : MAX_PARALLEL;
        lane->ordered = opts->ordered;
        lane->window = lane->ordered ? lane->parallel * ORDERED_WINDOW : lane->parallel * 2;
        lane->stack_size = opts->stack_size;
    }
    *out = lane;
    return 0;
}

void bki_lane_free(struct bki_lane **lane)
{
    struct bki_lane *l = *lane;
    *lane = NULL;
    if (!l)
        return;
    struct bki_list *node;
    while ((node = bki_list_pop(&l->unused)))
        bki_free(bki_container(node, struct job, link));
    bki_free(l);
}

static struct job *new_job(struct bki_lane *lane)
{
    struct bki_list *node = bki_list_pop(&lane->unused);
    struct job *job = node ? bki_container(node, struct job, link) : bki_alloc(sizeof *job);
    if (job)
        *job = (struct job){.lane = lane};
    return job;
}

static bool full(const struct bki_lane *lane)
{
    return lane->n_running >= lane->parallel || lane->n_inside >= lane->window;
}

/* One waiting task may enter for each place; it looks again, so waking it once too often is
 * harmless. */
static void offer_room(struct bki_lane *lane)
{
    if (!full(lane))
        bki_grant_first(&lane->room, 0);
}

static void wake_taker(struct bki_lane *lane)
{
    bki_grant_first(&lane->taker, 0);
}

static void job_done(struct job *job)
{
    struct bki_lane *lane = job->lane;
    job->done = true;
    if (!lane->ordered) {
        if (lane->stage)
            bki_list_remove(&job->link);
        bki_list_push_back(&lane->jobs, &job->link);
    }
    if (bki_list_first(&lane->jobs) == &job->link)
        wake_taker(lane);
}

/* The body of an item's task.  The message is in the job, not in the task, so that it can leave in
 * order. */
static int run_job(void *ctx)
{
    struct job *job = ctx;
    struct bki_lane *lane = job->lane;
    struct bki_stage *stage = lane->stage;
    int r = stage->ops->apply(stage, &job->item);
    if (r < 0 && stage->flow->aborting)
        bki_item_settle(&job->item, BKI_SETTLE_RETURNED);
    else if (r < 0)
        bki_item_fail(&job->item, stage->name, r);
    else if (!job->item.msg)
        bki_item_settle(&job->item, BKI_SETTLE_DROPPED);
    lane->n_running--;
    job_done(job);
    offer_room(lane);
    return 0;
}

static int start_job(struct bki_lane *lane, struct job *job)
{
    bk_task_opts opts = {.name = lane->stage->name, .stack_size = lane->stack_size};
    int r = bk_group_go(lane->stage->flow->tasks, run_job, job, &opts);
    if (r == 0) {
        lane->n_running++;
        bki_list_push_back(lane->ordered ? &lane->jobs : &lane->running, &job->link);
    }
    return r;
}

int bki_lane_enter(struct bki_lane *lane, struct bki_item item)
{
    struct job *job = NULL;
    int r = 0;
    while (r == 0 && full(lane)) {
        struct bki_waiter w;
        r = bki_check_cancel();
        if (r == 0)
            r = bki_wait(&lane->room, &w, &wait_room, lane);
    }
    if (r == 0 && !(job = new_job(lane)))
        r = bk_fail(-ENOMEM, "no memory for an item in a stage");
    if (r == 0) {
        job->item = item;
        lane->n_inside++;
        if (lane->stage)
            r = start_job(lane, job);
        else
            job_done(job);
        if (r < 0) {
            lane->n_inside--;
            bki_list_push_front(&lane->unused, &job->link);
        }
    }
    if (r < 0) {
        bki_item_settle(&item, BKI_SETTLE_RETURNED);
        return r;
    }
    offer_room(lane);
    return 0;
}

void bki_lane_close(struct bki_lane *lane)
{
    lane->closed = true;
    wake_taker(lane);
}

int bki_lane_take(struct bki_lane *lane, struct bki_item *item)
{
    for (;;) {
        struct bki_list *node = bki_list_first(&lane->jobs);
        struct job *job = node ? bki_container(node, struct job, link) : NULL;
        if (job && job->done) {
            bki_list_remove(&job->link);
            bki_list_push_front(&lane->unused, &job->link);
            *item = job->item;
            lane->n_inside--;
            offer_room(lane);
            if (item->handle)
                return 1;
            continue;
        }
        if (lane->closed && lane->n_inside == 0)
            return 0;
        struct bki_waiter w;
        int r = bki_check_cancel();
        if (r == 0)
            r = bki_wait(&lane->taker, &w, &wait_result, lane);
        if (r < 0)
            return r;
    }
}

static void abandon_jobs(struct bki_list *list)
{
    struct bki_list *node;
    while ((node = bki_list_pop(list))) {
        struct job *job = bki_container(node, struct job, link);
        if (job->item.handle)
            bki_item_settle(&job->item, BKI_SETTLE_RETURNED);
        bki_free(job);
    }
}

/* A task cancelled before it began has never looked at its job, which is still listed as
 * running. */
void bki_lane_abandon(struct bki_lane *lane)
{
    abandon_jobs(&lane->running);
    abandon_jobs(&lane->jobs);
    lane->n_inside = 0;
}
