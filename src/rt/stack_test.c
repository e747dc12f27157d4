/* SPDX-License-Identifier: MIT
 * Stack slots: reuse, size classes, guards of both kinds, trimming; and the register switch on
 * them. */
#include "rt/stack.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rt/switch.h"
#include "tests/check.h"

static void last_put_is_first_got(void)
{
    struct bki_stacks stacks;
    bki_stacks_open(&stacks);
    struct bki_stack_class *class = bki_stack_class_for(&stacks, 65536);
    struct bki_stack *a = bki_stack_get(class), *b = bki_stack_get(class);
    CHECK(a && b && a != b);
    bki_stack_put(a);
    bki_stack_put(b);
    CHECK(bki_stack_get(class) == b);
    CHECK(bki_stack_get(class) == a);
    bki_stack_put(a);
    bki_stack_put(b);
    bki_stacks_close(&stacks);
}

static void classes_hold_what_was_asked_for(void)
{
    struct bki_stacks stacks;
    bki_stacks_open(&stacks);
    const size_t sizes[] = {1, 16384, 16385, 65536, 1 << 20, (size_t)64 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct bki_stack_class *class = bki_stack_class_for(&stacks, sizes[i]);
        CHECK(class != NULL);
        struct bki_stack *stack = bki_stack_get(class);
        CHECK(stack != NULL);
        CHECK(bki_stack_size(stack) >= sizes[i]);
        char *low = bki_stack_low(stack);
        low[0] = 1; /* the lowest byte is usable */
        CHECK(bki_stack_of_guard(&stacks, low - 1) == stack);
        CHECK(bki_stack_of_guard(&stacks, low - 4096) == stack);
        CHECK(bki_stack_of_guard(&stacks, low) == NULL);
        bki_stack_put(stack);
    }
    CHECK(bki_stack_class_for(&stacks, ((size_t)64 << 20) + 1) == NULL);
    bki_stacks_close(&stacks);
}

/* In a child: a byte below the stack must fault. */
static bool guard_faults(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        close(STDERR_FILENO); /* a sanitizer would tell the whole story */
        struct bki_stacks stacks;
        bki_stacks_open(&stacks);
        struct bki_stack *stack = bki_stack_get(bki_stack_class_for(&stacks, 65536));
        volatile char *low = bki_stack_low(stack);
        low[0] = 1;
        low[-1] = 1;
        _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) != 0);
}

static void the_guard_page_guards(void)
{
    CHECK(guard_faults());
}

static long resident_pages(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long total = 0, resident = 0;
    if (!f)
        return -1;
    if (fscanf(f, "%ld %ld", &total, &resident) != 2)
        resident = -1;
    fclose(f);
    return resident;
}

static void unused_stacks_give_their_memory_back(void)
{
#ifdef __SANITIZE_THREAD__
    enum { N = 1000 }; /* to make a stack known to it takes a millisecond */
#else
    enum { N = 5000 };
#endif
    static struct bki_stack *got[N];
    struct bki_stacks stacks;
    bki_stacks_open(&stacks);
    struct bki_stack_class *class = bki_stack_class_for(&stacks, 65536);
    long before = resident_pages();
    for (int i = 0; i < N; i++) {
        got[i] = bki_stack_get(class);
        CHECK(got[i] != NULL);
        memset((char *)got[i] - 8192, 1, 8192);
    }
    long full = resident_pages();
    for (int i = 0; i < N; i++)
        bki_stack_put(got[i]);
    bki_stacks_trim(&stacks); /* notes that all are unused */
    int calls = 1;
    while (bki_stacks_trim(&stacks) && calls < 100)
        calls++;
    long after = resident_pages();
    CHECK(full - before >= 2 * N);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* their shadow stays */
    CHECK(after - before < 2 * N / 4);
#else
    (void)after;
#endif
    CHECK(calls < 100);
    for (int i = 0; i < N; i++) { /* cold slots work again */
        got[i] = bki_stack_get(class);
        CHECK(got[i] != NULL);
        memset((char *)got[i] - 8192, 1, 8192);
    }
    for (int i = 0; i < N; i++)
        bki_stack_put(got[i]);
    bki_stacks_close(&stacks);
}

static void what_lies_below_can_be_given_back_alone(void)
{
    struct bki_stacks stacks;
    bki_stacks_open(&stacks);
    struct bki_stack *stack = bki_stack_get(bki_stack_class_for(&stacks, 65536));
    char *low = bki_stack_low(stack);
    size_t size = (size_t)((char *)stack - low);
    for (size_t at = 0; at < size; at += 1111) {
        memset(low, 1, size);
        bki_stack_trim(stack, low + at);
        size_t gone = at & ~(size_t)4095, n_zero = 0;
        for (size_t i = 0; i < size; i++)
            n_zero += low[i] == 0;
        CHECK_EQ(n_zero, gone);
        CHECK(gone == size || low[gone] == 1);
    }
    bki_stack_put(stack);
    bki_stacks_close(&stacks);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static void *main_sp, *task_sp;
static int steps;
static double kept;

static void entry(void *arg)
{
    double d = *(double *)arg;
    for (;;) {
        steps++;
        kept += d;
        bki_switch(&task_sp, main_sp);
    }
}

static void the_switch_keeps_registers_and_alignment(void)
{
    struct bki_stacks stacks;
    bki_stacks_open(&stacks);
    struct bki_stack *stack = bki_stack_get(bki_stack_class_for(&stacks, 65536));
    double half = 0.5;
    char *top = (char *)((uintptr_t)stack & ~(uintptr_t)63);
    task_sp = bki_switch_prepare(bki_stack_low(stack), top, entry, &half);
    for (int i = 1; i <= 1000; i++) {
        bki_switch(&main_sp, task_sp);
        CHECK_EQ(steps, i);
    }
    CHECK(kept == 500.0);
    bki_stack_put(stack);
    bki_stacks_close(&stacks);
}
#else
static void the_switch_keeps_registers_and_alignment(void)
{
    /* The sanitizers want to hear of switches; the task tests make theirs with the notes. */
}
#endif

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {TEST(last_put_is_first_got),
                                              TEST(classes_hold_what_was_asked_for),
                                              TEST(the_guard_page_guards),
                                              TEST(unused_stacks_give_their_memory_back),
                                              TEST(what_lies_below_can_be_given_back_alone),
                                              TEST(the_switch_keeps_registers_and_alignment)};
    int r = check_run(tests, sizeof tests / sizeof *tests, argc, argv);
    if (r == 0 && !getenv("BECK_STACK_GUARD")) { /* once more with the guard of older kernels */
        fflush(stdout);
        setenv("BECK_STACK_GUARD", "mprotect", 1);
        execv("/proc/self/exe", argv);
        r = 1;
    }
    return r;
}
