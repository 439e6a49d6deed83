/* Choosing the best experts, of some groups of them where a gate limits these. */
#ifndef MOE_ROUTING_GROUPS_H
#define MOE_ROUTING_GROUPS_H

#include <stdint.h>

#include "router.h"

/* A group's score from the values of its best two experts; second: minus infinity where a group has
 * one expert. */
typedef double (*moe_group_score_fn)(double best, double second);

/* The top_k best of value[experts], best first (of equal ones, the lower number), to expert[top_k] and
 * chosen[top_k]. limited: of the topk_group groups whose scores are highest. */
void moe_groups_choose(const moe_routing_spec_t *spec, bool limited, const double *value,
                       moe_group_score_fn score, int32_t *expert, double *chosen);

#endif
