/* SPDX-License-Identifier: MIT
 * How sinks collect batches, and what becomes of a batch that is refused, broken or unwanted. */
#include "flow/connector.h"
#include "flow/flow_fixture.h"

static struct fix fix;

/* A sink that does as it is told and remembers the batches it got. */
struct recorder {
    struct bki_sink_limits limits;
    size_t sizes[256];
    int64_t at_ms[256];
    int n;
    bk_duration pause; /* in each write */
    int refuse;        /* this number is refused, 0: none */
    int break_at;      /* the batch with this number ends the sink with... */
    int break_result;  /* ...this... */
    size_t break_done; /* ...having done so many of it */
    int closed_with;
    int n_closed;
    int close_result;
    int open_result;
};

static struct recorder rec;

static int rec_open(void *self, struct bki_port *port)
{
    (void)port;
    struct recorder *r = self;
    return r->open_result < 0 ? bk_fail(r->open_result, "no such place") : 0;
}

static int rec_write(void *self, struct bki_batch *batch)
{
    struct recorder *r = self;
    int r2 = r->pause.ns ? bk_sleep(r->pause) : 0;
    if (r2 < 0)
        return r2;
    if (r->n < 256) {
        r->sizes[r->n] = batch->n;
        r->at_ms[r->n++] = bk_now().ns / 1000000;
    }
    for (size_t i = 0; i < batch->n; i++) {
        int number = fix_number(batch->entries[i].msg);
        if (r->break_result && number == r->break_at) {
            batch->n_done = r->break_done;
            return r->break_result < 0 ? bk_fail(r->break_result, "it broke") : r->break_result;
        }
        if (number == r->refuse)
            bki_entry_refuse(&batch->entries[i], -BK_EFORMAT, "not number %d", number);
    }
    return 0;
}

static int rec_close(void *self, int r)
{
    struct recorder *rec_ = self;
    rec_->closed_with = r;
    rec_->n_closed++;
    return rec_->close_result < 0 ? bk_fail(rec_->close_result, "cannot close") : r;
}

static const struct bki_sink_ops rec_ops = {
    .open = rec_open, .write = rec_write, .close = rec_close};

static int build(struct fix *f)
{
    return bki_flow_add_sink(f->flow, &rec_ops, &rec, "rec", &rec.limits);
}

static void fresh(int n)
{
    memset(&fix, 0, sizeof fix);
    memset(&rec, 0, sizeof rec);
    fix.n = n;
    fix.build = build;
}

static void a_busy_source_makes_full_batches(void)
{
    fresh(1000);
    rec.limits.max_items = 100;
    CHECK_EQ(fix_run(&fix), 0);
    CHECK(rec.n <= 13); /* the source gives way now and then, which ends a batch early */
    for (int i = 0; i < 2; i++)
        CHECK_EQ(rec.sizes[i], 100);
    CHECK_EQ(rec.n_closed, 1);
    CHECK_EQ(rec.closed_with, 0);
    CHECK_EQ(fix.wrong, 0);
}

static void a_slow_source_is_written_at_once(void)
{
    fresh(20);
    fix.source_gap = bk_ms(10);
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(rec.n, 20);
    CHECK_EQ(fix.wrong, 0);
}

static void bytes_fill_a_batch(void)
{
    fresh(9);
    rec.limits.max_bytes = 3;
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(rec.n, 3);
    CHECK_EQ(fix.wrong, 0);
}

/* Items every 10 ms, a linger of 100 ms: the first of a batch waits exactly that long. */
static void lingering_collects(void)
{
    fresh(25);
    fix.source_gap = bk_ms(10);
    rec.limits.linger = bk_ms(100);
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(rec.n, 3);
    CHECK_EQ(rec.sizes[0], 10);
    CHECK_EQ(rec.at_ms[1] - rec.at_ms[0], 100);
    CHECK_EQ(rec.sizes[2], 5);
    CHECK_EQ(fix.wrong, 0);
}

/* All credits are in the batch: nothing more can come, so waiting would be idle. */
static void nobody_waits_for_a_full_flow(void)
{
    fresh(100);
    rec.limits.linger = bk_seconds(3600);
    fix.opts.limit = 10;
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(rec.n, 10);
    CHECK_EQ(fix.stats.elapsed.ns, 0);
    CHECK_EQ(fix.wrong, 0);
}

/* While one batch is being written the next one fills, and no more. */
static void two_batches_at_most(void)
{
    fresh(300);
    rec.limits.max_items = 10;
    rec.pause = bk_ms(10);
    fix.in_flight_limit = 21; /* two batches, and the item the source waits with */
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(rec.n, 30);
    CHECK_EQ(fix.stats.peak, 21);
    CHECK_EQ(fix.wrong, 0);
}

static void a_refused_entry_is_a_failed_item(void)
{
    fresh(10);
    rec.refuse = 4;
    fix.opts.on_error = BK_ON_ERROR_SKIP;
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(fix.stats.stored, 9);
    CHECK_EQ(fix.stats.failed, 1);
    CHECK_EQ(fix.stats.written, 9);
    CHECK_STR(fix.events, "src message 4: rec: not number 4\n");
    fresh(10);
    rec.refuse = 4;
    CHECK_EQ(fix_run(&fix), -BK_EFORMAT);
    CHECK_STR(fix.error, "src message 4: rec: not number 4");
    CHECK_EQ(fix.outcome[4], BK_FAILED);
    CHECK_EQ(fix.outcome[10], BK_STORED);
    CHECK_EQ(fix.committed, 3);
    CHECK_EQ(fix.wrong, 0);
}

static void a_broken_sink_ends_the_flow(void)
{
    fresh(100);
    rec.limits.max_items = 10;
    rec.break_at = 35;
    rec.break_result = -EIO;
    rec.break_done = 2;
    CHECK_EQ(fix_run(&fix), -EIO);
    CHECK_STR(fix.error, "rec: it broke");
    CHECK_EQ(fix.stats.stored, 32);
    CHECK_EQ(fix.committed, 32);
    CHECK_EQ(fix.stats.returned, fix.stats.received - 32);
    CHECK_EQ(rec.n_closed, 1);
    CHECK_EQ(rec.closed_with, -EIO);
    CHECK_EQ(fix.wrong, 0);
}

static void a_reader_that_leaves_ends_it_well(void)
{
    fresh(100);
    rec.limits.max_items = 10;
    rec.break_at = 35;
    rec.break_result = BKI_SINK_LEFT;
    rec.break_done = 2;
    CHECK_EQ(fix_run(&fix), 0);
    CHECK_EQ(fix.stats.stored, 32);
    CHECK_EQ(fix.committed, 32);
    CHECK(fix.stats.received < 100);
    CHECK_EQ(fix.stats.dropped, fix.stats.received - 32);
    CHECK_EQ(rec.closed_with, 0);
    CHECK_EQ(fix.wrong, 0);
}

static void failing_to_close_is_a_failure(void)
{
    fresh(5);
    rec.close_result = -ENOSPC;
    CHECK_EQ(fix_run(&fix), -ENOSPC);
    CHECK_STR(fix.error, "rec: cannot close");
    CHECK_EQ(rec.n_closed, 1);
}

static void failing_to_open_takes_nothing(void)
{
    fresh(5);
    rec.open_result = -ENOENT;
    CHECK_EQ(fix_run(&fix), -ENOENT);
    CHECK_STR(fix.error, "rec: no such place");
    CHECK_EQ(fix.given, 0);
    CHECK_EQ(rec.n_closed, 0);
    CHECK(!fix.stats.started);
    CHECK_EQ(fix.wrong, 0);
}

CHECK_MAIN(TEST(a_busy_source_makes_full_batches), TEST(a_slow_source_is_written_at_once),
           TEST(bytes_fill_a_batch), TEST(lingering_collects), TEST(nobody_waits_for_a_full_flow),
           TEST(two_batches_at_most), TEST(a_refused_entry_is_a_failed_item),
           TEST(a_broken_sink_ends_the_flow), TEST(a_reader_that_leaves_ends_it_well),
           TEST(failing_to_close_is_a_failure), TEST(failing_to_open_takes_nothing))
