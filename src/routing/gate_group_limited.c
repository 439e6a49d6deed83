#include "gate.h"
#include "groups.h"
#include "perturbed.h"
#include "real.h"

/* Device-limited routing of DeepSeek-V2 (arXiv 2405.04434, section 2.2.2), node-limited routing of
 * DeepSeek-V3 (arXiv 2412.19437, section 2.1.2): the experts of a group lie together, and a token
 * goes to topk_group groups at most. Groups are ranked as in V3, by the sum of their best two
 * scores (V2: by the best alone). Scores are the softmax's, as in V2; V3's are those of the gate
 * sigmoid. */

/* Softmax scores up to a factor common to the token. */
static double sum_of_two(double best, double second)
{
    return moe_real_exp(best) + moe_real_exp(second);
}

static moe_status_t route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                          moe_table_t *table, moe_error_t *error)
{
    (void)error;
    const moe_routing_spec_t *spec = &router->spec;
    double logit[MOE_MAX_EXPERTS], chosen[MOE_MAX_TOP_K];
    for (size_t t = 0; t < table->tokens; t++) {
        moe_perturbed_all(router, step, first_token + t, moe_perturbed_logits, logit);
        moe_groups_choose(spec, true, logit, sum_of_two, &table->expert[t * spec->top_k], chosen);
        moe_perturbed_weights(spec->top_k, chosen, &table->weight[t * spec->top_k]);
    }
    return MOE_OK;
}

/* Of all experts, not of the groups kept only: the balance loss of both papers takes it so. */
static void probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                          double *probability)
{
    moe_perturbed_probabilities(router, step, token, moe_perturbed_logits, probability);
}

const moe_gate_ops_t moe_gate_group_limited = {
    .name = "group-limited",
    .summary = "top-k within the groups of experts whose best two scores sum highest",
    .source = "DeepSeek-V2 and V3, arXiv 2405.04434 and 2412.19437",
    .limits_groups = true,
    .route = route,
    .probabilities = probabilities,
};
