#include "moe/traffic.h"
#include "saturate.h"

void moe_sizes_of(const moe_workload_t *workload, size_t count_max, moe_sizes_t *out)
{
    const moe_placement_t *placement = workload->placement;
    const moe_routing_spec_t *spec = moe_router_spec(workload->router);
    size_t tokens_max = 0;
    for (size_t r = 0; r < placement->ranks; r++) {
        if (workload->tokens[r] > tokens_max) {
            tokens_max = workload->tokens[r];
        }
    }
    const moe_capacity_spec_t *capacity = &workload->capacity;
    *out = (moe_sizes_t){
        .placement = placement,
        .top_k = moe_routing_slots(spec),
        .tokens_max = tokens_max,
        .slots = capacity->factor > 0
                     ? moe_capacity_slots(tokens_max, placement->experts, spec->top_k,
                                          capacity->factor, capacity->min)
                     : 0,
        .count_max = count_max,
        .ranks_per_node = workload->ranks_per_node,
    };
}

size_t moe_sizes_node_ranks(const moe_sizes_t *sizes)
{
    const size_t ranks = sizes->placement->ranks;
    return sizes->ranks_per_node == 0 || sizes->ranks_per_node > ranks ? ranks
                                                                       : sizes->ranks_per_node;
}

size_t moe_sizes_nodes(const moe_sizes_t *sizes)
{
    const size_t g = moe_sizes_node_ranks(sizes);
    return (sizes->placement->ranks + g - 1) / g;
}

size_t moe_batch_bytes(size_t tokens, size_t top_k, size_t experts)
{
    const size_t selection = sizeof(int32_t) + sizeof(float) + sizeof(uint8_t);
    const size_t expert = 2 * sizeof(size_t); /* selected and kept */
    return moe_saturating_add(
        moe_saturating_multiply(moe_saturating_multiply(tokens, top_k), selection),
        moe_saturating_multiply(experts, expert));
}
