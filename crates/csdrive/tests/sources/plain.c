// Plain C that clang's BPF target alone would reject: signed division, loops it turns into memset
// and memcpy, the functions of string.h.
#include <csdrive.h>
#include <string.h>

static long long divide(long long a, long long b)
{
    return b ? a / b * 1000 + a % b : 0;
}

long long plain(struct cemu_args *args)
{
    long long *out = args->mr_addr[0];
    const char *in = args->mr_addr[1];
    long long size = args->mr_len[1];
    char text[32];

    for (int i = 0; i < 32; i++)
        text[i] = 0;
    for (int i = 0; i < 16 && i < size; i++)
        text[i] = in[i];
    out[0] = divide(args->cparam1, args->cparam2);
    out[1] = (int)args->cparam1 / 3;
    out[2] = (short)args->cparam1 % 7;
    out[3] = strlen(text);
    out[4] = strcmp(text, "drive");
    memcpy(out + 5, in, 8);
    out[6] = csd_crc32c(0, in, size);
    const char *found = csd_memmem(in, size, "iv", 2);
    out[7] = found ? found - in : -1;
    csd_print("%d of %lld\n", 7, size, 0);
    return memcmp(text, "drive", 5);
}
