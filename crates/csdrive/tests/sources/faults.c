// Everything a program may do wrong, chosen by cparam1. cparam2 is an offset.
#include <csdrive.h>

static __attribute__((noinline)) long long recurse(long long n)
{
    volatile long long keep = n;
    return n ? recurse(n - 1) + keep : 0;
}

static const int constant = 7;

long long faults(struct cemu_args *args)
{
    volatile char *range = args->mr_addr[1];
    volatile long long *wide = args->mr_addr[1];
    long long at = args->cparam2;

    switch (args->cparam1) {
    case 0: return range[at];
    case 1: range[at] = 1; return 0;
    case 2: for (volatile int i = 0;; i++) {}
    case 3: return recurse(at);
    case 4: return *(volatile long long *)at;
    case 5: { // a forged range pointer
        void *volatile *table = args->mr_addr;
        table[1] = (void *)at;
        return *(volatile char *)args->mr_addr[1];
    }
    case 6: *(volatile int *)&constant = 8; return 0;
    case 7: { // unsigned division by zero: 0 and the dividend
        volatile unsigned long long zero = 0, n = 42;
        return n / zero * 1000 + n % zero;
    }
    case 8: return csd_memcmp((void *)range, (void *)(range + at), 64);
    case 9: csd_memset((void *)range, 0, at); return 0;
    case 10: return wide[at];
    case 11: return args->mr_len[args->numr + at];
    case 12: for (;;) csd_memset((void *)range, 1, 512);
    }
    return -1;
}
