#include <csdrive.h>
#include <stdarg.h>
static __attribute__((noinline)) int sum(int n, ...) { va_list l; va_start(l, n); int s = 0; for (int i = 0; i < n; i++) s += va_arg(l, int); va_end(l); return s; }
static __attribute__((noinline)) double mean(int n, ...) { va_list l; va_start(l, n); double s = 0; for (int i = 0; i < n; i++) s += va_arg(l, double); va_end(l); return s / n; }
long long variadic(struct cemu_args *a) { return sum(3, 1, 2, (int)a->cparam1) + (long)(mean(3, 1.0, 2.5, (double)a->cparam1) * 100); }
