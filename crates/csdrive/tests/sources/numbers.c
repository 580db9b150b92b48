/* Numbers as text and back, the C library's random numbers, the end of a program from within.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <math.h>
#include <string.h>
#include <time.h>
static int greater(const void *a, const void *b) { return *(const int *)a > *(const int *)b; }

static int run(int n) {
  double v[] = {0, -0.0, 1, 0.1, 0.5, 1.5, 2.5, 9.5, 99.95, 0.00001234, 123456789.123456789, 1e22, 1.7976931348623157e308, 5e-324, 2.2250738585072014e-308, 1.0/3, -2.0/3, 1e-5, 9.9999995e-5, 999999.5, 1000000, 1e15, 3.14159265358979, INFINITY, -INFINITY, 4503599627370496.5, 0.000099999949999999, 1234567};
  for (unsigned i = 0; i < sizeof v / sizeof *v; i++) {
    printf("%f|%.0f|%.1f|%.3f|%.17g|%g|%G|%e|%.0e|%.10E|%#.0f|%12.3f|%-12.2e|%+g|% f|%012.4f|\n", v[i], v[i], v[i], v[i], v[i], v[i], v[i], v[i], v[i], v[i], v[i], v[i], v[i], v[i], v[i], v[i]);
  }
  printf("%.1000f|%.60f\n", 5e-324, 0.1); 
  srand(42); for (int i = 0; i < 400; i++) { int r = rand(); if (i % 40 == 0) printf("%d ", r); } puts("");
  unsigned long x = 88172645463325252UL;
  for (int i = 0; i < 300; i++) { x ^= x << 13; x ^= x >> 7; x ^= x << 17; double d; memcpy(&d, &x, 8); if (d != d) continue; printf("%.17g %g %.3e %.25f\n", d, d, d, ldexp(d, -(((int)(x >> 52 & 2047)) - 1023))); }
  const char *texts[] = {"1.5", "-0.25e3", "123456789012345", "1e22", "0.1", ".5", "5.", "1e", "inf", "  +7.25abc", "x", "3.14159", "1e-5"};
  for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) { char *e; double d = strtod(texts[i], &e); printf("%.17g %d\n", d, (int)(e - texts[i])); }
  printf("%.12g %.12g %.12g %.12g %.12g %.12g\n", sinh(1.5), cosh(1.5), tanh(0.3), cbrt(27), log1p(1e-10), expm1(1e-10));
  div_t q = div(-17, 5); printf("%d %d\n", q.quot, q.rem);
  char b[64]; int l = snprintf(b, sizeof b, "%s %8.3f %d", "mix", 2.5, 7); printf("%d %s\n", l, b);
  fprintf(stdout, "%5.1f%%\n", 12.345);
  /* A comparison that knows no "less". */
  int order[50];
  for (int i = 0; i < 50; i++) order[i] = (i * 37 + n) % 50;
  qsort(order, 50, sizeof *order, greater);
  for (int i = 0; i < 50; i++) printf("%d ", order[i]);
  printf("%g %ld\n", n / 7.0, (long)time(NULL) * 0);
  if (n > 3) exit(-n);
  return -n;
}

#ifdef __bpf__
#include <csdrive.h>
int numbers(struct cemu_args *args) { return run((int)args->cparam1); }
#else
int main(int count, char **values) { return run(count > 1 ? atoi(values[1]) : 0) < -1000; }
#endif
