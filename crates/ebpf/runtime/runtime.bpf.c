// What compilers call and no program has: arithmetic that BPF does not have, by the names of GCC's and LLVM's libraries
// (GCC internals, "Routines for floating point emulation", "Routines for integer arithmetic"), and strings. The loader adds it to a
// program that has such an undefined function. Rebuilt by `cargo xtask examples`.
#define CSD_SOFT static inline __attribute__((always_inline, unused))
#include "csdrive_soft.h"

typedef unsigned int u32;
typedef unsigned long u64;
typedef long i64;
typedef int i32;

#define BINARY(type, name, function) type name(type a, type b) { return function(a, b); }
BINARY(u64, __adddf3, csd_f64_add)
BINARY(u64, __subdf3, csd_f64_sub)
BINARY(u64, __muldf3, csd_f64_mul)
BINARY(u64, __divdf3, csd_f64_div)
BINARY(u64, fmod, csd_f64_rem)
BINARY(u64, fmin, csd_f64_min)
BINARY(u64, fmax, csd_f64_max)
BINARY(u32, __addsf3, csd_f32_add)
BINARY(u32, __subsf3, csd_f32_sub)
BINARY(u32, __mulsf3, csd_f32_mul)
BINARY(u32, __divsf3, csd_f32_div)

u64 sqrt(u64 a) { return csd_f64_sqrt(a); }
u64 floor(u64 a) { return csd_f64_floor(a); }
u64 ceil(u64 a) { return csd_f64_ceil(a); }
u64 trunc(u64 a) { return csd_f64_trunc(a); }
u64 round(u64 a) { return csd_f64_round(a); }
u64 rint(u64 a) { return csd_f64_rint(a); }
u64 fabs(u64 a) { return csd_f64_fabs(a); }
u32 sqrtf(u32 a) { return csd_f32_sqrt(a); }
u64 __negdf2(u64 a) { return a ^ CSD_SIGN; }
u32 __negsf2(u32 a) { return a ^ 0x80000000; }

// Negative, 0 or positive as the first is less, equal or greater; what is returned of what is no number makes every comparison false.
#define ORDER(type, suffix, compare)                                                               \
    i64 __lt##suffix(type a, type b) { u32 c = compare(a, b); return c == 2 ? -1 : c != 1; }       \
    i64 __le##suffix(type a, type b) { u32 c = compare(a, b); return c == 2 ? -1 : c != 1; }       \
    i64 __eq##suffix(type a, type b) { return compare(a, b) != 1; }                                \
    i64 __ne##suffix(type a, type b) { return compare(a, b) != 1; }                                \
    i64 __gt##suffix(type a, type b) { u32 c = compare(a, b); return c == 4 ? 1 : c == 1 ? 0 : -1; } \
    i64 __ge##suffix(type a, type b) { u32 c = compare(a, b); return c == 4 ? 1 : c == 1 ? 0 : -1; } \
    i64 __cmp##suffix(type a, type b) { u32 c = compare(a, b); return c == 2 ? -1 : c != 1; }      \
    i64 __unord##suffix(type a, type b) { return compare(a, b) == 8; }
ORDER(u64, df2, csd_f64_compare)
ORDER(u32, sf2, csd_f32_compare)

u64 __extendsfdf2(u32 a) { return csd_f32_to_f64(a); }
u32 __truncdfsf2(u64 a) { return csd_f64_to_f32(a); }
u64 __fixdfdi(u64 a) { return csd_f64_to_i64(a); }
u64 __fixdfsi(u64 a) { return (u64)(i64)(i32)csd_f64_to_i64(a); }
u64 __fixunsdfdi(u64 a) { return csd_f64_to_u64(a); }
u64 __fixunsdfsi(u64 a) { return (u32)csd_f64_to_u64(a); }
u64 __fixsfdi(u32 a) { return csd_f32_to_i64(a); }
u64 __fixsfsi(u32 a) { return (u64)(i64)(i32)csd_f32_to_i64(a); }
u64 __fixunssfdi(u32 a) { return csd_f32_to_u64(a); }
u64 __fixunssfsi(u32 a) { return (u32)csd_f32_to_u64(a); }
u64 __floatdidf(u64 a) { return csd_i64_to_f64(a); }
u64 __floatsidf(i32 a) { return csd_i64_to_f64((u64)(i64)a); }
u64 __floatundidf(u64 a) { return csd_u64_to_f64(a); }
u64 __floatunsidf(u32 a) { return csd_u64_to_f64(a); }
u32 __floatdisf(u64 a) { return csd_i64_to_f32(a); }
u32 __floatsisf(i32 a) { return csd_i64_to_f32((u64)(i64)a); }
u32 __floatundisf(u64 a) { return csd_u64_to_f32(a); }
u32 __floatunsisf(u32 a) { return csd_u64_to_f32(a); }

// By zero as RFC 9669 has it: 0, and the dividend.
i64 __divdi3(i64 a, i64 b)
{
    u64 x = a < 0 ? -(u64)a : (u64)a, y = b < 0 ? -(u64)b : (u64)b, q = y ? x / y : 0;
    return (i64)((a ^ b) < 0 ? -q : q);
}
i64 __moddi3(i64 a, i64 b)
{
    u64 x = a < 0 ? -(u64)a : (u64)a, y = b < 0 ? -(u64)b : (u64)b, r = y ? x % y : x;
    return (i64)(a < 0 ? -r : r);
}
u64 __udivdi3(u64 a, u64 b) { return b ? a / b : 0; }
u64 __umoddi3(u64 a, u64 b) { return b ? a % b : a; }
u64 __muldi3(u64 a, u64 b) { return a * b; }
u64 __ashldi3(u64 a, i32 n) { return a << n; }
u64 __lshrdi3(u64 a, i32 n) { return a >> n; }
i64 __ashrdi3(i64 a, i32 n) { return a >> n; }

static inline u64 ones(u64 x)
{
    x -= x >> 1 & 0x5555555555555555UL;
    x = (x & 0x3333333333333333UL) + (x >> 2 & 0x3333333333333333UL);
    return ((x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fUL) * 0x0101010101010101UL >> 56;
}
u64 __popcountdi2(u64 x) { return ones(x); }
u64 __popcountsi2(u32 x) { return ones(x); }
u64 __paritydi2(u64 x) { return ones(x) & 1; }
u64 __paritysi2(u32 x) { return ones(x) & 1; }
u64 __clzdi2(u64 x) { return csd_leading(x); }
u64 __clzsi2(u32 x) { return csd_leading(x) - 32; }
u64 __ctzdi2(u64 x) { return x ? 63 - csd_leading(x & -x) : 64; }
u64 __ctzsi2(u32 x) { return x ? 63 - csd_leading(x & -x) : 32; }
u64 __ffsdi2(u64 x) { return x ? 64 - csd_leading(x & -x) : 0; }
u64 __ffssi2(u32 x) { return x ? 64 - csd_leading(x & -x) : 0; }
u64 __bswapdi2(u64 x)
{
    x = (x & 0x00ff00ff00ff00ffUL) << 8 | (x >> 8 & 0x00ff00ff00ff00ffUL);
    x = (x & 0x0000ffff0000ffffUL) << 16 | (x >> 16 & 0x0000ffff0000ffffUL);
    return x << 32 | x >> 32;
}
u64 __bswapsi2(u32 x) { return __bswapdi2(x) >> 32; }

u64 strlen(const char *s)
{
    u64 n = 0;
    while (s[n])
        n++;
    return n;
}
i64 strncmp(const char *a, const char *b, u64 n)
{
    for (u64 i = 0; i < n; i++) {
        if (a[i] != b[i])
            return (unsigned char)a[i] - (unsigned char)b[i];
        if (!a[i])
            break;
    }
    return 0;
}
i64 strcmp(const char *a, const char *b)
{
    for (u64 i = 0;; i++) {
        if (a[i] != b[i])
            return (unsigned char)a[i] - (unsigned char)b[i];
        if (!a[i])
            return 0;
    }
}
char *strcpy(char *to, const char *from)
{
    for (u64 i = 0; (to[i] = from[i]); i++)
        ;
    return to;
}
char *strchr(const char *s, int c)
{
    for (;; s++) {
        if (*s == (char)c)
            return (char *)s;
        if (!*s)
            return 0;
    }
}
i64 abs(i32 x) { return x < 0 ? -(i64)x : x; }
