#include "style.h"

static size_t block_rows(const moe_sizes_t *sizes, size_t kept)
{
    (void)sizes;
    return kept;
}

const moe_style_ops_t moe_style_exact = {
    .name = "exact",
    .summary = "only the rows that carry tokens; ranks tell each other the counts first",
    .source = "FastMoE (arXiv 2103.13262), Megatron-LM with the alltoall dispatcher",
    .metadata = MOE_METADATA_COUNTS,
    .block_rows = block_rows,
};
