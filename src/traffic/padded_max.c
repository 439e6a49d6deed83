#include "style.h"

static size_t block_rows(const moe_sizes_t *sizes, size_t kept)
{
    (void)kept;
    return sizes->count_max;
}

const moe_style_ops_t moe_style_padded_max = {
    .name = "padded-max",
    .summary = "every block has as many rows as the fullest of all ranks and experts",
    .source = "DeepSpeed-MoE without token drop (sharded_moe.py), Tutel with capacity factor 0 "
              "(arXiv 2206.03382)",
    .metadata = MOE_METADATA_MAX,
    .block_rows = block_rows,
};
