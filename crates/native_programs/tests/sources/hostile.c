/* Programs that do what they should not; each must end, and touch nothing but its own process. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cemu_def.h"

#define PROGRAM(name) long long name(struct cemu_args *args __attribute__((unused)))

PROGRAM(null) { return *(volatile int *)(long)args->cparam1; }
PROGRAM(past_end) { ((volatile char *)args->mr_addr[0])[args->mr_len[0]] = 1; return 0; }
PROGRAM(before_start) { return ((volatile char *)args->mr_addr[0])[-1]; }
PROGRAM(write_data) { memset(args->mr_addr[0], 7, args->mr_len[0]); abort(); }
PROGRAM(divide) { volatile int zero = 0; return 7 / zero; }
PROGRAM(illegal) { __builtin_trap(); }
PROGRAM(exits) { exit(3); }
PROGRAM(endless) { for (volatile int i = 0;; i++) ; }
PROGRAM(sleeps) { for (;;) sleep(1000); }

static volatile char deep(volatile char *above)
{
    volatile char here[4096];
    here[0] = *above;
    return deep(here) + here[1];
}
PROGRAM(recursion) { char c = 0; return deep(&c); }

static void ignore(int signal) { (void)signal; }
PROGRAM(ignores_signals)
{
    for (int signal = 1; signal < 65; signal++) {
        struct sigaction action = { .sa_handler = ignore };
        sigaction(signal, &action, NULL);
    }
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (;;)
        ;
}
PROGRAM(fork_bomb) { for (;;) fork(); }
static void *thread(void *argument) { return argument; }
PROGRAM(threads) { pthread_t id; return pthread_create(&id, NULL, thread, NULL); }
static void *adds(void *argument)
{
    long long sum = 0;
    for (long long i = 0; i < 10000000; i++)
        sum += i ^ (long long)argument;
    return (void *)sum;
}
PROGRAM(works_alone)
{
    volatile long long sum = 0;
    for (long long i = 0; i < 100000; i++)
        sum += i;
    return sum;
}
PROGRAM(works_with_threads)
{
    pthread_t ids[4];
    long long same = 0, first = (long long)adds((void *)7);
    for (int i = 0; i < 4; i++)
        if (pthread_create(&ids[i], NULL, adds, (void *)7))
            return -1;
    for (int i = 0; i < 4; i++) {
        void *sum;
        pthread_join(ids[i], &sum);
        same += (long long)sum == first;
    }
    return same;
}
static void *sleeps_long(void *argument) { return sleep(100), argument; }
PROGRAM(thread_bomb)
{
    pthread_t id;
    long long count = 0;
    while (!pthread_create(&id, NULL, sleeps_long, NULL))
        count++;
    return count;
}
PROGRAM(memory_bomb)
{
    long long got = 0;
    for (;;) {
        volatile char *p = malloc(1 << 20);
        if (!p)
            return got;
        for (int i = 0; i < 1 << 20; i += 4096)
            p[i] = 1;
        got++;
    }
}
PROGRAM(hundred_gib)
{
    volatile char *p = malloc(100LL << 30);
    for (long long i = 0; i < 100LL << 30; i += 4096)
        p[i] = 1;
    return 1;
}
PROGRAM(opens) { return open("/etc/passwd", O_RDONLY); }
PROGRAM(fopens) { return fopen("/etc/passwd", "r") != NULL; }
PROGRAM(stats) { struct stat s; return stat("/etc/passwd", &s); }
PROGRAM(creates) { return open("/tmp/csdrive-native-was-here", O_CREAT | O_WRONLY, 0600); }
PROGRAM(traces) { return ptrace(PTRACE_ATTACH, getppid(), 0, 0); }
PROGRAM(traces_parent) { return ptrace(PTRACE_ATTACH, 1, 0, 0); }
PROGRAM(reads_memory)
{
    char here[16];
    struct iovec own = { here, 16 }, other = { (void *)0x1000, 16 };
    return process_vm_readv(1, &own, 1, &other, 1, 0);
}
PROGRAM(kills) { return kill(-1, SIGKILL); }
PROGRAM(kills_other) { return syscall(SYS_tgkill, 1, 1, SIGKILL); }
PROGRAM(connects) { return socket(AF_INET, SOCK_STREAM, 0); }
PROGRAM(executes) { return execl("/bin/sh", "sh", "-c", "touch /tmp/csdrive-native-was-here", NULL); }
PROGRAM(new_rules) { return prctl(PR_SET_PDEATHSIG, 0); }
PROGRAM(grows)
{
    /* The page after the range belongs to others. */
    char *p = mremap(args->mr_addr[0], args->mr_len[0], args->mr_len[0] + 4096, MREMAP_MAYMOVE);
    return p == MAP_FAILED ? -errno : p[args->mr_len[0]];
}
PROGRAM(remaps) { return remap_file_pages(args->mr_addr[0], 4096, 0, 1, 0); }
/* Every descriptor there could be. */
PROGRAM(descriptors)
{
    long long found = 0;
    char byte = 'x';
    for (int fd = 0; fd < 4096; fd++)
        if (fd != 1 && fd != 2 && (read(fd, &byte, 1) >= 0 || write(fd, &byte, 1) >= 0))
            found++;
    return found;
}
PROGRAM(prints) { for (;;) puts("for ever and ever and ever"); }
PROGRAM(lies)
{
    /* The report is one of the shared mappings; nobody may trust it. Overwrites all memory that it can find. */
    for (unsigned long at = (unsigned long)args & ~0xfffUL;; at -= 4096)
        memset((void *)at, 0xff, 4096);
}
PROGRAM(unmasks)
{
    /* A handler of its own in place of the sandbox's: the system call is refused all the same. */
    struct sigaction action = { .sa_handler = ignore };
    sigaction(SIGSYS, &action, NULL);
    int fd = syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
    char byte;
    return read(fd, &byte, 1) == 1;
}
PROGRAM(raises) { raise(args->cparam1); return 99; }
PROGRAM(odd_call) { return syscall(-1); }
PROGRAM(reads_only) { usleep(300000); return ((volatile char *)args->mr_addr[0])[0]; }
PROGRAM(writes) { usleep(100000); memset(args->mr_addr[0], 0x77, args->mr_len[0]); return 0; }
PROGRAM(steals)
{
    /* Maps every descriptor there is. */
    long long found = 0;
    for (int fd = 3; fd < 1024; fd++) {
        struct stat s;
        if (fstat(fd, &s) == 0)
            found++;
        if (mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
            found++;
    }
    return found;
}
PROGRAM(unmaps_ranges_for_more)
{
    munmap(args->mr_addr[0], args->mr_len[0]);
    return mmap(0, 33 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}
PROGRAM(unpacked)
{
    struct { int numr; void **mr_addr; long long *mr_len; } *other = (void *)args;
    return ((char *)other->mr_addr[0])[0];
}
