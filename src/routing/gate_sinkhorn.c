#include <math.h>
#include <stdlib.h>

#include "best.h"
#include "gate.h"
#include "moe/system.h"
#include "perturbed.h"
#include "real.h"

/* Balancing by Sinkhorn's iteration: S-BASE (Clark et al., "Unified Scaling Laws for Routed Language
 * Models", ICML 2022, arXiv 2202.01169); as in Megatron-LM (megatron/core/transformer/moe/moe_utils.py,
 * sinkhorn(), and router.py, sinkhorn_load_balancing()). Of the matrix exp(logits) of the tokens that one
 * rank holds, rows and columns are scaled in turn towards even sums; a token chooses the K largest of its
 * scaled row. Weights are the softmax over all experts, with top-1 the sigmoid, both of logits as they
 * were. Loads are nearly even whatever the popularity; what it costs is that tokens do not get the
 * experts they like best. */

#define TOLERANCE 1e-4 /* of the mean change of a column's factor: Megatron's */
#define EPSILON   1e-8 /* of sums: Megatron's */
/* Far more than it takes: 10 to 40. */
#define MOST_ROUNDS 1000

typedef struct sinkhorn {
    size_t tokens, experts;
    double *matrix; /* [tokens][experts] exp(logit) */
    double *column; /* [experts] factors of the columns */
    double *sum;    /* [experts] scratch */
} sinkhorn_t;

static moe_status_t create(const moe_router_t *router, size_t tokens, sinkhorn_t *out,
                           moe_error_t *error)
{
    const size_t experts = router->spec.experts;
    size_t cells = 0;
    if (__builtin_mul_overflow(tokens, experts, &cells))
        return moe_fail(error, MOE_BAD_INPUT, "gate 'sinkhorn': %zu tokens: lower --tokens",
                        tokens);
    void *matrix = NULL, *columns = NULL;
    moe_status_t status =
        moe_alloc("the scores of all tokens", cells, sizeof(double), &matrix, error);
    if (status == MOE_OK)
        status = moe_alloc("gate", 2 * experts, sizeof(double), &columns, error);
    *out = (sinkhorn_t){.tokens = tokens,
                        .experts = experts,
                        .matrix = matrix,
                        .column = columns,
                        .sum = columns != NULL ? (double *)columns + experts : NULL};
    return status;
}

static void destroy(sinkhorn_t *s)
{
    free(s->matrix);
    free(s->column);
}

static void fill(const moe_router_t *router, uint32_t step, uint64_t first_token, sinkhorn_t *s)
{
    for (size_t t = 0; t < s->tokens; t++) {
        double *row = s->matrix + t * s->experts;
        moe_perturbed_all(router, step, first_token + t, moe_perturbed_logits, row);
        for (size_t e = 0; e < s->experts; e++)
            row[e] = moe_real_exp(row[e]);
    }
    for (size_t e = 0; e < s->experts; e++)
        s->column[e] = 1;
}

/* One round: rows, then columns. Returns the mean change of the columns' factors. */
static double scale(sinkhorn_t *s)
{
    const double tokens = (double)s->tokens, experts = (double)s->experts;
    for (size_t e = 0; e < s->experts; e++)
        s->sum[e] = 0;
    for (size_t t = 0; t < s->tokens; t++) {
        const double *row = s->matrix + t * s->experts;
        double sum = 0;
        for (size_t e = 0; e < s->experts; e++)
            sum += row[e] * s->column[e];
        const double factor = 1 / tokens / (sum + EPSILON);
        for (size_t e = 0; e < s->experts; e++)
            s->sum[e] += row[e] * factor;
    }
    double change = 0;
    for (size_t e = 0; e < s->experts; e++) {
        const double factor = 1 / experts / (s->sum[e] + EPSILON);
        change += fabs(factor - s->column[e]) / experts;
        s->column[e] = factor;
    }
    return change;
}

/* Softmax over all experts, or the sigmoid; rounded down, so that a token's weights stay below 1. */
static double weight_of(const double *row, size_t experts, size_t top_k, int32_t expert)
{
    double total = 0;
    if (top_k == 1)
        return row[expert] / (1 + row[expert]);
    for (size_t e = 0; e < experts; e++)
        total += row[e];
    return row[expert] / total;
}

static void choose(const sinkhorn_t *s, size_t t, size_t top_k, int32_t *expert, float *weight)
{
    const double *row = s->matrix + t * s->experts;
    double chosen[MOE_MAX_TOP_K], logit[MOE_MAX_TOP_K];
    int32_t picked[MOE_MAX_TOP_K];
    moe_best_t best = {.room = top_k, .which = picked, .value = chosen};
    for (size_t e = 0; e < s->experts; e++)
        moe_best_offer(&best, e, row[e] * s->column[e]);
    moe_best_t heaviest = {.room = top_k, .which = expert, .value = logit};
    for (size_t k = 0; k < best.count; k++)
        moe_best_offer(&heaviest, (size_t)picked[k], row[picked[k]]);
    for (size_t k = 0; k < top_k; k++)
        weight[k] = (float)floor(weight_of(row, s->experts, top_k, expert[k]) * MOE_WEIGHT_ONE) /
                    MOE_WEIGHT_ONE;
}

static moe_status_t route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                          moe_table_t *table, moe_error_t *error)
{
    const size_t top_k = router->spec.top_k;
    sinkhorn_t s = {0};
    const moe_status_t status = create(router, table->tokens, &s, error);
    if (status == MOE_OK) {
        fill(router, step, first_token, &s);
        for (int i = 0; i < MOST_ROUNDS && table->tokens > 0 && scale(&s) > TOLERANCE; i++) {
        }
        for (size_t t = 0; t < table->tokens; t++)
            choose(&s, t, top_k, &table->expert[t * top_k], &table->weight[t * top_k]);
    }
    destroy(&s);
    return status;
}

static void probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                          double *probability)
{
    moe_perturbed_probabilities(router, step, token, moe_perturbed_logits, probability);
}

const moe_gate_ops_t moe_gate_sinkhorn = {
    .name = "sinkhorn",
    .summary = "top-k of scores that a rank's tokens balance together (S-BASE, Megatron-LM)",
    .source = "Clark et al., arXiv 2202.01169; Megatron-LM, moe_utils.py",
    .whole_batch = true,
    .route = route,
    .probabilities = probabilities,
};
