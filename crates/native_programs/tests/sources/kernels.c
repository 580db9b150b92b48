/* Well-behaved programs, in the shape that CEMU's native kernels have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include "cemu_def.h"

/* Output: range 1. */
long long vadd(struct cemu_args *args)
{
    long long n = args->cparam1;
    int *a = args->mr_addr[0], *b = a + n, *out = args->mr_addr[1];
    for (long long i = 0; i < n; i++)
        out[i] = a[i] + b[i];
    return n;
}

/* Lines of range 1 that hold the pattern of the data buffer, to range 0; returns their bytes. Uses malloc and printf. */
long long grep(struct cemu_args *args)
{
    const char *pattern = args->data_buffer;
    const char *in = args->mr_addr[1], *end = in + args->mr_len[1];
    char *out = args->mr_addr[0], *line;
    long long written = 0, lines = 0;
    while (in < end) {
        const char *stop = memchr(in, '\n', end - in);
        long long len = (stop ? stop : end) - in;
        line = malloc(len + 1);
        memcpy(line, in, len);
        line[len] = 0;
        if (strstr(line, pattern)) {
            memcpy(out + written, in, len);
            out[written + len] = '\n';
            written += len + 1;
            lines++;
        }
        free(line);
        in += len + 1;
    }
    printf("%lld lines with %s\n", lines, pattern);
    return written;
}

/* Euclidean distance of two points. */
long long distance(struct cemu_args *args)
{
    double *a = args->mr_addr[0], *b = args->mr_addr[1], sum = 0;
    for (long long i = 0; i < args->mr_len[0] / 8; i++)
        sum += pow(a[i] - b[i], 2);
    return llround(1000 * sqrt(sum));
}

static int runs;

/* How often this process ran it: globals are fresh. */
long long count_runs(struct cemu_args *args)
{
    (void)args;
    return ++runs;
}

/* The struct's numbers. */
long long arguments(struct cemu_args *args)
{
    return args->numr * 1000000 + args->mr_len[0] * 1000 + args->cparam1 * 100 + args->cparam2 * 10
        + args->buffer_len + (args->data_buffer ? 0 : 5000000);
}

/* A time that is long enough to be seen. */
long long work(struct cemu_args *args)
{
    volatile long long x = 0;
    for (long long i = 0; i < args->cparam1; i++)
        x += i;
    return x;
}
