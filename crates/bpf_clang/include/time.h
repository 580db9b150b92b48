/* time.h for computational storage functions: no clock runs. The time is 0 in every run, so that results are the same.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef CSDRIVE_TIME_H
#define CSDRIVE_TIME_H

#ifndef __bpf__
#include_next <time.h>
#else
#include <stddef.h>

typedef long time_t;
typedef long clock_t;
#define CLOCKS_PER_SEC 1000000L

static inline time_t time(time_t *at)
{
    if (at)
        *at = 0;
    return 0;
}
static inline clock_t clock(void) { return 0; }
#define difftime(end, begin) ((double)((end) - (begin)))

#endif
#endif
