/* The program vadd on a drive, from C: adds two lists of numbers.
 *
 *     cc -o vadd examples/host/c/vadd.c $(pkg-config --cflags --libs csdrive)
 *     ./vadd /dev/nvme0 examples/programs/vadd.bpf.o
 */
#include "example.h"

enum { COUNT = 5000 };

int main(int argc, char **argv)
{
    begin(argc, argv);
    static int32_t a[COUNT], b[COUNT], sums[COUNT];
    for (int i = 0; i < COUNT; i++) {
        a[i] = random_number(-1000, 1000);
        b[i] = random_number(-1000, 1000);
    }
    check(csdrive_memory_write(drive, INPUT, a, sizeof a), "write the first list");
    check(csdrive_memory_write(drive, SECOND_INPUT, b, sizeof b), "write the second list");

    csdrive_range ranges[] = {{OUTPUT, sizeof sums, 0}, {INPUT, sizeof a, 0}, {SECOND_INPUT, sizeof b, 0}};
    csdrive_execution execution = {.program = PROGRAM, .range_count = 3, .ranges = ranges};
    uint64_t result;
    check(csdrive_execute(drive, &execution, &result), "execute");
    if (result != COUNT)
        fail("the result is %" PRIu64 ", not %d", result, COUNT);
    check(csdrive_memory_read(drive, OUTPUT, sums, sizeof sums), "read the sums");
    for (int i = 0; i < COUNT; i++)
        if (sums[i] != a[i] + b[i])
            fail("sum %d is %" PRId32 ", not %" PRId32, i, sums[i], a[i] + b[i]);
    printf("vadd: %d sums, all as on the host\n", COUNT);
    return end();
}
