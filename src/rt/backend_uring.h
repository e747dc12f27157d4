/* SPDX-License-Identifier: MIT
 * What the io_uring backend's tests reach for. */
#ifndef BECK_SRC_RT_BACKEND_URING_H
#define BECK_SRC_RT_BACKEND_URING_H

/* The first of the backend's ring setups that open() tries: 0, the best, except in tests of how it
 * gets along with an older kernel's. */
extern unsigned bki_uring_first_setup;
extern const unsigned bki_uring_n_setups;

#endif
