/* SPDX-License-Identifier: MIT */
/* The tracker's clock: seconds, monotonic, never 0, so that 0 can mean "not yet".
 *
 * Thread: any.
 */
#ifndef TRACKER_NOW_H
#define TRACKER_NOW_H

#include "base/loop.h"

/* Starts a week into the future: so "a while ago" is never before 0 on a host just booted. */
static inline uint32_t now_s(void)
{
	return (uint32_t)(clock_us() / US_PER_S) + 7 * 86400;
}

#endif
