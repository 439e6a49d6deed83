/* A token once to each node that needs it, to the rank of the same number there (the forwarder), and
 * from it once to each rank of the node that holds an expert. Combine mirrors it: ranks of experts sum,
 * the forwarder sums its node, the source sums the nodes. */
#include <stdlib.h>
#include <string.h>

#include "hop.h"
#include "moe/system.h"
#include "style.h"

static size_t node_of(const moe_sizes_t *sizes, int32_t expert)
{
    return (size_t)sizes->placement->rank_of[expert] / moe_sizes_node_ranks(sizes);
}

/* Arrivals by the second hop: forwarders in order, and what each forwards in order of its arrivals by
 * the first: nodes in order. Rank r is number r % g of node r / g. */
static void in_order_of_forwarders(const moe_sizes_t *sizes, const size_t *rows_of,
                                   size_t *first_of)
{
    const size_t g = moe_sizes_node_ranks(sizes), nodes = moe_sizes_nodes(sizes);
    size_t row = 0;
    for (size_t l = 0; l < g; l++) {
        for (size_t n = 0; n < nodes; n++) {
            first_of[n * g + l] = row;
            row += rows_of[n * g + l];
        }
    }
}

/* ---- The forwarder ---- */

typedef struct forwarding {
    const moe_sizes_t *sizes;
    size_t node;
    moe_hop_t *hop; /* the second */
    uint8_t *marks; /* [ranks of the node] */
    size_t *next;   /* [ranks of the node] next free row to each; NULL: rows are counted */
    size_t arrival, terms;
} forwarding_t;

/* Which ranks of the forwarder's node hold kept experts of token t; false: none does. */
static bool mark_ranks(const forwarding_t *f, const moe_batch_t *batch, size_t t)
{
    const size_t g = f->hop->peers, top_k = batch->table.top_k;
    bool any = false;
    memset(f->marks, 0, g);
    for (size_t i = t * top_k; i < (t + 1) * top_k; i++) {
        if (!batch->kept[i]) {
            continue;
        }
        const size_t r = (size_t)f->sizes->placement->rank_of[batch->table.expert[i]];
        if (r / g == f->node) {
            f->marks[r % g] = 1;
            any = true;
        }
    }
    return any;
}

static void forward_token(forwarding_t *f)
{
    moe_hop_t *hop = f->hop;
    for (size_t l = 0; l < hop->peers; l++) {
        if (!f->marks[l]) {
            continue;
        }
        if (f->next == NULL) {
            hop->send_rows[l]++;
            continue;
        }
        const size_t row = f->next[l]++;
        hop->gather[row] = f->arrival;
        hop->reduce_row[f->terms] = row;
        hop->reduce_weight[f->terms] = 1;
        f->terms++;
    }
    f->arrival++;
    if (f->next != NULL) {
        hop->reduce_first[f->arrival] = f->terms;
    }
}

/* All tokens that arrive by the first hop: from the rank of the same number of every node. */
static moe_status_t forward_all(forwarding_t *f, const moe_workload_t *workload, size_t rank,
                                size_t *rows_of_node, moe_error_t *error)
{
    const size_t g = f->hop->peers, nodes = moe_sizes_nodes(f->sizes);
    f->arrival = f->terms = 0;
    for (size_t n = 0; n < nodes; n++) {
        moe_batch_t *batch = NULL;
        const moe_status_t status = moe_batch_create(workload, n * g + rank % g, &batch, error);
        if (status != MOE_OK) {
            return status;
        }
        const size_t before = f->arrival;
        for (size_t t = 0; t < batch->table.tokens; t++) {
            if (mark_ranks(f, batch, t)) {
                forward_token(f);
            }
        }
        rows_of_node[n] = f->arrival - before;
        moe_batch_destroy(batch);
    }
    return MOE_OK;
}

static moe_status_t make_forward_lists(moe_hop_t *hop, size_t arrivals, moe_error_t *error)
{
    running_sums(hop->send_rows, hop->peers, hop->send_first);
    const size_t rows = hop->send_first[hop->peers];
    hop->before = arrivals;
    moe_status_t status = new_sizes("the rows to forward", rows, &hop->gather, error);
    if (status == MOE_OK) {
        status = new_sizes("the rows to forward", arrivals + 1, &hop->reduce_first, error);
    }
    if (status == MOE_OK) {
        status = new_sizes("the rows to forward", rows, &hop->reduce_row, error);
    }
    return status == MOE_OK ? moe_alloc("the rows to forward", rows, sizeof(float),
                                        (void **)&hop->reduce_weight, error)
                            : status;
}

static moe_status_t plan_forwarder(const moe_workload_t *workload, const moe_sizes_t *sizes,
                                   moe_plan_t *plan, moe_error_t *error)
{
    const size_t g = moe_sizes_node_ranks(sizes), nodes = moe_sizes_nodes(sizes);
    forwarding_t f = {.sizes = sizes, .node = plan->rank / g, .hop = &plan->forward};
    size_t *next = NULL;
    moe_status_t status = moe_alloc("a plan", g, 1, (void **)&f.marks, error);
    if (status == MOE_OK) {
        status = new_sizes("a plan", g, &next, error);
    }
    if (status == MOE_OK) {
        status = forward_all(&f, workload, plan->rank, plan->hop.recv_rows, error);
    }
    if (status == MOE_OK) {
        running_sums(plan->hop.recv_rows, nodes, plan->hop.recv_first);
        status = make_forward_lists(f.hop, f.arrival, error);
    }
    if (status == MOE_OK) {
        memcpy(next, f.hop->send_first, g * sizeof *next);
        f.next = next;
        status = forward_all(&f, workload, plan->rank, plan->hop.recv_rows, error);
    }
    free(next);
    free(f.marks);
    return status;
}

/* ---- The whole ---- */

static moe_status_t plan_two_hop(const moe_style_ops_t *style, const moe_workload_t *workload,
                                 const moe_sizes_t *sizes, const moe_batch_t *batch, size_t rank,
                                 moe_plan_t *out, moe_error_t *error)
{
    const moe_placement_t *placement = sizes->placement;
    const size_t g = moe_sizes_node_ranks(sizes), nodes = moe_sizes_nodes(sizes);
    size_t *rows_of = NULL;
    *out = (moe_plan_t){.style = style,
                        .rank = rank,
                        .two_hops = true,
                        .local_experts = placement->first[rank + 1] - placement->first[rank]};
    moe_status_t status = hop_create(MOE_SCOPE_RAIL, nodes, batch->table.tokens, &out->hop, error);
    if (status == MOE_OK) {
        status = hop_create(MOE_SCOPE_NODE, g, 0, &out->forward, error);
    }
    if (status == MOE_OK) {
        status = tokens_send(sizes, batch, node_of, &out->hop, error);
    }
    if (status == MOE_OK) {
        status = plan_forwarder(workload, sizes, out, error);
    }
    if (status == MOE_OK) {
        status =
            tokens_arrive(workload, sizes, false, in_order_of_forwarders, out, &rows_of, error);
    }
    for (size_t r = 0; status == MOE_OK && r < placement->ranks; r++) {
        out->forward.recv_rows[r % g] += rows_of[r];
    }
    if (status == MOE_OK) {
        running_sums(out->forward.recv_rows, g, out->forward.recv_first);
    }
    free(rows_of);
    return status;
}

/* Whether an earlier kept selection of the token goes to the same unit of `span` ranks. */
static bool seen_before(const moe_sizes_t *sizes, const moe_batch_t *batch, size_t t, size_t k,
                        size_t span)
{
    const size_t first = t * batch->table.top_k;
    const size_t unit = (size_t)sizes->placement->rank_of[batch->table.expert[first + k]] / span;
    for (size_t j = 0; j < k; j++) {
        if (batch->kept[first + j] &&
            (size_t)sizes->placement->rank_of[batch->table.expert[first + j]] / span == unit) {
            return true;
        }
    }
    return false;
}

static void count_two_hop(const moe_sizes_t *sizes, const moe_batch_t *batch, size_t rank,
                          size_t first_rank, moe_flow_t *dispatch, moe_flow_t *combine)
{
    const size_t g = moe_sizes_node_ranks(sizes), top_k = batch->table.top_k;
    for (size_t i = 0; i < batch->table.tokens * top_k; i++) {
        const size_t t = i / top_k, k = i % top_k;
        if (!batch->kept[i]) {
            continue;
        }
        const size_t to = (size_t)sizes->placement->rank_of[batch->table.expert[i]];
        const size_t forwarder = first_rank + to / g * g + rank % g;
        if (!seen_before(sizes, batch, t, k, g)) {
            moe_flow_add_rows(dispatch, first_rank + rank, forwarder, 1, 0);
            moe_flow_add_rows(combine, forwarder, first_rank + rank, 1, 0);
        }
        if (!seen_before(sizes, batch, t, k, 1)) {
            moe_flow_add_rows(dispatch, forwarder, first_rank + to, 1, 0);
            moe_flow_add_rows(combine, first_rank + to, forwarder, 1, 0);
        }
    }
}

const moe_style_ops_t moe_style_two_hop = {
    .name = "two-hop",
    .summary = "a token once to each node, then once to each rank there; sums in both steps back",
    .source = "DeepEP normal, Hybrid-EP",
    .metadata = MOE_METADATA_ROWS,
    .sum_at = MOE_SUM_AT_FORWARDERS,
    .by_node = true,
    .side_bytes = tokens_index_and_weight_bytes,
    .side = tokens_index_and_weight,
    .plan = plan_two_hop,
    .count = count_two_hop,
};
