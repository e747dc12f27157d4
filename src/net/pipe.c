/* SPDX-License-Identifier: MIT
 * A pipe as two streams. */
#include <fcntl.h>
#include <unistd.h>

#include <beck/fd.h>

#include "base/error_slot.h"

int bk_pipe_open(bk_stream **reader, bk_stream **writer, const bk_stream_opts *opts)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return bki_fail_errno(errno, "pipe");
    bk_stream *in = NULL, *out = NULL;
    int r = bk_stream_from_fd(&in, fds[0], opts);
    if (r == 0)
        r = bk_stream_from_fd(&out, fds[1], opts);
    if (r < 0) {
        if (!in)
            close(fds[0]);
        bk_stream_close(&in, r);
        close(fds[1]);
        return r;
    }
    *reader = in;
    *writer = out;
    return 0;
}
