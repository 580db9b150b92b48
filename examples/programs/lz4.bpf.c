/* lz4: compresses range 1 to range 0 as one LZ4 block (the block format of github.com/lz4/lz4, doc/lz4_Block_format.md),
 * greedily. Returns the bytes written, or -1 if range 0 is too short: input + input / 255 + 16 are always enough.
 *
 *     csdrive run examples/programs/lz4.bpf.o --input any.file --output any.lz4 --output-size 1MiB
 */
#include <csdrive.h>

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

/* Loads of any alignment. */
struct word {
    u32 value;
} __attribute__((packed));

/* Where four bytes were seen last, plus one. */
static u32 seen[4096];

/* A length beyond what the token holds: bytes of 255 and the rest. */
static u64 put_length(u8 *out, u64 at, u64 length)
{
    while (length >= 255) {
        out[at++] = 255;
        length -= 255;
    }
    out[at++] = (u8)length;
    return at;
}

/* A sequence: literals, and a match unless its length is 0. Inlined: BPF functions take five arguments at most. */
static inline __attribute__((always_inline)) u64 put_sequence(u8 *out, u64 at, const u8 *literals, u64 count, u64 offset, u64 length)
{
    u64 token = at++, match = length ? length - 4 : 0;

    out[token] = (u8)((count < 15 ? count : 15) << 4 | (match < 15 ? match : 15));
    if (count >= 15)
        at = put_length(out, at, count - 15);
    for (u64 i = 0; i < count; i++)
        out[at++] = literals[i];
    if (length) {
        out[at++] = (u8)offset;
        out[at++] = (u8)(offset >> 8);
        if (match >= 15)
            at = put_length(out, at, match - 15);
    }
    return at;
}

long long lz4(struct cemu_args *args)
{
    u8 *out = args->mr_addr[0];
    const u8 *in = args->mr_addr[1];
    u64 room = args->mr_len[0], size = args->mr_len[1];
    u64 at = 0, done = 0, i = 0;

    /* A match begins at least 12 bytes before the end; the last 5 are literals. */
    while (size > 12 && i < size - 12) {
        u32 here = ((const struct word *)(in + i))->value;
        u32 *slot = &seen[here * 2654435761u >> 20];
        u64 before = *slot;
        *slot = (u32)(i + 1);
        if (before == 0 || i - (before - 1) > 65535 ||
            ((const struct word *)(in + before - 1))->value != here) {
            i++;
            continue;
        }
        u64 from = before - 1, length = 4;
        while (i + length < size - 5 && in[from + length] == in[i + length])
            length++;
        u64 literals = i - done;
        if (at + literals + literals / 255 + length / 255 + 16 > room)
            return -1;
        at = put_sequence(out, at, in + done, literals, i - from, length);
        i += length;
        done = i;
    }
    u64 rest = size - done;
    if (at + rest + rest / 255 + 2 > room)
        return -1;
    return (long long)put_sequence(out, at, in + done, rest, 0, 0);
}
