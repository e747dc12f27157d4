/* SPDX-License-Identifier: MIT
 * The thread that an object for tasks belongs to. */
#include "rt/report.h"
#include "rt/sync.h"

int bki_home_check(struct bki_home *home, const char *what)
{
    if (home->thread)
        return bki_fail_foreign(what);
    home->thread = &bki_loop;
    return 0;
}

void bki_home_report(const char *what)
{
    char text[96];
    snprintf(text, sizeof text, "a %s was not freed: tasks of another thread wait for it", what);
    bk_error_report report = {.what = text, .result = -EPERM};
    bki_report(&report);
}
