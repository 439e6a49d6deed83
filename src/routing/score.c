#include "score.h"

#include "../system/clones.h"
#include "moe/routing.h"
#include "real.h"

/* time += Exp(1) / remaining, for one k. */
MOE_CLONES
static void arrive(size_t tokens, const uint32_t *restrict words, const double *restrict remaining,
                   const double *restrict before, double *restrict time)
{
    for (size_t t = 0; t < tokens; t++)
        time[t] = before[t] + moe_real_exponential(words[t]) / remaining[t];
}

void moe_score_times(const moe_source_t *source, uint64_t first_token, size_t tokens, size_t top_k,
                     size_t stride, const double *remaining, uint32_t *words, double *time)
{
    static const double nobody[MOE_BATCH_TIMES] = {0};
    for (size_t k = 0; k < top_k; k += MOE_RANDOM_WORDS)
        moe_random_items(source, first_token, tokens, (uint32_t)(k / MOE_RANDOM_WORDS), stride,
                         words + k * stride);
    const double *before = nobody;
    for (size_t k = 0; k < top_k; k++) {
        arrive(tokens, words + k * stride, remaining + k * stride, before, time + k * stride);
        before = time + k * stride;
    }
}

/* rate = 1 / time; total += rate. */
MOE_CLONES
static void add_rates(size_t tokens, double *restrict time, double *restrict total)
{
    for (size_t t = 0; t < tokens; t++) {
        time[t] = 1 / time[t];
        total[t] += time[t];
    }
}

/* rate to whole units, rounded down; left -= units. */
MOE_CLONES
static void round_down(size_t tokens, double *restrict rate, const double *restrict total,
                       int32_t *restrict left)
{
    for (size_t t = 0; t < tokens; t++) {
        const int32_t units = (int32_t)(rate[t] / total[t] * MOE_WEIGHT_ONE);
        rate[t] = units;
        left[t] -= units;
    }
}

/* One more unit for the first `left`, which keeps the order: none is off by a unit or more. */
static void write_weights(size_t tokens, size_t top_k, size_t stride, const double *units,
                          const int32_t *left, float *weight)
{
    const float unit = 1.0F / MOE_WEIGHT_ONE;
    for (size_t t = 0; t < tokens; t++) {
        for (size_t k = 0; k < top_k; k++)
            weight[t * top_k + k] = (float)(units[k * stride + t] + ((int32_t)k < left[t])) * unit;
    }
}

void moe_score_weights(size_t tokens, size_t top_k, size_t stride, double *time, float *weight)
{
    double total[MOE_BATCH_TIMES];
    int32_t left[MOE_BATCH_TIMES];
    for (size_t t = 0; t < tokens; t++) {
        total[t] = 0;
        left[t] = MOE_WEIGHT_ONE;
    }
    for (size_t k = 0; k < top_k; k++)
        add_rates(tokens, time + k * stride, total);
    for (size_t k = 0; k < top_k; k++)
        round_down(tokens, time + k * stride, total, left);
    write_weights(tokens, top_k, stride, time, left, weight);
}
