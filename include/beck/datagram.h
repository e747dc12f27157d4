/* SPDX-License-Identifier: MIT
 * Datagrams: UDP, and Unix sockets of that kind.
 *
 *     bk_datagram *socket = NULL;
 *     bk_msg *msg = NULL;
 *     bk_address from;
 *     int r = bk_datagram_open(&socket, &(bk_datagram_opts){.local = "127.0.0.1:5000"});
 *     while (r >= 0 && (r = bk_datagram_recv(socket, &msg, &from)) > 0) {
 *         r = bk_datagram_send_to(socket, &from, bk_msg_data(msg), bk_msg_len(msg));
 *         bk_msg_free(&msg);
 *     }
 *     return bk_datagram_close(&socket, r);
 *
 * One task at a time receives (-EBUSY for a second), any number send.  What the network says of an
 * earlier datagram (-ECONNREFUSED: nobody listens there) is the error of the next call on a
 * connected socket, whichever that is, and changes nothing: call again.
 *
 * Everything here is for the loop thread; what suspends is for tasks, and fails with -ECANCELED in
 * a cancelled one. */
#ifndef BECK_DATAGRAM_H
#define BECK_DATAGRAM_H

#include <beck/msg.h>
#include <beck/run.h>

BK_BEGIN_DECLS

/* ---- Addresses: where a datagram came from, and where one goes; values to copy and keep ---- */

typedef struct bk_address {
    uint32_t len;      /* 0: none */
    uint64_t room[14]; /* the kernel's form of it */
} bk_address;

/* Reads "127.0.0.1:53", "[fe80::1%eth0]:53", "unix:/path" or "unix:@name"; bk_resolve makes such
 * text of a name.  Returns 0, or -BK_EURL.  Never suspends; any thread. */
BK_API int bk_address_parse(bk_address *out, const char *text);

#define BK_ADDRESS_TEXT 448 /* bytes enough for every address and its NUL */

/* Writes an address as bk_address_parse reads it, NUL-terminated, cut to size; "" for none.
 * Returns text.  Any thread. */
BK_API const char *bk_address_format(const bk_address *address, char *text, size_t size);

/* Whether two are the same host and port, or Unix socket.  Any thread. */
BK_API bool bk_address_equal(const bk_address *a, const bk_address *b);

/* ---- Sockets ---- */

typedef struct bk_datagram bk_datagram;

typedef struct bk_datagram_opts {
    /* Where to receive: "127.0.0.1:5000", ":5000" for every interface, "unix:/path" (a file where
     * nobody receives any more is replaced), "unix:@name".  Default: a port the kernel chooses when
     * the first datagram is sent. */
    const char *local;
    /* Connects: bk_datagram_send goes there, and nothing is received from anywhere else.  A host
     * name is looked up, and its first address taken.  Default: not connected. */
    const char *remote;
    size_t max_size;   /* longest datagram to receive, in bytes; default 65,535, which takes any */
    bool reuse_port;   /* several sockets may have the local port: the kernel spreads what comes */
    bool broadcast;    /* sending to broadcast addresses is allowed */
    bool ipv6_only;    /* ":5000" and "[::]:5000" take no IPv4; by default they take both */
    int recv_buffer;   /* bytes the kernel keeps for us, 0 for its default; more are dropped */
    int send_buffer;   /* bytes the kernel takes before a sender waits, 0 for its default */
    int multicast_ttl; /* routers that a multicast may pass, plus one; default 1 */
    bool multicast_no_loop; /* multicasts sent here do not come back to this host */
} bk_datagram_opts;

/* Opens a socket.  With neither local nor remote it is an IP socket that sends anywhere.
 * out: NULL on entry; bk_datagram_close it.
 * Suspends only to look a name up.  Returns 0; -BK_EURL, -BK_ERESOLVE, -EADDRINUSE, -EACCES, ...;
 * -EINVAL when local and remote are of different kinds; -EMFILE, -ENOMEM, -ECANCELED.
 * asyncio: create_datagram_endpoint. */
BK_API int bk_datagram_open(bk_datagram **out, const bk_datagram_opts *opts);

/* The same of a datagram socket that is open already.  On success it owns fd; on failure fd is
 * still yours.  opts: its max_size counts.  Does not suspend.
 * -EINVAL when fd is no datagram socket. */
BK_API int bk_datagram_from_fd(bk_datagram **out, int fd, const bk_datagram_opts *opts);

/* Receives the next datagram, which may be empty.
 * msg: NULL on entry, yours after (bk_msg_free).  from: NULL, or filled with its sender's address
 * (none for a Unix socket that has no name).
 * Suspends until one comes.  Returns 1; -EMSGSIZE for one over max_size, which is dropped (the text
 * says from where, and how long it was); -ECANCELED, nothing lost; -EBUSY; -ENOMEM, the datagram
 * is dropped; or what the network says of an earlier datagram. */
BK_API int bk_datagram_recv(bk_datagram *datagram, bk_msg **msg, bk_address *from);

/* Sends a datagram, to the connected address or to a given one.  data is yours again when the call
 * returns.
 * Suspends while the kernel's buffer is full; datagrams leave in the order of the calls.
 * Returns 0: it is on its way, which is all that datagrams promise; -EMSGSIZE: too long, nothing
 * sent; -EDESTADDRREQ: not connected; -EISCONN: connected, and to somebody else; -EAFNOSUPPORT: to
 * is of another kind than the socket; -ECANCELED: not sent; or what the network says of an earlier
 * datagram, this one not sent. */
BK_API int bk_datagram_send(bk_datagram *datagram, const void *data, size_t len);
BK_API int bk_datagram_send_to(bk_datagram *datagram, const bk_address *to, const void *data,
                               size_t len);

/* The same, but never suspends: -EAGAIN while the buffer is full or others wait.  to: NULL for the
 * connected address. */
BK_API int bk_datagram_try_send(bk_datagram *datagram, const bk_address *to, const void *data,
                                size_t len);

/* Joins or leaves a multicast group ("239.1.2.3", "ff02::123") on a network interface ("eth0"; NULL
 * for the kernel's choice).  Returns 0, -EINVAL (no such address), -ENODEV (no such interface),
 * -EADDRINUSE (joined already), -EADDRNOTAVAIL (leaving what was not joined). */
BK_API int bk_datagram_join(bk_datagram *datagram, const char *group, const char *interface);
BK_API int bk_datagram_leave(bk_datagram *datagram, const char *group, const char *interface);

/* Where it receives and where it is connected, "" for nowhere.  Valid while the socket is. */
BK_API const char *bk_datagram_local(bk_datagram *datagram);
BK_API const char *bk_datagram_remote(bk_datagram *datagram);

/* The file descriptor, for socket options.  It stays the socket's. */
BK_API int bk_datagram_fd(const bk_datagram *datagram);

/* Closes *datagram and sets it to NULL; its Unix socket file is removed if it is still the same.
 * What the kernel has taken is still sent.  NULL is fine.  Does not suspend.
 * Returns r; -EBUSY, and nothing is closed: a task is inside a call on it. */
BK_API int bk_datagram_close(bk_datagram **datagram, int r);

BK_END_DECLS
#endif
