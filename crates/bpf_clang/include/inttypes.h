/* inttypes.h for computational storage functions. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef CSDRIVE_INTTYPES_H
#define CSDRIVE_INTTYPES_H

#ifndef __bpf__
#include_next <inttypes.h>
#else
#include <stdint.h>
#define PRId8 "d"
#define PRId16 "d"
#define PRId32 "d"
#define PRId64 "ld"
#define PRIi32 "i"
#define PRIi64 "li"
#define PRIu8 "u"
#define PRIu16 "u"
#define PRIu32 "u"
#define PRIu64 "lu"
#define PRIx8 "x"
#define PRIx16 "x"
#define PRIx32 "x"
#define PRIx64 "lx"
#define PRIX32 "X"
#define PRIX64 "lX"
#define PRIdPTR "ld"
#define PRIuPTR "lu"
#define PRIxPTR "lx"
#endif
#endif
