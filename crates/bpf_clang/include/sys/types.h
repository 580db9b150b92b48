/* sys/types.h for computational storage functions. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef CSDRIVE_SYS_TYPES_H
#define CSDRIVE_SYS_TYPES_H

#ifndef __bpf__
#include_next <sys/types.h>
#else
#include <stddef.h>
#include <stdint.h>
typedef long ssize_t;
typedef long off_t;
typedef unsigned char u_char;
typedef unsigned short u_short;
typedef unsigned int u_int;
typedef unsigned long u_long;
#endif
#endif
