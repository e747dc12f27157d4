/* SPDX-License-Identifier: MIT
 * Opening the io_uring backend where it is forbidden, missing or short of memory. */
#include <errno.h>

#include "rt/backend_test.h"

#ifdef BECK_NO_URING
int main(void)
{
    return 77;
}
#else

#include <dlfcn.h>
#include <liburing.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- A ring that stays full ---- */

static bool refuse_submit;

/* In front of liburing's: a kernel without the memory to take entries. */
int io_uring_submit(struct io_uring *ring)
{
    static int (*real)(struct io_uring * ring);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "io_uring_submit");
    return refuse_submit ? -EAGAIN : real(ring);
}

/* More ops than entries, some cancelled while they, or their cancel requests, wait for room. */
static void check_full_ring(bool settled, bool arrive_first)
{
    enum { MANY = 5000 };
    static struct bki_fd f[MANY];
    static struct probe p[MANY];
    CHECK_EQ(open_loop(), 0);
    int n = room_for_files(MANY), efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    refuse_submit = true;
    for (int i = 0; i < n; i++) {
        bki_fd_init(&f[i], fcntl(efd, F_DUPFD_CLOEXEC, 0), false);
        CHECK(f[i].fd >= 0);
        p[i] = poll_op(&f[i], POLLIN);
        CHECK_EQ(start(&p[i]), 0);
    }
    if (settled) /* the kernel has them all, and the cancels fill the ring */
        settle();
    if (arrive_first)
        CHECK_EQ(eventfd_write(efd, 1), 0);
    for (int i = 0; i < n; i++)
        if (i % 7)
            be->cancel(&loop, &p[i].op);
    refuse_submit = false;
    if (!arrive_first) {
        settle();
        CHECK_EQ(eventfd_write(efd, 1), 0);
    }
    int n_cancelled = 0;
    for (int i = 0; i < n; i++) {
        CHECK(await(&p[i]));
        CHECK(p[i].op.result == POLLIN || (i % 7 && p[i].op.result == -ECANCELED));
        n_cancelled += p[i].op.result == -ECANCELED;
        be->close_fd(&loop, &f[i]);
    }
    if (!arrive_first)
        CHECK_EQ(n_cancelled, n - (n + 6) / 7);
    settle();
    CHECK(!be->busy(&loop));
    close(efd);
    close_loop();
}

/* What was cancelled before the kernel saw it is complete, and no poll waits for it. */
static void check_cancel_in_line(void)
{
    enum { MANY = 1500 };
    static struct bki_fd f[MANY];
    static struct probe p[MANY];
    CHECK_EQ(open_loop(), 0);
    int n = room_for_files(MANY), efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    CHECK(n == MANY);
    refuse_submit = true;
    for (int i = 0; i < n; i++) {
        bki_fd_init(&f[i], fcntl(efd, F_DUPFD_CLOEXEC, 0), false);
        p[i] = poll_op(&f[i], POLLIN);
        CHECK_EQ(start(&p[i]), 0);
    }
    for (int i = 1024; i < n; i++)
        be->cancel(&loop, &p[i].op);
    CHECK_EQ(be->poll(&loop, -1), 0);
    refuse_submit = false;
    for (int i = 1024; i < n; i++)
        CHECK(p[i].n_done == 1 && p[i].op.result == -ECANCELED);
    CHECK_EQ(p[0].n_done, 0);
    CHECK_EQ(eventfd_write(efd, 1), 0);
    for (int i = 0; i < n; i++) {
        CHECK(await(&p[i]));
        be->close_fd(&loop, &f[i]);
    }
    close(efd);
    close_loop();
}

static void test_full_ring(void)
{
    check_cancel_in_line();
    for (int i = 0; i < 4; i++)
        check_full_ring(i & 1, i & 2);
    refuse_submit = false;
}

/* ---- Opening ---- */

/* From here on this process's system call `number` fails with `error`. */
static bool forbid(unsigned number, unsigned error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int lowest_free_fd(void)
{
    int fd = dup(0);
    close(fd);
    return fd;
}

/* In a child: what open() returns when the call fails so, that it says why, and leaves nothing
 * open. */
static void check_open(unsigned number, int error, int want)
{
    close_loop();
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int fd = lowest_free_fd();
        if (!forbid(number, (unsigned)error))
            _exit(3);
        if (open_loop() != want || loop.backend_state)
            _exit(1);
        _exit(strncmp(bk_errmsg(), "io_uring", 8) == 0 && lowest_free_fd() == fd ? 0 : 2);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
}

/* These three mean "not here" to whoever chooses the backend. */
static void test_not_offered(void)
{
    check_open(SYS_io_uring_setup, ENOSYS, -ENOSYS);
    check_open(SYS_io_uring_setup, EPERM, -EPERM);
    check_open(SYS_io_uring_setup, EACCES, -EPERM);
    check_open(SYS_io_uring_setup, EINVAL, -EINVAL);
    check_open(SYS_io_uring_enter, EPERM, -EPERM);
    check_open(SYS_io_uring_register, EPERM, -EPERM);
}

/* These are failures, not a reason to take the other backend in silence. */
static void test_real_failures(void)
{
    check_open(SYS_io_uring_setup, ENOMEM, -ENOMEM);
    check_open(SYS_io_uring_setup, EMFILE, -EMFILE);
}

static void test_descriptors_are_closed_on_exec(void)
{
    close_loop();
    int before = lowest_free_fd();
    CHECK_EQ(open_loop(), 0);
    int after = lowest_free_fd();
    CHECK(after > before);
    for (int fd = before; fd < after; fd++)
        CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close_loop();
    CHECK_EQ(lowest_free_fd(), before);
}

/* The rings are not in a forked child's memory: it faults instead of mixing up its parent's. */
static void test_forked_child_faults(void)
{
    CHECK_EQ(open_loop(), 0);
    int near, far;
    char buf[8];
    CHECK(unix_pair(&near, &far));
    struct bki_fd f;
    bki_fd_init(&f, near, true);
    struct probe p = recv_op(&f, buf, sizeof buf);
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        sigaction(SIGSEGV, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
        prctl(PR_SET_DUMPABLE, 0);
        start(&p);
        be->poll(&loop, 0);
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(!WIFEXITED(status) || WEXITSTATUS(status) != 0); /* sanitizers make an exit of it */
    CHECK_EQ(write(far, "ok", 2), 2);
    CHECK_EQ(run(&p), 2);
    be->close_fd(&loop, &f);
    close(far);
    close_loop();
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        TEST(test_full_ring),           TEST(test_not_offered),
        TEST(test_real_failures),       TEST(test_descriptors_are_closed_on_exec),
        TEST(test_forked_child_faults),
    };
    be = &bki_backend_uring;
    const char *name = getenv("BECK_BACKEND");
    if (!name || strcmp(name, "uring") != 0)
        return 77;
    return run_on_this_backend(tests, sizeof tests / sizeof *tests, argc, argv);
}
#endif
