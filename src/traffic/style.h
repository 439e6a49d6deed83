/* The styles there are: one file each, and one line in style.c. */
#ifndef MOE_TRAFFIC_STYLE_H
#define MOE_TRAFFIC_STYLE_H

#include "moe/traffic.h"

extern const moe_style_ops_t moe_style_padded;
extern const moe_style_ops_t moe_style_padded_max;
extern const moe_style_ops_t moe_style_exact;
extern const moe_style_ops_t moe_style_exact_per_expert;
extern const moe_style_ops_t moe_style_allgather;
extern const moe_style_ops_t moe_style_dedup;
extern const moe_style_ops_t moe_style_two_hop;
extern const moe_style_ops_t moe_style_slots;
extern const moe_style_ops_t moe_style_hier;

#endif
