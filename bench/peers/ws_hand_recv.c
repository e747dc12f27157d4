/* SPDX-License-Identifier: MIT
 * The limit of ws_recv: frames found in the buffer and looked at there, nothing copied, nothing
 * checked.  ws_hand_recv PORT MESSAGES BATCH [utf8]; with a fourth argument each payload is also
 * read through, as a check for ASCII does. */
#include "ws_dial.h"

static uint64_t count, sum;
static int reads_all;

static inline void take(const char *data, size_t len)
{
    if (reads_all) {
        uint64_t seen = 0, word;
        size_t i = 0;
        for (; i + 8 <= len; i += 8) {
            memcpy(&word, data + i, 8);
            seen |= word;
        }
        for (; i < len; i++)
            seen |= (unsigned char)data[i];
        if (seen & 0x8080808080808080u)
            exit(1);
    }
    count++;
    sum += (uint64_t)(data[len - 2] - '0');
}

int main(int argc, char **argv)
{
    static struct dial d;
    if (argc < 4)
        return 2;
    uint64_t wanted = strtoull(argv[2], NULL, 10);
    reads_all = argc > 4;
    dial_open(&d, argv);
    int64_t start = dial_ns();
    for (dial_each(&d, take); count < wanted; dial_each(&d, take))
        dial_more(&d);
    printf("RESULT msgs_s=%.0f sum=%llu\n", (double)count * 1e9 / (double)(dial_ns() - start),
           (unsigned long long)sum);
    return 0;
}
