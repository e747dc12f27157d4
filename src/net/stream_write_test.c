/* SPDX-License-Identifier: MIT
 * Writing: backpressure, background sending and its errors, half-close, close, descriptors of all
 * kinds. */
#include "net/stream.h"

#include <signal.h>
#include <sys/stat.h>

#include "net/net_test.h"

/* More than any kernel buffer and the stream's own take together. */
enum { MUCH = 1000 * 1000 };

static char much[MUCH];

static void make_much(void)
{
    unsigned seed = 3;
    for (size_t i = 0; i < MUCH; i++)
        much[i] = (char)next_random(&seed);
}

/* A pair that the kernel holds little for.  (Not TCP: its timers run on real time.) */
static int open_narrow_pair(bk_stream **a, bk_stream **b, const bk_stream_opts *opts)
{
    struct ends e;
    int r = open_ends(&e, opts);
    *a = e.s;
    if (r == 0)
        r = bk_stream_from_fd(b, e.peer, opts);
    if (r == 0)
        r = set_buffer(bk_stream_fd(*a), SO_SNDBUF, 4096);
    return r;
}

static void close_pair(bk_stream **a, bk_stream **b)
{
    bk_stream_close(a, -1);
    bk_stream_close(b, -1);
}

/* Reads MUCH bytes and compares; returns how many were right. */
static size_t read_much(bk_stream *s)
{
    static char buf[10000];
    size_t at = 0;
    while (at < MUCH) {
        ssize_t n = bk_stream_read(s, buf, sizeof buf);
        if (n <= 0 || memcmp(buf, much + at, (size_t)n) != 0)
            break;
        at += (size_t)n;
    }
    return at;
}

static int write_much(void *ctx)
{
    return bk_stream_write(ctx, much, MUCH);
}

static int write_much_in_portions(void *ctx)
{
    unsigned seed = 11;
    for (size_t at = 0; at < MUCH;) {
        size_t n = next_random(&seed) % 3000;
        if (n > MUCH - at)
            n = MUCH - at;
        int r = bk_stream_write(ctx, much + at, n);
        if (r < 0)
            return r;
        at += n;
        if (bk_stream_unsent(ctx) > 64 * 1024)
            return -E2BIG;
    }
    return 0;
}

static void check_slow_reader(bk_fn *writer_fn)
{
    bk_stream *a = NULL, *b = NULL;
    bk_task *writer = NULL;
    int r = -1;
    make_much();
    CHECK_EQ(open_narrow_pair(&a, &b, NULL), 0);
    CHECK_EQ(bk_go(&writer, writer_fn, a, NULL), 0);
    bk_sleep(bk_seconds(1));
    CHECK(!bk_task_done(writer)); /* nobody reads: it has to wait */
    CHECK(bk_stream_unsent(a) <= 64 * 1024);
    CHECK_EQ(read_much(b), MUCH);
    CHECK_EQ(bk_task_wait(writer, &r), 0);
    CHECK_EQ(r, 0);
    CHECK_EQ(bk_stream_unsent(a), 0);
    bk_task_free(&writer);
    close_pair(&a, &b);
}

LOOP_TEST(ST3_one_large_write_waits_for_a_slow_reader)
{
    check_slow_reader(write_much);
}

LOOP_TEST(many_small_writes_wait_for_a_slow_reader)
{
    check_slow_reader(write_much_in_portions);
}

LOOP_TEST(ST3_what_fits_the_write_buffer_never_suspends)
{
    struct ends e;
    static char block[32 * 1024];
    CHECK_EQ(open_ends(&e, NULL), 0);
    set_buffer(bk_stream_fd(e.s), SO_SNDBUF, 4096);
    CHECK_EQ(bk_stream_write(e.s, block, sizeof block), 0);
    CHECK(bk_stream_unsent(e.s) > 0);
    CHECK_EQ(bk_stream_write(e.s, block, sizeof block - 1), 0);
    CHECK_EQ(bk_stream_write(e.s, "", 0), 0);
    close_ends(&e);
}

static int count_turns(void *ctx)
{
    int *n = ctx;
    while (bk_yield() == 0)
        ++*n;
    return 0;
}

/* A task that never has to wait lets the others run now and then. */
LOOP_TEST(reading_and_writing_without_waiting_gives_way)
{
    struct ends e;
    char buf[256];
    bk_task *counter = NULL;
    int n_turns = 0;
    CHECK_EQ(open_ends(&e, NULL), 0);
    set_buffer(bk_stream_fd(e.s), SO_SNDBUF, 1 << 20);
    set_buffer(e.peer, SO_SNDBUF, 1 << 20);
    CHECK_EQ(bk_go(&counter, count_turns, &n_turns, NULL), 0);
    for (int i = 0; i < 300; i++)
        CHECK_EQ(bk_stream_write(e.s, "x", 1), 0);
    CHECK_EQ(bk_stream_unsent(e.s), 0);
    CHECK(n_turns > 0);
    for (int i = 0; i < 300; i++)
        CHECK_EQ(write(e.peer, buf, sizeof buf), sizeof buf);
    bk_yield();
    n_turns = 0;
    for (int i = 0; i < 300; i++)
        CHECK_EQ(bk_stream_read(e.s, buf, sizeof buf), sizeof buf);
    CHECK(n_turns > 0);
    bk_task_cancel(counter);
    bk_task_wait(counter, NULL);
    bk_task_free(&counter);
    close_ends(&e);
}

static int set_flag_after_flush(void *ctx)
{
    struct ends *e = ctx;
    int r = bk_stream_flush(e->s);
    return r < 0 ? r : (int)bk_stream_unsent(e->s);
}

static int drain_it(void *ctx)
{
    struct ends *e = ctx;
    int r = bk_stream_drain(e->s);
    return r < 0 ? r : (int)bk_stream_unsent(e->s);
}

/* In asyncio a write never waits, and drain does once 64 KiB are exceeded.  Here the write waits,
 * so that nobody can forget the drain, and drain is for who wants the buffer nearly empty. */
LOOP_TEST(C138_C139_ST3_differs_drain_waits_for_a_quarter_and_flush_for_all)
{
    struct ends e;
    static char block[60 * 1024];
    bk_task *drain = NULL, *drain2 = NULL, *flush = NULL;
    int left = -1;
    CHECK_EQ(open_ends(&e, NULL), 0);
    set_buffer(bk_stream_fd(e.s), SO_SNDBUF, 4096);
    CHECK_EQ(bk_stream_write(e.s, block, sizeof block), 0);
    CHECK_EQ(bk_go(&drain, drain_it, &e, NULL), 0);
    CHECK_EQ(bk_go(&drain2, drain_it, &e, NULL), 0);
    CHECK_EQ(bk_go(&flush, set_flag_after_flush, &e, NULL), 0);
    bk_sleep(bk_ms(10));
    CHECK(!bk_task_done(drain));
    while (!bk_task_done(drain)) {
        CHECK(read(e.peer, block, 2000) > 0);
        bk_sleep(bk_ms(1));
    }
    CHECK(bk_task_done(drain2));
    left = bk_task_result(drain);
    CHECK(left > 0 && left <= 16 * 1024);
    CHECK(!bk_task_done(flush));
    while (!bk_task_done(flush)) {
        CHECK(read(e.peer, block, 2000) > 0);
        bk_sleep(bk_ms(1));
    }
    CHECK_EQ(bk_task_result(flush), 0);
    bk_task_free(&drain);
    bk_task_free(&drain2);
    bk_task_free(&flush);
    close_ends(&e);
}

LOOP_TEST(an_idle_stream_keeps_no_write_buffer)
{
    struct ends e;
    static char block[60 * 1024];
    CHECK_EQ(open_ends(&e, NULL), 0);
    set_buffer(bk_stream_fd(e.s), SO_SNDBUF, 4096);
    CHECK_EQ(bk_stream_write(e.s, block, sizeof block), 0);
    CHECK_EQ(bk_stream_write(e.s, block, 1), 0);
    for (size_t left = sizeof block + 1; left > 0;) {
        ssize_t n = read(e.peer, block, left < sizeof block ? left : sizeof block);
        CHECK(n > 0);
        left -= (size_t)n;
        bk_sleep(bk_ms(1));
    }
    CHECK(e.s->out == NULL);
    close_ends(&e);
}

LOOP_TEST(ST3_pieces_arrive_in_order)
{
    struct ends e;
    bk_span pieces[50];
    char want[200] = "", got[200];
    CHECK_EQ(open_ends(&e, NULL), 0);
    for (int i = 0; i < 50; i++) {
        static const char *const words[] = {"", "a", "bcd", ""};
        pieces[i] = bk_span_str(words[i % 4]);
        strncat(want, words[i % 4], sizeof want - strlen(want) - 1);
    }
    CHECK_EQ(bk_stream_writev(e.s, pieces, 50), 0);
    CHECK_EQ(bk_stream_flush(e.s), 0);
    CHECK_MEM(got, (size_t)read(e.peer, got, sizeof got), want, strlen(want));
    CHECK_EQ(bk_stream_writev(e.s, pieces, 0), 0);
    CHECK_EQ(bk_stream_writev(e.s, pieces, 1), 0);
    close_ends(&e);
}

static int writev_much(void *ctx)
{
    bk_span pieces[100];
    for (size_t i = 0; i < 100; i++)
        pieces[i] = bk_span_of(much + i * (MUCH / 100), MUCH / 100);
    return bk_stream_writev(ctx, pieces, 100);
}

LOOP_TEST(many_large_pieces_arrive_in_order)
{
    check_slow_reader(writev_much);
}

LOOP_TEST(a_second_writer_is_refused)
{
    bk_stream *a = NULL, *b = NULL;
    bk_task *writer = NULL;
    make_much();
    CHECK_EQ(open_narrow_pair(&a, &b, NULL), 0);
    CHECK_EQ(bk_go(&writer, write_much, a, NULL), 0);
    bk_sleep(bk_ms(1));
    CHECK_EQ(bk_stream_write(a, "x", 1), -EBUSY);
    CHECK_EQ(bk_stream_write_eof(a), -EBUSY);
    CHECK_EQ(bk_stream_close(&a, 0), -EBUSY);
    CHECK_EQ(read_much(b), MUCH);
    CHECK_EQ(bk_task_wait(writer, NULL), 0);
    bk_task_free(&writer);
    close_pair(&a, &b);
}

LOOP_TEST(a_write_cancelled_halfway_spoils_the_stream)
{
    bk_stream *a = NULL, *b = NULL;
    make_much();
    CHECK_EQ(open_narrow_pair(&a, &b, NULL), 0);
    CHECK_EQ(bk_wait_for(write_much, a, bk_ms(1)), -ETIMEDOUT);
    CHECK_EQ(bk_stream_write(a, "x", 1), -EPIPE);
    close_pair(&a, &b);
}

LOOP_TEST(a_write_cancelled_before_it_began_spoils_nothing)
{
    struct ends e;
    char c = 0;
    CHECK_EQ(open_ends(&e, NULL), 0);
    bk_task_cancel(bk_task_current());
    CHECK_EQ(bk_stream_write(e.s, "x", 1), -ECANCELED);
    bk_uncancel();
    CHECK_EQ(bk_stream_write(e.s, "y", 1), 0);
    CHECK_EQ(bk_stream_flush(e.s), 0);
    CHECK_EQ(read(e.peer, &c, 1), 1);
    CHECK_EQ(c, 'y');
    close_ends(&e);
}

/* ---- Errors of background sending ---- */

static int flush_it(void *ctx)
{
    return bk_stream_flush(ctx);
}

LOOP_TEST(C140_ST3_a_background_error_is_told_to_all_who_ask)
{
    bk_stream *a = NULL, *b = NULL;
    bk_task *flush = NULL;
    bk_stream_opts roomy = {.write_buffer = MUCH};
    CHECK_EQ(open_narrow_pair(&a, &b, &roomy), 0);
    CHECK_EQ(bk_stream_write(a, much, MUCH), 0);
    CHECK_EQ(bk_go(&flush, flush_it, a, NULL), 0);
    bk_sleep(bk_ms(1));
    CHECK(!bk_task_done(flush));
    bk_stream_close(&b, 0);
    int r = 0;
    CHECK_EQ(bk_task_wait(flush, &r), 0);
    CHECK(r == -ECONNRESET || r == -EPIPE);
    CHECK(strncmp(bk_task_errmsg(flush), "write", 5) == 0);
    CHECK_EQ(bk_stream_write(a, "x", 1), r);
    CHECK_EQ(bk_stream_drain(a), r);
    CHECK_EQ(bk_stream_unsent(a), 0);
    bk_task_free(&flush);
    CHECK_EQ(bk_stream_close(&a, 0), r);
    CHECK(a == NULL);
}

/* asyncio drops them, and warns from the fifth on. */
LOOP_TEST(C141_ST3_differs_a_lost_connection_refuses_every_write)
{
    struct ends e;
    CHECK_EQ(open_ends(&e, NULL), 0);
    hang_up(&e);
    int r = bk_stream_write(e.s, "x", 1);
    if (r == 0)
        r = bk_stream_flush(e.s);
    CHECK_EQ(r, -EPIPE);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(bk_stream_write(e.s, "x", 1), -EPIPE);
    CHECK(bk_stream_is_closing(e.s));
    close_ends(&e);
}

/* ---- Without waiting ---- */

LOOP_TEST(try_write_takes_all_or_nothing)
{
    struct ends e;
    static char block[200 * 1000];
    CHECK_EQ(open_ends(&e, &(bk_stream_opts){.write_buffer = 10000}), 0);
    set_buffer(bk_stream_fd(e.s), SO_SNDBUF, 4096);
    CHECK_EQ(bk_stream_try_write(e.s, block, sizeof block), 0); /* the first is always taken */
    size_t unsent = bk_stream_unsent(e.s);
    CHECK(unsent > 10000);
    CHECK_EQ(bk_stream_try_write(e.s, "x", 1), -EAGAIN);
    CHECK_EQ(bk_stream_unsent(e.s), unsent);
    for (size_t left = sizeof block; left > 9000;) {
        static char buf[1000];
        ssize_t n = read(e.peer, buf, sizeof buf);
        CHECK(n > 0);
        left -= (size_t)n;
        bk_sleep(bk_ms(1));
    }
    CHECK(bk_stream_unsent(e.s) < 9000);
    bk_task_cancel(bk_task_current()); /* it is deaf to that, and never waits */
    CHECK_EQ(bk_stream_try_write(e.s, block, 1000), 0);
    CHECK_EQ(bk_stream_try_write(e.s, block, 10000), -EAGAIN);
    bk_uncancel();
    close_ends(&e);
}

static int try_it(void *ctx)
{
    int r = 0;
    for (int i = 0; i < 300 && r == 0; i++) /* more than a turn's budget */
        r = bk_stream_try_write(ctx, "x", 1);
    return r;
}

LOOP_TEST(try_write_never_gives_way)
{
    struct ends e;
    bk_task *counter = NULL;
    int n_turns = 0;
    CHECK_EQ(open_ends(&e, NULL), 0);
    CHECK_EQ(bk_go(&counter, count_turns, &n_turns, NULL), 0);
    bk_yield();
    int before = n_turns;
    CHECK_EQ(try_it(e.s), 0);
    CHECK_EQ(n_turns, before);
    bk_task_cancel(counter);
    bk_task_wait(counter, NULL);
    bk_task_free(&counter);
    close_ends(&e);
}

LOOP_TEST(try_write_tells_of_what_ended)
{
    bk_stream *a = NULL, *b = NULL;
    bk_task *writer = NULL;
    make_much();
    CHECK_EQ(open_narrow_pair(&a, &b, NULL), 0);
    CHECK_EQ(bk_go(&writer, write_much, a, NULL), 0);
    bk_yield();
    CHECK_EQ(bk_stream_try_write(a, "x", 1), -EBUSY);
    bk_stream_close(&b, 0);
    int r = 0;
    CHECK_EQ(bk_task_wait(writer, &r), 0);
    CHECK(r == -EPIPE || r == -ECONNRESET);
    CHECK_EQ(bk_stream_try_write(a, "x", 1), r);
    bk_task_free(&writer);
    bk_stream_close(&a, -1);
}

/* ---- Ends ---- */

LOOP_TEST(C143_ST4_the_write_side_ends_alone)
{
    bk_stream *a = NULL, *b = NULL;
    char buf[1024];
    CHECK_EQ(open_tcp_pair(&a, &b, NULL), 0);
    CHECK_EQ(bk_stream_write(a, "question", 8), 0);
    CHECK_EQ(bk_stream_write_eof(a), 0);
    CHECK_EQ(bk_stream_write_eof(a), 0);
    CHECK_EQ(bk_stream_write(a, "x", 1), -EPIPE);
    CHECK_EQ(bk_stream_read(b, buf, sizeof buf), 8);
    CHECK_EQ(bk_stream_read(b, buf, sizeof buf), 0);
    CHECK_EQ(bk_stream_write(b, "answer", 6), 0);
    CHECK_EQ(bk_stream_close(&b, 0), 0);
    CHECK_EQ(bk_stream_read(a, buf, sizeof buf), 6);
    CHECK_EQ(bk_stream_read(a, buf, sizeof buf), 0);
    CHECK_EQ(bk_stream_close(&a, 0), 0);
}

static int read_slowly(void *ctx)
{
    char buf[4096];
    size_t total = 0;
    ssize_t n;
    while ((n = bk_stream_read(ctx, buf, sizeof buf)) > 0) {
        total += (size_t)n;
        int r = bk_sleep(bk_ms(10));
        if (r < 0)
            return r;
    }
    return n < 0 ? (int)n : (int)total;
}

LOOP_TEST(C142_ST4_close_sends_what_is_left)
{
    bk_stream *a = NULL, *b = NULL;
    bk_task *reader = NULL;
    bk_stream_opts roomy = {.write_buffer = MUCH};
    int r = 0;
    CHECK_EQ(open_narrow_pair(&a, &b, &roomy), 0);
    CHECK_EQ(bk_stream_write(a, much, MUCH), 0);
    CHECK(bk_stream_unsent(a) > 0);
    CHECK_EQ(bk_go(&reader, read_slowly, b, NULL), 0);
    bk_task_cancel(bk_task_current()); /* it is deaf to that */
    CHECK_EQ(bk_stream_close(&a, 7), 7);
    bk_uncancel();
    CHECK_EQ(bk_task_wait(reader, &r), 0);
    CHECK_EQ(r, MUCH);
    bk_task_free(&reader);
    bk_stream_close(&b, 0);
}

LOOP_TEST(close_gives_up_after_five_seconds)
{
    bk_stream *a = NULL, *b = NULL;
    bk_stream_opts roomy = {.write_buffer = MUCH};
    CHECK_EQ(open_narrow_pair(&a, &b, &roomy), 0);
    CHECK_EQ(bk_stream_write(a, much, MUCH), 0);
    bk_time start = bk_now();
    CHECK_EQ(bk_stream_close(&a, 0), -ETIMEDOUT);
    CHECK_EQ(bk_time_since(bk_now(), start).ns, bk_seconds(5).ns);
    CHECK(strstr(bk_errmsg(), "were not taken within 5 s") != NULL);
    bk_stream_close(&b, -1);
}

LOOP_TEST(C142_ST4_close_after_a_failure_drops_what_is_left)
{
    bk_stream *a = NULL, *b = NULL;
    bk_stream_opts roomy = {.write_buffer = MUCH};
    CHECK_EQ(open_narrow_pair(&a, &b, &roomy), 0);
    CHECK_EQ(bk_stream_write(a, much, MUCH), 0);
    bk_time start = bk_now();
    CHECK_EQ(bk_stream_close(&a, -EIO), -EIO);
    CHECK_EQ(bk_time_since(bk_now(), start).ns, 0);
    CHECK_EQ(bk_stream_close(&a, 5), 5); /* NULL by now */
    bk_stream_close(&b, -1);
}

/* ---- Pipes, terminals, files ---- */

LOOP_TEST(P7_pipes_are_streams)
{
    int fds[2];
    bk_stream *in = NULL, *out = NULL;
    char buf[300];
    CHECK_EQ(pipe(fds), 0);
    CHECK_EQ(bk_stream_from_fd(&in, fds[0], NULL), 0);
    CHECK_EQ(bk_stream_from_fd(&out, fds[1], NULL), 0);
    CHECK_EQ(bk_stream_fd(in), fds[0]);
    CHECK_STR(bk_stream_peer(in), "");
    CHECK_EQ(bk_stream_write(out, "through", 7), 0);
    CHECK_EQ(bk_stream_read(in, buf, sizeof buf), 7);
    CHECK_EQ(bk_stream_write_eof(out), -EOPNOTSUPP);
    CHECK_EQ(bk_stream_close(&out, 0), 0);
    CHECK_EQ(bk_stream_read(in, buf, sizeof buf), 0);
    CHECK_EQ(bk_stream_close(&in, 0), 0);
}

LOOP_TEST(C140_a_pipe_without_a_reader_is_an_error_and_no_signal)
{
    int fds[2];
    bk_stream *out = NULL;
    CHECK_EQ(pipe(fds), 0);
    CHECK_EQ(bk_stream_from_fd(&out, fds[1], NULL), 0);
    close(fds[0]);
    int r = bk_stream_write(out, "x", 1);
    if (r == 0)
        r = bk_stream_flush(out);
    CHECK_EQ(r, -EPIPE);
    bk_stream_close(&out, -1);
}

static void a_run_leaves_sigpipe_as_it_was(void)
{
    sigset_t mask, pending;
    C140_a_pipe_without_a_reader_is_an_error_and_no_signal();
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    sigpending(&pending);
    CHECK(!sigismember(&mask, SIGPIPE));
    CHECK(!sigismember(&pending, SIGPIPE));
}

LOOP_TEST(a_shared_pipe_stays_blocking_for_the_others)
{
    int fds[2];
    bk_stream *out = NULL;
    CHECK_EQ(pipe(fds), 0);
    int others = dup(fds[1]);
    CHECK_EQ(bk_stream_from_fd(&out, fds[1], NULL), 0);
    CHECK((fcntl(fds[1], F_GETFL) & O_NONBLOCK) != 0);
    CHECK_EQ(fcntl(others, F_GETFL) & O_NONBLOCK, 0);
    bk_stream_close(&out, 0);
    close(others);
    close(fds[0]);
}

LOOP_TEST(P8_a_shared_socket_is_adopted_and_gets_its_mode_back)
{
    struct ends e;
    CHECK_EQ(open_ends(&e, NULL), 0);
    int others = dup(bk_stream_fd(e.s));
    CHECK((fcntl(others, F_GETFL) & O_NONBLOCK) != 0);
    close_ends(&e);
    CHECK_EQ(fcntl(others, F_GETFL) & O_NONBLOCK, 0);
    close(others);
}

LOOP_TEST(P7_terminals_are_streams)
{
    char buf[300];
    bk_stream *s = NULL;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(slave >= 0);
    int others = dup(slave);
    CHECK_EQ(bk_stream_from_fd(&s, slave, NULL), 0);
    CHECK_EQ(fcntl(others, F_GETFL) & O_NONBLOCK, 0);
    CHECK_EQ(write(master, "typed\n", 6), 6);
    CHECK_EQ(bk_stream_read(s, buf, sizeof buf), 6);
    CHECK_MEM(buf, 6, "typed\n", 6);
    CHECK_EQ(bk_stream_write(s, "shown", 5), 0);
    CHECK_EQ(bk_stream_flush(s), 0);
    bk_stream_close(&s, 0);
    close(others);
    close(master);
}

static void check_refused(int fd, int want)
{
    bk_stream *s = NULL;
    int r = bk_stream_from_fd(&s, fd, NULL);
    bool still_open = fcntl(fd, F_GETFD) >= 0;
    if (fd >= 0)
        close(fd);
    CHECK_EQ(r, want);
    CHECK(s == NULL);
    CHECK_EQ(still_open, want != -EBADF);
}

LOOP_TEST(what_cannot_be_waited_for_is_refused)
{
    check_refused(open("/proc/self/exe", O_RDONLY), -EINVAL);
    check_refused(open("/dev/null", O_RDWR), -EINVAL);
    check_refused(open("/", O_RDONLY), -EINVAL);
    check_refused(socket(AF_INET, SOCK_DGRAM, 0), -EINVAL);
    check_refused(-1, -EBADF);
}

CHECK_MAIN(TEST(ST3_one_large_write_waits_for_a_slow_reader),
           TEST(many_small_writes_wait_for_a_slow_reader),
           TEST(ST3_what_fits_the_write_buffer_never_suspends),
           TEST(reading_and_writing_without_waiting_gives_way),
           TEST(C138_C139_ST3_differs_drain_waits_for_a_quarter_and_flush_for_all),
           TEST(an_idle_stream_keeps_no_write_buffer), TEST(ST3_pieces_arrive_in_order),
           TEST(many_large_pieces_arrive_in_order), TEST(a_second_writer_is_refused),
           TEST(a_write_cancelled_halfway_spoils_the_stream),
           TEST(a_write_cancelled_before_it_began_spoils_nothing),
           TEST(C140_ST3_a_background_error_is_told_to_all_who_ask),
           TEST(C141_ST3_differs_a_lost_connection_refuses_every_write),
           TEST(try_write_takes_all_or_nothing), TEST(try_write_never_gives_way),
           TEST(try_write_tells_of_what_ended), TEST(C143_ST4_the_write_side_ends_alone),
           TEST(C142_ST4_close_sends_what_is_left), TEST(close_gives_up_after_five_seconds),
           TEST(C142_ST4_close_after_a_failure_drops_what_is_left), TEST(P7_pipes_are_streams),
           TEST(C140_a_pipe_without_a_reader_is_an_error_and_no_signal),
           TEST(a_run_leaves_sigpipe_as_it_was), TEST(a_shared_pipe_stays_blocking_for_the_others),
           TEST(P8_a_shared_socket_is_adopted_and_gets_its_mode_back),
           TEST(P7_terminals_are_streams), TEST(what_cannot_be_waited_for_is_refused))
