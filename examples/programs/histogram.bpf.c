/* histogram: how often each byte value occurs. Range 0 receives 256 64-bit counts; returns the
 * most frequent byte.
 *
 *     csdrive run examples/programs/histogram.bpf.o --input any.file --output counts.bin \
 *         --output-size 2KiB
 */
#include <csdrive.h>

long long histogram(struct cemu_args *args)
{
    unsigned long long *count = args->mr_addr[0];
    const unsigned char *in = args->mr_addr[1];
    long long size = args->mr_len[1], most = 0;

    for (int i = 0; i < 256; i++)
        count[i] = 0;
    for (long long i = 0; i < size; i++)
        count[in[i]]++;
    for (int i = 1; i < 256; i++)
        if (count[i] > count[most])
            most = i;
    return most;
}
