/* SPDX-License-Identifier: MIT
 * The beck command: finds the subcommand. */
#include <stdio.h>

#include "cli/cli.h"

static int cli_help(int argc, char **argv)
{
    const char *topic = argc > 0 ? argv[0] : "";
    bool looks = strcmp(topic, "ps") == 0 || strcmp(topic, "tree") == 0;
    fputs(looks ? cli_help_ps : strcmp(topic, "pipe") == 0 ? cli_help_pipe : cli_help_main, stdout);
    return CLI_OK;
}

static int cli_version(int argc, char **argv)
{
    (void)argc, (void)argv;
    printf("beck %s\n", bk_version());
    return CLI_OK;
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv); /* the arguments behind the name */
} commands[] = {
    {"pipe", cli_pipe},       {"list", cli_list},         {"info", cli_info},   {"ps", cli_ps},
    {"tree", cli_tree},       {"help", cli_help},         {"--help", cli_help}, {"-h", cli_help},
    {"version", cli_version}, {"--version", cli_version}, {"-V", cli_version},
};

#define N_COMMANDS (sizeof commands / sizeof *commands)

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs(cli_help_main, stderr);
        return CLI_USAGE;
    }
    const char *names[N_COMMANDS + 1] = {NULL};
    for (size_t i = 0; i < N_COMMANDS; i++) {
        names[i] = commands[i].name;
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 2, argv + 2);
    }
    const char *near = cli_nearest(argv[1], names);
    if (near)
        cli_say("no command %s: did you mean %s?", argv[1], near);
    else
        cli_say("no command %s ('beck --help' lists them)", argv[1]);
    return CLI_USAGE;
}
