// A table of functions, and one that calls through a pointer. clang-19 -target bpf -mcpu=v4 -O2 -g -c pointers.c
struct cemu_args;
typedef long (*op)(long, long);
static __attribute__((noinline)) long add(long a, long b) { return a + b; }
static __attribute__((noinline)) long sub(long a, long b) { return a - b; }
static __attribute__((noinline)) long mul(long a, long b) { return a * b; }
static const op ops[3] = {add, sub, mul};
static __attribute__((noinline)) long apply(op f, long a, long b) { return f(a, b) + 1; }
long long fold(struct cemu_args *args)
{
    long r = 0;
    for (volatile int i = 0; i < 30; i++)
        r = apply(ops[i % 3], r, i + 2);
    return r;
}
static op volatile wild = (op)((char *)add + 8);
long long astray(struct cemu_args *args) { return wild(1, 2); }
