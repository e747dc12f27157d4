/* SPDX-License-Identifier: MIT
 * The stall detector.  The loop does nothing for it: whether it goes on is seen from counters that
 * it keeps anyway.  Only when a step lasts too long, the watching thread takes a sample of the
 * loop's, and unwinds it at leisure.  When that sleeps in the kernel, the kernel says where; when
 * it computes, a signal makes it copy its registers and the top of its stack.  The signal comes
 * from a timer of the thread's own processor time, which cannot run out while it sleeps: so no
 * system call of the program ends early because somebody looked.
 */
#include "rt/stall.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <beck/inspect.h>

#include "base/alloc.h"
#include "rt/code_map.h"
#include "rt/report.h"

/* Its default action is to be ignored, so that one that comes late does no harm. */
#define STALL_SIGNAL SIGURG
#define COPY_SIZE ((size_t)16 * 1024)
#define MOST_FRAMES 48
#define MOST_STACK ((uint64_t)64 << 20)
#define ANSWER_NS 100000000 /* of processor time */
#define ROUND_NS 1000000
#define LEAST_NAP_NS 1000000

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid /* the C library of old lacks the name */
#endif

enum answer { QUIET, ASKED, ANSWERING, ANSWERED };

/* What tells one step from the next. */
struct progress {
    uint64_t turns;
    int budget;
    const struct bk_task *current;
};

struct bki_stall {
    struct bk_loop *loop;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool stop; /* under the mutex */
    int64_t limit_ns;
    uint64_t thread_low, thread_high; /* the loop thread's own stack */
    clockid_t clock;                  /* its processor time */
    timer_t timer;
    bool has_clock, has_timer;

    /* The sample: the signal handler's while it is ANSWERING, else the watching thread's. */
    _Atomic enum answer answer;
    struct bki_frame frame;
    struct bk_task task;
    char name[BKI_NAME_MAX];
    uint64_t copied_at;
    size_t n_copied;
    unsigned char copy[COPY_SIZE];

    struct bki_code_map code;
    bool has_code;
    struct bki_place places[MOST_FRAMES];
    bk_place frames[MOST_FRAMES];
};

static int64_t clock_ns(clockid_t clock)
{
    struct timespec t = {0};
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* ---- The sample ---- */

/* The end of the stack that sp lies on, 0 when that is not known.  A task lies at the top of its
 * own. */
static uint64_t end_of_stack(const struct bki_stall *s, uint64_t task, uint64_t sp)
{
    if (task && sp < task && task - sp <= MOST_STACK)
        return task;
    return sp >= s->thread_low && sp < s->thread_high ? s->thread_high : 0;
}

/* In the loop's own thread.  Sanitizers need not look at a copy of whatever lies on a stack. */
__attribute__((no_sanitize("address", "thread"))) static bool copy_here(void *to, uint64_t from,
                                                                        size_t size)
{
    const volatile unsigned char *bytes = (const void *)(uintptr_t)from;
    for (size_t i = 0; i < size; i++)
        ((unsigned char *)to)[i] = bytes[i];
    return true;
}

/* From the watching thread: the loop's may go on any moment, and free what we look at. */
static bool copy_away(void *to, uint64_t from, size_t size)
{
    struct iovec local = {to, size}, remote = {(void *)(uintptr_t)from, size};
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size;
}

typedef bool copy_fn(void *to, uint64_t from, size_t size);

/* Who runs; returns where its stack ends, or 0. */
__attribute__((no_sanitize("thread"))) static uint64_t take_task(struct bki_stall *s, copy_fn *copy)
{
    const struct bk_task *task = s->loop->current;
    uint64_t address = (uint64_t)(uintptr_t)task;
    if (task == &s->loop->scheduler || !copy(&s->task, address, sizeof s->task))
        s->task = (struct bk_task){0};
    memset(s->name, 0, sizeof s->name);
    /* Names are allocated for their length, which may be less than there is room for. */
    const char *name = s->task.name_made ? NULL : s->task.name;
    for (size_t i = 0; name && i < sizeof s->name - 1; i++)
        if (!copy(&s->name[i], (uint64_t)(uintptr_t)name + i, 1) || !s->name[i])
            break;
    return s->task.id ? address : 0;
}

/* Who runs, and the top of its stack; s->frame is filled. */
static void take_sample(struct bki_stall *s, copy_fn *copy)
{
    uint64_t sp = s->frame.regs[BKI_UNWIND_SP];
    uint64_t end = end_of_stack(s, take_task(s, copy), sp);
    s->copied_at = sp;
    s->n_copied = end == 0 ? 0 : end - sp < COPY_SIZE ? end - sp : COPY_SIZE;
    if (!copy(s->copy, sp, s->n_copied))
        s->n_copied = 0;
}

static void read_registers(struct bki_frame *frame, const ucontext_t *context)
{
    *frame = (struct bki_frame){0};
#if defined(__x86_64__)
    /* In DWARF's order: rax rdx rcx rbx rsi rdi rbp rsp, r8 to r15. */
    static const int order[] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};
    for (unsigned i = 0; i < 16; i++)
        bki_frame_set(frame, i, (uint64_t)context->uc_mcontext.gregs[order[i]]);
    frame->pc = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    for (unsigned i = 0; i < 31; i++)
        bki_frame_set(frame, i, context->uc_mcontext.regs[i]);
    bki_frame_set(frame, BKI_UNWIND_SP, context->uc_mcontext.sp);
    frame->pc = context->uc_mcontext.pc;
#else
    (void)context;
#endif
}

static void on_signal(int signo, siginfo_t *info, void *context)
{
    int error = errno;
    (void)signo, (void)info;
    struct bki_stall *s = bki_loop->stall;
    enum answer asked = ASKED;
    if (s && atomic_compare_exchange_strong(&s->answer, &asked, ANSWERING)) {
        read_registers(&s->frame, context);
        take_sample(s, copy_here);
        atomic_store(&s->answer, ANSWERED);
    }
    errno = error;
}

/* The loop's thread sleeps in the kernel, and this is where it came from. */
struct sleeping {
    uint64_t sp, pc;
};

static bool read_sleeping(const struct bki_stall *s, struct sleeping *out)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", s->loop->thread_id);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    /* "running"; the call's number, arguments, sp and pc; or, in a page fault, "-1" and these. */
    char *pc = strrchr(text, ' ');
    if (!pc)
        return false;
    *pc++ = '\0';
    const char *sp = strrchr(text, ' ');
    out->pc = strtoull(pc, NULL, 16);
    out->sp = sp ? strtoull(sp + 1, NULL, 16) : 0;
    return sp != NULL;
}

/* True when it slept all the while, so that the parts of the sample belong together. */
static bool sample_sleeping(struct bki_stall *s)
{
    struct sleeping at, then;
    if (!read_sleeping(s, &at))
        return false;
    s->frame = (struct bki_frame){.pc = at.pc};
    bki_frame_set(&s->frame, BKI_UNWIND_SP, at.sp);
    take_sample(s, copy_away);
    return read_sleeping(s, &then) && then.pc == at.pc && then.sp == at.sp;
}

static bool has_handler(void)
{
    struct sigaction old;
    if (sigaction(STALL_SIGNAL, NULL, &old) < 0)
        return false;
    if ((old.sa_flags & SA_SIGINFO) && old.sa_sigaction == on_signal)
        return true;
    if ((old.sa_flags & SA_SIGINFO) || (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN))
        return false; /* the program's own */
    struct sigaction mine = {.sa_sigaction = on_signal,
                             .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    sigfillset(&mine.sa_mask);
    return sigaction(STALL_SIGNAL, &mine, NULL) == 0;
}

/* True when it is time to go. */
static bool nap(struct bki_stall *s, int64_t ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    ns += until.tv_nsec;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&s->mutex);
    int r = 0;
    while (!s->stop && r == 0)
        r = pthread_cond_timedwait(&s->cond, &s->mutex, &until);
    bool stop = s->stop;
    pthread_mutex_unlock(&s->mutex);
    return stop;
}

/* Every so much of processor time the loop's thread gets the signal; 0: no more. */
static bool set_timer(struct bki_stall *s, long ns)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = STALL_SIGNAL};
    struct itimerspec spec = {.it_value.tv_nsec = ns, .it_interval.tv_nsec = ns};
    event.sigev_notify_thread_id = s->loop->thread_id;
    if (!s->has_timer && s->has_clock)
        s->has_timer = timer_create(s->clock, &event, &s->timer) == 0;
    return s->has_timer && timer_settime(s->timer, 0, &spec, NULL) == 0;
}

/* Asks for a while; true when the handler took the sample. */
static bool is_answered(struct bki_stall *s)
{
    enum answer asked = ASKED;
    atomic_store(&s->answer, ASKED);
    nap(s, ROUND_NS);
    if (atomic_compare_exchange_strong(&s->answer, &asked, QUIET))
        return false;
    while (atomic_load(&s->answer) != ANSWERED)
        sched_yield();
    return true;
}

/* The signal brings all registers, the kernel's word only two: enough for the innermost function
 * of the program, and for the rest where no frame pointers are used.  Neither comes when the signal
 * is blocked or the program's own, or a call is busy in the kernel all the time. */
static bool sample(struct bki_stall *s)
{
    bool done = sample_sleeping(s);
    if (!done && has_handler() && set_timer(s, ROUND_NS)) {
        int64_t until_ns = clock_ns(s->clock) + ANSWER_NS;
        do {
            done = is_answered(s) || sample_sleeping(s);
        } while (!done && clock_ns(s->clock) < until_ns);
        set_timer(s, 0);
    }
    if (!done)
        take_task(s, copy_away);
    return done;
}

/* ---- The report ---- */

static bool read_copy(void *ctx, uint64_t address, void *buf, size_t size)
{
    const struct bki_stall *s = ctx;
    if (address < s->copied_at || address - s->copied_at > s->n_copied ||
        size > s->n_copied - (address - s->copied_at))
        return false;
    memcpy(buf, s->copy + (address - s->copied_at), size);
    return true;
}

static bool is_runtime(const char *function)
{
    static const char *const names[] = {"task_entry", "run_calls", "run_ready", "bki_sched_run"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(function, names[i]) == 0)
            return true;
    return false;
}

/* Names the frames of the sample; returns how many. */
static size_t name_frames(struct bki_stall *s)
{
    struct bki_frame frame = s->frame;
    size_t n = 0;
    if (!s->has_code)
        s->has_code = bki_code_map_open(&s->code, 0) == 0;
    if (!s->has_code)
        return 0;
    do {
        const struct bki_place *p = bki_code_map_place(&s->code, frame.pc, frame.is_caller);
        if (is_runtime(p->function))
            break;
        s->places[n] = *p;
        p = &s->places[n];
        s->frames[n++] = (bk_place){p->function, p->offset, p->file, p->line};
    } while (n < MOST_FRAMES && bki_code_map_unwind(&s->code, &frame, read_copy, s) == 1);
    return n;
}

static void print_report(const bk_stall_report *r)
{
    char who[96] = "a call of the loop";
    if (r->task_id)
        snprintf(who, sizeof who, "#%llu %s", (unsigned long long)r->task_id, r->task);
    dprintf(STDERR_FILENO, "beck: %s %s the loop for %.3f s%s\n", who, r->ended ? "held" : "holds",
            (double)r->held.ns / 1e9, r->ended ? "" : ", in");
    for (size_t i = 0; !r->ended && i < r->n_stack; i++) {
        const bk_place *p = &r->stack[i];
        char line[96] = "";
        if (p->line)
            snprintf(line, sizeof line, " (%s:%d)", p->file, p->line);
        dprintf(STDERR_FILENO, "  at %s+0x%lx%s\n", p->function[0] ? p->function : "?", p->offset,
                line);
    }
}

static void tell(struct bki_stall *s, int64_t held_ns, size_t n_frames, bool ended)
{
    const bk_run_opts *opts = &s->loop->opts;
    const char *name = s->name;
    if (s->task.id && !name[0] && s->has_code)
        name = bki_code_map_place(&s->code, (uint64_t)(uintptr_t)s->task.fn, false)->function;
    bk_stall_report report = {
        .task = name,
        .task_id = s->task.id,
        .held = {held_ns},
        .ended = ended,
        .stack = s->frames,
        .n_stack = n_frames,
    };
    if (opts->on_stall)
        opts->on_stall(opts->on_stall_ctx, &report);
    else
        print_report(&report);
}

/* ---- Watching ---- */

/* Plain reads of what the loop writes without a thought of us: any mixture of old and new is either
 * the same as the last time, or not. */
__attribute__((no_sanitize("thread"))) static bool look(const struct bk_loop *loop,
                                                        struct progress *seen)
{
    const volatile struct bk_loop *l = loop;
    struct progress now = {l->n_turns, l->budget, l->current};
    bool same = now.turns == seen->turns && now.budget == seen->budget &&
                now.current == seen->current && l->running && !l->polling;
    *seen = now;
    return same;
}

static void *watch(void *ctx)
{
    struct bki_stall *s = ctx;
    int64_t nap_ns = s->limit_ns / 2 > LEAST_NAP_NS ? s->limit_ns / 2 : LEAST_NAP_NS;
    int64_t since_ns = now_ns(), last_ns = since_ns;
    struct progress seen = {0};
    size_t n_frames = 0;
    bool told = false;
    look(s->loop, &seen);
    while (!nap(s, nap_ns)) {
        int64_t ns = now_ns();
        bool same = look(s->loop, &seen);
        /* Woken that late, the whole process did not run. */
        bool late = ns - last_ns > nap_ns + s->limit_ns;
        last_ns = ns;
        if (told && !same) {
            tell(s, ns - since_ns, n_frames, true);
            told = false;
        }
        if (!same || (late && !told)) {
            since_ns = ns;
        } else if (!told && ns - since_ns >= s->limit_ns) {
            told = true;
            n_frames = sample(s) ? name_frames(s) : 0;
            if (look(s->loop, &seen))
                tell(s, now_ns() - since_ns, n_frames, false);
            else
                told = false; /* it went on while we looked */
        }
    }
    return NULL;
}

/* ---- Life ---- */

static void find_stack(struct bki_stall *s)
{
    pthread_attr_t attr;
    void *low;
    size_t size;
    if (pthread_getattr_np(pthread_self(), &attr) != 0)
        return;
    if (pthread_attr_getstack(&attr, &low, &size) == 0) {
        s->thread_low = (uint64_t)(uintptr_t)low;
        s->thread_high = s->thread_low + size;
    }
    pthread_attr_destroy(&attr);
}

static int start_thread(struct bki_stall *s)
{
    sigset_t all, before;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s->mutex, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&s->thread, NULL, watch, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0)
        pthread_setname_np(s->thread, "beck watch");
    return -error;
}

static void destroy(struct bki_stall *s)
{
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->cond);
    if (s->has_timer)
        timer_delete(s->timer);
    if (s->has_code)
        bki_code_map_close(&s->code);
    bki_free(s);
}

int bki_stall_open(struct bk_loop *loop)
{
    if (loop->opts.stall_limit.ns <= 0)
        return 0;
    struct bki_stall *s = bki_zalloc(sizeof *s);
    if (!s)
        return bk_fail(-ENOMEM, "no memory to watch the loop");
    s->loop = loop;
    s->limit_ns = loop->opts.stall_limit.ns;
    find_stack(s);
    s->has_clock = pthread_getcpuclockid(pthread_self(), &s->clock) == 0;
    int r = start_thread(s);
    if (r < 0) {
        destroy(s);
        return bk_fail(r, "no thread to watch the loop");
    }
    loop->stall = s;
    return 0;
}

void bki_stall_close(struct bk_loop *loop)
{
    struct bki_stall *s = loop->stall;
    if (!s)
        return;
    pthread_mutex_lock(&s->mutex);
    s->stop = true;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    loop->stall = NULL;
    destroy(s);
}
