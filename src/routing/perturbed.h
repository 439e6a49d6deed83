/* Gates that compute the logit of every expert.
 *
 * The base logit is ln p_e + Gumbel_e: ln p_e is what is common to all tokens, the Gumbel stands
 * for what depends on the token. */
#ifndef MOE_ROUTING_PERTURBED_H
#define MOE_ROUTING_PERTURBED_H

#include <stddef.h>
#include <stdint.h>

#include "router.h"

/* Logits of experts first ... first + count - 1 of a token: first is a multiple of
 * MOE_RANDOM_GROUP, count at most that. */
typedef void (*moe_logits_fn)(const moe_router_t *router, uint32_t step, uint64_t token,
                              size_t first, size_t count, double *logit);

/* The base logits. */
void moe_perturbed_logits(const moe_router_t *router, uint32_t step, uint64_t token, size_t first,
                          size_t count, double *logit);

/* The Gumbels alone. */
void moe_perturbed_gumbels(const moe_router_t *router, uint32_t step, uint64_t token, size_t first,
                           size_t count, double *logit);

/* The logits of all experts. */
void moe_perturbed_all(const moe_router_t *router, uint32_t step, uint64_t token,
                       moe_logits_fn logits, double *logit);

/* The top-K of all experts: expert[top_k], logit[top_k], highest first (of equal ones, the lower
 * number). Returns the sum of exp(logit) over all experts. */
double moe_perturbed_top(const moe_router_t *router, uint32_t step, uint64_t token,
                         moe_logits_fn logits, int32_t *expert, double *logit);

/* Softmax over all experts. */
void moe_perturbed_probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                                 moe_logits_fn logits, double *probability);

/* Softmax over the K chosen, as weights of a table: weight[top_k] from logit[top_k]. */
void moe_perturbed_weights(size_t top_k, const double *logit, float *weight);

#endif
