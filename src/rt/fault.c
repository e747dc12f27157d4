/* SPDX-License-Identifier: MIT
 * The stack overflow report: a SIGSEGV handler on a stack of its own. */
#include "rt/fault.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "rt/rt.h"
#include "rt/symbol.h"

#define SIGNAL_STACK_SIZE ((size_t)64 * 1024)

struct bki_fault {
    stack_t before; /* the thread's signal stack until now */
    char memory[SIGNAL_STACK_SIZE];
};

/* snprintf and the symbol lookup are not on the list of async-signal-safe functions; the process is
 * lost anyway, and the fault was a plain store on a task's stack, not one inside the C library's
 * locks. */
static void report(const struct bki_stack *stack)
{
    const struct bk_task *task = stack->owner;
    char text[512], label[BKI_NAME_MAX * 2], site[64];
    if (!task)
        return;
    long offset = bki_symbol_name(task->spawn_site, site, sizeof site);
    int n = snprintf(
        text, sizeof text,
        "beck: stack overflow in task #%llu %s (started in %s+0x%lx; its stack has %zu KiB: "
        "see bk_task_opts.stack_size)\n",
        (unsigned long long)task->id, bki_task_label(task, label, sizeof label),
        offset >= 0 ? site : "?", offset >= 0 ? offset : 0L, bki_stack_size(stack) / 1024);
    if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
        return;
}

static void on_fault(int signo, siginfo_t *info, void *context)
{
    (void)context;
    if (bki_has_loop()) {
        struct bki_stack *stack = bki_stack_of_guard(&bki_loop->stacks, info->si_addr);
        if (stack)
            report(stack);
    }
    /* The instruction runs again on return, and the default action takes the process. */
    struct sigaction default_action = {.sa_handler = SIG_DFL};
    sigaction(signo, &default_action, NULL);
}

int bki_fault_open(struct bk_loop *loop)
{
    loop->fault = bki_zalloc(sizeof *loop->fault);
    if (!loop->fault)
        return bk_fail(-ENOMEM, "no memory for the signal stack");
    sigaltstack(NULL, &loop->fault->before);
    if (loop->fault->before.ss_flags & SS_DISABLE) {
        stack_t mine = {.ss_sp = loop->fault->memory, .ss_size = sizeof loop->fault->memory};
        sigaltstack(&mine, NULL);
    }
    const int signals[] = {SIGSEGV, SIGBUS};
    for (int i = 0; i < 2; i++) {
        struct sigaction old;
        sigaction(signals[i], NULL, &old);
        if (!(old.sa_flags & SA_SIGINFO) && old.sa_handler == SIG_DFL) {
            struct sigaction mine = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
            sigaction(signals[i], &mine, NULL);
        }
    }
    return 0;
}

/* The handlers stay: another thread's loop may need them, and without a loop they only restore the
 * default. */
void bki_fault_close(struct bk_loop *loop)
{
    if (!loop->fault)
        return;
    stack_t now;
    sigaltstack(NULL, &now);
    if (now.ss_sp == loop->fault->memory)
        sigaltstack(&loop->fault->before, NULL);
    bki_free(loop->fault);
    loop->fault = NULL;
}
