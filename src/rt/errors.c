/* SPDX-License-Identifier: MIT
 * Lists of failures. */
#include "rt/errors.h"

#include "base/alloc.h"

#define MAX_ERRORS 1024

struct bk_errors {
    size_t n, room;
    bk_error_report *reports; /* .task and .detail are allocated */
};

size_t bk_errors_count(const bk_errors *errors)
{
    return errors ? errors->n : 0;
}

const bk_error_report *bk_errors_get(const bk_errors *errors, size_t i)
{
    return i < bk_errors_count(errors) ? &errors->reports[i] : NULL;
}

static void free_texts(const bk_error_report *report)
{
    bki_free((char *)(uintptr_t)report->task);
    bki_free((char *)(uintptr_t)report->detail);
}

void bk_errors_free(bk_errors **errors)
{
    bk_errors *list = *errors;
    *errors = NULL;
    if (!list)
        return;
    for (size_t i = 0; i < list->n; i++)
        free_texts(&list->reports[i]);
    bki_free(list->reports);
    bki_free(list);
}

static bool make_room(bk_errors *list)
{
    if (list->n < list->room)
        return true;
    size_t room = list->room ? 2 * list->room : 4;
    bk_error_report *reports = bki_realloc_array(list->reports, room, sizeof *reports);
    if (!reports)
        return false;
    list->reports = reports;
    list->room = room;
    return true;
}

bool bki_errors_add(bk_errors **list, const bk_error_report *report)
{
    if (!*list && !(*list = bki_zalloc(sizeof **list)))
        return false;
    bk_errors *errors = *list;
    if (errors->n >= MAX_ERRORS || !make_room(errors))
        return false;
    bk_error_report copy = *report;
    copy.call = copy.origin = "";
    copy.task = bki_strdup(report->task);
    copy.detail = bki_strdup(report->detail);
    if (!copy.task || !copy.detail) {
        free_texts(&copy);
        return false;
    }
    errors->reports[errors->n++] = copy;
    return true;
}
