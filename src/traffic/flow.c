#include <stdlib.h>
#include <string.h>

#include "moe/system.h"
#include "moe/traffic.h"
#include "saturate.h"

moe_status_t moe_flow_create(size_t ranks, size_t ranks_per_node, size_t row_bytes, moe_flow_t *out,
                             moe_error_t *error)
{
    if (ranks == 0 || ranks_per_node == 0) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "%zu ranks with %zu on each node: both must be 1 or more", ranks,
                        ranks_per_node);
    }
    moe_flow_t flow = {.ranks = ranks,
                       .ranks_per_node = ranks_per_node,
                       .row_bytes = row_bytes,
                       .ranks_per_cell = (ranks + MOE_FLOW_CELLS - 1) / MOE_FLOW_CELLS};
    flow.cells = (ranks + flow.ranks_per_cell - 1) / flow.ranks_per_cell;
    const struct {
        size_t **array, count;
    } arrays[] = {{&flow.sent, ranks},
                  {&flow.received, ranks},
                  {&flow.arriving, ranks},
                  {&flow.cell, flow.cells * flow.cells}};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        const moe_status_t status = moe_alloc("bytes per rank", arrays[i].count, sizeof(size_t),
                                              (void **)arrays[i].array, error);
        if (status != MOE_OK) {
            moe_flow_destroy(&flow);
            return status;
        }
    }
    *out = flow;
    return MOE_OK;
}

void moe_flow_destroy(moe_flow_t *flow)
{
    free(flow->sent);
    free(flow->received);
    free(flow->arriving);
    free(flow->cell);
    *flow = (moe_flow_t){0};
}

static void grow(size_t *sum, size_t bytes)
{
    *sum = moe_saturating_add(*sum, bytes);
}

/* The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA'14). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Multiples of 2^64 / golden ratio keep 0 from being a fixed point (there too).
 * Cells of nothing count for nothing: whoever leaves them out gets the same sum. */
static uint64_t hash_of_cell(uint64_t from, uint64_t to, uint64_t bytes)
{
    if (bytes == 0)
        return 0;
    const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
    return mix(mix(mix(from + golden) + to + golden) + bytes + golden);
}

void moe_flow_add_rows(moe_flow_t *flow, size_t from, size_t to, size_t rows, size_t padding_rows)
{
    const size_t bytes = moe_saturating_multiply(rows, flow->row_bytes);
    grow(&flow->bytes.logical, bytes);
    grow(&flow->arriving[to], bytes);
    grow(&flow->cell[from / flow->ranks_per_cell * flow->cells + to / flow->ranks_per_cell], bytes);
    flow->hash += hash_of_cell(from, to, bytes);
    if (from == to) {
        grow(&flow->tiers.self, bytes);
        return;
    }
    const bool same_node = from / flow->ranks_per_node == to / flow->ranks_per_node;
    grow(same_node ? &flow->tiers.intra_node : &flow->tiers.inter_node, bytes);
    grow(&flow->bytes.wire, bytes);
    grow(&flow->bytes.padding, moe_saturating_multiply(padding_rows, flow->row_bytes));
    grow(&flow->sent[from], bytes);
    grow(&flow->received[to], bytes);
}

void moe_flow_add(moe_flow_t *flow, size_t rank, const moe_sent_t *sent, size_t useful_rows,
                  bool backward)
{
    for (size_t peer = 0; peer < flow->ranks; peer++) {
        const size_t from = backward ? peer : rank, to = backward ? rank : peer;
        const size_t rows = sent->rows[peer];
        moe_flow_add_rows(flow, from, to, rows, rows - sent->tokens[peer]);
    }
    moe_flow_add_useful(flow, useful_rows, flow->row_bytes);
}

void moe_flow_add_useful(moe_flow_t *flow, size_t rows, size_t row_bytes)
{
    grow(&flow->bytes.useful, moe_saturating_multiply(rows, row_bytes));
}

/* ---- Parts of several ranks ---- */

enum { FLOW_SCALARS = 8 };

size_t moe_flow_sums(const moe_flow_t *flow)
{
    return FLOW_SCALARS + 3 * flow->ranks + flow->cells * flow->cells;
}

void moe_flow_export(const moe_flow_t *flow, size_t *sums)
{
    const size_t scalars[FLOW_SCALARS] = {
        flow->bytes.useful, flow->bytes.logical,    flow->bytes.wire,       flow->bytes.padding,
        flow->tiers.self,   flow->tiers.intra_node, flow->tiers.inter_node, flow->hash};
    memcpy(sums, scalars, sizeof scalars);
    memcpy(sums + FLOW_SCALARS, flow->sent, flow->ranks * sizeof *sums);
    memcpy(sums + FLOW_SCALARS + flow->ranks, flow->received, flow->ranks * sizeof *sums);
    memcpy(sums + FLOW_SCALARS + 2 * flow->ranks, flow->arriving, flow->ranks * sizeof *sums);
    memcpy(sums + FLOW_SCALARS + 3 * flow->ranks, flow->cell,
           flow->cells * flow->cells * sizeof *sums);
}

void moe_flow_import(moe_flow_t *flow, const size_t *sums)
{
    flow->bytes =
        (moe_bytes_t){.useful = sums[0], .logical = sums[1], .wire = sums[2], .padding = sums[3]};
    flow->tiers = (moe_tiers_t){.self = sums[4], .intra_node = sums[5], .inter_node = sums[6]};
    flow->hash = sums[7];
    memcpy(flow->sent, sums + FLOW_SCALARS, flow->ranks * sizeof *sums);
    memcpy(flow->received, sums + FLOW_SCALARS + flow->ranks, flow->ranks * sizeof *sums);
    memcpy(flow->arriving, sums + FLOW_SCALARS + 2 * flow->ranks, flow->ranks * sizeof *sums);
    memcpy(flow->cell, sums + FLOW_SCALARS + 3 * flow->ranks,
           flow->cells * flow->cells * sizeof *sums);
}

size_t moe_flow_busiest(const moe_flow_t *flow, size_t *rank)
{
    size_t most = 0, busiest = 0;
    for (size_t r = 0; r < flow->ranks; r++) {
        const size_t bytes = flow->sent[r] > flow->received[r] ? flow->sent[r] : flow->received[r];
        if (bytes > most) {
            most = bytes;
            busiest = r;
        }
    }
    if (rank != NULL) {
        *rank = busiest;
    }
    return most;
}

size_t moe_flow_most_arriving(const moe_flow_t *flow)
{
    size_t most = 0;
    for (size_t r = 0; r < flow->ranks; r++) {
        most = flow->arriving[r] > most ? flow->arriving[r] : most;
    }
    return most;
}
