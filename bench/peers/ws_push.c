/* SPDX-License-Identifier: MIT
 * The load of the WebSocket benchmarks: a server that pushes small JSON text messages to one client
 * after the other, from memory.
 *
 * ws_push PORT.  A client asks for "/MESSAGES/BATCH": so many messages (rounded up to whole
 * blocks), BATCH of them in a write, or 0: 64 KiB a write, wherever that cuts.  Then it is sent a
 * close frame, and waited for. */
#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>

#include "tcp.h"

enum { BLOCK = 4000, WRITE = 65536 };

static char block[BLOCK * 130];
static size_t starts[BLOCK + 1];

static unsigned next_random(unsigned below)
{
    static uint64_t state = 0x9e3779b97f4a7c15u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 16) % below;
}

/* Trades: about 120 bytes each, in frames with a header of two. */
static void fill_block(void)
{
    size_t at = 0;
    for (int i = 0; i < BLOCK; i++) {
        char *frame = block + at;
        starts[i] = at;
        int n = snprintf(frame + 2, 126,
                         "{\"type\":\"trade\",\"symbol\":\"C%02u-EUR\",\"price\":%u.%02u,"
                         "\"size\":0.%06u,\"side\":\"%s\",\"time\":16900000%08u,\"id\":%07d}",
                         next_random(50), 10000 + next_random(50000), next_random(100),
                         next_random(1000000), next_random(2) ? "sell" : "buy",
                         next_random(100000000), 2000000 + i);
        frame[0] = (char)0x81;
        frame[1] = (char)n;
        at += 2 + (size_t)n;
    }
    starts[BLOCK] = at;
}

static int send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Reads the request and accepts it, whatever it is. */
static int shake_hands(int fd, long *messages, long *batch)
{
    static const char field[] = "Sec-WebSocket-Key:";
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char head[4096], key[41], text[100], answer[300];
    unsigned char digest[20], accept[32];
    size_t len = 0;
    do {
        ssize_t n = recv(fd, head + len, sizeof head - 1 - len, 0);
        if (n <= 0)
            return -1;
        len += (size_t)n;
        head[len] = '\0';
    } while (!strstr(head, "\r\n\r\n"));
    const char *at = strcasestr(head, field);
    if (sscanf(head, "GET /%ld/%ld", messages, batch) != 2 || !at ||
        sscanf(at + sizeof field - 1, " %40s", key) != 1)
        return -1;
    int n = snprintf(text, sizeof text, "%s%s", key, guid);
    EVP_Digest(text, (size_t)n, digest, NULL, EVP_sha1(), NULL);
    EVP_EncodeBlock(accept, digest, sizeof digest);
    n = snprintf(answer, sizeof answer,
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                 accept);
    return send_all(fd, answer, (size_t)n);
}

static int push_block(int fd, long batch)
{
    int r = 0;
    if (batch == 0)
        for (size_t at = 0; at < starts[BLOCK] && r == 0; at += WRITE)
            r = send_all(fd, block + at, starts[BLOCK] - at < WRITE ? starts[BLOCK] - at : WRITE);
    else
        for (long i = 0; i < BLOCK && r == 0; i += batch) {
            long end = i + batch < BLOCK ? i + batch : BLOCK;
            r = send_all(fd, block + starts[i], starts[end] - starts[i]);
        }
    return r;
}

static void serve(int fd)
{
    long messages, batch;
    char scrap[1000];
    struct timeval limit = {.tv_sec = 5};
    int r = shake_hands(fd, &messages, &batch);
    for (long sent = 0; r == 0 && sent < messages; sent += BLOCK)
        r = push_block(fd, batch);
    if (r == 0)
        send_all(fd, "\x88\x02\x03\xe8", 4);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    while (recv(fd, scrap, sizeof scrap, 0) > 0)
        ;
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    fill_block();
    int listener = tcp_listen(argv[1], 0);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0)
            serve(fd);
    }
}
