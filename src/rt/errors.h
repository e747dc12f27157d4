/* SPDX-License-Identifier: MIT
 * How lists of failures grow. */
#ifndef BECK_SRC_RT_ERRORS_H
#define BECK_SRC_RT_ERRORS_H

#include <beck/errors.h>

/* Appends a copy of report to *list, which it makes when NULL.  False when there is no memory or
 * the list is full: then nothing is added. */
bool bki_errors_add(bk_errors **list, const bk_error_report *report);

#endif
