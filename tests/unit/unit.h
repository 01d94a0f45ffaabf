/* SPDX-License-Identifier: MIT */
/* cmocka with the headers that it wants in front of it.
 *
 * Thread: the main one.
 */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
