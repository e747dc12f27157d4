/* SPDX-License-Identifier: MIT
 * Reading our own memory, or another process's by process_vm_readv. */
#include "rt/target.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

/* ---- Memory ---- */

static int read_other(pid_t pid, uint64_t address, void *buf, size_t size)
{
    struct iovec to = {buf, size}, from = {(void *)(uintptr_t)address, size};
    ssize_t n = process_vm_readv(pid, &to, 1, &from, 1, 0);
    return n < 0 ? -errno : (size_t)n == size ? 0 : -EFAULT;
}

bool bki_target_read(const struct bki_target *target, uint64_t address, void *buf, size_t size)
{
    if (target->pid)
        return read_other(target->pid, address, buf, size) == 0;
    memcpy(buf, (const void *)(uintptr_t)address, size);
    return true;
}

bool bki_target_read_cached(void *ctx, uint64_t address, void *buf, size_t size)
{
    struct bki_target *target = ctx;
    uint64_t page = address / BKI_TARGET_PAGE * BKI_TARGET_PAGE;
    if (!target->pid || address + size > page + BKI_TARGET_PAGE || page == 0)
        return bki_target_read(target, address, buf, size);
    if (page != target->page_at) {
        target->page_at = 0;
        if (!bki_target_read(target, page, target->page, BKI_TARGET_PAGE))
            return false;
        target->page_at = page;
    }
    memcpy(buf, target->page + (address - page), size);
    return true;
}

uint64_t bki_target_word(const struct bki_target *target, uint64_t address)
{
    uint64_t word = 0;
    return bki_target_read(target, address, &word, sizeof word) ? word : 0;
}

void bki_target_text(const struct bki_target *target, uint64_t address, char *buf, size_t size)
{
    size_t len = 0;
    /* Byte by byte: the text may end right before memory that cannot be read. */
    while (len < size - 1 && bki_target_read(target, address + len, &buf[len], 1) && buf[len])
        len++;
    buf[len] = '\0';
}

/* ---- Opening ---- */

static int fail_open(pid_t pid, int r)
{
    if (r == -ENOENT || r == -ESRCH)
        return bk_fail(-ESRCH, "there is no process %d", (int)pid);
    if (r == -EACCES || r == -EPERM)
        return bk_fail(-EPERM,
                       "the kernel does not let us read process %d: look as its user or as root "
                       "(and see kernel.yama.ptrace_scope, which may ask for root)",
                       (int)pid);
    return bk_fail(r, "process %d cannot be read", (int)pid);
}

/* True when the module has the table, in *address. */
static bool has_layout(struct bki_code_map *code, const struct bki_module *m, uint64_t *address)
{
    struct bki_elf_part part;
    struct bki_module *open = bki_code_map_find(code, m->start);
    if (!open || !bki_elf_section(&open->elf, BKI_LAYOUT_SECTION, &part) ||
        part.size < offsetof(struct bki_layout, loops))
        return false;
    *address = part.address + open->bias;
    return true;
}

static int check_layout(const struct bki_target *target)
{
    const struct bki_layout *l = &target->layout;
    if (memcmp(l->magic, BKI_LAYOUT_MAGIC, sizeof l->magic) != 0 ||
        l->version != BKI_LAYOUT_VERSION || l->size < sizeof *l ||
        l->task.size > BKI_MOST_TASK_SIZE)
        return bk_fail(-BK_EUNSUPPORTED,
                       "process %d has a beck whose memory layout has version %u, and this one "
                       "knows version %d: look with the beck command of that version",
                       (int)target->pid, (unsigned)l->version, BKI_LAYOUT_VERSION);
    return 0;
}

/* A process may have the runtime twice, linked in and by a library: the one with loops counts. */
static int read_layout(struct bki_target *target)
{
    bool found = false;
    for (size_t i = 0; i < target->code.n; i++) {
        uint64_t address;
        if (!has_layout(&target->code, &target->code.modules[i], &address))
            continue;
        int r = read_other(target->pid, address, &target->layout, sizeof target->layout);
        if (r < 0)
            return fail_open(target->pid, r);
        r = check_layout(target);
        if (r < 0)
            return r;
        found = true;
        uint64_t head = (uint64_t)(uintptr_t)target->layout.loops;
        if (bki_target_word(target, head) != head)
            break;
    }
    return found ? 0
                 : bk_fail(-BK_EUNSUPPORTED,
                           "process %d is no beck program (or its files have been replaced since "
                           "it was started)",
                           (int)target->pid);
}

int bki_target_open(struct bki_target *target, pid_t pid)
{
    memset(target, 0, offsetof(struct bki_target, page));
    target->pid = pid;
    int r = bki_code_map_open(&target->code, pid);
    if (r == -ENOMEM)
        return bk_fail(r, "no memory for a look at the tasks");
    if (!pid) {
        /* Without /proc the stacks have no names; that is all. */
        target->layout = bki_layout;
        return 0;
    }
    r = r < 0 ? fail_open(pid, r) : read_layout(target);
    if (r < 0)
        bki_target_close(target);
    return r;
}

void bki_target_close(struct bki_target *target)
{
    bki_code_map_close(&target->code);
}
