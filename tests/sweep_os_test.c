/* SPDX-License-Identifier: MIT
 * Sweeps over the rest of the operating system: descriptors, datagrams, files, pipes, executors,
 * several loops.  (Child processes: sweep_process_test.c.) */
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>

#include "tests/sweep.h"

/* ---- Descriptors ---- */

struct ends {
    int near, far;
    bk_datagram *datagram;
    int n_sent, n_got, n_filled;
};

static int open_pair(struct ends *e, int type)
{
    int fds[2];
    if (socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    e->near = fds[0];
    e->far = fds[1];
    return 0;
}

static int open_ends(void *ctx)
{
    return open_pair(ctx, SOCK_STREAM);
}

static void close_ends(void *ctx)
{
    struct ends *e = ctx;
    bk_datagram_close(&e->datagram, 0);
    if (e->near > 0)
        close(e->near);
    if (e->far > 0)
        close(e->far);
}

static int write_slowly(void *ctx)
{
    struct ends *e = ctx;
    int r = 0;
    for (int i = 0; r == 0 && i < 4; i++) {
        r = bk_yield();
        if (r == 0 && i % 2 && syscall(SYS_write, e->far, "x", 1) == 1)
            e->n_sent++;
    }
    return r;
}

/* Waits for two bytes, and for room, which there is. */
static int wait_for_bytes(void *ctx)
{
    struct ends *e = ctx;
    int r = 0;
    while (r >= 0 && e->n_got < 2) {
        char buf[4];
        r = bk_fd_wait(e->near, BK_READABLE, bk_forever());
        ssize_t n = r > 0 ? syscall(SYS_read, e->near, buf, sizeof buf) : 0;
        e->n_got += n > 0 ? (int)n : 0;
    }
    if (r > 0)
        r = bk_fd_wait(e->near, BK_READABLE | BK_WRITABLE, bk_seconds(1));
    return r < 0 ? r : 0;
}

static void no_byte_is_lost(void *ctx, int result)
{
    struct ends *e = ctx;
    char buf[16];
    (void)result;
    long left = syscall(SYS_read, e->near, buf, sizeof buf);
    if (e->n_got + (left > 0 ? left : 0) != e->n_sent)
        sweep_lost("%d bytes sent, %d got, %ld left", e->n_sent, e->n_got, left);
    if (bk_fd_wait(e->near, BK_WRITABLE, bk_ms(0)) != BK_WRITABLE && !sweep_excused())
        sweep_lost("the descriptor cannot be waited for any more");
}

/* ---- Datagrams ---- */

static int open_datagrams(void *ctx)
{
    struct ends *e = ctx;
    int r = open_pair(e, SOCK_DGRAM);
    if (r == 0)
        r = bk_datagram_from_fd(&e->datagram, e->near, NULL);
    if (r == 0)
        e->near = 0;
    return r;
}

static int open_full(void *ctx)
{
    struct ends *e = ctx;
    int r = open_datagrams(ctx);
    while (r == 0 && syscall(SYS_write, bk_datagram_fd(e->datagram), "f", 1) == 1)
        e->n_filled++;
    return r;
}

static int send_datagrams(void *ctx)
{
    struct ends *e = ctx;
    int r = 0;
    for (int i = 0; r == 0 && i < 3; i++) {
        r = bk_yield();
        if (r == 0 && syscall(SYS_write, e->far, "abc", 3) == 3)
            e->n_sent++;
    }
    return r;
}

static int receive_datagrams(void *ctx)
{
    struct ends *e = ctx;
    int r = 1;
    while (r == 1 && e->n_got < 3) {
        bk_msg *msg = NULL;
        r = bk_datagram_recv(e->datagram, &msg, NULL);
        if ((r == 1) != (msg != NULL))
            sweep_lost("bk_datagram_recv returns %d and %s", r, msg ? "a message" : "none");
        e->n_got += r == 1;
        bk_msg_free(&msg);
    }
    return r < 0 ? r : 0;
}

static void no_datagram_is_lost(void *ctx, int result)
{
    struct ends *e = ctx;
    char buf[8];
    int left = 0;
    while (syscall(SYS_read, bk_datagram_fd(e->datagram), buf, sizeof buf) == 3)
        left++;
    if (e->n_got + left != e->n_sent && !sweep_excused())
        sweep_lost("%d datagrams sent, %d got, %d left (%d)", e->n_sent, e->n_got, left, result);
}

static int send_numbers(void *ctx)
{
    struct ends *e = ctx;
    int r = 0;
    while (r == 0 && e->n_sent < 3) {
        char number = (char)('0' + e->n_sent);
        r = bk_datagram_send(e->datagram, &number, 1);
        e->n_sent += r == 0;
    }
    return r;
}

static int take_out(struct ends *e, int most)
{
    char c;
    int n = 0;
    while (n < most && syscall(SYS_read, e->far, &c, 1) == 1) {
        n++;
        if (c == 'f')
            e->n_filled--;
        else if (c != '0' + e->n_got++)
            sweep_lost("datagram %d says '%c'", e->n_got - 1, c);
    }
    return n;
}

static int make_room(void *ctx)
{
    int r = 0;
    for (int i = 0; r == 0 && i < 4; i++) {
        r = bk_yield();
        take_out(ctx, 1);
    }
    while (r == 0 && take_out(ctx, 100) > 0)
        r = bk_yield();
    return r;
}

static void what_was_sent_arrives(void *ctx, int result)
{
    struct ends *e = ctx;
    (void)result;
    take_out(e, 1000);
    if (e->n_got != e->n_sent || e->n_filled != 0)
        sweep_lost("%d sent, %d arrived, %d of the filling left", e->n_sent, e->n_got,
                   e->n_filled);
}

/* ---- Files ---- */

struct paper {
    char path[64];
    int n_written;
    bool opened;
};

static int open_paper(void *ctx)
{
    struct paper *p = ctx;
    snprintf(p->path, sizeof p->path, "/tmp/beck-sweep-%d", (int)getpid());
    unlink(p->path);
    return 0;
}

static void close_paper(void *ctx)
{
    unlink(((struct paper *)ctx)->path);
}

static int write_and_read_back(struct paper *p, bk_file *f)
{
    char buf[8];
    bk_span line;
    int r = 0;
    while (r == 0 && p->n_written < 3) {
        r = bk_file_write(f, "line\n", 5);
        p->n_written += r == 0;
    }
    if (r == 0)
        r = bk_file_sync(f, true);
    if (r == 0)
        r = (int)bk_file_pread(f, buf, 4, 5);
    if (r == 4 && memcmp(buf, "line", 4) != 0)
        sweep_lost("what was written is not there");
    if (r == 4)
        r = (int)bk_file_seek(f, 10, SEEK_SET);
    if (r == 10)
        r = bk_file_read_line(f, &line);
    return r < 0 ? r : 0;
}

static int use_a_file(void *ctx)
{
    struct paper *p = ctx;
    bk_file *f = NULL;
    int r = bk_file_open(&f, p->path, O_RDWR | O_CREAT | O_TRUNC, NULL);
    p->opened = r == 0;
    if (r == 0)
        r = write_and_read_back(p, f);
    return bk_file_close(&f, r);
}

static void the_file_has_what_was_written(void *ctx, int result)
{
    struct paper *p = ctx;
    struct stat st = {0};
    sweep_calm();
    bool there = stat(p->path, &st) == 0;
    if (p->opened && !there)
        sweep_lost("the file was opened, and is not there");
    /* One that was cut short may have been written; the call says that it failed. */
    long most = p->n_written * 5 + (result < 0 ? 5 : 0);
    if (st.st_size < p->n_written * 5 || st.st_size > most)
        sweep_lost("%d lines written, %ld bytes there", p->n_written, (long)st.st_size);
}

/* Bytes 0 to 9 are a hole, then comes what was written there. */
static int write_at_places(bk_file *f)
{
    struct stat st;
    char buf[16];
    int r = bk_file_pwrite(f, "ten", 3, 10);
    if (r == 0)
        r = bk_file_truncate(f, 12);
    if (r == 0)
        r = bk_file_stat(f, &st);
    if (r == 0 && st.st_size != 12)
        sweep_lost("the file has %ld bytes", (long)st.st_size);
    if (r == 0)
        r = (int)bk_file_read(f, buf, sizeof buf);
    /* Fewer: an error came in between, of which the next call would tell. */
    if (r >= 0 && (r != 12 ? !sweep_excused() : memcmp(buf + 8, "\0\0te", 4) != 0))
        sweep_lost("%d bytes are not those that were written", r);
    return r < 0 ? r : 0;
}

static int use_places_of_a_file(void *ctx)
{
    struct paper *p = ctx;
    bk_file *f = NULL;
    int r = bk_file_open(&f, p->path, O_RDWR | O_CREAT | O_TRUNC, NULL);
    if (r == 0)
        r = write_at_places(f);
    return bk_file_close(&f, r);
}

static int save_a_file(void *ctx)
{
    struct paper *p = ctx;
    bk_msg *msg = NULL;
    int r = bk_file_save(p->path, "first", 5, &(bk_file_save_opts){.no_sync = true, .mode = 0600});
    p->opened = r == 0;
    if (r == 0) /* the mode stays */
        r = bk_file_save(p->path, "saved", 5, &(bk_file_save_opts){.no_sync = true});
    if (r == 0)
        r = bk_file_load(p->path, 100, &msg);
    if (r == 0 && bk_msg_len(msg) != 5)
        sweep_lost("loaded %zu bytes", bk_msg_len(msg));
    bk_msg_free(&msg);
    return r;
}

static void the_file_is_whole_or_not_there(void *ctx, int result)
{
    struct paper *p = ctx;
    struct stat st = {0};
    sweep_calm();
    bool there = stat(p->path, &st) == 0;
    if (there ? st.st_size != 5 : p->opened)
        sweep_lost("%ld bytes are there", (long)st.st_size);
    if (result == 0 && (st.st_mode & 0777) != 0600)
        sweep_lost("its mode is now %o", st.st_mode & 0777);
}

/* ---- Pipes ---- */

static int use_a_pipe(void *ctx)
{
    bk_stream *reader = NULL, *writer = NULL;
    char buf[4];
    (void)ctx;
    int r = bk_pipe_open(&reader, &writer, NULL);
    if (r == 0)
        r = bk_stream_write(writer, "abcd", 4);
    if (r == 0)
        r = bk_stream_read_exactly(reader, buf, 4);
    bk_stream_close(&writer, r);
    return bk_stream_close(&reader, r);
}

/* ---- Executors and loops ---- */

struct team {
    bk_executor *executor;
    sem_t go;
    atomic_int n_calls, n_items;
};

static int open_team(void *ctx)
{
    struct team *t = ctx;
    sem_init(&t->go, 0, 0);
    return bk_executor_new(&t->executor, &(bk_executor_opts){.max_threads = 1});
}

static void close_team(void *ctx)
{
    struct team *t = ctx;
    sem_post(&t->go);
    if (t->executor)
        bk_executor_shutdown(t->executor, bk_forever());
    bk_executor_free(&t->executor);
    sem_destroy(&t->go);
}

static int wait_to_go(void *ctx)
{
    struct team *t = ctx;
    atomic_fetch_add(&t->n_calls, 1);
    while (sem_wait(&t->go) < 0)
        ;
    return 0;
}

static int keep_busy(void *ctx)
{
    struct team *t = ctx;
    return bk_to_thread(wait_to_go, t, &(bk_to_thread_opts){.executor = t->executor});
}

static int let_go(void *ctx)
{
    struct team *t = ctx;
    int r = 0;
    for (int i = 0; r == 0 && i < 4; i++)
        r = bk_yield();
    sem_post(&t->go);
    return r;
}

static int shut_down(void *ctx)
{
    struct team *t = ctx;
    int r = bk_yield();
    return r < 0 ? r : bk_executor_shutdown(t->executor, bk_forever());
}

static int count_item(void *ctx)
{
    struct team *t = *(struct team **)ctx;
    atomic_fetch_add(&t->n_items, 1);
    return 0;
}

static int map_items(void *ctx)
{
    struct team *t = ctx;
    struct team *items[8];
    for (int i = 0; i < 8; i++)
        items[i] = t;
    return bk_executor_map(t->executor, count_item, items, 8, sizeof items[0]);
}

static void items_are_done_once(void *ctx, int result)
{
    struct team *t = ctx;
    int n = atomic_load(&t->n_items);
    if (n > 8 || (result == 0 && n != 8))
        sweep_lost("%d items of 8, and the map returned %d", n, result);
}

static int yield_in_loop(void *ctx, unsigned index)
{
    struct team *t = ctx;
    (void)index;
    atomic_fetch_add(&t->n_items, 1);
    int r = bk_yield();
    atomic_fetch_sub(&t->n_items, 1);
    return r;
}

static int run_loops(void *ctx)
{
    bk_loops_opts opts = {.run = {.clock = BK_CLOCK_VIRTUAL, .on_error = sweep_report}};
    return bk_loops_run(2, yield_in_loop, ctx, &opts);
}

static void no_loop_is_left(void *ctx, int result)
{
    struct team *t = ctx;
    (void)result;
    if (atomic_load(&t->n_items) != 0)
        sweep_lost("%d loops are in their tasks", atomic_load(&t->n_items));
}

#define ENDS .state_size = sizeof(struct ends), .close = close_ends
#define PAPER                                                                                      \
    .state_size = sizeof(struct paper), .open = open_paper, .close = close_paper, .patient = true
#define TEAM .state_size = sizeof(struct team), .open = open_team, .close = close_team

static const struct sweep_scenario scenarios[] = {
    {.name = "descriptor", ENDS, .open = open_ends, .subject = wait_for_bytes,
     .helpers = {write_slowly}, .helpers_finish = true, .check = no_byte_is_lost},
    {.name = "datagrams received", ENDS, .open = open_datagrams, .subject = receive_datagrams,
     .helpers = {send_datagrams}, .helpers_finish = true, .check = no_datagram_is_lost},
    {.name = "datagrams sent", ENDS, .open = open_full, .subject = send_numbers,
     .helpers = {make_room}, .check = what_was_sent_arrives},
    {.name = "places of a file", PAPER, .subject = use_places_of_a_file},
    {.name = "file", PAPER, .subject = use_a_file, .check = the_file_has_what_was_written},
    {.name = "whole file", PAPER, .subject = save_a_file, .check = the_file_is_whole_or_not_there},
    {.name = "pipe", .subject = use_a_pipe},
    {.name = "executor, shut down", TEAM, .subject = shut_down, .helpers = {keep_busy, let_go}},
    {.name = "executor, map", TEAM, .subject = map_items, .check = items_are_done_once},
    {.name = "loops", TEAM, .subject = run_loops, .check = no_loop_is_left},
};

SWEEP_MAIN(scenarios)
