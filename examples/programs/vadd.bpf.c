/* vadd: adds two inputs, 32-bit number by number. Returns how many sums there are.
 *
 *     csdrive run examples/programs/vadd.bpf.o --input a.bin --input b.bin --output sums.bin
 */
#include <csdrive.h>

long long vadd(struct cemu_args *args)
{
    int *out = args->mr_addr[0];
    const int *a = args->mr_addr[1], *b = args->mr_addr[2];
    long long bytes = args->mr_len[1] < args->mr_len[2] ? args->mr_len[1] : args->mr_len[2];
    long long count = (unsigned long long)bytes / sizeof(int);

    for (long long i = 0; i < count; i++)
        out[i] = a[i] + b[i];
    return count;
}
