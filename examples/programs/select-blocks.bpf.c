/* select_blocks: keeps the blocks of 4 KiB whose first 64-bit number lies in cparam1..cparam2, in order. Returns how many blocks it
 * wrote to range 0: a streaming execution writes so many back to flash.
 *
 *     csdrive run examples/programs/select-blocks.bpf.o --input blocks.bin --output kept.bin \
 *         --param1 -100 --param2 100
 */
#include <csdrive.h>
#include <string.h>

#define BLOCK 4096

long long select_blocks(struct cemu_args *args)
{
    char *out = args->mr_addr[0];
    const char *in = args->mr_addr[1];
    long long count = (unsigned long long)args->mr_len[1] / BLOCK, kept = 0;

    for (long long i = 0; i < count; i++) {
        const char *block = in + i * BLOCK;
        long long key = *(const long long *)block;
        if (key < args->cparam1 || key > args->cparam2)
            continue;
        memcpy(out + kept * BLOCK, block, BLOCK);
        kept++;
    }
    return kept;
}
