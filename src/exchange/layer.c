#include "layer.h"

#include <stdlib.h>

#include "moe/system.h"

static void largest_count(moe_layer_t *layer)
{
    const size_t experts = layer->spec.workload->placement->experts;
    layer->count_max = 0;
    for (size_t e = 0; e < experts; e++) {
        if (layer->batch->counts[e] > layer->count_max) {
            layer->count_max = layer->batch->counts[e];
        }
    }
}

static moe_status_t make_count_arrays(moe_layer_t *layer, moe_error_t *error)
{
    const moe_placement_t *placement = layer->spec.workload->placement;
    const size_t peers = placement->ranks;
    const char *const what = "the counts of the metadata exchange";
    moe_status_t status =
        moe_alloc(what, placement->experts, sizeof(size_t), (void **)&layer->counts_sent, error);
    if (status == MOE_OK) {
        status = moe_alloc(what, peers, sizeof(size_t), (void **)&layer->counts_sent_n, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc(what, peers * layer->local_experts, sizeof(size_t),
                           (void **)&layer->counts_planned, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc(what, peers * layer->local_experts, sizeof(size_t),
                           (void **)&layer->counts_got, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc(what, peers, sizeof(size_t), (void **)&layer->counts_got_n, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    for (size_t p = 0; p < peers; p++) {
        layer->counts_sent_n[p] = placement->first[p + 1] - placement->first[p];
        layer->counts_got_n[p] = layer->local_experts;
    }
    for (size_t i = 0; i < placement->experts; i++) {
        layer->counts_sent[i] = layer->batch->counts[placement->expert_at[i]];
    }
    return MOE_OK;
}

/* What the plan must know of the other ranks. Once, at set-up; the metadata phase repeats it. */
static moe_status_t learn_counts(moe_layer_t *layer, size_t *count_max, moe_error_t *error)
{
    moe_transport_t *t = layer->spec.transport;
    *count_max = layer->count_max;
    if (layer->spec.style->metadata == MOE_METADATA_MAX) {
        return t->ops->reduce_sizes(t, count_max, 1, MOE_MAX, error);
    }
    if (layer->spec.style->metadata == MOE_METADATA_COUNTS) {
        return t->ops->alltoall_sizes(t, layer->counts_sent, layer->counts_sent_n,
                                      layer->counts_planned, layer->counts_got_n, error);
    }
    return MOE_OK;
}

/* Ranks must leave set-up together, or those that are well would wait for ever in the next call. */
static moe_status_t agree(moe_transport_t *t, moe_status_t mine, moe_error_t *error)
{
    size_t worst = (size_t)mine;
    moe_error_t quiet = {0};
    moe_status_t status = t->ops->reduce_sizes(t, &worst, 1, MOE_MAX, &quiet);
    if (mine != MOE_OK) {
        return mine;
    }
    if (status != MOE_OK) {
        return moe_fail(error, status, "%s", quiet.text);
    }
    if (worst != MOE_OK) {
        return moe_fail(error, (moe_status_t)worst, "%s", ""); /* the other rank has the message */
    }
    return MOE_OK;
}

static moe_status_t set_up(moe_layer_t *layer, moe_error_t *error)
{
    const moe_layer_spec_t *spec = &layer->spec;
    const moe_workload_t *workload = spec->workload;
    const size_t rank = spec->transport->rank;
    layer->local_experts = workload->placement->first[rank + 1] - workload->placement->first[rank];

    moe_status_t status = moe_batch_create(workload, rank, &layer->batch, error);
    if (status == MOE_OK) {
        largest_count(layer);
        status = make_count_arrays(layer, error);
    }
    status = agree(spec->transport, status, error);
    if (status != MOE_OK) {
        return status;
    }
    size_t count_max = 0;
    status = learn_counts(layer, &count_max, error);
    if (status != MOE_OK) {
        return status;
    }
    moe_sizes_of(workload, count_max, &layer->sizes);
    status = moe_plan_send(spec->style, &layer->sizes, layer->batch, rank, &layer->plan, error);
    if (status == MOE_OK) {
        status = moe_plan_receive(&layer->plan, &layer->sizes, layer->counts_planned, error);
    }
    return agree(spec->transport, status, error);
}

moe_status_t moe_layer_create(const moe_layer_spec_t *spec, moe_layer_t **out, moe_error_t *error)
{
    moe_layer_t *layer = NULL;
    moe_status_t status = moe_alloc("a layer", 1, sizeof *layer, (void **)&layer, error);
    if (status != MOE_OK) {
        return status;
    }
    layer->spec = *spec;
    status = set_up(layer, error);
    if (status != MOE_OK) {
        moe_layer_destroy(layer);
        return status;
    }
    *out = layer;
    return MOE_OK;
}

static void release_prepared(moe_layer_t *layer)
{
    moe_transport_t *t = layer->spec.transport;
    if (t->ops->release_alltoallv != NULL) {
        t->ops->release_alltoallv(t, &layer->dispatch);
        t->ops->release_alltoallv(t, &layer->combine);
    }
}

void moe_layer_destroy(moe_layer_t *layer)
{
    if (layer == NULL) {
        return;
    }
    release_prepared(layer);
    moe_plan_destroy(&layer->plan);
    moe_batch_destroy(layer->batch);
    free(layer->counts_sent);
    free(layer->counts_sent_n);
    free(layer->counts_planned);
    free(layer->counts_got);
    free(layer->counts_got_n);
    free(layer);
}

const moe_plan_t *moe_layer_plan(const moe_layer_t *layer)
{
    return &layer->plan;
}

const moe_batch_t *moe_layer_batch(const moe_layer_t *layer)
{
    return layer->batch;
}

const moe_layer_spec_t *moe_layer_spec(const moe_layer_t *layer)
{
    return &layer->spec;
}

size_t moe_layer_local_experts(const moe_layer_t *layer)
{
    return layer->local_experts;
}

static moe_status_t prepare(moe_layer_t *layer, moe_error_t *error)
{
    moe_transport_t *t = layer->spec.transport;
    const moe_algorithm_ops_t *algorithm = layer->spec.algorithm;
    release_prepared(layer);
    if (algorithm->prepare == NULL) {
        return MOE_OK;
    }
    moe_status_t status = algorithm->prepare(t, &layer->dispatch, error);
    return status == MOE_OK ? algorithm->prepare(t, &layer->combine, error) : status;
}

moe_status_t moe_layer_use(moe_layer_t *layer, const moe_algorithm_ops_t *algorithm,
                           moe_error_t *error)
{
    layer->spec.algorithm = algorithm;
    return layer->workspace != NULL ? prepare(layer, error) : MOE_OK;
}

moe_status_t moe_layer_bind(moe_layer_t *layer, moe_workspace_t *workspace, moe_error_t *error)
{
    moe_transport_t *t = layer->spec.transport;
    const moe_hop_t *hop = &layer->plan.hop;
    moe_row_type_t row, combine_row;
    moe_status_t status =
        t->ops->row_type(t, moe_row_bytes(layer->spec.dtype, layer->spec.hidden), &row, error);
    if (status == MOE_OK) {
        status = t->ops->row_type(t, moe_row_bytes(layer->spec.combine_dtype, layer->spec.hidden),
                                  &combine_row, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    release_prepared(layer); /* it may have been bound before */
    layer->workspace = workspace;
    layer->dispatch = (moe_alltoallv_t){.row = row,
                                        .send = moe_layer_buffer(layer, BUFFER_SEND),
                                        .send_rows = hop->send_rows,
                                        .send_first = hop->send_first,
                                        .recv = moe_layer_buffer(layer, BUFFER_RECV),
                                        .recv_rows = hop->recv_rows,
                                        .recv_first = hop->recv_first,
                                        .uniform = hop->uniform};
    /* Combine: every row goes back where it came from. */
    layer->combine = (moe_alltoallv_t){.row = combine_row,
                                       .send = moe_layer_buffer(layer, BUFFER_RETURN),
                                       .send_rows = hop->recv_rows,
                                       .send_first = hop->recv_first,
                                       .recv = moe_layer_buffer(layer, BUFFER_RETURNED),
                                       .recv_rows = hop->send_rows,
                                       .recv_first = hop->send_first,
                                       .uniform = hop->uniform};
    return prepare(layer, error);
}

/* ---- What a layer moves ---- */

/* Row of the allgather: rows to each peer, of them with a token, and useful rows in all. */
static moe_status_t gather_sent(const moe_layer_t *layer, size_t **all, moe_error_t *error)
{
    moe_transport_t *t = layer->spec.transport;
    const size_t peers = t->size, width = 2 * peers + 2;
    size_t *mine = NULL;
    moe_status_t status = moe_alloc("traffic counts", width, sizeof *mine, (void **)&mine, error);
    if (status != MOE_OK) {
        return status;
    }
    moe_sent_t sent = {.rows = mine, .tokens = mine + peers};
    moe_style_count_rows(layer->spec.style, &layer->sizes, layer->batch->counts, &sent);
    mine[2 * peers] = layer->batch->kept_selections;
    mine[2 * peers + 1] =
        moe_style_metadata_bytes(layer->spec.style, layer->spec.workload->placement, t->rank);
    status = moe_alloc("traffic counts", peers * width, sizeof *mine, (void **)all, error);
    if (status == MOE_OK) {
        status = t->ops->allgather(t, mine, width * sizeof *mine, *all, error);
        if (status != MOE_OK) {
            free(*all);
        }
    }
    free(mine);
    return status;
}

moe_status_t moe_layer_flows(const moe_layer_t *layer, size_t ranks_per_node, moe_flow_t *dispatch,
                             moe_flow_t *combine, size_t *metadata_bytes, moe_error_t *error)
{
    const size_t peers = layer->spec.transport->size, width = 2 * peers + 2;
    size_t *all = NULL;
    moe_status_t status = gather_sent(layer, &all, error);
    if (status != MOE_OK) {
        return status;
    }
    const size_t hidden = layer->spec.hidden;
    status = moe_flow_create(peers, ranks_per_node, moe_row_bytes(layer->spec.dtype, hidden),
                             dispatch, error);
    if (status != MOE_OK) {
        goto free_counts;
    }
    status = moe_flow_create(peers, ranks_per_node,
                             moe_row_bytes(layer->spec.combine_dtype, hidden), combine, error);
    if (status != MOE_OK) {
        moe_flow_destroy(dispatch);
        goto free_counts;
    }
    *metadata_bytes = 0;
    for (size_t r = 0; r < peers; r++) {
        size_t *of_rank = all + r * width;
        const moe_sent_t sent = {.rows = of_rank, .tokens = of_rank + peers};
        moe_flow_add(dispatch, r, &sent, of_rank[2 * peers], false);
        moe_flow_add(combine, r, &sent, of_rank[2 * peers], true);
        *metadata_bytes += of_rank[2 * peers + 1];
    }
free_counts:
    free(all);
    return status;
}
