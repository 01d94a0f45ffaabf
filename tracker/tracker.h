/* SPDX-License-Identifier: MIT */
/* The tracker's command.
 *
 * Thread: the main one.
 */
#ifndef TRACKER_TRACKER_H
#define TRACKER_TRACKER_H

int cmd_tracker(int argc, char **argv);

#endif
