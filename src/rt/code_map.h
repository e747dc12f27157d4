/* SPDX-License-Identifier: MIT
 * Where the code of a process comes from: which file is mapped where, and what its addresses mean.
 */
#ifndef BECK_SRC_RT_CODE_MAP_H
#define BECK_SRC_RT_CODE_MAP_H

#include <sys/types.h>

#include "base/unwind.h"

struct bki_module {
    uint64_t start, end; /* of a mapping with code */
    uint64_t offset, inode;
    uint64_t bias;
    char *path;
    struct bki_elf elf; /* opened at first use */
    bool tried;
};

/* The meaning of a code address. */
struct bki_place {
    char function[64]; /* "" when unknown */
    unsigned long offset;
    char file[64]; /* "" when unknown */
    int line;
};

struct bki_code_map {
    pid_t pid; /* 0: this process */
    struct bki_module *modules;
    size_t n, capacity;
    struct {
        uint64_t pc;
        struct bki_place place;
    } * seen; /* many tasks have the same frames */
};

/* Reads the mappings of a process; 0 is the caller's own.  0; -ENOMEM; -errno of /proc. */
int bki_code_map_open(struct bki_code_map *map, pid_t pid);
void bki_code_map_close(struct bki_code_map *map);

/* The module that holds an address, with its file open; NULL when there is none. */
struct bki_module *bki_code_map_find(struct bki_code_map *map, uint64_t pc);
/* What pc means; is_caller as in bki_frame.  Valid until the next call. */
const struct bki_place *bki_code_map_place(struct bki_code_map *map, uint64_t pc, bool is_caller);
/* As bki_unwind. */
int bki_code_map_unwind(struct bki_code_map *map, struct bki_frame *frame, bki_read_memory *read,
                        void *ctx);

#endif
