/* SPDX-License-Identifier: MIT
 * Looks a code address up in the symbol table of the file it was loaded from.  Without allocating:
 * the report of a stack overflow needs it too. */
#include "rt/symbol.h"

#include <errno.h>

#include "base/elf_image.h"

struct module {
    uint64_t address;
    uint64_t bias;
    const char *path;
};

static int find_module(struct dl_phdr_info *info, size_t size, void *ctx)
{
    (void)size;
    struct module *module = ctx;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        uint64_t start = info->dlpi_addr + ph->p_vaddr;
        if (ph->p_type == PT_LOAD && module->address >= start &&
            module->address - start < ph->p_memsz) {
            module->bias = info->dlpi_addr;
            module->path =
                info->dlpi_name && info->dlpi_name[0] ? info->dlpi_name : "/proc/self/exe";
            return 1;
        }
    }
    return 0;
}

long bki_symbol_name(const void *addr, char *buf, size_t size)
{
    struct module module = {.address = (uint64_t)(uintptr_t)addr};
    struct bki_elf elf;
    if (!dl_iterate_phdr(find_module, &module) || bki_elf_open(&elf, module.path) < 0)
        return -ENOENT;
    long offset = bki_elf_function(&elf, module.address - module.bias, buf, size);
    bki_elf_close(&elf);
    return offset;
}
