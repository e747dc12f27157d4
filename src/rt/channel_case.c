/* SPDX-License-Identifier: MIT
 * Channels as cases of a select: the same waiter, in the memory of the case, and claimed by
 * whichever thread comes first. */
#include "rt/channel.h"
#include "rt/select.h"

static bk_msg **msg_of(const bk_case *c)
{
    return c->slot;
}

static int check_send(bk_case *c, struct bki_case_state *state)
{
    (void)state;
    return *msg_of(c) ? 0 : bk_fail(-EINVAL, "no message to send");
}

static int check_recv(bk_case *c, struct bki_case_state *state)
{
    (void)c, (void)state;
    return 0;
}

static int said(const bk_case *c, int r)
{
    if (r == 0 && c->kind == &bki_send_case)
        *msg_of(c) = NULL;
    return bki_channel_said(r);
}

static int try_send(bk_case *c, struct bki_case_state *state)
{
    state->channel.partner = NULL;
    return said(c, bki_channel_send_now(c->object, *msg_of(c), &state->channel.partner));
}

static int try_recv(bk_case *c, struct bki_case_state *state)
{
    state->channel.partner = NULL;
    return bki_channel_recv_now(c->object, msg_of(c), &state->channel.partner);
}

static void let_partner_go(struct bki_case_state *state)
{
    bki_channel_let_go(state->channel.partner);
}

static int join(bk_case *c, struct bki_case_state *state, struct bki_select *select)
{
    struct bk_channel *channel = c->object;
    bool sends = c->kind == &bki_send_case;
    state->channel.w = (struct bki_channel_waiter){
        .msg = sends ? *msg_of(c) : NULL,
        .state = BKI_ASLEEP, /* by the time anybody can see it */
        .task = bki_self(),
        .select = select,
        .post.run = bki_channel_arrive,
    };
    bki_list_push_back(sends ? &channel->senders : &channel->receivers, &state->channel.w.link);
    atomic_fetch_add(&channel->n_refs, 1);
    return 0;
}

/* The mutex also when it is in no line any more: who took it out may still be asking its select. */
static void leave(bk_case *c, struct bki_case_state *state)
{
    struct bk_channel *channel = c->object;
    bki_channel_lock(channel);
    if (bki_list_linked(&state->channel.w.link))
        bki_list_remove(&state->channel.w.link);
    bki_channel_unlock(channel);
    bki_channel_unref(channel);
}

static bool has_arrived(const struct bki_case_state *state)
{
    return state->channel.w.arrived;
}

static int finish(bk_case *c, struct bki_case_state *state)
{
    int r = state->channel.w.result;
    if (r == 1)
        *msg_of(c) = state->channel.w.msg;
    return said(c, r);
}

const struct bki_case_kind bki_recv_case = {
    .wait = &bki_channel_recv_kind,
    .takes = true,
    .check = check_recv,
    .try_now = try_recv,
    .after_try = let_partner_go,
    .join = join,
    .leave = leave,
    .has_arrived = has_arrived,
    .finish = finish,
};

const struct bki_case_kind bki_send_case = {
    .wait = &bki_channel_send_kind,
    .takes = true,
    .check = check_send,
    .try_now = try_send,
    .after_try = let_partner_go,
    .join = join,
    .leave = leave,
    .has_arrived = has_arrived,
    .finish = finish,
};

bk_case bk_case_recv(bk_channel *channel, bk_msg **msg)
{
    return (bk_case){.kind = &bki_recv_case, .object = channel, .slot = msg};
}

bk_case bk_case_send(bk_channel *channel, bk_msg **msg)
{
    return (bk_case){.kind = &bki_send_case, .object = channel, .slot = msg};
}
