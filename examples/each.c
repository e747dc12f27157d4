/* SPDX-License-Identifier: MIT
 * Runs a command for each line of its input, several at once, and prints what each says in one
 * piece: a small xargs -P.
 *
 *     ls | each -j 4 sha256sum
 *
 * In asyncio: a TaskGroup with a Semaphore, create_subprocess_exec and communicate. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <beck.h>

#define MAX_ARGS 64

static const char usage[] =
    "usage: each [-j N] COMMAND [ARGUMENT...]\n"
    "Runs COMMAND ARGUMENT... LINE for each LINE of its input, at most N (8) at\n"
    "once.  Ends with 1 when one of them did not end with 0.\n";

struct each {
    char **command; /* ends with NULL */
    size_t at_once;
    int n_failed;
};

/* The task of a line; the message that it owns is the line. */
static int run_for_line(void *ctx, bk_msg **msg)
{
    struct each *each = ctx;
    char line[4096];
    const char *argv[MAX_ARGS + 2];
    int n = 0, code = 0;
    snprintf(line, sizeof line, "%.*s", (int)bk_msg_len(*msg), bk_msg_data(*msg));
    while (each->command[n] && n < MAX_ARGS) {
        argv[n] = each->command[n];
        n++;
    }
    argv[n++] = line;
    argv[n] = NULL;
    bk_process *process = NULL;
    bk_msg *out = NULL;
    int r = bk_process_exec(&process, argv, &(bk_process_opts){.in = BK_DEVNULL, .out = BK_PIPE});
    if (r == 0)
        r = bk_process_communicate(process, bk_span_str(""), &out, NULL, NULL);
    if (r == 0)
        r = bk_process_wait(process, &code);
    if (r == 0) {
        fwrite(bk_msg_data(out), 1, bk_msg_len(out), stdout);
        each->n_failed += code != 0;
    }
    bk_msg_free(&out);
    return bk_process_close(&process, r);
}

static int run_for_lines(struct each *each, bk_stream *input, bk_group *tasks)
{
    bk_span line;
    int r;
    while ((r = bk_stream_read_line(input, &line)) > 0) {
        bk_msg *msg = NULL;
        r = bk_msg_copy(&msg, line.data, line.len);
        if (r == 0)
            r = bk_group_go_msg(tasks, run_for_line, each, &msg); /* waits while N are running */
        bk_msg_free(&msg);
        if (r < 0)
            break;
    }
    return r;
}

static int run(void *ctx)
{
    struct each *each = ctx;
    bk_stream *input = NULL;
    bk_group *tasks = NULL;
    int r = bk_stream_from_fd(&input, STDIN_FILENO, NULL);
    if (r < 0)
        return r;
    r = bk_group_open(&tasks, &(bk_group_opts){.limit = each->at_once});
    if (r == 0)
        r = run_for_lines(each, input, tasks);
    r = bk_group_close(&tasks, r);
    return bk_stream_close(&input, r);
}

int main(int argc, char **argv)
{
    struct each each = {.at_once = 8};
    int option;
    while ((option = getopt(argc, argv, "+j:h")) != -1) {
        if (option == 'j')
            each.at_once = strtoul(optarg, NULL, 10);
        if (option != 'j' || each.at_once == 0) {
            fputs(usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    each.command = argv + optind;
    if (optind == argc || argc - optind > MAX_ARGS) {
        fputs(usage, stderr);
        return 2;
    }
    int r = bk_run(run, &each, NULL);
    if (r < 0)
        fprintf(stderr, "each: %s\n", bk_errmsg()[0] ? bk_errmsg() : bk_strerror(r));
    return r < 0 || each.n_failed > 0;
}
