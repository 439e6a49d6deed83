#include "gate.h"
#include "race.h"

/* Top-K of logits ln p_e + Gumbel_e, the Gumbel standing for what a token's own content adds;
 * weights are the softmax over the K chosen. Drawn by the race (race.c): no logit is computed. */
static moe_status_t route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                          moe_table_t *table, moe_error_t *error)
{
    (void)error;
    moe_race_route(router, step, first_token, table);
    return MOE_OK;
}

const moe_gate_ops_t moe_gate_softmax = {
    .name = "softmax",
    .summary = "top-k of the logits, weights renormalised over the k chosen",
    .source = "Mixtral, arXiv 2401.04088",
    .route = route,
    .probabilities = moe_race_probabilities,
};
