/* What `csdrive bench engine` runs: the same source for every engine and for the host's processor.
 * Range 0 is written, ranges 1, 2, ... are read; cparam1 repeats the work, for what is too short to
 * be timed once.
 */
struct cemu_args {
    int numr;
    void **mr_addr;
    long long *mr_len;
    long long cparam1;
    long long cparam2;
    void *data_buffer;
    long long buffer_len;
} __attribute__((packed));

/* Sum of two arrays of 32-bit numbers. */
long long vadd(struct cemu_args *args)
{
    int *out = args->mr_addr[0];
    const int *a = args->mr_addr[1], *b = args->mr_addr[2];
    long long count = (unsigned long long)args->mr_len[1] / sizeof(int), repeat = args->cparam1;

    for (long long r = 0; r < repeat; r++)
        for (long long i = 0; i < count; i++)
            out[i] = a[i] + b[i];
    return count;
}

/* How often a pattern of 8 bytes occurs. */
long long grep(struct cemu_args *args)
{
    const char *text = args->mr_addr[1], *pattern = args->mr_addr[2];
    long long size = args->mr_len[1], found = 0;

    for (long long i = 0; i + 8 <= size; i++) {
        int j = 0;

        while (j < 8 && text[i + j] == pattern[j])
            j++;
        found += j == 8;
    }
    return found;
}

struct record {
    long long key;
    long long rest[3];
};

/* Keeps records of 32 bytes whose key is in a range. */
long long filter(struct cemu_args *args)
{
    struct record *out = args->mr_addr[0];
    const struct record *in = args->mr_addr[1];
    long long count = (unsigned long long)args->mr_len[1] / sizeof(struct record);
    long long low = args->cparam1, high = args->cparam2, kept = 0;

    for (long long i = 0; i < count; i++)
        if (in[i].key >= low && in[i].key <= high)
            out[kept++] = in[i];
    return kept;
}

/* TPC-H query 6 on columns: shipdate (int), discount, quantity, extendedprice (long long). */
long long tpch_q6(struct cemu_args *args)
{
    const int *shipdate = args->mr_addr[1];
    const long long *discount = args->mr_addr[2], *quantity = args->mr_addr[3];
    const long long *price = args->mr_addr[4];
    long long rows = args->cparam1, revenue = 0;

    for (long long i = 0; i < rows; i++)
        if (shipdate[i] >= 8766 && shipdate[i] < 9131 && discount[i] >= 5 && discount[i] <= 7 &&
            quantity[i] < 24)
            revenue += price[i] * discount[i];
    return revenue;
}

/* CRC-32, a byte at a time, with a table in range 2. */
long long crc32(struct cemu_args *args)
{
    const unsigned char *in = args->mr_addr[1];
    const unsigned int *table = args->mr_addr[2];
    long long size = args->mr_len[1];
    unsigned int crc = 0xFFFFFFFF;

    for (long long i = 0; i < size; i++)
        crc = table[(crc ^ in[i]) & 0xFF] ^ (crc >> 8);
    return crc ^ 0xFFFFFFFF;
}

#define DIMENSIONS 16

/* The point of 16 32-bit coordinates nearest to the one in range 2; its square distance. */
long long knn(struct cemu_args *args)
{
    const int *point = args->mr_addr[1], *query = args->mr_addr[2];
    long long points = (unsigned long long)args->mr_len[1] / (DIMENSIONS * sizeof(int));
    long long best = 0x7FFFFFFFFFFFFFFF;

    for (long long i = 0; i < points; i++, point += DIMENSIONS) {
        long long sum = 0;

/* As clang does for the host's processor anyway. */
#pragma unroll
        for (long long d = 0; d < DIMENSIONS; d++) {
            long long distance = (long long)point[d] - query[d];

            sum += distance * distance;
        }
        if (sum < best)
            best = sum;
    }
    return best;
}
