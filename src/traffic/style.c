#include "style.h"

#include <string.h>

#include "moe/system.h"

static const moe_style_ops_t *const styles[] = {
    &moe_style_padded,           &moe_style_padded_max, &moe_style_exact,
    &moe_style_exact_per_expert, &moe_style_allgather,  &moe_style_dedup,
    &moe_style_two_hop,          &moe_style_slots,      &moe_style_hier,
};
enum { STYLES = sizeof styles / sizeof styles[0] };

size_t moe_style_count(void)
{
    return STYLES;
}

const moe_style_ops_t *moe_style_at(size_t index)
{
    return index < STYLES ? styles[index] : NULL;
}

moe_status_t moe_style_find(const char *name, const moe_style_ops_t **out, moe_error_t *error)
{
    const char *names[STYLES];
    char list[256] = "";
    for (size_t i = 0; i < STYLES; i++) {
        if (strcmp(name, styles[i]->name) == 0) {
            *out = styles[i];
            return MOE_OK;
        }
        names[i] = styles[i]->name;
        strncat(list, i == 0 ? "" : ", ", sizeof list - strlen(list) - 1);
        strncat(list, names[i], sizeof list - strlen(list) - 1);
    }
    const char *nearest = moe_nearest(name, names, STYLES);
    return moe_fail(error, MOE_BAD_INPUT, "no style \"%s\"%s%s%s; there are: %s", name,
                    nearest != NULL ? "; did you mean \"" : "", nearest != NULL ? nearest : "",
                    nearest != NULL ? "\"?" : "", list);
}

moe_status_t moe_style_check(const moe_style_ops_t *style, const moe_sizes_t *sizes,
                             moe_dtype_t combine_dtype, moe_error_t *error)
{
    const size_t ranks = sizes->placement->ranks, g = moe_sizes_node_ranks(sizes);
    if (style->by_node && ranks % g != 0) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "style %s goes by nodes, and %zu ranks do not fill nodes of %zu evenly: "
                        "give a --ranks-per-node that divides them",
                        style->name, ranks, g);
    }
    if (style->sum_at != MOE_SUM_AT_SOURCE && combine_dtype == MOE_FP8) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "style %s sums on the way back and takes no --combine-dtype fp8: give bf16",
                        style->name);
    }
    return MOE_OK;
}

size_t moe_style_side_bytes(const moe_style_ops_t *style, const moe_sizes_t *sizes)
{
    return style->side_bytes != NULL ? style->side_bytes(sizes) : 0;
}

size_t moe_style_expert_rows(const moe_style_ops_t *style, const moe_sizes_t *sizes, size_t kept)
{
    return style->block_rows != NULL ? style->block_rows(sizes, kept) : kept;
}
