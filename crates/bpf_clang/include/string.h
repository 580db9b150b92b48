/* string.h for computational storage functions: the memory functions are drive helpers, the
 * string functions are plain loops. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef CSDRIVE_STRING_H
#define CSDRIVE_STRING_H

#ifndef __bpf__
/* A native program has the C library's. */
#include_next <string.h>
#else

#include "csdrive_helpers.h"

#define memcpy(to, from, n) csd_memcpy((to), (from), (n))
#define memmove(to, from, n) csd_memcpy((to), (from), (n))
#define memset(p, byte, n) csd_memset((p), (byte), (n))
#define memcmp(a, b, n) csd_memcmp((a), (b), (n))
#define memchr(p, byte, n) csd_memchr((p), (byte), (n))
#define memmem(p, n, pattern, m) csd_memmem((p), (n), (pattern), (m))

static inline size_t csd_strlen(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}
#define strlen(s) csd_strlen(s)

static inline int csd_strncmp(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (a[i] != b[i])
            return (unsigned char)a[i] - (unsigned char)b[i];
        if (!a[i])
            break;
    }
    return 0;
}
#define strncmp(a, b, n) csd_strncmp((a), (b), (n))
#define strcmp(a, b) csd_strncmp((a), (b), (size_t)-1)

#endif
#endif
