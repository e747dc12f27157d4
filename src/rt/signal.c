/* SPDX-License-Identifier: MIT
 * Unix signals: what the run does about them by itself, and signals as something that a task waits
 * for. */
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <beck/signal.h>

#include "base/alloc.h"
#include "rt/sched.h"
#include "rt/sync.h"

/* What the handler may touch: one entry for each signal number, lock-free atomics only.  The
 * program has one main thread, hence at most one loop that takes signals. */
enum use { UNUSED, STOP, DUMP, OPENED };

static struct signal_slot {
    atomic_int use;
    atomic_uint n_pending; /* came, and the loop has not acted on it */
} slots[NSIG];

static _Atomic(struct bk_loop *) signal_loop;
static atomic_uint n_in_handler;
static atomic_bool stop_seen; /* a STOP signal came during this run */

struct bki_signals {
    struct bki_list open; /* bk_signals */
    struct sigaction before[NSIG];
    bool installed[NSIG];
    enum use by_default[NSIG]; /* between begin and end: what the run itself takes */
    bool begun;
};

struct bk_signal {
    struct bki_list link;
    struct bki_list waiters;
    struct bk_loop *loop; /* NULL once the run has ended */
    int signo;
};

/* ---- The handler ---- */

/* The second request to stop ends the process at once: the default action follows when the handler
 * returns. */
static void stop_at_once(int signo)
{
    sigaction(signo, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    raise(signo);
}

static void on_signal(int signo)
{
    int saved_errno = errno;
    atomic_fetch_add(&n_in_handler, 1);
    struct bk_loop *loop = atomic_load(&signal_loop);
    if (loop) {
        if (atomic_load(&slots[signo].use) == STOP && atomic_exchange(&stop_seen, true))
            stop_at_once(signo);
        atomic_fetch_add(&slots[signo].n_pending, 1);
        bki_loop_notify(loop, BKI_INBOX_SIGNAL);
    }
    atomic_fetch_sub(&n_in_handler, 1);
    errno = saved_errno;
}

static bool take_pending(int signo)
{
    return atomic_exchange(&slots[signo].n_pending, 0) > 0;
}

/* ---- Handlers in and out of place ---- */

static int install(struct bki_signals *signals, int signo)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (sigaction(signo, &action, &signals->before[signo]) < 0)
        return -errno;
    signals->installed[signo] = true;
    return 0;
}

/* Whoever has replaced our handler meanwhile keeps what it installed. */
static void uninstall(struct bki_signals *signals, int signo)
{
    struct sigaction now;
    signals->installed[signo] = false;
    if (sigaction(signo, NULL, &now) == 0 && now.sa_handler == on_signal)
        sigaction(signo, &signals->before[signo], NULL);
}

static void use_by_default(struct bki_signals *signals, int signo, enum use use)
{
    struct sigaction now;
    if (sigaction(signo, NULL, &now) < 0 || (now.sa_flags & SA_SIGINFO) ||
        now.sa_handler != SIG_DFL)
        return;
    atomic_store(&slots[signo].use, use);
    if (install(signals, signo) == 0)
        signals->by_default[signo] = use;
    else
        atomic_store(&slots[signo].use, UNUSED);
}

int bki_signals_open(struct bk_loop *loop)
{
    if (gettid() != getpid())
        return 0;
    struct bki_signals *signals = bki_zalloc(sizeof *signals);
    if (!signals)
        return bk_fail(-ENOMEM, "no memory for signal handling");
    bki_list_init(&signals->open);
    loop->signals = signals;
    for (int signo = 0; signo < NSIG; signo++)
        atomic_store(&slots[signo].n_pending, 0);
    atomic_store(&signal_loop, loop);
    return 0;
}

bool bki_signals_begin(struct bk_loop *loop)
{
    struct bki_signals *signals = loop->signals;
    if (!signals || signals->begun || loop->opts.no_signals)
        return false;
    signals->begun = true;
    atomic_store(&stop_seen, false);
    use_by_default(signals, SIGINT, STOP);
    use_by_default(signals, SIGTERM, STOP);
    use_by_default(signals, SIGUSR1, DUMP);
    return true;
}

/* What a bk_signal has borrowed stays until that is closed. */
void bki_signals_end(struct bk_loop *loop)
{
    struct bki_signals *signals = loop->signals;
    signals->begun = false;
    for (int signo = 1; signo < NSIG; signo++) {
        enum use use = signals->by_default[signo];
        signals->by_default[signo] = UNUSED;
        if (use == UNUSED || atomic_load(&slots[signo].use) == OPENED)
            continue;
        uninstall(signals, signo);
        atomic_store(&slots[signo].use, UNUSED);
        atomic_store(&slots[signo].n_pending, 0);
    }
}

void bki_signals_close(struct bk_loop *loop)
{
    struct bki_signals *signals = loop->signals;
    if (!signals)
        return;
    for (int signo = 1; signo < NSIG; signo++) {
        if (signals->installed[signo])
            uninstall(signals, signo);
        atomic_store(&slots[signo].use, UNUSED);
    }
    atomic_store(&signal_loop, NULL);
    /* A handler in another thread may be about to wake the loop. */
    while (atomic_load(&n_in_handler) > 0)
        sched_yield();
    struct bki_list *link;
    while ((link = bki_list_pop(&signals->open)))
        bki_container(link, struct bk_signal, link)->loop = NULL;
    loop->signals = NULL;
    bki_free(signals);
}

void bki_signals_forked(void)
{
    struct bk_loop *loop = atomic_load(&signal_loop);
    struct bki_list *link;
    atomic_store(&n_in_handler, 0); /* of other threads, which are not here */
    if (!loop)
        return;
    atomic_store(&signal_loop, NULL);
    for (int signo = 1; signo < NSIG; signo++) {
        if (loop->signals->installed[signo])
            uninstall(loop->signals, signo);
        atomic_store(&slots[signo].use, UNUSED);
    }
    while ((link = bki_list_pop(&loop->signals->open)))
        bki_container(link, struct bk_signal, link)->loop = NULL;
    loop->signals = NULL;
}

/* ---- In the loop ---- */

static void stop(struct bk_loop *loop, int signo)
{
    if (atomic_load(&slots[signo].use) != STOP || !take_pending(signo))
        return;
    loop->signal_seen = signo;
    if (loop->main_task)
        bk_task_cancel(loop->main_task);
    else
        bki_sched_stop(loop);
}

void bki_signals_run(struct bk_loop *loop)
{
    struct bki_signals *signals = loop->signals;
    if (!signals)
        return;
    stop(loop, SIGINT);
    stop(loop, SIGTERM);
    if (atomic_load(&slots[SIGUSR1].use) == DUMP && take_pending(SIGUSR1))
        bk_dump(STDERR_FILENO);
    for (struct bki_list *n = bki_list_first(&signals->open); n;
         n = bki_list_next(&signals->open, n)) {
        struct bk_signal *signal = bki_container(n, struct bk_signal, link);
        if (!bki_list_empty(&signal->waiters) && take_pending(signal->signo))
            bki_grant_all(&signal->waiters, 1);
    }
}

/* ---- Signals to wait for ---- */

static void describe_signal(const void *object, char *buf, size_t size)
{
    const struct bk_signal *signal = object;
    const char *name = sigabbrev_np(signal->signo);
    if (name)
        snprintf(buf, size, "SIG%s", name);
    else
        snprintf(buf, size, "%d", signal->signo);
}

static const struct bki_wait_kind signal_kind = {
    .what = "signal", .describe = describe_signal, .external = true};

/* A handler that returns from one of these would only meet the fault again. */
static bool is_fault(int signo)
{
    return signo == SIGSEGV || signo == SIGBUS || signo == SIGFPE || signo == SIGILL;
}

static int open_slot(struct bki_signals *signals, int signo)
{
    if (signo <= 0 || signo >= NSIG || is_fault(signo))
        return bk_fail(-EINVAL, "signal %d cannot be waited for", signo);
    enum use use = (enum use)atomic_load(&slots[signo].use);
    if (use == OPENED)
        return bk_fail(-EBUSY, "signal %d is open already", signo);
    atomic_store(&slots[signo].n_pending, 0);
    atomic_store(&slots[signo].use, OPENED);
    if (use != UNUSED)
        return 0; /* our handler is in place */
    int r = install(signals, signo);
    if (r < 0) {
        atomic_store(&slots[signo].use, UNUSED);
        return bki_fail_errno(r, "signal %d", signo);
    }
    return 0;
}

/* Back to what the run does by default, or to what was there before. */
static void close_slot(struct bki_signals *signals, int signo)
{
    enum use use = signals->by_default[signo];
    if (use == UNUSED)
        uninstall(signals, signo);
    atomic_store(&slots[signo].n_pending, 0);
    atomic_store(&slots[signo].use, use);
}

int bk_signal_open(bk_signal **out, int signo)
{
    if (!bki_loop->signals)
        return bk_fail(-EPERM, "signals belong to the loop of the main thread");
    struct bk_signal *signal = bki_zalloc(sizeof *signal);
    if (!signal)
        return bk_fail(-ENOMEM, "no memory for a signal");
    int r = open_slot(bki_loop->signals, signo);
    if (r < 0) {
        bki_free(signal);
        return r;
    }
    bki_list_init(&signal->waiters);
    signal->loop = bki_loop;
    signal->signo = signo;
    bki_list_push_back(&bki_loop->signals->open, &signal->link);
    *out = signal;
    return 0;
}

int bk_signal_wait(bk_signal *signal)
{
    int r = bki_check_cancel();
    if (r < 0)
        return r;
    if (take_pending(signal->signo))
        return 1;
    struct bki_waiter w;
    r = bki_wait(&signal->waiters, &w, &signal_kind, signal);
    return r == -BK_ECLOSED ? bk_fail(r, "the signal was closed") : r;
}

void bk_signal_close(bk_signal **signal)
{
    struct bk_signal *s = *signal;
    *signal = NULL;
    if (!s)
        return;
    if (s->loop) {
        bki_grant_all(&s->waiters, -BK_ECLOSED);
        bki_list_remove(&s->link);
        close_slot(s->loop->signals, s->signo);
    }
    bki_free(s);
}
