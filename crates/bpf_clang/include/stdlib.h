/* stdlib.h for computational storage functions. Memory that is allocated comes from an arena of CSDRIVE_ARENA_BYTES (1 MiB; define it
 * before this header for another size), which is fresh for each run; free() gives back the last allocation only.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef CSDRIVE_STDLIB_H
#define CSDRIVE_STDLIB_H

#ifndef __bpf__
#include_next <stdlib.h>
#else

#include "errno.h"
#include "string.h"

#define EXIT_SUCCESS 0
#define EXIT_FAILURE 1
#define RAND_MAX 2147483647

#ifndef CSDRIVE_ARENA_BYTES
#define CSDRIVE_ARENA_BYTES (1 << 20)
#endif

/* Ends the program with a fault: there is nothing at address 0. */
static inline __attribute__((noreturn)) void abort(void)
{
    *(volatile char *)0 = 0;
    for (;;)
        ;
}

static inline __attribute__((unused)) void csd_assertion_failed(const char *text)
{
    csd_trace(text, (unsigned int)strlen(text) + 1, 0, 0, 0);
    abort();
}

static inline int abs(int x) { return x < 0 ? -x : x; }
static inline long labs(long x) { return x < 0 ? -x : x; }
static inline long long llabs(long long x) { return x < 0 ? -x : x; }

/* Numbers. */
static inline unsigned long long csd_strtoull(const char *s, char **end, int base, int *is_negative, int *is_over)
{
    const char *begin = s;
    while (*s == ' ' || (*s >= '\t' && *s <= '\r'))
        s++;
    *is_negative = *s == '-';
    *is_over = 0;
    if (*s == '-' || *s == '+')
        s++;
    int digit = s[0] == '0' && (s[1] | 32) == 'x' ? (s[2] | 32) : 0;
    int is_hex = (digit >= '0' && digit <= '9') || (digit >= 'a' && digit <= 'f');
    if ((base == 0 || base == 16) && is_hex) {
        s += 2;
        base = 16;
    } else if (base == 0) {
        base = *s == '0' ? 8 : 10;
    }
    unsigned long long value = 0;
    int any = 0;
    for (;; s++, any = 1) {
        int c = *s, d;
        if (c >= '0' && c <= '9')
            d = c - '0';
        else if ((c | 32) >= 'a' && (c | 32) <= 'z')
            d = (c | 32) - 'a' + 10;
        else
            break;
        if (d >= base)
            break;
        if (value > (~0ULL - d) / base)
            *is_over = 1;
        value = value * base + d;
    }
    if (end)
        *end = (char *)(any ? s : begin);
    return value;
}

static inline unsigned long long strtoull(const char *s, char **end, int base)
{
    int is_negative, is_over;
    unsigned long long value = csd_strtoull(s, end, base, &is_negative, &is_over);
    if (is_over)
        errno = ERANGE;
    return is_over ? ~0ULL : is_negative ? -value : value;
}

static inline long long strtoll(const char *s, char **end, int base)
{
    int is_negative, is_over;
    unsigned long long value = csd_strtoull(s, end, base, &is_negative, &is_over);
    unsigned long long most = (1ULL << 63) - !is_negative;
    if (is_over || value > most) {
        errno = ERANGE;
        value = most;
    }
    return (long long)(is_negative ? -value : value);
}

static inline unsigned long strtoul(const char *s, char **end, int base) { return strtoull(s, end, base); }
static inline long strtol(const char *s, char **end, int base) { return strtoll(s, end, base); }
static inline long atol(const char *s) { return strtoll(s, 0, 10); }
static inline long long atoll(const char *s) { return strtoll(s, 0, 10); }
static inline int atoi(const char *s) { return (int)strtoll(s, 0, 10); }

/* The numbers of POSIX's example: the same for every run. */
static unsigned long csd_random __attribute__((unused)) = 1;
static inline void srand(unsigned int seed) { csd_random = seed; }
static inline int rand(void)
{
    csd_random = csd_random * 6364136223846793005UL + 1442695040888963407UL;
    return (int)(csd_random >> 33);
}
static inline int rand_r(unsigned int *seed)
{
    *seed = *seed * 1103515245 + 12345;
    return (int)(*seed / 2);
}

/* Memory. Before each allocation are its bytes. */
static struct {
    unsigned long next;
    unsigned long pad;
    char bytes[CSDRIVE_ARENA_BYTES] __attribute__((aligned(16)));
} csd_arena __attribute__((unused));

static inline void *malloc(size_t n)
{
    unsigned long at = csd_arena.next;
    if (n > sizeof csd_arena.bytes || at + 16 + n > sizeof csd_arena.bytes)
        return 0;
    *(unsigned long *)(csd_arena.bytes + at) = n;
    csd_arena.next = at + 16 + ((n + 15) & ~15UL);
    return csd_arena.bytes + at + 16;
}

static inline void free(void *p)
{
    if (!p)
        return;
    unsigned long at = (unsigned long)((char *)p - csd_arena.bytes) - 16;
    unsigned long n = *(unsigned long *)((char *)p - 16);
    if (at + 16 + ((n + 15) & ~15UL) == csd_arena.next)
        csd_arena.next = at;
}

static inline void *calloc(size_t count, size_t n)
{
    if (n && count > ~0UL / n)
        return 0;
    void *p = malloc(count * n);
    if (p)
        memset(p, 0, count * n);
    return p;
}

static inline void *realloc(void *p, size_t n)
{
    if (!p)
        return malloc(n);
    unsigned long old = *(unsigned long *)((char *)p - 16);
    void *fresh = malloc(n);
    if (fresh)
        memcpy(fresh, p, old < n ? old : n);
    return fresh;
}

static inline char *strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = (char *)malloc(n);
    return copy ? (char *)memcpy(copy, s, n) : 0;
}

/* Sorting and searching. They are inlined where they are used: so is the comparison. */
static inline __attribute__((always_inline)) void csd_swap(char *a, char *b, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char c = a[i];
        a[i] = b[i];
        b[i] = c;
    }
}

static inline __attribute__((always_inline)) void
csd_sift(char *base, size_t root, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= count)
            return;
        if (child + 1 < count && compare(base + child * size, base + (child + 1) * size) < 0)
            child++;
        if (compare(base + root * size, base + child * size) >= 0)
            return;
        csd_swap(base + root * size, base + child * size, size);
        root = child;
    }
}

/* Heapsort: n log n comparisons whatever the order, and no stack. */
static inline __attribute__((always_inline)) void
qsort(void *base, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    size_t root = count / 2, left = count;
    while (left > 1) {
        if (root > 0) {
            root--;
        } else {
            left--;
            csd_swap((char *)base, (char *)base + left * size, size);
        }
        csd_sift((char *)base, root, left, size, compare);
    }
}

static inline __attribute__((always_inline)) void *
bsearch(const void *key, const void *base, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const char *at = (const char *)base + middle * size;
        int order = compare(key, at);
        if (order == 0)
            return (void *)at;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return 0;
}

#endif
#endif
