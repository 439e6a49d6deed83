/* How the rows between two nodes are dealt to the ranks that carry them (rails), so that all ranks of
 * a node send and receive alike, whoever the rows belong to: the balance inside the node of FAST
 * (arXiv 2505.09764). Rail i runs from the rank of local index i of one node to that of the other;
 * there are as many as the smaller of the two nodes has ranks. */
#ifndef MOE_EXCHANGE_BIRKHOFF_RAILS_H
#define MOE_EXCHANGE_BIRKHOFF_RAILS_H

#include <stddef.h>

#include "nodes.h"

#include "moe/status.h"

/* Rows [first, first + rows) of the block from rank `from` to rank `to` go on `rail`. */
typedef struct moe_rail_piece {
    size_t rail, from, to, first, rows;
} moe_rail_piece_t;

typedef struct moe_rails {
    const size_t *matrix; /* [ranks][ranks], rows from a rank (outer) to a rank (inner); borrowed */
    moe_node_map_t map;
    size_t *taken; /* [per_node][per_node] of the flow that is being dealt */
    size_t *quota; /* [per_node] */
    size_t pieces;
    moe_rail_piece_t *piece; /* [pieces] of the flow that was dealt last */
} moe_rails_t;

moe_status_t moe_rails_create(const size_t *matrix, const moe_node_map_t *map, moe_rails_t *out,
                              moe_error_t *error);
void moe_rails_destroy(moe_rails_t *rails);

/* flows[nodes][nodes]: rows that the fullest rail carries from a node (outer) to another (inner): a
 * rail of that flow carries as many, or one less. 0 on the diagonal. */
void moe_rails_flows(const moe_rails_t *rails, size_t *flows);

/* Deals the rows from one node to another: rails->piece. Every row is in one piece; rows stay on the
 * rank that has them, or that wants them, as far as the balance allows. */
void moe_rails_deal(moe_rails_t *rails, size_t from_node, size_t to_node);

#endif
