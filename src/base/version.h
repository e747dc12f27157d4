/* SPDX-License-Identifier: MIT
 * The version, where somebody needs its address. */
#ifndef BECK_SRC_BASE_VERSION_H
#define BECK_SRC_BASE_VERSION_H

extern const char bki_version[];

#endif
