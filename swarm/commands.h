/* SPDX-License-Identifier: MIT */
/* The commands on torrents and swarms; each in its cmd_*.c.  All: exit statuses of base/cli.h.
 *
 * Thread: the main one.
 */
#ifndef SWARM_COMMANDS_H
#define SWARM_COMMANDS_H

int cmd_create(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_edit(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_get(int argc, char **argv);
int cmd_seed(int argc, char **argv);

#endif
