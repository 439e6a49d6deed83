#include "perturbed.h"

#include <math.h>

#include "real.h"
#include "score.h"

void moe_perturbed_logits(const moe_router_t *router, uint32_t step, uint64_t token, size_t first,
                          size_t count, double *logit)
{
    const moe_source_t source = moe_router_source(router, MOE_FOR_LOGITS, step);
    uint32_t words[MOE_RANDOM_GROUP];
    moe_random_group(&source, token, first, words);
    /* Gumbel = -ln Exp(1). */
    for (size_t i = 0; i < count; i++)
        logit[i] = router->log_popularity[first + i] - moe_real_log(moe_real_exponential(words[i]));
}

static size_t group_size(size_t experts, size_t first)
{
    const size_t left = experts - first;
    return left < MOE_RANDOM_GROUP ? left : MOE_RANDOM_GROUP;
}

/* Puts an expert into the list of the best `count` (room for one more, which falls out). */
static void insert(int32_t *expert, double *logit, size_t count, size_t room, size_t e,
                   double value)
{
    size_t at = count < room ? count : room - 1;
    for (; at > 0 && logit[at - 1] < value; at--) {
        logit[at] = logit[at - 1];
        expert[at] = expert[at - 1];
    }
    logit[at] = value;
    expert[at] = (int32_t)e;
}

double moe_perturbed_top(const moe_router_t *router, uint32_t step, uint64_t token,
                         moe_logits_fn logits, int32_t *expert, double *logit)
{
    const size_t experts = router->spec.experts, top_k = router->spec.top_k;
    double group[MOE_RANDOM_GROUP], total = 0;
    for (size_t first = 0; first < experts; first += MOE_RANDOM_GROUP) {
        const size_t count = group_size(experts, first);
        logits(router, step, token, first, count, group);
        for (size_t i = 0; i < count; i++) {
            const size_t e = first + i;
            total += moe_real_exp(group[i]);
            if (e < top_k || group[i] > logit[top_k - 1])
                insert(expert, logit, e < top_k ? e : top_k, top_k, e, group[i]);
        }
    }
    return total;
}

void moe_perturbed_probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                                 moe_logits_fn logits, double *probability)
{
    const size_t experts = router->spec.experts;
    for (size_t first = 0; first < experts; first += MOE_RANDOM_GROUP)
        logits(router, step, token, first, group_size(experts, first), probability + first);
    double total = 0;
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
