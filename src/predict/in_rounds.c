/* Rounds through other ranks: bruck. In the round of weight w a rank sends, as one message to the rank z * w
 * farther on, the blocks of all distances whose digit is z: of w sources each. */
#include <math.h>
#include <stdlib.h>

#include "moe/system.h"
#include "ports.h"
#include "predictors.h"

typedef struct rounds {
    const moe_way_t *way;
    const moe_machine_t *machine;
    size_t first, n; /* members at places first ... first + n - 1 */
    size_t radix, weight;
    double *running; /* [2n + 1] running sums along one cycle, expected rows only */
    double *held;    /* [n] rows of the message of each member */
} rounds_t;

/* Distances with digit z of this weight: z*w, z*w + 1 ... in runs of w, radix*w apart. */
static void hold_counted(rounds_t *b, size_t z)
{
    const moe_way_t *way = b->way;
    for (size_t at = 0; at < b->n; at++) {
        b->held[at] = 0;
        for (size_t run = z * b->weight; run < b->n; run += b->radix * b->weight) {
            for (size_t i = run; i < run + b->weight && i < b->n; i++) {
                const size_t from = (at + b->n - i % b->weight) % b->n, to = (from + i) % b->n;
                b->held[at] += (double)way->rows[moe_way_rank(way, b->first + from) * way->ranks +
                                                 moe_way_rank(way, b->first + to)];
            }
        }
    }
}

/* The same from every source: w times what goes to the ranks z*w, z*w + radix*w ... farther on, which is a
 * window on the cycle that steps of radix*w make. */
static void hold_expected(rounds_t *b, size_t z)
{
    const size_t step = b->radix * b->weight % b->n, offset = z * b->weight;
    const size_t window = (b->n - offset + b->radix * b->weight - 1) / (b->radix * b->weight);
    size_t cycle = 1;
    for (size_t at = step; at != 0; at = (at + step) % b->n)
        cycle++;
    const size_t turns = window / cycle, rest = window % cycle;
    for (size_t start = 0; start < b->n / cycle; start++) {
        size_t at = (start + offset) % b->n;
        for (size_t c = 0; c < 2 * cycle; c++, at = (at + step) % b->n)
            b->running[c + 1] = b->running[c] + b->way->mean[moe_way_rank(b->way, b->first + at)];
        at = start;
        for (size_t c = 0; c < cycle; c++, at = (at + step) % b->n) {
            const size_t end = c + rest;
            b->held[at] = (double)b->weight *
                          (b->running[end] - b->running[c] + (double)turns * b->running[cycle]);
        }
    }
}

/* A round lasts as long as that of the rank that sends most; its messages are under way together. */
static void one_round(rounds_t *b, double row_bytes, moe_cost_t *out)
{
    const moe_machine_t *machine = b->machine;
    const size_t node = b->way->node_ranks;
    moe_cost_t cost = {0};
    for (size_t z = 1; z < b->radix && z * b->weight < b->n; z++) {
        double most = 0;
        if (b->way->rows != NULL)
            hold_counted(b, z);
        else
            hold_expected(b, z);
        for (size_t at = 0; at < b->n; at++)
            most = fmax(most, b->held[at]);
        const size_t tier = moe_tier_between(machine, moe_way_rank(b->way, b->first),
                                             moe_way_rank(b->way, b->first + b->n - 1));
        if (most > 0)
            moe_cost_message(machine, tier, most / (double)b->way->rounds * row_bytes,
                             moe_tier_sharing(machine, tier, node), 1, &cost);
        if (z > 1 && most > 0) { /* latencies of a round pass together */
            cost.steps[tier] -= 1;
            cost.terms.latency -= machine->tier[tier].latency;
        }
    }
    moe_cost_add(out, &cost, (double)b->way->rounds);
}

static moe_status_t one_group(const moe_way_t *way, const moe_machine_t *machine, size_t radix,
                              size_t first, size_t last, double row_bytes, moe_cost_t *out,
                              moe_error_t *error)
{
    rounds_t b = {
        .way = way, .machine = machine, .first = first, .n = last - first, .radix = radix};
    moe_status_t status =
        moe_alloc("rounds", 2 * b.n + 1, sizeof(double), (void **)&b.running, error);
    if (status == MOE_OK)
        status = moe_alloc("rounds", b.n, sizeof(double), (void **)&b.held, error);
    for (b.weight = 1; status == MOE_OK && b.weight < b.n; b.weight *= radix)
        one_round(&b, row_bytes, out);
    free(b.running);
    free(b.held);
    return status;
}

moe_status_t moe_predict_bruck(const moe_predictor_t *predictor, const moe_way_t *way,
                               const moe_machine_t *machine, double row_bytes, moe_cost_t *out,
                               moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    moe_cost_t longest = {0};
    for (size_t first = 0, last; status == MOE_OK && first < way->ranks; first = last) {
        moe_cost_t cost = {0};
        size_t begin;
        moe_way_members(way, first, &begin, &last);
        status = one_group(way, machine, predictor->radix, begin, last, row_bytes, &cost, error);
        if (moe_terms_sum(&cost.terms) > moe_terms_sum(&longest.terms))
            longest = cost;
    }
    if (status == MOE_OK)
        moe_cost_add(out, &longest, 1);
    return status;
}
