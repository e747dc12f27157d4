/* SPDX-License-Identifier: MIT
 * What a program outside this tree does: include the header and call the library, in C or C++. */
#include <beck.h>
#include <stdio.h>

int main(void)
{
    bk_msg *msg = NULL;
    int r = bk_msg_copy(&msg, "hello", 5);
    if (r < 0) {
        fprintf(stderr, "%s\n", bk_strerror(r));
        return 1;
    }
    printf("beck %s: %.*s\n", bk_version(), (int)bk_msg_len(msg), bk_msg_data(msg));
    bk_msg_free(&msg);
    return 0;
}
