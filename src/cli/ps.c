/* SPDX-License-Identifier: MIT
 * "beck ps" and "beck tree": the tasks of another process. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <beck/error.h>
#include <beck/inspect.h>

#include "cli/cli.h"

struct ps_args {
    int pid;
    bk_snapshot_opts opts;
};

static int usage(const char *command, const char *problem, const char *what)
{
    cli_say("beck %s: %s%s%s ('beck %s --help')", command, problem, what ? " " : "",
            what ? what : "", command);
    return CLI_USAGE;
}

static bool read_number(const char *text, uint64_t most, uint64_t *out)
{
    return text && cli_parse_count(text, out) && *out <= most;
}

static int read_option(struct ps_args *args, const char *command, char **argv, int *i)
{
    const char *name = argv[*i];
    uint64_t n;
    if (strcmp(name, "--all") == 0) {
        args->opts.siblings = BK_UNBOUNDED;
    } else if (strcmp(name, "--no-stacks") == 0) {
        args->opts.no_stacks = true;
    } else if (strcmp(name, "--retries") == 0) {
        if (!read_number(argv[++*i], 1000000, &n))
            return usage(command, "--retries wants a number", NULL);
        args->opts.retries = n ? (unsigned)n : 1;
    } else {
        return usage(command, "no option", name);
    }
    return CLI_OK;
}

/* CLI_OK, -1 after help was shown, or CLI_USAGE. */
static int read_args(struct ps_args *args, const char *command, int argc, char **argv)
{
    *args = (struct ps_args){0};
    for (int i = 0; i < argc; i++) {
        uint64_t pid;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(cli_help_ps, stdout);
            return -1;
        }
        int r = CLI_OK;
        if (argv[i][0] == '-')
            r = read_option(args, command, argv, &i);
        else if (args->pid || !read_number(argv[i], INT32_MAX, &pid) || pid == 0)
            r = usage(command, args->pid ? "one process at a time, not also" : "no process number:",
                      argv[i]);
        else
            args->pid = (int)pid;
        if (r != CLI_OK)
            return r;
    }
    return args->pid ? CLI_OK : usage(command, "the number of a process is missing", NULL);
}

static int show(const char *command, enum bk_snapshot_form form, int argc, char **argv)
{
    struct ps_args args;
    bk_snapshot *snapshot = NULL;
    int r = read_args(&args, command, argc, argv);
    if (r != CLI_OK)
        return r < 0 ? CLI_OK : r;
    r = bk_snapshot_take(&snapshot, args.pid, &args.opts);
    if (r < 0) {
        cli_say("%s", bk_errmsg());
        return CLI_FAILED;
    }
    size_t n;
    bk_snapshot_tasks(snapshot, &n);
    if (n == 0)
        cli_say("process %d runs no loop just now", args.pid);
    else
        r = bk_snapshot_write(snapshot, STDOUT_FILENO, form);
    bk_snapshot_free(&snapshot);
    if (r < 0 && r != -EPIPE)
        cli_say("standard output: %s", bk_strerror(r));
    return r < 0 ? CLI_FAILED : CLI_OK;
}

int cli_ps(int argc, char **argv)
{
    return show("ps", BK_TABLE, argc, argv);
}

int cli_tree(int argc, char **argv)
{
    return show("tree", BK_TREE, argc, argv);
}
