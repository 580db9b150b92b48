/* grep_lines: how many lines hold the pattern in the data buffer, also of lines that cross chunks.
 *
 *     csdrive run examples/programs/grep-lines.bpf.o --input access.log --output-size 0 \
 *         --data hex:474554 --stream --chunk 1MiB --overlap 4KiB
 *
 * A line belongs to the chunk in which it begins, and may end in what is behind it. A line that begins exactly where the next
 * chunk begins belongs to this one: the next one cannot know that it is not in the middle of a line. No line is longer than the
 * overlap.
 */
#include <csdrive.h>

long long grep_lines(struct cemu_args *args)
{
    const struct csdrive_chunk *chunk = args->data_buffer;
    const char *pattern = (const char *)args->data_buffer + sizeof *chunk;
    const char *text = args->mr_addr[1], *end = text + args->mr_len[1];
    long long len = args->buffer_len - (long long)sizeof *chunk, lines = 0;
    const char *line = text;

    if (chunk->position > 0) {
        const char *newline = csd_memchr(text, '\n', end - text);
        line = newline ? newline + 1 : end;
    }
    while (line < end && line - text <= (long long)chunk->bytes) {
        const char *newline = csd_memchr(line, '\n', end - line);
        const char *last = newline ? newline : end;
        if (csd_memmem(line, last - line, pattern, len))
            lines++;
        line = newline ? newline + 1 : end;
    }
    return lines;
}
