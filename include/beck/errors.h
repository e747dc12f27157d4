/* SPDX-License-Identifier: MIT
 * Lists of failures: what went wrong in a group, one entry each.
 *
 *     bk_errors *errors = NULL;
 *     int r = bk_group_open(&group, &(bk_group_opts){.errors = &errors});
 *     ...
 *     r = bk_group_close(&group, r);
 *     for (size_t i = 0; i < bk_errors_count(errors); i++)
 *         tell(bk_errors_get(errors, i)->task, bk_errors_get(errors, i)->result);
 *     bk_errors_free(&errors);
 *
 * A list is plain memory: any thread, one at a time. */
#ifndef BECK_ERRORS_H
#define BECK_ERRORS_H

#include <beck/run.h>

BK_BEGIN_DECLS

typedef struct bk_errors bk_errors;

/* How many failures it holds, the first 1,024 at most; 0 for NULL, which is what a list without
 * failures is. */
BK_API size_t bk_errors_count(const bk_errors *errors);

/* The i-th, borrowed from the list; NULL from bk_errors_count on. */
BK_API const bk_error_report *bk_errors_get(const bk_errors *errors, size_t i);

/* Frees it and empties *errors; NULL is fine. */
BK_API void bk_errors_free(bk_errors **errors);

BK_END_DECLS
#endif
