/* string.h for computational storage functions: the memory functions are drive helpers, the
 * string functions are plain loops. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef CSDRIVE_STRING_H
#define CSDRIVE_STRING_H

#ifndef __bpf__
/* A native program has the C library's. */
#include_next <string.h>
#else

#include "csdrive_helpers.h"

static inline void *memcpy(void *to, const void *from, size_t n) { return csd_memcpy(to, from, n); }
static inline void *memmove(void *to, const void *from, size_t n) { return csd_memcpy(to, from, n); }
static inline void *memset(void *p, int byte, size_t n) { return csd_memset(p, byte, n); }
static inline int memcmp(const void *a, const void *b, size_t n) { return csd_memcmp(a, b, n); }
static inline void *memchr(const void *p, int byte, size_t n) { return csd_memchr(p, byte, n); }
static inline void *memmem(const void *p, size_t n, const void *pattern, size_t m)
{
    return csd_memmem(p, n, pattern, m);
}
static inline void *memrchr(const void *p, int byte, size_t n)
{
    const unsigned char *s = (const unsigned char *)p;
    while (n-- > 0)
        if (s[n] == (unsigned char)byte)
            return (void *)(s + n);
    return 0;
}

static inline size_t strlen(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}

static inline size_t strnlen(const char *s, size_t most)
{
    size_t n = 0;
    while (n < most && s[n])
        n++;
    return n;
}

static inline int strncmp(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (a[i] != b[i])
            return (unsigned char)a[i] - (unsigned char)b[i];
        if (!a[i])
            break;
    }
    return 0;
}

static inline int strcmp(const char *a, const char *b) { return strncmp(a, b, (size_t)-1); }

static inline int csd_lower(int c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }

static inline int strncasecmp(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int x = csd_lower((unsigned char)a[i]), y = csd_lower((unsigned char)b[i]);
        if (x != y)
            return x - y;
        if (!x)
            break;
    }
    return 0;
}

static inline int strcasecmp(const char *a, const char *b) { return strncasecmp(a, b, (size_t)-1); }

static inline char *stpcpy(char *to, const char *from)
{
    while ((*to = *from++))
        to++;
    return to;
}

static inline char *strcpy(char *to, const char *from)
{
    stpcpy(to, from);
    return to;
}

static inline char *strncpy(char *to, const char *from, size_t n)
{
    size_t i = 0;
    for (; i < n && from[i]; i++)
        to[i] = from[i];
    for (; i < n; i++)
        to[i] = 0;
    return to;
}

static inline char *strcat(char *to, const char *from)
{
    stpcpy(to + strlen(to), from);
    return to;
}

static inline char *strncat(char *to, const char *from, size_t n)
{
    char *end = to + strlen(to);
    size_t i = 0;
    for (; i < n && from[i]; i++)
        end[i] = from[i];
    end[i] = 0;
    return to;
}

static inline char *strchr(const char *s, int c)
{
    for (;; s++) {
        if (*s == (char)c)
            return (char *)s;
        if (!*s)
            return 0;
    }
}

static inline char *strchrnul(const char *s, int c)
{
    while (*s && *s != (char)c)
        s++;
    return (char *)s;
}

static inline char *strrchr(const char *s, int c)
{
    const char *found = 0;
    for (;; s++) {
        if (*s == (char)c)
            found = s;
        if (!*s)
            return (char *)found;
    }
}

static inline char *strstr(const char *s, const char *pattern)
{
    size_t n = strlen(pattern);
    for (;; s++) {
        if (strncmp(s, pattern, n) == 0)
            return (char *)s;
        if (!*s)
            return 0;
    }
}

static inline size_t strspn(const char *s, const char *set)
{
    size_t n = 0;
    while (s[n] && strchr(set, s[n]))
        n++;
    return n;
}

static inline size_t strcspn(const char *s, const char *set)
{
    size_t n = 0;
    while (s[n] && !strchr(set, s[n]))
        n++;
    return n;
}

static inline char *strpbrk(const char *s, const char *set)
{
    s += strcspn(s, set);
    return *s ? (char *)s : 0;
}

static inline char *strtok_r(char *s, const char *set, char **rest)
{
    if (!s)
        s = *rest;
    s += strspn(s, set);
    if (!*s) {
        *rest = s;
        return 0;
    }
    char *end = s + strcspn(s, set);
    *rest = *end ? end + 1 : end;
    *end = 0;
    return s;
}

static char *csd_strtok_rest __attribute__((unused));
static inline char *strtok(char *s, const char *set) { return strtok_r(s, set, &csd_strtok_rest); }

#endif
#endif
