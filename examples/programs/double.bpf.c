/* double: every 32-bit number of the input times two. Returns how many numbers there were.
 *
 *     csdrive run examples/programs/double.bpf.o --input numbers.bin --output doubled.bin
 */
#include <csdrive.h>

long long double_values(struct cemu_args *args)
{
    int *out = args->mr_addr[0];
    const int *in = args->mr_addr[1];
    long long count = (unsigned long long)args->mr_len[1] / sizeof(int);

    for (long long i = 0; i < count; i++)
        out[i] = 2 * in[i];
    return count;
}
