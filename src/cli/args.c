/* SPDX-License-Identifier: MIT
 * The arguments of "beck pipe". */
#include <stdio.h>

#include "cli/cli.h"

enum option {
    OPT_TO,
    OPT_WHERE,
    OPT_JQ,
    OPT_SO,
    OPT_PARALLEL,
    OPT_ORDERED,
    OPT_LIMIT,
    OPT_IN_FLIGHT,
    OPT_MEMORY,
    OPT_ON_ERROR,
    OPT_DRAIN,
    OPT_FOR,
    OPT_STATS,
    OPT_PROGRESS,
    OPT_QUIET,
    OPT_VERBOSE,
    OPT_HELP,
    N_OPTIONS
};

static const struct {
    const char *name;
    char letter;
    bool takes_value;
} options[N_OPTIONS] = {
    [OPT_TO] = {"--to", 0, true},
    [OPT_WHERE] = {"--where", 0, true},
    [OPT_JQ] = {"--jq", 0, true},
    [OPT_SO] = {"--so", 0, true},
    [OPT_PARALLEL] = {"--parallel", 0, true},
    [OPT_ORDERED] = {"--ordered", 0, false},
    [OPT_LIMIT] = {"--limit", 'n', true},
    [OPT_IN_FLIGHT] = {"--in-flight", 0, true},
    [OPT_MEMORY] = {"--memory", 0, true},
    [OPT_ON_ERROR] = {"--on-error", 0, true},
    [OPT_DRAIN] = {"--drain", 0, true},
    [OPT_FOR] = {"--for", 0, true},
    [OPT_STATS] = {"--stats", 0, true},
    [OPT_PROGRESS] = {"--progress", 0, true},
    [OPT_QUIET] = {"--quiet", 'q', false},
    [OPT_VERBOSE] = {"--verbose", 'v', false},
    [OPT_HELP] = {"--help", 'h', false},
};

static int wrong(const char *option, const char *value, const char *wanted)
{
    cli_say("%s %s: %s", option, value, wanted);
    return CLI_USAGE;
}

static int unknown(const char *arg)
{
    const char *names[N_OPTIONS + 1] = {NULL};
    char name[64];
    for (int i = 0; i < N_OPTIONS; i++)
        names[i] = options[i].name;
    size_t len = strcspn(arg, "=");
    snprintf(name, sizeof name, "%.*s", (int)(len < 60 ? len : 60), arg);
    const char *near = cli_nearest(name, names);
    if (near)
        cli_say("no option %s: did you mean %s?", name, near);
    else
        cli_say("no option %s ('beck pipe --help' lists them)", name);
    return CLI_USAGE;
}

/* ---- Single options ---- */

static int add_stage(struct cli_args *args, enum cli_stage_kind kind, const char *text,
                     const struct cli_stage *defaults)
{
    if (args->n_stages == CLI_NODES_MAX)
        return wrong("stages", "", "there are too many");
    struct cli_stage *stage = &args->stages[args->n_stages++];
    *stage = *defaults;
    stage->kind = kind;
    stage->text = text;
    return CLI_OK;
}

/* What --parallel and --ordered are about: the --so before them, or all that follow. */
static struct cli_stage *modified(struct cli_args *args, struct cli_stage *defaults)
{
    if (args->n_stages == 0)
        return defaults;
    struct cli_stage *last = &args->stages[args->n_stages - 1];
    return last->kind == CLI_SO ? last : NULL;
}

static int set_parallel(struct cli_args *args, struct cli_stage *defaults, const char *value)
{
    uint64_t n = 1;
    struct cli_stage *stage = modified(args, defaults);
    if (!stage)
        return wrong("--parallel", value ? value : "",
                     "stands behind a --so, or before all stages");
    if (!cli_parse_count(value, &n) || n < 1 || n > 1000000)
        return wrong("--parallel", value, "a number from 1 to 1000000 is wanted");
    stage->parallel = (size_t)n;
    return CLI_OK;
}

static int set_ordered(struct cli_args *args, struct cli_stage *defaults)
{
    struct cli_stage *stage = modified(args, defaults);
    if (!stage)
        return wrong("--ordered", "", "stands behind a --so, or before all stages");
    stage->ordered = true;
    return CLI_OK;
}

static int set_count(const char *name, const char *value, uint64_t *out)
{
    if (!cli_parse_count(value, out) || *out == 0)
        return wrong(name, value, "a number from 1 on is wanted");
    return CLI_OK;
}

static int set_size(const char *name, const char *value, uint64_t *out)
{
    if (!cli_parse_size(value, out) || *out == 0)
        return wrong(name, value, "a size such as 64MiB is wanted");
    return CLI_OK;
}

static int set_duration(const char *name, const char *value, bk_duration *out)
{
    if (!cli_parse_duration(value, out) || out->ns == 0)
        return wrong(name, value, "a time such as 500ms, 10s or 2m is wanted");
    return CLI_OK;
}

static int set_word(const char *name, const char *value, const char *const *words, int *out)
{
    char wanted[64] = "one of";
    for (*out = 0; words[*out]; ++*out) {
        if (strcmp(words[*out], value) == 0)
            return CLI_OK;
        size_t len = strlen(wanted);
        snprintf(wanted + len, sizeof wanted - len, " %s", words[*out]);
    }
    return wrong(name, value, wanted);
}

static int add_sink(struct cli_args *args, const char *url)
{
    if (args->n_sinks == CLI_NODES_MAX)
        return wrong("--to", url, "there are too many sinks");
    args->sinks[args->n_sinks++] = url;
    return CLI_OK;
}

static int set_option(struct cli_args *args, struct cli_stage *defaults, enum option option,
                      const char *value)
{
    static const char *const policies[] = {"stop", "skip", NULL};
    static const char *const whens[] = {"auto", "always", "never", NULL};
    const char *name = options[option].name;
    int word, r;
    switch (option) {
    case OPT_TO:
        return add_sink(args, value);
    case OPT_WHERE:
        return add_stage(args, CLI_WHERE, value, defaults);
    case OPT_JQ:
        return add_stage(args, CLI_JQ, value, defaults);
    case OPT_SO:
        return add_stage(args, CLI_SO, value, defaults);
    case OPT_PARALLEL:
        return set_parallel(args, defaults, value);
    case OPT_ORDERED:
        return set_ordered(args, defaults);
    case OPT_LIMIT:
        return set_count(name, value, &args->limit);
    case OPT_IN_FLIGHT:
        return set_count(name, value, &args->in_flight);
    case OPT_MEMORY:
        return set_size(name, value, &args->memory);
    case OPT_ON_ERROR:
        r = set_word(name, value, policies, &word);
        args->on_error = word == 1 ? BK_ON_ERROR_SKIP : BK_ON_ERROR_STOP;
        return r;
    case OPT_DRAIN:
        return set_duration(name, value, &args->drain);
    case OPT_FOR:
        return set_duration(name, value, &args->for_time);
    case OPT_STATS:
        return set_duration(name, value, &args->stats);
    case OPT_PROGRESS:
        r = set_word(name, value, whens, &word);
        args->progress = (enum cli_progress)word;
        return r;
    case OPT_QUIET:
        args->quiet = true;
        return CLI_OK;
    case OPT_VERBOSE:
        args->verbose = true;
        return CLI_OK;
    default:
        args->help = true;
        return CLI_OK;
    }
}

/* ---- The whole line ---- */

/* "--limit", "--limit=5", "-n", "-n5".  The option, and *inline_value, NULL if the value is the
 * next argument; N_OPTIONS when there is none of that name. */
static enum option find_option(const char *arg, const char **inline_value)
{
    size_t len = strcspn(arg, "=");
    for (int i = 0; i < N_OPTIONS; i++) {
        if (strlen(options[i].name) == len && strncmp(options[i].name, arg, len) == 0) {
            *inline_value = arg[len] ? arg + len + 1 : NULL;
            return (enum option)i;
        }
        if (options[i].letter && arg[1] == options[i].letter &&
            (!arg[2] || options[i].takes_value)) {
            *inline_value = arg[2] ? arg + 2 : NULL;
            return (enum option)i;
        }
    }
    return N_OPTIONS;
}

static int read_option(struct cli_args *args, struct cli_stage *defaults, int argc, char **argv,
                       int *i)
{
    const char *value = NULL, *arg = argv[*i];
    enum option option = find_option(arg, &value);
    if (option == N_OPTIONS)
        return unknown(arg);
    if (!options[option].takes_value && value)
        return wrong(options[option].name, value, "it takes no value");
    if (options[option].takes_value && !value) {
        if (++*i == argc)
            return wrong(options[option].name, "", "a value is missing behind it");
        value = argv[*i];
    }
    return set_option(args, defaults, option, value);
}

int cli_args_read(struct cli_args *args, int argc, char **argv)
{
    struct cli_stage defaults = {.parallel = 1};
    *args = (struct cli_args){.drain = bk_seconds(20)};
    for (int i = 0; i < argc; i++) {
        int r = CLI_OK;
        if (argv[i][0] == '-' && argv[i][1])
            r = read_option(args, &defaults, argc, argv, &i);
        else if (args->n_sources == CLI_NODES_MAX)
            r = wrong("sources", argv[i], "there are too many");
        else
            args->sources[args->n_sources++] = argv[i];
        if (r != CLI_OK || args->help)
            return r;
    }
    if (args->n_sources == 0) {
        cli_say("no source; for example: beck pipe file:trades.ndjson --where '.price > 5' --to -");
        return CLI_USAGE;
    }
    if (args->n_sinks == 0)
        return add_sink(args, "-");
    return CLI_OK;
}
