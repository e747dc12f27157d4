/* SPDX-License-Identifier: MIT
 * What the scenarios of asyncio_traces share: saying words, and Python's names for things.
 *
 * A scenario is the main function of a run on the virtual clock.  It uses the public API alone, in
 * the plainest way: whoever knows the Python it stands for (the comment above it says the call)
 * should be able to read it. */
#ifndef BECK_TESTS_TRACES_H
#define BECK_TESTS_TRACES_H

#include <beck.h>

/* Errors of the scenarios' own. */
enum { VALUE_ERROR = -EDOM, KEY_ERROR = -ENOKEY };

/* Adds a word to the trace. */
void say(const char *format, ...) BK_PRINTF(1, 2);

/* "True" or "False". */
const char *py_bool(bool b);

/* The result as Python prints it: a number, or the name of its exception. */
const char *py_result(int result);

/* ctx: the word. */
int say_word(void *ctx);

/* Waits for n turns of the loop. */
void ticks(int n);

struct scenario {
    const char *name;
    bk_fn *run;
};

/* Each ends with a NULL name. */
extern const struct scenario loop_scenarios[], task_scenarios[], wait_scenarios[],
    timeout_scenarios[];

#endif
