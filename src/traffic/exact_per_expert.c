#include "style.h"

static size_t block_rows(const moe_sizes_t *sizes, size_t kept)
{
    (void)sizes;
    return kept;
}

const moe_style_ops_t moe_style_exact_per_expert = {
    .name = "exact-per-expert",
    .summary = "as exact, in one exchange for each local expert in turn",
    .source = "FastMoE's message structure (arXiv 2103.13262)",
    .metadata = MOE_METADATA_COUNTS,
    .block_rows = block_rows,
    .round_per_expert = true,
};
