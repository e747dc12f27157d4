/* SPDX-License-Identifier: MIT
 * Tests of files: positions, lines, many at once, whole files, errors. */
#include <sys/resource.h>

#include "net/net_test.h"

static char dir[64];

static const char *in_dir(const char *name)
{
    static char paths[4][sizeof dir + 256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static int put_file(const char *name, const char *text)
{
    return bk_file_save(in_dir(name), text, strlen(text), &(bk_file_save_opts){.no_sync = true});
}

static bool file_is(const char *name, const char *text)
{
    bk_msg *msg = NULL;
    bool same = bk_file_load(in_dir(name), 1 << 20, &msg) == 0 && bk_msg_len(msg) == strlen(text) &&
                memcmp(bk_msg_data(msg), text, strlen(text)) == 0;
    bk_msg_free(&msg);
    return same;
}

static int n_files(void)
{
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* ---- Positions ---- */

LOOP_TEST(a_file_written_and_read)
{
    bk_file *f = NULL;
    char buf[32];
    CHECK_EQ(bk_file_open(&f, in_dir("a"), O_RDWR | O_CREAT | O_TRUNC, NULL), 0);
    CHECK(fcntl(bk_file_fd(f), F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(fcntl(bk_file_fd(f), F_GETFL) & O_NONBLOCK, 0);
    CHECK_EQ(bk_file_write(f, "hello ", 6), 0);
    CHECK_EQ(bk_file_write(f, "world", 5), 0);
    CHECK_EQ(bk_file_write(f, "", 0), 0);
    CHECK_EQ(bk_file_seek(f, 0, SEEK_SET), 0);
    CHECK_EQ(bk_file_read(f, buf, 5), 5);
    CHECK_MEM(buf, 5, "hello", 5);
    CHECK_EQ(bk_file_seek(f, 1, SEEK_CUR), 6);
    CHECK_EQ(bk_file_read(f, buf, sizeof buf), 5);
    CHECK_MEM(buf, 5, "world", 5);
    CHECK_EQ(bk_file_read(f, buf, sizeof buf), 0);
    CHECK_EQ(bk_file_seek(f, 0, SEEK_END), 11);
    CHECK_EQ(bk_file_seek(f, -1, SEEK_SET), -EINVAL);
    CHECK_EQ(bk_file_sync(f, true), 0);
    CHECK_EQ(bk_file_sync(f, false), 0);
    CHECK_EQ(bk_file_close(&f, 0), 0);
    CHECK(!f);
    CHECK_EQ(bk_file_close(&f, -3), -3);
    CHECK(file_is("a", "hello world"));
}

LOOP_TEST(places_of_their_own)
{
    bk_file *f = NULL;
    char buf[16];
    struct stat st;
    CHECK_EQ(bk_file_open(&f, in_dir("b"), O_RDWR | O_CREAT | O_TRUNC, NULL), 0);
    CHECK_EQ(bk_file_pwrite(f, "abcdef", 6, 10), 0);
    CHECK_EQ(bk_file_pread(f, buf, 4, 12), 4);
    CHECK_MEM(buf, 4, "cdef", 4);
    CHECK_EQ(bk_file_pread(f, buf, 16, 0), 16);
    CHECK_EQ(buf[0], 0);
    CHECK_EQ(bk_file_pread(f, buf, 1, 16), 0);
    CHECK_EQ(bk_file_pread(f, buf, 1, -1), -EINVAL);
    CHECK_EQ(bk_file_pwrite(f, buf, 1, -1), -EINVAL);
    CHECK_EQ(bk_file_seek(f, 0, SEEK_CUR), 0);
    CHECK_EQ(bk_file_truncate(f, 12), 0);
    CHECK_EQ(bk_file_stat(f, &st), 0);
    CHECK_EQ(st.st_size, 12);
    CHECK_EQ(bk_file_truncate(f, -1), -EINVAL);
    CHECK_EQ(bk_file_close(&f, 0), 0);
}

LOOP_TEST(appending_and_modes)
{
    bk_file *f = NULL;
    struct stat st;
    mode_t mask = umask(022);
    CHECK_EQ(bk_file_open(&f, in_dir("log"), O_WRONLY | O_CREAT | O_APPEND, NULL), 0);
    CHECK_EQ(bk_file_write(f, "one\n", 4), 0);
    CHECK_EQ(bk_file_close(&f, 0), 0);
    CHECK_EQ(bk_file_open(&f, in_dir("log"), O_WRONLY | O_CREAT | O_APPEND, NULL), 0);
    CHECK_EQ(bk_file_write(f, "two\n", 4), 0);
    CHECK_EQ(bk_file_close(&f, 0), 0);
    CHECK(file_is("log", "one\ntwo\n"));
    CHECK_EQ(stat(in_dir("log"), &st), 0);
    CHECK_EQ(st.st_mode & 07777, 0644);
    CHECK_EQ(bk_file_open(&f, in_dir("secret"), O_WRONLY | O_CREAT, &(bk_file_opts){.mode = 0600}),
             0);
    CHECK_EQ(bk_file_close(&f, 0), 0);
    CHECK_EQ(stat(in_dir("secret"), &st), 0);
    CHECK_EQ(st.st_mode & 07777, 0600);
    umask(mask);
}

struct part {
    bk_file *file;
    int i, *n_wrong;
};

static int write_and_read_a_part(void *ctx)
{
    struct part *p = ctx;
    char block[1000], back[1000];
    memset(block, 'a' + p->i % 26, sizeof block);
    int r = bk_file_pwrite(p->file, block, sizeof block, p->i * 1000);
    ssize_t n = r == 0 ? bk_file_pread(p->file, back, sizeof back, p->i * 1000) : r;
    *p->n_wrong += n != 1000 || memcmp(block, back, 1000) != 0;
    return r;
}

LOOP_TEST(many_tasks_at_once_in_one_file)
{
    bk_file *f = NULL;
    bk_group *group = NULL;
    static struct part parts[100];
    int n_wrong = 0;
    CHECK_EQ(bk_file_open(&f, in_dir("parts"), O_RDWR | O_CREAT | O_TRUNC, NULL), 0);
    CHECK_EQ(bk_group_open(&group, NULL), 0);
    for (int i = 0; i < 100; i++) {
        parts[i] = (struct part){f, i, &n_wrong};
        CHECK_EQ(bk_group_go(group, write_and_read_a_part, &parts[i], NULL), 0);
    }
    CHECK_EQ(bk_group_close(&group, 0), 0);
    CHECK_EQ(n_wrong, 0);
    struct stat st;
    CHECK_EQ(bk_file_stat(f, &st), 0);
    CHECK_EQ(st.st_size, 100000);
    CHECK_EQ(bk_file_close(&f, 0), 0);
}

static int read_some(void *ctx)
{
    char buf[8];
    return (int)bk_file_read(ctx, buf, sizeof buf);
}

LOOP_TEST(one_task_at_the_position)
{
    bk_file *f = NULL;
    bk_task *t = NULL;
    bk_span line;
    char c;
    CHECK_EQ(put_file("p", "0123456789"), 0);
    CHECK_EQ(bk_file_open(&f, in_dir("p"), O_RDWR, NULL), 0);
    CHECK_EQ(bk_go(&t, read_some, f, NULL), 0);
    bk_yield();
    CHECK(!bk_task_done(t));
    CHECK_EQ(bk_file_read(f, &c, 1), -EBUSY);
    CHECK_EQ(bk_file_write(f, "x", 1), -EBUSY);
    CHECK_EQ(bk_file_seek(f, 0, SEEK_SET), -EBUSY);
    CHECK_EQ(bk_file_read_line(f, &line), -EBUSY);
    CHECK_EQ(bk_file_close(&f, 0), -EBUSY);
    CHECK_EQ(bk_file_pread(f, &c, 1, 3), 1);
    CHECK_EQ(c, '3');
    int result;
    CHECK_EQ(bk_task_wait(t, &result), 0);
    CHECK_EQ(result, 8);
    bk_task_free(&t);
    CHECK_EQ(bk_file_close(&f, 0), 0);
}

/* ---- Cancels ---- */

LOOP_TEST(a_cancelled_task_does_nothing_and_close_works)
{
    bk_file *f = NULL, *none = NULL;
    char c = 'x';
    CHECK_EQ(put_file("c", "abc"), 0);
    CHECK_EQ(bk_file_open(&f, in_dir("c"), O_RDWR, NULL), 0);
    bk_task_cancel(bk_task_current());
    CHECK_EQ(bk_file_read(f, &c, 1), -ECANCELED);
    CHECK_EQ(bk_file_write(f, &c, 1), -ECANCELED);
    CHECK_EQ(bk_file_pread(f, &c, 1, 0), -ECANCELED);
    CHECK_EQ(bk_file_sync(f, false), -ECANCELED);
    CHECK_EQ(bk_file_open(&none, in_dir("c"), O_RDONLY, NULL), -ECANCELED);
    int fd = bk_file_fd(f);
    CHECK_EQ(bk_file_close(&f, 0), 0);
    CHECK(fcntl(fd, F_GETFD) < 0);
    bk_uncancel();
    CHECK(file_is("c", "abc"));
}

struct copy {
    bk_file *file;
    size_t written;
};

static int write_until_cancelled(void *ctx)
{
    struct copy *c = ctx;
    int r;
    while ((r = bk_file_write(c->file, "0123456789", 10)) == 0)
        c->written += 10;
    return r;
}

LOOP_TEST(a_cancelled_writer_waits_for_what_has_begun)
{
    for (int turns = 1; turns < 12; turns++) {
        struct copy c = {0};
        bk_task *t = NULL;
        struct stat st;
        CHECK_EQ(bk_file_open(&c.file, in_dir("w"), O_RDWR | O_CREAT | O_TRUNC, NULL), 0);
        CHECK_EQ(bk_go(&t, write_until_cancelled, &c, NULL), 0);
        for (int i = 0; i < turns; i++)
            bk_yield();
        bk_task_cancel(t);
        CHECK_EQ(bk_task_wait(t, NULL), 0);
        bk_task_free(&t);
        CHECK_EQ(bk_file_stat(c.file, &st), 0);
        CHECK_EQ(st.st_size, c.written);
        CHECK_EQ(bk_file_seek(c.file, 0, SEEK_CUR), c.written);
        CHECK_EQ(bk_file_close(&c.file, 0), 0);
    }
}

/* ---- Lines ---- */

static bool line_is(bk_file *f, const char *want)
{
    bk_span line;
    return bk_file_read_line(f, &line) == 1 && bk_span_equal(line, bk_span_str(want));
}

LOOP_TEST(lines_and_what_is_between_them)
{
    bk_file *f = NULL;
    bk_span line;
    char buf[8];
    CHECK_EQ(put_file("lines", "one\r\n\nthree\nrest"), 0);
    CHECK_EQ(bk_file_open(&f, in_dir("lines"), O_RDWR, NULL), 0);
    CHECK(line_is(f, "one"));
    CHECK_EQ(bk_file_seek(f, 0, SEEK_CUR), 5);
    CHECK(line_is(f, ""));
    CHECK_EQ(bk_file_read(f, buf, 2), 2);
    CHECK_MEM(buf, 2, "th", 2);
    CHECK(line_is(f, "ree"));
    CHECK(line_is(f, "rest"));
    CHECK_EQ(bk_file_read_line(f, &line), 0);
    CHECK_EQ(bk_file_read_line(f, &line), 0);
    CHECK_EQ(bk_file_seek(f, 0, SEEK_SET), 0);
    CHECK(line_is(f, "one"));
    CHECK_EQ(bk_file_write(f, "X\n", 2), 0); /* where the reader is */
    CHECK_EQ(bk_file_close(&f, 0), 0);
    CHECK(file_is("lines", "one\r\nX\nhree\nrest"));
}

LOOP_TEST(a_line_over_the_limit_is_skipped)
{
    bk_file *f = NULL;
    bk_span line;
    CHECK_EQ(put_file("long", "12345\n123456\n1234567890123\nend\n123456"), 0);
    CHECK_EQ(bk_file_open(&f, in_dir("long"), O_RDONLY, &(bk_file_opts){.line_limit = 5}), 0);
    CHECK(line_is(f, "12345"));
    CHECK_EQ(bk_file_read_line(f, &line), -BK_ELIMIT);
    CHECK(strstr(bk_errmsg(), "over line_limit (5 bytes)"));
    CHECK_EQ(bk_file_read_line(f, &line), -BK_ELIMIT);
    CHECK(line_is(f, "end"));
    CHECK_EQ(bk_file_read_line(f, &line), -BK_ELIMIT);
    CHECK_EQ(bk_file_read_line(f, &line), 0);
    CHECK_EQ(bk_file_close(&f, 0), 0);
}

LOOP_TEST(lines_longer_than_what_is_read_at_once)
{
    bk_file *f = NULL;
    bk_span line;
    size_t lens[] = {65535, 65536, 65537, 0, 200000, 1}, total = 0;
    static char text[500000];
    for (size_t i = 0; i < 6; i++) {
        memset(text + total, 'a' + (int)i, lens[i]);
        total += lens[i];
        text[total++] = '\n';
    }
    CHECK_EQ(bk_file_save(in_dir("wide"), text, total, NULL), 0);
    CHECK_EQ(bk_file_open(&f, in_dir("wide"), O_RDONLY, &(bk_file_opts){.line_limit = 200000}), 0);
    for (size_t i = 0; i < 6; i++) {
        CHECK_EQ(bk_file_read_line(f, &line), 1);
        CHECK_EQ(line.len, lens[i]);
        CHECK(line.len == 0 || line.data[line.len - 1] == (char)('a' + i));
    }
    CHECK_EQ(bk_file_read_line(f, &line), 0);
    CHECK_EQ(bk_file_close(&f, 0), 0);
}

/* ---- Whole files ---- */

LOOP_TEST(load_is_bounded)
{
    bk_msg *msg = NULL;
    CHECK_EQ(put_file("ten", "0123456789"), 0);
    CHECK_EQ(bk_file_load(in_dir("ten"), 9, &msg), -BK_ELIMIT);
    CHECK(strstr(bk_errmsg(), "more than 9 bytes"));
    CHECK(!msg);
    CHECK_EQ(bk_file_load(in_dir("ten"), 10, &msg), 0);
    CHECK_EQ(bk_msg_len(msg), 10);
    bk_msg_free(&msg);
    CHECK_EQ(put_file("nil", ""), 0);
    CHECK_EQ(bk_file_load(in_dir("nil"), 0, &msg), 0);
    CHECK_EQ(bk_msg_len(msg), 0);
    bk_msg_free(&msg);
    CHECK_EQ(bk_file_load("/proc/self/status", BK_UNBOUNDED, &msg), 0); /* its size says 0 */
    CHECK(bk_msg_len(msg) > 200);
    bk_msg_free(&msg);
    CHECK_EQ(bk_file_load(in_dir("none"), 10, &msg), -ENOENT);
    CHECK_EQ(bk_file_load(dir, 10, &msg), -EISDIR);
}

LOOP_TEST(save_replaces_in_one_step)
{
    struct stat before, after;
    bk_msg *msg = NULL;
    mode_t mask = umask(027);
    CHECK_EQ(bk_file_save(in_dir("s"), "old", 3, NULL), 0);
    CHECK_EQ(stat(in_dir("s"), &before), 0);
    CHECK_EQ(before.st_mode & 07777, 0640);
    chmod(in_dir("s"), 0604);
    int old = open(in_dir("s"), O_RDONLY), n = n_files();
    CHECK_EQ(bk_file_save(in_dir("s"), "newer", 5, NULL), 0);
    CHECK_EQ(stat(in_dir("s"), &after), 0);
    CHECK(after.st_ino != before.st_ino);
    CHECK_EQ(after.st_mode & 07777, 0604);
    char buf[8];
    CHECK_EQ(read(old, buf, sizeof buf), 3);
    close(old);
    CHECK(file_is("s", "newer"));
    CHECK_EQ(bk_file_save(in_dir("s"), "", 0, &(bk_file_save_opts){.mode = 0666}), 0);
    CHECK_EQ(stat(in_dir("s"), &after), 0);
    CHECK_EQ(after.st_mode & 07777, 0640);
    CHECK_EQ(n_files(), n);
    umask(mask);
    bk_msg_free(&msg);
}

LOOP_TEST(a_save_that_fails_leaves_what_was)
{
    struct rlimit before, less = {1000, 1000};
    static char big[5000];
    CHECK_EQ(put_file("kept", "as it was"), 0);
    int n = n_files();
    CHECK_EQ(bk_file_save(in_dir("none/x"), "x", 1, NULL), -ENOENT);
    CHECK_EQ(bk_file_save(dir, "x", 1, NULL), -EISDIR);
    getrlimit(RLIMIT_FSIZE, &before);
    less.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_FSIZE, &less); /* the thread has SIGXFSZ blocked */
    int r = bk_file_save(in_dir("kept"), big, sizeof big, NULL);
    setrlimit(RLIMIT_FSIZE, &before);
    CHECK_EQ(r, -EFBIG);
    CHECK(file_is("kept", "as it was"));
    CHECK_EQ(n_files(), n);
}

/* ---- What is no file ---- */

LOOP_TEST(kinds_of_files)
{
    bk_file *f = NULL;
    char buf[16] = "x";
    CHECK_EQ(bk_file_open(&f, in_dir("none"), O_RDONLY, NULL), -ENOENT);
    CHECK(strstr(bk_errmsg(), "cannot open '"));
    CHECK_EQ(bk_file_open(&f, in_dir("x"), O_WRONLY | O_CREAT | O_EXCL, NULL), 0);
    CHECK_EQ(bk_file_read(f, buf, 1), -EBADF);
    CHECK_EQ(bk_file_close(&f, 0), 0);
    CHECK_EQ(bk_file_open(&f, in_dir("x"), O_WRONLY | O_CREAT | O_EXCL, NULL), -EEXIST);
    CHECK_EQ(mkfifo(in_dir("fifo"), 0600), 0);
    CHECK_EQ(bk_file_open(&f, in_dir("fifo"), O_RDONLY, NULL), -EINVAL);
    CHECK(strstr(bk_errmsg(), "is a stream"));
    CHECK_EQ(bk_file_open(&f, dir, O_RDONLY | O_DIRECTORY, NULL), 0);
    CHECK_EQ(bk_file_sync(f, false), 0);
    CHECK_EQ(bk_file_read(f, buf, 1), -EISDIR);
    CHECK_EQ(bk_file_close(&f, 0), 0);
    CHECK_EQ(bk_file_open(&f, "/dev/zero", O_RDWR, NULL), 0);
    CHECK_EQ(bk_file_read(f, buf, sizeof buf), sizeof buf);
    CHECK_EQ(buf[0], 0);
    CHECK_EQ(bk_file_close(&f, 0), 0);
    CHECK_EQ(bk_file_open(&f, "/dev/full", O_WRONLY, NULL), 0);
    CHECK_EQ(bk_file_write(f, buf, 1), -ENOSPC);
    CHECK(strstr(bk_errmsg(), "write to '/dev/full'"));
    CHECK_EQ(bk_file_close(&f, 0), 0);
}

LOOP_TEST(a_descriptor_as_a_file)
{
    bk_file *f = NULL;
    int fds[2], fd = open(in_dir("given"), O_RDWR | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0600);
    char buf[8];
    CHECK_EQ(bk_file_from_fd(&f, fd, NULL), 0);
    CHECK_EQ(bk_file_write(f, "abc", 3), 0);
    CHECK_EQ(bk_file_pread(f, buf, 8, 0), 3);
    CHECK_EQ(bk_file_close(&f, 0), 0);
    CHECK(fcntl(fd, F_GETFD) < 0);
    CHECK_EQ(pipe(fds), 0);
    CHECK_EQ(bk_file_from_fd(&f, fds[0], NULL), -EINVAL);
    close(fds[0]), close(fds[1]);
    CHECK_EQ(bk_file_from_fd(&f, fds[0], NULL), -EBADF);
}

static const struct check_test tests[] = {
    TEST(a_file_written_and_read),
    TEST(places_of_their_own),
    TEST(appending_and_modes),
    TEST(many_tasks_at_once_in_one_file),
    TEST(one_task_at_the_position),
    TEST(a_cancelled_task_does_nothing_and_close_works),
    TEST(a_cancelled_writer_waits_for_what_has_begun),
    TEST(lines_and_what_is_between_them),
    TEST(a_line_over_the_limit_is_skipped),
    TEST(lines_longer_than_what_is_read_at_once),
    TEST(load_is_bounded),
    TEST(save_replaces_in_one_step),
    TEST(a_save_that_fails_leaves_what_was),
    TEST(kinds_of_files),
    TEST(a_descriptor_as_a_file),
};

int main(int argc, char **argv)
{
    snprintf(dir, sizeof dir, "/tmp/beck-file-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    int r = check_run(tests, sizeof tests / sizeof *tests, argc, argv);
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));)
        unlink(in_dir(e->d_name));
    closedir(d);
    rmdir(dir);
    return r;
}
