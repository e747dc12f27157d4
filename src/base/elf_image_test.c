/* SPDX-License-Identifier: MIT
 * This program's own file: its functions, lines and call frames are known, and any other file is
 * refused. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/debug_line.h"
#include "base/elf_image.h"
#include "base/unwind.h"
#include "tests/check.h"

static struct bki_elf self;
static uint64_t bias;

static int note_bias(struct dl_phdr_info *info, size_t size, void *ctx)
{
    (void)size, (void)ctx;
    bias = info->dlpi_addr; /* the program comes first */
    return 1;
}

static bool open_self(void)
{
    dl_iterate_phdr(note_bias, NULL);
    return bki_elf_open(&self, "/proc/self/exe") == 0;
}

static __attribute__((noinline)) int a_static_function(int n)
{
    return n + 1;
}

static void functions_have_names(void)
{
    char name[64];
    CHECK(open_self());
    uint64_t at = (uint64_t)(uintptr_t)a_static_function - bias;
    CHECK_EQ(bki_elf_function(&self, at, name, sizeof name), 0);
    CHECK_STR(name, "a_static_function");
    CHECK_EQ(bki_elf_function(&self, at + 1, name, sizeof name), 1);
    CHECK_EQ(bki_elf_function(&self, at, name, 5), 0);
    CHECK_STR(name, "a_st");
    CHECK_EQ(bki_elf_function(&self, 1, name, sizeof name), -ENOENT);
    bki_elf_close(&self);
    CHECK(!self.data);
    CHECK_EQ(a_static_function(1), 2);
}

static void sections_are_found(void)
{
    struct bki_elf_part part;
    CHECK(open_self());
    CHECK(bki_elf_section(&self, ".text", &part));
    CHECK(part.size > 1000 && part.address > 0);
    CHECK(!bki_elf_section(&self, ".tex", &part));
    CHECK(!bki_elf_section(&self, ".bss", &part)); /* not in the file */
    bki_elf_close(&self);
}

static __attribute__((noinline)) void *where_am_i(void)
{
    return __builtin_return_address(0);
}

static void lines_are_found(void)
{
    char file[64];
    CHECK(open_self());
    struct bki_elf_part part;
    void *pc = where_am_i();
    int here = __LINE__ - 1;
    int line = bki_debug_line(&self, (uint64_t)(uintptr_t)pc - bias - 1, file, sizeof file);
    if (bki_elf_section(&self, ".debug_line", &part)) {
        CHECK_EQ(line, here);
        CHECK_STR(file, "elf_image_test.c");
    } else {
        CHECK_EQ(line, -ENOENT);
    }
    CHECK_EQ(bki_debug_line(&self, 1, file, sizeof file), -ENOENT);
    bki_elf_close(&self);
}

/* ---- Frames ---- */

static bool read_self(void *ctx, uint64_t address, void *buf, size_t size)
{
    (void)ctx;
    memcpy(buf, (const void *)(uintptr_t)address, size);
    return true;
}

struct walk {
    char names[32][64];
    int n, r;
};

/* Without a look at the file for the first n_unknown frames. */
static __attribute__((noinline)) int walk_here(struct walk *w, int n_unknown)
{
    struct bki_frame frame;
    bki_frame_here(&frame);
    w->n = 0;
    do {
        if (bki_elf_function(&self, frame.pc - bias - frame.is_caller, w->names[w->n], 64) < 0)
            break; /* the C library */
        w->n++;
    } while (w->n < 32 && (w->r = bki_unwind(&frame, w->n > n_unknown ? &self : NULL, bias,
                                             read_self, NULL)) == 1);
    return w->n;
}

/* Frames without a frame pointer, and with saved registers. */
static __attribute__((noinline, optimize("O2", "omit-frame-pointer"))) int
without_pointer(struct walk *w, int depth)
{
    char text[100];
    memset(text, depth, sizeof text);
    __asm__ volatile("" : : "r"(text) : "memory");
    int n = depth > 0 ? without_pointer(w, depth - 1) : walk_here(w, 0);
    return n + text[0] - depth;
}

static void frames_without_frame_pointers_are_walked(void)
{
    static struct walk w;
    CHECK(open_self());
    CHECK(without_pointer(&w, 5) >= 8);
    CHECK_STR(w.names[0], "walk_here");
    for (int i = 1; i <= 6; i++)
        CHECK(strncmp(w.names[i], "without_pointer", 15) == 0);
    CHECK_STR(w.names[7], "frames_without_frame_pointers_are_walked");
    bki_elf_close(&self);
}

static void frame_pointers_are_followed_in_unknown_code(void)
{
    static struct walk w;
    CHECK(open_self());
    CHECK(walk_here(&w, 32) >= 2);
    CHECK_STR(w.names[1], "frame_pointers_are_followed_in_unknown_code");
    bki_elf_close(&self);
}

static void known_code_behind_unknown_code(void)
{
    static struct walk w;
    CHECK(open_self());
    CHECK(walk_here(&w, 1) >= 3);
    CHECK_STR(w.names[1], "known_code_behind_unknown_code");
    CHECK_STR(w.names[w.n - 1], "main");
    bki_elf_close(&self);
}

static void a_lost_way_ends(void)
{
    struct bki_frame frame = {.pc = bias + 1};
    CHECK(open_self());
    CHECK_EQ(bki_unwind(&frame, &self, bias, read_self, NULL), -ENOENT);
    frame = (struct bki_frame){.pc = (uint64_t)(uintptr_t)a_static_function};
    CHECK_EQ(bki_unwind(&frame, &self, bias, read_self, NULL), -ENOENT); /* no stack pointer */
    bki_elf_close(&self);
}

static void what_is_no_program_is_refused(void)
{
    struct bki_elf elf;
    CHECK_EQ(bki_elf_open(&elf, "/nonexistent"), -ENOENT);
    CHECK_EQ(bki_elf_open(&elf, "/proc/self/maps"), -ENOEXEC);
    CHECK_EQ(bki_elf_open(&elf, "/etc/passwd"), -ENOEXEC);
    CHECK_EQ(bki_elf_open(&elf, "/"), -ENOEXEC);
    CHECK(!elf.data);
    char small[16] = "\177ELF\2\1\1";
    CHECK_EQ(bki_elf_read(&elf, small, sizeof small), -ENOEXEC);
}

/* Every shortened form of this program: nothing is read behind its end. */
static void truncated_files(void)
{
    CHECK(open_self());
    struct bki_elf_part part;
    char text[64];
    for (size_t size = 0; size < self.size; size += self.size / 200 + 1) {
        struct bki_elf elf;
        unsigned char *copy = malloc(size + 1);
        memcpy(copy, self.data, size);
        if (bki_elf_read(&elf, copy, size) == 0) {
            bki_elf_section(&elf, ".text", &part);
            bki_elf_function(&elf, 0x1200, text, sizeof text);
            bki_debug_line(&elf, 0x1200, text, sizeof text);
        }
        free(copy);
    }
    bki_elf_close(&self);
}

CHECK_MAIN(TEST(functions_have_names), TEST(sections_are_found), TEST(lines_are_found),
           TEST(frames_without_frame_pointers_are_walked),
           TEST(frame_pointers_are_followed_in_unknown_code), TEST(known_code_behind_unknown_code),
           TEST(a_lost_way_ends), TEST(what_is_no_program_is_refused), TEST(truncated_files))
