/* SPDX-License-Identifier: MIT
 * Texts for results, and the detail behind the last failure of a task or a thread. */
#include <beck/error.h>

#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/error_slot.h"

static _Atomic(struct bki_error_slot *(*)(void)) slot_hook;
static __thread char thread_text[BKI_ERROR_TEXT_SIZE];

/* Stands in for a text that there was no memory for; never written, never freed. */
static char no_detail[] = "(no detail: out of memory)";

void bki_error_slot_hook_set(struct bki_error_slot *(*running_task_slot)(void))
{
    atomic_store_explicit(&slot_hook, running_task_slot, memory_order_release);
}

static struct bki_error_slot *task_slot(void)
{
    struct bki_error_slot *(*hook)(void) = atomic_load_explicit(&slot_hook, memory_order_acquire);
    return hook ? hook() : NULL;
}

void bki_error_slot_free(struct bki_error_slot *slot)
{
    if (slot->text != no_detail)
        bki_free(slot->text);
    slot->text = NULL;
}

const char *bki_error_slot_text(const struct bki_error_slot *slot)
{
    return slot->text ? slot->text : "";
}

/* Copies text (shorter than BKI_ERROR_TEXT_SIZE) to where the caller's detail lives. */
static void set_text(const char *text)
{
    char *home = thread_text;
    struct bki_error_slot *slot = task_slot();
    if (slot) {
        if (!slot->text || slot->text == no_detail) {
            if (!*text && !slot->text)
                return;
            slot->text = bki_alloc(BKI_ERROR_TEXT_SIZE);
        }
        if (!slot->text) {
            slot->text = no_detail;
            return;
        }
        home = slot->text;
    }
    memmove(home, text, strlen(text) + 1);
}

void bki_error_slot_adopt(const struct bki_error_slot *from)
{
    set_text(bki_error_slot_text(from));
}

void bki_error_slot_copy(struct bki_error_slot *to, const struct bki_error_slot *from)
{
    if (!from->text)
        return;
    to->text = bki_alloc(BKI_ERROR_TEXT_SIZE);
    if (to->text)
        memcpy(to->text, from->text, strlen(from->text) + 1);
    else
        to->text = no_detail;
}

void bki_error_slot_clear(void)
{
    set_text("");
}

/* A text cut in the middle of a UTF-8 sequence loses the whole sequence. */
static void trim_cut_sequence(char *text, size_t len)
{
    size_t start = len;
    while (start > 0 && len - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t need = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (need > 1 && len - (start - 1) < need)
        text[start - 1] = '\0';
}

/* The arguments may point into the text being replaced: bk_fail(r, "open: %s", bk_errmsg()). */
static BK_PRINTF(2, 0) void set_detail(const char *suffix, const char *format, va_list args)
{
    char text[BKI_ERROR_TEXT_SIZE];
    int saved_errno = errno;
    int n = vsnprintf(text, sizeof text, format, args);
    if (n < 0)
        text[n = 0] = '\0';
    if (suffix && (size_t)n < sizeof text)
        n += snprintf(text + n, sizeof text - (size_t)n, ": %s", suffix);
    if ((size_t)n >= sizeof text)
        trim_cut_sequence(text, sizeof text - 1);
    set_text(text);
    errno = saved_errno;
}

int bk_fail(int result, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_detail(NULL, format, args);
    va_end(args);
    return result;
}

int bki_fail_errno(int err, const char *format, ...)
{
    const char *reason = bk_strerror(err);
    va_list args;
    va_start(args, format);
    set_detail(reason, format, args);
    va_end(args);
    return err < 0 ? err : -err;
}

const char *bk_errmsg(void)
{
    struct bki_error_slot *slot = task_slot();
    return slot ? bki_error_slot_text(slot) : thread_text;
}

const char *bk_strerror(int result)
{
    static __thread char unknown[sizeof "error 4294967295"];
    unsigned number = result < 0 ? 0u - (unsigned)result : (unsigned)result;
    switch (number) {
#define BK_ERROR_CASE(name, value, text)                                                           \
    case name:                                                                                     \
        return text;
        BK_ERRORS(BK_ERROR_CASE)
#undef BK_ERROR_CASE
    default:
        break;
    }
    /* strerror would follow the locale, and is not safe in threads */
    const char *text = number <= INT_MAX ? strerrordesc_np((int)number) : NULL;
    if (text)
        return text;
    snprintf(unknown, sizeof unknown, "error %u", number);
    return unknown;
}
