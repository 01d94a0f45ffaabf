/* SPDX-License-Identifier: MIT */
/* p2pfs tracker status: what a running tracker says of itself.
 *
 * Thread: the main one.
 */
#ifndef TRACKER_STATUS_H
#define TRACKER_STATUS_H

int cmd_tracker_status(int argc, char **argv);

#endif
