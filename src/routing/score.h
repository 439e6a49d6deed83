/* From the order of the chosen experts to their scores and weights.
 *
 * Let expert e arrive at time A_e ~ Exp(p_e). Then the order of arrival is that of drawing
 * without replacement in proportion to p, -ln A_e = ln p_e + Gumbel is the perturbed logit
 * (Gumbel-top-k: Vieira 2014; Kool et al., ICML 2019, arXiv 1903.06059), and the softmax of
 * these logits is proportional to 1 / A_e. The times between arrivals, given who arrives, are
 * Exp(1) over the mass that has not arrived: so the scores of the chosen need no look at the
 * others.
 *
 * Tokens are handled in batches; value k of token t stands at [k * stride + t]. */
#ifndef MOE_ROUTING_SCORE_H
#define MOE_ROUTING_SCORE_H

#include <stddef.h>
#include <stdint.h>

#include "random.h"

/* Random words of a batch, and draws of it: a token takes 2 K draws in whole blocks. 2048 words are
 * 128 tokens at K = 8, and one at MOE_MAX_TOP_K; a batch with its times stays in a 32 KiB cache. */
#define MOE_BATCH_WORDS (2 * MOE_MAX_TOP_K)
/* Times of a batch: K of every 2 K words at most. */
#define MOE_BATCH_TIMES MOE_MAX_TOP_K

/* remaining: mass that has not arrived before the k-th chosen. `words` is scratch for
 * top_k rounded up to whole blocks, times stride. time: arrival times, ascending in k. */
void moe_score_times(const moe_source_t *source, uint64_t first_token, size_t tokens, size_t top_k,
                     size_t stride, const double *remaining, uint32_t *words, double *time);

/* weight[tokens][top_k], in proportion to 1 / time, rounded to multiples of 1 / MOE_WEIGHT_ONE that
 * sum to 1, descending. `time` is overwritten. */
void moe_score_weights(size_t tokens, size_t top_k, size_t stride, double *time, float *weight);

#endif
