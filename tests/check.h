/* SPDX-License-Identifier: MIT
 * The unit tests' whole vocabulary: CHECK macros that say what was expected, and a table of tests.
 *
 *     static void test_something(void) { CHECK_EQ(1 + 1, 2); }
 *     CHECK_MAIN(TEST(test_something))
 *
 * A program runs every test, or those named on its command line, or all but those named there with
 * a "-" in front; it prints one line for each and a last line "N passed, N failed".  A failed CHECK
 * ends its test (the function returns), not the program. */
#ifndef BECK_TESTS_CHECK_H
#define BECK_TESTS_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static int check_failures;

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            check_failures++;                                                                      \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond);                   \
            return;                                                                                \
        }                                                                                          \
    } while (0)

#define CHECK_EQ(got, want)                                                                        \
    do {                                                                                           \
        long long got_ = (long long)(got), want_ = (long long)(want);                              \
        if (got_ != want_) {                                                                       \
            check_failures++;                                                                      \
            fprintf(stderr, "%s:%d: %s is %lld, want %lld\n", __FILE__, __LINE__, #got, got_,      \
                    want_);                                                                        \
            return;                                                                                \
        }                                                                                          \
    } while (0)

#define CHECK_STR(got, want)                                                                       \
    do {                                                                                           \
        const char *got_ = (got), *want_ = (want);                                                 \
        if (!got_ || strcmp(got_, want_) != 0) {                                                   \
            check_failures++;                                                                      \
            fprintf(stderr, "%s:%d: %s is\n  \"%s\", want\n  \"%s\"\n", __FILE__, __LINE__, #got,  \
                    got_ ? got_ : "(null)", want_);                                                \
            return;                                                                                \
        }                                                                                          \
    } while (0)

#define CHECK_MEM(got, got_len, want, want_len)                                                    \
    do {                                                                                           \
        size_t gl_ = (got_len), wl_ = (want_len);                                                  \
        if (gl_ != wl_ || memcmp((got), (want), wl_) != 0) {                                       \
            check_failures++;                                                                      \
            fprintf(stderr, "%s:%d: %s is \"%.*s\" (%zu bytes), want \"%.*s\" (%zu bytes)\n",      \
                    __FILE__, __LINE__, #got, (int)gl_, (const char *)(got), gl_, (int)wl_,        \
                    (const char *)(want), wl_);                                                    \
            return;                                                                                \
        }                                                                                          \
    } while (0)

struct check_test {
    const char *name;
    void (*run)(void);
};

#define TEST(function)                                                                             \
    {                                                                                              \
#function, function                                                                        \
    }

static inline bool check_wanted(const char *name, int argc, char **argv)
{
    bool all = argc < 2 || argv[1][0] == '-';
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i] + all, name) == 0)
            return !all;
    return all;
}

static inline int check_run(const struct check_test *tests, size_t n, int argc, char **argv)
{
    int passed = 0, failed = 0;
    for (size_t i = 0; i < n; i++) {
        if (!check_wanted(tests[i].name, argc, argv))
            continue;
        int before = check_failures;
        tests[i].run();
        bool ok = check_failures == before;
        printf("%s %s\n", ok ? "ok  " : "FAIL", tests[i].name);
        fflush(stdout);
        ok ? passed++ : failed++;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed || !passed;
}

#define CHECK_MAIN(...)                                                                            \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        static const struct check_test tests[] = {__VA_ARGS__};                                    \
        return check_run(tests, sizeof tests / sizeof *tests, argc, argv);                         \
    }

#endif
