/* SPDX-License-Identifier: MIT
 * beck as the guest of another main loop: here poll(2) over the terminal, as a toolkit's would be.
 *
 *     guest                     type lines; an empty line or the end of input quits
 *
 * Each line becomes a task that answers after a second; the host reads on meanwhile.  What
 * asyncio's guest mode would be. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <beck.h>

/* A task of beck's. */
static int answer(void *ctx)
{
    char *line = ctx;
    int r = bk_sleep(bk_seconds(1));
    if (r == 0)
        printf("%.3f s: %s", bk_to_seconds(bk_time_since(bk_now(), (bk_time){0})), line);
    fflush(stdout);
    free(line);
    return r;
}

/* The host's own work, when its descriptor is readable.  False: it wants to quit. */
static bool take_line(void)
{
    char text[256];
    ssize_t n = read(STDIN_FILENO, text, sizeof text - 1);
    if (n <= 1)
        return false;
    char *line = strndup(text, (size_t)n);
    if (!line || bk_go(NULL, answer, line, NULL) < 0)
        free(line);
    return true;
}

static int host(bk_loop *loop)
{
    bool reading = true;
    int left = 1;
    while (reading || left > 0) {
        struct pollfd fds[] = {
            {.fd = bk_loop_fd(loop), .events = POLLIN},
            {.fd = reading ? STDIN_FILENO : -1, .events = POLLIN},
        };
        if (fds[0].fd < 0)
            return fds[0].fd;
        poll(fds, 2, bk_poll_ms(bk_loop_timeout(loop)));
        if (fds[1].revents)
            reading = take_line();
        left = bk_loop_turn(loop);
        if (left < 0)
            return left;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        fprintf(strcmp(argv[1], "--help") == 0 ? stdout : stderr,
                "usage: guest\nAnswers each line of its input after a second.\n");
        return strcmp(argv[1], "--help") != 0;
    }
    bk_loop *loop = NULL;
    int r = bk_loop_new(&loop, NULL);
    if (r == 0)
        r = host(loop);
    r = bk_loop_close(&loop, r);
    if (r < 0)
        fprintf(stderr, "guest: %s: %s\n", bk_strerror(r), bk_errmsg());
    return r < 0;
}
