// What stops a program besides memory and budget, chosen by cparam1. Rebuilt by `cargo xtask examples`.
#include <csdrive.h>

static __attribute__((noinline)) long long recurse(long long n)
{
    volatile long long keep = n;
    return n ? recurse(n - 1) + keep : 0;
}

long long misbehave(struct cemu_args *args)
{
    // Deeper than any stack, or a format that the trace helper does not know.
    if (args->cparam1 == 0)
        return recurse(1000);
    return csd_print("%q", 0, 0, 0);
}
