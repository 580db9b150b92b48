#include "t.h"
/* What gcc calls in place of what BPF does not have. bpf-gcc (Debian 12.2) -O2 -c gcc-libcalls.c */
unsigned long strlen(const char *);
void *memcpy(void *, const void *, unsigned long);
static char text[40];
i64 libcalls(struct cemu_args *a)
{
    memcpy(text, "forty-two", 10);
    volatile long d = -1000, e = 7;
    volatile unsigned long bits = 0x00f0f00ff00f1234UL;
    return d / e * 1000 + d % e + strlen(text) + __builtin_popcountl(bits) + __builtin_bswap64(bits) % 1000;
}
#ifdef __x86_64__
#include <stdio.h>
int main(void) { printf("%lld\n", libcalls(0)); }
#endif
