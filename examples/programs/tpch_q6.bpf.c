/* tpch_q6: TPC-H query 6 on a chunk of lineitem in columns.
 *
 *     select sum(l_extendedprice * l_discount) from lineitem
 *     where l_shipdate >= date '1994-01-01' and l_shipdate < date '1995-01-01'
 *       and l_discount between 0.05 and 0.07 and l_quantity < 24
 *
 * Ranges: 1 l_shipdate (32-bit days since 1970), 2 l_discount (64-bit hundredths), 3 l_quantity
 * (64-bit), 4 l_extendedprice (64-bit cents). cparam1 is the number of rows. Returns the revenue
 * in ten-thousandths of a dollar, and writes it to range 0.
 */
#include <csdrive.h>

long long tpch_q6(struct cemu_args *args)
{
    long long *out = args->mr_addr[0];
    const int *shipdate = args->mr_addr[1];
    const long long *discount = args->mr_addr[2];
    const long long *quantity = args->mr_addr[3];
    const long long *price = args->mr_addr[4];
    long long rows = args->cparam1, revenue = 0;

    for (long long i = 0; i < rows; i++)
        if (shipdate[i] >= 8766 && shipdate[i] < 9131 && discount[i] >= 5 && discount[i] <= 7 &&
            quantity[i] < 24)
            revenue += price[i] * discount[i];
    *out = revenue;
    return revenue;
}
