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
    if (status == MOE_OK) {
        status = moe_alloc(what, peers, sizeof(size_t), (void **)&layer->ones, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc(what, peers, sizeof(size_t), (void **)&layer->rows_got, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    for (size_t p = 0; p < peers; p++) {
        layer->ones[p] = 1;
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
        return t->ops->max_size(t, count_max, error);
    }
    if (layer->spec.style->metadata == MOE_METADATA_COUNTS || layer->spec.style->fixed_slots) {
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

/* The ranks that each hop reaches (collective). */
static moe_status_t join_scopes(moe_layer_t *layer, moe_error_t *error)
{
    moe_transport_t *t = layer->spec.transport;
    const size_t g = moe_sizes_node_ranks(&layer->sizes);
    layer->scope[MOE_SCOPE_GROUP] = t;
    if (!layer->plan.two_hops) {
        return MOE_OK;
    }
    if (layer->spec.like != NULL) {
        layer->scope[MOE_SCOPE_NODE] = layer->spec.like->scope[MOE_SCOPE_NODE];
        layer->scope[MOE_SCOPE_RAIL] = layer->spec.like->scope[MOE_SCOPE_RAIL];
        return MOE_OK;
    }
    moe_status_t status =
        t->ops->split(t, (int)(t->rank / g), &layer->scope[MOE_SCOPE_NODE], error);
    return status == MOE_OK
               ? t->ops->split(t, (int)(t->rank % g), &layer->scope[MOE_SCOPE_RAIL], error)
               : status;
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
    status = moe_style_check(spec->style, &layer->sizes, spec->combine_dtype, error);
    status = status != MOE_OK ? status
                              : moe_plan_create(spec->style, workload, &layer->sizes, layer->batch,
                                                rank, layer->counts_planned, &layer->plan, error);
    if (status == MOE_OK) {
        layer->side_bytes = moe_style_side_bytes(spec->style, &layer->sizes);
        status = moe_alloc("exchanges", 1 + layer->plan.hop.rounds + 1, sizeof *layer->exchange,
                           (void **)&layer->exchange, error);
    }
    status = agree(spec->transport, status, error);
    return status == MOE_OK ? join_scopes(layer, error) : status;
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

static void drop_graph(moe_device_t *d, moe_graph_t **graph)
{
    if (*graph != NULL) {
        d->ops->drop_graph(d, *graph);
    }
    *graph = NULL;
}

static void release_prepared(moe_layer_t *layer)
{
    moe_device_t *d = layer->spec.device;
    for (size_t i = 0; layer->prepared != NULL && i < layer->exchanges; i++) {
        moe_layer_exchange_t *x = &layer->exchange[i];
        drop_graph(d, &x->dispatch_graph);
        drop_graph(d, &x->combine_graph);
        if (layer->prepared->release != NULL) {
            layer->prepared->release(x->transport, d, &x->dispatch);
            layer->prepared->release(x->transport, d, &x->combine);
        }
    }
    layer->prepared = NULL;
}

static void leave_scopes(moe_layer_t *layer)
{
    for (int s = MOE_SCOPE_NODE; s <= MOE_SCOPE_RAIL; s++) {
        if (layer->scope[s] != NULL && layer->spec.like == NULL) {
            layer->scope[s]->ops->destroy(layer->scope[s]);
        }
    }
}

void moe_layer_destroy(moe_layer_t *layer)
{
    if (layer == NULL) {
        return;
    }
    release_prepared(layer);
    moe_layer_drop_lists(layer);
    leave_scopes(layer);
    free(layer->exchange);
    moe_plan_destroy(&layer->plan);
    moe_batch_destroy(layer->batch);
    free(layer->counts_sent);
    free(layer->counts_sent_n);
    free(layer->counts_planned);
    free(layer->counts_got);
    free(layer->counts_got_n);
    free(layer->ones);
    free(layer->rows_got);
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

const moe_alltoallv_t *moe_layer_first_exchange(const moe_layer_t *layer, moe_transport_t **t)
{
    *t = layer->exchange[0].transport;
    return &layer->exchange[0].dispatch;
}

const char *moe_layer_chosen(const moe_layer_t *layer)
{
    return moe_algorithm_chosen(layer->spec.algorithm, &layer->exchange[0].dispatch);
}

static moe_status_t prepare(moe_layer_t *layer, moe_error_t *error)
{
    moe_device_t *d = layer->spec.device;
    const moe_algorithm_ops_t *algorithm = layer->spec.algorithm;
    moe_status_t status = MOE_OK;
    release_prepared(layer);
    layer->prepared = algorithm;
    for (size_t i = 0; algorithm->prepare != NULL && i < layer->exchanges; i++) {
        moe_layer_exchange_t *x = &layer->exchange[i];
        status = algorithm->prepare(x->transport, d, &x->dispatch, error);
        if (status == MOE_OK) {
            status = algorithm->prepare(x->transport, d, &x->combine, error);
        }
        if (status != MOE_OK) {
            return status;
        }
    }
    return status;
}

moe_status_t moe_layer_use(moe_layer_t *layer, const moe_algorithm_ops_t *algorithm,
                           moe_error_t *error)
{
    layer->spec.algorithm = algorithm;
    return layer->workspace != NULL ? prepare(layer, error) : MOE_OK;
}

/* The exchange of a hop, or of one round of it: in combine every row goes back where it came from. */
static void make_exchange(moe_layer_t *layer, const moe_hop_t *hop, const moe_round_t *round,
                          moe_row_type_t row, moe_row_type_t combine_row)
{
    const bool forward = hop == &layer->plan.forward;
    const bool last = forward || !layer->plan.two_hops;
    const size_t *send_first = round != NULL ? round->send_first : hop->send_first;
    const size_t *recv_first = round != NULL ? round->recv_first : hop->recv_first;
    const size_t *send_rows = round != NULL ? round->send_rows : hop->send_rows;
    const size_t *recv_rows = round != NULL ? round->recv_rows : hop->recv_rows;
    moe_layer_exchange_t *x = &layer->exchange[layer->exchanges++];
    x->transport = layer->scope[hop->scope];
    x->dispatch = (moe_alltoallv_t){
        .row = row,
        .send = moe_layer_buffer(layer, forward ? BUFFER_FORWARD_SEND : BUFFER_SEND),
        .send_rows = send_rows,
        .send_first = send_first,
        .recv = moe_layer_buffer(layer, forward ? BUFFER_FORWARD_RECV : BUFFER_RECV),
        .recv_rows = recv_rows,
        .recv_first = hop->slot_first != NULL ? hop->slot_first : recv_first,
        .uniform = hop->uniform && round == NULL,
        .ranks_per_node = hop->scope == MOE_SCOPE_GROUP  ? layer->sizes.ranks_per_node
                          : hop->scope == MOE_SCOPE_RAIL ? 1
                                                         : 0};
    x->combine = x->dispatch;
    x->combine.row = combine_row;
    x->combine.send = moe_layer_buffer(layer, last ? BUFFER_RETURN : BUFFER_FORWARD_SUM);
    x->combine.send_rows = recv_rows;
    x->combine.send_first = recv_first;
    x->combine.recv = moe_layer_buffer(layer, forward ? BUFFER_FORWARD_BACK : BUFFER_RETURNED);
    x->combine.recv_rows = send_rows;
    x->combine.recv_first = hop->back_first != NULL ? hop->back_first : send_first;
}

moe_status_t moe_layer_bind(moe_layer_t *layer, moe_workspace_t *workspace, moe_error_t *error)
{
    moe_transport_t *t = layer->spec.transport;
    const moe_hop_t *hop = &layer->plan.hop;
    moe_row_type_t row, combine_row;
    moe_status_t status =
        t->ops->row_type(t, moe_layer_buffer_row_bytes(layer, BUFFER_SEND), &row, error);
    if (status == MOE_OK) {
        status = t->ops->row_type(t, moe_layer_buffer_row_bytes(layer, BUFFER_RETURN), &combine_row,
                                  error);
    }
    if (status == MOE_OK) {
        status = moe_layer_take_lists(layer, error);
    }
    status = agree(t, status, error);
    if (status != MOE_OK) {
        return status;
    }
    release_prepared(layer); /* it may have been bound before */
    layer->workspace = workspace;
    layer->exchanges = 0;
    for (size_t r = 0; r < hop->rounds; r++) {
        make_exchange(layer, hop, &hop->round[r], row, combine_row);
    }
    if (hop->rounds == 0) {
        make_exchange(layer, hop, NULL, row, combine_row);
    }
    layer->first_hop_exchanges = layer->exchanges;
    if (layer->plan.two_hops) {
        make_exchange(layer, &layer->plan.forward, NULL, row, combine_row);
    }
    status = agree(t, moe_layer_fill_side(layer, error), error);
    return status == MOE_OK ? prepare(layer, error) : status;
}

/* ---- What a layer moves ---- */

/* Adds the sums of a flow over the group. */
static moe_status_t add_ranks(moe_transport_t *t, moe_flow_t *flow, moe_error_t *error)
{
    const size_t count = moe_flow_sums(flow);
    size_t *sums = NULL;
    moe_status_t status = moe_alloc("traffic counts", count, sizeof *sums, (void **)&sums, error);
    if (status == MOE_OK) {
        moe_flow_export(flow, sums);
        status = t->ops->reduce_sizes(t, sums, count, MOE_SUM, error);
    }
    if (status == MOE_OK) {
        moe_flow_import(flow, sums);
    }
    free(sums);
    return status;
}

moe_status_t moe_layer_flows(const moe_layer_t *layer, size_t ranks_per_node, moe_flow_t *dispatch,
                             moe_flow_t *combine, size_t *metadata_bytes, moe_error_t *error)
{
    moe_transport_t *t = layer->spec.transport;
    const moe_style_ops_t *style = layer->spec.style;
    const size_t hidden = layer->spec.hidden;
    moe_flow_t out = {0}, back = {0};
    moe_status_t status =
        moe_flow_create(t->size, ranks_per_node,
                        moe_row_bytes(layer->spec.dtype, hidden) + layer->side_bytes, &out, error);
    if (status == MOE_OK) {
        status = moe_flow_create(t->size, ranks_per_node,
                                 moe_row_bytes(layer->spec.combine_dtype, hidden), &back, error);
    }
    size_t metadata = moe_style_metadata_bytes(style, &layer->sizes, t->rank);
    if (status == MOE_OK) {
        moe_flow_add_batch(style, &layer->sizes, layer->batch, t->rank, 0, &out, &back);
        status = add_ranks(t, &out, error);
    }
    if (status == MOE_OK) {
        status = add_ranks(t, &back, error);
    }
    if (status == MOE_OK) {
        status = t->ops->reduce_sizes(t, &metadata, 1, MOE_SUM, error);
    }
    if (status != MOE_OK) {
        moe_flow_destroy(&out);
        moe_flow_destroy(&back);
        return status;
    }
    *dispatch = out;
    *combine = back;
    *metadata_bytes = metadata;
    return MOE_OK;
}
