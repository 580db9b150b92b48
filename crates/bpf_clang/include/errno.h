/* errno.h for computational storage functions. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef CSDRIVE_ERRNO_H
#define CSDRIVE_ERRNO_H

#ifndef __bpf__
#include_next <errno.h>
#else
static int errno __attribute__((unused));
#define EDOM 33
#define EINVAL 22
#define ENOMEM 12
#define ERANGE 34
#endif
#endif
