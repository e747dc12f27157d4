/* SPDX-License-Identifier: MIT
 * Telling the program of failures that nobody saw. */
#ifndef BECK_SRC_RT_REPORT_H
#define BECK_SRC_RT_REPORT_H

#include "rt/rt.h"

/* Calls on_error of this thread's loop.  Texts may be NULL: the program gets "". */
void bki_report(const bk_error_report *given);

/* The on_error of a program that has none: one line on stderr. */
void bki_report_print(void *ctx, const bk_error_report *report);

#endif
