/* stdlib.h for computational storage functions. Memory that is allocated comes from an arena of CSDRIVE_ARENA_BYTES (4 MiB; define it
 * before this header for another size, at most 15 MiB), which is fresh for each run.
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
#define CSDRIVE_ARENA_BYTES (4 << 20)
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

/* Ends the program; its result is the code. */
static inline __attribute__((noreturn)) void exit(int code)
{
    csd_exit(code);
    for (;;)
        ;
}
static inline __attribute__((noreturn)) void _Exit(int code) { exit(code); }

typedef struct { int quot, rem; } div_t;
typedef struct { long quot, rem; } ldiv_t;
typedef struct { long long quot, rem; } lldiv_t;
static inline div_t div(int a, int b) { return (div_t){a / b, a % b}; }
static inline ldiv_t ldiv(long a, long b) { return (ldiv_t){a / b, a % b}; }
static inline lldiv_t lldiv(long long a, long long b) { return (lldiv_t){a / b, a % b}; }

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

/* Exact for numbers of at most 15 digits with exponents of at most 22; others are within two units in the last place. */
static __attribute__((noinline, unused)) double strtod(const char *s, char **end)
{
    const char *begin = s, *after;
    while (*s == ' ' || (*s >= '\t' && *s <= '\r'))
        s++;
    int is_negative = *s == '-';
    if (*s == '-' || *s == '+')
        s++;
    unsigned long digits = 0;
    int exponent = 0, any = 0, is_fraction = 0;
    double value;
    if ((s[0] | 32) == 'i' && (s[1] | 32) == 'n' && (s[2] | 32) == 'f') {
        after = s + 3;
        value = __builtin_huge_val();
        any = 1;
    } else if ((s[0] | 32) == 'n' && (s[1] | 32) == 'a' && (s[2] | 32) == 'n') {
        after = s + 3;
        value = __builtin_nan("");
        any = 1;
    } else {
        for (;; s++) {
            if (*s == '.' && !is_fraction) {
                is_fraction = 1;
                continue;
            }
            if (*s < '0' || *s > '9')
                break;
            any = 1;
            if (digits < 1000000000000000000UL) {
                digits = digits * 10 + (unsigned long)(*s - '0');
                exponent -= is_fraction;
            } else {
                exponent += !is_fraction;
            }
        }
        after = s;
        if (any && (*s | 32) == 'e') {
            const char *e = s + 1;
            int is_below = *e == '-', n = 0;
            if (*e == '-' || *e == '+')
                e++;
            if (*e >= '0' && *e <= '9') {
                for (; *e >= '0' && *e <= '9'; e++)
                    n = n < 100000 ? n * 10 + (*e - '0') : n;
                exponent += is_below ? -n : n;
                after = e;
            }
        }
        value = (double)digits;
        if (exponent < -400)
            value = 0;
        for (; digits && exponent > 0 && value < __builtin_huge_val(); exponent -= exponent < 22 ? exponent : 22) {
            double power = 1;
            for (int i = 0; i < exponent && i < 22; i++)
                power *= 10;
            value *= power;
        }
        while (digits && exponent < 0 && value > 0) {
            double power = 1;
            int step = exponent > -22 ? -exponent : 22;
            for (int i = 0; i < step; i++)
                power *= 10;
            value /= power;
            exponent += step;
        }
    }
    if (end)
        *end = (char *)(any ? after : begin);
    return !any ? 0 : is_negative ? -value : value;
}
static inline float strtof(const char *s, char **end) { return (float)strtod(s, end); }
static inline double atof(const char *s) { return strtod(s, 0); }

/* The numbers of the GNU C library's rand(): each is the sum of those 31 and 3 before it. */
static struct {
    unsigned int last[34];
    int at, is_seeded;
} csd_random __attribute__((unused));
static __attribute__((noinline, unused)) void srand(unsigned int seed)
{
    int word = seed ? (int)seed : 1;
    csd_random.last[0] = (unsigned int)word;
    for (int i = 1; i < 31; i++) {
        word = (int)((16807L * word) % 2147483647);
        if (word < 0)
            word += 2147483647;
        csd_random.last[i] = (unsigned int)word;
    }
    for (int i = 31; i < 34; i++)
        csd_random.last[i] = csd_random.last[i - 31];
    csd_random.at = 0;
    csd_random.is_seeded = 1;
    for (int i = 34; i < 344; i++) {
        unsigned int *last = csd_random.last;
        last[csd_random.at] = last[(csd_random.at + 3) % 34] + last[(csd_random.at + 31) % 34];
        csd_random.at = (csd_random.at + 1) % 34;
    }
}
static __attribute__((noinline, unused)) int rand(void)
{
    if (!csd_random.is_seeded)
        srand(1);
    unsigned int *last = csd_random.last, at = (unsigned int)csd_random.at;
    unsigned int value = last[at] = last[(at + 3) % 34] + last[(at + 31) % 34];
    csd_random.at = (int)((at + 1) % 34);
    return (int)(value >> 1);
}
static inline int rand_r(unsigned int *seed)
{
    *seed = *seed * 1103515245 + 12345;
    return (int)(*seed / 2);
}

/* Memory. Before each allocation are its bytes. What is given back waits for the next of its class: multiples of 16 bytes up to 512,
 * then powers of two. */
static struct {
    unsigned long next;
    int is_full, pad;
    /* For each class, the one given back last; in it is the one before. */
    char *free[96];
    char bytes[CSDRIVE_ARENA_BYTES] __attribute__((aligned(16)));
} csd_arena __attribute__((unused));

static inline int csd_class(size_t n, size_t *room)
{
    int kind = (int)((n + 15) / 16);
    *room = (size_t)kind * 16;
    if (n > 512)
        for (kind = 33, *room = 1024; *room < n; kind++)
            *room *= 2;
    return kind;
}

static __attribute__((noinline, unused)) void *malloc(size_t n)
{
    size_t room, most = sizeof csd_arena.bytes, at = csd_arena.next;
    if (n <= most) {
        int kind = csd_class(n, &room);
        char *p = csd_arena.free[kind];
        if (p) {
            csd_arena.free[kind] = *(char **)p;
            *(size_t *)(p - 16) = n;
            return p;
        }
        /* The last one may have less than its class. */
        if (at + 16 + room > most)
            room = (n + 15) & ~15UL;
        if (at + 16 + room <= most) {
            csd_arena.next = at + 16 + room;
            *(size_t *)(csd_arena.bytes + at) = n;
            return csd_arena.bytes + at + 16;
        }
    }
    if (!csd_arena.is_full) {
        csd_arena.is_full = 1;
        csd_trace("csdrive: malloc has no more memory: #define CSDRIVE_ARENA_BYTES (15 << 20) before stdlib.h\n", 93, 0, 0, 0);
    }
    return 0;
}

static inline void free(void *p)
{
    size_t room, n;
    if (!p)
        return;
    n = *(size_t *)((char *)p - 16);
    char **list = csd_arena.free + csd_class(n, &room);
    unsigned long at = (unsigned long)((char *)p - csd_arena.bytes);
    if (at + room == csd_arena.next) {
        csd_arena.next = at - 16;
        return;
    }
    /* The last one before the end of the arena has less than its class. */
    if (room == 0 || at + room > sizeof csd_arena.bytes)
        return;
    *(char **)p = *list;
    *list = (char *)p;
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
    if (fresh) {
        memcpy(fresh, p, old < n ? old : n);
        free(p);
    }
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
        /* Only "greater" is asked for: so comparisons that know no "less" sort, too. */
        if (child + 1 < count && compare(base + (child + 1) * size, base + child * size) > 0)
            child++;
        if (compare(base + child * size, base + root * size) <= 0)
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
