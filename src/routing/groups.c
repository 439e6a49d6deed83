#include "groups.h"

#include <math.h>

#include "best.h"

static double score_of(const double *value, size_t count, moe_group_score_fn score)
{
    double best = -INFINITY, second = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        const double less = value[i] < best ? value[i] : best;
        second = less > second ? less : second;
        best = value[i] > best ? value[i] : best;
    }
    return score(best, second);
}

void moe_groups_choose(const moe_routing_spec_t *spec, bool limited, const double *value,
                       moe_group_score_fn score, int32_t *expert, double *chosen)
{
    const size_t groups = limited ? spec->n_group : 1, size = spec->experts / groups;
    const size_t used = limited ? spec->topk_group : 1;
    int32_t group[MOE_MAX_GROUPS] = {0};
    double of_group[MOE_MAX_GROUPS];
    moe_best_t best_groups = {.room = used, .which = group, .value = of_group};
    for (size_t g = 0; limited && g < groups; g++)
        moe_best_offer(&best_groups, g, score_of(value + g * size, size, score));
    moe_best_t best = {.room = spec->top_k, .which = expert, .value = chosen};
    for (size_t g = 0; g < used; g++) {
        const size_t first = (size_t)group[g] * size;
        for (size_t e = first; e < first + size; e++)
            moe_best_offer(&best, e, value[e]);
    }
}
