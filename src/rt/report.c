/* SPDX-License-Identifier: MIT
 * Telling the program of failures that nobody saw. */
#include "rt/report.h"

#include <stdio.h>
#include <unistd.h>

#include "rt/local.h"

/* What happened must be seen: the only thing besides the deadlock report that the library prints by
 * itself, and a program replaces it by on_error. */
void bki_report_print(void *ctx, const bk_error_report *report)
{
    (void)ctx;
    char id[24] = "";
    if (report->task_id)
        snprintf(id, sizeof id, "#%llu ", (unsigned long long)report->task_id);
    const char *who = report->task[0] ? report->task : report->call;
    /* "what: #3 name: failure: detail (origin)", without what there is not. */
    const char *failure = report->result < 0 ? bk_strerror(report->result) : "";
    const char *parts[] = {report->what, who, failure, report->detail};
    char text[1024];
    size_t len = 0;
    for (size_t i = 0; i < 4; i++) {
        if (!parts[i][0] || len >= sizeof text)
            continue;
        int n = snprintf(text + len, sizeof text - len, "%s%s%s", len ? ": " : "", i == 1 ? id : "",
                         parts[i]);
        len += n > 0 ? (size_t)n : 0;
    }
    bool origin = report->origin && report->origin[0];
    dprintf(STDERR_FILENO, "beck: %s%s%s%s\n", text, origin ? " (" : "",
            origin ? report->origin : "", origin ? ")" : "");
}

/* The program's handler runs as if outside any task, so that whatever it does cannot suspend the
 * one that happens to run; and what goes wrong inside it is printed, lest it call itself. */
static void call_handler(struct bk_loop *loop, const bk_error_report *report)
{
    struct bk_task *current = loop->current;
    struct bki_locals *locals = bki_locals_share(); /* it sees those of what failed */
    loop->current = &loop->scheduler;
    locals = bki_locals_enter(locals);
    loop->reporting = true;
    loop->opts.on_error(loop->opts.on_error_ctx, report);
    loop->reporting = false;
    bki_locals_leave(locals);
    loop->current = current;
}

void bki_report(const bk_error_report *given)
{
    bk_error_report report = *given;
    report.task = report.task ? report.task : "";
    report.call = report.call ? report.call : "";
    report.detail = report.detail ? report.detail : "";
    report.origin = report.origin ? report.origin : "";
    if (bki_has_loop() && !bki_loop->reporting)
        call_handler(bki_loop, &report);
    else
        bki_report_print(NULL, &report);
}
