/* Every token to every rank; each rank sums what its experts make of it, and the sums come back by a
 * reduce-scatter: here rows to each source, summed there. */
#include <stdlib.h>
#include <string.h>

#include "hop.h"
#include "moe/system.h"
#include "style.h"

/* The same rows go to all: one copy of them is packed. They come back to places of their own. */
static moe_status_t send_all(const moe_batch_t *batch, moe_hop_t *hop, moe_error_t *error)
{
    const size_t tokens = batch->table.tokens, peers = hop->peers;
    moe_status_t status = new_sizes("the rows to send", tokens, &hop->gather, error);
    if (status == MOE_OK) {
        status = new_sizes("the rows to send", tokens, &hop->side_row, error);
    }
    if (status == MOE_OK) {
        status = new_sizes("a plan", peers + 1, &hop->back_first, error);
    }
    if (status == MOE_OK) {
        status = new_sizes("a plan", tokens + 1, &hop->reduce_first, error);
    }
    if (status == MOE_OK) {
        status = new_sizes("a plan", tokens * peers, &hop->reduce_row, error);
    }
    if (status == MOE_OK) {
        status =
            moe_alloc("a plan", tokens * peers, sizeof(float), (void **)&hop->reduce_weight, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    for (size_t p = 0; p < peers; p++) {
        hop->send_rows[p] = tokens;
        hop->send_first[p] = 0;
        hop->back_first[p + 1] = (p + 1) * tokens;
    }
    hop->send_first[peers] = tokens;
    for (size_t t = 0; t < tokens; t++) {
        hop->gather[t] = hop->side_row[t] = t;
        hop->reduce_first[t + 1] = (t + 1) * peers;
        for (size_t p = 0; p < peers; p++) {
            hop->reduce_row[t * peers + p] = p * tokens + t;
            hop->reduce_weight[t * peers + p] = 1;
        }
    }
    return MOE_OK;
}

static moe_status_t plan_allgather(const moe_style_ops_t *style, const moe_workload_t *workload,
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
        status = send_all(batch, &out->hop, error);
    }
    if (status == MOE_OK) {
        status =
            tokens_arrive(workload, sizes, true, tokens_in_order_of_ranks, out, &rows_of, error);
    }
    if (status == MOE_OK) {
        memcpy(out->hop.recv_rows, rows_of, placement->ranks * sizeof *rows_of);
        running_sums(rows_of, placement->ranks, out->hop.recv_first);
    }
    free(rows_of);
    return status;
}

/* A row that no expert of the receiver waits for is no padding: it carries a token. */
static void count_allgather(const moe_sizes_t *sizes, const moe_batch_t *batch, size_t rank,
                            size_t first_rank, moe_flow_t *dispatch, moe_flow_t *combine)
{
    for (size_t p = 0; p < sizes->placement->ranks; p++) {
        moe_flow_add_rows(dispatch, first_rank + rank, first_rank + p, batch->table.tokens, 0);
        moe_flow_add_rows(combine, first_rank + p, first_rank + rank, batch->table.tokens, 0);
    }
}

/* A bit of routing map and a probability for every expert (Megatron's all-gather dispatcher). */
static size_t map_bytes(const moe_sizes_t *sizes)
{
    return (sizes->placement->experts + 7) / 8;
}

static size_t side_bytes(const moe_sizes_t *sizes)
{
    return map_bytes(sizes) + sizes->placement->experts * sizeof(float);
}

static void side(const moe_sizes_t *sizes, const moe_batch_t *batch, size_t t, size_t k, void *out)
{
    (void)k;
    unsigned char *map = out, *probability = map + map_bytes(sizes);
    memset(out, 0, side_bytes(sizes));
    for (size_t i = t * batch->table.top_k; i < (t + 1) * batch->table.top_k; i++) {
        if (batch->kept[i]) {
            const size_t e = (size_t)batch->table.expert[i];
            map[e / 8] = (unsigned char)(map[e / 8] | 1U << e % 8);
            memcpy(probability + e * sizeof(float), &batch->table.weight[i], sizeof(float));
        }
    }
}

const moe_style_ops_t moe_style_allgather = {
    .name = "allgather",
    .summary = "every token to every rank, sums back by reduce-scatter; no matter the skew",
    .source = "Megatron-LM with the allgather dispatcher",
    .metadata = MOE_METADATA_NONE,
    .sum_at = MOE_SUM_AT_EXPERTS,
    .side_bytes = side_bytes,
    .side = side,
    .plan = plan_allgather,
    .count = count_allgather,
};
