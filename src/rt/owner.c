/* SPDX-License-Identifier: MIT
 * The list of loops alive, and the question whether an object is another thread's. */
#include "rt/owner.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "rt/report.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
struct bki_list bki_loops = {&bki_loops, &bki_loops};
static uint64_t last_id;

void bki_loops_add(struct bk_loop *loop)
{
    pthread_mutex_lock(&mutex);
    loop->id = ++last_id;
    loop->thread_id = gettid();
    bki_list_push_back(&bki_loops, &loop->loops_link);
    pthread_mutex_unlock(&mutex);
}

void bki_loops_remove(struct bk_loop *loop)
{
    pthread_mutex_lock(&mutex);
    bki_list_remove(&loop->loops_link);
    pthread_mutex_unlock(&mutex);
}

void bki_loops_each(void (*visit)(void *ctx, struct bk_loop *loop), void *ctx)
{
    pthread_mutex_lock(&mutex);
    for (struct bki_list *n = bki_list_first(&bki_loops); n; n = bki_list_next(&bki_loops, n))
        visit(ctx, bki_container(n, struct bk_loop, loops_link));
    pthread_mutex_unlock(&mutex);
}

void bki_loops_before_fork(void)
{
    pthread_mutex_lock(&mutex);
}

void bki_loops_after_fork(bool in_child)
{
    if (in_child)
        bki_list_init(&bki_loops);
    pthread_mutex_unlock(&mutex);
}

static void take(struct bki_owner *owner)
{
    owner->loop = bki_has_loop() ? bki_loop : BKI_NO_OWNER;
    owner->loop_id = bki_loop->id;
}

void bki_owner_init(struct bki_owner *owner)
{
    take(owner);
}

struct search {
    const struct bki_owner *owner;
    bool found;
};

/* A loop of this very thread that does not run just now is no obstacle. */
static void see_owner(void *ctx, struct bk_loop *loop)
{
    struct search *search = ctx;
    bool elsewhere = bki_has_loop() || loop->thread_id != gettid();
    if (loop == search->owner->loop && loop->id == search->owner->loop_id)
        search->found = elsewhere;
}

static bool is_taken(const struct bki_owner *owner)
{
    struct search search = {.owner = owner};
    if (owner->loop != BKI_NO_OWNER)
        bki_loops_each(see_owner, &search);
    return search.found;
}

int bki_owner_settle(struct bki_owner *owner, const char *what)
{
    if (is_taken(owner))
        return bk_fail(-EPERM, "this %s belongs to another loop", what);
    if (bki_has_loop())
        take(owner);
    return 0;
}

bool bki_owner_refuse_free(struct bki_owner *owner, const char *what)
{
    if (bki_owner_check(owner, what) == 0)
        return false;
    char text[64];
    snprintf(text, sizeof text, "a %s was not freed: it belongs to another loop", what);
    bk_error_report report = {.what = text, .result = -EPERM};
    bki_report(&report);
    return true;
}
