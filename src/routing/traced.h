/* Popularity and choices that come from a file. */
#ifndef MOE_ROUTING_TRACED_H
#define MOE_ROUTING_TRACED_H

#include "router.h"

/* How often each expert of a layer was chosen, as logarithms; every expert at its own place. */
moe_status_t moe_traced_popularity(const moe_routing_spec_t *spec, size_t layer, uint16_t *place,
                                   double *log_popularity, moe_error_t *error);

void moe_traced_route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                      moe_table_t *table);
/* The weights of the choices: a trace has no more of the gate's distribution. */
void moe_traced_probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                              double *probability);

#endif
