/* Which ranks share a node: nodes of `per_node` ranks in order, the last may be smaller. */
#ifndef MOE_EXCHANGE_NODES_H
#define MOE_EXCHANGE_NODES_H

#include <assert.h>
#include <stddef.h>

typedef struct moe_node_map {
    size_t ranks, per_node, nodes;
} moe_node_map_t;

/* per_node 0, or more than there are ranks: one node. ranks >= 1. */
static inline moe_node_map_t moe_node_map(size_t ranks, size_t per_node)
{
    const size_t each = per_node == 0 || per_node > ranks ? ranks : per_node;
    return (moe_node_map_t){.ranks = ranks, .per_node = each, .nodes = (ranks + each - 1) / each};
}

static inline size_t moe_node_of(const moe_node_map_t *map, size_t rank)
{
    return rank / map->per_node;
}

static inline size_t moe_node_first(const moe_node_map_t *map, size_t node)
{
    return node * map->per_node;
}

/* node < nodes: there is none without ranks. */
static inline size_t moe_node_size(const moe_node_map_t *map, size_t node)
{
    const size_t left = map->ranks - moe_node_first(map, node);
    assert(left > 0);
    return left < map->per_node ? left : map->per_node;
}

/* Index of a rank in its node. */
static inline size_t moe_node_index(const moe_node_map_t *map, size_t rank)
{
    return rank % map->per_node;
}

#endif
