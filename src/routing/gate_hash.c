#include <math.h>

#include "gate.h"
#include "race.h"
#include "real.h"

/* Hash layers (Roller et al., NeurIPS 2021, arXiv 2106.04426): a token's word decides its experts, by a
 * fixed random table; nothing is learnt. Words follow Zipf's law with slope 1: the v-th of V with
 * probability ln(1 + 1/v) / ln(V + 1), which is drawn by inversion in closed form. A word's experts are
 * K distinct ones in proportion to their popularity, the same at every step; a gate that does not
 * score weighs them alike. */

/* Words: Llama 2's vocabulary (arXiv 2307.09288), Mixtral's too. */
#define VOCABULARY 32000

static uint64_t word_of(const moe_router_t *router, uint32_t step, uint64_t token)
{
    uint32_t words[MOE_RANDOM_WORDS];
    moe_random(router->spec.seed, MOE_FOR_WORD, router->layer, step, token, 0, words);
    const double drawn =
        moe_real_exp(moe_real_uniform(words[0]) * moe_real_log((double)VOCABULARY + 1));
    const uint64_t word = (uint64_t)drawn; /* from 1 */
    return word < 1 ? 0 : word > VOCABULARY ? VOCABULARY - 1 : word - 1;
}

/* Whole units that sum to 1, the larger ones first. */
static void weigh(size_t top_k, float *weight)
{
    const size_t even = MOE_WEIGHT_ONE / top_k, more = MOE_WEIGHT_ONE % top_k;
    for (size_t k = 0; k < top_k; k++)
        weight[k] = (float)(even + (k < more)) / MOE_WEIGHT_ONE;
}

/* The layer is the same for all words, and so is the step: their table is fixed. */
static moe_status_t route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                          moe_table_t *table, moe_error_t *error)
{
    (void)error;
    const size_t top_k = router->spec.top_k;
    for (size_t t = 0; t < table->tokens; t++) {
        moe_table_t one = {.tokens = 1,
                           .top_k = top_k,
                           .expert = &table->expert[t * top_k],
                           .weight = &table->weight[t * top_k]};
        moe_race_route(router, 0, word_of(router, step, first_token + t), &one);
        weigh(top_k, one.weight);
    }
    return MOE_OK;
}

static void probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                          double *probability)
{
    const size_t top_k = router->spec.top_k;
    int32_t expert[MOE_MAX_TOP_K];
    float weight[MOE_MAX_TOP_K];
    moe_table_t one = {.tokens = 1, .top_k = top_k, .expert = expert, .weight = weight};
    moe_race_route(router, 0, word_of(router, step, token), &one);
    for (size_t e = 0; e < router->spec.experts; e++)
        probability[e] = 0;
    for (size_t k = 0; k < top_k; k++)
        probability[expert[k]] = 1 / (double)top_k;
}

const moe_gate_ops_t moe_gate_hash = {
    .name = "hash",
    .summary = "a token's word decides: fixed experts for each of a vocabulary, weighed alike",
    .source = "Hash Layers, arXiv 2106.04426",
    .route = route,
    .probabilities = probabilities,
};
