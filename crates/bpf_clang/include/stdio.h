/* stdio.h for computational storage functions: printf and its like. What is printed is in the program's output (the trace log).
 * There are no files. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef CSDRIVE_STDIO_H
#define CSDRIVE_STDIO_H

#ifndef __bpf__
#include_next <stdio.h>
#else

#include "string.h"

#define EOF (-1)
#define stdout ((void *)1)
#define stderr ((void *)2)
/* Bytes of one printf. */
#define CSDRIVE_PRINT_BYTES 1024

/* The target has no variable arguments: they become an array of words. */
static inline unsigned long csd_argument(unsigned long value) { return value; }
static inline unsigned long csd_argument_pointer(const volatile void *value) { return (unsigned long)value; }

/* The digits of a floating-point number. Programs that print none do without the code: it is known here once they may. */
static int (*csd_text_of_double)(char *to, unsigned long bits, int conversion, int precision, int alternate) __attribute__((unused));
static int csd_double_text(char *to, unsigned long bits, int conversion, int precision, int alternate);
static inline unsigned long csd_argument_double(double value)
{
    union { double d; unsigned long u; } bits = {value};
    csd_text_of_double = csd_double_text;
    return bits.u;
}
#define CSD_ARGUMENT(x)                                                                            \
    _Generic((x), float: csd_argument_double, double: csd_argument_double,                         \
             long double: csd_argument_double, char *: csd_argument_pointer,                       \
             const char *: csd_argument_pointer, unsigned char *: csd_argument_pointer,            \
             const unsigned char *: csd_argument_pointer, signed char *: csd_argument_pointer,     \
             void *: csd_argument_pointer, const void *: csd_argument_pointer,                     \
             default: csd_argument)(x)
#define CSD_COUNT(...) CSD_COUNT_(_, ##__VA_ARGS__, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define CSD_COUNT_(_, a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23, n, ...) n
#define CSD_JOIN(a, b) CSD_JOIN_(a, b)
#define CSD_JOIN_(a, b) a##b
#define CSD_ARGUMENTS_0() 0
#define CSD_ARGUMENTS_1(x) CSD_ARGUMENT(x)
#define CSD_ARGUMENTS_2(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_1(__VA_ARGS__)
#define CSD_ARGUMENTS_3(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_2(__VA_ARGS__)
#define CSD_ARGUMENTS_4(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_3(__VA_ARGS__)
#define CSD_ARGUMENTS_5(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_4(__VA_ARGS__)
#define CSD_ARGUMENTS_6(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_5(__VA_ARGS__)
#define CSD_ARGUMENTS_7(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_6(__VA_ARGS__)
#define CSD_ARGUMENTS_8(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_7(__VA_ARGS__)
#define CSD_ARGUMENTS_9(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_8(__VA_ARGS__)
#define CSD_ARGUMENTS_10(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_9(__VA_ARGS__)
#define CSD_ARGUMENTS_11(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_10(__VA_ARGS__)
#define CSD_ARGUMENTS_12(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_11(__VA_ARGS__)
#define CSD_ARGUMENTS_13(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_12(__VA_ARGS__)
#define CSD_ARGUMENTS_14(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_13(__VA_ARGS__)
#define CSD_ARGUMENTS_15(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_14(__VA_ARGS__)
#define CSD_ARGUMENTS_16(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_15(__VA_ARGS__)
#define CSD_ARGUMENTS_17(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_16(__VA_ARGS__)
#define CSD_ARGUMENTS_18(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_17(__VA_ARGS__)
#define CSD_ARGUMENTS_19(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_18(__VA_ARGS__)
#define CSD_ARGUMENTS_20(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_19(__VA_ARGS__)
#define CSD_ARGUMENTS_21(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_20(__VA_ARGS__)
#define CSD_ARGUMENTS_22(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_21(__VA_ARGS__)
#define CSD_ARGUMENTS_23(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_22(__VA_ARGS__)
#define CSD_ARGUMENTS_24(x, ...) CSD_ARGUMENT(x), CSD_ARGUMENTS_23(__VA_ARGS__)
#define CSD_ARGUMENTS(...)                                                                         \
    ((const unsigned long[]){CSD_JOIN(CSD_ARGUMENTS_, CSD_COUNT(__VA_ARGS__))(__VA_ARGS__)})

struct csd_text {
    char *to;
    size_t size;
    size_t length;
    /* It is printed whenever it is full; so much of it is not yet. */
    int prints;
    size_t waiting;
};

static inline int csd_write(const char *text, int length);

/* Most digits behind the point; more are zeros. */
#define CSD_FRACTION_MAX 1080

static char csd_double_digits[320 + CSD_FRACTION_MAX + 16] __attribute__((unused));

/* Rounds digits to so many, half to even; true if there is one more in front of them now. */
static inline int csd_round_digits(char *digits, int count, int keep)
{
    int is_up = 0;
    if (keep < count) {
        int next = digits[keep] - '0', rest = 0;
        for (int i = keep + 1; i < count && !rest; i++)
            rest = digits[i] != '0';
        int is_odd = keep > 0 && (digits[keep - 1] & 1);
        is_up = next > 5 || (next == 5 && (rest || is_odd));
    }
    for (int i = keep; i < count; i++)
        digits[i] = '0';
    for (int i = keep - 1; is_up && i >= 0; i--) {
        is_up = digits[i] == '9';
        digits[i] = is_up ? '0' : (char)(digits[i] + 1);
    }
    if (!is_up)
        return 0;
    for (int i = count - 1; i > 0; i--)
        digits[i] = digits[i - 1];
    digits[0] = '1';
    return 1;
}

/* The text of a number without its sign: exactly, as the C standard has it. The number is written as limbs of nine decimal digits. */
static __attribute__((noinline, unused)) int csd_double_text(char *to, unsigned long bits, int conversion, int precision, int alternate)
{
    enum { UNITS = 40, LIMBS = 165, BILLION = 1000000000 };
    static unsigned int limbs[LIMBS];
    static char digits[LIMBS * 9 + 1];
    char upper = conversion & 32 ? 0 : 32;
    int exponent = (int)(bits >> 52 & 0x7FF);
    unsigned long mantissa = bits & 0xFFFFFFFFFFFFFUL;
    if (exponent == 0x7FF) {
        const char *name = mantissa ? "nan" : "inf";
        for (int i = 0; i < 3; i++)
            to[i] = (char)(name[i] - upper);
        return -3;
    }
    if (precision < 0)
        precision = 6;
    if (precision > CSD_FRACTION_MAX)
        precision = CSD_FRACTION_MAX;
    if (exponent)
        mantissa |= 1UL << 52;
    exponent = (exponent ? exponent : 1) - 1075;
    for (int i = 0; i < LIMBS; i++)
        limbs[i] = 0;
    int first = UNITS - 1, last = UNITS;
    limbs[UNITS] = (unsigned int)(mantissa % BILLION);
    limbs[UNITS - 1] = (unsigned int)(mantissa / BILLION);
    while (exponent > 0) {
        int step = exponent < 29 ? exponent : 29;
        unsigned long carry = 0;
        for (int i = last; i >= first; i--) {
            carry += (unsigned long)limbs[i] << step;
            limbs[i] = (unsigned int)(carry % BILLION);
            carry /= BILLION;
        }
        if (carry)
            limbs[--first] = (unsigned int)carry;
        exponent -= step;
    }
    while (exponent < 0) {
        /* 2 to the 9th divides a billion. */
        int step = exponent > -9 ? -exponent : 9;
        unsigned int rest = 0;
        for (int i = first; i <= last; i++) {
            unsigned int limb = limbs[i];
            limbs[i] = (limb >> step) + rest;
            rest = (limb & ((1U << step) - 1)) * ((unsigned int)BILLION >> step);
        }
        if (rest)
            limbs[++last] = rest;
        exponent += step;
    }
    int count = 0;
    for (int i = first; i <= last; i++)
        for (unsigned int limb = limbs[i], unit = BILLION / 10; unit; unit /= 10)
            digits[count++] = (char)('0' + limb / unit % 10);
    /* Digits before the point; zeros in front of the number are none of it. */
    int point = (UNITS + 1 - first) * 9, start = 0;
    while (start < point - 1 && digits[start] == '0')
        start++;
    int significant = start;
    while (significant < count && digits[significant] == '0')
        significant++;
    int is_zero = significant == count;
    int kind = conversion | 32, decimal = is_zero ? 0 : point - 1 - significant;
    int wanted = precision;
    if (kind == 'g') {
        wanted = precision ? precision : 1;
        char *from = digits + significant;
        /* The exponent after rounding decides. */
        int rounded = decimal;
        if (!is_zero) {
            int nines = 0;
            while (nines < wanted && significant + nines < count && from[nines] == '9')
                nines++;
            if (nines == wanted && significant + nines < count && from[nines] >= '5')
                rounded++;
        }
        kind = wanted > rounded && rounded >= -4 ? 'f' : 'e';
        wanted = kind == 'f' ? wanted - 1 - rounded : wanted - 1;
    }
    char *at = to, *dot;
    if (kind == 'f') {
        int keep = point - start + wanted;
        if (csd_round_digits(digits + start, count - start, keep < count - start ? keep : count - start)) {
            /* The last digit went, and is one of those that are not shown. */
            point++;
            keep++;
        }
        for (int i = start; i < point; i++)
            *at++ = digits[i];
        dot = at;
        if (wanted || alternate)
            *at++ = '.';
        for (int i = 0; i < wanted; i++)
            *at++ = point + i < count ? digits[point + i] : '0';
    } else {
        int from = is_zero ? point - 1 : significant, keep = 1 + wanted;
        if (csd_round_digits(digits + from, count - from, keep < count - from ? keep : count - from))
            decimal++;
        *at++ = digits[from];
        dot = at;
        if (wanted || alternate)
            *at++ = '.';
        for (int i = 1; i <= wanted; i++)
            *at++ = from + i < count ? digits[from + i] : '0';
    }
    if ((conversion | 32) == 'g' && !alternate && at > dot) {
        while (at[-1] == '0')
            at--;
        if (at[-1] == '.')
            at--;
    }
    if (kind == 'e') {
        *at++ = (char)('e' - upper);
        *at++ = decimal < 0 ? '-' : '+';
        unsigned int size = (unsigned int)(decimal < 0 ? -decimal : decimal);
        if (size >= 100)
            *at++ = (char)('0' + size / 100);
        *at++ = (char)('0' + size / 10 % 10);
        *at++ = (char)('0' + size % 10);
    }
    return (int)(at - to);
}

static inline __attribute__((always_inline)) void csd_put(struct csd_text *text, char c)
{
    if (text->prints) {
        if (text->waiting == text->size) {
            csd_write(text->to, (int)text->waiting);
            text->waiting = 0;
        }
        text->to[text->waiting++] = c;
    } else if (text->length + 1 < text->size) {
        text->to[text->length] = c;
    }
    text->length++;
}

static __attribute__((noinline, unused)) void csd_format(struct csd_text *text, const char *format, const unsigned long *arguments)
{
    for (; *format; format++) {
        if (*format != '%') {
            csd_put(text, *format);
            continue;
        }
        format++;
        int left = 0, zero = 0, alternate = 0;
        char sign = 0;
        for (;; format++) {
            if (*format == '-')
                left = 1;
            else if (*format == '0')
                zero = 1;
            else if (*format == '+')
                sign = '+';
            else if (*format == ' ')
                sign = sign ? sign : ' ';
            else if (*format == '#')
                alternate = 1;
            else
                break;
        }
        int width = 0, precision = -1;
        if (*format == '*') {
            width = (int)*arguments++;
            if (width < 0) {
                left = 1;
                width = -width;
            }
            format++;
        } else {
            while (*format >= '0' && *format <= '9')
                width = width * 10 + (*format++ - '0');
        }
        if (*format == '.') {
            format++;
            precision = 0;
            if (*format == '*') {
                precision = (int)*arguments++;
                format++;
            } else {
                while (*format >= '0' && *format <= '9')
                    precision = precision * 10 + (*format++ - '0');
            }
        }
        int size = 4;
        for (;; format++) {
            if (*format == 'l' || *format == 'z' || *format == 'j' || *format == 't')
                size = 8;
            else if (*format == 'h')
                size /= 2;
            else
                break;
        }
        char conversion = *format;
        if (conversion == '%') {
            csd_put(text, '%');
            continue;
        }
        if (!conversion)
            break;
        int is_double = (conversion | 32) == 'f' || (conversion | 32) == 'e' || (conversion | 32) == 'g';
        if ((conversion | 32) == 'a' || (is_double && !csd_text_of_double)) {
            csd_trace("csdrive: printf has no %%%c of this argument\n", 44, (unsigned long)conversion, 0, 0);
            *(volatile char *)0 = 0;
        }
        unsigned long value = *arguments++;
        char digits[24];
        const char *s = digits;
        int length = 0;
        const char *prefix = "";
        char sign_here[2] = {0, 0};
        if (is_double) {
            sign_here[0] = value >> 63 ? '-' : sign;
            prefix = sign_here;
            length = csd_text_of_double(csd_double_digits, value & ~(1UL << 63), conversion, precision, alternate);
            s = csd_double_digits;
            precision = 0;
            if (length < 0) {
                /* Neither a number nor finite. */
                length = -length;
                zero = 0;
            }
        } else if (conversion == 's') {
            s = (const char *)value;
            if (!s)
                s = "(null)";
            while ((precision < 0 || length < precision) && s[length])
                length++;
            precision = 0;
            zero = 0;
        } else if (conversion == 'c') {
            digits[0] = (char)value;
            length = 1;
            precision = 0;
            zero = 0;
        } else {
            unsigned int base = 10, upper = 0;
            if (conversion == 'p') {
                size = 8;
                base = 16;
                prefix = "0x";
            } else if (conversion == 'x' || conversion == 'X') {
                base = 16;
                upper = conversion == 'X' ? 0 : 32;
            } else if (conversion == 'o') {
                base = 8;
            }
            if (conversion == 'p')
                upper = 32;
            if (conversion == 'd' || conversion == 'i') {
                long number = (long)(value << (64 - 8 * size)) >> (64 - 8 * size);
                value = number < 0 ? -(unsigned long)number : (unsigned long)number;
                sign_here[0] = number < 0 ? '-' : sign;
                prefix = sign_here;
            } else if (size < 8) {
                value &= (1UL << (8 * size)) - 1;
            }
            if (alternate && base == 16 && value && conversion != 'p')
                prefix = upper ? "0x" : "0X";
            int at = sizeof digits;
            while (value) {
                unsigned int digit = (unsigned int)(value % base);
                digits[--at] = (char)(digit < 10 ? '0' + digit : 'A' - 10 + digit + upper);
                value /= base;
            }
            s = digits + at;
            length = (int)sizeof digits - at;
            if (precision < 0)
                precision = 1;
            else
                zero = 0;
            if (alternate && base == 8 && precision <= length && (length || !precision))
                prefix = "0";
        }
        int zeros = precision > length ? precision - length : 0;
        int extra = width - length - zeros - (int)strlen(prefix);
        if (zero && !left && extra > 0) {
            zeros += extra;
            extra = 0;
        }
        for (int i = 0; !left && i < extra; i++)
            csd_put(text, ' ');
        for (; *prefix; prefix++)
            csd_put(text, *prefix);
        for (int i = 0; i < zeros; i++)
            csd_put(text, '0');
        for (int i = 0; i < length; i++)
            csd_put(text, s[i]);
        for (int i = 0; left && i < extra; i++)
            csd_put(text, ' ');
    }
    if (text->prints)
        csd_write(text->to, (int)text->waiting);
    else if (text->size)
        text->to[text->length < text->size ? text->length : text->size - 1] = 0;
}

static inline int csd_snprintf(char *to, size_t size, const char *format, const unsigned long *arguments)
{
    struct csd_text text = {to, size, 0, 0, 0};
    csd_format(&text, format, arguments);
    return (int)text.length;
}

/* A list of arguments that vary is where they are, each in a word. */
static inline __attribute__((unused)) int vsnprintf(char *to, size_t size, const char *format, __builtin_va_list list)
{
    csd_text_of_double = csd_double_text;
    return csd_snprintf(to, size, format, *(const unsigned long **)&list);
}
static inline __attribute__((unused)) int vsprintf(char *to, const char *format, __builtin_va_list list)
{
    csd_text_of_double = csd_double_text;
    return csd_snprintf(to, 0x7fffffff, format, *(const unsigned long **)&list);
}

static char csd_printed[CSDRIVE_PRINT_BYTES] __attribute__((unused));

/* The trace log takes 256 bytes of a text at a time, and a text ends with its first zero. */
static inline int csd_write(const char *text, int length)
{
    for (int at = 0; at < length;) {
        char piece[256];
        int n = 0;
        while (n < 255 && at + n < length && text[at + n]) {
            piece[n] = text[at + n];
            n++;
        }
        piece[n] = 0;
        if (n)
            csd_trace("%s", 3, (unsigned long)piece, 0, 0);
        at += n;
        if (n < 255 && at < length) {
            csd_trace("%c", 3, 0, 0, 0);
            at++;
        }
    }
    return length;
}

static inline int csd_printf(const char *format, const unsigned long *arguments)
{
    struct csd_text text = {csd_printed, sizeof csd_printed, 0, 1, 0};
    csd_format(&text, format, arguments);
    return (int)text.length;
}

static inline __attribute__((unused)) int vprintf(const char *format, __builtin_va_list list)
{
    csd_text_of_double = csd_double_text;
    return csd_printf(format, *(const unsigned long **)&list);
}
#define vfprintf(file, format, list) ((void)(file), vprintf((format), (list)))

static inline int puts(const char *s)
{
    csd_write(s, (int)strlen(s));
    return csd_write("\n", 1);
}

static inline int putchar(int c)
{
    char s = (char)c;
    csd_write(&s, 1);
    return c;
}

static inline int fputs(const char *s, void *file)
{
    (void)file;
    return csd_write(s, (int)strlen(s));
}
static inline int fputc(int c, void *file)
{
    (void)file;
    return putchar(c);
}
#define putc(c, file) fputc((c), (file))
#define fflush(file) ((void)(file), 0)
static inline void perror(const char *what)
{
    if (what && *what) {
        csd_write(what, (int)strlen(what));
        csd_write(": ", 2);
    }
    puts("an error");
}

#define snprintf(to, size, format, ...) csd_snprintf((to), (size), (format), CSD_ARGUMENTS(__VA_ARGS__))
#define sprintf(to, format, ...) csd_snprintf((to), 0x7fffffff, (format), CSD_ARGUMENTS(__VA_ARGS__))
#define printf(format, ...) csd_printf((format), CSD_ARGUMENTS(__VA_ARGS__))
#define fprintf(file, format, ...) ((void)(file), csd_printf((format), CSD_ARGUMENTS(__VA_ARGS__)))

#endif
#endif
