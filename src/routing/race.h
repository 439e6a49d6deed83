/* The fast draw: top-K of the perturbed logits without looking at every expert. */
#ifndef MOE_ROUTING_RACE_H
#define MOE_ROUTING_RACE_H

#include <stddef.h>
#include <stdint.h>

#include "router.h"

void moe_race_route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                    moe_table_t *table);

/* The probability of every expert for one token whose chosen experts came at time[top_k]. */
void moe_race_spread(const moe_router_t *router, uint32_t step, uint64_t token,
                     const int32_t *expert, const double *time, double *probability);

void moe_race_probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                            double *probability);

#endif
