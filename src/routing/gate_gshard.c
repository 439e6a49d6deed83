#include "gate.h"
#include "perturbed.h"
#include "real.h"

enum { FIRST, SECOND, TOP_K };

/* Random routing: the second expert is kept with probability min(1, 2 g2), where g1 + g2 = 1
 * (GShard, algorithm 1). The first keeps its weight. */
static moe_status_t route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                          moe_table_t *table, moe_error_t *error)
{
    (void)error;
    for (size_t t = 0; t < table->tokens; t++) {
        const uint64_t token = first_token + t;
        int32_t *expert = &table->expert[t * TOP_K];
        float *weight = &table->weight[t * TOP_K];
        double logit[TOP_K];
        uint32_t words[MOE_RANDOM_WORDS];
        moe_perturbed_top(router, step, token, moe_perturbed_logits, expert, logit);
        moe_perturbed_weights(TOP_K, logit, weight);
        const double g2 = 1 / (1 + moe_real_exp(logit[FIRST] - logit[SECOND]));
        moe_random(router->spec.seed, MOE_FOR_SECOND, router->layer, step, token, 0, words);
        if (moe_real_uniform(words[0]) >= 2 * g2) {
            expert[SECOND] = MOE_NO_EXPERT;
            weight[SECOND] = 0;
        }
    }
    return MOE_OK;
}

static void probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                          double *probability)
{
    moe_perturbed_probabilities(router, step, token, moe_perturbed_logits, probability);
}

const moe_gate_ops_t moe_gate_gshard = {
    .name = "gshard",
    .summary = "top-2, the second expert kept with probability min(1, 2 g2)",
    .source = "GShard, arXiv 2006.16668",
    .top_k = TOP_K,
    .route = route,
    .probabilities = probabilities,
};
