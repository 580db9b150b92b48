/* The program lz4 on a drive, from C: the drive compresses, the host decodes and compares.
 *
 *     cc -o lz4 examples/host/c/lz4.c $(pkg-config --cflags --libs csdrive)
 *     ./lz4 /dev/nvme0 examples/programs/lz4.bpf.o
 */
#include "example.h"

#include <string.h>

enum { SIZE_MAX_BYTES = 100000, ROOM_MAX_BYTES = SIZE_MAX_BYTES + SIZE_MAX_BYTES / 255 + 16 };

/* Bytes that are read one after the other. */
struct reader {
    const uint8_t *at, *end;
};

/* Adds the bytes that continue a length of 15. Returns 0, or -1 if the block ends before the length does. */
static int read_length(struct reader *block, size_t *length)
{
    if (*length < 15)
        return 0;
    uint8_t byte;
    do {
        if (block->at == block->end)
            return -1;
        byte = *block->at++;
        *length += byte;
    } while (byte == 255);
    return 0;
}

/* Decodes an LZ4 block. Returns the bytes written, or -1 if the block is none or there is not enough room. */
static int64_t decode(struct reader block, uint8_t *out, size_t room)
{
    size_t done = 0;
    while (block.at < block.end) {
        uint8_t token = *block.at++;
        size_t literals = token >> 4;
        if (read_length(&block, &literals) || literals > (size_t)(block.end - block.at) || literals > room - done)
            return -1;
        memcpy(out + done, block.at, literals);
        block.at += literals;
        done += literals;
        /* The last sequence has no match. */
        if (block.at == block.end)
            return (int64_t)done;
        if (block.end - block.at < 2)
            return -1;
        size_t offset = block.at[0] | (size_t)block.at[1] << 8;
        block.at += 2;
        size_t match = token & 15;
        if (read_length(&block, &match))
            return -1;
        match += 4;
        if (offset == 0 || offset > done || match > room - done)
            return -1;
        /* Byte by byte: a match may reach into what it writes. */
        for (; match > 0; match--, done++)
            out[done] = out[done - offset];
    }
    return -1;
}

/* Compresses what is in device memory at INPUT. Returns the program's result: a size, or -1. */
static int64_t compress(size_t size, size_t room)
{
    csdrive_range ranges[] = {{OUTPUT, (uint32_t)room, 0}, {INPUT, (uint32_t)size, 0}};
    csdrive_execution execution = {.program = PROGRAM, .range_count = 2, .ranges = ranges};
    uint64_t result;
    check(csdrive_execute(drive, &execution, &result), "execute");
    return (int64_t)result;
}

/* Data to be written to device memory: lengths of writes are multiples of four. */
static uint8_t data[SIZE_MAX_BYTES];

static void compress_and_compare(const char *what, size_t size)
{
    static uint8_t block[ROOM_MAX_BYTES], decoded[SIZE_MAX_BYTES];
    check(csdrive_memory_write(drive, INPUT, data, (size + 3) / 4 * 4), "write the data");
    /* Always enough. */
    size_t room = size + size / 255 + 16;
    int64_t length = compress(size, room);
    if (length < 0 || (size_t)length > room)
        fail("%s: the result is %" PRId64 " with room for %zu bytes", what, length, room);
    check(csdrive_memory_read(drive, OUTPUT, block, (size_t)length), "read the block");
    int64_t got = decode((struct reader){block, block + length}, decoded, size);
    if (got != (int64_t)size)
        fail("%s: %" PRId64 " bytes decoded, not %zu", what, got, size);
    if (memcmp(decoded, data, size))
        fail("%s: what was decoded differs", what);
    printf("lz4: %s, %zu bytes to %" PRId64 ", decoded to the same\n", what, size, length);
}

int main(int argc, char **argv)
{
    begin(argc, argv);
    static const char *const words[] = {"drive ", "program ", "range ", "block ", "memory ", "queue ", "host ", "job "};
    size_t size = 0;
    while (size < SIZE_MAX_BYTES - 8) {
        const char *word = words[random_number(0, 8)];
        memcpy(data + size, word, strlen(word));
        size += strlen(word);
    }
    compress_and_compare("words", size);
    compress_and_compare("three bytes", 3);
    memset(data, 'a', sizeof data);
    compress_and_compare("one byte over and over", 70000);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)random_number(0, 256);
    compress_and_compare("random bytes", 50000);

    int64_t result = compress(50000, 40000);
    if (result != -1)
        fail("random bytes in less room than they need: the result is %" PRId64 ", not -1", result);
    return end();
}
