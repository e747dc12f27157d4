/* SPDX-License-Identifier: MIT
 * Tests of pipes as streams. */
#include <sys/resource.h>

#include "net/net_test.h"

LOOP_TEST(P7_what_is_written_to_a_pipe_can_be_read)
{
    bk_stream *reader = NULL, *writer = NULL;
    bk_span line;
    CHECK_EQ(bk_pipe_open(&reader, &writer, NULL), 0);
    CHECK_EQ(bk_stream_write(writer, "one\ntwo", 7), 0);
    CHECK_EQ(bk_stream_close(&writer, 0), 0);
    CHECK_EQ(bk_stream_read_line(reader, &line), 1);
    CHECK_MEM(line.data, line.len, "one", 3);
    CHECK_EQ(bk_stream_read_line(reader, &line), 1);
    CHECK_MEM(line.data, line.len, "two", 3);
    CHECK_EQ(bk_stream_read_line(reader, &line), 0);
    CHECK_EQ(bk_stream_close(&reader, 0), 0);
}

LOOP_TEST(P7_a_pipe_without_reader_is_an_error_and_no_signal)
{
    bk_stream *reader = NULL, *writer = NULL;
    CHECK_EQ(bk_pipe_open(&reader, &writer, NULL), 0);
    CHECK_EQ(bk_stream_close(&reader, 0), 0);
    CHECK_EQ(bk_stream_write(writer, "x", 1), -EPIPE);
    CHECK_EQ(bk_stream_close(&writer, -1), -1);
}

LOOP_TEST(P6_a_stream_has_its_descriptor_alone)
{
    bk_stream *reader = NULL, *writer = NULL;
    CHECK_EQ(bk_pipe_open(&reader, &writer, NULL), 0);
    int fd = bk_stream_fd(writer);
    CHECK_EQ(bk_fd_wait(fd, BK_WRITABLE, bk_forever()), -EBUSY);
    CHECK_EQ(bk_fd_close(fd), -EBUSY);
    CHECK_EQ(bk_stream_close(&writer, 0), 0);
    CHECK_EQ(bk_fd_wait(fd, BK_WRITABLE, bk_forever()), -EBADF);
    CHECK_EQ(bk_stream_close(&reader, 0), 0);
}

LOOP_TEST(P7_out_of_descriptors_leaves_nothing_behind)
{
    bk_stream *reader = NULL, *writer = NULL;
    struct rlimit before, less;
    getrlimit(RLIMIT_NOFILE, &before);
    int next = dup(0);
    close(next);
    less = (struct rlimit){(rlim_t)next + 1, before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &less);
    int r = bk_pipe_open(&reader, &writer, NULL);
    setrlimit(RLIMIT_NOFILE, &before);
    CHECK_EQ(r, -EMFILE);
    CHECK(!reader && !writer);
}

CHECK_MAIN(TEST(P7_what_is_written_to_a_pipe_can_be_read),
           TEST(P7_a_pipe_without_reader_is_an_error_and_no_signal),
           TEST(P6_a_stream_has_its_descriptor_alone),
           TEST(P7_out_of_descriptors_leaves_nothing_behind))
