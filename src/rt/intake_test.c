/* SPDX-License-Identifier: MIT
 * Memory for messages that are coming in: who waits for it, who goes first, who goes beyond the
 * limit, and who is told to let go. */
#include "rt/intake.h"

#include <beck/sync.h>

#include "tests/run_helper.h"

#define KIB ((size_t)1024)
#define OWN BKI_INTAKE_OWN

/* A connection: asks for one size after the other, each told by its name when granted. */
struct client {
    const char *name;
    size_t sizes[4];
    bk_event *next; /* between them; NULL: at once */
    bool release;   /* at the end */
    bool holds_on;  /* when it is told to let go */
    struct bki_intake intake;
};

static void let_go(struct bki_intake *intake)
{
    struct client *c = bki_container(intake, struct client, intake);
    trace("%s?", c->name);
    if (!c->holds_on)
        bki_intake_release(bki_loop, intake);
}

static int ask(void *ctx)
{
    struct client *c = ctx;
    int r = 0;
    c->intake.let_go = let_go;
    for (int i = 0; r == 0 && i < 4 && c->sizes[i]; i++) {
        r = bki_intake_ask(&c->intake, c->sizes[i]);
        trace(r == 0 ? "%s%zu" : "%s!", c->name, c->sizes[i] / KIB);
        if (r == 0 && c->next)
            r = bk_event_wait(c->next);
    }
    if (c->release)
        bki_intake_release(bki_loop, &c->intake);
    return r;
}

static size_t held(void)
{
    return bki_loop->intake.held;
}

static void check_empty(void)
{
    const struct bki_intake_pool *pool = &bki_loop->intake;
    CHECK_EQ(pool->held, 0);
    CHECK_EQ(pool->n_active, 0);
    CHECK(!pool->beyond && bki_list_empty(&pool->holders));
    CHECK(!bki_heap_contains(&pool->timer.node));
}

/* The limit is 64 KiB in each of these. */
static int with_limit(void *ctx)
{
    struct in_loop_body *body = ctx;
    body->run();
    check_empty();
    return 0;
}

static void run_limited(void (*body)(void))
{
    struct in_loop_body b = {body};
    trace_reset();
    CHECK_EQ(
        bk_run(with_limit, &b, &(bk_run_opts){.clock = BK_CLOCK_VIRTUAL, .max_intake = 64 * KIB}),
        0);
}

#define INTAKE_TEST(name)                                                                          \
    static void name##_body(void);                                                                 \
    static void name(void)                                                                         \
    {                                                                                              \
        run_limited(name##_body);                                                                  \
    }                                                                                              \
    static void name##_body(void)

static void release(struct client *c)
{
    bki_intake_release(bki_loop, &c->intake);
}

INTAKE_TEST(what_is_everybodys_own_is_not_counted)
{
    struct client c[100] = {0};
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(bki_intake_ask(&c[i].intake, OWN), 0);
        CHECK_EQ(bki_intake_room(&c[i].intake), OWN);
    }
    CHECK_EQ(held(), 0);
}

INTAKE_TEST(who_does_not_fit_waits_until_there_is_room)
{
    struct client a = {.name = "a", .sizes = {40 * KIB}}, b = {.name = "b", .sizes = {40 * KIB}},
                  c = {.name = "c", .sizes = {40 * KIB}};
    bk_task *tb, *tc;
    CHECK_EQ(ask(&a), 0);
    CHECK_EQ(held(), 40 * KIB - OWN);
    tb = start(ask, &b);
    tc = start(ask, &c);
    let_run(3);
    CHECK_STR(trace_text(), "a40");
    CHECK(strstr(dump_text(), "memory for a message that is coming in"));
    release(&a);
    let_run(3);
    CHECK_STR(trace_text(), "a40 b40");
    release(&b);
    CHECK_EQ(finish(&tb), 0);
    CHECK_EQ(finish(&tc), 0);
    CHECK_STR(trace_text(), "a40 b40 c40");
    CHECK_EQ(held(), 40 * KIB - OWN);
    release(&c);
}

INTAKE_TEST(a_small_one_does_not_overtake)
{
    struct client a = {.name = "a", .sizes = {40 * KIB}}, b = {.name = "b", .sizes = {40 * KIB}},
                  c = {.name = "c", .sizes = {8 * KIB}};
    CHECK_EQ(ask(&a), 0);
    bk_task *tb = start(ask, &b), *tc = start(ask, &c);
    let_run(3);
    CHECK(!bki_intake_try(&c.intake, 8 * KIB));
    bk_task_cancel(tb); /* and now nobody is before it */
    CHECK_EQ(finish(&tb), -ECANCELED);
    CHECK_EQ(finish(&tc), 0);
    CHECK_STR(trace_text(), "a40 b! c8");
    release(&a);
    release(&c);
}

INTAKE_TEST(what_is_begun_goes_before_what_is_not)
{
    struct client a = {.name = "a", .sizes = {30 * KIB, 50 * KIB}},
                  b = {.name = "b", .sizes = {30 * KIB}}, n = {.name = "n", .sizes = {20 * KIB}};
    bk_event *next = NULL;
    CHECK_EQ(bk_event_new(&next, NULL), 0);
    a.next = next;
    bk_task *ta = start(ask, &a), *tb = start(ask, &b);
    let_run(2);
    bk_task *tn = start(ask, &n);
    let_run(2);
    bk_event_set(next);
    let_run(2);
    CHECK_STR(trace_text(), "a30 b30");
    release(&b);
    let_run(3);
    CHECK_STR(trace_text(), "a30 b30 a50");
    release(&a);
    CHECK_EQ(finish(&ta), 0);
    CHECK_EQ(finish(&tb), 0);
    CHECK_EQ(finish(&tn), 0);
    CHECK_STR(trace_text(), "a30 b30 a50 n20");
    release(&n);
    bk_event_free(&next);
}

INTAKE_TEST(when_all_wait_one_goes_beyond_and_on)
{
    struct client c[] = {{.name = "a", .sizes = {30 * KIB, 60 * KIB, 90 * KIB}, .release = true},
                         {.name = "b", .sizes = {30 * KIB, 60 * KIB, 90 * KIB}, .release = true}};
    bk_event *next = NULL;
    CHECK_EQ(bk_event_new(&next, NULL), 0);
    bk_task *tasks[2];
    for (int i = 0; i < 2; i++) {
        c[i].next = next;
        tasks[i] = start(ask, &c[i]);
    }
    let_run(2);
    bk_event_set(next);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(finish(&tasks[i]), 0);
    /* a waited first, and goes on until it is done: two beyond the limit would be too many. */
    CHECK_STR(trace_text(), "a30 b30 a60 a90 b60 b90");
    bk_event_free(&next);
}

INTAKE_TEST(one_that_is_larger_than_all_there_is_goes_alone)
{
    struct client a = {.name = "a", .sizes = {1000 * KIB}},
                  b = {.name = "b", .sizes = {1000 * KIB}};
    CHECK_EQ(ask(&a), 0);
    bk_task *tb = start(ask, &b);
    let_run(2);
    CHECK_STR(trace_text(), "a1000");
    release(&a);
    CHECK_EQ(finish(&tb), 0);
    CHECK_STR(trace_text(), "a1000 b1000");
    release(&b);
}

INTAKE_TEST(a_cancelled_holder_keeps_what_it_has)
{
    struct client a = {.name = "a", .sizes = {30 * KIB, 60 * KIB}},
                  b = {.name = "b", .sizes = {30 * KIB}};
    CHECK_EQ(ask(&b), 0);
    bk_task *ta = start(ask, &a);
    let_run(2);
    bk_task_cancel(ta);
    CHECK_EQ(finish(&ta), -ECANCELED);
    CHECK_STR(trace_text(), "b30 a30 a!");
    CHECK_EQ(bki_intake_room(&a.intake), 30 * KIB);
    CHECK_EQ(bki_loop->intake.n_active, 2);
    release(&a);
    release(&b);
}

/* A grant and a cancel in one turn: the first counts. */
INTAKE_TEST(who_was_granted_and_then_cancelled_has_it)
{
    struct client a = {.name = "a", .sizes = {60 * KIB}}, b = {.name = "b", .sizes = {60 * KIB}},
                  c = {.name = "c", .sizes = {60 * KIB}};
    CHECK_EQ(ask(&a), 0);
    bk_task *tb = start(ask, &b), *tc = start(ask, &c);
    let_run(2);
    release(&a);
    bk_task_cancel(tb);
    CHECK_EQ(finish(&tb), -ECANCELED); /* the cancel shows at its end */
    CHECK_STR(trace_text(), "a60 b60");
    bk_task_cancel(tc);
    release(&b); /* c is not waiting any more */
    CHECK_EQ(finish(&tc), -ECANCELED);
    CHECK_EQ(held(), 0);
}

/* ---- Patience ---- */

INTAKE_TEST(who_keeps_others_waiting_for_long_is_told_to_let_go)
{
    struct client a = {.name = "a", .sizes = {40 * KIB}}, b = {.name = "b", .sizes = {40 * KIB}};
    CHECK_EQ(ask(&a), 0);
    bk_sleep(bk_seconds(1000)); /* while nobody waits it may take its time */
    bk_task *tb = start(ask, &b);
    bk_sleep(bk_ms(9900));
    CHECK_STR(trace_text(), "a40");
    bk_sleep(bk_ms(200));
    CHECK_STR(trace_text(), "a40 a? b40");
    CHECK_EQ(finish(&tb), 0);
    bk_sleep(bk_seconds(1000));
    CHECK_STR(trace_text(), "a40 a? b40");
    release(&b);
}

INTAKE_TEST(who_goes_on_keeps_it)
{
    struct client a = {.name = "a", .sizes = {10 * KIB, 20 * KIB, 40 * KIB}},
                  b = {.name = "b", .sizes = {60 * KIB}};
    CHECK_EQ(bki_intake_ask(&a.intake, 10 * KIB), 0);
    a.intake.let_go = let_go;
    bk_task *tb = start(ask, &b);
    bk_sleep(bk_seconds(8));
    CHECK_EQ(bki_intake_ask(&a.intake, 20 * KIB), 0);
    bk_sleep(bk_seconds(8));
    CHECK_EQ(bki_intake_ask(&a.intake, 40 * KIB), 0);
    bk_sleep(bk_seconds(8));
    CHECK_STR(trace_text(), "");
    bk_sleep(bk_seconds(4));
    CHECK_STR(trace_text(), "a? b60");
    CHECK_EQ(finish(&tb), 0);
    release(&b);
}

INTAKE_TEST(a_whole_message_waits_for_nothing_of_its_peers)
{
    struct client a = {.name = "a", .sizes = {40 * KIB}}, b = {.name = "b", .sizes = {40 * KIB}};
    CHECK_EQ(ask(&a), 0);
    a.intake.whole = true;
    bk_task *tb = start(ask, &b);
    bk_sleep(bk_seconds(100));
    CHECK_STR(trace_text(), "a40");
    release(&a);
    CHECK(!a.intake.whole);
    CHECK_EQ(finish(&tb), 0);
    release(&b);
}

/* Most messages are whole without ever having asked: that is no licence for the next. */
INTAKE_TEST(one_that_was_whole_and_held_nothing_is_told_the_next_time)
{
    struct client a = {.name = "a", .sizes = {40 * KIB}}, b = {.name = "b", .sizes = {40 * KIB}};
    a.intake.whole = true;
    release(&a);
    CHECK_EQ(ask(&a), 0);
    bk_task *tb = start(ask, &b);
    bk_sleep(bk_seconds(11));
    CHECK_STR(trace_text(), "a40 a? b40");
    CHECK_EQ(finish(&tb), 0);
    release(&b);
}

INTAKE_TEST(who_is_slow_to_let_go_is_told_again)
{
    struct client a = {.name = "a", .sizes = {40 * KIB}, .holds_on = true},
                  b = {.name = "b", .sizes = {40 * KIB}};
    CHECK_EQ(ask(&a), 0);
    bk_task *tb = start(ask, &b);
    bk_sleep(bk_seconds(15));
    CHECK_STR(trace_text(), "a40 a?");
    bk_sleep(bk_seconds(6));
    CHECK_STR(trace_text(), "a40 a? a?");
    release(&a);
    CHECK_EQ(finish(&tb), 0);
    release(&b);
}

INTAKE_TEST(of_several_all_that_do_not_go_on_are_told)
{
    struct client a = {.name = "a", .sizes = {20 * KIB}}, b = {.name = "b", .sizes = {20 * KIB}},
                  c = {.name = "c", .sizes = {20 * KIB}};
    struct client d = {.name = "d", .sizes = {60 * KIB}};
    CHECK_EQ(ask(&a), 0);
    CHECK_EQ(ask(&b), 0);
    bk_sleep(bk_seconds(5));
    bk_task *td = start(ask, &d);
    bk_sleep(bk_seconds(3));
    CHECK(!bki_intake_try(&c.intake, 20 * KIB));
    bk_sleep(bk_seconds(8));
    CHECK_STR(trace_text(), "a20 b20 a? b? d60");
    CHECK_EQ(finish(&td), 0);
    release(&d);
}

/* ---- Crowds ---- */

enum { CROWD = 300 };

INTAKE_TEST(everybody_in_a_crowd_comes_to_its_end_within_the_limit)
{
    static struct client c[CROWD];
    static bk_task *tasks[CROWD];
    size_t most = 0;
    memset(c, 0, sizeof c);
    for (int i = 0; i < CROWD; i++) {
        c[i] = (struct client){
            .name = "x", .sizes = {8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB}, .release = true};
        tasks[i] = start(ask, &c[i]);
    }
    for (int i = 0; i < CROWD; i++) {
        while (!bk_task_done(tasks[i])) {
            most = held() > most ? held() : most;
            bk_yield();
        }
        CHECK_EQ(finish(&tasks[i]), 0);
    }
    CHECK(most <= 2 * 64 * KIB);
}

CHECK_MAIN(TEST(what_is_everybodys_own_is_not_counted),
           TEST(who_does_not_fit_waits_until_there_is_room), TEST(a_small_one_does_not_overtake),
           TEST(what_is_begun_goes_before_what_is_not), TEST(when_all_wait_one_goes_beyond_and_on),
           TEST(one_that_is_larger_than_all_there_is_goes_alone),
           TEST(a_cancelled_holder_keeps_what_it_has),
           TEST(who_was_granted_and_then_cancelled_has_it),
           TEST(who_keeps_others_waiting_for_long_is_told_to_let_go), TEST(who_goes_on_keeps_it),
           TEST(a_whole_message_waits_for_nothing_of_its_peers),
           TEST(one_that_was_whole_and_held_nothing_is_told_the_next_time),
           TEST(who_is_slow_to_let_go_is_told_again),
           TEST(of_several_all_that_do_not_go_on_are_told),
           TEST(everybody_in_a_crowd_comes_to_its_end_within_the_limit))
