/* strings.h for computational storage functions. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef __bpf__
#include_next <strings.h>
#else
#include "string.h"
#endif
