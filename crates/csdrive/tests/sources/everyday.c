/* Everyday C: what BPF does not have, and csdrive makes it have. On this machine the same is compiled natively and prints the same. */
#include <ctype.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))

struct pair { long a, b; };
struct block { long v[40]; };
union bits { double d; float f; uint64_t u; uint32_t w; };

static NOINLINE struct pair pair_of(int x) { struct pair p = {x, x * 3}; return p; }
static NOINLINE struct block block_of(int x) { struct block b; for (int i = 0; i < 40; i++) b.v[i] = x * i; return b; }
/* It changes its own copy. */
static NOINLINE long sum_of(struct block b, struct pair p) { b.v[3] += p.a; long s = 0; for (int i = 0; i < 40; i++) s += b.v[i]; return s + p.b; }
static NOINLINE long eight(long a, long b, long c, long d, int e, short f, signed char g, unsigned char h)
{
    return a + b * 2 + c * 3 + d * 4 + e * 5 + f * 6 + g * 7 + h * 8;
}
static NOINLINE unsigned __int128 scaled(unsigned __int128 x, uint64_t by) { return x * by / 7 + x % 1000003; }
static NOINLINE __int128 signed_scaled(__int128 x, int64_t by) { return x / by + x % 17; }
static NOINLINE double mean(const double *v, int n) { double s = 0; for (int i = 0; i < n; i++) s += v[i]; return n ? s / n : 0; }
static NOINLINE float dot(const float *a, const float *b, int n) { float s = 0; for (int i = 0; i < n; i++) s += a[i] * b[i]; return s; }
static NOINLINE long fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static NOINLINE int levenshtein(const char *s, const char *t)
{
    int n = (int)strlen(s), m = (int)strlen(t);
    int row[m + 1];
    for (int j = 0; j <= m; j++)
        row[j] = j;
    for (int i = 1; i <= n; i++) {
        int before = row[0];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int here = row[j], least = before + (s[i - 1] != t[j - 1]);
            if (row[j] + 1 < least)
                least = row[j] + 1;
            if (row[j - 1] + 1 < least)
                least = row[j - 1] + 1;
            row[j] = least;
            before = here;
        }
    }
    return row[m];
}
static NOINLINE int depth(int n) { int here[n + 1]; for (int i = 0; i <= n; i++) here[i] = i; return n == 0 ? 0 : depth(n - 1) + here[n]; }

static int by_value(const void *a, const void *b) { int x = *(const int *)a, y = *(const int *)b; return x < y ? -1 : x > y; }
typedef long (*operation)(long, long);
static long add(long a, long b) { return a + b; }
static long subtract(long a, long b) { return a - b; }
static long multiply(long a, long b) { return a * b; }
static const operation operations[] = {add, subtract, multiply};
static NOINLINE long apply(operation f, long a, long b) { return f(a, b); }

static struct block global_from, global_to;

static NOINLINE long run(int n)
{
    struct pair p = pair_of(n);
    struct block b = block_of(n);
    printf("struct %ld %ld %ld %ld\n", p.a, p.b, sum_of(b, p), b.v[3]);
    printf("eight %ld\n", eight(1, 2, 3, 4, n, -6, (signed char)(n - 200), (unsigned char)(n + 250)));
    unsigned __int128 wide = scaled(((unsigned __int128)0xfeedfacecafef00dULL << 32) + n, 0x123456789abcdefULL + n);
    __int128 narrow = signed_scaled(-(__int128)wide / 3, -n - 7);
    printf("wide %lx %lx %lx %lx\n", (long)(wide >> 64), (long)wide, (long)(narrow >> 64), (long)narrow);
    double v[9];
    float f[9];
    for (int i = 0; i < 9; i++) {
        v[i] = (i - 3.25) * n / (i + 1);
        f[i] = (float)v[i] * 1.1f;
    }
    union bits m = {.d = mean(v, 9)}, d = {.f = dot(f, f, 9)};
    printf("double %lx float %x %ld %d %d\n", (long)m.u, d.w, (long)(m.d * 1e6), m.d < d.f, (int)-2.75);
    printf("fib %ld levenshtein %d depth %d\n", fib(15), levenshtein("computational", "compensation"), depth(20));
    int numbers[24];
    for (int i = 0; i < 24; i++)
        numbers[i] = (i * 7919 + n) % 1000 - 500;
    qsort(numbers, 24, sizeof *numbers, by_value);
    int key = numbers[5], *found = bsearch(&key, numbers, 24, sizeof *numbers, by_value);
    printf("sorted %d %d %d %d\n", numbers[0], numbers[12], numbers[23], found ? *found : -1);
    long r = 0;
    for (int i = 0; i < 12; i++)
        r = apply(operations[(unsigned)(i + n) % 3], r, i + 2);
    printf("pointers %ld\n", r);
    char *words = malloc(64), *rest = NULL, *copy = strdup("The quick,brown;fox");
    words[0] = 0;
    for (char *w = strtok_r(copy, " ,;", &rest); w; w = strtok_r(NULL, " ,;", &rest)) {
        w[0] = (char)toupper(w[0]);
        strcat(strcat(words, w), "|");
    }
    char line[80];
    int length = snprintf(line, sizeof line, "%-8s|%5.3d|%#x|%c|%lu|%+d|%.4s", words + 4, n, n, 'x', ULONG_MAX, n, "abcdefgh");
    printf("%s %s %d %ld\n", words, line, length, strtol("  -0x1fz", NULL, 0));
    global_from.v[39] = n;
    global_to = global_from;
    uint64_t product;
    int is_over = __builtin_mul_overflow((uint64_t)n << 40, (uint64_t)n << 20, &product);
    printf("copied %ld over %d bits %d %d\n", global_to.v[39], is_over, __builtin_popcountl(product + n), __builtin_clz(n + 1));
    return -n;
}

#ifdef __bpf__
#include <csdrive.h>
int everyday(struct cemu_args *args) { return (int)run((int)args->cparam1); }
#else
int main(int count, char **values) { return run(count > 1 ? atoi(values[1]) : 0) < -1000; }
#endif
