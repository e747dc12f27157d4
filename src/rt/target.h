/* SPDX-License-Identifier: MIT
 * The memory of the process that is looked at, through the table in layout.h: our own, or another
 * one's. */
#ifndef BECK_SRC_RT_TARGET_H
#define BECK_SRC_RT_TARGET_H

#include "rt/code_map.h"
#include "rt/layout.h"

#define BKI_TARGET_PAGE 4096

struct bki_target {
    pid_t pid; /* 0: this process */
    struct bki_layout layout;
    struct bki_code_map code;
    uint64_t page_at; /* what page[] holds a copy of; 0: nothing */
    unsigned char page[BKI_TARGET_PAGE];
};

/* Errors as bk_snapshot_take. */
int bki_target_open(struct bki_target *target, pid_t pid);
void bki_target_close(struct bki_target *target);

/* Copies memory; false when it cannot be read. */
bool bki_target_read(const struct bki_target *target, uint64_t address, void *buf, size_t size);
/* For many small reads close to each other, of what does not change meanwhile: a bki_read_memory.
 */
bool bki_target_read_cached(void *target, uint64_t address, void *buf, size_t size);
/* A pointer, size or number of eight bytes; 0 when it cannot be read. */
uint64_t bki_target_word(const struct bki_target *target, uint64_t address);
/* A text of at most size - 1 bytes; "" when it cannot be read. */
void bki_target_text(const struct bki_target *target, uint64_t address, char *buf, size_t size);

#endif
