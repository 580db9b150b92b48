/* The program nearest on a drive, from C: those of many vectors that are nearest to one.
 *
 *     cc -o nearest examples/host/c/nearest.c $(pkg-config --cflags --libs csdrive)
 *     ./nearest /dev/nvme0 examples/programs/nearest.bpf.o
 */
#include "example.h"

enum { COUNT = 3000, DIMENSIONS = 16, K = 10 };

/* As the program has it. */
struct hit {
    uint64_t distance, index;
};

/* By distance; of the same distance, the first vector is first. */
static int compare(const void *left, const void *right)
{
    const struct hit *a = left, *b = right;
    if (a->distance != b->distance)
        return a->distance < b->distance ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

int main(int argc, char **argv)
{
    begin(argc, argv);
    static int32_t vectors[COUNT][DIMENSIONS], query[DIMENSIONS];
    static struct hit expected[COUNT];
    for (int d = 0; d < DIMENSIONS; d++)
        query[d] = random_number(-500, 500);
    for (int i = 0; i < COUNT; i++) {
        expected[i].index = (uint64_t)i;
        for (int d = 0; d < DIMENSIONS; d++) {
            vectors[i][d] = random_number(-500, 500);
            int64_t off = vectors[i][d] - query[d];
            expected[i].distance += (uint64_t)(off * off);
        }
    }
    qsort(expected, COUNT, sizeof expected[0], compare);
    check(csdrive_memory_write(drive, INPUT, vectors, sizeof vectors), "write the vectors");
    check(csdrive_memory_write(drive, SECOND_INPUT, query, sizeof query), "write the query");

    struct hit hits[K];
    csdrive_range ranges[] = {
        {OUTPUT, sizeof hits, 0}, {INPUT, sizeof vectors, 0}, {SECOND_INPUT, sizeof query, 0}};
    csdrive_execution execution = {
        .program = PROGRAM, .range_count = 3, .ranges = ranges, .param1 = DIMENSIONS, .param2 = K};
    uint64_t result;
    check(csdrive_execute(drive, &execution, &result), "execute");
    if (result != K)
        fail("the result is %" PRIu64 ", not %d", result, K);
    check(csdrive_memory_read(drive, OUTPUT, hits, sizeof hits), "read the nearest");
    for (int i = 0; i < K; i++)
        if (compare(&hits[i], &expected[i]))
            fail("place %d: vector %" PRIu64 " at %" PRIu64 ", not vector %" PRIu64 " at %" PRIu64, i, hits[i].index,
                 hits[i].distance, expected[i].index, expected[i].distance);
    printf("nearest: the %d nearest of %d vectors, all as on the host\n", K, COUNT);
    return end();
}
