#include "perturbed.h"

#include "../system/clones.h"
#include "best.h"
#include "real.h"
#include "score.h"

/* Gumbel = -ln Exp(1). */
MOE_CLONES
static void perturb(size_t count, const uint32_t *restrict words,
                    const double *restrict log_popularity, double *restrict logit)
{
    for (size_t i = 0; i < count; i++)
        logit[i] = log_popularity[i] - moe_real_log(moe_real_exponential(words[i]));
}

void moe_perturbed_logits(const moe_router_t *router, uint32_t step, uint64_t token, size_t first,
                          size_t count, double *logit)
{
    const moe_source_t source = moe_router_source(router, MOE_FOR_LOGITS, step);
    uint32_t words[MOE_RANDOM_GROUP];
    moe_random_group(&source, token, first, words);
    perturb(count, words, router->log_popularity + first, logit);
}

void moe_perturbed_gumbels(const moe_router_t *router, uint32_t step, uint64_t token, size_t first,
                           size_t count, double *logit)
{
    static const double nothing[MOE_RANDOM_GROUP] = {0};
    const moe_source_t source = moe_router_source(router, MOE_FOR_LOGITS, step);
    uint32_t words[MOE_RANDOM_GROUP];
    moe_random_group(&source, token, first, words);
    perturb(count, words, nothing, logit);
}

static size_t group_size(size_t experts, size_t first)
{
    const size_t left = experts - first;
    return left < MOE_RANDOM_GROUP ? left : MOE_RANDOM_GROUP;
}

double moe_perturbed_top(const moe_router_t *router, uint32_t step, uint64_t token,
                         moe_logits_fn logits, int32_t *expert, double *logit)
{
    const size_t experts = router->spec.experts;
    double group[MOE_RANDOM_GROUP], total = 0;
    moe_best_t best = {.room = router->spec.top_k, .which = expert, .value = logit};
    for (size_t first = 0; first < experts; first += MOE_RANDOM_GROUP) {
        const size_t count = group_size(experts, first);
        logits(router, step, token, first, count, group);
        for (size_t i = 0; i < count; i++) {
            total += moe_real_exp(group[i]);
            moe_best_offer(&best, first + i, group[i]);
        }
    }
    return total;
}

void moe_perturbed_all(const moe_router_t *router, uint32_t step, uint64_t token,
                       moe_logits_fn logits, double *logit)
{
    const size_t experts = router->spec.experts;
    for (size_t first = 0; first < experts; first += MOE_RANDOM_GROUP)
        logits(router, step, token, first, group_size(experts, first), logit + first);
}

void moe_perturbed_probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                                 moe_logits_fn logits, double *probability)
{
    const size_t experts = router->spec.experts;
    double total = 0;
    moe_perturbed_all(router, step, token, logits, probability);
    for (size_t e = 0; e < experts; e++) {
        probability[e] = moe_real_exp(probability[e]);
        total += probability[e];
    }
    for (size_t e = 0; e < experts; e++)
        probability[e] /= total;
}

void moe_perturbed_weights(size_t top_k, const double *logit, float *weight)
{
    double time[MOE_BATCH_TIMES]; /* what the softmax is inversely proportional to */
    for (size_t k = 0; k < top_k; k++)
        time[k] = moe_real_exp(logit[0] - logit[k]);
    moe_score_weights(1, top_k, 1, time, weight);
}
