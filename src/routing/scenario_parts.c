/* The words of a scenario: laws, orders, sets of ranks. A new one is a row of its table. */
#include <math.h>

#include "random.h"
#include "real.h"
#include "scenario.h"

/* ---- Laws ---- */

static void fill_uniform(const double *parameter, size_t hot, size_t experts, double *weight)
{
    (void)parameter;
    (void)hot;
    for (size_t r = 0; r < experts; r++)
        weight[r] = 1;
}

/* A hot expert is `heat` times as popular as another. */
static void fill_hot(const double *parameter, size_t hot, size_t experts, double *weight)
{
    for (size_t r = 0; r < experts; r++)
        weight[r] = r < hot ? parameter[0] : 1;
}

/* (r + shift)^-slope, r from 1: Zipf's law with Mandelbrot's shift. */
static void fill_zipf(const double *parameter, size_t hot, size_t experts, double *weight)
{
    (void)hot;
    const double first = moe_real_log(1 + parameter[1]);
    for (size_t r = 0; r < experts; r++)
        weight[r] =
            moe_real_exp(parameter[0] * (first - moe_real_log((double)(r + 1) + parameter[1])));
}

/* The normal quantile, relative error below 1.15e-9 (P. J. Acklam's rational approximation, 2003), with
 * the room's own logarithm: the same bits everywhere. 0 < p < 1. */
static double normal_quantile(double p)
{
    static const double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,
                               -2.759285104469687e+02, 1.383577518672690e+02,
                               -3.066479806614716e+01, 2.506628277459239e+00};
    static const double b[] = {-5.447609879822406e+01, 1.615858368580409e+02,
                               -1.556989798598866e+02, 6.680131188771972e+01,
                               -1.328068155288572e+01, 1.0};
    static const double c[] = {-7.784894002430293e-03, -3.223964580411365e-01,
                               -2.400758277161838e+00, -2.549732539343734e+00,
                               4.374664141464968e+00,  2.938163982698783e+00};
    static const double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00,
                               3.754408661907416e+00, 1.0};
    const double tail = 0.02425;
    if (p > 0.5)
        return -normal_quantile(1 - p);
    double above = 0, below = 0;
    if (p < tail) {
        const double q = sqrt(-2 * moe_real_log(p));
        for (size_t i = 0; i < 6; i++)
            above = above * q + c[i];
        for (size_t i = 0; i < 5; i++)
            below = below * q + d[i];
        return above / below;
    }
    const double q = p - 0.5, square = q * q;
    for (size_t i = 0; i < 6; i++) {
        above = above * square + a[i];
        below = below * square + b[i];
    }
    return q * above / below;
}

/* A log-normal's quantiles in the middle of E equal parts, not draws of it: the same loads in every
 * layer, whichever expert has them. */
static void fill_lognormal(const double *parameter, size_t hot, size_t experts, double *weight)
{
    (void)hot;
    for (size_t r = 0; r < experts; r++)
        weight[r] =
            moe_real_exp(parameter[0] * normal_quantile(1 - ((double)r + 0.5) / (double)experts));
}

/* Far past what was ever measured, and inside of the arithmetic's range. */
#define MAX_HEAT  1e6
#define MAX_SLOPE 32
#define MAX_SHIFT 1e6
#define MAX_SIGMA 16

static const moe_law_t laws[] = {
    {.name = "uniform", .fill = fill_uniform},
    {.name = "hot", .parameter = {{"heat", 0, MAX_HEAT}}, .counts_hot = true, .fill = fill_hot},
    {.name = "zipf",
     .parameter = {{"slope", 0, MAX_SLOPE}, {"shift", 0, MAX_SHIFT}},
     .fill = fill_zipf},
    {.name = "lognormal", .parameter = {{"sigma", 0, MAX_SIGMA}}, .fill = fill_lognormal},
};

const moe_law_t *moe_law_at(size_t index)
{
    return index < sizeof laws / sizeof laws[0] ? &laws[index] : NULL;
}

/* ---- Orders ---- */

static void order_anywhere(const moe_routing_spec_t *spec, size_t layer, size_t first_rank,
                           uint16_t *expert)
{
    (void)first_rank;
    const moe_source_t source = {
        .seed = spec->seed, .purpose = MOE_FOR_PERMUTATION, .layer = layer};
    moe_stream_t stream = moe_stream_start(&source, 0, 0);
    moe_stream_shuffle(&stream, spec->experts, expert);
}

static void order_one_rank(const moe_routing_spec_t *spec, size_t layer, size_t first_rank,
                           uint16_t *expert)
{
    (void)layer;
    const moe_placement_t *home = spec->home;
    size_t r = 0;
    for (size_t i = 0; i < home->ranks; i++) {
        const size_t rank = (first_rank + i) % home->ranks;
        for (size_t at = home->first[rank]; at < home->first[rank + 1]; at++)
            expert[r++] = (uint16_t)home->expert_at[at];
    }
}

static void order_spread(const moe_routing_spec_t *spec, size_t layer, size_t first_rank,
                         uint16_t *expert)
{
    (void)layer;
    const moe_placement_t *home = spec->home;
    size_t r = 0;
    for (size_t round = 0; r < spec->experts; round++) {
        for (size_t i = 0; i < home->ranks; i++) {
            const size_t rank = (first_rank + i) % home->ranks;
            if (home->first[rank] + round < home->first[rank + 1])
                expert[r++] = (uint16_t)home->expert_at[home->first[rank] + round];
        }
    }
}

static const moe_order_t orders[] = {
    {.name = "anywhere", .fill = order_anywhere},
    {.name = "one-rank", .by_rank = true, .fill = order_one_rank},
    {.name = "spread", .by_rank = true, .fill = order_spread},
};

const moe_order_t *moe_order_at(size_t index)
{
    return index < sizeof orders / sizeof orders[0] ? &orders[index] : NULL;
}

/* ---- Sets of ranks ---- */

static size_t node_of(const moe_reach_t *reach, size_t rank)
{
    return rank / reach->node_ranks;
}

static bool holds_all(const moe_reach_t *reach, size_t number, size_t rank)
{
    (void)reach;
    (void)number;
    (void)rank;
    return true;
}

static bool holds_self(const moe_reach_t *reach, size_t number, size_t rank)
{
    (void)number;
    return rank == reach->source;
}

static bool holds_next(const moe_reach_t *reach, size_t number, size_t rank)
{
    (void)number;
    return rank == (reach->source + 1) % reach->ranks;
}

static bool holds_previous(const moe_reach_t *reach, size_t number, size_t rank)
{
    (void)number;
    return (rank + 1) % reach->ranks == reach->source;
}

static bool holds_last(const moe_reach_t *reach, size_t number, size_t rank)
{
    (void)number;
    return rank + 1 == reach->ranks;
}

static bool holds_number(const moe_reach_t *reach, size_t number, size_t rank)
{
    (void)reach;
    return rank == number;
}

static bool holds_node(const moe_reach_t *reach, size_t number, size_t rank)
{
    return node_of(reach, rank) == number;
}

static bool holds_own_node(const moe_reach_t *reach, size_t number, size_t rank)
{
    (void)number;
    return node_of(reach, rank) == node_of(reach, reach->source);
}

/* Ranks of the same number in other nodes share a rail: a NIC and its switch. */
static bool holds_rail(const moe_reach_t *reach, size_t number, size_t rank)
{
    return !holds_own_node(reach, number, rank) &&
           rank % reach->node_ranks == reach->source % reach->node_ranks;
}

static bool holds_cross_rail(const moe_reach_t *reach, size_t number, size_t rank)
{
    return !holds_own_node(reach, number, rank) &&
           rank % reach->node_ranks != reach->source % reach->node_ranks;
}

static const moe_rank_set_t rank_sets[] = {
    {.name = "all", .holds = holds_all},
    {.name = "others", .others = true},
    {.name = "self", .holds = holds_self},
    {.name = "next", .holds = holds_next},
    {.name = "previous", .holds = holds_previous},
    {.name = "last", .holds = holds_last},
    {.name = "rank", .numbered = true, .holds = holds_number},
    {.name = "node", .numbered = true, .by_node = true, .holds = holds_node},
    {.name = "own-node", .by_node = true, .holds = holds_own_node},
    {.name = "rail", .by_node = true, .holds = holds_rail},
    {.name = "cross-rail", .by_node = true, .holds = holds_cross_rail},
};

const moe_rank_set_t *moe_rank_set_at(size_t index)
{
    return index < sizeof rank_sets / sizeof rank_sets[0] ? &rank_sets[index] : NULL;
}
