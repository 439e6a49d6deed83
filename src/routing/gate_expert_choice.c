#include <math.h>
#include <stdlib.h>

#include "best.h"
#include "gate.h"
#include "moe/system.h"
#include "perturbed.h"

/* Expert choice (Zhou et al., NeurIPS 2022, arXiv 2202.09368): with S the softmax over experts of each of
 * the n tokens that one rank holds, every expert takes its C = ceil(n K / E) tokens of highest S, K being
 * the mean number of experts of a token. A token is taken by none, by some, or by many; its weights are
 * its S. Loads are even by construction: popularity decides who is taken with what weight.
 *
 * A table has four places for each of the K, as the paper caps the experts of a token (section 3.3;
 * figure 3 there: few tokens have more than twice the mean): beyond them the lightest are left out. */
#define PLACES 4

static size_t slots(const moe_routing_spec_t *spec)
{
    size_t places = PLACES * spec->top_k;
    places = places < MOE_MAX_TOP_K ? places : MOE_MAX_TOP_K;
    return places < spec->experts ? places : spec->experts;
}

typedef struct candidate {
    double score;
    size_t token;
} candidate_t;

static int by_score(const void *a, const void *b)
{
    const candidate_t *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->token < y->token ? -1 : x->token > y->token;
}

typedef struct choice {
    size_t tokens, experts;
    double *score;          /* [tokens][experts] */
    candidate_t *candidate; /* [tokens] of one expert */
    moe_best_t *best;       /* [tokens] the heaviest that took it */
    double *value;          /* [tokens][slots] */
} choice_t;

static void destroy(choice_t *c)
{
    free(c->score);
    free(c->candidate);
    free(c->best);
    free(c->value);
}

static moe_status_t create(const moe_router_t *router, moe_table_t *table, choice_t *out,
                           moe_error_t *error)
{
    const size_t tokens = table->tokens, experts = router->spec.experts;
    size_t cells = 0;
    void *score = NULL, *candidate = NULL, *best = NULL, *value = NULL;
    if (__builtin_mul_overflow(tokens, experts, &cells))
        return moe_fail(error, MOE_BAD_INPUT, "gate 'expert-choice': %zu tokens: lower --tokens",
                        tokens);
    moe_status_t status =
        moe_alloc("the scores of all tokens", cells, sizeof(double), &score, error);
    if (status == MOE_OK)
        status = moe_alloc("gate", tokens, sizeof(candidate_t), &candidate, error);
    if (status == MOE_OK)
        status = moe_alloc("gate", tokens, sizeof(moe_best_t), &best, error);
    if (status == MOE_OK)
        status = moe_alloc("gate", tokens * table->top_k, sizeof(double), &value, error);
    *out = (choice_t){.tokens = tokens,
                      .experts = experts,
                      .score = score,
                      .candidate = candidate,
                      .best = best,
                      .value = value};
    if (status != MOE_OK)
        destroy(out);
    return status;
}

static void fill(const moe_router_t *router, uint32_t step, uint64_t first_token,
                 moe_table_t *table, choice_t *c)
{
    for (size_t t = 0; t < c->tokens; t++) {
        moe_perturbed_probabilities(router, step, first_token + t, moe_perturbed_logits,
                                    c->score + t * c->experts);
        c->best[t] = (moe_best_t){.room = table->top_k,
                                  .which = &table->expert[t * table->top_k],
                                  .value = c->value + t * table->top_k};
    }
}

/* An expert that no token likes at all takes none. */
static void take(choice_t *c, size_t expert, size_t capacity)
{
    size_t count = 0;
    for (size_t t = 0; t < c->tokens; t++) {
        const double score = c->score[t * c->experts + expert];
        if (score > 0)
            c->candidate[count++] = (candidate_t){.score = score, .token = t};
    }
    qsort(c->candidate, count, sizeof *c->candidate, by_score);
    for (size_t i = 0; i < count && i < capacity; i++)
        moe_best_offer(&c->best[c->candidate[i].token], expert, c->candidate[i].score);
}

static moe_status_t route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                          moe_table_t *table, moe_error_t *error)
{
    const size_t experts = router->spec.experts, places = table->top_k;
    choice_t c = {0};
    const moe_status_t status = create(router, table, &c, error);
    if (status != MOE_OK)
        return status;
    const size_t capacity = (table->tokens * router->spec.top_k + experts - 1) / experts;
    fill(router, step, first_token, table, &c);
    for (size_t e = 0; e < experts; e++)
        take(&c, e, capacity);
    for (size_t i = 0; i < table->tokens * places; i++) {
        const bool taken = i % places < c.best[i / places].count;
        table->expert[i] = taken ? table->expert[i] : MOE_NO_EXPERT;
        table->weight[i] = taken ? (float)floor(c.value[i] * MOE_WEIGHT_ONE) / MOE_WEIGHT_ONE : 0;
    }
    destroy(&c);
    return MOE_OK;
}

static void probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                          double *probability)
{
    moe_perturbed_probabilities(router, step, token, moe_perturbed_logits, probability);
}

const moe_gate_ops_t moe_gate_expert_choice = {
    .name = "expert-choice",
    .summary = "each expert takes its best tokens of a rank: even loads, 0 to 4k experts a token",
    .source = "Zhou et al., arXiv 2202.09368",
    .whole_batch = true,
    .slots = slots,
    .route = route,
    .probabilities = probabilities,
};
