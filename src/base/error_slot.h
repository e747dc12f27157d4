/* SPDX-License-Identifier: MIT
 * Where the detail text of a failure lives, and the internal ways to set it.
 *
 * A slot is one pointer, so that a task can embed one; its text is allocated by the first failure.
 * Which slot is meant is asked only when a failure is reported, by calling the hook that the
 * runtime registers: a task switch pays nothing.  Without a running task each thread has a text of
 * its own. */
#ifndef BECK_SRC_BASE_ERROR_SLOT_H
#define BECK_SRC_BASE_ERROR_SLOT_H

#include <beck/error.h>

#define BKI_ERROR_TEXT_SIZE 256

struct bki_error_slot {
    char *text; /* NULL: no failure yet; else BKI_ERROR_TEXT_SIZE bytes, or a static text */
};

/* Registers the function that returns the running task's slot, or NULL outside a task.  It must
 * neither fail nor suspend.  Called once for all threads; calling it again with the same function
 * is harmless. */
void bki_error_slot_hook_set(struct bki_error_slot *(*running_task_slot)(void));

/* Frees the text; the slot is then as if zero-initialised. */
void bki_error_slot_free(struct bki_error_slot *slot);

/* Sets the caller's detail to that of `from` (a child task's slot, say), or to "" when it has none.
 */
void bki_error_slot_adopt(const struct bki_error_slot *from);

/* Gives `to`, an empty slot, a copy of the text in `from`. */
void bki_error_slot_copy(struct bki_error_slot *to, const struct bki_error_slot *from);

/* Sets the caller's detail to "": for a failure that has none of its own. */
void bki_error_slot_clear(void);

/* The text in a slot; "" when there is none. */
const char *bki_error_slot_text(const struct bki_error_slot *slot);

/* bk_fail for a system error: appends ": " and the error's text, returns the error negated.
 * err: errno's value, of either sign. */
int bki_fail_errno(int err, const char *format, ...) BK_PRINTF(2, 3);

#endif
