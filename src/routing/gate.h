/* Gates: one file each (gate_*.c), registered in gate.c. */
#ifndef MOE_ROUTING_GATE_H
#define MOE_ROUTING_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "router.h"

struct moe_gate_ops {
    const char *name;
    const char *summary; /* one line for help */
    const char *source;
    size_t top_k;       /* the one K that it is defined for; 0: any */
    bool limits_groups; /* a token chooses from topk_group of n_group groups */
    bool takes_groups;  /* it does so where there are groups */
    bool whole_batch;   /* it looks at all tokens of a rank together: [tokens][experts] doubles */
    /* Places of a token in a table; NULL: top_k. */
    size_t (*slots)(const moe_routing_spec_t *spec);
    /* What a router holds for it; NULL: nothing. */
    moe_status_t (*prepare)(moe_router_t *router, moe_error_t *error);
    /* As moe_router_route() and moe_router_probabilities(). */
    moe_status_t (*route)(const moe_router_t *router, uint32_t step, uint64_t first_token,
                          moe_table_t *table, moe_error_t *error);
    void (*probabilities)(const moe_router_t *router, uint32_t step, uint64_t token,
                          double *probability);
};

/* Does the spec's gate limit groups? */
static inline bool moe_gate_limits(const moe_routing_spec_t *spec)
{
    return spec->gate->limits_groups || (spec->gate->takes_groups && spec->n_group > 0);
}

extern const moe_gate_ops_t moe_gate_softmax;
extern const moe_gate_ops_t moe_gate_switch;
extern const moe_gate_ops_t moe_gate_gshard;
extern const moe_gate_ops_t moe_gate_noisy;
extern const moe_gate_ops_t moe_gate_group_limited;
extern const moe_gate_ops_t moe_gate_sigmoid;
extern const moe_gate_ops_t moe_gate_expert_choice;
extern const moe_gate_ops_t moe_gate_hash;
extern const moe_gate_ops_t moe_gate_sinkhorn;

#endif
