/* SPDX-License-Identifier: MIT
 * Tests of result texts, and of the detail text for each thread and task. */
#include <beck/error.h>

#include <limits.h>
#include <pthread.h>

#include "base/error_slot.h"
#include "tests/alloc_sweep.h"
#include "tests/check.h"

static void test_strerror(void)
{
    CHECK_STR(bk_strerror(-ENOENT), "No such file or directory");
    CHECK(bk_strerror(ENOENT) == bk_strerror(-ENOENT));
    CHECK_STR(bk_strerror(-BK_ELIMIT), "a configured limit was reached");
    CHECK(bk_strerror(BK_ELIMIT) == bk_strerror(-BK_ELIMIT));
    CHECK_STR(bk_strerror(0), "Success");
    CHECK_STR(bk_strerror(-123456), "error 123456");
    CHECK_STR(bk_strerror(123457), "error 123457");
    CHECK_STR(bk_strerror(INT_MIN), "error 2147483648");
}

static void test_every_own_error_has_a_text(void)
{
#define CHECK_TEXT(name, number, text)                                                             \
    CHECK_EQ(name, number);                                                                        \
    CHECK_STR(bk_strerror(-name), text);
    BK_ERRORS(CHECK_TEXT)
#undef CHECK_TEXT
}

static void test_fail_returns_its_result_and_keeps_errno(void)
{
    errno = EPIPE;
    CHECK_EQ(bk_fail(-EINVAL, "line %d: no such side '%s'", 3, "up"), -EINVAL);
    CHECK_EQ(errno, EPIPE);
    CHECK_STR(bk_errmsg(), "line 3: no such side 'up'");
    CHECK_EQ(bk_fail(0, "%s", ""), 0);
    CHECK_STR(bk_errmsg(), "");
}

static void test_fail_may_quote_the_last_detail(void)
{
    bk_fail(-1, "inner");
    bk_fail(-1, "outer: %s", bk_errmsg());
    CHECK_STR(bk_errmsg(), "outer: inner");
}

static void test_fail_errno(void)
{
    CHECK_EQ(bki_fail_errno(ECONNREFUSED, "connect %s", "127.0.0.1:80"), -ECONNREFUSED);
    CHECK_STR(bk_errmsg(), "connect 127.0.0.1:80: Connection refused");
    CHECK_EQ(bki_fail_errno(-ENOSPC, "write"), -ENOSPC);
    CHECK_STR(bk_errmsg(), "write: No space left on device");
}

static void test_long_texts_are_cut(void)
{
    char text[400];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    bk_fail(-1, "%s", text);
    CHECK_EQ(strlen(bk_errmsg()), 255);
    bki_fail_errno(EIO, "%s", text);
    CHECK_EQ(strlen(bk_errmsg()), 255);
    bki_fail_errno(EIO, "%.250s", text);
    CHECK_STR(bk_errmsg() + 250, ": Inp");
}

static void test_a_cut_never_splits_a_character(void)
{
    static const char *const wide[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x8c\x8d"};
    for (size_t w = 0; w < 3; w++) {
        size_t width = strlen(wide[w]);
        for (size_t pad = 250; pad <= 256; pad++) {
            char text[300];
            memset(text, 'x', pad);
            memcpy(text + pad, wide[w], width + 1);
            bk_fail(-1, "%s", text);
            size_t want = pad + width <= 255 ? pad + width : pad < 255 ? pad : 255;
            CHECK_EQ(strlen(bk_errmsg()), want);
            CHECK(memcmp(bk_errmsg(), text, want) == 0);
        }
    }
}

static struct bki_error_slot *current;

static struct bki_error_slot *current_slot(void)
{
    errno = EDOM; /* whatever is called on the way, bk_fail keeps errno */
    return current;
}

static void test_each_task_has_its_own(void)
{
    struct bki_error_slot a = {NULL}, b = {NULL};
    bk_fail(-1, "thread");
    bki_error_slot_hook_set(current_slot);
    CHECK_STR(bk_errmsg(), "thread");
    current = &a;
    CHECK_STR(bk_errmsg(), "");
    errno = EPIPE;
    bk_fail(-1, "task a");
    CHECK_EQ(errno, EPIPE);
    current = &b;
    bk_fail(-1, "task b");
    current = &a;
    CHECK_STR(bk_errmsg(), "task a");
    bki_error_slot_adopt(&b);
    CHECK_STR(bk_errmsg(), "task b");
    bki_error_slot_adopt(&a); /* from itself */
    CHECK_STR(bk_errmsg(), "task b");
    bki_error_slot_free(&a);
    CHECK_STR(bk_errmsg(), "");
    current = NULL;
    CHECK_STR(bk_errmsg(), "thread");
    bki_error_slot_adopt(&a);
    CHECK_STR(bk_errmsg(), "");
    bki_error_slot_free(&a);
    bki_error_slot_free(&b);
}

static void test_without_memory(void)
{
    struct bki_error_slot slot = {NULL};
    bki_error_slot_hook_set(current_slot);
    current = &slot;
    alloc_sweep_fail_nth(1);
    int r = bk_fail(-EIO, "lost");
    CHECK_EQ(r, -EIO);
    CHECK(strstr(bk_errmsg(), "no detail") != NULL);
    bk_fail(-EIO, "memory is back");
    CHECK_STR(bk_errmsg(), "memory is back");
    bki_error_slot_free(&slot);
    alloc_sweep_fail_nth(1);
    bk_fail(-EIO, "lost");
    bki_error_slot_free(&slot); /* the static text is not freed */
    CHECK_EQ(alloc_sweep_end(), 0);
    CHECK(slot.text == NULL);
    current = NULL;
}

static void *other_thread(void *arg)
{
    (void)arg;
    bool empty = *bk_errmsg() == '\0';
    bk_fail(-1, "other thread");
    return empty ? NULL : (void *)"the text of one thread shows in another";
}

static void test_each_thread_has_its_own(void)
{
    bki_error_slot_hook_set(NULL);
    bk_fail(-1, "first thread");
    pthread_t thread;
    void *problem = NULL;
    CHECK_EQ(pthread_create(&thread, NULL, other_thread, NULL), 0);
    CHECK_EQ(pthread_join(thread, &problem), 0);
    CHECK(problem == NULL);
    CHECK_STR(bk_errmsg(), "first thread");
}

CHECK_MAIN(TEST(test_strerror), TEST(test_every_own_error_has_a_text),
           TEST(test_fail_returns_its_result_and_keeps_errno),
           TEST(test_fail_may_quote_the_last_detail), TEST(test_fail_errno),
           TEST(test_long_texts_are_cut), TEST(test_a_cut_never_splits_a_character),
           TEST(test_each_task_has_its_own), TEST(test_without_memory),
           TEST(test_each_thread_has_its_own))
