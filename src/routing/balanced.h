/* Exactly equal loads: experts take turns. */
#ifndef MOE_ROUTING_BALANCED_H
#define MOE_ROUTING_BALANCED_H

#include <stdint.h>

#include "router.h"

void moe_balanced_route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                        moe_table_t *table);
void moe_balanced_probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                                double *probability);

#endif
