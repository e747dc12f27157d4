/* SPDX-License-Identifier: MIT
 * Tests of bk_process_communicate: both ways at once, limits, cancels, children that do not listen.
 */
#include "net/net_test.h"

static const bk_process_opts in_out = {.in = BK_PIPE, .out = BK_PIPE};

/* len bytes of a seed's random sequence, the same everywhere. */
static bk_msg *random_bytes(size_t len)
{
    bk_msg *msg = NULL;
    unsigned state = 4711;
    if (bk_msg_new(&msg, len) < 0)
        return NULL;
    for (size_t i = 0; i + 4 <= len; i += 4) {
        unsigned x = next_random(&state);
        memcpy(bk_msg_data(msg) + i, &x, 4);
    }
    for (size_t i = len & ~(size_t)3; i < len; i++)
        bk_msg_data(msg)[i] = 'x';
    return msg;
}

LOOP_TEST(C154_P1_feeds_and_reads_100_MB_without_deadlock)
{
    size_t len = 100 * 1000 * 1000;
    bk_msg *input = random_bytes(len), *out = NULL;
    bk_process *p = NULL;
    CHECK(input);
    const char *argv[] = {"cat", NULL};
    CHECK_EQ(bk_process_exec(&p, argv, &in_out), 0);
    CHECK_EQ(bk_process_communicate(p, bk_msg_span(input), &out, NULL,
                                    &(bk_communicate_opts){.limit = BK_UNBOUNDED}),
             0);
    CHECK_EQ(bk_msg_len(out), len);
    CHECK_EQ(memcmp(bk_msg_data(out), bk_msg_data(input), len), 0);
    bk_msg_free(&out);
    bk_msg_free(&input);
    CHECK_EQ(bk_process_close(&p, 0), 0);
}

/* Writes 1 MB to each output before it reads, and 1 MB after. */
LOOP_TEST(C154_P1_reads_both_outputs_in_any_order)
{
    bk_msg *input = random_bytes(3 * 1000 * 1000), *out = NULL, *err = NULL;
    bk_process *p = NULL;
    int code = -1;
    CHECK_EQ(bk_process_shell(&p,
                              "head -c 1000000 /dev/zero >&2; head -c 1000000 /dev/zero;"
                              "wc -c >&2; head -c 1000000 /dev/zero",
                              &(bk_process_opts){.in = BK_PIPE, .out = BK_PIPE, .err = BK_PIPE}),
             0);
    CHECK_EQ(bk_process_communicate(p, bk_msg_span(input), &out, &err, NULL), 0);
    CHECK_EQ(bk_process_returncode(p, &code), 0);
    CHECK_EQ(code, 0);
    CHECK_EQ(bk_msg_len(out), 2000000);
    CHECK_EQ(bk_msg_len(err), 1000008);
    CHECK_MEM(bk_msg_data(err) + 1000000, 8, "3000000\n", 8);
    bk_msg_free(&out);
    bk_msg_free(&err);
    bk_msg_free(&input);
    CHECK_EQ(bk_process_close(&p, 0), 0);
}

LOOP_TEST(C155_P1_a_child_that_stops_reading_is_no_error)
{
    bk_msg *input = random_bytes(1000 * 1000), *out = NULL;
    bk_process *p = NULL;
    int code = -1;
    CHECK_EQ(bk_process_shell(&p, "exec 0<&-; echo enough; exit 3", &in_out), 0);
    CHECK_EQ(bk_process_communicate(p, bk_msg_span(input), &out, NULL, NULL), 0);
    CHECK_MEM(bk_msg_data(out), bk_msg_len(out), "enough\n", 7);
    CHECK_EQ(bk_process_wait(p, &code), 0);
    CHECK_EQ(code, 3);
    bk_msg_free(&out);
    bk_msg_free(&input);
    CHECK_EQ(bk_process_close(&p, 0), 0);
}

LOOP_TEST(P1_output_nobody_wants_is_read_and_dropped)
{
    bk_process *p = NULL;
    bk_msg *err = NULL;
    CHECK_EQ(bk_process_shell(&p, "head -c 1000000 /dev/zero; echo e >&2",
                              &(bk_process_opts){.out = BK_PIPE, .err = BK_PIPE}),
             0);
    CHECK_EQ(bk_process_communicate(p, bk_span_of(NULL, 0), NULL, &err, NULL), 0);
    CHECK_MEM(bk_msg_data(err), bk_msg_len(err), "e\n", 2);
    bk_msg_free(&err);
    CHECK_EQ(bk_process_close(&p, 0), 0);
}

LOOP_TEST(P1_communicate_is_bounded_and_goes_on_with_a_larger_limit)
{
    bk_process *p = NULL;
    bk_msg *out = NULL, *input = random_bytes(300 * 1000);
    CHECK_EQ(bk_process_shell(&p, "exec cat", &in_out), 0);
    CHECK_EQ(bk_process_communicate(p, bk_msg_span(input), &out, NULL,
                                    &(bk_communicate_opts){.limit = 1000}),
             -BK_ELIMIT);
    CHECK(!out);
    CHECK_EQ(bk_process_communicate(p, bk_msg_span(input), &out, NULL, NULL), 0);
    CHECK_MEM(bk_msg_data(out), bk_msg_len(out), bk_msg_data(input), bk_msg_len(input));
    bk_msg_free(&out);
    bk_msg_free(&input);
    CHECK_EQ(bk_process_close(&p, 0), 0);
}

struct talk {
    bk_process *process;
    bk_msg *input, *out, *err;
};

static int communicate(void *ctx)
{
    struct talk *t = ctx;
    return bk_process_communicate(t->process, bk_msg_span(t->input), &t->out, &t->err, NULL);
}

/* Cancelled again and again, at whatever it waits for. */
LOOP_TEST(P1_communicate_goes_on_after_a_cancel_and_loses_nothing)
{
    struct talk t = {.input = random_bytes(2 * 1000 * 1000)};
    int n_cancels = 0, r = -ECANCELED;
    CHECK_EQ(bk_process_shell(&t.process, "exec tee /dev/stderr",
                              &(bk_process_opts){.in = BK_PIPE, .out = BK_PIPE, .err = BK_PIPE}),
             0);
    while (r == -ECANCELED && n_cancels < 100000) {
        bk_task *task = NULL;
        CHECK_EQ(bk_go(&task, communicate, &t, NULL), 0);
        for (int i = 0; i < 1 + n_cancels % 40; i++)
            bk_yield();
        if (bk_task_cancel(task))
            n_cancels++;
        CHECK_EQ(bk_task_wait(task, &r), 0);
        bk_task_free(&task);
    }
    CHECK_EQ(r, 0);
    CHECK(n_cancels > 3);
    CHECK_MEM(bk_msg_data(t.out), bk_msg_len(t.out), bk_msg_data(t.input), bk_msg_len(t.input));
    CHECK_MEM(bk_msg_data(t.err), bk_msg_len(t.err), bk_msg_data(t.input), bk_msg_len(t.input));
    bk_msg_free(&t.out);
    bk_msg_free(&t.err);
    bk_msg_free(&t.input);
    CHECK_EQ(bk_process_close(&t.process, 0), 0);
}

LOOP_TEST(P1_communicate_wants_pipes)
{
    bk_process *p = NULL;
    bk_msg *out = NULL;
    CHECK_EQ(bk_process_shell(&p, "read x", &(bk_process_opts){.in = BK_PIPE}), 0);
    CHECK_EQ(bk_process_communicate(p, bk_span_str("x\n"), &out, NULL, NULL), -EINVAL);
    CHECK(strstr(bk_errmsg(), "whose out is no pipe"));
    CHECK_EQ(bk_process_communicate(p, bk_span_str("x\n"), NULL, &out, NULL), -EINVAL);
    CHECK_EQ(bk_process_communicate(p, bk_span_str("x\n"), NULL, NULL, NULL), 0);
    CHECK_EQ(bk_process_communicate(p, bk_span_str("x\n"), NULL, NULL, NULL), 0);
    CHECK_EQ(bk_process_communicate(p, bk_span_str("x\ny"), NULL, NULL, NULL), -EINVAL);
    CHECK_EQ(bk_process_close(&p, 0), 0);
    CHECK_EQ(bk_process_shell(&p, "exit 1", NULL), 0);
    CHECK_EQ(bk_process_communicate(p, bk_span_of(NULL, 0), NULL, NULL, NULL), 0);
    CHECK_EQ(bk_process_communicate(p, bk_span_str("x"), NULL, NULL, NULL), -EINVAL);
    CHECK_EQ(bk_process_close(&p, 0), 0);
}

CHECK_MAIN(TEST(C154_P1_feeds_and_reads_100_MB_without_deadlock),
           TEST(C154_P1_reads_both_outputs_in_any_order),
           TEST(C155_P1_a_child_that_stops_reading_is_no_error),
           TEST(P1_output_nobody_wants_is_read_and_dropped),
           TEST(P1_communicate_is_bounded_and_goes_on_with_a_larger_limit),
           TEST(P1_communicate_goes_on_after_a_cancel_and_loses_nothing),
           TEST(P1_communicate_wants_pipes))
