/* SPDX-License-Identifier: MIT
 * What a message costs: made as a copy of some bytes and freed, one at a time or many at once, and
 * as a slice of a larger one.
 *
 *     bench/msg [BYTES]      prints RESULT ns=... (copy and free of one message; 100 bytes unless
 * told) */
#include <beck/msg.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 5

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "msg: %s failed\n", what);
    exit(1);
}

/* Nanoseconds for each of `total` messages when `held` of them are alive at a time. */
static double copy_and_free(const char *bytes, size_t len, size_t held, size_t total)
{
    bk_msg **line = calloc(held, sizeof(bk_msg *));
    if (!line)
        fail("calloc");
    double start = now_ns();
    for (size_t done = 0; done < total; done += held) {
        for (size_t i = 0; i < held; i++)
            if (bk_msg_copy(&line[i], bytes, len) < 0)
                fail("bk_msg_copy");
        for (size_t i = 0; i < held; i++)
            bk_msg_free(&line[i]);
    }
    double ns = (now_ns() - start) / (double)total;
    free(line);
    return ns;
}

static double slice_and_free(size_t len, size_t total)
{
    bk_msg *whole = NULL, *part = NULL;
    if (bk_msg_new(&whole, len * 2) < 0)
        fail("bk_msg_new");
    double start = now_ns();
    for (size_t i = 0; i < total; i++) {
        if (bk_msg_slice(&part, whole, len / 2, len) < 0)
            fail("bk_msg_slice");
        bk_msg_free(&part);
    }
    double ns = (now_ns() - start) / (double)total;
    bk_msg_free(&whole);
    return ns;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof *values, compare);
    return values[ROUNDS / 2];
}

int main(int argc, char **argv)
{
    size_t len = argc > 1 ? strtoul(argv[1], NULL, 10) : 100;
    char *bytes = malloc(len ? len : 1);
    double one[ROUNDS], held[ROUNDS], slice[ROUNDS];
    if (!bytes)
        fail("malloc");
    memset(bytes, 'x', len);
    for (int i = 0; i < ROUNDS; i++) {
        one[i] = copy_and_free(bytes, len, 1, 1 << 22);
        held[i] = copy_and_free(bytes, len, 1024, 1 << 22);
        slice[i] = slice_and_free(len, 1 << 22);
    }
    printf("RESULT ns=%.2f ns_1024_held=%.2f ns_slice=%.2f\n", median(one), median(held),
           median(slice));
    free(bytes);
    return 0;
}
