/* SPDX-License-Identifier: MIT
 * The ends of a channel: they are the channel, counted by side. */
#include "rt/channel.h"

static struct bk_channel *of_sender(bk_sender *sender)
{
    return (struct bk_channel *)(void *)sender;
}

static struct bk_channel *of_receiver(bk_receiver *receiver)
{
    return (struct bk_channel *)(void *)receiver;
}

int bk_channel_open(bk_sender **sender, bk_receiver **receiver, const bk_channel_opts *opts)
{
    bk_channel *channel = NULL;
    int r = bk_channel_new(&channel, opts);
    if (r < 0)
        return r;
    atomic_init(&channel->n_senders, 1);
    atomic_init(&channel->n_receivers, 1);
    *sender = (bk_sender *)(void *)channel;
    *receiver = (bk_receiver *)(void *)bk_channel_ref(channel);
    return 0;
}

bk_sender *bk_sender_ref(bk_sender *sender)
{
    atomic_fetch_add(&of_sender(sender)->n_senders, 1);
    bk_channel_ref(of_sender(sender));
    return sender;
}

bk_receiver *bk_receiver_ref(bk_receiver *receiver)
{
    atomic_fetch_add(&of_receiver(receiver)->n_receivers, 1);
    bk_channel_ref(of_receiver(receiver));
    return receiver;
}

void bk_sender_free(bk_sender **sender)
{
    bk_channel *channel = *sender ? of_sender(*sender) : NULL;
    *sender = NULL;
    if (channel && atomic_fetch_sub(&channel->n_senders, 1) == 1)
        bki_channel_end(channel, false);
    bk_channel_free(&channel);
}

void bk_receiver_free(bk_receiver **receiver)
{
    bk_channel *channel = *receiver ? of_receiver(*receiver) : NULL;
    *receiver = NULL;
    if (channel && atomic_fetch_sub(&channel->n_receivers, 1) == 1)
        bki_channel_end(channel, true);
    bk_channel_free(&channel);
}

bk_channel *bk_sender_channel(bk_sender *sender)
{
    return of_sender(sender);
}

bk_channel *bk_receiver_channel(bk_receiver *receiver)
{
    return of_receiver(receiver);
}
