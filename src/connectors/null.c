/* SPDX-License-Identifier: MIT
 * The connector "null:": a sink that takes everything and keeps nothing. */
#include "connectors/connector.h"

static int sink_write(void *self, struct bki_batch *batch)
{
    (void)self, (void)batch;
    return 0;
}

static const struct bki_sink_ops sink_ops = {.write = sink_write};

static int add_sink(bk_flow *flow, const struct bki_target *target)
{
    return bki_flow_add_sink(flow, &sink_ops, NULL, target->name, NULL);
}

const struct bki_connector bki_connector_null = {
    .info = {.scheme = "null",
             .usage = "null:",
             .about = "Takes everything and keeps nothing: for measuring and trying out.",
             .sink = true},
    .add_sink = add_sink,
};
