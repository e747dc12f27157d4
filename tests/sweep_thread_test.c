/* SPDX-License-Identifier: MIT
 * Sweeps over what comes from outside the loop: blocking calls, other threads' messages and tasks,
 * signals. */
#include <pthread.h>
#include <semaphore.h>

#include "tests/sweep.h"

/* ---- Blocking calls: the pool has one thread ---- */

struct job {
    sem_t go;
    atomic_int n_started, n_returned, n_abandoned;
    bool called;    /* the subject has called bk_to_thread */
    int call;       /* what that returned */
    bool no_thread; /* for want of memory */
};

static int open_job(void *ctx)
{
    struct job *j = ctx;
    sem_init(&j->go, 0, 0);
    return 0;
}

static void close_job(void *ctx)
{
    struct job *j = ctx;
    sem_destroy(&j->go);
}

static int block(void *ctx)
{
    struct job *j = ctx;
    atomic_fetch_add(&j->n_started, 1);
    while (sem_wait(&j->go) < 0)
        ;
    atomic_fetch_add(&j->n_returned, 1);
    return 3;
}

static int do_little(void *ctx)
{
    struct job *j = ctx;
    atomic_fetch_add(&j->n_started, 1);
    atomic_fetch_add(&j->n_returned, 1);
    return 3;
}

static void job_abandoned(void *ctx, int result)
{
    struct job *j = ctx;
    if (result != 3 && result != -ECANCELED)
        sweep_lost("the abandoned call's result is %d", result);
    atomic_fetch_add(&j->n_abandoned, 1);
}

static int call_thread(struct job *j, bk_fn *fn, const bk_to_thread_opts *opts)
{
    j->called = true;
    j->call = bk_to_thread(fn, j, opts);
    return j->call;
}

static int call_and_stay(void *ctx)
{
    return call_thread(ctx, block, NULL);
}

static int call_and_abandon(void *ctx)
{
    return call_thread(ctx, block, &(bk_to_thread_opts){.on_abandon = job_abandoned});
}

static int call_briefly(void *ctx)
{
    return call_thread(ctx, do_little, NULL);
}

static int nothing(void *ctx)
{
    (void)ctx;
    return 0;
}

/* Takes the pool's thread, so that the subject's call has to queue. */
static int take_the_thread(void *ctx)
{
    struct job *j = ctx;
    int r = bk_to_thread(block, j, NULL);
    return r == 3 || r == -ECANCELED ? 0 : r;
}

static int let_it_go(void *ctx)
{
    struct job *j = ctx;
    int r = 0;
    for (int i = 0; r == 0 && i < 6; i++)
        r = bk_yield();
    sem_post(&j->go);
    sem_post(&j->go);
    return r;
}

/* Every call has come back, been abandoned, or never began. */
static void the_call_is_accounted_for(void *ctx, int result)
{
    struct job *j = ctx;
    (void)result;
    sem_post(&j->go);
    sem_post(&j->go);
    /* One thread: when this has come back, so has whatever ran alone. */
    while (atomic_load(&j->n_returned) < atomic_load(&j->n_started))
        if (bk_to_thread(nothing, j, NULL) < 0)
            bk_yield();
    if (bk_to_thread(nothing, j, NULL) < 0 && !sweep_excused())
        sweep_lost("the pool is broken");
    if (!j->called)
        return;
    bool told = atomic_load(&j->n_abandoned) == 1;
    if (atomic_load(&j->n_abandoned) > 1 || (told && j->call != -ECANCELED))
        sweep_lost("abandoned %d times, and returned %d", atomic_load(&j->n_abandoned), j->call);
}

static void called_once_or_never(void *ctx, int result)
{
    struct job *j = ctx;
    the_call_is_accounted_for(ctx, result);
    int want = j->called && j->call == 3;
    if (atomic_load(&j->n_returned) != want)
        sweep_lost("the call ran %d times, and returned %d", atomic_load(&j->n_returned), j->call);
}

static void called_behind_another(void *ctx, int result)
{
    struct job *j = ctx;
    the_call_is_accounted_for(ctx, result);
    int mine = j->called && j->call == 3;
    if (atomic_load(&j->n_returned) > 1 + mine)
        sweep_lost("%d calls ran, and ours returned %d", atomic_load(&j->n_returned), j->call);
}

static void returned_or_abandoned(void *ctx, int result)
{
    struct job *j = ctx;
    the_call_is_accounted_for(ctx, result);
    bool abandoned = atomic_load(&j->n_abandoned) == 1;
    if (j->called && abandoned == (j->call == 3) && !sweep_excused())
        sweep_lost("abandoned %d times, and returned %d", atomic_load(&j->n_abandoned), j->call);
}

/* ---- A channel to a plain thread ---- */

enum { MESSAGES = 6 };

struct wire {
    bk_channel *channel;
    pthread_t thread;
    bool has_thread;
    uint32_t n_sent, n_got; /* one side's each; read when the thread has ended */
};

static int send_one(struct wire *w)
{
    bk_msg *msg = NULL;
    uint32_t number = w->n_sent + 1;
    int r = bk_msg_copy(&msg, &number, sizeof number);
    if (r < 0)
        return r;
    r = bk_channel_send(w->channel, &msg);
    if ((r == 0) != (msg == NULL))
        sweep_lost("bk_channel_send returns %d and the message is %s", r, msg ? "kept" : "gone");
    bk_msg_free(&msg);
    w->n_sent += r == 0;
    return r;
}

static int receive_one(struct wire *w)
{
    bk_msg *msg = NULL;
    uint32_t number = 0;
    int r = bk_channel_recv(w->channel, &msg);
    if ((r == 1) != (msg != NULL))
        sweep_lost("bk_channel_recv returns %d and %s", r, msg ? "a message" : "none");
    if (r != 1)
        return r;
    memcpy(&number, bk_msg_data(msg), sizeof number);
    bk_msg_free(&msg);
    if (number != ++w->n_got)
        sweep_lost("message %u is number %u", w->n_got, number);
    return 1;
}

static void *sender_thread(void *ctx)
{
    struct wire *w = ctx;
    while (w->n_sent < MESSAGES) {
        int r = send_one(w);
        if (r < 0 && r != -ENOMEM) /* then once more */
            break;
    }
    bk_channel_close(w->channel);
    return NULL;
}

static void *receiver_thread(void *ctx)
{
    while (receive_one(ctx) == 1)
        ;
    return NULL;
}

static int open_wire(struct wire *w, void *(*thread)(void *ctx))
{
    int r = bk_channel_new(&w->channel, &(bk_channel_opts){.limit = 1, .name = "wire"});
    if (r < 0)
        return r;
    w->has_thread = pthread_create(&w->thread, NULL, thread, w) == 0;
    return w->has_thread ? 0 : -EAGAIN;
}

static int open_wire_to_sender(void *ctx)
{
    return open_wire(ctx, sender_thread);
}

static int open_wire_to_receiver(void *ctx)
{
    return open_wire(ctx, receiver_thread);
}

static void close_wire(void *ctx)
{
    struct wire *w = ctx;
    if (w->channel)
        bk_channel_close(w->channel);
    if (w->has_thread)
        pthread_join(w->thread, NULL);
    bk_channel_free(&w->channel);
}

static int receive_all(void *ctx)
{
    int r;
    while ((r = receive_one(ctx)) == 1)
        ;
    return r;
}

static int send_all(void *ctx)
{
    struct wire *w = ctx;
    int r = 0;
    while (r == 0 && w->n_sent < MESSAGES)
        r = send_one(w);
    return r;
}

static void thread_has_sent_all(void *ctx, int result)
{
    struct wire *w = ctx;
    (void)result;
    while (receive_one(w) == 1)
        ;
    pthread_join(w->thread, NULL);
    w->has_thread = false;
    if (w->n_got != w->n_sent || w->n_sent != MESSAGES)
        sweep_lost("%u messages sent, %u got", w->n_sent, w->n_got);
}

static void thread_has_got_all(void *ctx, int result)
{
    struct wire *w = ctx;
    (void)result;
    bk_channel_close(w->channel);
    pthread_join(w->thread, NULL);
    w->has_thread = false;
    if (w->n_got != w->n_sent)
        sweep_lost("%u messages sent, %u got", w->n_sent, w->n_got);
}

/* ---- Tasks started from a thread ---- */

struct visitors {
    bk_loop *loop;
    bk_event *arrival;
    pthread_t thread;
    bool has_thread;
    sem_t invited;
    int n_accepted; /* read when the thread has ended */
    int n_arrived;
};

static int arrive(void *ctx)
{
    struct visitors *v = ctx;
    v->n_arrived++;
    bk_event_set(v->arrival);
    return 0;
}

static void *visitor_thread(void *ctx)
{
    struct visitors *v = ctx;
    while (v->n_accepted < 3) {
        while (sem_wait(&v->invited) < 0)
            ;
        int r = bk_go_threadsafe(v->loop, arrive, v);
        if (r == 0)
            v->n_accepted++;
        else if (r == -ENOMEM)
            sem_post(&v->invited); /* once more */
        else
            break;
    }
    return NULL;
}

static int open_visitors(void *ctx)
{
    struct visitors *v = ctx;
    v->loop = bk_loop_current();
    sem_init(&v->invited, 0, 0);
    int r = bk_event_new(&v->arrival, "arrival");
    if (r < 0)
        return r;
    v->has_thread = pthread_create(&v->thread, NULL, visitor_thread, v) == 0;
    return v->has_thread ? 0 : -EAGAIN;
}

static void invite(struct visitors *v, int n)
{
    while (n-- > 0)
        sem_post(&v->invited);
}

static void close_visitors(void *ctx)
{
    struct visitors *v = ctx;
    invite(v, 3);
    if (v->has_thread)
        pthread_join(v->thread, NULL);
    sem_destroy(&v->invited);
    bk_event_free(&v->arrival);
}

static int invite_slowly(void *ctx)
{
    int r = 0;
    for (int i = 0; r == 0 && i < 3; i++) {
        invite(ctx, 1);
        r = bk_yield();
        if (r == 0)
            r = bk_yield();
    }
    return r;
}

static int receive_visitors(void *ctx)
{
    struct visitors *v = ctx;
    int r = 0;
    while (r == 0 && v->n_arrived + sweep_n_reports < 3) {
        bk_event_clear(v->arrival);
        /* A task for which there was no memory is reported, and does not set the event. */
        r = bk_wait_for((bk_fn *)bk_event_wait, v->arrival, bk_ms(5));
        if (r == -ETIMEDOUT)
            r = 0;
    }
    return r;
}

static void all_visitors_arrive(void *ctx, int result)
{
    struct visitors *v = ctx;
    (void)result;
    invite(v, 3);
    pthread_join(v->thread, NULL);
    v->has_thread = false;
    for (int i = 0; i < 1000 && v->n_arrived + sweep_n_reports < 3; i++)
        bk_sleep(bk_ms(1));
    if (v->n_accepted != 3 || v->n_arrived + sweep_n_reports != 3)
        sweep_lost("%d tasks accepted, %d have run", v->n_accepted, v->n_arrived);
}

/* ---- The outcome of a task, from another loop and from the same ---- */

struct distant {
    bk_loop *loop; /* a reference */
    pthread_t thread;
    bool has_thread;
    sem_t ready;
    bk_event *leave; /* of the other loop */
    int opened;
    bk_thread_future *future;
};

static int distant_main(void *ctx)
{
    struct distant *d = ctx;
    d->opened = bk_event_new(&d->leave, "leave");
    if (d->opened < 0)
        return d->opened;
    d->loop = bk_loop_ref(bk_loop_current());
    sem_post(&d->ready);
    int r = bk_event_wait(d->leave);
    bk_event_free(&d->leave);
    return r;
}

static void *distant_thread(void *ctx)
{
    struct distant *d = ctx;
    int r = bk_run(distant_main, d, NULL);
    if (!d->loop) {
        d->opened = r;
        sem_post(&d->ready);
    }
    return NULL;
}

static int open_distant(void *ctx)
{
    struct distant *d = ctx;
    sem_init(&d->ready, 0, 0);
    d->has_thread = pthread_create(&d->thread, NULL, distant_thread, d) == 0;
    if (!d->has_thread)
        return -EAGAIN;
    while (sem_wait(&d->ready) < 0)
        ;
    return d->opened;
}

static int open_same(void *ctx)
{
    struct distant *d = ctx;
    sem_init(&d->ready, 0, 0);
    d->loop = bk_loop_ref(bk_loop_current());
    return 0;
}

static int leave(void *ctx)
{
    return bk_event_set(((struct distant *)ctx)->leave);
}

static void close_distant(void *ctx)
{
    struct distant *d = ctx;
    while (d->has_thread && d->loop && bk_call_soon_threadsafe(d->loop, leave, d) == -ENOMEM)
        ;
    if (d->has_thread)
        pthread_join(d->thread, NULL);
    bk_thread_future_free(&d->future);
    bk_loop_free(&d->loop);
    sem_destroy(&d->ready);
}

static int work_distantly(void *ctx)
{
    (void)ctx;
    int r = 0;
    for (int i = 0; r == 0 && i < 4; i++)
        r = bk_yield();
    return r < 0 ? r : 3;
}

static int wait_for_the_distant(void *ctx)
{
    struct distant *d = ctx;
    int result = 0, r = bk_go_threadsafe_future(d->loop, &d->future, work_distantly, d);
    if (r == 0)
        r = bk_thread_future_wait(d->future, bk_forever(), &result);
    return r < 0 ? r : result;
}

/* Whatever struck the one who waited, the task itself ends as it would have. */
static void the_distant_ends(void *ctx, int result)
{
    struct distant *d = ctx;
    (void)result;
    int r = 0, ended = 0;
    if (d->future)
        while ((r = bk_thread_future_wait(d->future, bk_forever(), &ended)) == -ENOMEM)
            ;
    if (d->future && (r < 0 || (ended != 3 && !sweep_excused())))
        sweep_lost("waiting for it says %d, it ended with %d", r, ended);
}

/* ---- Signals ---- */

struct bell {
    bk_signal *signal;
    bool rung, heard;
};

static int open_bell(void *ctx)
{
    return bk_signal_open(&((struct bell *)ctx)->signal, SIGUSR2);
}

static void close_bell(void *ctx)
{
    bk_signal_close(&((struct bell *)ctx)->signal);
}

static int ring(void *ctx)
{
    struct bell *b = ctx;
    int r = bk_yield();
    if (r == 0)
        r = bk_yield();
    if (r == 0) {
        b->rung = true;
        raise(SIGUSR2);
        r = bk_yield();
    }
    return r;
}

static int listen_to_the_bell(void *ctx)
{
    struct bell *b = ctx;
    int r = bk_signal_wait(b->signal);
    b->heard = r == 1;
    return r;
}

static void the_bell_is_heard(void *ctx, int result)
{
    struct bell *b = ctx;
    (void)result;
    if (b->rung && !b->heard && bk_signal_wait(b->signal) != 1)
        sweep_lost("the signal was lost");
}

#define JOB .state_size = sizeof(struct job), .open = open_job, .close = close_job
#define DISTANT .state_size = sizeof(struct distant), .close = close_distant
#define WIRE .state_size = sizeof(struct wire), .close = close_wire

static const struct sweep_scenario scenarios[] = {
    {.name = "thread, running", JOB, .subject = call_and_stay, .helpers = {let_it_go}, .want = 3,
     .check = called_once_or_never},
    {.name = "thread, brief", JOB, .subject = call_briefly, .want = 3,
     .check = called_once_or_never},
    {.name = "thread, queued", JOB, .subject = call_and_stay,
     .helpers = {take_the_thread, let_it_go}, .want = 3, .check = called_behind_another},
    {.name = "thread, abandoned", JOB, .subject = call_and_abandon, .helpers = {let_it_go},
     .want = 3, .check = returned_or_abandoned},
    {.name = "thread, abandoned in the queue", JOB, .subject = call_and_abandon,
     .helpers = {take_the_thread, let_it_go}, .want = 3, .check = returned_or_abandoned},
    {.name = "receive from a thread", WIRE, .open = open_wire_to_sender, .subject = receive_all,
     .check = thread_has_sent_all},
    {.name = "send to a thread", WIRE, .open = open_wire_to_receiver, .subject = send_all,
     .check = thread_has_got_all},
    {.name = "tasks from a thread", .state_size = sizeof(struct visitors), .open = open_visitors,
     .close = close_visitors, .subject = receive_visitors, .helpers = {invite_slowly},
     .check = all_visitors_arrive},
    {.name = "task of another loop", DISTANT, .open = open_distant,
     .subject = wait_for_the_distant, .want = 3, .check = the_distant_ends},
    {.name = "task of the same loop", DISTANT, .open = open_same,
     .subject = wait_for_the_distant, .want = 3, .check = the_distant_ends},
    {.name = "signal", .state_size = sizeof(struct bell), .open = open_bell, .close = close_bell,
     .subject = listen_to_the_bell, .helpers = {ring}, .want = 1, .check = the_bell_is_heard},
};

SWEEP_MAIN(scenarios)
