#include <math.h>

#include "gate.h"
#include "perturbed.h"
#include "real.h"

/* Switch Transformers multiply the router's input by noise, uniform in [1 - eps, 1 + eps]; here,
 * where there is no input, the logits. */
#define EPSILON 1e-2

static void jittered(const moe_router_t *router, uint32_t step, uint64_t token, size_t first,
                     size_t count, double *logit)
{
    const moe_source_t source = moe_router_source(router, MOE_FOR_NOISE, step);
    uint32_t words[MOE_RANDOM_GROUP];
    moe_perturbed_logits(router, step, token, first, count, logit);
    moe_random_group(&source, token, first, words);
    for (size_t i = 0; i < count; i++)
        logit[i] *= 1 + EPSILON * (2 * moe_real_uniform(words[i]) - 1);
}

/* The weight is the softmax probability over all experts. */
static moe_status_t route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                          moe_table_t *table, moe_error_t *error)
{
    (void)error;
    for (size_t t = 0; t < table->tokens; t++) {
        double logit;
        const double total =
            moe_perturbed_top(router, step, first_token + t, jittered, &table->expert[t], &logit);
        const double probability = moe_real_exp(logit) / total;
        table->weight[t] = (float)floor(probability * MOE_WEIGHT_ONE + 0.5) / MOE_WEIGHT_ONE;
    }
    return MOE_OK;
}

static void probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                          double *probability)
{
    moe_perturbed_probabilities(router, step, token, jittered, probability);
}

const moe_gate_ops_t moe_gate_switch = {
    .name = "switch",
    .summary = "top-1 of jittered logits, the weight is its probability among all experts",
    .source = "Switch Transformers, arXiv 2101.03961",
    .top_k = 1,
    .route = route,
    .probabilities = probabilities,
};
