/* The program double on a drive, from C: write numbers to device memory, execute, read the result; then many
 * executions at a time.
 *
 *     cc -o double examples/host/c/double.c $(pkg-config --cflags --libs csdrive)
 *     ./double /dev/nvme0 examples/programs/double.bpf.o
 */
#include "example.h"

enum { COUNT = 1024, MANY = 10000, DEPTH = 64 };

int main(int argc, char **argv)
{
    begin(argc, argv);
    uint32_t numbers[COUNT], doubled[COUNT];
    for (uint32_t i = 0; i < COUNT; i++)
        numbers[i] = i;
    check(csdrive_memory_write(drive, INPUT, numbers, sizeof numbers), "write the numbers");

    csdrive_range ranges[] = {{OUTPUT, sizeof doubled, 0}, {INPUT, sizeof numbers, 0}};
    csdrive_execution execution = {.program = PROGRAM, .range_count = 2, .ranges = ranges};
    uint64_t result;
    check(csdrive_execute(drive, &execution, &result), "execute");
    if (result != COUNT)
        fail("the result is %" PRIu64 ", not %d", result, COUNT);
    check(csdrive_memory_read(drive, OUTPUT, doubled, sizeof doubled), "read the result");
    for (uint32_t i = 0; i < COUNT; i++)
        if (doubled[i] != 2 * i)
            fail("number %" PRIu32 " is %" PRIu32 ", not %" PRIu32, i, doubled[i], 2 * i);
    printf("double: %d numbers, all as on the host\n", COUNT);

    /* Some at a time: submit, and wait for as many as there are to be refilled. */
    csdrive_done done[DEPTH];
    uint16_t set;
    check(csdrive_ranges_create(drive, ranges, 2, &set), "create a range set");
    csdrive_execution with_set = {.program = PROGRAM, .range_set = set};
    int submitted = 0, ended = 0;
    while (ended < MANY) {
        while (submitted < MANY && submitted - ended < DEPTH) {
            check(csdrive_submit(drive, &with_set, NULL), "submit");
            submitted++;
        }
        int count = submitted - ended;
        check(csdrive_wait(drive, done, count), "wait");
        for (int i = 0; i < count; i++)
            if (done[i].status != 0 || done[i].result != COUNT)
                fail("execution %" PRIu64 ": status %03xh, result %" PRIu64, done[i].ticket, done[i].status,
                     done[i].result);
        ended += count;
    }
    check(csdrive_ranges_delete(drive, set), "delete the range set");
    printf("%d executions, %d at a time\n", ended, DEPTH);

    /* What goes wrong is a number, and words. */
    execution.program = 99;
    int status = csdrive_execute(drive, &execution, NULL);
    if (status != 0x196)
        fail("a program that is not there: status %03xh, not 196h", status);
    printf("%03xh: %s\n", status, csdrive_error());
    return end();
}
