/* Tests of vadd.bpf.c: csdrive test examples/programs/tests/vadd_test.c
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <csdrive_test.h>

#include "../vadd.bpf.c"

CSD_TEST(adds_two_arrays)
{
    int sum[3] = {0}, a[3] = {1, 2, -3}, b[3] = {30, 40, 3};
    CSD_CHECK_EQ(CSD_RUN(vadd, .ranges = {CSD_RANGE(sum), CSD_RANGE(a), CSD_RANGE(b)}), 3);
    CSD_CHECK_EQ(sum[0], 31);
    CSD_CHECK_EQ(sum[1], 42);
    CSD_CHECK_EQ(sum[2], 0);
}

CSD_TEST(nothing_of_two_arrays_is_nothing)
{
    int sum[1] = {7};
    CSD_CHECK_EQ(CSD_RUN(vadd, .ranges = {{sum, 0}, {sum, 0}, {sum, 0}}), 0);
    CSD_CHECK_EQ(sum[0], 7);
}
