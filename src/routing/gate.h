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
    /* As moe_router_route() and moe_router_probabilities(). */
    moe_status_t (*route)(const moe_router_t *router, uint32_t step, uint64_t first_token,
                          moe_table_t *table, moe_error_t *error);
    void (*probabilities)(const moe_router_t *router, uint32_t step, uint64_t token,
                          double *probability);
};

extern const moe_gate_ops_t moe_gate_softmax;
extern const moe_gate_ops_t moe_gate_switch;
extern const moe_gate_ops_t moe_gate_gshard;
extern const moe_gate_ops_t moe_gate_noisy;
extern const moe_gate_ops_t moe_gate_group_limited;

#endif
