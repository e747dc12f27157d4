/* SPDX-License-Identifier: MIT
 * beck: asyncio for C.  Everything at once; each area has a header of its own. */
#ifndef BECK_H
#define BECK_H

#include <beck/base.h>
#include <beck/channel.h>
#include <beck/datagram.h>
#include <beck/error.h>
#include <beck/errors.h>
#include <beck/event_source.h>
#include <beck/fd.h>
#include <beck/file.h>
#include <beck/flow.h>
#include <beck/future.h>
#include <beck/gather.h>
#include <beck/group.h>
#include <beck/http.h>
#include <beck/http_client.h>
#include <beck/http_server.h>
#include <beck/inspect.h>
#include <beck/local.h>
#include <beck/loop.h>
#include <beck/msg.h>
#include <beck/parallel.h>
#include <beck/process.h>
#include <beck/queue.h>
#include <beck/resolve.h>
#include <beck/run.h>
#include <beck/select.h>
#include <beck/server.h>
#include <beck/signal.h>
#include <beck/sse.h>
#include <beck/stream.h>
#include <beck/sync.h>
#include <beck/task.h>
#include <beck/thread.h>
#include <beck/tls.h>
#include <beck/ws.h>

#endif
