/* SPDX-License-Identifier: MIT
 * A child process: watched, waited for, signalled, given up. */
#include "net/process.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error_slot.h"
#include "net/stream.h"
#include "rt/report.h"

#define CODE_UNKNOWN 255 /* what asyncio says of a child that somebody else reaped */

#define KILL_PATIENCE_NS                                                                           \
    ((int64_t)5 * 1000000000) /* at the end of the run, for SIGKILL to work                        \
                               */

/* ---- Reaping ---- */

static void report_lost(const struct bk_process *p)
{
    char detail[96];
    snprintf(detail, sizeof detail, "child process %d: its status is lost, %d stands for it",
             (int)p->pid, CODE_UNKNOWN);
    bki_report(&(bk_error_report){
        .what = "a child was reaped by somebody else", .result = -ECHILD, .detail = detail});
}

/* Nothing watches it any more. */
static void has_ended(struct bk_process *p, int code)
{
    p->ended = true;
    p->code = code;
    if (p->pidfd.fd >= 0)
        p->loop->backend->close_fd(p->loop, &p->pidfd);
    if (bki_list_linked(&p->at_end.link))
        bki_list_remove(&p->at_end.link);
    bki_grant_all(&p->waiters, 0);
    if (!p->owned)
        bki_free(p);
}

/* Takes the status of a child that has ended.  False: it lives. */
static bool reap(struct bk_process *p)
{
    siginfo_t info = {0};
    int r;
    do {
        r = waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG);
    } while (r < 0 && errno == EINTR);
    if (r == 0 && info.si_pid == 0)
        return false;
    if (r < 0)
        report_lost(p);
    has_ended(p, r < 0                        ? CODE_UNKNOWN
                 : info.si_code == CLD_EXITED ? info.si_status
                                              : -info.si_status);
    return true;
}

/* ---- Watching by its descriptor ---- */

static int watch_by_thread(struct bk_process *p);

/* Outside any task. */
static void watch_done(struct bki_op *op)
{
    struct bk_process *p = op->owner;
    if (op->result == -ECANCELED || reap(p))
        return;
    /* Woken in vain: it waits again, in another way if this one is out of order. */
    if (p->loop->backend->start(p->loop, op) == 0 || watch_by_thread(p) == 0)
        return;
    report_lost(p);
    has_ended(p, CODE_UNKNOWN);
}

static int watch_descriptor(struct bk_process *p, int pidfd)
{
    bki_fd_init(&p->pidfd, pidfd, false);
    p->watch = (struct bki_op){
        .kind = BKI_OP_POLL, .fd = &p->pidfd, .events = POLLIN, .done = watch_done, .owner = p};
    int r = p->loop->backend->start(p->loop, &p->watch);
    if (r < 0) {
        p->loop->backend->close_fd(p->loop, &p->pidfd);
        return bki_fail_errno(r, "no way to wait for a child process");
    }
    return 0;
}

/* ---- Watching by a thread ---- */

static void thread_is_back(struct bki_post *post, struct bk_loop *loop)
{
    struct bk_process *p = bki_container(post, struct bk_process, post);
    if (!p->has_thread) /* given up meanwhile */
        return;
    pthread_join(p->thread, NULL);
    p->has_thread = false;
    loop->n_jobs--;
    reap(p);
}

/* Leaves the child for the loop to reap: until then nobody else has its number. */
static void *wait_on_thread(void *arg)
{
    struct bk_process *p = arg;
    siginfo_t info;
    while (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        ;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    bki_inbox_post(p->loop, &p->post);
    return NULL;
}

static int watch_by_thread(struct bk_process *p)
{
    sigset_t all, before;
    p->post.run = thread_is_back;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&p->thread, NULL, wait_on_thread, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err)
        return bki_fail_errno(err, "no thread to wait for a child process");
    p->has_thread = true;
    p->loop->n_jobs++;
    return 0;
}

/* ---- The end of the run ---- */

static void let_loop_work(struct bk_loop *loop, int64_t timeout_ns)
{
    loop->backend->poll(loop, timeout_ns);
    bki_inbox_run(loop);
}

static void stop_watching(struct bk_process *p)
{
    struct bk_loop *loop = p->loop;
    if (p->has_thread) {
        pthread_cancel(p->thread);
        pthread_join(p->thread, NULL);
        p->has_thread = false;
        loop->n_jobs--;
        bki_inbox_run(loop); /* it may have posted before */
    }
    if (p->pidfd.fd < 0)
        return;
    loop->backend->cancel(loop, &p->watch);
    while (p->watch.in_flight)
        let_loop_work(loop, -1);
    loop->backend->close_fd(loop, &p->pidfd);
}

static void drop_stream(struct bk_loop *loop, bk_stream **stream)
{
    struct bk_stream *s = *stream;
    *stream = NULL;
    if (!s)
        return;
    bk_stream_abort(s);
    while (s->out)
        let_loop_work(loop, -1);
    bki_stream_free(s);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* No task is left, and nobody has seen to the child's end. */
static void process_at_end(struct bki_at_end *at_end, struct bk_loop *loop)
{
    struct bk_process *p = bki_container(at_end, struct bk_process, at_end);
    bool owned = p->owned;
    p->owned = true; /* stays until we are through */
    drop_stream(loop, &p->in);
    drop_stream(loop, &p->out);
    drop_stream(loop, &p->err);
    if (!p->detached) {
        bk_process_kill(p);
        int64_t left, deadline = now_ns() + KILL_PATIENCE_NS;
        while (!p->ended && (left = deadline - now_ns()) > 0)
            let_loop_work(loop, left);
    }
    if (!p->ended)
        stop_watching(p);
    p->loop = NULL;
    if (!owned)
        bki_free(p);
}

int bki_process_watch(struct bk_process *p, int pidfd)
{
    bki_list_init(&p->waiters);
    p->at_end.run = process_at_end;
    p->pidfd.fd = -1;
    int r = pidfd >= 0 ? watch_descriptor(p, pidfd) : watch_by_thread(p);
    if (r == 0)
        bki_list_push_back(&p->loop->at_end, &p->at_end.link);
    return r;
}

/* ---- Waiting ---- */

static void describe_process(const void *object, char *buf, size_t size)
{
    const struct bk_process *p = object;
    snprintf(buf, size, "%d", (int)p->pid);
}

/* The child, or a thread that waits for it, will tell. */
static const struct bki_wait_kind process_kind = {
    .what = "process", .describe = describe_process, .external = true};

int bk_process_returncode(const bk_process *p, int *code)
{
    if (!p->ended)
        return -EINPROGRESS;
    if (code)
        *code = p->code;
    return 0;
}

int bk_process_wait(bk_process *p, int *code)
{
    struct bki_waiter w;
    int r = bki_check_cancel();
    if (r == 0 && !p->ended)
        r = bki_wait(&p->waiters, &w, &process_kind, p);
    return r < 0 ? r : bk_process_returncode(p, code);
}

static int wait_for_end(void *ctx)
{
    return bk_process_wait(ctx, NULL);
}

/* ---- Signals ---- */

pid_t bk_process_pid(const bk_process *p)
{
    return p->pid;
}

/* While it is not reaped its number, and that of its group, belongs to nobody else. */
int bk_process_signal(bk_process *p, int signo)
{
    if (p->ended || !p->loop)
        return 0;
    if (p->loop != bki_loop)
        return bk_fail(-EPERM, "process %d is the child of another loop", (int)p->pid);
    int r;
    if (p->pidfd.fd >= 0 && !p->is_group)
        r = (int)syscall(SYS_pidfd_send_signal, p->pidfd.fd, signo, NULL, 0);
    else
        r = kill(p->is_group ? -p->pid : p->pid, signo);
    if (r < 0 && errno != ESRCH)
        return bki_fail_errno(errno, "signal %d to process %d", signo, (int)p->pid);
    return 0;
}

int bk_process_terminate(bk_process *p)
{
    return bk_process_signal(p, SIGTERM);
}

int bk_process_kill(bk_process *p)
{
    return bk_process_signal(p, SIGKILL);
}

struct stop {
    bk_process *process;
    bk_duration patience;
};

static int stop_in_order(void *ctx)
{
    struct stop *stop = ctx;
    bk_process_terminate(stop->process);
    if (bk_wait_for(wait_for_end, stop->process, stop->patience) == 0)
        return 0;
    bk_process_kill(stop->process);
    return wait_for_end(stop->process);
}

int bk_process_stop(bk_process *p, bk_duration patience, int *code)
{
    struct stop stop = {p, patience};
    int r = bk_shield(stop_in_order, &stop);
    return r < 0 ? r : bk_process_returncode(p, code);
}

/* ---- The end ---- */

bk_stream *bk_process_in(const bk_process *p)
{
    return p->in;
}

bk_stream *bk_process_out(const bk_process *p)
{
    return p->out;
}

bk_stream *bk_process_err(const bk_process *p)
{
    return p->err;
}

int bk_process_close_in(bk_process *p)
{
    if (!p->in)
        return 0;
    int r = bk_stream_flush(p->in);
    if (r == -ECANCELED)
        return r;
    r = bk_stream_close(&p->in, r);
    return r == -EPIPE || r == -ECONNRESET ? 0 : r;
}

void bki_process_close_pipes(struct bk_process *p)
{
    (void)bk_stream_close(&p->in, -ECANCELED);
    (void)bk_stream_close(&p->out, -ECANCELED);
    (void)bk_stream_close(&p->err, -ECANCELED);
}

static void give_up(bk_process **process)
{
    bk_process *p = *process;
    *process = NULL;
    p->owned = false;
    bk_msg_free(&p->said_out);
    bk_msg_free(&p->said_err);
    if (p->ended || !p->loop)
        bki_free(p);
}

void bk_process_detach(bk_process **process)
{
    bk_process *p = *process;
    if (!p)
        return;
    if (p->loop)
        bki_process_close_pipes(p);
    p->detached = true;
    give_up(process);
}

static bool pipes_in_use(const bk_process *p)
{
    return (p->in && bki_stream_in_use(p->in)) || (p->out && bki_stream_in_use(p->out)) ||
           (p->err && bki_stream_in_use(p->err));
}

/* The child gets the end of its input and the time it needs.  -ECANCELED: it may still live. */
static int wait_in_order(struct bk_process *p)
{
    int r = bk_process_close_in(p);
    bki_process_close_pipes(p);
    int waited = r == -ECANCELED ? r : bk_process_wait(p, NULL);
    return r < 0 ? r : waited;
}

int bk_process_close(bk_process **process, int r)
{
    bk_process *p = *process;
    if (!p)
        return r;
    if (p->loop) {
        if (bki_check_task() < 0)
            return -BK_ENOTASK;
        if (pipes_in_use(p))
            return bk_fail(-EBUSY, "close of a process whose pipes another task is using");
        int ended = r < 0 ? r : wait_in_order(p);
        bk_process_kill(p);
        bki_process_close_pipes(p);
        bk_shield(wait_for_end, p);
        r = ended < 0 ? ended : r;
    }
    give_up(process);
    return r;
}
