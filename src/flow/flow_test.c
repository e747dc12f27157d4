/* SPDX-License-Identifier: MIT
 * The flow's promises on virtual time: every item once, order, bounds at every instant, failures,
 * draining. */
#include "flow/flow_fixture.h"

static bool in_order(const struct fix *fix)
{
    for (int i = 0; i < fix->n_got; i++)
        if (fix->got[i] != i + 1)
            return false;
    return true;
}

static struct fix fix;

static void fresh(int n)
{
    memset(&fix, 0, sizeof fix);
    fix.n = n;
}

/* ---- Plain ---- */

static void passes_all_in_order(void)
{
    fresh(3000);
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(fix.n_got, 3000);
    CHECK(in_order(&fix));
    CHECK_EQ(fix.stats.received, 3000);
    CHECK_EQ(fix.stats.processed, 3000);
    CHECK_EQ(fix.stats.stored, 3000);
    CHECK_EQ(fix.stats.written, 3000);
    CHECK_EQ(fix.committed, 3000);
    CHECK_EQ(fix.wrong, 0);
}

static void an_empty_source_is_fine(void)
{
    fresh(0);
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(fix.stats.received, 0);
    CHECK_EQ(fix.wrong, 0);
}

static int run_without_nodes(void *ctx)
{
    bk_flow *flow = NULL;
    int *results = ctx;
    (void)bk_flow_new(&flow, NULL);
    results[0] = bk_flow_run(flow);
    (void)bk_flow_from_fn(flow, fix_next, &fix, NULL);
    results[1] = bk_flow_run(flow);
    (void)bk_flow_to_fn(flow, fix_store, &fix, NULL);
    fix.flow = flow;
    results[2] = bk_flow_run(flow);
    results[3] = bk_flow_run(flow);
    results[4] = bk_flow_take(flow, 1);
    bk_flow_free(&flow);
    return 0;
}

static void refuses_misuse(void)
{
    int results[5] = {0};
    fresh(1);
    CHECK_EQ(bk_run(run_without_nodes, results, NULL), 0);
    CHECK_EQ(results[0], -EINVAL);
    CHECK_EQ(results[1], -EINVAL);
    CHECK_EQ(results[2], 0);
    CHECK_EQ(results[3], -EALREADY);
    CHECK_EQ(results[4], -EALREADY);
}

/* ---- Stages ---- */

static int double_it(void *ctx, bk_msg **msg)
{
    (void)ctx;
    int n = fix_number(*msg);
    bk_msg_free(msg);
    return n % 2 ? 0 : fix_message(msg, n / 2);
}

static int build_double(struct fix *f)
{
    int r = bk_flow_map(f->flow, double_it, NULL, NULL);
    return r < 0 ? r : fix_to_sink(f);
}

static void a_stage_changes_and_drops(void)
{
    fresh(10);
    fix.build = build_double;
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(fix.n_got, 5);
    CHECK(in_order(&fix));
    CHECK_EQ(fix.stats.dropped, 5);
    CHECK_EQ(fix.stats.stored, 5);
    CHECK_EQ(fix.stats.processed, 10);
    CHECK_EQ(fix.outcome[1], BK_DROPPED);
    CHECK_EQ(fix.outcome[2], BK_STORED);
    CHECK_EQ(fix.committed, 10);
    CHECK_EQ(fix.wrong, 0);
}

static int refuse_7(void *ctx, bk_msg **msg)
{
    (void)ctx;
    return fix_number(*msg) == 7 ? bk_fail(-BK_EFORMAT, "seven is right out") : 0;
}

static int build_refuse(struct fix *f)
{
    int r = bk_flow_map(f->flow, refuse_7, NULL, &(bk_stage_opts){.name = "no7"});
    return r < 0 ? r : fix_to_sink(f);
}

static void a_failed_item_stops_the_flow(void)
{
    fresh(100);
    fix.build = build_refuse;
    CHECK_EQ(fix_run(&fix), -BK_EFORMAT);
    CHECK_STR(fix.error, "src message 7: no7: seven is right out");
    CHECK_EQ(fix.n_got, 6);
    CHECK_EQ(fix.stats.received, 7);
    CHECK_EQ(fix.stats.failed, 1);
    CHECK_EQ(fix.committed, 6);
    CHECK_EQ(fix.wrong, 0);
}

static void or_is_skipped_and_told(void)
{
    fresh(100);
    fix.build = build_refuse;
    fix.opts.on_error = BK_ON_ERROR_SKIP;
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_STR(fix.events, "src message 7: no7: seven is right out\n");
    CHECK_EQ(fix.n_got, 99);
    CHECK_EQ(fix.stats.failed, 1);
    CHECK_EQ(fix.committed, 100);
    CHECK_EQ(fix.wrong, 0);
}

static int build_take(struct fix *f)
{
    int r = bk_flow_take(f->flow, 3);
    return r < 0 ? r : fix_to_sink(f);
}

static void take_stops_the_source(void)
{
    fresh(100);
    fix.build = build_take;
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(fix.given, 3);
    CHECK_EQ(fix.n_got, 3);
    CHECK_EQ(fix.wrong, 0);
}

/* ---- Parallel stages ---- */

static int n_running, most_running, lowest_running_error;

/* Latencies that are unlike and repeatable: 1 to 17 ms. */
static int work(void *ctx, bk_msg **msg)
{
    (void)ctx;
    int n = fix_number(*msg);
    if (++n_running > most_running)
        most_running = n_running;
    int r = bk_sleep(bk_ms(1 + n * 7919 % 17));
    n_running--;
    return r;
}

static size_t parallel;
static bool ordered;

static int build_work(struct fix *f)
{
    n_running = most_running = lowest_running_error = 0;
    bk_stage_opts opts = {.name = "work", .parallel = parallel, .ordered = ordered};
    int r = bk_flow_map(f->flow, work, NULL, &opts);
    return r < 0 ? r : fix_to_sink(f);
}

static void check_parallel(size_t n, bool keep_order)
{
    fresh(1000);
    fix.build = build_work;
    fix.in_flight_limit = 4096;
    parallel = n;
    ordered = keep_order;
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(fix.n_got, 1000);
    CHECK_EQ(fix.stats.stored, 1000);
    CHECK_EQ(fix.committed, 1000);
    CHECK_EQ(in_order(&fix), keep_order);
    CHECK_EQ(most_running, n);
    CHECK_EQ(fix.wrong, 0);
}

static void parallel_keeps_its_bound(void)
{
    check_parallel(2, false);
    check_parallel(64, false);
}

static void ordered_keeps_the_order(void)
{
    check_parallel(2, true);
    check_parallel(64, true);
}

static int hang_on_first(void *ctx, bk_msg **msg)
{
    int *most_ahead = ctx;
    int n = fix_number(*msg);
    if (n == 1)
        return bk_sleep(bk_seconds(60));
    if (n > *most_ahead)
        *most_ahead = n;
    return 0;
}

static int most_ahead;

static int build_hang(struct fix *f)
{
    bk_stage_opts opts = {.parallel = 4, .ordered = true};
    int r = bk_flow_map(f->flow, hang_on_first, &most_ahead, &opts);
    return r < 0 ? r : bk_flow_take(f->flow, 20) < 0 ? -EINVAL : fix_to_sink(f);
}

/* While the first item sleeps, the others run ahead, but only so far. */
static void ordered_bounds_what_waits(void)
{
    fresh(1000);
    most_ahead = 0;
    fix.build = build_hang;
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(fix.n_got, 20);
    CHECK(in_order(&fix));
    CHECK(fix.stats.elapsed.ns >= bk_seconds(60).ns);
    CHECK(most_ahead >= 16 && most_ahead < 60);
    CHECK_EQ(fix.wrong, 0);
}

static int refuse_some(void *ctx, bk_msg **msg)
{
    int r = work(ctx, msg);
    return r < 0 ? r : fix_number(*msg) % 10 == 0 ? -EIO : 0;
}

static int build_refuse_some(struct fix *f)
{
    bk_stage_opts opts = {.parallel = 8, .ordered = ordered};
    int r = bk_flow_map(f->flow, refuse_some, NULL, &opts);
    return r < 0 ? r : fix_to_sink(f);
}

static void failures_inside_parallel_stages(void)
{
    for (int keep_order = 0; keep_order < 2; keep_order++) {
        fresh(100);
        ordered = keep_order;
        fix.build = build_refuse_some;
        fix.opts.on_error = BK_ON_ERROR_SKIP;
        CHECK_EQ(fix_run(&fix), 0);
        CHECK_EQ(fix.stats.stored, 90);
        CHECK_EQ(fix.stats.failed, 10);
        CHECK_EQ(fix.wrong, 0);
        fresh(100);
        fix.build = build_refuse_some;
        CHECK_EQ(fix_run(&fix), -EIO);
        CHECK(fix.stats.failed >= 1 && fix.stats.received < 100);
        CHECK_EQ(fix.stats.stored + fix.stats.failed, fix.stats.received);
        CHECK_EQ(fix.wrong, 0);
    }
}

static int build_two_stages(struct fix *f)
{
    bk_stage_opts opts = {.parallel = 16, .ordered = true};
    int r = bk_flow_map(f->flow, work, NULL, &opts);
    if (r == 0)
        r = bk_flow_map(f->flow, double_it, NULL, NULL);
    if (r == 0)
        r = bk_flow_map(f->flow, work, NULL, &opts);
    return r < 0 ? r : fix_to_sink(f);
}

static void stages_chain(void)
{
    fresh(400);
    fix.build = build_two_stages;
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(fix.n_got, 200);
    CHECK(in_order(&fix));
    CHECK_EQ(fix.wrong, 0);
}

/* ---- Bounds and backpressure ---- */

static void a_slow_sink_holds_back_the_source(void)
{
    fresh(500);
    fix.opts.limit = fix.in_flight_limit = 10;
    fix.sink_gap = bk_ms(10);
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(fix.n_got, 500);
    CHECK_EQ(fix.stats.peak, 10);
    CHECK_EQ(fix.wrong, 0);
}

static void bytes_are_bounded_too(void)
{
    fresh(500);
    fix.opts.max_bytes = 12; /* a dozen messages of one byte */
    fix.in_flight_limit = 12;
    fix.sink_gap = bk_ms(10);
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(fix.n_got, 500);
    CHECK(fix.stats.peak <= 12 && fix.stats.peak >= 4);
    CHECK_EQ(fix.wrong, 0);
}

static void a_limit_of_one_works(void)
{
    fresh(50);
    fix.build = build_work;
    parallel = 8;
    ordered = true;
    fix.opts.limit = fix.in_flight_limit = 1;
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(fix.n_got, 50);
    CHECK_EQ(fix.stats.peak, 1);
    CHECK_EQ(fix.wrong, 0);
}

/* ---- Several sources and sinks ---- */

struct counter {
    int left;
    int sum;
};

static int count_down(void *ctx, bk_msg **msg)
{
    struct counter *c = ctx;
    if (c->left == 0)
        return 0;
    int r = bk_sleep(bk_ms(c->left % 3));
    if (r == 0)
        r = fix_message(msg, c->left);
    if (r < 0)
        return r;
    c->left--;
    return 1;
}

static int add_up(void *ctx, bk_msg **msg)
{
    struct counter *c = ctx;
    c->sum += fix_number(*msg);
    return bk_yield();
}

static struct counter more[2], sums[2];

static int build_many(struct fix *f)
{
    int r = 0;
    for (int i = 0; i < 2 && r == 0; i++) {
        more[i] = (struct counter){.left = 100};
        sums[i] = (struct counter){0};
        r = bk_flow_from_fn(f->flow, count_down, &more[i], NULL);
        if (r == 0)
            r = bk_flow_to_fn(f->flow, add_up, &sums[i], NULL);
    }
    return r < 0 ? r : fix_to_sink(f);
}

static void sources_merge_and_sinks_all_get_it(void)
{
    fresh(100);
    fix.build = build_many;
    fix.sink_gap = bk_ms(1);
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(fix.n_got, 300);
    CHECK_EQ(sums[0].sum, 3 * 5050);
    CHECK_EQ(sums[1].sum, 3 * 5050);
    CHECK_EQ(fix.stats.received, 300);
    CHECK_EQ(fix.stats.stored, 300);
    CHECK_EQ(fix.stats.written, 900);
    CHECK_EQ(fix.wrong, 0);
}

/* ---- Draining ---- */

static int drain_later(void *ctx)
{
    struct fix *f = ctx;
    int r = bk_sleep(bk_ms(105));
    bk_flow_drain(f->flow);
    bk_flow_drain(f->flow);
    return r;
}

static int run_and_drain(void *ctx)
{
    bk_call calls[] = {{.fn = fix_run_flow, .ctx = ctx}, {.fn = drain_later, .ctx = ctx}};
    return bk_gather(calls, 2, NULL);
}

static int drain_run(void)
{
    return bk_run(run_and_drain, &fix, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL});
}

/* The source is asleep when the drain comes: it is woken, and nothing more is taken. */
static void drain_ends_a_waiting_source(void)
{
    fresh(1000);
    fix.source_gap = bk_ms(10);
    CHECK_EQ(drain_run(), 0);
    CHECK_EQ(fix.given, 10);
    CHECK_EQ(fix.n_got, 10);
    CHECK_EQ(fix.stats.stored, 10);
    CHECK_EQ(fix.stats.elapsed.ns, bk_ms(105).ns);
    CHECK(fix.stats.draining);
    CHECK_EQ(fix.wrong, 0);
}

/* The drain comes while stages sleep and the source waits for room: what is in flight is
 * finished. */
static void drain_finishes_what_is_in_flight(void)
{
    fresh(100000);
    fix.build = build_work;
    fix.opts.limit = 20;
    parallel = 8;
    ordered = false;
    fix.sink_gap = bk_ms(5);
    CHECK_EQ(drain_run(), 0);
    CHECK(fix.stats.received > 20 && fix.stats.received < 200);
    CHECK_EQ(fix.stats.stored, fix.stats.received);
    CHECK_EQ(fix.committed, fix.stats.received);
    CHECK_EQ(fix.wrong, 0);
}

/* ---- Sources that fail ---- */

static int fail_after_5(void *ctx, bk_msg **msg)
{
    struct fix *f = ctx;
    return f->given == 5 ? bk_fail(-ECONNRESET, "the feed broke") : fix_next(ctx, msg);
}

static int build_nothing_more(struct fix *f)
{
    int r = bk_flow_from_fn(f->flow, fail_after_5, f, &(bk_source_opts){.name = "feed"});
    return r < 0 ? r : fix_to_sink(f);
}

static void a_failing_source_drains_the_flow(void)
{
    fresh(5);
    fix.build = build_nothing_more;
    CHECK_EQ(fix_run(&fix), -ECONNRESET);
    CHECK_STR(fix.error, "feed: the feed broke");
    CHECK_EQ(fix.n_got, 5);
    CHECK_EQ(fix.stats.stored, 5);
}

static int canceled_without_a_cancel(void *ctx, bk_msg **msg)
{
    (void)ctx, (void)msg;
    return -ECANCELED;
}

static int build_false_cancel(struct fix *f)
{
    int r = bk_flow_from_fn(f->flow, canceled_without_a_cancel, f, NULL);
    return r < 0 ? r : fix_to_sink(f);
}

static void a_source_cannot_end_silently(void)
{
    fresh(0);
    fix.build = build_false_cancel;
    CHECK_EQ(fix_run(&fix), -ECANCELED);
    CHECK(strstr(fix.error, "source: "));
}

CHECK_MAIN(TEST(passes_all_in_order), TEST(an_empty_source_is_fine), TEST(refuses_misuse),
           TEST(a_stage_changes_and_drops), TEST(a_failed_item_stops_the_flow),
           TEST(or_is_skipped_and_told), TEST(take_stops_the_source),
           TEST(parallel_keeps_its_bound), TEST(ordered_keeps_the_order),
           TEST(ordered_bounds_what_waits), TEST(failures_inside_parallel_stages),
           TEST(stages_chain), TEST(a_slow_sink_holds_back_the_source), TEST(bytes_are_bounded_too),
           TEST(a_limit_of_one_works), TEST(sources_merge_and_sinks_all_get_it),
           TEST(drain_ends_a_waiting_source), TEST(drain_finishes_what_is_in_flight),
           TEST(a_failing_source_drains_the_flow), TEST(a_source_cannot_end_silently))
