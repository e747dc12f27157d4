/* SPDX-License-Identifier: MIT
 * Sockets bound to addresses, and the files that Unix sockets leave behind. */
#include "net/unix_file.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

static bool has_file(const struct bki_address *a)
{
    return a->any.sa_family == AF_UNIX && a->un.sun_path[0] != '\0';
}

/* Does nobody receive at this file any more? */
static bool is_stale(const struct bki_address *address, int type)
{
    struct stat st;
    if (!has_file(address) || stat(address->un.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool refused = connect(fd, &address->any, address->len) < 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

int bki_bind(int fd, int type, const struct bki_address *address)
{
    if (bind(fd, &address->any, address->len) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return -errno;
    if (!is_stale(address, type))
        return -EADDRINUSE;
    unlink(address->un.sun_path);
    return bind(fd, &address->any, address->len) < 0 ? -errno : 0;
}

int bki_unix_file_take(struct bki_unix_file *file, const struct bki_address *address)
{
    struct stat st;
    if (!has_file(address) || stat(address->un.sun_path, &st) < 0)
        return 0;
    file->path = bki_strdup(address->un.sun_path);
    file->dev = st.st_dev;
    file->ino = st.st_ino;
    return file->path ? 0 : -ENOMEM;
}

void bki_unix_file_drop(struct bki_unix_file *file, bool remove)
{
    struct stat st;
    if (file->path && remove && stat(file->path, &st) == 0 && st.st_dev == file->dev &&
        st.st_ino == file->ino)
        unlink(file->path);
    bki_free(file->path);
    file->path = NULL;
}
