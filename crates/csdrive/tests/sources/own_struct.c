// A struct of its own, and the C library's names.
#include <string.h>
#include <stdint.h>

struct cemu_args {
    int numr;
    void **mr_addr;
    long long *mr_len;
    long long cparam1, cparam2;
    void *data_buffer;
    long long buffer_len;
} __attribute__((packed));

long long own_struct(struct cemu_args *args)
{
    memcpy(args->mr_addr[0], args->mr_addr[1], args->mr_len[1]);
    return (int64_t)strlen(args->mr_addr[0]);
}
