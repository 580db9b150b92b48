/* csdrive_helpers.h: the drive's helpers and the integer types, without `struct cemu_args`.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef CSDRIVE_HELPERS_H
#define CSDRIVE_HELPERS_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __bpf__

#include "stdint.h"

/* Helpers. The number of each is part of the ABI. A call costs one instruction of the budget, and
 * one more for every 64 bytes it touches. */

#ifdef __cplusplus
/* The loader finds them by their names. */
extern "C" {
long csd_trace(const char *format, unsigned int size, unsigned long a, unsigned long b, unsigned long c);
void *csd_memcpy(void *to, const void *from, unsigned long n);
void *csd_memset(void *p, int byte, unsigned long n);
int csd_memcmp(const void *a, const void *b, unsigned long n);
void *csd_memchr(const void *p, int byte, unsigned long n);
void *csd_memmem(const void *p, unsigned long n, const void *pattern, unsigned long m);
unsigned int csd_crc32c(unsigned int crc, const void *p, unsigned long n);
void csd_exit(long result);
}
#else

/* Prints at most three values to the drive's trace log; %d %i %u %x %X %c %s %p with h, l, ll and a width. */
static long (*const csd_trace)(const char *format, unsigned int size, unsigned long a, unsigned long b, unsigned long c) = (void *)6;

/* Copies n bytes; the two places may overlap. Returns `to`. */
static void *(*const csd_memcpy)(void *to, const void *from, unsigned long n) = (void *)1001;

/* Sets n bytes. Returns `p`. */
static void *(*const csd_memset)(void *p, int byte, unsigned long n) = (void *)1002;

/* Compares n bytes: negative, 0 or positive, as C's memcmp. */
static int (*const csd_memcmp)(const void *a, const void *b, unsigned long n) = (void *)1003;

/* Address of the first byte of that value, or 0. */
static void *(*const csd_memchr)(const void *p, int byte, unsigned long n) = (void *)1004;

/* Address of the first occurrence of the pattern (at most 4096 bytes), or 0. */
static void *(*const csd_memmem)(const void *p, unsigned long n, const void *pattern, unsigned long m) = (void *)1005;

/* CRC-32C (Castagnoli) of n bytes, continued from `crc` (0 to begin). */
static unsigned int (*const csd_crc32c)(unsigned int crc, const void *p, unsigned long n) = (void *)1006;

/* Ends the program, from wherever it is: `result` is its result. */
static void (*const csd_exit)(long result) = (void *)1007;

#endif

/* Prints a string literal and up to three values. */
#define csd_print(format, a, b, c)                                                                 \
    ({                                                                                             \
        static const char csd_format_[] = format;                                                  \
        csd_trace(csd_format_, sizeof csd_format_, (unsigned long)(a), (unsigned long)(b),          \
                  (unsigned long)(c));                                                             \
    })

#elif defined(__wasm__)

/* The same for a WebAssembly module: the drive has them under these names. */
#include "stdint.h"

#ifdef __cplusplus
#define CSDRIVE_IMPORT(name) extern "C" __attribute__((import_module("csdrive"), import_name(#name)))
#else
#define CSDRIVE_IMPORT(name) __attribute__((import_module("csdrive"), import_name(#name)))
#endif

CSDRIVE_IMPORT(csd_trace) int csd_trace(const char *format, unsigned int size, unsigned long long a, unsigned long long b, unsigned long long c);
CSDRIVE_IMPORT(csd_memcpy) void *csd_memcpy(void *to, const void *from, unsigned long n);
CSDRIVE_IMPORT(csd_memset) void *csd_memset(void *p, int byte, unsigned long n);
CSDRIVE_IMPORT(csd_memcmp) int csd_memcmp(const void *a, const void *b, unsigned long n);
CSDRIVE_IMPORT(csd_memchr) void *csd_memchr(const void *p, int byte, unsigned long n);
CSDRIVE_IMPORT(csd_memmem) void *csd_memmem(const void *p, unsigned long n, const void *pattern, unsigned long m);
CSDRIVE_IMPORT(csd_crc32c) unsigned int csd_crc32c(unsigned int crc, const void *p, unsigned long n);
CSDRIVE_IMPORT(csd_exit) void csd_exit(long result);

#define csd_print(format, a, b, c)                                                                 \
    ({                                                                                             \
        static const char csd_format_[] = format;                                                  \
        csd_trace(csd_format_, sizeof csd_format_, (unsigned long long)(a), (unsigned long long)(b), \
                  (unsigned long long)(c));                                                        \
    })

#else

/* The same for a program that is compiled to a shared object (a native program). */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define csd_memcpy(to, from, n) memmove((to), (from), (n))
#define csd_memset(p, byte, n) memset((p), (byte), (n))
#define csd_memcmp(a, b, n) memcmp((a), (b), (n))
#define csd_memchr(p, byte, n) ((void *)memchr((p), (byte), (n)))

static inline void *csd_memmem(const void *p, unsigned long n, const void *pattern, unsigned long m)
{
    for (unsigned long i = 0; m <= n && i <= n - m; i++)
        if (!memcmp((const char *)p + i, pattern, m))
            return (char *)p + i;
    return 0;
}

static inline unsigned int csd_crc32c(unsigned int crc, const void *p, unsigned long n)
{
    crc = ~crc;
    for (unsigned long i = 0; i < n; i++) {
        crc ^= ((const unsigned char *)p)[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

#define csd_trace(format, size, a, b, c) ((void)(size), printf((format), (a), (b), (c)))
#define csd_print(format, a, b, c) printf((format), (a), (b), (c))

#endif

/* In front of the data buffer of a program that is given a chunk of a stream with --overlap (client::Streaming::overlap). A record
 * that begins in the first `bytes` bytes of the chunk's range is this run's; what is behind them is the beginning of the next
 * chunk, so that the record is whole. */
struct csdrive_chunk {
    uint64_t position; /* where in the whole input the chunk begins */
    uint64_t bytes;    /* bytes of the chunk itself */
};

#endif
