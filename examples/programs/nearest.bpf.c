/* nearest: the k nearest of many vectors of 32-bit integers to one, by squared distance. cparam1 is the number of
 * dimensions, cparam2 is k (at most 64). Range 0 receives k pairs of 64-bit numbers, distance and index, the nearest
 * first; range 1 holds the vectors, range 2 the one they are compared with. Returns how many pairs there are.
 *
 *     csdrive run examples/programs/nearest.bpf.o --input vectors.bin --input query.bin \
 *         --output nearest.bin --output-size 160 --param1 16 --param2 10
 */
#include <csdrive.h>

struct hit {
    unsigned long long distance, index;
};

long long nearest(struct cemu_args *args)
{
    struct hit *best = args->mr_addr[0];
    const int *vectors = args->mr_addr[1], *query = args->mr_addr[2];
    unsigned long long dimensions = args->cparam1, most = args->cparam2, found = 0;

    if (dimensions == 0 || most == 0 || most > 64)
        return -1;
    unsigned long long count = (unsigned long long)args->mr_len[1] / (4 * dimensions);
    for (unsigned long long i = 0; i < count; i++) {
        unsigned long long distance = 0;
        for (unsigned long long d = 0; d < dimensions; d++) {
            long long off = (long long)vectors[i * dimensions + d] - query[d];
            distance += (unsigned long long)(off * off);
        }
        if (found == most && distance >= best[most - 1].distance)
            continue;
        /* Its place among the best: those after it move on, the last may fall off. */
        unsigned long long at = found < most ? found++ : most - 1;
        while (at > 0 && best[at - 1].distance > distance) {
            best[at] = best[at - 1];
            at--;
        }
        best[at].distance = distance;
        best[at].index = i;
    }
    return (long long)found;
}
