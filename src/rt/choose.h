/* SPDX-License-Identifier: MIT
 * Which backend a loop uses. */
#ifndef BECK_SRC_RT_CHOOSE_H
#define BECK_SRC_RT_CHOOSE_H

struct bk_loop;

/* Opens the backend that the options, the environment (BECK_BACKEND) or the kernel call for, and
 * notes why. -EINVAL for an unknown name; else the backend's own error. */
int bki_backend_choose(struct bk_loop *loop);

#endif
