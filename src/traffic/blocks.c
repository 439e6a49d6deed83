/* Counting for styles that send one block of rows to each expert. */
#include "moe/traffic.h"
#include "saturate.h"

/* Size of a count on the wire, and of the largest count in the all-reduce. */
#define COUNT_BYTES 8

void moe_style_count_rows(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                          const size_t *counts, moe_sent_t *out)
{
    const moe_placement_t *placement = sizes->placement;
    for (size_t p = 0; p < placement->ranks; p++) {
        size_t rows = 0, tokens = 0;
        for (size_t i = placement->first[p]; i < placement->first[p + 1]; i++) {
            const size_t count = counts[placement->expert_at[i]];
            rows = moe_saturating_add(rows, style->block_rows(sizes, count));
            tokens += count;
        }
        out->rows[p] = rows;
        out->tokens[p] = tokens;
    }
}

/* Counts of rows to the peers of a hop, itself excluded. */
static size_t hop_metadata_bytes(size_t peers)
{
    return (peers - 1) * COUNT_BYTES;
}

size_t moe_style_metadata_bytes(const moe_style_ops_t *style, const moe_sizes_t *sizes, size_t rank)
{
    const moe_placement_t *placement = sizes->placement;
    switch (style->metadata) {
    case MOE_METADATA_NONE:
        break;
    case MOE_METADATA_MAX:
        return placement->ranks > 1 ? COUNT_BYTES : 0;
    case MOE_METADATA_COUNTS: {
        const size_t own = placement->first[rank + 1] - placement->first[rank];
        return (placement->experts - own) * COUNT_BYTES;
    }
    case MOE_METADATA_ROWS:
        return style->by_node ? hop_metadata_bytes(moe_sizes_nodes(sizes)) +
                                    hop_metadata_bytes(moe_sizes_node_ranks(sizes))
                              : hop_metadata_bytes(placement->ranks);
    }
    return 0;
}

/* Straight from the rank to those of the experts, and back. */
static void add_blocks(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                       const moe_batch_t *batch, size_t rank, size_t first_rank,
                       moe_flow_t *dispatch, moe_flow_t *combine)
{
    const moe_placement_t *placement = sizes->placement;
    for (size_t p = 0; p < placement->ranks; p++) {
        size_t rows = 0, tokens = 0;
        for (size_t i = placement->first[p]; i < placement->first[p + 1]; i++) {
            const size_t count = batch->counts[placement->expert_at[i]];
            rows = moe_saturating_add(rows, style->block_rows(sizes, count));
            tokens += count;
        }
        moe_flow_add_rows(dispatch, first_rank + rank, first_rank + p, rows, rows - tokens);
        moe_flow_add_rows(combine, first_rank + p, first_rank + rank, rows, rows - tokens);
    }
}

void moe_flow_add_batch(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                        const moe_batch_t *batch, size_t rank, size_t first_rank,
                        moe_flow_t *dispatch, moe_flow_t *combine)
{
    moe_flow_add_useful(dispatch, batch->kept_selections,
                        dispatch->row_bytes - moe_style_side_bytes(style, sizes));
    moe_flow_add_useful(combine, batch->kept_selections, combine->row_bytes);
    if (style->count != NULL) {
        style->count(sizes, batch, rank, first_rank, dispatch, combine);
    } else {
        add_blocks(style, sizes, batch, rank, first_rank, dispatch, combine);
    }
}
