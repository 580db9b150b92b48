/* The program double on a drive, from C: load it, write numbers to device memory, execute, read the result; then many
 * executions at a time.
 *
 *     cc -o double examples/host/double.c $(pkg-config --cflags --libs csdrive)
 *     ./double /dev/nvme0 double.bpf.o
 */
#include <libcsdrive.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 1024, MANY = 10000, DEPTH = 64, INPUT = 1 << 20, OUTPUT = 0 };

static void check(int failed, const char *what)
{
    if (failed) {
        fprintf(stderr, "%s: %s\n", what, csdrive_error());
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "use: %s DEVICE double.bpf.o\n", argv[0]);
        return 2;
    }
    csdrive *drive;
    check(csdrive_open(argv[1], &drive), "open");
    check(csdrive_load_file(drive, 1, argv[2]), "load");

    uint32_t numbers[COUNT], doubled[COUNT];
    for (uint32_t i = 0; i < COUNT; i++)
        numbers[i] = i;
    check(csdrive_memory_write(drive, INPUT, numbers, sizeof numbers), "write");

    csdrive_range ranges[] = {{OUTPUT, sizeof doubled, 0}, {INPUT, sizeof numbers, 0}};
    csdrive_execution execution = {.program = 1, .range_count = 2, .ranges = ranges};
    uint64_t result;
    check(csdrive_execute(drive, &execution, &result), "execute");
    check(csdrive_memory_read(drive, OUTPUT, doubled, sizeof doubled), "read");
    for (uint32_t i = 0; i < COUNT; i++) {
        if (doubled[i] != 2 * i) {
            fprintf(stderr, "number %u is %u\n", i, doubled[i]);
            return 1;
        }
    }
    printf("doubled %llu numbers\n", (unsigned long long)result);

    /* Some at a time: submit, and wait for as many as there are to be refilled. */
    csdrive_done done[DEPTH];
    uint16_t set;
    check(csdrive_ranges_create(drive, ranges, 2, &set), "ranges");
    csdrive_execution with_set = {.program = 1, .range_set = set};
    int submitted = 0, ended = 0;
    while (ended < MANY) {
        while (submitted < MANY && submitted - ended < DEPTH) {
            check(csdrive_submit(drive, &with_set, NULL), "submit");
            submitted++;
        }
        int count = submitted - ended;
        check(csdrive_wait(drive, done, count), "wait");
        for (int i = 0; i < count; i++) {
            if (done[i].status != 0 || done[i].result != COUNT) {
                fprintf(stderr, "execution %llu: status %03xh\n", (unsigned long long)done[i].ticket, done[i].status);
                return 1;
            }
        }
        ended += count;
    }
    printf("%d executions, %d at a time\n", ended, DEPTH);

    /* What goes wrong is a number, and words. */
    execution.program = 99;
    int status = csdrive_execute(drive, &execution, NULL);
    printf("%03xh: %s\n", status, csdrive_error());
    check(csdrive_ranges_delete(drive, set), "delete");
    check(csdrive_activate(drive, 1, 0), "deactivate");
    check(csdrive_unload(drive, 1), "unload");
    csdrive_close(drive);
    return status == 0x196 ? 0 : 1;
}
