/* One row per (token, rank that holds an expert of it); that rank weighs and sums its experts' results,
 * so that one row comes back too. */
#include <stdlib.h>
#include <string.h>

#include "hop.h"
#include "style.h"

static size_t rank_of(const moe_sizes_t *sizes, int32_t expert)
{
    return (size_t)sizes->placement->rank_of[expert];
}

static moe_status_t plan_dedup(const moe_style_ops_t *style, const moe_workload_t *workload,
                               const moe_sizes_t *sizes, const moe_batch_t *batch, size_t rank,
                               moe_plan_t *out, moe_error_t *error)
{
    const moe_placement_t *placement = sizes->placement;
    size_t *rows_of = NULL;
    *out = (moe_plan_t){.style = style,
                        .rank = rank,
                        .local_experts = placement->first[rank + 1] - placement->first[rank]};
    moe_status_t status =
        hop_create(MOE_SCOPE_GROUP, placement->ranks, batch->table.tokens, &out->hop, error);
    if (status == MOE_OK) {
        status = tokens_send(sizes, batch, rank_of, &out->hop, error);
    }
    if (status == MOE_OK) {
        status =
            tokens_arrive(workload, sizes, false, tokens_in_order_of_ranks, out, &rows_of, error);
    }
    if (status == MOE_OK) {
        memcpy(out->hop.recv_rows, rows_of, placement->ranks * sizeof *rows_of);
        running_sums(rows_of, placement->ranks, out->hop.recv_first);
    }
    free(rows_of);
    return status;
}

static void count_dedup(const moe_sizes_t *sizes, const moe_batch_t *batch, size_t rank,
                        size_t first_rank, moe_flow_t *dispatch, moe_flow_t *combine)
{
    uint8_t marks[MOE_MAX_TOP_K]; /* ranks of this token, by selection: no list of all ranks */
    const moe_placement_t *placement = sizes->placement;
    const size_t top_k = batch->table.top_k;
    for (size_t t = 0; t < batch->table.tokens; t++) {
        memset(marks, 0, top_k);
        for (size_t k = 0; k < top_k; k++) {
            const size_t at = t * top_k + k;
            if (!batch->kept[at] || marks[k]) {
                continue;
            }
            const int32_t to = placement->rank_of[batch->table.expert[at]];
            for (size_t j = k + 1; j < top_k; j++) {
                const int32_t e = batch->table.expert[t * top_k + j];
                marks[j] |= batch->kept[t * top_k + j] && placement->rank_of[e] == to;
            }
            moe_flow_add_rows(dispatch, first_rank + rank, first_rank + (size_t)to, 1, 0);
            moe_flow_add_rows(combine, first_rank + (size_t)to, first_rank + rank, 1, 0);
        }
    }
}

const moe_style_ops_t moe_style_dedup = {
    .name = "dedup",
    .summary = "a token once to each rank that holds experts of it; partial sums come back",
    .source = "DeepEP V2 direct, DeepEP within a node",
    .metadata = MOE_METADATA_ROWS,
    .sum_at = MOE_SUM_AT_EXPERTS,
    .side_bytes = tokens_index_and_weight_bytes,
    .side = tokens_index_and_weight,
    .plan = plan_dedup,
    .count = count_dedup,
};
