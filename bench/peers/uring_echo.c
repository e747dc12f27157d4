/* SPDX-License-Identifier: MIT
 * The limit for echo on io_uring: one receive or send in flight for each connection, submitted and
 * reaped with one system call a turn.  Usage: uring_echo PORT */
#include <liburing.h>

#include "tcp.h"

#define BUFFER_SIZE 16384
#define MAX_FD 4096

enum op { ACCEPT, RECEIVE, SEND };

static struct io_uring ring;
static char *buffers; /* one for each descriptor */

static void submit(enum op op, int fd, unsigned len)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    if (!sqe) {
        io_uring_submit(&ring);
        sqe = io_uring_get_sqe(&ring);
    }
    char *buffer = buffers + (size_t)fd * BUFFER_SIZE;
    if (op == ACCEPT)
        io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, 0);
    else if (op == RECEIVE)
        io_uring_prep_recv(sqe, fd, buffer, BUFFER_SIZE, 0);
    else
        io_uring_prep_send(sqe, fd, buffer, len, MSG_NOSIGNAL | MSG_WAITALL);
    io_uring_sqe_set_data64(sqe, (uint64_t)op << 32 | (unsigned)fd);
}

static void completed(const struct io_uring_cqe *cqe, int listener)
{
    int fd = (int)(uint32_t)cqe->user_data;
    switch ((enum op)(cqe->user_data >> 32)) {
    case ACCEPT:
        if (cqe->res >= MAX_FD)
            close(cqe->res);
        else if (cqe->res >= 0)
            submit(RECEIVE, cqe->res, 0);
        if (!(cqe->flags & IORING_CQE_F_MORE))
            submit(ACCEPT, listener, 0);
        break;
    case RECEIVE:
        cqe->res > 0 ? submit(SEND, fd, (unsigned)cqe->res) : (void)close(fd);
        break;
    case SEND:
        cqe->res >= 0 ? submit(RECEIVE, fd, 0) : (void)close(fd);
        break;
    }
}

int main(int argc, char **argv)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
                                     .cq_entries = 8192};
    int listener = tcp_listen(argc > 1 ? argv[1] : "0", 0);
    int r = io_uring_queue_init_params(1024, &ring, &params);
    buffers = aligned_alloc(4096, (size_t)MAX_FD * BUFFER_SIZE);
    if (r < 0 || !buffers) {
        fprintf(stderr, "uring_echo: %s\n", r < 0 ? "no io_uring of this kind" : "out of memory");
        return 1;
    }
    submit(ACCEPT, listener, 0);
    for (;;) {
        struct io_uring_cqe *cqe;
        unsigned head, n = 0;
        io_uring_submit_and_wait(&ring, 1);
        io_uring_for_each_cqe (&ring, head, cqe) {
            completed(cqe, listener);
            n++;
        }
        io_uring_cq_advance(&ring, n);
    }
}
