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

size_t moe_style_metadata_bytes(const moe_style_ops_t *style, const moe_placement_t *placement,
                                size_t rank)
{
    switch (style->metadata) {
    case MOE_METADATA_NONE:
        break;
    case MOE_METADATA_MAX:
        return placement->ranks > 1 ? COUNT_BYTES : 0;
    case MOE_METADATA_COUNTS: {
        const size_t own = placement->first[rank + 1] - placement->first[rank];
        return (placement->experts - own) * COUNT_BYTES;
    }
    }
    return 0;
}
