#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "moe/routing.h"
#include "moe/system.h"

/* ---- Counts ---- */

static int compare_sizes(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* Sum over all pairs i < j of |n_i - n_j|. */
static double pair_differences(const size_t *counts, size_t bins)
{
    double sum = 0;
    for (size_t i = 0; i < bins; i++) {
        for (size_t j = 0; j < i; j++)
            sum += counts[i] > counts[j] ? (double)(counts[i] - counts[j])
                                         : (double)(counts[j] - counts[i]);
    }
    return sum;
}

/* The same by sorting: the i-th smallest (from 0) is the larger of i pairs, the smaller of the
 * others. */
static double sorted_differences(size_t *counts, size_t bins)
{
    qsort(counts, bins, sizeof counts[0], compare_sizes);
    double sum = 0;
    for (size_t i = 0; i < bins; i++)
        sum += (2 * (double)i + 1 - (double)bins) * (double)counts[i];
    return sum;
}

/* Gini coefficient: mean absolute difference over twice the mean = pairs i < j / (n * total). */
static double gini(const size_t *counts, size_t bins, double total)
{
    /* So few that sorting a copy is not worth it; and how it goes on where there is no memory. */
    const size_t few = 32;
    size_t *copy = bins <= few ? NULL : malloc(bins * sizeof *copy);
    double differences;
    if (copy == NULL) {
        differences = pair_differences(counts, bins);
    } else {
        memcpy(copy, counts, bins * sizeof *copy);
        differences = sorted_differences(copy, bins);
    }
    free(copy);
    return differences / ((double)bins * total);
}

void moe_load_of(const size_t *counts, size_t bins, moe_load_t *out)
{
    double total = 0, most = 0;
    for (size_t i = 0; i < bins; i++) {
        total += (double)counts[i];
        most = (double)counts[i] > most ? (double)counts[i] : most;
    }
    *out = (moe_load_t){0};
    if (total == 0)
        return;
    const double mean = total / (double)bins;
    double squares = 0;
    for (size_t i = 0; i < bins; i++)
        squares += ((double)counts[i] - mean) * ((double)counts[i] - mean);
    out->max_over_mean = most / mean;
    out->cv = sqrt(squares / (double)bins) / mean;
    out->gini = gini(counts, bins, total);
    out->hottest_share = most / total;
}

/* ---- Gate sums ---- */

moe_status_t moe_gate_sums_create(size_t experts, moe_gate_sums_t *out, moe_error_t *error)
{
    void *first = NULL, *probability = NULL, *one = NULL;
    moe_status_t status = moe_alloc("gate sums", experts, sizeof(double), &first, error);
    if (status == MOE_OK)
        status = moe_alloc("gate sums", experts, sizeof(double), &probability, error);
    if (status == MOE_OK)
        status = moe_alloc("gate sums", experts, sizeof(double), &one, error);
    if (status != MOE_OK) {
        free(probability);
        free(first);
        return status;
    }
    *out = (moe_gate_sums_t){
        .experts = experts, .first_choice = first, .probability = probability, .one_token = one};
    return MOE_OK;
}

void moe_gate_sums_destroy(moe_gate_sums_t *sums)
{
    free(sums->one_token);
    free(sums->probability);
    free(sums->first_choice);
    *sums = (moe_gate_sums_t){0};
}

void moe_gate_sums_add(moe_gate_sums_t *sums, const moe_router_t *router, uint32_t step,
                       const moe_table_t *table, size_t stride)
{
    for (size_t t = 0; t < table->tokens; t += stride) {
        const int32_t first = table->expert[t * table->top_k];
        if (first != MOE_NO_EXPERT)
            sums->first_choice[sums->logical_of != NULL ? sums->logical_of[first] : first] += 1;
        moe_router_probabilities(router, step, table->first_token + t, sums->one_token);
        for (size_t e = 0; e < sums->experts; e++)
            sums->probability[e] += sums->one_token[e];
        sums->tokens += 1;
    }
}

double moe_aux_loss(const moe_gate_sums_t *sums)
{
    if (sums->tokens == 0)
        return 0;
    double sum = 0;
    for (size_t e = 0; e < sums->experts; e++)
        sum += sums->first_choice[e] / sums->tokens * (sums->probability[e] / sums->tokens);
    return sum / (double)sums->experts;
}

double moe_importance_cv2(const moe_gate_sums_t *sums)
{
    double total = 0, squares = 0;
    for (size_t e = 0; e < sums->experts; e++)
        total += sums->probability[e];
    if (total == 0)
        return 0;
    const double mean = total / (double)sums->experts;
    for (size_t e = 0; e < sums->experts; e++)
        squares += (sums->probability[e] - mean) * (sums->probability[e] - mean);
    return squares / (double)sums->experts / (mean * mean);
}
