/* Zero-padded blocks in two hops: within the node to the rank of the destination's number, then between
 * nodes by number. Messages between nodes fall from (N-1)*g to N-1 a rank; bytes between nodes stay. */
#include <stdlib.h>
#include <string.h>

#include "hop.h"
#include "moe/system.h"
#include "style.h"

static size_t block_rows(const moe_sizes_t *sizes, size_t kept)
{
    return moe_style_padded.block_rows(sizes, kept);
}

/* Rows from any rank to rank r. */
static size_t rows_to(const moe_sizes_t *sizes, size_t r)
{
    const moe_placement_t *placement = sizes->placement;
    return (placement->first[r + 1] - placement->first[r]) * block_rows(sizes, 0);
}

/* Rows to the ranks of number l of all nodes. */
static size_t rows_to_number(const moe_sizes_t *sizes, size_t l)
{
    const size_t g = moe_sizes_node_ranks(sizes);
    size_t rows = 0;
    for (size_t n = 0; n < moe_sizes_nodes(sizes); n++) {
        rows += rows_to(sizes, n * g + l);
    }
    return rows;
}

/* The send buffer of a direct exchange, in order of ranks, put in order of (number, node): new_row[]
 * of each row. */
static moe_status_t reorder(const moe_sizes_t *sizes, moe_hop_t *hop, moe_error_t *error)
{
    const size_t g = moe_sizes_node_ranks(sizes), nodes = moe_sizes_nodes(sizes);
    const size_t rows = hop->send_first[hop->peers];
    size_t *new_row = NULL, *gather = NULL;
    moe_status_t status = new_sizes("a plan", rows, &new_row, error);
    if (status == MOE_OK) {
        status = new_sizes("the rows to send", rows, &gather, error);
    }
    if (status != MOE_OK) {
        free(new_row);
        return status;
    }
    size_t row = 0;
    for (size_t l = 0; l < g; l++) {
        for (size_t n = 0; n < nodes; n++) {
            const size_t r = n * g + l;
            for (size_t i = 0; i < hop->send_rows[r]; i++, row++) {
                new_row[hop->send_first[r] + i] = row;
                gather[row] = hop->gather[hop->send_first[r] + i];
            }
        }
    }
    for (size_t i = 0; i < hop->reduce_first[hop->before]; i++) {
        hop->reduce_row[i] = new_row[hop->reduce_row[i]];
    }
    free(hop->gather);
    hop->gather = gather;
    free(new_row);
    return MOE_OK;
}

/* The first hop's counts, in place of those of the direct exchange. */
static void count_first_hop(const moe_sizes_t *sizes, size_t rank, moe_hop_t *hop)
{
    const size_t g = moe_sizes_node_ranks(sizes);
    const size_t in = rows_to_number(sizes, rank % g);
    hop->scope = MOE_SCOPE_NODE;
    hop->peers = g;
    for (size_t l = 0; l < g; l++) {
        hop->send_rows[l] = rows_to_number(sizes, l);
        hop->recv_rows[l] = in;
    }
    running_sums(hop->send_rows, g, hop->send_first);
    running_sums(hop->recv_rows, g, hop->recv_first);
}

/* Arrived: (number of the source, node of the destination, row); forwarded: (node, number, row). */
static moe_status_t plan_second_hop(const moe_sizes_t *sizes, size_t rank, moe_hop_t *hop,
                                    moe_error_t *error)
{
    const size_t g = moe_sizes_node_ranks(sizes), nodes = moe_sizes_nodes(sizes), l = rank % g;
    const size_t slice = rows_to_number(sizes, l), rows = g * slice;
    moe_status_t status = hop_create(MOE_SCOPE_RAIL, nodes, rows, hop, error);
    if (status == MOE_OK) {
        status = new_sizes("the rows to forward", rows, &hop->gather, error);
    }
    if (status == MOE_OK) {
        status = new_sizes("the rows to forward", rows + 1, &hop->reduce_first, error);
    }
    if (status == MOE_OK) {
        status = new_sizes("the rows to forward", rows, &hop->reduce_row, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc("the rows to forward", rows, sizeof(float), (void **)&hop->reduce_weight,
                           error);
    }
    size_t row = 0, offset = 0;
    for (size_t n = 0; status == MOE_OK && n < nodes; n++) {
        const size_t block = rows_to(sizes, n * g + l);
        for (size_t from = 0; from < g; from++) {
            for (size_t i = 0; i < block; i++, row++) {
                const size_t arrived = from * slice + offset + i;
                hop->gather[row] = arrived;
                hop->reduce_row[arrived] = row;
                hop->reduce_weight[arrived] = 1;
                hop->reduce_first[arrived + 1] = arrived + 1;
            }
        }
        offset += block;
        hop->send_rows[n] = g * block;
        hop->recv_rows[n] = g * rows_to(sizes, rank);
    }
    if (status == MOE_OK) {
        running_sums(hop->send_rows, nodes, hop->send_first);
        running_sums(hop->recv_rows, nodes, hop->recv_first);
    }
    return status;
}

/* The experts' end is that of the direct exchange: by the last hop rows arrive in order of sources. */
static moe_status_t plan_hier(const moe_style_ops_t *style, const moe_workload_t *workload,
                              const moe_sizes_t *sizes, const moe_batch_t *batch, size_t rank,
                              moe_plan_t *out, moe_error_t *error)
{
    (void)workload;
    moe_status_t status = moe_plan_send(style, sizes, batch, rank, out, error);
    if (status == MOE_OK) {
        status = moe_plan_receive(out, sizes, NULL, error);
    }
    if (status == MOE_OK) {
        status = reorder(sizes, &out->hop, error);
    }
    if (status == MOE_OK) {
        count_first_hop(sizes, rank, &out->hop);
        out->hop.uniform = false;
        out->two_hops = true;
        status = plan_second_hop(sizes, rank, &out->forward, error);
    }
    return status;
}

static void count_hier(const moe_sizes_t *sizes, const moe_batch_t *batch, size_t rank,
                       size_t first_rank, moe_flow_t *dispatch, moe_flow_t *combine)
{
    const moe_placement_t *placement = sizes->placement;
    const size_t g = moe_sizes_node_ranks(sizes);
    for (size_t r = 0; r < placement->ranks; r++) {
        size_t tokens = 0;
        for (size_t i = placement->first[r]; i < placement->first[r + 1]; i++) {
            tokens += batch->counts[placement->expert_at[i]];
        }
        const size_t rows = rows_to(sizes, r), padding = rows - tokens;
        const size_t via = first_rank + rank / g * g + r % g;
        moe_flow_add_rows(dispatch, first_rank + rank, via, rows, padding);
        moe_flow_add_rows(dispatch, via, first_rank + r, rows, padding);
        moe_flow_add_rows(combine, first_rank + r, via, rows, padding);
        moe_flow_add_rows(combine, via, first_rank + rank, rows, padding);
    }
}

const moe_style_ops_t moe_style_hier = {
    .name = "hier",
    .summary = "padded blocks by way of the node: fewer, larger messages between nodes",
    .source = "Tutel 2DH (arXiv 2206.03382)",
    .metadata = MOE_METADATA_NONE,
    .block_rows = block_rows,
    .by_node = true,
    .plan = plan_hier,
    .count = count_hier,
};
