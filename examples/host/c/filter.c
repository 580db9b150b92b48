/* The program filter on a drive, from C: keeps the records of a table whose key lies between two numbers.
 *
 *     cc -o filter examples/host/c/filter.c $(pkg-config --cflags --libs csdrive)
 *     ./filter /dev/nvme0 examples/programs/filter.bpf.o
 */
#include "example.h"

#include <string.h>

enum { COUNT = 2000, LOW = -100, HIGH = 100 };

/* As the program has it. */
struct record {
    int64_t key;
    int64_t rest[3];
};

int main(int argc, char **argv)
{
    begin(argc, argv);
    static struct record table[COUNT], expected[COUNT], kept[COUNT];
    int matches = 0;
    for (int i = 0; i < COUNT; i++) {
        table[i] = (struct record){random_number(-1000, 1000), {i, 2 * i, 3 * i}};
        if (table[i].key >= LOW && table[i].key <= HIGH)
            expected[matches++] = table[i];
    }
    check(csdrive_memory_write(drive, INPUT, table, sizeof table), "write the table");

    /* Room for all: nobody knows how many will be kept. */
    csdrive_range ranges[] = {{OUTPUT, sizeof kept, 0}, {INPUT, sizeof table, 0}};
    csdrive_execution execution = {
        .program = PROGRAM, .range_count = 2, .ranges = ranges, .param1 = LOW, .param2 = HIGH};
    uint64_t result;
    check(csdrive_execute(drive, &execution, &result), "execute");
    if (result != matches * sizeof kept[0])
        fail("the drive kept %" PRIu64 " bytes, the host %zu", result, matches * sizeof kept[0]);
    check(csdrive_memory_read(drive, OUTPUT, kept, result), "read the records");
    for (int i = 0; i < matches; i++)
        if (memcmp(&kept[i], &expected[i], sizeof kept[i]))
            fail("record %d differs: key %" PRId64 ", not %" PRId64, i, kept[i].key, expected[i].key);
    printf("filter: %d of %d records kept, all as on the host\n", matches, COUNT);
    return end();
}
