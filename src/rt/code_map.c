/* SPDX-License-Identifier: MIT
 * Reads /proc/PID/maps, and opens the files it names when an address in one is asked for. */
#include "rt/code_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/debug_line.h"

#define N_SEEN 256
#define PATH_TEXT 512

static void proc_path(char *buf, size_t size, pid_t pid, const char *rest)
{
    if (pid)
        snprintf(buf, size, "/proc/%d/%s", (int)pid, rest);
    else
        snprintf(buf, size, "/proc/self/%s", rest);
}

/* ---- Mappings ---- */

static int add_module(struct bki_code_map *map, const struct bki_module *module)
{
    if (map->n == map->capacity) {
        size_t n = map->capacity ? map->capacity * 2 : 16;
        void *modules = bki_realloc_array(map->modules, n, sizeof *map->modules);
        if (!modules)
            return -ENOMEM;
        map->modules = modules;
        map->capacity = n;
    }
    map->modules[map->n++] = *module;
    return 0;
}

/* "start-end perms offset device inode    path" */
static int read_line(struct bki_code_map *map, const char *line)
{
    struct bki_module m = {0};
    char perms[5];
    int path_at = 0;
    unsigned long start, end, offset, inode;
    if (sscanf(line, "%lx-%lx %4s %lx %*s %lu %n", &start, &end, perms, &offset, &inode, &path_at) <
            5 ||
        perms[2] != 'x' || line[path_at] != '/')
        return 0;
    m.start = start;
    m.end = end;
    m.offset = offset;
    m.inode = inode;
    m.path = bki_strdup(line + path_at);
    int r = m.path ? add_module(map, &m) : -ENOMEM;
    if (r < 0)
        bki_free(m.path);
    return r;
}

/* Line by line, without stdio's allocations. */
static int read_maps(struct bki_code_map *map, int fd)
{
    char buf[2048];
    size_t len = 0;
    ssize_t n;
    while ((n = read(fd, buf + len, sizeof buf - 1 - len)) > 0 || (n < 0 && errno == EINTR)) {
        if (n < 0)
            continue;
        len += (size_t)n;
        char *line = buf, *newline;
        while ((newline = memchr(line, '\n', len - (size_t)(line - buf)))) {
            *newline = '\0';
            int r = read_line(map, line);
            if (r < 0)
                return r;
            line = newline + 1;
        }
        len -= (size_t)(line - buf);
        memmove(buf, line, len);
        if (len == sizeof buf - 1)
            len = 0; /* a path of about 2,000 bytes */
    }
    return n < 0 ? -errno : 0;
}

int bki_code_map_open(struct bki_code_map *map, pid_t pid)
{
    char path[64];
    *map = (struct bki_code_map){.pid = pid};
    map->seen = bki_zalloc(N_SEEN * sizeof *map->seen);
    if (!map->seen)
        return -ENOMEM;
    proc_path(path, sizeof path, pid, "maps");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : read_maps(map, fd);
    if (fd >= 0)
        close(fd);
    if (r < 0)
        bki_code_map_close(map);
    return r;
}

void bki_code_map_close(struct bki_code_map *map)
{
    for (size_t i = 0; i < map->n; i++) {
        bki_elf_close(&map->modules[i].elf);
        bki_free(map->modules[i].path);
    }
    bki_free(map->modules);
    bki_free(map->seen);
    *map = (struct bki_code_map){0};
}

/* ---- Files ---- */

/* The file that is mapped, not another one that has taken its name since. */
static bool try_open(struct bki_module *m, const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0 || (uint64_t)st.st_ino != m->inode || bki_elf_open(&m->elf, path) < 0)
        return false;
    if (bki_elf_bias(&m->elf, m->start, m->offset, &m->bias))
        return true;
    bki_elf_close(&m->elf);
    return false;
}

/* A process may live in a container with other names; and its program may have been deleted. */
static void open_module(const struct bki_code_map *map, struct bki_module *m)
{
    char path[PATH_TEXT + 64], root[64];
    m->tried = true;
    proc_path(root, sizeof root, map->pid, "root");
    snprintf(path, sizeof path, "%s%s", map->pid ? root : "", m->path);
    if (try_open(m, path) || try_open(m, m->path))
        return;
    proc_path(path, sizeof path, map->pid, "exe");
    try_open(m, path);
}

struct bki_module *bki_code_map_find(struct bki_code_map *map, uint64_t pc)
{
    for (size_t i = 0; i < map->n; i++) {
        struct bki_module *m = &map->modules[i];
        if (pc < m->start || pc >= m->end)
            continue;
        if (!m->tried)
            open_module(map, m);
        return m->elf.data ? m : NULL;
    }
    return NULL;
}

const struct bki_place *bki_code_map_place(struct bki_code_map *map, uint64_t pc, bool is_caller)
{
    struct bki_place *place = &map->seen[pc % N_SEEN].place;
    if (map->seen[pc % N_SEEN].pc == pc)
        return place;
    map->seen[pc % N_SEEN].pc = pc;
    *place = (struct bki_place){0};
    struct bki_module *m = bki_code_map_find(map, pc - is_caller);
    if (!m)
        return place;
    uint64_t address = pc - is_caller - m->bias;
    long offset = bki_elf_function(&m->elf, address, place->function, sizeof place->function);
    place->offset = offset < 0 ? 0 : (unsigned long)offset + is_caller;
    int line = bki_debug_line(&m->elf, address, place->file, sizeof place->file);
    place->line = line < 0 ? 0 : line;
    return place;
}

int bki_code_map_unwind(struct bki_code_map *map, struct bki_frame *frame, bki_read_memory *read,
                        void *ctx)
{
    struct bki_module *m = bki_code_map_find(map, frame->pc - frame->is_caller);
    return bki_unwind(frame, m ? &m->elf : NULL, m ? m->bias : 0, read, ctx);
}
