/* SPDX-License-Identifier: MIT
 * What the files of the beck command share: exit statuses, arguments, messages.
 *
 * The command is a user of the library like any other: it includes <beck.h> and nothing of src/. */
#ifndef BECK_SRC_CLI_CLI_H
#define BECK_SRC_CLI_CLI_H

#include <beck/flow.h>
#include <beck/run.h>

enum {
    CLI_OK = 0,
    CLI_FAILED = 1,       /* something failed while running */
    CLI_USAGE = 2,        /* the command line is wrong */
    CLI_BAD_DATA = 65,    /* an item was not what a stage or sink takes */
    CLI_UNAVAILABLE = 69, /* a source or sink could not be opened */
    CLI_NOT_DRAINED = 75, /* --drain ran out */
    CLI_SIGNAL = 128,     /* plus its number: stopped by a second signal */
};

/* ---- cli/parse.c: "64", "10k"; "250ms", "1.5s", "2m", "1h"; "64KiB".  False: not one. ---- */

bool cli_parse_count(const char *text, uint64_t *out);
bool cli_parse_duration(const char *text, bk_duration *out);
bool cli_parse_size(const char *text, uint64_t *out);
/* Of words (NULL at the end) the one most like text, NULL when none is. */
const char *cli_nearest(const char *text, const char *const *words);

/* ---- cli/args.c ---- */

enum cli_stage_kind { CLI_WHERE, CLI_JQ, CLI_SO };

struct cli_stage {
    enum cli_stage_kind kind;
    const char *text; /* the expression, or PATH:FUNCTION */
    size_t parallel;
    bool ordered;
};

enum cli_progress { CLI_PROGRESS_AUTO, CLI_PROGRESS_ALWAYS, CLI_PROGRESS_NEVER };

#define CLI_NODES_MAX 64

struct cli_args {
    const char *sources[CLI_NODES_MAX], *sinks[CLI_NODES_MAX];
    struct cli_stage stages[CLI_NODES_MAX];
    size_t n_sources, n_sinks, n_stages;
    uint64_t limit; /* -n; 0: none */
    uint64_t in_flight, memory;
    bk_duration drain, for_time, stats;
    enum bk_on_error on_error;
    enum cli_progress progress;
    bool quiet, verbose, help;
};

/* Reads the arguments behind "beck pipe".  Returns CLI_OK, or CLI_USAGE after one line on
 * stderr. */
int cli_args_read(struct cli_args *args, int argc, char **argv);

/* ---- cli/screen.c: stderr, with a line at the bottom that is drawn anew ---- */

void cli_screen_open(enum cli_progress progress, bool data_on_stdout);
bool cli_screen_live(void);
/* One line "beck: ..." above the progress line. */
void cli_say(const char *format, ...) BK_PRINTF(1, 2);
void cli_screen_draw(const bk_flow_stats *stats, double per_second);
void cli_screen_close(void);
void cli_print_summary(const bk_flow_stats *stats);
void cli_print_stats(const bk_flow_stats *stats);

/* ---- The subcommands; each returns the exit status ---- */

int cli_pipe(int argc, char **argv);
int cli_info(int argc, char **argv);
int cli_list(int argc, char **argv);
int cli_ps(int argc, char **argv);
int cli_tree(int argc, char **argv);

extern const char cli_help_main[], cli_help_pipe[], cli_help_ps[];

/* ---- cli/plugin.c ---- */

/* Loads the function of "PATH:FUNCTION" into *out; it stays loaded.  CLI_OK, or CLI_USAGE after one
 * line on stderr. */
int cli_plugin_load(const char *text, bk_msg_fn **out);

#endif
