/* Never ends by itself: for tests of what ends it. */
#include <csdrive.h>

long long endless(struct cemu_args *args)
{
    for (;;)
        __asm__ volatile("" ::: "memory");
}
