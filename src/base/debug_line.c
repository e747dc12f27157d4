/* SPDX-License-Identifier: MIT
 * Line programs: each makes a table of addresses and lines, row by row; the wanted row is picked as
 * it goes by. */
#include "base/debug_line.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "base/dwarf.h"

struct unit {
    const struct bki_elf *elf;
    unsigned version, address_size;
    uint8_t min_length, line_range, opcode_base;
    int8_t line_base;
    const unsigned char *lengths; /* of the standard opcodes' operands */
    struct bki_dwarf files;       /* what the header says of files, from the table on */
    struct bki_dwarf program;
};

struct row {
    uint64_t address, file, line;
};

/* ---- The header ---- */

/* Skips, or reads, a value of a form (DWARF 5, section 7.5.5); NULL when it is no text. */
static const char *read_form(const struct unit *u, struct bki_dwarf *d, uint64_t form)
{
    struct bki_elf_part strings;
    switch (form) {
    case 0x08: /* string */
        return bki_dwarf_text(d);
    case 0x0e:   /* strp */
    case 0x1f: { /* line_strp */
        uint64_t offset = bki_dwarf_fixed(d, 4);
        if (!bki_elf_section(u->elf, form == 0x0e ? ".debug_str" : ".debug_line_str", &strings))
            return NULL;
        struct bki_dwarf text = {strings.data, strings.data + strings.size, false};
        bki_dwarf_cut(&text, offset);
        return bki_dwarf_text(&text);
    }
    case 0x0b: /* data1 */
        bki_dwarf_fixed(d, 1);
        return NULL;
    case 0x05: /* data2 */
        bki_dwarf_fixed(d, 2);
        return NULL;
    case 0x06: /* data4 */
        bki_dwarf_fixed(d, 4);
        return NULL;
    case 0x07: /* data8 */
        bki_dwarf_fixed(d, 8);
        return NULL;
    case 0x1e: /* data16, a checksum */
        bki_dwarf_cut(d, 16);
        return NULL;
    case 0x0f: /* udata */
        bki_dwarf_uleb(d);
        return NULL;
    case 0x09: /* block */
        bki_dwarf_cut(d, bki_dwarf_uleb(d));
        return NULL;
    default:
        d->bad = true;
        return NULL;
    }
}

/* Reads one table of version 5 up to entry `wanted` and returns that one's path; UINT64_MAX skips
 * the whole table. */
static const char *read_entries(const struct unit *u, struct bki_dwarf *d, uint64_t wanted)
{
    const char *path = NULL;
    unsigned n_formats = bki_dwarf_u8(d);
    struct bki_dwarf formats = *d;
    for (unsigned i = 0; i < 2 * n_formats; i++)
        bki_dwarf_uleb(d);
    uint64_t n = bki_dwarf_uleb(d);
    for (uint64_t i = 0; i < n && i <= wanted && !d->bad && n_formats > 0; i++) {
        struct bki_dwarf f = formats;
        for (unsigned k = 0; k < n_formats; k++) {
            uint64_t what = bki_dwarf_uleb(&f);
            const char *text = read_form(u, d, bki_dwarf_uleb(&f));
            if (what == 1 && i == wanted)
                path = text;
        }
    }
    return path;
}

static const char *find_file(const struct unit *u, uint64_t wanted)
{
    struct bki_dwarf d = u->files;
    if (u->version >= 5) {
        read_entries(u, &d, UINT64_MAX); /* directories */
        return read_entries(u, &d, wanted);
    }
    while (!d.bad && bki_dwarf_text(&d)[0]) /* directories */
        ;
    for (uint64_t i = 1; !d.bad; i++) {
        const char *name = bki_dwarf_text(&d);
        if (!name[0])
            break;
        if (i == wanted)
            return name;
        for (int k = 0; k < 3; k++)
            bki_dwarf_uleb(&d);
    }
    return NULL;
}

static bool read_header(struct unit *u, struct bki_dwarf *d)
{
    u->version = (unsigned)bki_dwarf_fixed(d, 2);
    u->address_size = 8;
    if (u->version < 2 || u->version > 5)
        return false;
    if (u->version >= 5) {
        u->address_size = bki_dwarf_u8(d);
        bki_dwarf_u8(d); /* segment selectors: none */
    }
    struct bki_dwarf header = bki_dwarf_cut(d, bki_dwarf_fixed(d, 4));
    u->program = *d;
    u->min_length = bki_dwarf_u8(&header);
    if (u->version >= 4)
        bki_dwarf_u8(&header); /* operations of one instruction: 1 here */
    bki_dwarf_u8(&header);     /* whether rows are statements at first */
    u->line_base = (int8_t)bki_dwarf_u8(&header);
    u->line_range = bki_dwarf_u8(&header);
    u->opcode_base = bki_dwarf_u8(&header);
    u->lengths = header.at;
    bki_dwarf_cut(&header, u->opcode_base ? u->opcode_base - 1u : 0);
    u->files = header;
    return !header.bad && !d->bad && u->line_range > 0 && u->opcode_base > 0 &&
           u->address_size <= 8;
}

/* ---- The program ---- */

struct search {
    uint64_t wanted;
    struct row row, before;
    bool in_sequence; /* `before` is a row */
    bool found;
};

/* The row is complete: the one before it reaches up to here. */
static void emit(struct search *s, bool ends)
{
    if (s->in_sequence && s->before.address <= s->wanted && s->wanted < s->row.address)
        s->found = true;
    else {
        s->before = s->row;
        s->in_sequence = !ends;
    }
    if (ends)
        s->row = (struct row){.file = 1, .line = 1};
}

static void run_extended(struct search *s, struct unit *u)
{
    struct bki_dwarf d = bki_dwarf_cut(&u->program, bki_dwarf_uleb(&u->program));
    uint8_t op = bki_dwarf_u8(&d);
    if (op == 1) /* end_sequence */
        emit(s, true);
    else if (op == 2) /* set_address */
        s->row.address = bki_dwarf_fixed(&d, u->address_size);
}

static void run_standard(struct search *s, struct unit *u, uint8_t op)
{
    struct bki_dwarf *d = &u->program;
    switch (op) {
    case 1: /* copy */
        emit(s, false);
        break;
    case 2: /* advance_pc */
        s->row.address += bki_dwarf_uleb(d) * u->min_length;
        break;
    case 3: /* advance_line */
        s->row.line += (uint64_t)bki_dwarf_sleb(d);
        break;
    case 4: /* set_file */
        s->row.file = bki_dwarf_uleb(d);
        break;
    case 8: /* const_add_pc */
        s->row.address += (255u - u->opcode_base) / u->line_range * u->min_length;
        break;
    case 9: /* fixed_advance_pc */
        s->row.address += bki_dwarf_fixed(d, 2);
        break;
    default:
        for (unsigned i = 0; i < u->lengths[op - 1]; i++)
            bki_dwarf_uleb(d);
    }
}

static bool search_unit(struct search *s, struct unit *u)
{
    s->row = (struct row){.file = 1, .line = 1};
    s->in_sequence = false;
    while (u->program.at < u->program.end && !u->program.bad && !s->found) {
        uint8_t op = bki_dwarf_u8(&u->program);
        if (op >= u->opcode_base) {
            unsigned special = op - u->opcode_base;
            s->row.address += special / u->line_range * u->min_length;
            s->row.line += (uint64_t)(int64_t)(u->line_base + (int)(special % u->line_range));
            emit(s, false);
        } else if (op == 0) {
            run_extended(s, u);
        } else {
            run_standard(s, u, op);
        }
    }
    return s->found;
}

int bki_debug_line(const struct bki_elf *elf, uint64_t address, char *buf, size_t size)
{
    struct bki_elf_part section;
    if (!bki_elf_section(elf, ".debug_line", &section))
        return -ENOENT;
    struct bki_dwarf d = {section.data, section.data + section.size, false};
    struct search s = {.wanted = address};
    while (d.at < d.end && !d.bad) {
        uint64_t len = bki_dwarf_fixed(&d, 4);
        struct bki_dwarf body = bki_dwarf_cut(&d, len);
        struct unit u = {.elf = elf};
        if (len == 0xffffffff || d.bad || !read_header(&u, &body) || !search_unit(&s, &u))
            continue;
        const char *path = find_file(&u, s.before.file);
        if (!path || s.before.line == 0 || s.before.line > INT_MAX)
            return -ENOENT;
        const char *slash = strrchr(path, '/');
        snprintf(buf, size, "%s", slash ? slash + 1 : path);
        return (int)s.before.line;
    }
    return -ENOENT;
}
