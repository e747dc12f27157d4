/* SPDX-License-Identifier: MIT
 * The library's version, handed in by the build. */
#include <beck/base.h>

#ifndef BECK_VERSION
#define BECK_VERSION "0.1.0"
#endif

const char *bk_version(void)
{
    return BECK_VERSION;
}
