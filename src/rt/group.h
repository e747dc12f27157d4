/* SPDX-License-Identifier: MIT
 * What a task's start and end tell its group. */
#ifndef BECK_SRC_RT_GROUP_H
#define BECK_SRC_RT_GROUP_H

struct bk_group;
struct bk_task;
struct bki_list;

/* Its tasks, by their group_link. */
const struct bki_list *bki_group_children(const struct bk_group *group);
/* task is new and has not run. */
void bki_group_child_add(struct bk_group *group, struct bk_task *task);
/* task has its result and has left the loop's list; its handle is still valid. */
void bki_group_child_done(struct bk_task *task);

#endif
