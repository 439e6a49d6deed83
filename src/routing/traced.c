#include "traced.h"

#include <math.h>
#include <stdlib.h>

#include "moe/system.h"
#include "real.h"

_Static_assert(MOE_TRACE_WEIGHT_ONE == MOE_WEIGHT_ONE, "weights of traces are those of tables");

/* Which of the model's MoE layers this is. */
static size_t moe_layer(const moe_routing_spec_t *spec, size_t layer)
{
    const size_t every = spec->moe_every > 0 ? spec->moe_every : 1;
    return layer < spec->first_moe_layer ? 0 : (layer - spec->first_moe_layer) / every;
}

moe_status_t moe_traced_popularity(const moe_routing_spec_t *spec, size_t layer, uint16_t *place,
                                   double *log_popularity, moe_error_t *error)
{
    const moe_trace_t *trace = spec->skew.trace;
    void *memory = NULL;
    const moe_status_t status =
        moe_alloc("counts of experts", trace->experts, sizeof(double), &memory, error);
    if (status != MOE_OK)
        return status;
    const double *count = memory;
    double sum = 0;
    moe_trace_layer_counts(trace, moe_layer(spec, layer) % trace->layers, memory);
    for (size_t e = 0; e < trace->experts; e++)
        sum += count[e];
    for (size_t e = 0; e < spec->experts; e++) {
        const double chosen = e < trace->experts ? count[e] : 0;
        place[e] = (uint16_t)e;
        /* A layer whose tokens chose nobody: all alike. */
        log_popularity[e] = sum == 0 ? 0 : chosen > 0 ? moe_real_log(chosen) : -INFINITY;
    }
    free(memory);
    return MOE_OK;
}

static size_t token_of(const moe_router_t *router, uint32_t step, uint64_t token)
{
    const moe_routing_spec_t *spec = &router->spec;
    return moe_trace_token(spec->skew.trace, &spec->run, step, moe_layer(spec, router->layer),
                           token);
}

/* Choices without weights weigh the same; what does not divide goes to the first of them. */
static void weigh_equally(size_t top_k, const int32_t *expert, float *weight)
{
    size_t chosen = 0;
    while (chosen < top_k && expert[chosen] != MOE_NO_EXPERT)
        chosen++;
    for (size_t k = 0; k < top_k; k++) {
        const size_t part = k < chosen ? MOE_WEIGHT_ONE / chosen : 0;
        const bool more = k < chosen && k < MOE_WEIGHT_ONE % chosen;
        weight[k] = (float)(part + more) / MOE_WEIGHT_ONE;
    }
}

static void route_one(const moe_router_t *router, uint32_t step, uint64_t token, int32_t *expert,
                      float *weight)
{
    const moe_trace_t *trace = router->spec.skew.trace;
    const size_t at = token_of(router, step, token) * trace->top_k;
    for (size_t k = 0; k < trace->top_k; k++) {
        const uint16_t chosen = trace->expert[at + k];
        expert[k] = chosen == MOE_TRACE_NO_EXPERT ? MOE_NO_EXPERT : chosen;
        if (trace->weight != NULL)
            weight[k] = (float)trace->weight[at + k] / MOE_WEIGHT_ONE;
    }
    if (trace->weight == NULL)
        weigh_equally(trace->top_k, expert, weight);
}

void moe_traced_route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                      moe_table_t *table)
{
    for (size_t t = 0; t < table->tokens; t++)
        route_one(router, step, first_token + t, table->expert + t * table->top_k,
                  table->weight + t * table->top_k);
}

void moe_traced_probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                              double *probability)
{
    const size_t experts = router->spec.experts, top_k = router->spec.top_k;
    int32_t expert[MOE_MAX_TOP_K] = {0};
    float weight[MOE_MAX_TOP_K] = {0};
    double sum = 0;
    route_one(router, step, token, expert, weight);
    for (size_t k = 0; k < top_k; k++)
        sum += (double)weight[k];
    for (size_t e = 0; e < experts; e++)
        probability[e] = sum > 0 ? 0 : 1 / (double)experts;
    for (size_t k = 0; k < top_k && sum > 0; k++) {
        if (expert[k] != MOE_NO_EXPERT)
            probability[expert[k]] = (double)weight[k] / sum;
    }
}
