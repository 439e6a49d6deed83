#include "style.h"

/* Without a capacity, the static worst case: every token of the fullest rank chooses the expert. */
static size_t block_rows(const moe_sizes_t *sizes, size_t kept)
{
    (void)kept;
    return sizes->slots > 0 ? sizes->slots : sizes->tokens_max;
}

const moe_style_ops_t moe_style_padded = {
    .name = "padded",
    .summary = "every expert's block has as many rows as its capacity, filled up with zeros",
    .source = "GShard (arXiv 2006.16668), Switch (arXiv 2101.03961), DeepSpeed-MoE (arXiv "
              "2201.05596), Megatron-LM with pad-to-capacity",
    .metadata = MOE_METADATA_NONE,
    .block_rows = block_rows,
};
