/* SPDX-License-Identifier: MIT
 * "beck pipe": builds a flow from the command line, runs it, shows it, and ends it in order. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <beck/error.h>
#include <beck/group.h>
#include <beck/signal.h>
#include <beck/task.h>

#include "cli/cli.h"

#define DRAW_MS 100
#define FAILURES_SHOWN 10

struct pipe_run {
    struct cli_args args;
    bk_flow *flow;
    bk_task *task; /* that runs the flow */
    int result;    /* of bk_flow_run */
    char error[512];
    int status; /* exit status decided by a signal or the drain's time; 0: by the result */
    unsigned n_failures_shown;
    bool ended;
};

/* ---- Events of the flow ---- */

static void show_failure(struct pipe_run *run, const bk_flow_event *event)
{
    if (run->args.on_error == BK_ON_ERROR_STOP)
        return; /* the flow ends with the same words */
    unsigned n = ++run->n_failures_shown;
    if (n <= FAILURES_SHOWN || run->args.verbose)
        cli_say("%s: %s", event->where, event->text);
    else if (n == FAILURES_SHOWN + 1)
        cli_say("further items that fail are only counted (-v shows them)");
}

static void on_event(void *ctx, const bk_flow_event *event)
{
    struct pipe_run *run = ctx;
    if (run->args.quiet)
        return;
    if (event->kind == BK_FLOW_ITEM_FAILED)
        show_failure(run, event);
    else
        cli_say("%s: %s", event->where, event->text);
}

/* ---- Building ---- */

/* What is wrong with a URL; of the URL itself what holds no secrets: no user, no options, no
 * query. */
static int usage(const char *url, const char *detail)
{
    size_t len = strcspn(url, "?#");
    const char *at = memchr(url, '@', len), *slashes = strstr(url, "//");
    if (at && slashes && slashes < at)
        cli_say("%.*s***%.*s: %s", (int)(slashes + 2 - url), url, (int)(len - (size_t)(at - url)),
                at, detail);
    else
        cli_say("%.*s: %s", (int)len, url, detail);
    return CLI_USAGE;
}

static int build_stage(bk_flow *flow, const struct cli_stage *stage)
{
    int r = 0;
    bk_msg_fn *fn = NULL;
    switch (stage->kind) {
    case CLI_WHERE:
        r = bk_flow_where(flow, stage->text);
        break;
    case CLI_JQ:
        r = bk_flow_jq(flow, stage->text);
        break;
    case CLI_SO:
        if (cli_plugin_load(stage->text, &fn) != CLI_OK)
            return CLI_USAGE;
        r = bk_flow_map(flow, fn, NULL,
                        &(bk_stage_opts){.name = stage->text,
                                         .parallel = stage->parallel,
                                         .ordered = stage->ordered});
        break;
    }
    if (r == 0)
        return CLI_OK;
    cli_say("%s", bk_errmsg());
    return r == -ENOMEM ? CLI_FAILED : CLI_USAGE;
}

static int build(struct pipe_run *run)
{
    const struct cli_args *args = &run->args;
    bk_flow_opts opts = {
        .limit = (size_t)args->in_flight,
        .max_bytes = (size_t)args->memory,
        .on_error = args->on_error,
        .on_event = on_event,
        .event_ctx = run,
    };
    if (bk_flow_new(&run->flow, &opts) < 0)
        return CLI_FAILED;
    for (size_t i = 0; i < args->n_sources; i++)
        if (bk_flow_from(run->flow, args->sources[i]) < 0)
            return usage(args->sources[i], bk_errmsg());
    for (size_t i = 0; i < args->n_stages; i++) {
        int status = build_stage(run->flow, &args->stages[i]);
        if (status != CLI_OK)
            return status;
    }
    if (args->limit && bk_flow_take(run->flow, args->limit) < 0)
        return CLI_FAILED;
    for (size_t i = 0; i < args->n_sinks; i++)
        if (bk_flow_to(run->flow, args->sinks[i]) < 0)
            return usage(args->sinks[i], bk_errmsg());
    return CLI_OK;
}

/* ---- The tasks beside the flow ---- */

static int run_flow(void *ctx)
{
    struct pipe_run *run = ctx;
    run->result = bk_flow_run(run->flow);
    if (run->result < 0)
        snprintf(run->error, sizeof run->error, "%s",
                 bk_errmsg()[0] ? bk_errmsg() : bk_strerror(run->result));
    run->ended = true;
    return 0;
}

static void stop_at_once(struct pipe_run *run, int status)
{
    if (run->ended)
        return;
    run->status = status;
    bk_task_cancel(run->task);
}

static void drain(struct pipe_run *run, const char *why)
{
    bk_flow_stats stats;
    bk_flow_stats_get(run->flow, &stats);
    if (!run->args.quiet)
        cli_say("%s: taking no more, finishing %llu in flight (again to stop at once)", why,
                (unsigned long long)stats.in_flight);
    bk_flow_drain(run->flow);
}

/* The first signal drains, within a time; the second stops; a third finds the default action. */
static int handle_signal(struct pipe_run *run, bk_signal **signal, int signo, const char *name)
{
    int r = bk_signal_wait(*signal);
    if (r < 0)
        return r;
    bk_flow_stats stats;
    bk_flow_stats_get(run->flow, &stats);
    if (!stats.draining) {
        drain(run, name);
        bk_timeout *limit = NULL;
        r = bk_timeout_open(&limit, run->args.drain);
        if (r < 0)
            return r;
        r = bk_timeout_close(&limit, bk_signal_wait(*signal));
        if (r == -ETIMEDOUT) {
            cli_say("not finished after --drain, stopping");
            stop_at_once(run, CLI_NOT_DRAINED);
        }
        if (r < 0)
            return r == -ETIMEDOUT ? 0 : r;
    }
    bk_signal_close(signal);
    stop_at_once(run, CLI_SIGNAL + signo);
    return 0;
}

static int watch_signal(struct pipe_run *run, int signo, const char *name)
{
    bk_signal *signal = NULL;
    int r = bk_signal_open(&signal, signo);
    if (r == 0)
        r = handle_signal(run, &signal, signo, name);
    bk_signal_close(&signal);
    return r;
}

static int watch_interrupt(void *ctx)
{
    return watch_signal(ctx, SIGINT, "interrupted");
}

static int watch_terminate(void *ctx)
{
    return watch_signal(ctx, SIGTERM, "asked to end");
}

static int watch_dump(void *ctx)
{
    (void)ctx;
    bk_signal *signal = NULL;
    int r = bk_signal_open(&signal, SIGUSR1);
    while (r >= 0 && (r = bk_signal_wait(signal)) > 0)
        (void)bk_dump(STDERR_FILENO);
    bk_signal_close(&signal);
    return r;
}

static int end_in_time(void *ctx)
{
    struct pipe_run *run = ctx;
    int r = bk_sleep(run->args.for_time);
    if (r == 0)
        bk_flow_drain(run->flow);
    return r;
}

/* The rate shown is that of about the last second. */
static int show_progress(void *ctx)
{
    struct pipe_run *run = ctx;
    double rate = 0;
    uint64_t before = 0;
    int r = 0;
    while (r == 0) {
        bk_flow_stats stats;
        bk_flow_stats_get(run->flow, &stats);
        double now = (double)(stats.received - before) * 1000 / DRAW_MS;
        rate = before == 0 ? now : rate + (now - rate) / 10;
        before = stats.received;
        cli_screen_draw(&stats, rate);
        r = bk_sleep(bk_ms(DRAW_MS));
    }
    return r;
}

static int show_stats(void *ctx)
{
    struct pipe_run *run = ctx;
    int r;
    while ((r = bk_sleep(run->args.stats)) == 0) {
        bk_flow_stats stats;
        bk_flow_stats_get(run->flow, &stats);
        cli_print_stats(&stats);
    }
    return r;
}

/* ---- The whole ---- */

static int run_beside(struct pipe_run *run, bk_group *tasks)
{
    int r = bk_group_go(tasks, watch_interrupt, run, NULL);
    if (r == 0)
        r = bk_group_go(tasks, watch_terminate, run, NULL);
    if (r == 0)
        r = bk_group_go(tasks, watch_dump, run, NULL);
    if (r == 0 && cli_screen_live())
        r = bk_group_go(tasks, show_progress, run, NULL);
    if (r == 0 && run->args.stats.ns)
        r = bk_group_go(tasks, show_stats, run, NULL);
    if (r == 0 && run->args.for_time.ns)
        r = bk_group_go(tasks, end_in_time, run, NULL);
    if (r == 0)
        r = bk_yield(); /* the signals are watched before anything is opened */
    if (r == 0)
        r = bk_group_go_task(tasks, &run->task, run_flow, run, NULL);
    if (r == 0)
        r = bk_task_wait(run->task, NULL);
    bk_task_free(&run->task);
    bk_group_cancel(tasks);
    return r;
}

static int status_of(const struct pipe_run *run, const bk_flow_stats *stats)
{
    if (run->status)
        return run->status;
    if (run->result >= 0)
        return CLI_OK;
    if (!stats->started)
        return CLI_UNAVAILABLE;
    return run->result == -BK_EFORMAT ? CLI_BAD_DATA : CLI_FAILED;
}

static int pipe_main(void *ctx)
{
    struct pipe_run *run = ctx;
    bk_group *tasks = NULL;
    int status = build(run);
    if (status != CLI_OK) {
        bk_flow_free(&run->flow);
        return status;
    }
    int r = bk_group_open(&tasks, NULL);
    if (r == 0)
        r = bk_group_close(&tasks, run_beside(run, tasks));
    if (r < 0 && run->result >= 0)
        run->result = r;
    bk_flow_stats stats;
    bk_flow_stats_get(run->flow, &stats);
    cli_screen_close();
    if (run->result < 0 && run->result != -ECANCELED)
        cli_say("%s", run->error[0] ? run->error : bk_strerror(run->result));
    if (run->args.stats.ns)
        cli_print_stats(&stats);
    if (!run->args.quiet && stats.started)
        cli_print_summary(&stats);
    status = status_of(run, &stats);
    bk_flow_free(&run->flow);
    return status;
}

static bool to_stdout(const struct cli_args *args)
{
    for (size_t i = 0; i < args->n_sinks; i++)
        if (strcmp(args->sinks[i], "-") == 0)
            return true;
    return false;
}

int cli_pipe(int argc, char **argv)
{
    static struct pipe_run run;
    int status = cli_args_read(&run.args, argc, argv);
    if (status != CLI_OK)
        return status;
    if (run.args.help) {
        fputs(cli_help_pipe, stdout);
        return CLI_OK;
    }
    cli_screen_open(run.args.quiet ? CLI_PROGRESS_NEVER : run.args.progress, to_stdout(&run.args));
    /* A reader that left, and a file at its limit, are results of a write, not the end of the
     * process. */
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);
    int r = bk_run(pipe_main, &run, &(bk_run_opts){.no_signals = true});
    if (r < 0) {
        cli_say("%s", bk_errmsg()[0] ? bk_errmsg() : bk_strerror(r));
        return CLI_FAILED;
    }
    return r;
}
