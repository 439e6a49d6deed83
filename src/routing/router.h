/* Inside of a router, and the operations of a gate. */
#ifndef MOE_ROUTING_ROUTER_H
#define MOE_ROUTING_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "draw.h"
#include "moe/routing.h"
#include "random.h"

struct moe_router {
    moe_routing_spec_t spec;
    size_t layer;
    double *popularity;     /* [experts] exact: multiples of 2^-32 */
    double *log_popularity; /* [experts]; minus infinity where popularity is 0 */
    double *bias;           /* [experts] of the choice, for gates that have one; else NULL */
    moe_draw_t draw;
};

static inline moe_source_t moe_router_source(const moe_router_t *router, moe_purpose_t purpose,
                                             uint32_t step)
{
    const moe_source_t source = {
        .seed = router->spec.seed, .purpose = purpose, .layer = router->layer, .step = step};
    return source;
}

#endif
