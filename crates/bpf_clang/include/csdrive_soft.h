/* csdrive_soft.h: floating point and 128-bit division for a processor that has neither. csdrive includes it by itself where a
 * program needs it. IEEE 754-2019, round to nearest, ties to even; what is not a number is made as x86-64 makes it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef CSDRIVE_SOFT_H
#define CSDRIVE_SOFT_H

#ifdef __cplusplus
extern "C" {
#endif

typedef unsigned long csd_u64;
typedef long csd_i64;
typedef unsigned int csd_u32;

#ifndef CSD_SOFT
#define CSD_SOFT static __attribute__((used, noinline))
#endif
#define CSD_SOFT_INLINE static inline __attribute__((always_inline))
#define CSD_SIGN (1UL << 63)
#define CSD_INFINITY 0x7ff0000000000000UL
#define CSD_QUIET 0x0008000000000000UL
#define CSD_INDEFINITE 0xfff8000000000000UL

/* Leading zeroes; 64 of 0. */
CSD_SOFT_INLINE int csd_leading(csd_u64 x)
{
    int n = 0;
    if (!x)
        return 64;
    if (!(x >> 32)) { n += 32; x <<= 32; }
    if (!(x >> 48)) { n += 16; x <<= 16; }
    if (!(x >> 56)) { n += 8; x <<= 8; }
    if (!(x >> 60)) { n += 4; x <<= 4; }
    if (!(x >> 62)) { n += 2; x <<= 2; }
    return n + !(x >> 63);
}

/* For processors without a count. */
CSD_SOFT csd_u64 csd_i64_ctlz(csd_u64 x) { return (csd_u64)csd_leading(x); }
CSD_SOFT csd_u64 csd_i64_cttz(csd_u64 x) { return x ? 63 - (csd_u64)csd_leading(x & -x) : 64; }

/* x >> n, where the last bit says whether any was lost. */
CSD_SOFT_INLINE csd_u64 csd_shift_sticky(csd_u64 x, int n)
{
    if (n <= 0)
        return x;
    if (n >= 64)
        return x != 0;
    return x >> n | ((x << (64 - n)) != 0);
}

/* A number whose significand has its leading one in bit 63, with that bit's biased exponent. */
CSD_SOFT_INLINE csd_u64 csd_round_f64(csd_u64 sign, int e, csd_u64 significand)
{
    if (e >= 2047)
        return sign | CSD_INFINITY;
    if (e <= 0) {
        significand = csd_shift_sticky(significand, 1 - e);
        e = 1;
    }
    csd_u64 low = significand & 0x7ff;
    significand >>= 11;
    significand += low > 0x400 || (low == 0x400 && (significand & 1));
    return sign | (((csd_u64)(e - 1) << 52) + significand);
}

CSD_SOFT_INLINE csd_u32 csd_round_f32(csd_u32 sign, int e, csd_u64 significand)
{
    if (e >= 255)
        return sign | 0x7f800000;
    if (e <= 0) {
        significand = csd_shift_sticky(significand, 1 - e);
        e = 1;
    }
    csd_u64 low = significand & 0xffffffffffUL;
    significand >>= 40;
    significand += low > 0x8000000000UL || (low == 0x8000000000UL && (significand & 1));
    return sign | (((csd_u32)(e - 1) << 23) + (csd_u32)significand);
}

/* The significand of a finite number that is not 0, its leading one in bit 63; its exponent. */
CSD_SOFT_INLINE csd_u64 csd_parts_f64(csd_u64 x, int *e)
{
    int exponent = (int)(x >> 52 & 0x7ff);
    csd_u64 fraction = x << 12 >> 1;
    if (exponent) {
        *e = exponent;
        return fraction | CSD_SIGN;
    }
    int n = csd_leading(fraction);
    *e = 1 - n;
    return fraction << n;
}

CSD_SOFT_INLINE int csd_is_nan(csd_u64 x) { return (x & ~CSD_SIGN) > CSD_INFINITY; }
CSD_SOFT_INLINE csd_u64 csd_nan_of(csd_u64 a, csd_u64 b) { return (csd_is_nan(a) ? a : b) | CSD_QUIET; }

CSD_SOFT csd_u64 csd_f64_add(csd_u64 a, csd_u64 b)
{
    csd_u64 x = a & ~CSD_SIGN, y = b & ~CSD_SIGN;
    if (csd_is_nan(a) || csd_is_nan(b))
        return csd_nan_of(a, b);
    if (x == CSD_INFINITY)
        return y == CSD_INFINITY && a != b ? CSD_INDEFINITE : a;
    if (y == CSD_INFINITY)
        return b;
    if (!x || !y)
        return !x && !y ? a & b : x ? a : b;
    if (x < y) {
        csd_u64 t = a;
        a = b;
        b = t;
    }
    int e, f;
    csd_u64 p = csd_parts_f64(a, &e) >> 3, q = csd_parts_f64(b, &f) >> 3;
    q = csd_shift_sticky(q, e - f);
    csd_u64 sum = (a ^ b) & CSD_SIGN ? p - q : p + q;
    if (!sum)
        return 0;
    int n = csd_leading(sum);
    return csd_round_f64(a & CSD_SIGN, e + 3 - n, sum << n);
}

CSD_SOFT csd_u64 csd_f64_sub(csd_u64 a, csd_u64 b)
{
    return csd_f64_add(a, csd_is_nan(b) ? b : b ^ CSD_SIGN);
}

CSD_SOFT csd_u64 csd_f64_mul(csd_u64 a, csd_u64 b)
{
    csd_u64 x = a & ~CSD_SIGN, y = b & ~CSD_SIGN, sign = (a ^ b) & CSD_SIGN;
    if (csd_is_nan(a) || csd_is_nan(b))
        return csd_nan_of(a, b);
    if (x == CSD_INFINITY || y == CSD_INFINITY)
        return x && y ? sign | CSD_INFINITY : CSD_INDEFINITE;
    if (!x || !y)
        return sign;
    int e, f;
    csd_u64 p = csd_parts_f64(a, &e), q = csd_parts_f64(b, &f);
    /* 53 bits each: of 32 and 21. */
    csd_u64 p1 = p >> 32, p0 = p & 0xffffffffUL, q1 = q >> 32, q0 = q & 0xffffffffUL;
    csd_u64 middle = p1 * q0 + (p0 * q0 >> 32), other = p0 * q1 + (middle & 0xffffffffUL);
    csd_u64 high = p1 * q1 + (middle >> 32) + (other >> 32), low = p * q;
    e += f - 1022;
    if (!(high >> 63)) {
        high = high << 1 | low >> 63;
        low <<= 1;
        e--;
    }
    return csd_round_f64(sign, e, high | (low != 0));
}

CSD_SOFT csd_u64 csd_f64_div(csd_u64 a, csd_u64 b)
{
    csd_u64 x = a & ~CSD_SIGN, y = b & ~CSD_SIGN, sign = (a ^ b) & CSD_SIGN;
    if (csd_is_nan(a) || csd_is_nan(b))
        return csd_nan_of(a, b);
    if (x == CSD_INFINITY)
        return y == CSD_INFINITY ? CSD_INDEFINITE : sign | CSD_INFINITY;
    if (y == CSD_INFINITY)
        return sign;
    if (!y)
        return x ? sign | CSD_INFINITY : CSD_INDEFINITE;
    if (!x)
        return sign;
    int e, f, bits = 55;
    csd_u64 r = csd_parts_f64(a, &e), d = csd_parts_f64(b, &f), q = 0;
    e += 1023 - f;
    if (r >= d) {
        r -= d;
        q = 1;
    } else {
        e--;
        bits = 56;
    }
    for (int i = 0; i < bits; i++) {
        csd_u64 carry = r >> 63;
        r <<= 1;
        q <<= 1;
        if (carry || r >= d) {
            r -= d;
            q |= 1;
        }
    }
    return csd_round_f64(sign, e, q << 8 | (r != 0));
}

CSD_SOFT csd_u64 csd_f64_rem(csd_u64 a, csd_u64 b)
{
    csd_u64 x = a & ~CSD_SIGN, y = b & ~CSD_SIGN, sign = a & CSD_SIGN;
    if (csd_is_nan(a) || csd_is_nan(b))
        return csd_nan_of(a, b);
    if (x == CSD_INFINITY || !y)
        return CSD_INDEFINITE;
    if (y == CSD_INFINITY || !x)
        return a;
    int e, f;
    csd_u64 r = csd_parts_f64(a, &e), d = csd_parts_f64(b, &f);
    if (e < f)
        return a;
    if (r >= d)
        r -= d;
    for (; e > f; e--) {
        csd_u64 carry = r >> 63;
        r <<= 1;
        if (carry || r >= d)
            r -= d;
    }
    if (!r)
        return sign;
    int n = csd_leading(r);
    return csd_round_f64(sign, f - n, r << n);
}

CSD_SOFT csd_u64 csd_f64_sqrt(csd_u64 a)
{
    if (csd_is_nan(a))
        return a | CSD_QUIET;
    if (!(a & ~CSD_SIGN) || a == CSD_INFINITY)
        return a;
    if (a & CSD_SIGN)
        return CSD_INDEFINITE;
    int e;
    csd_u64 significand = csd_parts_f64(a, &e), q = 0, r = 0;
    e -= 1023;
    if (e & 1) {
        r = significand >> 62;
        significand <<= 2;
    } else {
        r = significand >> 63;
        significand <<= 1;
    }
    q = 1;
    r -= 1;
    for (int i = 0; i < 55; i++) {
        r = r << 2 | significand >> 62;
        significand <<= 2;
        csd_u64 t = q << 2 | 1;
        q <<= 1;
        if (r >= t) {
            r -= t;
            q |= 1;
        }
    }
    return csd_round_f64(0, (e >> 1) + 1023, q << 8 | (r != 0));
}

/* 1 equal, 2 less, 4 greater, 8 not a number. */
CSD_SOFT csd_u32 csd_f64_compare(csd_u64 a, csd_u64 b)
{
    if (csd_is_nan(a) || csd_is_nan(b))
        return 8;
    if (a == b || !((a | b) & ~CSD_SIGN))
        return 1;
    csd_i64 x = a & CSD_SIGN ? (csd_i64)(CSD_SIGN - a) : (csd_i64)a;
    csd_i64 y = b & CSD_SIGN ? (csd_i64)(CSD_SIGN - b) : (csd_i64)b;
    return x < y ? 2 : 4;
}

CSD_SOFT csd_u64 csd_u64_to_f64(csd_u64 x)
{
    int n = csd_leading(x);
    return x ? csd_round_f64(0, 1023 + 63 - n, x << n) : 0;
}

CSD_SOFT csd_u64 csd_i64_to_f64(csd_u64 x)
{
    csd_u64 sign = x & CSD_SIGN;
    return csd_u64_to_f64(sign ? -x : x) | sign;
}

CSD_SOFT csd_u32 csd_u64_to_f32(csd_u64 x)
{
    int n = csd_leading(x);
    return x ? csd_round_f32(0, 127 + 63 - n, x << n) : 0;
}

CSD_SOFT csd_u32 csd_i64_to_f32(csd_u64 x)
{
    csd_u64 sign = x & CSD_SIGN;
    return csd_u64_to_f32(sign ? -x : x) | (csd_u32)(sign >> 32);
}

/* What does not fit is the lowest number. */
CSD_SOFT csd_u64 csd_f64_to_i64(csd_u64 a)
{
    int e = (int)(a >> 52 & 0x7ff) - 1023;
    if (e < 0)
        return 0;
    if (e >= 63)
        return CSD_SIGN;
    csd_u64 magnitude = (a << 11 | CSD_SIGN) >> (63 - e);
    return a & CSD_SIGN ? -magnitude : magnitude;
}

CSD_SOFT csd_u64 csd_f64_to_u64(csd_u64 a)
{
    int e = (int)(a >> 52 & 0x7ff) - 1023;
    if (!(a & CSD_SIGN) && e == 63)
        return a << 11 | CSD_SIGN;
    return e > 63 ? ~0UL : csd_f64_to_i64(a);
}

CSD_SOFT csd_u64 csd_f32_to_f64(csd_u32 a)
{
    csd_u64 sign = (csd_u64)(a >> 31) << 63, exponent = a >> 23 & 0xff, fraction = a & 0x7fffff;
    if (exponent == 255)
        return sign | CSD_INFINITY | fraction << 29 | (fraction ? CSD_QUIET : 0);
    if (exponent)
        return sign | (exponent + 1023 - 127) << 52 | fraction << 29;
    if (!fraction)
        return sign;
    int n = csd_leading(fraction);
    return csd_round_f64(sign, 1023 - 127 + 41 - n, fraction << n);
}

CSD_SOFT csd_u32 csd_f64_to_f32(csd_u64 a)
{
    csd_u32 sign = (csd_u32)(a >> 63) << 31;
    csd_u64 x = a & ~CSD_SIGN;
    if (x > CSD_INFINITY)
        return sign | 0x7fc00000 | (csd_u32)(x >> 29 & 0x3fffff);
    if (x == CSD_INFINITY)
        return sign | 0x7f800000;
    if (!x)
        return sign;
    int e;
    csd_u64 significand = csd_parts_f64(a, &e);
    return csd_round_f32(sign, e - 1023 + 127, significand);
}

/* 0 towards zero, 1 down, 2 up, 3 nearest with ties away, 4 nearest with ties to even. */
CSD_SOFT_INLINE csd_u64 csd_whole_f64(csd_u64 a, int way)
{
    int e = (int)(a >> 52 & 0x7ff) - 1023;
    csd_u64 sign = a & CSD_SIGN;
    if (csd_is_nan(a))
        return a | CSD_QUIET;
    if (e >= 52 || !(a & ~CSD_SIGN))
        return a;
    if (e < 0) {
        csd_u64 half = 0x3fe0000000000000UL, x = a & ~CSD_SIGN;
        int is_one = (way == 1 && sign) || (way == 2 && !sign) || (way == 3 && x >= half) || (way == 4 && x > half);
        return sign | (is_one ? 0x3ff0000000000000UL : 0);
    }
    csd_u64 unit = 1UL << (52 - e), part = a & (unit - 1), below = a - part;
    int is_up = (way == 1 && sign && part) || (way == 2 && !sign && part) || (way == 3 && part >= unit >> 1) ||
                (way == 4 && (part > unit >> 1 || (part == unit >> 1 && (e ? below & unit : 1))));
    return is_up ? below + unit : below;
}
CSD_SOFT csd_u64 csd_f64_trunc(csd_u64 a) { return csd_whole_f64(a, 0); }
CSD_SOFT csd_u64 csd_f64_floor(csd_u64 a) { return csd_whole_f64(a, 1); }
CSD_SOFT csd_u64 csd_f64_ceil(csd_u64 a) { return csd_whole_f64(a, 2); }
CSD_SOFT csd_u64 csd_f64_round(csd_u64 a) { return csd_whole_f64(a, 3); }
CSD_SOFT csd_u64 csd_f64_rint(csd_u64 a) { return csd_whole_f64(a, 4); }
CSD_SOFT csd_u64 csd_f64_fabs(csd_u64 a) { return a & ~CSD_SIGN; }
CSD_SOFT csd_u64 csd_f64_copysign(csd_u64 a, csd_u64 b) { return (a & ~CSD_SIGN) | (b & CSD_SIGN); }
CSD_SOFT csd_u64 csd_f64_min(csd_u64 a, csd_u64 b)
{
    return csd_is_nan(a) ? b : csd_is_nan(b) || csd_f64_compare(a, b) == 2 ? a : b;
}
CSD_SOFT csd_u64 csd_f64_max(csd_u64 a, csd_u64 b)
{
    return csd_is_nan(a) ? b : csd_is_nan(b) || csd_f64_compare(a, b) == 4 ? a : b;
}

/* A float is computed as a double, which has more than twice its bits and two: rounding twice is then rounding once (Figueroa 1995). */
#define CSD_F32_OF_2(name)                                                                         \
    CSD_SOFT csd_u32 csd_f32_##name(csd_u32 a, csd_u32 b)                                          \
    {                                                                                              \
        return csd_f64_to_f32(csd_f64_##name(csd_f32_to_f64(a), csd_f32_to_f64(b)));               \
    }
#define CSD_F32_OF_1(name)                                                                         \
    CSD_SOFT csd_u32 csd_f32_##name(csd_u32 a) { return csd_f64_to_f32(csd_f64_##name(csd_f32_to_f64(a))); }
CSD_F32_OF_2(add)
CSD_F32_OF_2(sub)
CSD_F32_OF_2(mul)
CSD_F32_OF_2(div)
CSD_F32_OF_2(rem)
CSD_F32_OF_2(min)
CSD_F32_OF_2(max)
CSD_F32_OF_1(sqrt)
CSD_F32_OF_1(trunc)
CSD_F32_OF_1(floor)
CSD_F32_OF_1(ceil)
CSD_F32_OF_1(round)
CSD_F32_OF_1(rint)
CSD_SOFT csd_u32 csd_f32_fabs(csd_u32 a) { return a & 0x7fffffff; }
CSD_SOFT csd_u32 csd_f32_copysign(csd_u32 a, csd_u32 b) { return (a & 0x7fffffff) | (b & 0x80000000); }
CSD_SOFT csd_u32 csd_f32_compare(csd_u32 a, csd_u32 b) { return csd_f64_compare(csd_f32_to_f64(a), csd_f32_to_f64(b)); }
CSD_SOFT csd_u64 csd_f32_to_i64(csd_u32 a) { return csd_f64_to_i64(csd_f32_to_f64(a)); }
CSD_SOFT csd_u64 csd_f32_to_u64(csd_u32 a) { return csd_f64_to_u64(csd_f32_to_f64(a)); }

/* Quotient and remainder of 128 bits, as memory has them. */
CSD_SOFT_INLINE void csd_divide_128(csd_u64 *q, csd_u64 *r, csd_u64 al, csd_u64 ah, csd_u64 bl, csd_u64 bh)
{
    csd_u64 rl = 0, rh = 0;
    int n = 128;
    if (!ah && !bh) {
        /* Division by zero gives 0 and the dividend, as for 64 bits. */
        q[0] = bl ? al / bl : 0;
        r[0] = bl ? al % bl : al;
        q[1] = r[1] = 0;
        return;
    }
    if (!(bl | bh)) {
        q[0] = q[1] = 0;
        r[0] = al;
        r[1] = ah;
        return;
    }
    for (; n > 0; n--) {
        csd_u64 carry = rh >> 63;
        rh = rh << 1 | rl >> 63;
        rl = rl << 1 | ah >> 63;
        ah = ah << 1 | al >> 63;
        al <<= 1;
        if (carry || rh > bh || (rh == bh && rl >= bl)) {
            rh -= bh + (rl < bl);
            rl -= bl;
            al |= 1;
        }
    }
    q[0] = al;
    q[1] = ah;
    r[0] = rl;
    r[1] = rh;
}

CSD_SOFT void csd_i128_udiv(csd_u64 *to, csd_u64 al, csd_u64 ah, csd_u64 bl, csd_u64 bh)
{
    csd_u64 r[2];
    csd_divide_128(to, r, al, ah, bl, bh);
}

CSD_SOFT void csd_i128_urem(csd_u64 *to, csd_u64 al, csd_u64 ah, csd_u64 bl, csd_u64 bh)
{
    csd_u64 q[2];
    csd_divide_128(q, to, al, ah, bl, bh);
}

CSD_SOFT void csd_i128_sdiv(csd_u64 *to, csd_u64 al, csd_u64 ah, csd_u64 bl, csd_u64 bh)
{
    int is_negative = (ah ^ bh) >> 63 != 0;
    if (ah >> 63) {
        ah = -ah - (al != 0);
        al = -al;
    }
    if (bh >> 63) {
        bh = -bh - (bl != 0);
        bl = -bl;
    }
    csd_i128_udiv(to, al, ah, bl, bh);
    if (is_negative) {
        to[1] = -to[1] - (to[0] != 0);
        to[0] = -to[0];
    }
}

CSD_SOFT void csd_i128_srem(csd_u64 *to, csd_u64 al, csd_u64 ah, csd_u64 bl, csd_u64 bh)
{
    int is_negative = ah >> 63 != 0;
    if (is_negative) {
        ah = -ah - (al != 0);
        al = -al;
    }
    if (bh >> 63) {
        bh = -bh - (bl != 0);
        bl = -bl;
    }
    csd_i128_urem(to, al, ah, bl, bh);
    if (is_negative) {
        to[1] = -to[1] - (to[0] != 0);
        to[0] = -to[0];
    }
}

#ifdef __cplusplus
}
#endif
#endif
