/* SPDX-License-Identifier: MIT
 * Starting another program.
 *
 * The child shares our memory until it execs, while the calling thread is suspended (CLONE_VM,
 * CLONE_VFORK): nothing is copied, however large the process is, and what went wrong is told by a
 * plain store.  The child runs on a stack of its own and makes bare system calls only: no memory,
 * no locks, nothing that a sanitizer or an LD_PRELOAD has put in front of libc, and no signal
 * handler of ours. */
#include "net/spawn.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error_slot.h"
#include "rt/fiber.h"

#define CHILD_STACK ((size_t)64 * 1024)
#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

/* It runs on a stack that the sanitizers do not know, and ends without returning. */
#define IN_CHILD __attribute__((no_sanitize("address", "thread", "undefined")))

bool bki_spawn_old_kernel;

enum stage { STAGE_SETUP, STAGE_CWD, STAGE_EXEC };

struct child {
    const struct bki_spawn *spawn;
    const char *path; /* directories to search, NULL: argv[0] is a path */
    char *file;       /* room for the longest candidate */
    bool old_kernel;
    enum stage stage; /* told by the child */
    int error;
};

/* ---- In the child ---- */

/* The kernel's own struct: a libc or a sanitizer that keeps books would spoil ours. */
struct kernel_sigaction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

/* A handler of ours must not run in our memory: all go before any signal is let in.  What is
 * ignored stays so, but for what programs do not expect to find ignored. */
static IN_CHILD void reset_signals(void)
{
    const struct kernel_sigaction defaults = {.handler = SIG_DFL};
    struct kernel_sigaction now;
    for (int signo = 1; signo < NSIG; signo++) {
        if (syscall(SYS_rt_sigaction, signo, NULL, &now, sizeof now.mask) < 0)
            continue;
        bool keep =
            now.handler == SIG_IGN && signo != SIGPIPE && signo != SIGXFSZ && signo != SIGCHLD;
        if (!keep && now.handler != SIG_DFL)
            syscall(SYS_rt_sigaction, signo, &defaults, NULL, sizeof now.mask);
    }
    const uint64_t none = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
}

static IN_CHILD int set_cloexec(int fd, bool on)
{
    return syscall(SYS_fcntl, fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0 ? -errno : 0;
}

struct linux_dirent {
    uint64_t ino;
    int64_t off;
    unsigned short len;
    unsigned char type;
    char name[];
};

static IN_CHILD int number_of(const char *name)
{
    int n = 0;
    for (; *name >= '0' && *name <= '9'; name++)
        n = n * 10 + (*name - '0');
    return *name ? -1 : n;
}

/* Without close_range: what /proc lists.  readdir would allocate. */
static IN_CHILD int close_listed(void)
{
    _Alignas(struct linux_dirent) char buf[1024];
    long len, dir = syscall(SYS_openat, AT_FDCWD, "/proc/self/fd", O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    while ((len = syscall(SYS_getdents64, dir, buf, sizeof buf)) > 0) {
        for (long at = 0; at < len;) {
            const struct linux_dirent *entry = (const void *)(buf + at);
            int fd = number_of(entry->name);
            if (fd > STDERR_FILENO)
                set_cloexec(fd, true);
            at += entry->len;
        }
    }
    return len < 0 ? -errno : 0;
}

/* Everything above 2 goes at exec, whoever opened it however; then what is passed on stays. */
static IN_CHILD int close_others(const struct child *c)
{
    int r = 0;
    if (c->old_kernel || syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
        r = close_listed();
    for (size_t i = 0; r == 0 && i < c->spawn->n_pass_fds; i++)
        r = set_cloexec(c->spawn->pass_fds[i], false);
    return r;
}

/* 0, 1 and 2 may stand for each other: whatever is to be moved leaves that range first. */
static IN_CHILD int place_stdio(const struct child *c)
{
    long from[3];
    for (int i = 0; i < 3; i++) {
        from[i] = c->spawn->stdio[i];
        if (from[i] != i && from[i] <= STDERR_FILENO &&
            (from[i] = syscall(SYS_fcntl, from[i], F_DUPFD_CLOEXEC, 3)) < 0)
            return -errno;
    }
    for (int i = 0; i < 3; i++) {
        /* What is inherited may be closed here; then it is there. */
        if (from[i] == i)
            set_cloexec(i, false);
        else if (syscall(SYS_dup3, from[i], i, 0) < 0)
            return -errno;
    }
    return 0;
}

static IN_CHILD int set_up(struct child *c)
{
    const struct bki_spawn *s = c->spawn;
    reset_signals();
    if (s->new_session && syscall(SYS_setsid) < 0)
        return -errno;
    if (s->new_group && !s->new_session && syscall(SYS_setpgid, 0, 0) < 0)
        return -errno;
    int r = place_stdio(c);
    if (r == 0)
        r = close_others(c);
    if (r < 0)
        return r;
    c->stage = STAGE_CWD;
    return s->cwd && syscall(SYS_chdir, s->cwd) < 0 ? -errno : 0;
}

static IN_CHILD int exec_file(const struct child *c, const char *file)
{
    syscall(SYS_execve, file, c->spawn->argv, c->spawn->env);
    return -errno;
}

/* Tries each directory.  "No such file" is said only when no other said anything else. */
static IN_CHILD int exec_search(const struct child *c)
{
    int error = -ENOENT;
    const char *name = c->spawn->argv[0];
    for (const char *dir = c->path;; dir++) {
        size_t len = 0;
        for (; *dir && *dir != ':'; dir++)
            c->file[len++] = *dir;
        if (len > 0)
            c->file[len++] = '/';
        for (const char *n = name; *n; n++)
            c->file[len++] = *n;
        c->file[len] = '\0';
        int r = exec_file(c, c->file);
        if (r == -EACCES)
            error = r;
        else if (r != -ENOENT && r != -ENOTDIR && r != -ESTALE && r != -ENODEV && r != -ETIMEDOUT)
            return r;
        if (!*dir)
            return error;
    }
}

static IN_CHILD int child_main(void *arg)
{
    struct child *c = arg;
    int r = set_up(c);
    if (r == 0) {
        c->stage = STAGE_EXEC;
        r = c->path ? exec_search(c) : exec_file(c, c->spawn->argv[0]);
    }
    c->error = r;
    syscall(SYS_exit_group, 127);
    __builtin_unreachable();
}

/* ---- In the parent ---- */

#ifdef BKI_TSAN
/* Its own clone takes every child for a copy of the process. */
int __clone(int (*fn)(void *arg), void *stack, int flags, void *arg, ...);
#define clone __clone
#endif

static const char *path_of(const char *const *env)
{
    for (; *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    return DEFAULT_PATH;
}

/* Blocks every signal, the C library's own included, which no public call does: a signal that came
 * to the child before its handlers are gone would run them in our memory.  Returns what was. */
static uint64_t block_all(void)
{
    const uint64_t all = ~(uint64_t)0;
    uint64_t before = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    return before;
}

static void unblock(uint64_t before)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
}

static pid_t start_child(struct child *c, char *stack, int *pidfd)
{
    int flags = CLONE_VM | CLONE_VFORK | SIGCHLD;
    char *top = stack + CHILD_STACK;
    *pidfd = -1;
    pid_t pid = -1;
    if (!c->old_kernel)
        pid = clone(child_main, top, flags | CLONE_PIDFD, c, pidfd);
    if (pid < 0 && (c->old_kernel || errno == EINVAL || errno == ENOSYS || errno == EPERM))
        pid = clone(child_main, top, flags, c);
    return pid < 0 ? -errno : pid;
}

static int told_by_child(const struct child *c)
{
    const char *program = c->spawn->argv[0];
    if (c->stage == STAGE_CWD)
        return bki_fail_errno(c->error, "cannot start '%.80s' in '%.80s'", program, c->spawn->cwd);
    return bki_fail_errno(c->error, "cannot start '%.160s'%s", program,
                          c->stage == STAGE_SETUP ? ": its descriptors" : "");
}

static int run_child(struct child *c, struct bki_spawn *spawn)
{
    char *stack = mmap(NULL, CHILD_STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return bki_fail_errno(errno, "cannot start '%.160s': a stack", spawn->argv[0]);
    uint64_t before = block_all();
    pid_t pid = start_child(c, stack, &spawn->pidfd);
    unblock(before);
    munmap(stack, CHILD_STACK);
    if (pid < 0)
        return bki_fail_errno(pid, "cannot start '%.160s'", spawn->argv[0]);
    if (c->error) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        if (spawn->pidfd >= 0)
            close(spawn->pidfd);
        spawn->pidfd = -1;
        return told_by_child(c);
    }
    spawn->pid = pid;
    return 0;
}

int bki_spawn(struct bki_spawn *spawn)
{
    struct child c = {.spawn = spawn, .old_kernel = bki_spawn_old_kernel};
    const char *program = spawn->argv[0];
    spawn->pidfd = -1;
    if (!strchr(program, '/')) {
        c.path = path_of(spawn->env);
        c.file = bki_alloc(strlen(c.path) + strlen(program) + 2);
        if (!c.file)
            return bk_fail(-ENOMEM, "no memory to start '%.160s'", program);
    }
    int r = run_child(&c, spawn);
    bki_free(c.file);
    return r;
}
