/* csdrive_test.h: tests of computational storage functions, run by `csdrive test FILE.c`.
 *
 *     #include <csdrive_test.h>
 *     #include "vadd.c"
 *
 *     CSD_TEST(adds_two_arrays)
 *     {
 *         int sum[2] = {0}, a[2] = {1, 2}, b[2] = {30, 40};
 *         long long n = CSD_RUN(vadd, .ranges = {CSD_RANGE(sum), CSD_RANGE(a), CSD_RANGE(b)});
 *         CSD_CHECK_EQ(n, 2);
 *         CSD_CHECK_EQ(sum[1], 42);
 *     }
 *
 * Each test is a run of its own: globals are fresh. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef CSDRIVE_TEST_H
#define CSDRIVE_TEST_H

#include "csdrive.h"
#include "stdio.h"
#include "string.h"

/* Checks that failed in this test: its result. */
static long long csd_test_failed;

/* A test. `csdrive test` finds it by its name. */
#define CSD_TEST(name)                                                                             \
    static void csd_test_body_##name(void);                                                        \
    long long csd_test_##name(struct cemu_args *csd_test_arguments)                                \
    {                                                                                              \
        (void)csd_test_arguments;                                                                  \
        csd_test_body_##name();                                                                    \
        return csd_test_failed;                                                                    \
    }                                                                                              \
    static void csd_test_body_##name(void)

/* A memory range, and what a CSF is given: its ranges, parameters and data buffer. */
struct csd_test_range {
    void *at;
    long long bytes;
};

struct csd_test_call {
    struct csd_test_range ranges[16];
    long long param1, param2;
    struct csd_test_range data;
    /* What the function sees. */
    void *addresses[16];
    long long lengths[16];
    struct cemu_args args;
};

/* An array as a range, or as the data buffer. */
#define CSD_RANGE(array) {(void *)(array), sizeof(array)}

static inline struct cemu_args *csd_test_prepare(struct csd_test_call *call)
{
    int n = 0;
    while (n < 16 && call->ranges[n].at) {
        call->addresses[n] = call->ranges[n].at;
        call->lengths[n] = call->ranges[n].bytes;
        n++;
    }
    call->args.numr = n;
    call->args.mr_addr = call->addresses;
    call->args.mr_len = call->lengths;
    call->args.cparam1 = call->param1;
    call->args.cparam2 = call->param2;
    call->args.data_buffer = call->data.at;
    call->args.buffer_len = call->data.bytes;
    return &call->args;
}

/* Calls a CSF: CSD_RUN(function, .ranges = {CSD_RANGE(output), CSD_RANGE(input)}, .param1 = 7, .data = CSD_RANGE(text)). */
#define CSD_RUN(function, ...)                                                                     \
    ({                                                                                             \
        struct csd_test_call csd_call = {__VA_ARGS__};                                             \
        (long long)function(csd_test_prepare(&csd_call));                                          \
    })

/* A condition holds. */
#define CSD_CHECK(condition)                                                                       \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            csd_test_failed++;                                                                     \
            printf("%s:%d: %s does not hold\n", csd_test_file(__FILE__), __LINE__, #condition);    \
        }                                                                                          \
    } while (0)

/* Two integers are the same. */
#define CSD_CHECK_EQ(left, right)                                                                  \
    do {                                                                                           \
        long long csd_left = (left), csd_right = (right);                                          \
        if (csd_left != csd_right) {                                                               \
            csd_test_failed++;                                                                     \
            printf("%s:%d: %s is %lld, not %lld\n", csd_test_file(__FILE__), __LINE__, #left,      \
                   csd_left, csd_right);                                                           \
        }                                                                                          \
    } while (0)

/* Two places hold the same bytes. */
#define CSD_CHECK_BYTES(left, right, bytes)                                                        \
    do {                                                                                           \
        const unsigned char *csd_left = (const void *)(left), *csd_right = (const void *)(right);  \
        for (long long csd_at = 0, csd_end = (bytes); csd_at < csd_end; csd_at++)                  \
            if (csd_left[csd_at] != csd_right[csd_at]) {                                           \
                csd_test_failed++;                                                                 \
                printf("%s:%d: %s and %s differ at byte %lld: %d, %d\n", csd_test_file(__FILE__),  \
                       __LINE__, #left, #right, csd_at, csd_left[csd_at], csd_right[csd_at]);      \
                break;                                                                             \
            }                                                                                      \
    } while (0)

/* A path's last part. */
static inline const char *csd_test_file(const char *path)
{
    const char *name = path;
    for (; *path; path++)
        if (*path == '/')
            name = path + 1;
    return name;
}

#endif
