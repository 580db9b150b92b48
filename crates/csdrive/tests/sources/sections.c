// Read-only data, initialised data, zeroed data, pointers in data, calls within and between
// sections, sections of any name.
#define SEC(name) __attribute__((section(name), used))
struct cemu_args {
    int numr;
    void **mr_addr;
    long long *mr_len;
    long long cparam1, cparam2;
    void *data_buffer;
    long long buffer_len;
} __attribute__((packed));

static const unsigned squares[8] = {0, 1, 4, 9, 16, 25, 36, 49};
static const char word[] = "storage";
long long start = 1000;
long long zeroed[4];
const unsigned *const pointer = &squares[3];

static __attribute__((noinline)) long long square(unsigned n)
{
    return squares[n & 7];
}

SEC("other/section") __attribute__((noinline)) long long letters(unsigned n)
{
    long long sum = square(n);
    for (unsigned i = 0; word[i]; i++)
        sum += word[i];
    return sum;
}

SEC("csd/entry") long long entry(struct cemu_args *args)
{
    volatile long long *z = zeroed;
    z[args->cparam1 & 3] += 5;
    start += 1;
    return start + letters((unsigned)args->cparam1) + zeroed[args->cparam1 & 3] + *pointer;
}
