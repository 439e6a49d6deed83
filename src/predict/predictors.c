#include "predictors.h"

#include <stdio.h>
#include <string.h>

#include "moe/system.h"

/* native: libraries post all messages at once where messages are long; which algorithm they take for short
 * ones is theirs to know. */
static const moe_predictor_t predictors[] = {
    {.name = "native", .cost = moe_predict_at_once},
    {.name = "linear", .cost = moe_predict_at_once},
    {.name = "pairwise", .cost = moe_predict_pairwise},
    {.name = "bruck", .cost = moe_predict_bruck, .radix = 2},
    {.name = "bruck:4", .cost = moe_predict_bruck, .radix = 4},
    {.name = "bruck:8", .cost = moe_predict_bruck, .radix = 8},
    {.name = "bruck:16", .cost = moe_predict_bruck, .radix = 16},
    {.name = "hierarchical", .cost = moe_predict_hierarchical},
    {.name = "birkhoff", .cost = moe_predict_birkhoff},
};
#define PREDICTORS (sizeof predictors / sizeof *predictors)

size_t moe_predictor_count(void)
{
    return PREDICTORS;
}

const moe_predictor_t *moe_predictor_at(size_t index)
{
    return index < PREDICTORS ? &predictors[index] : NULL;
}

/* Rows that a forwarder gathers before a hop, and sums behind it on the way back: read and written. */
static void add_copies(const moe_way_t *way, const moe_machine_t *machine, double row_bytes,
                       moe_cost_t *out)
{
    double rows = 0;
    for (size_t r = 0; r < way->ranks; r++)
        rows += way->mean[r];
    const double sources = way->scope == MOE_SCOPE_NODE
                               ? (double)way->node_ranks
                               : (double)way->ranks / (double)way->node_ranks;
    if (way->forwarded)
        out->terms.memory += 2 * rows * sources / (double)way->ranks * row_bytes / machine->memory;
}

static moe_status_t least(const moe_way_t *way, const moe_machine_t *machine, double row_bytes,
                          moe_cost_t *out, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    moe_cost_t best = {0};
    for (size_t i = 0; status == MOE_OK && i < PREDICTORS; i++) {
        moe_cost_t cost = {0};
        status = predictors[i].cost(&predictors[i], way, machine, row_bytes, &cost, error);
        if (i == 0 || moe_terms_sum(&cost.terms) < moe_terms_sum(&best.terms))
            best = cost;
    }
    if (status == MOE_OK)
        moe_cost_add(out, &best, 1);
    return status;
}

moe_status_t moe_predict_exchange(const char *algorithm, const moe_way_t *way,
                                  const moe_machine_t *machine, double row_bytes, moe_cost_t *out,
                                  moe_error_t *error)
{
    add_copies(way, machine, row_bytes, out);
    if (strcmp(algorithm, "best") == 0)
        return least(way, machine, row_bytes, out, error);
    for (size_t i = 0; i < PREDICTORS; i++) {
        if (strcmp(algorithm, predictors[i].name) == 0)
            return predictors[i].cost(&predictors[i], way, machine, row_bytes, out, error);
    }
    return moe_fail(error, MOE_BAD_INPUT, "algorithm %s: there is no cost model for it", algorithm);
}
