/* SPDX-License-Identifier: MIT
 * Looking things up in ELF files. */
#include "base/elf_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE ((uint64_t)4095)

/* `align`: of what is read there, as a structure. */
static bool inside(const struct bki_elf *elf, uint64_t offset, uint64_t len, uint64_t align)
{
    return offset <= elf->size && len <= elf->size - offset && offset % align == 0;
}

int bki_elf_read(struct bki_elf *elf, const void *data, size_t size)
{
    *elf = (struct bki_elf){.data = data, .size = size};
    const ElfW(Ehdr) *header = data;
    if (size < sizeof *header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) ||
        header->e_ident[EI_DATA] !=
            (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB))
        return -ENOEXEC;
    if (header->e_shentsize == sizeof(ElfW(Shdr)) &&
        inside(elf, header->e_shoff, (uint64_t)header->e_shnum * sizeof(ElfW(Shdr)), 8)) {
        elf->sections = (const void *)(elf->data + header->e_shoff);
        elf->n_sections = header->e_shnum;
    }
    if (header->e_phentsize == sizeof(ElfW(Phdr)) &&
        inside(elf, header->e_phoff, (uint64_t)header->e_phnum * sizeof(ElfW(Phdr)), 8)) {
        elf->segments = (const void *)(elf->data + header->e_phoff);
        elf->n_segments = header->e_phnum;
    }
    return 0;
}

int bki_elf_open(struct bki_elf *elf, const char *path)
{
    struct stat st;
    *elf = (struct bki_elf){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fstat(fd, &st) < 0 ? -errno : !S_ISREG(st.st_mode) || st.st_size == 0 ? -ENOEXEC : 0;
    void *map = MAP_FAILED;
    if (r == 0)
        map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (r == 0 && map == MAP_FAILED)
        r = -errno;
    close(fd);
    if (r == 0)
        r = bki_elf_read(elf, map, (size_t)st.st_size);
    if (r < 0 && map != MAP_FAILED)
        bki_elf_close(elf);
    return r;
}

void bki_elf_close(struct bki_elf *elf)
{
    if (elf->data)
        munmap((void *)(uintptr_t)elf->data, elf->size);
    *elf = (struct bki_elf){0};
}

static bool part_of(const struct bki_elf *elf, const ElfW(Shdr) * section, uint64_t align,
                    struct bki_elf_part *out)
{
    if (section->sh_type == SHT_NOBITS || (section->sh_flags & SHF_COMPRESSED) ||
        !inside(elf, section->sh_offset, section->sh_size, align))
        return false;
    *out =
        (struct bki_elf_part){elf->data + section->sh_offset, section->sh_size, section->sh_addr};
    return true;
}

/* The text at an offset of a string table; NULL when it does not end inside. */
static const char *text_at(const struct bki_elf_part *strings, uint64_t offset)
{
    if (offset >= strings->size || !memchr(strings->data + offset, 0, strings->size - offset))
        return NULL;
    return (const char *)strings->data + offset;
}

bool bki_elf_section(const struct bki_elf *elf, const char *name, struct bki_elf_part *out)
{
    struct bki_elf_part names;
    const ElfW(Ehdr) *header = (const void *)elf->data;
    if (elf->n_sections == 0 || header->e_shstrndx >= elf->n_sections ||
        !part_of(elf, &elf->sections[header->e_shstrndx], 1, &names))
        return false;
    for (size_t i = 0; i < elf->n_sections; i++) {
        const char *text = text_at(&names, elf->sections[i].sh_name);
        if (text && strcmp(text, name) == 0)
            return part_of(elf, &elf->sections[i], 1, out);
    }
    return false;
}

static long search_table(const struct bki_elf *elf, const ElfW(Shdr) * table, uint64_t address,
                         char *buf, size_t size)
{
    struct bki_elf_part part, strings;
    if (table->sh_link >= elf->n_sections || !part_of(elf, table, 8, &part) ||
        !part_of(elf, &elf->sections[table->sh_link], 1, &strings))
        return -ENOENT;
    const ElfW(Sym) *symbols = (const void *)part.data;
    for (size_t i = 0; i < part.size / sizeof *symbols; i++) {
        const ElfW(Sym) *s = &symbols[i];
        if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || s->st_shndx == SHN_UNDEF)
            continue;
        if (address < s->st_value || address - s->st_value >= (s->st_size ? s->st_size : 1))
            continue;
        const char *name = text_at(&strings, s->st_name);
        if (!name)
            return -ENOENT;
        snprintf(buf, size, "%s", name);
        return (long)(address - s->st_value);
    }
    return -ENOENT;
}

long bki_elf_function(const struct bki_elf *elf, uint64_t address, char *buf, size_t size)
{
    const ElfW(Word) types[] = {SHT_SYMTAB, SHT_DYNSYM};
    for (size_t t = 0; t < 2; t++)
        for (size_t i = 0; i < elf->n_sections; i++)
            if (elf->sections[i].sh_type == types[t]) {
                long offset = search_table(elf, &elf->sections[i], address, buf, size);
                if (offset >= 0)
                    return offset;
            }
    return -ENOENT;
}

bool bki_elf_bias(const struct bki_elf *elf, uint64_t start, uint64_t offset, uint64_t *bias)
{
    for (size_t i = 0; i < elf->n_segments; i++) {
        const ElfW(Phdr) *s = &elf->segments[i];
        if (s->p_type == PT_LOAD && (s->p_offset & ~PAGE) == (offset & ~PAGE)) {
            *bias = start - (s->p_vaddr & ~PAGE);
            return true;
        }
    }
    return false;
}
