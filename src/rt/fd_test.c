/* SPDX-License-Identifier: MIT
 * Tests of bk_fd_wait: ready now and later, both directions, cancels, descriptors that are closed.
 */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <beck/fd.h>

#include "rt/fd.h"
#include "rt/rt.h"
#include "tests/run_helper.h"

/* Two ends of a socket. */
struct ends {
    int near, far;
};

static int open_ends(struct ends *e)
{
    int fds[2];
    *e = (struct ends){-1, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    *e = (struct ends){fds[0], fds[1]};
    return 0;
}

static void close_ends(struct ends *e)
{
    close(e->near);
    close(e->far);
}

static void fill(int fd)
{
    char block[4096] = {0};
    while (write(fd, block, sizeof block) > 0)
        ;
}

static void drain(int fd)
{
    char block[4096];
    while (read(fd, block, sizeof block) > 0)
        ;
}

static int wait_readable(void *ctx)
{
    const int *fd = ctx;
    trace("reader");
    int r = bk_fd_wait(*fd, BK_READABLE, bk_forever());
    trace("r%d", r);
    return r;
}

static int wait_writable(void *ctx)
{
    const int *fd = ctx;
    trace("writer");
    int r = bk_fd_wait(*fd, BK_WRITABLE, bk_forever());
    trace("w%d", r);
    return r;
}

/* ---- Ready ---- */

LOOP_TEST(P6_what_is_ready_is_told_at_once)
{
    struct ends e;
    CHECK_EQ(open_ends(&e), 0);
    CHECK_EQ(bk_fd_wait(e.near, BK_WRITABLE, bk_forever()), BK_WRITABLE);
    CHECK_EQ(bk_fd_wait(e.near, BK_READABLE | BK_WRITABLE, bk_forever()), BK_WRITABLE);
    CHECK_EQ(write(e.far, "x", 1), 1);
    CHECK_EQ(bk_fd_wait(e.near, BK_READABLE | BK_WRITABLE, bk_forever()),
             BK_READABLE | BK_WRITABLE);
    CHECK_EQ(bk_fd_wait(e.near, BK_READABLE, bk_ms(0)), BK_READABLE);
    close_ends(&e);
}

static int count_turns(void *ctx)
{
    int r = 0;
    while (r == 0) {
        ++*(int *)ctx;
        r = bk_yield();
    }
    return r;
}

LOOP_TEST(P6_who_never_waits_gives_way_all_the_same)
{
    struct ends e;
    int n_turns = 0;
    CHECK_EQ(open_ends(&e), 0);
    bk_task *t = start(count_turns, &n_turns);
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(bk_fd_wait(e.near, BK_WRITABLE, bk_forever()), BK_WRITABLE);
    CHECK(n_turns > 1);
    bk_task_cancel(t);
    CHECK_EQ(finish(&t), -ECANCELED);
    close_ends(&e);
}

LOOP_TEST(P6_a_file_never_blocks)
{
    int fd = memfd_create("file", MFD_CLOEXEC);
    CHECK_EQ(bk_fd_wait(fd, BK_READABLE | BK_WRITABLE, bk_forever()), BK_READABLE | BK_WRITABLE);
    close(fd);
}

LOOP_TEST(P6_a_wait_ends_when_something_comes)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    bk_task *t = start(wait_readable, &fd);
    let_run(3);
    CHECK(strstr(dump_text(), "descriptor"));
    CHECK_EQ(bk_task_done(t), false);
    CHECK_EQ(eventfd_write(fd, 1), 0);
    CHECK_EQ(finish(&t), BK_READABLE);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    close(fd);
}

LOOP_TEST(P6_the_end_and_an_error_are_ready_too)
{
    struct ends e;
    CHECK_EQ(open_ends(&e), 0);
    fill(e.near);
    bk_task *r = start(wait_readable, &e.near), *w = start(wait_writable, &e.near);
    let_run(2);
    close(e.far);
    CHECK_EQ(finish(&r), BK_READABLE);
    CHECK_EQ(finish(&w), BK_WRITABLE);
    close(e.near);
}

LOOP_TEST(P6_waits_again_and_again)
{
    struct ends e;
    CHECK_EQ(open_ends(&e), 0);
    for (int i = 0; i < 50; i++) {
        bk_task *t = start(wait_readable, &e.near);
        let_run(2);
        CHECK_EQ(bk_task_done(t), false);
        CHECK_EQ(write(e.far, "x", 1), 1);
        CHECK_EQ(finish(&t), BK_READABLE);
        drain(e.near);
    }
    close_ends(&e);
}

/* ---- Two directions ---- */

LOOP_TEST(C019_P6_reader_and_writer_of_one_descriptor_are_independent)
{
    struct ends e;
    CHECK_EQ(open_ends(&e), 0);
    fill(e.near);
    bk_task *r = start(wait_readable, &e.near), *w = start(wait_writable, &e.near);
    let_run(2);
    bk_task_cancel(r);
    CHECK_EQ(finish(&r), -ECANCELED);
    CHECK_EQ(bk_task_done(w), false);
    drain(e.far);
    CHECK_EQ(finish(&w), BK_WRITABLE);

    fill(e.near);
    r = start(wait_readable, &e.near), w = start(wait_writable, &e.near);
    let_run(2);
    CHECK_EQ(write(e.far, "x", 1), 1);
    CHECK_EQ(finish(&r), BK_READABLE);
    CHECK_EQ(bk_task_done(w), false);
    bk_task_cancel(w);
    CHECK_EQ(finish(&w), -ECANCELED);
    close_ends(&e);
}

/* asyncio's add_reader replaces the handler before it.  A task that waits cannot be replaced: it
 * would never hear why. */
LOOP_TEST(P6_differs_one_task_for_each_direction)
{
    struct ends e;
    CHECK_EQ(open_ends(&e), 0);
    fill(e.near);
    bk_task *r = start(wait_readable, &e.near);
    let_run(2);
    CHECK_EQ(bk_fd_wait(e.near, BK_READABLE, bk_forever()), -EBUSY);
    CHECK_EQ(bk_fd_wait(e.near, BK_READABLE | BK_WRITABLE, bk_forever()), -EBUSY);
    CHECK(strstr(bk_errmsg(), "another task waits"));
    bk_task_cancel(r);
    CHECK_EQ(finish(&r), -ECANCELED);
    CHECK_EQ(bk_fd_wait(e.near, BK_READABLE, bk_ms(1)), -ETIMEDOUT);
    close_ends(&e);
}

/* ---- Cancels and limits ---- */

LOOP_TEST(P6_a_limit_ends_the_wait)
{
    struct ends e;
    CHECK_EQ(open_ends(&e), 0);
    bk_time began = bk_now();
    CHECK_EQ(bk_fd_wait(e.near, BK_READABLE, bk_ms(250)), -ETIMEDOUT);
    CHECK_EQ(bk_time_since(bk_now(), began).ns, bk_ms(250).ns);
    CHECK_EQ(bk_fd_wait(e.near, BK_READABLE, bk_ms(0)), -ETIMEDOUT);
    CHECK_EQ(bk_fd_wait(e.near, BK_READABLE, bk_ms(-5)), -ETIMEDOUT);
    close_ends(&e);
}

struct pair {
    int first_fd, second_fd;
    bk_task *second;
};

static int cancel_the_other(void *ctx)
{
    struct pair *p = ctx;
    int r = bk_fd_wait(p->first_fd, BK_READABLE, bk_forever());
    trace("first%d", r);
    bk_task_cancel(p->second);
    return r;
}

static int be_cancelled(void *ctx)
{
    struct pair *p = ctx;
    int r = bk_fd_wait(p->second_fd, BK_READABLE, bk_forever());
    trace("second%d", r);
    return r;
}

/* Both descriptors become ready in one batch, and the first to run cancels the second's wait. */
LOOP_TEST(C017_a_wait_cancelled_by_another_of_its_batch_tells_nothing)
{
    struct ends a, b;
    CHECK_EQ(open_ends(&a), 0);
    CHECK_EQ(open_ends(&b), 0);
    struct pair p = {.first_fd = a.near, .second_fd = b.near};
    bk_task *first = start(cancel_the_other, &p);
    p.second = start(be_cancelled, &p);
    let_run(3);
    CHECK_EQ(write(a.far, "x", 1), 1);
    CHECK_EQ(write(b.far, "x", 1), 1);
    CHECK_EQ(finish(&first), BK_READABLE);
    CHECK_EQ(finish(&p.second), -ECANCELED);
    CHECK_STR(trace_text(), "first1 second-125");
    CHECK_EQ(bk_fd_wait(b.near, BK_READABLE, bk_forever()), BK_READABLE);
    close_ends(&a);
    close_ends(&b);
}

LOOP_TEST(P6_a_cancelled_task_does_not_look)
{
    bk_task_cancel(bk_task_current());
    CHECK_EQ(bk_fd_wait(0, BK_READABLE, bk_ms(0)), -ECANCELED);
    bk_uncancel();
}

/* ---- Closed, and numbers used again ---- */

LOOP_TEST(C018_a_reused_number_brings_no_stale_event)
{
    struct ends old, new;
    CHECK_EQ(open_ends(&old), 0);
    int number = old.near, kept = dup(old.near); /* the old file lives on */
    bk_task *t = start(wait_readable, &number);
    let_run(2);
    CHECK_EQ(write(old.far, "x", 1), 1); /* an event for the old file is under way */
    CHECK_EQ(bk_fd_close(number), 0);
    CHECK_EQ(open_ends(&new), 0);
    CHECK(new.near == number || new.far == number);
    CHECK_EQ(bk_fd_wait(number, BK_READABLE, bk_ms(10)), -ETIMEDOUT);
    CHECK_EQ(finish(&t), -BK_ECLOSED);
    CHECK_EQ(bk_fd_wait(number, BK_READABLE, bk_ms(10)), -ETIMEDOUT);
    close(kept);
    close(old.far);
    close_ends(&new);
}

LOOP_TEST(C018_a_wait_stays_with_its_file_when_that_is_closed_behind_its_back)
{
    struct ends old, new;
    CHECK_EQ(open_ends(&old), 0);
    int number = old.near;
    bk_task *t = start(wait_readable, &number);
    let_run(2);
    close(number);
    CHECK_EQ(open_ends(&new), 0);
    int other = new.near == number ? new.far : new.near;
    CHECK_EQ(write(other, "x", 1), 1); /* for whoever has the number now */
    let_run(5);
    CHECK_EQ(bk_task_done(t), false);
    CHECK_EQ(write(old.far, "x", 1), 1);
    CHECK_EQ(finish(&t), BK_READABLE);
    close(old.far);
    close_ends(&new);
}

LOOP_TEST(C018_a_number_found_in_new_use_ends_the_old_wait)
{
    struct ends old, new;
    CHECK_EQ(open_ends(&old), 0);
    int number = old.near;
    bk_task *t = start(wait_readable, &number);
    let_run(2);
    close(number);
    CHECK_EQ(open_ends(&new), 0);
    struct bki_fd stream;
    bki_fd_init(&stream, number, true); /* as a new stream does */
    CHECK_EQ(finish(&t), -EBADF);
    CHECK_EQ(bk_fd_wait(number, BK_READABLE, bk_forever()), -EBUSY);
    bki_loop->backend->close_fd(bki_loop, &stream);
    close(old.far);
    close(new.near == number ? new.far : new.near);
}

LOOP_TEST(P6_bk_fd_close_ends_both_waits)
{
    struct ends e;
    CHECK_EQ(open_ends(&e), 0);
    fill(e.near);
    bk_task *r = start(wait_readable, &e.near), *w = start(wait_writable, &e.near);
    let_run(2);
    CHECK_EQ(bk_fd_close(e.near), 0);
    CHECK_EQ(finish(&r), -BK_ECLOSED);
    CHECK_EQ(finish(&w), -BK_ECLOSED);
    CHECK_EQ(bk_fd_close(e.near), -EBADF);
    close(e.far);
}

LOOP_TEST(P6_descriptors_of_beck_are_refused)
{
    struct ends e;
    CHECK_EQ(open_ends(&e), 0);
    struct bki_fd ours;
    bki_fd_init(&ours, e.near, true);
    CHECK_EQ(bk_fd_wait(e.near, BK_WRITABLE, bk_forever()), -EBUSY);
    CHECK(strstr(bk_errmsg(), "belongs to a stream"));
    CHECK_EQ(bk_fd_close(e.near), -EBUSY);
    int number = e.near;
    bki_loop->backend->close_fd(bki_loop, &ours);
    CHECK_EQ(bk_fd_wait(number, BK_WRITABLE, bk_forever()), -EBADF);
    close(e.far);
}

LOOP_TEST(P6_wrong_calls_are_told)
{
    CHECK_EQ(bk_fd_wait(0, 0, bk_forever()), -EINVAL);
    CHECK_EQ(bk_fd_wait(0, 4, bk_forever()), -EINVAL);
    CHECK_EQ(bk_fd_wait(-1, BK_READABLE, bk_forever()), -EBADF);
    CHECK_EQ(bk_fd_wait(1000, BK_READABLE, bk_forever()), -EBADF);
}

CHECK_MAIN(TEST(P6_what_is_ready_is_told_at_once), TEST(P6_who_never_waits_gives_way_all_the_same),
           TEST(P6_a_file_never_blocks), TEST(P6_a_wait_ends_when_something_comes),
           TEST(P6_the_end_and_an_error_are_ready_too), TEST(P6_waits_again_and_again),
           TEST(C019_P6_reader_and_writer_of_one_descriptor_are_independent),
           TEST(P6_differs_one_task_for_each_direction), TEST(P6_a_limit_ends_the_wait),
           TEST(C017_a_wait_cancelled_by_another_of_its_batch_tells_nothing),
           TEST(P6_a_cancelled_task_does_not_look),
           TEST(C018_a_reused_number_brings_no_stale_event),
           TEST(C018_a_wait_stays_with_its_file_when_that_is_closed_behind_its_back),
           TEST(C018_a_number_found_in_new_use_ends_the_old_wait),
           TEST(P6_bk_fd_close_ends_both_waits), TEST(P6_descriptors_of_beck_are_refused),
           TEST(P6_wrong_calls_are_told))
