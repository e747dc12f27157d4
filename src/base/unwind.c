/* SPDX-License-Identifier: MIT
 * Call frame information: finds the entry of a function, runs its little program up to the wanted
 * address, and applies the rules that come out. */
#include "base/unwind.h"

#include <errno.h>

#include "base/dwarf.h"

enum rule_kind { UNCHANGED, UNDEFINED, AT_OFFSET, IS_OFFSET, IN_REGISTER, LOST };

struct rule {
    enum rule_kind kind;
    int64_t offset; /* from the frame's address; or a register */
};

struct row {
    unsigned cfa_reg;
    int64_t cfa_offset;
    bool cfa_lost; /* by an expression: not evaluated here */
    struct rule regs[BKI_UNWIND_REGS];
};

/* What the entries of a common kind share (CIE), and one of them (FDE). */
struct entry {
    uint64_t code_align;
    int64_t data_align;
    unsigned return_reg;
    uint8_t encoding; /* of addresses */
    bool augmented, signal;
    struct bki_dwarf common, own; /* programs */
    uint64_t start, size;
};

#define PCREL_SDATA4 0x1b
#define ABS_PTR 0x00

/* ---- Finding the entry ---- */

static uint64_t read_address(struct bki_dwarf *d, uint8_t encoding,
                             const struct bki_elf_part *section)
{
    uint64_t place = section->address + (uint64_t)(d->at - section->data);
    if (encoding == ABS_PTR)
        return bki_dwarf_fixed(d, 8);
    if (encoding != PCREL_SDATA4) {
        d->bad = true;
        return 0;
    }
    return place + (uint64_t)(int64_t)(int32_t)bki_dwarf_fixed(d, 4);
}

/* The body of the entry at an offset of .eh_frame; *id is its second word. */
static struct bki_dwarf entry_at(const struct bki_elf_part *frames, uint64_t offset, uint64_t *id,
                                 uint64_t *id_place)
{
    struct bki_dwarf d = {frames->data, frames->data + frames->size, false};
    bki_dwarf_cut(&d, offset);
    uint64_t len = bki_dwarf_fixed(&d, 4);
    if (len == 0 || len == 0xffffffff)
        d.bad = true; /* the end, or the 64-bit form, which nobody writes */
    struct bki_dwarf body = bki_dwarf_cut(&d, len);
    body.bad = body.bad || d.bad;
    *id_place = (uint64_t)(body.at - frames->data);
    *id = bki_dwarf_fixed(&body, 4);
    return body;
}

static bool read_common(struct entry *e, const struct bki_elf_part *frames, uint64_t offset)
{
    uint64_t id, place;
    struct bki_dwarf d = entry_at(frames, offset, &id, &place);
    if (d.bad || id != 0)
        return false;
    uint8_t version = bki_dwarf_u8(&d);
    const char *augmentation = bki_dwarf_text(&d);
    e->code_align = bki_dwarf_uleb(&d);
    e->data_align = bki_dwarf_sleb(&d);
    e->return_reg = (unsigned)(version == 1 ? bki_dwarf_u8(&d) : bki_dwarf_uleb(&d));
    e->encoding = ABS_PTR;
    if (augmentation[0] == 'z') {
        e->augmented = true;
        struct bki_dwarf data = bki_dwarf_cut(&d, bki_dwarf_uleb(&d));
        for (const char *a = augmentation + 1; *a && !data.bad; a++) {
            if (*a == 'R')
                e->encoding = bki_dwarf_u8(&data);
            else if (*a == 'L')
                bki_dwarf_u8(&data);
            else if (*a == 'P') { /* a personality routine: 4 bytes, or 8 when absolute */
                uint8_t encoding = bki_dwarf_u8(&data);
                bki_dwarf_fixed(&data, (encoding & 0x0f) == ABS_PTR ? 8 : 4);
            } else if (*a == 'S')
                e->signal = true;
        }
    } else if (augmentation[0]) {
        return false;
    }
    e->common = d;
    return !d.bad && (version == 1 || version == 3) && e->return_reg < BKI_UNWIND_REGS;
}

static bool read_entry(struct entry *e, const struct bki_elf_part *frames, uint64_t offset)
{
    uint64_t back, place;
    struct bki_dwarf d = entry_at(frames, offset, &back, &place);
    if (d.bad || back == 0 || back > place || !read_common(e, frames, place - back))
        return false;
    e->start = read_address(&d, e->encoding, frames);
    e->size = bki_dwarf_fixed(&d, e->encoding == ABS_PTR ? 8 : 4);
    if (e->augmented)
        bki_dwarf_cut(&d, bki_dwarf_uleb(&d));
    e->own = d;
    return !d.bad;
}

/* The sorted table in .eh_frame_hdr: pairs of the function's and its entry's address, both as
 * signed 32-bit distances from the section. */
static bool find_entry(struct entry *e, const struct bki_elf *elf, uint64_t pc)
{
    struct bki_elf_part index, frames;
    if (!bki_elf_section(elf, ".eh_frame_hdr", &index) ||
        !bki_elf_section(elf, ".eh_frame", &frames))
        return false;
    struct bki_dwarf d = {index.data, index.data + index.size, false};
    uint64_t form = bki_dwarf_fixed(&d, 4); /* version 1; the encodings that every linker uses */
    bki_dwarf_fixed(&d, 4);
    uint64_t n = bki_dwarf_fixed(&d, 4);
    if (form != 0x3b031b01 || n == 0 || n > (uint64_t)(d.end - d.at) / 8)
        return false;
    uint64_t low = 0, high = n; /* the last whose function begins at or before pc */
    while (high - low > 1) {
        uint64_t mid = low + (high - low) / 2;
        struct bki_dwarf row = {d.at + 8 * mid, d.end, false};
        uint64_t start = index.address + (uint64_t)(int64_t)(int32_t)bki_dwarf_fixed(&row, 4);
        if (start <= pc)
            low = mid;
        else
            high = mid;
    }
    struct bki_dwarf row = {d.at + 8 * low + 4, d.end, false};
    uint64_t entry = index.address + (uint64_t)(int64_t)(int32_t)bki_dwarf_fixed(&row, 4);
    return entry >= frames.address && read_entry(e, &frames, entry - frames.address) &&
           pc >= e->start && pc - e->start < e->size;
}

/* ---- Running the program ---- */

#define SAVED_ROWS 8

struct machine {
    const struct entry *entry;
    struct row row, first; /* first: after the common part */
    struct row saved[SAVED_ROWS];
    unsigned n_saved;
    uint64_t at; /* the address that the row is for */
};

static void set_rule(struct machine *m, uint64_t reg, enum rule_kind kind, int64_t offset)
{
    if (reg < BKI_UNWIND_REGS)
        m->row.regs[reg] = (struct rule){kind, offset};
}

/* A number of the program in units of the entry's alignment.  Of a damaged file it may wrap. */
static int64_t scaled(const struct machine *m, uint64_t n)
{
    return (int64_t)(n * (uint64_t)m->entry->data_align);
}

static void restore(struct machine *m, uint64_t reg)
{
    if (reg < BKI_UNWIND_REGS)
        m->row.regs[reg] = m->first.regs[reg];
}

/* Those that say where the frame is (CFA).  False: it is none of them. */
static bool run_frame(struct machine *m, struct bki_dwarf *d, uint8_t op)
{
    struct row *row = &m->row;
    switch (op) {
    case 0x0c: /* def_cfa */
        row->cfa_reg = (unsigned)bki_dwarf_uleb(d);
        row->cfa_offset = (int64_t)bki_dwarf_uleb(d);
        row->cfa_lost = false;
        return true;
    case 0x0d: /* def_cfa_register */
        row->cfa_reg = (unsigned)bki_dwarf_uleb(d);
        return true;
    case 0x0e: /* def_cfa_offset */
        row->cfa_offset = (int64_t)bki_dwarf_uleb(d);
        return true;
    case 0x0f: /* def_cfa_expression */
        bki_dwarf_cut(d, bki_dwarf_uleb(d));
        row->cfa_lost = true;
        return true;
    case 0x12: /* def_cfa_sf */
        row->cfa_reg = (unsigned)bki_dwarf_uleb(d);
        row->cfa_offset = scaled(m, (uint64_t)bki_dwarf_sleb(d));
        return true;
    case 0x13: /* def_cfa_offset_sf */
        row->cfa_offset = scaled(m, (uint64_t)bki_dwarf_sleb(d));
        return true;
    default:
        return false;
    }
}

/* Those that say where a register is. */
static bool run_register(struct machine *m, struct bki_dwarf *d, uint8_t op)
{
    uint64_t reg = bki_dwarf_uleb(d);
    switch (op) {
    case 0x05: /* offset_extended */
        set_rule(m, reg, AT_OFFSET, scaled(m, bki_dwarf_uleb(d)));
        return true;
    case 0x06: /* restore_extended */
        restore(m, reg);
        return true;
    case 0x07: /* undefined */
        set_rule(m, reg, UNDEFINED, 0);
        return true;
    case 0x08: /* same_value */
        set_rule(m, reg, UNCHANGED, 0);
        return true;
    case 0x09: /* register */
        set_rule(m, reg, IN_REGISTER, (int64_t)bki_dwarf_uleb(d));
        return true;
    case 0x10: /* expression */
    case 0x16: /* val_expression */
        set_rule(m, reg, LOST, 0);
        bki_dwarf_cut(d, bki_dwarf_uleb(d));
        return true;
    case 0x11: /* offset_extended_sf */
        set_rule(m, reg, AT_OFFSET, scaled(m, (uint64_t)bki_dwarf_sleb(d)));
        return true;
    case 0x14: /* val_offset */
        set_rule(m, reg, IS_OFFSET, scaled(m, bki_dwarf_uleb(d)));
        return true;
    default:
        return false;
    }
}

/* The instructions without an operand in their first byte.  False: unknown. */
static bool run_extended(struct machine *m, struct bki_dwarf *d, uint8_t op)
{
    switch (op) {
    case 0x00: /* nop */
    case 0x2d: /* on aarch64: the return address is signed from here on, or no more */
        return true;
    case 0x0a: /* remember_state */
        if (m->n_saved == SAVED_ROWS)
            return false;
        m->saved[m->n_saved++] = m->row;
        return true;
    case 0x0b: /* restore_state */
        if (m->n_saved == 0)
            return false;
        m->row = m->saved[--m->n_saved];
        return true;
    case 0x2e: /* GNU_args_size */
        bki_dwarf_uleb(d);
        return true;
    default:
        return run_frame(m, d, op) || run_register(m, d, op);
    }
}

/* Runs until the row for pc is complete. */
static bool run(struct machine *m, struct bki_dwarf d, uint64_t pc)
{
    while (d.at < d.end && !d.bad) {
        uint8_t byte = bki_dwarf_u8(&d), op = byte & 0xc0, operand = byte & 0x3f;
        uint64_t delta = 0;
        if (op == 0x40) /* advance_loc */
            delta = operand;
        else if (op == 0x80) /* offset */
            set_rule(m, operand, AT_OFFSET, scaled(m, bki_dwarf_uleb(&d)));
        else if (op == 0xc0)
            restore(m, operand);
        else if (byte >= 0x02 && byte <= 0x04) /* advance_loc1, 2, 4 */
            delta = bki_dwarf_fixed(&d, 1u << (byte - 2));
        else if (byte == 0x01 || !run_extended(m, &d, byte))
            return false;
        if (delta) {
            m->at += delta * m->entry->code_align;
            if (m->at > pc)
                break;
        }
    }
    return !d.bad;
}

static bool find_row(struct row *row, const struct entry *e, uint64_t pc)
{
    struct machine m = {.entry = e, .at = e->start};
    if (!run(&m, e->common, UINT64_MAX))
        return false;
    m.first = m.row;
    m.at = e->start;
    if (!run(&m, e->own, pc))
        return false;
    *row = m.row;
    return !row->cfa_lost && row->cfa_reg < BKI_UNWIND_REGS;
}

/* ---- Applying the rules ---- */

static bool is_known(const struct bki_frame *frame, unsigned reg)
{
    return frame->known >> reg & 1;
}

static void apply(struct bki_frame *to, const struct bki_frame *from, unsigned reg,
                  const struct rule *rule, uint64_t cfa, bki_read_memory *read, void *ctx)
{
    uint64_t value;
    switch (rule->kind) {
    case UNCHANGED:
        if (is_known(from, reg))
            bki_frame_set(to, reg, from->regs[reg]);
        break;
    case AT_OFFSET:
        if (read(ctx, cfa + (uint64_t)rule->offset, &value, sizeof value))
            bki_frame_set(to, reg, value);
        break;
    case IS_OFFSET:
        bki_frame_set(to, reg, cfa + (uint64_t)rule->offset);
        break;
    case IN_REGISTER:
        if (rule->offset >= 0 && rule->offset < BKI_UNWIND_REGS &&
            is_known(from, (unsigned)rule->offset))
            bki_frame_set(to, reg, from->regs[rule->offset]);
        break;
    case UNDEFINED:
    case LOST:
        break;
    }
}

/* Without the bits of a signature (pointer authentication) on aarch64. */
static uint64_t plain_address(uint64_t address)
{
#if defined(__aarch64__)
    return address & 0xffffffffffff;
#else
    return address;
#endif
}

static int finish(struct bki_frame *frame, struct bki_frame *next, uint64_t ra, bool exact)
{
    next->pc = plain_address(ra);
    next->is_caller = !exact;
    /* A stack grows down: whoever does not go up goes round in circles. */
    if (next->regs[BKI_UNWIND_SP] <= frame->regs[BKI_UNWIND_SP] && frame->is_caller)
        return -ENOENT;
    if (next->pc == 0)
        return 0;
    *frame = *next;
    return 1;
}

static int by_frame_pointer(struct bki_frame *frame, bki_read_memory *read, void *ctx)
{
    uint64_t fp = frame->regs[BKI_UNWIND_FP], words[2];
    struct bki_frame next = {0};
    if (!is_known(frame, BKI_UNWIND_FP) || fp % 8 != 0 || fp < frame->regs[BKI_UNWIND_SP] ||
        !read(ctx, fp, words, sizeof words))
        return -ENOENT;
    bki_frame_set(&next, BKI_UNWIND_FP, words[0]);
    bki_frame_set(&next, BKI_UNWIND_SP, fp + 16);
#if defined(__aarch64__)
    /* The pair lies anywhere in its frame: where that ends is not known, only that it is later. */
    next.known &= ~((uint64_t)1 << BKI_UNWIND_SP);
#endif
    return finish(frame, &next, words[1], false);
}

int bki_unwind(struct bki_frame *frame, const struct bki_elf *elf, uint64_t bias,
               bki_read_memory *read, void *ctx)
{
    struct entry e = {0};
    struct row row;
    uint64_t pc = frame->pc - bias - (frame->is_caller ? 1 : 0);
    if (!elf || !find_entry(&e, elf, pc))
        return by_frame_pointer(frame, read, ctx);
    if (!find_row(&row, &e, pc))
        return -ENOENT;
    if (!is_known(frame, row.cfa_reg))
        return by_frame_pointer(frame, read, ctx);
    uint64_t cfa = frame->regs[row.cfa_reg] + (uint64_t)row.cfa_offset;
    struct bki_frame next = {0};
    for (unsigned reg = 0; reg < BKI_UNWIND_REGS; reg++)
        apply(&next, frame, reg, &row.regs[reg], cfa, read, ctx);
    if (row.regs[BKI_UNWIND_SP].kind == UNCHANGED)
        bki_frame_set(&next, BKI_UNWIND_SP, cfa);
    if (row.regs[e.return_reg].kind == UNDEFINED)
        return 0; /* the outermost frame says so */
    if (!is_known(&next, e.return_reg))
        return -ENOENT;
    return finish(frame, &next, next.regs[e.return_reg], e.signal);
}
