/* The program grep-count on a drive, from C: the text is on the drive's blocks, and gets to device memory by a copy
 * within the drive. Only the count goes to the host.
 *
 * It OVERWRITES the last blocks of the drive.
 *
 *     cc -o grep examples/host/c/grep.c $(pkg-config --cflags --libs csdrive)
 *     ./grep /dev/nvme0 examples/programs/grep-count.bpf.o
 */
#include "example.h"

#include <string.h>

enum { LINES = 2000, WORDS = 5, LINE_MAX_BYTES = 4 * WORDS + 1 };

/* Writes lines of words to the text; returns its length. */
static size_t write_lines(char *text)
{
    static const char *const words[] = {"GET", "PUT", "a", "b"};
    char *at = text;
    for (int line = 0; line < LINES; line++)
        for (int word = 0; word < WORDS; word++)
            at += sprintf(at, "%s%c", words[random_number(0, 4)], word + 1 < WORDS ? ' ' : '\n');
    return (size_t)(at - text);
}

/* How many lines have the pattern in them. The text is cut to lines. */
static uint64_t count_on_host(char *text, const char *pattern)
{
    uint64_t count = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        count += strstr(line, pattern) != NULL;
    return count;
}

int main(int argc, char **argv)
{
    static const char pattern[] = "GET";
    begin(argc, argv);
    csdrive_geometry geometry;
    check(csdrive_get_geometry(drive, &geometry), "ask for the geometry");

    /* Whole blocks: what follows the text is zeroes. */
    size_t capacity = LINES * LINE_MAX_BYTES + geometry.block_bytes;
    char *text = calloc(capacity, 1);
    if (!text)
        fail("no %zu bytes of memory", capacity);
    size_t length = write_lines(text);
    uint64_t count = (length + geometry.block_bytes - 1) / geometry.block_bytes;
    uint64_t first = geometry.blocks - count;
    check(csdrive_write_blocks(drive, first, count, text), "write the text to blocks");
    check(csdrive_copy_blocks(drive, first, count, INPUT), "copy the blocks to device memory");

    /* The range ends where the text does. The program writes nothing: its output has no bytes. */
    csdrive_range ranges[] = {{OUTPUT, 0, 0}, {INPUT, (uint32_t)length, 0}};
    csdrive_execution execution = {
        .program = PROGRAM, .range_count = 2, .ranges = ranges, .data = pattern, .data_length = strlen(pattern)};
    uint64_t result;
    check(csdrive_execute(drive, &execution, &result), "execute");
    uint64_t expected = count_on_host(text, pattern);
    free(text);
    if (result != expected)
        fail("the drive found %" PRIu64 " lines, the host %" PRIu64, result, expected);
    printf("grep: %" PRIu64 " of %d lines have %s in them, as on the host\n", result, LINES, pattern);
    return end();
}
