/* grep_count: how many lines of the input hold the pattern in the data buffer.
 *
 *     csdrive run examples/programs/grep-count.bpf.o --input access.log --output-size 0 \
 *         --data hex:474554
 */
#include <csdrive.h>

static int matches(const char *text, const char *pattern, long long len)
{
    for (long long i = 0; i < len; i++)
        if (text[i] != pattern[i])
            return 0;
    return 1;
}

long long grep_count(struct cemu_args *args)
{
    const char *text = args->mr_addr[1], *pattern = args->data_buffer;
    long long size = args->mr_len[1], len = args->buffer_len;
    long long lines = 0, found = 0, end = size - len;

    for (long long i = 0; i < size; i++) {
        if (!found && i <= end && matches(text + i, pattern, len))
            found = 1;
        if (text[i] == '\n') {
            lines += found;
            found = 0;
        }
    }
    return lines + found;
}
