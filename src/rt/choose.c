/* SPDX-License-Identifier: MIT
 * Choosing the backend, and telling what was chosen (bk_info_get). */
#include "rt/choose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "rt/rt.h"
#include "rt/switch.h"

static int open_with(struct bk_loop *loop, const struct bki_backend *backend, const char *reason)
{
    int r = backend->open(loop);
    if (r < 0)
        return r;
    loop->backend = backend;
    loop->backend_reason = reason;
    return 0;
}

#ifndef BECK_NO_URING
/* Only these mean that the kernel does not offer io_uring here; anything else is a real failure. */
static const char *why_not_uring(int r)
{
    switch (r) {
    case -ENOSYS:
        return "this kernel has no usable io_uring (ENOSYS)";
    case -EPERM:
        return "io_uring is forbidden here (EPERM)";
    case -EINVAL:
        return "this kernel's io_uring is too old (EINVAL)";
    default:
        return NULL;
    }
}
#endif

static int choose_best(struct bk_loop *loop)
{
#ifndef BECK_NO_URING
    int r = open_with(loop, &bki_backend_uring, "the kernel allows io_uring");
    if (r == 0)
        return 0;
    const char *reason = why_not_uring(r);
    return reason ? open_with(loop, &bki_backend_epoll, reason) : r;
#else
    return open_with(loop, &bki_backend_epoll, "built without io_uring");
#endif
}

int bki_backend_choose(struct bk_loop *loop)
{
    const char *name = loop->opts.backend;
    const char *reason = "bk_run_opts.backend asks for it";
    if (!name) {
        name = getenv("BECK_BACKEND");
        reason = "BECK_BACKEND asks for it";
    }
    if (!name || !name[0])
        return choose_best(loop);
    if (strcmp(name, "epoll") == 0)
        return open_with(loop, &bki_backend_epoll, reason);
#ifndef BECK_NO_URING
    if (strcmp(name, "uring") == 0)
        return open_with(loop, &bki_backend_uring, reason);
#endif
    return bk_fail(-EINVAL, "no backend '%s' (have: epoll%s)", name,
#ifndef BECK_NO_URING
                   ", uring"
#else
                   ""
#endif
    );
}

static void fill_backend(bk_info *out, struct bk_loop *loop)
{
    out->backend = loop->backend->name;
    out->backend_reason = loop->backend_reason;
    out->features = loop->backend->features(loop);
}

void bk_info_get(bk_info *out)
{
    static __thread char kernel[2 * sizeof(((struct utsname *)0)->sysname) + 2];
    struct utsname uts;
    uname(&uts);
    snprintf(kernel, sizeof kernel, "%s %s", uts.sysname, uts.release);
    *out = (bk_info){
        .version = bk_version(),
        .backend = "none",
        .backend_reason = "no backend could be opened",
        .context_switch = BKI_SWITCH_NAME,
        .stack_guard = bki_stack_guard_name(),
        .features = "",
        .kernel = kernel,
    };
    if (bki_has_loop()) {
        fill_backend(out, bki_loop);
        return;
    }
    static __thread char features[256];
    struct bk_loop probe = {0};
    if (bki_backend_choose(&probe) < 0)
        return;
    fill_backend(out, &probe);
    snprintf(features, sizeof features, "%s", out->features);
    out->features = features;
    probe.backend->close(&probe);
}
