/* SPDX-License-Identifier: MIT
 * Who has which descriptor number: the loop's own objects, and tasks that wait in bk_fd_wait. */
#ifndef BECK_SRC_RT_FD_H
#define BECK_SRC_RT_FD_H

#include "rt/backend.h"

/* f->fd is a descriptor of one of the loop's objects from now on, so that bk_fd_wait refuses it.
 * Whoever still waits for a former descriptor of this number is told that it is gone.  Without
 * memory the number stays unguarded.  Nothing outside a loop's thread. */
void bki_fd_claim(struct bki_fd *f);
/* f->fd is about to be closed. */
void bki_fd_disclaim(struct bk_loop *loop, struct bki_fd *f);
/* At the end of the run. */
void bki_fd_table_free(struct bk_loop *loop);

#endif
