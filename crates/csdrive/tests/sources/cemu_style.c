// A source as CEMU's users write them: its own copy of the argument struct, output in range 0.
struct cemu_args {
    int numr;
    void **mr_addr;
    long long *mr_len;
    long long cparam1;
    long long cparam2;
    void *data_buffer;
    long long buffer_len;
} __attribute__((packed));

long long weighted(struct cemu_args *args)
{
    int numr = args->numr;
    void **mr_addr = args->mr_addr;
    long long *mr_len = args->mr_len;
    int *out = ((int **)mr_addr)[0];
    int *in = ((int **)mr_addr)[1];
    unsigned char *data = args->data_buffer;
    unsigned long long n = (unsigned long long)mr_len[1] >> 2;

    for (unsigned long long i = 0; i < n; i++) {
        int w = args->buffer_len ? data[i & 3] : 1;
        out[i] = in[i] * w + (short)args->cparam1 - (int)args->cparam2;
    }
    return numr * 1000 + (long long)n;
}
