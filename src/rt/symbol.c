/* SPDX-License-Identifier: MIT
 * Looks a code address up in the symbol table of the file it was loaded from (ELF, System V ABI
 * chapter 4). */
#include "rt/symbol.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct module {
    uintptr_t addr;
    uintptr_t base;
    const char *path;
};

static int find_module(struct dl_phdr_info *info, size_t size, void *ctx)
{
    (void)size;
    struct module *module = ctx;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + ph->p_vaddr;
        if (ph->p_type == PT_LOAD && module->addr >= start && module->addr - start < ph->p_memsz) {
            module->base = info->dlpi_addr;
            module->path =
                info->dlpi_name && info->dlpi_name[0] ? info->dlpi_name : "/proc/self/exe";
            return 1;
        }
    }
    return 0;
}

/* A file's section headers, checked to lie inside it. */
struct image {
    const char *data;
    size_t size;
    const ElfW(Shdr) * sections;
    size_t n_sections;
};

static bool inside(const struct image *image, uint64_t offset, uint64_t len)
{
    return offset <= image->size && len <= image->size - offset;
}

static bool read_header(struct image *image)
{
    const ElfW(Ehdr) *header = (const void *)image->data;
    if (image->size < sizeof *header || header->e_shentsize != sizeof(ElfW(Shdr)))
        return false;
    image->n_sections = header->e_shnum;
    image->sections = (const void *)(image->data + header->e_shoff);
    return inside(image, header->e_shoff, (uint64_t)header->e_shnum * sizeof(ElfW(Shdr)));
}

/* Searches one symbol table for the function that holds the address `want` (relative to the load
 * base). */
static long search_table(const struct image *image, const ElfW(Shdr) * table, uint64_t want,
                         char *buf, size_t size)
{
    if (table->sh_link >= image->n_sections || !inside(image, table->sh_offset, table->sh_size))
        return -ENOENT;
    const ElfW(Shdr) *strings = &image->sections[table->sh_link];
    if (!inside(image, strings->sh_offset, strings->sh_size))
        return -ENOENT;
    const ElfW(Sym) *symbols = (const void *)(image->data + table->sh_offset);
    for (size_t i = 0; i < table->sh_size / sizeof *symbols; i++) {
        const ElfW(Sym) *s = &symbols[i];
        if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || s->st_shndx == SHN_UNDEF)
            continue;
        if (want < s->st_value || want - s->st_value >= (s->st_size ? s->st_size : 1))
            continue;
        if (s->st_name >= strings->sh_size)
            return -ENOENT;
        snprintf(buf, size, "%.*s", (int)(strings->sh_size - s->st_name),
                 image->data + strings->sh_offset + s->st_name);
        return (long)(want - s->st_value);
    }
    return -ENOENT;
}

static long search_image(struct image *image, uint64_t want, char *buf, size_t size)
{
    if (!read_header(image))
        return -ENOENT;
    const ElfW(Word) types[] = {SHT_SYMTAB, SHT_DYNSYM};
    for (size_t t = 0; t < 2; t++)
        for (size_t i = 0; i < image->n_sections; i++)
            if (image->sections[i].sh_type == types[t]) {
                long offset = search_table(image, &image->sections[i], want, buf, size);
                if (offset >= 0)
                    return offset;
            }
    return -ENOENT;
}

long bki_symbol_name(const void *addr, char *buf, size_t size)
{
    struct module module = {.addr = (uintptr_t)addr};
    if (!dl_iterate_phdr(find_module, &module))
        return -ENOENT;
    int fd = open(module.path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -ENOENT;
    long offset = -ENOENT;
    struct stat st;
    if (fstat(fd, &st) == 0 && st.st_size > 0) {
        struct image image = {.size = (size_t)st.st_size};
        void *map = mmap(NULL, image.size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map != MAP_FAILED) {
            image.data = map;
            offset = search_image(&image, module.addr - module.base, buf, size);
            munmap(map, image.size);
        }
    }
    close(fd);
    return offset;
}
