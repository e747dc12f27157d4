/* SPDX-License-Identifier: MIT
 * Taking turns at long computations. */
#include "rt/turn.h"

static const struct bki_wait_kind wait_turn = {.what = "turn to compute"};

static struct bki_waiter *first_of(struct bki_list *line)
{
    struct bki_list *first = bki_list_first(line);
    return first ? bki_container(first, struct bki_waiter, link) : NULL;
}

/* Who is due: NULL when nobody waits. */
static struct bki_waiter *next_of(struct bki_turn *turn)
{
    struct bki_waiter *w = first_of(&turn->lines[BKI_TURN_USES]);
    return w ? w : first_of(&turn->lines[BKI_TURN_MAKES]);
}

/* Tells who is due, and leaves it in its line: somebody who runs before it may come first. */
static void wake_next(struct bki_turn *turn)
{
    struct bki_waiter *w = turn->taken ? NULL : next_of(turn);
    if (w)
        bki_wake(w->task);
}

int bki_turn_take(enum bki_turn_line line)
{
    struct bki_turn *turn = &bki_loop->turn;
    struct bki_waiter w = {.task = bki_self()};
    bool waited = false;
    int r = bki_check_cancel();
    if (r < 0)
        return r;
    bki_list_push_back(&turn->lines[line], &w.link);
    bki_crowd_join(&turn->crowd);
    while (r == 0 && (turn->taken || next_of(turn) != &w)) {
        if (!waited)
            bki_task_trim(w.task); /* the line may be long */
        waited = true;
        r = bki_park(&wait_turn, turn);
    }
    bki_list_remove(&w.link);
    bki_crowd_leave(&turn->crowd);
    if (r == 0)
        turn->taken = true;
    else
        wake_next(turn); /* it may have been told in vain */
    return r < 0 ? r : waited;
}

void bki_turn_give(void)
{
    struct bki_turn *turn = &bki_loop->turn;
    turn->taken = false;
    bki_crowd_look(&turn->crowd);
    wake_next(turn);
}
