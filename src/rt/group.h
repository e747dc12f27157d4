/* SPDX-License-Identifier: MIT
 * What the task's end tells its group. */
#ifndef BECK_SRC_RT_GROUP_H
#define BECK_SRC_RT_GROUP_H

struct bk_task;

/* task has its result and has left the loop's list; its handle is still valid. */
void bki_group_child_done(struct bk_task *task);

#endif
