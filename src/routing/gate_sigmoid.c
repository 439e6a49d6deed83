#include <math.h>
#include <stdlib.h>

#include "expected.h"
#include "gate.h"
#include "groups.h"
#include "moe/system.h"
#include "perturbed.h"
#include "real.h"
#include "score.h"

/* Sigmoid affinities with a bias for the choice alone: DeepSeek-V3 (arXiv 2412.19437, section 2.1.2),
 * whose bias balances loads without an auxiliary loss (Wang et al., arXiv 2408.15664). A token chooses
 * the experts whose s_e + b_e are highest, within the groups whose best two sum highest where the
 * model has groups; its weights are the s_e of those chosen, over their sum. With top-1 the weight is
 * s_e itself (Llama 4).
 *
 * Here s_e is the sigmoid of a Gumbel, the same law for every expert: what a token's own content adds.
 * The bias carries the popularity. An expert is chosen with probability q_e = 1 - exp(-p_e t), t such
 * that they sum to K (see moe_scenario_units()), if s_e exceeds sigmoid(-ln(p_e t)); so with
 * b_e = 1 - that = p_e t / (1 + p_e t) all experts have the threshold 1, and the K highest s_e + b_e
 * have the loads of the popularity, nearly. */

static moe_status_t prepare(moe_router_t *router, moe_error_t *error)
{
    const size_t experts = router->spec.experts;
    void *bias = NULL;
    const moe_status_t status = moe_alloc("gate", experts, sizeof(double), &bias, error);
    if (status != MOE_OK)
        return status;
    router->bias = bias;
    const double t = moe_expected_time(router->popularity, experts, router->spec.top_k);
    for (size_t e = 0; e < experts; e++) {
        const double odds = router->popularity[e] * t;
        router->bias[e] = odds > 0 ? odds / (1 + odds) : -INFINITY;
    }
    return MOE_OK;
}

static void affinities(const moe_router_t *router, uint32_t step, uint64_t token, double *affinity)
{
    moe_perturbed_all(router, step, token, moe_perturbed_gumbels, affinity);
    for (size_t e = 0; e < router->spec.experts; e++)
        affinity[e] = 1 / (1 + moe_real_exp(-affinity[e]));
}

static double sum_of_two(double best, double second)
{
    return second > -INFINITY ? best + second : best;
}

/* Heaviest first. */
static void weigh(const double *affinity, size_t top_k, int32_t *expert, float *weight)
{
    double time[MOE_BATCH_TIMES]; /* what weights are inversely proportional to */
    for (size_t k = 1; k < top_k; k++) {
        const int32_t e = expert[k];
        size_t at = k;
        for (; at > 0 && affinity[expert[at - 1]] < affinity[e]; at--)
            expert[at] = expert[at - 1];
        expert[at] = e;
    }
    if (top_k == 1) {
        weight[0] = (float)floor(affinity[expert[0]] * MOE_WEIGHT_ONE) / MOE_WEIGHT_ONE;
        return;
    }
    for (size_t k = 0; k < top_k; k++)
        time[k] = 1 / affinity[expert[k]];
    moe_score_weights(1, top_k, 1, time, weight);
}

static moe_status_t route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                          moe_table_t *table, moe_error_t *error)
{
    const moe_routing_spec_t *spec = &router->spec;
    const size_t experts = spec->experts, top_k = spec->top_k;
    void *memory = NULL;
    const moe_status_t status = moe_alloc("gate", 2 * experts, sizeof(double), &memory, error);
    if (status != MOE_OK)
        return status;
    double *affinity = memory, *value = affinity + experts, chosen[MOE_MAX_TOP_K];
    for (size_t t = 0; t < table->tokens; t++) {
        int32_t *expert = &table->expert[t * top_k];
        affinities(router, step, first_token + t, affinity);
        for (size_t e = 0; e < experts; e++)
            value[e] = affinity[e] + router->bias[e];
        moe_groups_choose(spec, moe_gate_limits(spec), value, sum_of_two, expert, chosen);
        weigh(affinity, top_k, expert, &table->weight[t * top_k]);
    }
    free(memory);
    return MOE_OK;
}

/* Affinities over their sum, as the balance loss of DeepSeek-V3 takes them: without the bias. */
static void probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                          double *probability)
{
    double total = 0;
    affinities(router, step, token, probability);
    for (size_t e = 0; e < router->spec.experts; e++)
        total += probability[e];
    for (size_t e = 0; e < router->spec.experts; e++)
        probability[e] /= total;
}

const moe_gate_ops_t moe_gate_sigmoid = {
    .name = "sigmoid",
    .summary =
        "top-k of sigmoid plus bias, within groups where there are; weights without the bias",
    .source = "DeepSeek-V3, arXiv 2412.19437; Wang et al., arXiv 2408.15664",
    .takes_groups = true,
    .prepare = prepare,
    .route = route,
    .probabilities = probabilities,
};
