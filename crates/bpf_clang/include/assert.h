/* assert.h for computational storage functions: a failed assertion is printed to the trace log and ends the program with a
 * fault. SPDX-License-Identifier: MIT OR Apache-2.0 */
#undef assert

#ifndef __bpf__
#include_next <assert.h>
#else

#ifdef NDEBUG
#define assert(condition) ((void)0)
#else
#include "stdlib.h"
#define CSDRIVE_ASSERT_TEXT(line) #line
#define CSDRIVE_ASSERT_LINE(line) CSDRIVE_ASSERT_TEXT(line)
#define assert(condition)                                                                          \
    ((condition) ? (void)0                                                                         \
                 : csd_assertion_failed(__FILE__ ":" CSDRIVE_ASSERT_LINE(__LINE__) ": assertion failed: " #condition "\n"))
#endif

#ifndef CSDRIVE_ASSERT_H
#define CSDRIVE_ASSERT_H
#define static_assert _Static_assert
#endif
#endif
