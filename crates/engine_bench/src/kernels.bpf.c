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

static inline unsigned int rotate(unsigned int x, int n)
{
    return x >> n | x << (32 - n);
}

/* SHA-256 of whole blocks (FIPS 180-4), its constants in range 2; 8 bytes of the hash. */
long long sha256(struct cemu_args *args)
{
    const unsigned char *in = args->mr_addr[1];
    const unsigned int *k = args->mr_addr[2];
    long long blocks = (unsigned long long)args->mr_len[1] / 64;
    unsigned int a0 = 0x6A09E667, b0 = 0xBB67AE85, c0 = 0x3C6EF372, d0 = 0xA54FF53A;
    unsigned int e0 = 0x510E527F, f0 = 0x9B05688C, g0 = 0x1F83D9AB, h0 = 0x5BE0CD19;

    for (long long block = 0; block < blocks; block++, in += 64) {
        unsigned int w[16];
        unsigned int a = a0, b = b0, c = c0, d = d0, e = e0, f = f0, g = g0, h = h0;

        for (int i = 0; i < 16; i++)
            w[i] = __builtin_bswap32(((const unsigned int *)in)[i]);
        for (int i = 0; i < 64; i++) {
            if (i >= 16) {
                unsigned int x = w[(i + 1) & 15], y = w[(i + 14) & 15];

                w[i & 15] += (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) + w[(i + 9) & 15] +
                             (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10);
            }
            unsigned int s = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
                             ((e & f) ^ (~e & g)) + k[i] + w[i & 15];
            unsigned int t = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
                             ((a & b) ^ (a & c) ^ (b & c));

            h = g, g = f, f = e, e = d + s, d = c, c = b, b = a, a = s + t;
        }
        a0 += a, b0 += b, c0 += c, d0 += d, e0 += e, f0 += f, g0 += g, h0 += h;
    }
    return (long long)a0 << 32 | (b0 ^ c0 ^ d0 ^ e0 ^ f0 ^ g0 ^ h0);
}

/* Decodes a block of LZ4 (lz4_Block_format.md); cparam1 bytes of it. Returns the sum of what it stands for, a word in 4096. */
long long lz4(struct cemu_args *args)
{
    unsigned char *out = args->mr_addr[0];
    const unsigned char *in = args->mr_addr[1];
    long long size = args->cparam1, at = 0, from = 0;

    while (from < size) {
        unsigned int token = in[from++];
        long long literals = token >> 4, length = token & 15;

        if (literals == 15)
            for (unsigned int more = 255; more == 255; literals += more)
                more = in[from++];
        for (long long i = 0; i < literals; i++)
            out[at++] = in[from++];
        if (from >= size)
            break;
        long long back = in[from] | in[from + 1] << 8;

        from += 2;
        if (length == 15)
            for (unsigned int more = 255; more == 255; length += more)
                more = in[from++];
        for (length += 4; length; length--, at++)
            out[at] = out[at - back];
    }
    long long sum = at;

    for (long long i = 0; i < at; i += 4096)
        sum = sum * 31 + out[i];
    return sum;
}

/* Scans lines of JSON for the numbers after "value":, which strings and nested objects may hide. */
long long json(struct cemu_args *args)
{
    const char *in = args->mr_addr[1];
    long long size = args->cparam1, sum = 0;
    int depth = 0;

    for (long long i = 0; i < size; i++) {
        char c = in[i];

        if (c == '{') {
            depth++;
        } else if (c == '}') {
            depth--;
        } else if (c == '"') {
            long long begin = i + 1;

            for (i++; i < size && in[i] != '"'; i++)
                i += in[i] == '\\';
            if (depth == 1 && i - begin == 5 && i + 1 < size && in[i + 1] == ':' &&
                in[begin] == 'v' && in[begin + 1] == 'a' && in[begin + 4] == 'e') {
                long long number = 0;

                for (i += 2; i < size && in[i] >= '0' && in[i] <= '9'; i++)
                    number = number * 10 + (in[i] - '0');
                sum += number;
                i--;
            }
        }
    }
    return sum;
}

/* Sorts numbers of 32 bits in range 0 (a heap), which it takes from range 1. */
long long sort(struct cemu_args *args)
{
    int *heap = args->mr_addr[0];
    const int *in = args->mr_addr[1];
    long long count = (unsigned long long)args->mr_len[1] / sizeof(int), sum = 0;

    for (long long i = 0; i < count; i++)
        heap[i] = in[i];
    for (long long end = count, top = count / 2; end > 1;) {
        int value;

        if (top > 0) {
            value = heap[--top];
        } else {
            value = heap[--end];
            heap[end] = heap[0];
        }
        long long at = top;

        for (long long child; (child = 2 * at + 1) < end; at = child) {
            if (child + 1 < end && heap[child + 1] > heap[child])
                child++;
            if (heap[child] <= value)
                break;
            heap[at] = heap[child];
        }
        heap[at] = value;
    }
    for (long long i = 0; i < count; i += 100)
        sum += i * heap[i];
    return sum;
}

/* How often a regular expression matches: the table in range 2 says for each state and byte which state comes next, cparam1 is the
 * state of a match. */
long long regex(struct cemu_args *args)
{
    const unsigned char *in = args->mr_addr[1], *next = args->mr_addr[2];
    long long size = args->mr_len[1], found = 0, accept = args->cparam1;
    unsigned long long state = 0;

    for (long long i = 0; i < size; i++) {
        state = next[state << 8 | in[i]];
        found += state == (unsigned long long)accept;
    }
    return found;
}
