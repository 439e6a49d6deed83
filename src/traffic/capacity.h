/* Which selections an expert's capacity keeps. */
#ifndef MOE_TRAFFIC_CAPACITY_H
#define MOE_TRAFFIC_CAPACITY_H

#include "moe/traffic.h"

/* What the order of dropping depends on; the last three for MOE_DROP_RANDOM. */
typedef struct moe_drop_rule {
    moe_drop_t drop;
    size_t slots; /* of each expert; SIZE_MAX: nothing is dropped */
    uint64_t seed;
    size_t layer;
    uint32_t step;
} moe_drop_rule_t;

/* Sets kept[tokens][top_k] and counts[experts], given selected[experts], how often the table chooses
 * each expert. Each keeps the first `slots` of its selections in the order of the rule:
 *   position     all first choices before any second choice, in order of tokens (GShard, arXiv
 *                2006.16668, algorithm 1)
 *   probability  heaviest gate weight first
 *   random       by a random number for each (global token, choice)
 * equals by token, then choice. */
moe_status_t moe_capacity_keep(const moe_drop_rule_t *rule, const moe_table_t *table,
                               size_t experts, const size_t *selected, uint8_t *kept,
                               size_t *counts, moe_error_t *error);

#endif
