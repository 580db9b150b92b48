/* math.h for computational storage functions. sqrt, the roundings and the remainder are exact; the others are within some units in
 * the last place. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef CSDRIVE_MATH_H
#define CSDRIVE_MATH_H

#ifndef __bpf__
#include_next <math.h>
#else

#include "csdrive_soft.h"

#define M_E 2.71828182845904523536
#define M_LN2 0.69314718055994530942
#define M_LN10 2.30258509299404568402
#define M_PI 3.14159265358979323846
#define M_PI_2 1.57079632679489661923
#define M_PI_4 0.78539816339744830962
#define M_SQRT2 1.41421356237309504880
#define M_SQRT1_2 0.70710678118654752440
#define M_1_PI 0.31830988618379067154
#define M_LOG2E 1.44269504088896340736
#define M_LOG10E 0.43429448190325182765
#define HUGE_VALF INFINITY
#define HUGE_VAL __builtin_huge_val()
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define isnan(x) ((x) != (x))
#define isinf(x) (fabs((double)(x)) == HUGE_VAL)
#define isfinite(x) (fabs((double)(x)) < HUGE_VAL)
#define signbit(x) ((int)(csd_bits_of((double)(x)) >> 63))

static inline csd_u64 csd_bits_of(double x)
{
    union { double d; csd_u64 u; } bits = {x};
    return bits.u;
}
static inline double csd_double_of(csd_u64 x)
{
    union { csd_u64 u; double d; } bits = {x};
    return bits.d;
}

static inline double fabs(double x) { return csd_double_of(csd_f64_fabs(csd_bits_of(x))); }
static inline double sqrt(double x) { return csd_double_of(csd_f64_sqrt(csd_bits_of(x))); }
static inline double trunc(double x) { return csd_double_of(csd_f64_trunc(csd_bits_of(x))); }
static inline double floor(double x) { return csd_double_of(csd_f64_floor(csd_bits_of(x))); }
static inline double ceil(double x) { return csd_double_of(csd_f64_ceil(csd_bits_of(x))); }
static inline double round(double x) { return csd_double_of(csd_f64_round(csd_bits_of(x))); }
static inline double rint(double x) { return csd_double_of(csd_f64_rint(csd_bits_of(x))); }
static inline double nearbyint(double x) { return rint(x); }
static inline long lround(double x) { return (long)round(x); }
static inline long lrint(double x) { return (long)rint(x); }
static inline double fmod(double x, double y) { return csd_double_of(csd_f64_rem(csd_bits_of(x), csd_bits_of(y))); }
static inline double fmin(double x, double y) { return csd_double_of(csd_f64_min(csd_bits_of(x), csd_bits_of(y))); }
static inline double fmax(double x, double y) { return csd_double_of(csd_f64_max(csd_bits_of(x), csd_bits_of(y))); }
static inline double copysign(double x, double y) { return csd_double_of(csd_f64_copysign(csd_bits_of(x), csd_bits_of(y))); }

static inline double ldexp(double x, int n)
{
    for (; n > 1000; n -= 1000)
        x *= csd_double_of(2023UL << 52);
    for (; n < -1000; n += 1000)
        x *= csd_double_of(23UL << 52);
    return x * csd_double_of((csd_u64)(n + 1023) << 52);
}

static inline double frexp(double x, int *n)
{
    csd_u64 bits = csd_bits_of(x), magnitude = bits & ~CSD_SIGN;
    int e;
    *n = 0;
    if (!magnitude || magnitude >= CSD_INFINITY)
        return x;
    csd_u64 significand = csd_parts_f64(bits, &e);
    *n = e - 1022;
    return csd_double_of((bits & CSD_SIGN) | 1022UL << 52 | significand << 1 >> 12);
}

static inline double modf(double x, double *whole)
{
    *whole = trunc(x);
    return isinf(x) ? copysign(0, x) : copysign(x - *whole, x);
}

static __attribute__((noinline, unused)) double exp(double x)
{
    if (isnan(x))
        return x;
    if (x > 709.8)
        return HUGE_VAL;
    if (x < -745.2)
        return 0;
    int k = (int)rint(x * 1.44269504088896340736);
    double r = (x - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10, sum = 1;
    for (int n = 14; n > 0; n--)
        sum = 1 + sum * r / n;
    return ldexp(sum, k);
}

static __attribute__((noinline, unused)) double log(double x)
{
    if (isnan(x) || x == HUGE_VAL)
        return x;
    if (x <= 0)
        return x == 0 ? -HUGE_VAL : csd_double_of(CSD_INDEFINITE);
    int k;
    double m = frexp(x, &k);
    if (m < 0.70710678118654752440) {
        m *= 2;
        k--;
    }
    double s = (m - 1) / (m + 1), z = s * s, sum = 0;
    for (int n = 23; n > 1; n -= 2)
        sum = (sum + 1.0 / n) * z;
    return k * 6.93147180369123816490e-01 + (2 * (s + s * sum) + k * 1.90821492927058770002e-10);
}

static inline double log2(double x)
{
    int k;
    double m = frexp(x, &k);
    return m == 0.5 ? k - 1 : log(x) * 1.44269504088896340736;
}
static inline double exp2(double x) { return x == rint(x) && fabs(x) < 2000 ? ldexp(1, (int)x) : exp(x * M_LN2); }

static __attribute__((noinline, unused)) double pow(double x, double y)
{
    if (y == 0 || x == 1)
        return 1;
    if (isnan(x) || isnan(y))
        return x + y;
    int is_whole = y == trunc(y), is_odd = is_whole && fabs(y) < 9007199254740992.0 && ((long)y & 1);
    if (is_whole && fabs(y) <= 1024) {
        double result = 1, base = x;
        for (int n = (int)fabs(y); n; n >>= 1) {
            if (n & 1)
                result *= base;
            base *= base;
        }
        if (y > 0 || (result != 0 && !isinf(result)))
            return y < 0 ? 1 / result : result;
        /* The power is too large, or too small; its reciprocal need not be. */
        result = 1;
        base = 1 / x;
        for (int n = (int)fabs(y); n; n >>= 1) {
            if (n & 1)
                result *= base;
            base *= base;
        }
        return result;
    }
    if (x < 0 && !is_whole && !isinf(y) && !isinf(x))
        return csd_double_of(CSD_INDEFINITE);
    double result;
    if (isinf(y)) {
        double m = fabs(x);
        result = m == 1 ? 1 : (m > 1) == (y > 0) ? HUGE_VAL : 0;
    } else {
        result = x == 0 ? (y > 0 ? 0 : HUGE_VAL) : exp(y * log(fabs(x)));
    }
    return signbit(x) && is_odd ? -result : result;
}

static inline double log10(double x)
{
    double y = log(x) * 0.43429448190325182765, whole = rint(y);
    return fabs(y - whole) < 1e-9 && pow(10, whole) == x ? whole : y;
}

/* Beyond this the quarter of a turn that x is in is not known: sine and cosine are no numbers there. */
#define CSD_TURNS_MAX 823549.0

/* The quarter of a turn that x is in, and how far. */
static inline int csd_quarter(double x, double *rest)
{
    double k = rint(x * 0.63661977236758134308);
    *rest = ((x - k * 1.57079632673412561417e+00) - k * 6.07710050630396597660e-11) - k * 2.02226624879595063154e-21;
    return (int)((long)k & 3);
}
static inline double csd_sine(double x)
{
    double z = x * x, sum = 1;
    for (int n = 20; n > 0; n -= 2)
        sum = 1 - sum * z / (n * (n + 1));
    return x * sum;
}
static inline double csd_cosine(double x)
{
    double z = x * x, sum = 1;
    for (int n = 20; n > 0; n -= 2)
        sum = 1 - sum * z / (n * (n - 1));
    return sum;
}
static __attribute__((noinline, unused)) double sin(double x)
{
    double r;
    if (x == 0)
        return x;
    if (!(fabs(x) < CSD_TURNS_MAX))
        return csd_double_of(CSD_INDEFINITE);
    int q = csd_quarter(x, &r);
    double s = q & 1 ? csd_cosine(r) : csd_sine(r);
    return q & 2 ? -s : s;
}
static __attribute__((noinline, unused)) double cos(double x)
{
    double r;
    if (!(fabs(x) < CSD_TURNS_MAX))
        return csd_double_of(CSD_INDEFINITE);
    int q = csd_quarter(x, &r);
    double s = q & 1 ? csd_sine(r) : csd_cosine(r);
    return q == 1 || q == 2 ? -s : s;
}
static inline double tan(double x) { return sin(x) / cos(x); }

static __attribute__((noinline, unused)) double atan(double x)
{
    double m = fabs(x), shift = 0;
    int is_large = m > 1;
    if (isnan(x))
        return x;
    if (is_large)
        m = 1 / m;
    /* Twice half the angle. */
    for (int i = 0; i < 2; i++, shift++)
        m = m / (1 + sqrt(1 + m * m));
    double z = m * m, sum = 0;
    for (int n = 29; n > 1; n -= 2)
        sum = (1.0 / n - sum) * z;
    double angle = 4 * (m - m * sum);
    return copysign(is_large ? M_PI_2 - angle : angle, x);
}
static inline double atan2(double y, double x)
{
    if (isnan(x) || isnan(y))
        return x + y;
    if (x == 0 && y == 0)
        return copysign(signbit(x) ? M_PI : 0, y);
    if (isinf(x) && isinf(y))
        return copysign(x > 0 ? M_PI_4 : 3 * M_PI_4, y);
    double angle = x == 0 ? M_PI_2 : atan(fabs(y / x));
    return copysign(signbit(x) ? M_PI - angle : angle, y);
}
static inline double hypot(double x, double y)
{
    if (!isinf(x) && !isinf(y) && (isnan(x) || isnan(y)))
        return x + y;
    double a = fmax(fabs(x), fabs(y)), b = fmin(fabs(x), fabs(y));
    return a == 0 || isinf(a) ? a : a * sqrt(1 + (b / a) * (b / a));
}

static inline double asin(double x) { return atan2(x, sqrt((1 - x) * (1 + x))); }
static inline double acos(double x) { return atan2(sqrt((1 - x) * (1 + x)), x); }
static inline long long llround(double x) { return (long long)round(x); }

static inline float fabsf(float x) { return (float)fabs(x); }
static inline float sqrtf(float x) { return (float)sqrt(x); }
static inline float floorf(float x) { return (float)floor(x); }
static inline float ceilf(float x) { return (float)ceil(x); }
static inline float truncf(float x) { return (float)trunc(x); }
static inline float roundf(float x) { return (float)round(x); }
static inline float fmodf(float x, float y) { return (float)fmod(x, y); }
static inline float fminf(float x, float y) { return (float)fmin(x, y); }
static inline float fmaxf(float x, float y) { return (float)fmax(x, y); }
static inline float expf(float x) { return (float)exp(x); }
static inline float logf(float x) { return (float)log(x); }
static inline float powf(float x, float y) { return (float)pow(x, y); }
static inline float sinf(float x) { return (float)sin(x); }
static inline float cosf(float x) { return (float)cos(x); }
static inline float tanf(float x) { return (float)tan(x); }
static inline float asinf(float x) { return (float)asin(x); }
static inline float acosf(float x) { return (float)acos(x); }
static inline float atanf(float x) { return (float)atan(x); }
static inline float atan2f(float y, float x) { return (float)atan2(y, x); }
static inline float hypotf(float x, float y) { return (float)hypot(x, y); }
static inline float log2f(float x) { return (float)log2(x); }
static inline float log10f(float x) { return (float)log10(x); }
static inline float exp2f(float x) { return (float)exp2(x); }
static inline float ldexpf(float x, int n) { return (float)ldexp(x, n); }
static inline float copysignf(float x, float y) { return (float)copysign(x, y); }
static inline long lroundf(float x) { return lround(x); }

/* A long double is a double. */
#define csd_long_double(name) static inline long double name##l(long double x) { return name((double)x); }
csd_long_double(fabs) csd_long_double(sqrt) csd_long_double(floor) csd_long_double(ceil) csd_long_double(trunc)
csd_long_double(round) csd_long_double(exp) csd_long_double(log) csd_long_double(sin) csd_long_double(cos)
static inline long double powl(long double x, long double y) { return pow((double)x, (double)y); }
static inline long double fmodl(long double x, long double y) { return fmod((double)x, (double)y); }

static inline double fdim(double x, double y) { return x > y ? x - y : x != x || y != y ? NAN : 0; }
static inline double log1p(double x)
{
    double u = 1 + x;
    return u == 1 ? x : log(u) * (x / (u - 1));
}
static inline double expm1(double x)
{
    double u = exp(x);
    return u == 1 ? x : u - 1 == -1 ? -1 : u == HUGE_VAL ? u : (u - 1) * (x / log(u));
}
static inline double sinh(double x)
{
    double e = expm1(fabs(x));
    return copysign(e == HUGE_VAL ? e : (e + e / (e + 1)) / 2, x);
}
static inline double cosh(double x)
{
    double e = exp(fabs(x));
    return e / 2 + 1 / (2 * e);
}
static inline double tanh(double x)
{
    double e = fabs(x) < 22 ? expm1(2 * fabs(x)) : HUGE_VAL;
    return copysign(e == HUGE_VAL ? 1 : e / (e + 2), x);
}
static inline double cbrt(double x)
{
    if (x == 0 || !isfinite(x))
        return x;
    double y = copysign(exp(log(fabs(x)) / 3), x);
    return y - (y * y * y - x) / (3 * y * y);
}

#endif
#endif
