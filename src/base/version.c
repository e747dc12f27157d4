/* SPDX-License-Identifier: MIT
 * The library's version, handed in by the build. */
#include <beck/base.h>

#include "base/version.h"

#ifndef BECK_VERSION
#define BECK_VERSION "0.1.0"
#endif

const char bki_version[] = BECK_VERSION;

const char *bk_version(void)
{
    return bki_version;
}
