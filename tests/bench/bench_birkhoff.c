/* Time to schedule the stages of a skewed matrix between 1,024 ranks on 128 nodes: rows between
 * nodes, decomposition, and one rank's share of the dealing. Prints the fastest and the median of a
 * few; exit status 1 where the fastest is above the limit or the stages are too long. */
#include <stdio.h>
#include <stdlib.h>

#include "../../src/exchange/birkhoff_rails.h"
#include "../../src/exchange/birkhoff_schedule.h"
#include "moe/measure.h"

#define RANKS       1024
#define PER_NODE    8
#define NODES       (RANKS / PER_NODE)
#define REPETITIONS 7
#define LIMIT_MS    200.0

static void give_up(const char *what)
{
    fprintf(stderr, "bench_birkhoff: %s\n", what);
    exit(MOE_FAILED);
}

static double random_unit(uint64_t *state)
{
    /* xorshift64*; the upper 53 bits */
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (double)(*state * 0x2545f4914f6cdd1du >> 11) / 9007199254740992.0;
}

/* Receivers' popularity falls as 1 / (1 + rank), in an order without pattern; a block varies by a
 * factor of up to 2 around it. 4,096 tokens of top-k 8 a rank. */
static void fill(size_t *matrix)
{
    uint64_t state = 42;
    double weight[RANKS], sum = 0.0;
    for (size_t rank = 0; rank < RANKS; rank++)
        sum += weight[rank] = 1.0 / (double)(1 + rank * 389 % RANKS);
    for (size_t i = 0; i < (size_t)RANKS * RANKS; i++)
        matrix[i] =
            (size_t)(4096 * 8 * weight[i % RANKS] / sum * (0.5 + 1.5 * random_unit(&state)));
}

/* What every rank does in schedule() once it has the matrix, of node 0. */
static double schedule_once(const size_t *matrix, moe_birkhoff_t *out)
{
    const moe_node_map_t map = moe_node_map(RANKS, PER_NODE);
    moe_rails_t rails;
    size_t *flows = malloc(NODES * NODES * sizeof *flows);
    const double begin = moe_now();
    if (flows == NULL || moe_rails_create(matrix, &map, &rails, NULL) != MOE_OK)
        give_up("no memory");
    moe_rails_flows(&rails, flows);
    if (moe_birkhoff_decompose(flows, NODES, out, NULL) != MOE_OK)
        give_up("no schedule");
    for (size_t node = 1; node < NODES; node++) {
        moe_rails_deal(&rails, 0, node);
        moe_rails_deal(&rails, node, 0);
    }
    const double end = moe_now();
    moe_rails_destroy(&rails);
    free(flows);
    return 1e3 * (end - begin);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    size_t *matrix = malloc(sizeof *matrix * RANKS * RANKS);
    double ms[REPETITIONS];
    moe_birkhoff_t s = {.ports = 0};
    if (matrix == NULL)
        give_up("no memory");
    fill(matrix);
    for (size_t i = 0; i < REPETITIONS; i++) {
        moe_birkhoff_destroy(&s);
        ms[i] = schedule_once(matrix, &s);
    }
    qsort(ms, REPETITIONS, sizeof ms[0], ascending);
    const double ratio = (double)s.length / (double)s.bottleneck;
    const int right = ms[0] <= LIMIT_MS && ratio <= 1.0 + 1.0 / MOE_BIRKHOFF_SLACK;
    printf(
        "birkhoff: %d ranks, %d nodes: %.1f ms (median %.1f, limit %.0f), %zu stages, length %.4f "
        "of the bottleneck\n",
        RANKS, NODES, ms[0], ms[REPETITIONS / 2], LIMIT_MS, s.stages, ratio);
    moe_birkhoff_destroy(&s);
    free(matrix);
    return right ? 0 : 1;
}
