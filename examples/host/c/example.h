/* What the examples have in common: the drive with the program, what is said when something differs, and numbers that
 * look random and are the same in every run. */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <inttypes.h>
#include <libcsdrive.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* The program's index, and the bytes of device memory where its ranges begin. */
enum { PROGRAM = 1, OUTPUT = 0, INPUT = 1 << 20, SECOND_INPUT = 2 << 20 };

/* The drive; the program is on it. NULL before begin() and after end(). */
static csdrive *drive;

/* Takes the program from the drive again, and closes it. Returns main's exit status. */
static inline int end(void)
{
    int failed = csdrive_unload(drive, PROGRAM);
    if (failed)
        fprintf(stderr, "unload the program: %s\n", csdrive_error());
    csdrive_close(drive);
    drive = NULL;
    return failed;
}

/* Says what is wrong and exits. */
static inline _Noreturn void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    if (drive)
        end();
    exit(1);
}

/* Exits if a function of the library failed. */
static inline void check(int failed, const char *what)
{
    if (failed)
        fail("%s: %s", what, csdrive_error());
}

/* Opens the drive and loads the program that the command line names. */
static inline void begin(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "use: %s DEV PROGRAM.bpf.o\n", argv[0]);
        exit(2);
    }
    csdrive *opened;
    check(csdrive_open(argv[1], &opened), "open the drive");
    if (csdrive_load_file(opened, PROGRAM, argv[2])) {
        fprintf(stderr, "load the program: %s\n", csdrive_error());
        csdrive_close(opened);
        exit(1);
    }
    drive = opened;
}

/* A number from low to high - 1. */
static inline int32_t random_number(int32_t low, int32_t high)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return low + (int32_t)((state >> 33) % (uint64_t)(high - low));
}

#endif
