/* filter: keeps the 32-byte records whose first 64-bit number lies in cparam1..cparam2, in order.
 * Returns the bytes written to range 0.
 *
 *     csdrive run examples/programs/filter.bpf.o --input records.bin --output kept.bin \
 *         --param1 -100 --param2 100
 */
#include <csdrive.h>

struct record {
    long long key;
    long long rest[3];
};

long long filter(struct cemu_args *args)
{
    struct record *out = args->mr_addr[0];
    const struct record *in = args->mr_addr[1];
    long long count = (unsigned long long)args->mr_len[1] / sizeof(struct record);
    long long low = args->cparam1, high = args->cparam2, kept = 0;

    for (long long i = 0; i < count; i++)
        if (in[i].key >= low && in[i].key <= high)
            out[kept++] = in[i];
    return kept * (long long)sizeof(struct record);
}
