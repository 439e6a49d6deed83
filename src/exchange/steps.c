/* The steps of a layer: each does one thing that the records name, and nothing else. */
#include "algorithm.h"
#include "layer.h"

/* Count by count: a row announced for another expert of this rank leaves the sums as they are. */
static moe_status_t counts_are_as_planned(const moe_layer_t *layer, moe_error_t *error)
{
    const size_t experts = layer->local_experts, counts = layer->plan.hop.peers * experts;
    for (size_t i = 0; i < counts; i++) {
        if (layer->counts_got[i] != layer->counts_planned[i]) {
            return moe_fail(error, MOE_WRONG_DATA,
                            "metadata: rank %zu announces %zu rows for local expert %zu of rank "
                            "%zu, %zu were planned",
                            i / experts, layer->counts_got[i], i % experts, layer->plan.rank,
                            layer->counts_planned[i]);
        }
    }
    return MOE_OK;
}

/* Every rank tells each peer of a hop how many rows will come. */
static moe_status_t announce_rows(moe_layer_t *layer, const moe_hop_t *hop, moe_error_t *error)
{
    moe_transport_t *t = layer->scope[hop->scope];
    moe_status_t status =
        t->ops->alltoall_sizes(t, hop->send_rows, layer->ones, layer->rows_got, layer->ones, error);
    for (size_t p = 0; status == MOE_OK && p < hop->peers; p++) {
        if (layer->rows_got[p] != hop->recv_rows[p]) {
            return moe_fail(error, MOE_WRONG_DATA,
                            "metadata: peer %zu announces %zu rows to rank %zu, %zu were planned",
                            p, layer->rows_got[p], layer->plan.rank, hop->recv_rows[p]);
        }
    }
    return status;
}

static const size_t *index_list(const moe_layer_t *layer, moe_layer_list_t which)
{
    return layer->list[which];
}

static const float *weight_list(const moe_layer_t *layer, moe_layer_list_t which)
{
    return layer->list[which];
}

moe_status_t moe_layer_metadata(moe_layer_t *layer, moe_error_t *error)
{
    moe_transport_t *t = layer->spec.transport;
    t->doing = "metadata";
    switch (layer->spec.style->metadata) {
    case MOE_METADATA_NONE:
        return MOE_OK;
    case MOE_METADATA_MAX: {
        size_t count_max = layer->count_max;
        moe_status_t status = t->ops->max_size(t, &count_max, error);
        if (status == MOE_OK && count_max != layer->sizes.count_max) {
            return moe_fail(error, MOE_WRONG_DATA,
                            "metadata: the largest count came as %zu, %zu was planned", count_max,
                            layer->sizes.count_max);
        }
        return status;
    }
    case MOE_METADATA_COUNTS: {
        moe_status_t status = t->ops->alltoall_sizes(t, layer->counts_sent, layer->counts_sent_n,
                                                     layer->counts_got, layer->counts_got_n, error);
        return status == MOE_OK ? counts_are_as_planned(layer, error) : status;
    }
    case MOE_METADATA_ROWS: {
        moe_status_t status = announce_rows(layer, &layer->plan.hop, error);
        return status == MOE_OK && layer->plan.two_hops
                   ? announce_rows(layer, &layer->plan.forward, error)
                   : status;
    }
    }
    return MOE_OK;
}

moe_status_t moe_layer_schedule(moe_layer_t *layer, moe_error_t *error)
{
    const moe_algorithm_ops_t *algorithm = layer->spec.algorithm;
    moe_status_t status = MOE_OK;
    layer->spec.transport->doing = "schedule";
    for (size_t i = 0; algorithm->schedule != NULL && i < layer->exchanges; i++) {
        moe_layer_exchange_t *x = &layer->exchange[i];
        if (status == MOE_OK) {
            status = algorithm->schedule(x->transport, &x->dispatch, error);
        }
        if (status == MOE_OK) {
            status = algorithm->schedule(x->transport, &x->combine, error);
        }
    }
    return status;
}

/* ---- Dispatch ---- */

moe_status_t moe_layer_permute(moe_layer_t *layer, moe_error_t *error)
{
    (void)error;
    moe_device_t *d = layer->spec.device;
    const moe_hop_t *hop = &layer->plan.hop;
    char *send = moe_layer_buffer(layer, BUFFER_SEND);
    const size_t rows = moe_hop_send_rows(hop);
    const size_t wide = moe_layer_buffer_row_bytes(layer, BUFFER_SEND);
    d->ops->gather(d, send, wide, layer->spec.dtype, moe_layer_buffer(layer, BUFFER_TOKENS),
                   moe_layer_buffer_row_bytes(layer, BUFFER_TOKENS),
                   moe_memory_dtype(layer->spec.dtype), index_list(layer, LIST_GATHER), rows,
                   layer->spec.hidden);
    if (layer->side_bytes > 0) {
        d->ops->copy_parts(d, send + (wide - layer->side_bytes), wide,
                           moe_layer_buffer(layer, BUFFER_SIDE), layer->side_bytes,
                           layer->side_bytes, index_list(layer, LIST_SIDE_ROW), rows);
    }
    return MOE_OK;
}

static moe_status_t run_exchange(moe_layer_t *layer, size_t number, bool combine,
                                 moe_error_t *error)
{
    moe_layer_exchange_t *x = &layer->exchange[number];
    moe_graph_t **graph = combine ? &x->combine_graph : &x->dispatch_graph;
    return moe_exchange_run(layer->spec.algorithm, x->transport, layer->spec.device,
                            combine ? &x->combine : &x->dispatch, layer->spec.graph ? graph : NULL,
                            error);
}

static moe_status_t run_first_hop(moe_layer_t *layer, bool combine, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t i = 0; i < layer->first_hop_exchanges && status == MOE_OK; i++) {
        status = run_exchange(layer, i, combine, error);
    }
    return status;
}

static moe_status_t run_second_hop(moe_layer_t *layer, bool combine, moe_error_t *error)
{
    return run_exchange(layer, layer->first_hop_exchanges, combine, error);
}

/* What a forwarder does in between belongs to the exchange: it is on the way. */
moe_status_t moe_layer_dispatch(moe_layer_t *layer, moe_error_t *error)
{
    moe_device_t *d = layer->spec.device;
    layer->spec.transport->doing = "dispatch";
    moe_status_t status = run_first_hop(layer, false, error);
    if (status != MOE_OK || !layer->plan.two_hops) {
        return status;
    }
    const size_t wide = moe_layer_buffer_row_bytes(layer, BUFFER_RECV);
    d->ops->copy_parts(d, moe_layer_buffer(layer, BUFFER_FORWARD_SEND), wide,
                       moe_layer_buffer(layer, BUFFER_RECV), wide, wide,
                       index_list(layer, LIST_FORWARD_GATHER),
                       moe_hop_send_rows(&layer->plan.forward));
    return run_second_hop(layer, false, error);
}

static moe_buffer_t arrived_buffer(const moe_layer_t *layer)
{
    return layer->plan.two_hops ? BUFFER_FORWARD_RECV : BUFFER_RECV;
}

moe_status_t moe_layer_arrange(moe_layer_t *layer, moe_error_t *error)
{
    (void)error;
    moe_device_t *d = layer->spec.device;
    const size_t rows = moe_layer_buffer_rows(layer, BUFFER_EXPERT_IN);
    if (rows > 0) {
        d->ops->gather(d, moe_layer_buffer(layer, BUFFER_EXPERT_IN),
                       moe_layer_buffer_row_bytes(layer, BUFFER_EXPERT_IN), layer->spec.dtype,
                       moe_layer_buffer(layer, arrived_buffer(layer)),
                       moe_layer_buffer_row_bytes(layer, arrived_buffer(layer)), layer->spec.dtype,
                       index_list(layer, LIST_EXPERT_GATHER), rows, layer->spec.hidden);
    }
    return MOE_OK;
}

/* ---- Combine ---- */

moe_status_t moe_layer_restore(moe_layer_t *layer, moe_error_t *error)
{
    (void)error;
    moe_device_t *d = layer->spec.device;
    const moe_plan_t *plan = &layer->plan;
    const size_t rows = moe_layer_buffer_rows(layer, BUFFER_RETURN);
    const moe_dtype_t dtype = layer->spec.combine_dtype;
    void *to = moe_layer_buffer(layer, BUFFER_RETURN);
    const void *from = moe_layer_buffer(layer, BUFFER_EXPERT_OUT);
    if (plan->return_first != NULL) {
        d->ops->reduce(d, to, dtype, from, dtype, index_list(layer, LIST_RETURN_FIRST),
                       index_list(layer, LIST_RETURN_ROW), weight_list(layer, LIST_RETURN_WEIGHT),
                       rows, layer->spec.hidden);
    } else if (plan->expert_return != NULL) {
        const size_t bytes = moe_layer_buffer_row_bytes(layer, BUFFER_RETURN);
        d->ops->gather(d, to, bytes, dtype, from, bytes, dtype,
                       index_list(layer, LIST_EXPERT_RETURN), rows, layer->spec.hidden);
    }
    return MOE_OK;
}

moe_status_t moe_layer_combine(moe_layer_t *layer, moe_error_t *error)
{
    moe_device_t *d = layer->spec.device;
    layer->spec.transport->doing = "combine";
    if (!layer->plan.two_hops) {
        return run_first_hop(layer, true, error);
    }
    moe_status_t status = run_second_hop(layer, true, error);
    if (status != MOE_OK) {
        return status;
    }
    d->ops->reduce(d, moe_layer_buffer(layer, BUFFER_FORWARD_SUM), layer->spec.combine_dtype,
                   moe_layer_buffer(layer, BUFFER_FORWARD_BACK), layer->spec.combine_dtype,
                   index_list(layer, LIST_FORWARD_FIRST), index_list(layer, LIST_FORWARD_ROW),
                   weight_list(layer, LIST_FORWARD_WEIGHT), layer->plan.forward.before,
                   layer->spec.hidden);
    return run_first_hop(layer, true, error);
}

moe_status_t moe_layer_unpermute(moe_layer_t *layer, moe_error_t *error)
{
    (void)error;
    moe_device_t *d = layer->spec.device;
    d->ops->reduce(
        d, moe_layer_buffer(layer, BUFFER_COMBINED), moe_memory_dtype(layer->spec.combine_dtype),
        moe_layer_buffer(layer, BUFFER_RETURNED), layer->spec.combine_dtype,
        index_list(layer, LIST_REDUCE_FIRST), index_list(layer, LIST_REDUCE_ROW),
        weight_list(layer, LIST_REDUCE_WEIGHT), layer->plan.hop.before, layer->spec.hidden);
    return MOE_OK;
}

/* ---- In two halves ---- */

/* What the device remembers of a layer's exchanges under a number (sign() of devices). */
typedef enum moment {
    MOMENT_PACKED,     /* rows of dispatch are ready to leave */
    MOMENT_DISPATCHED, /* they have arrived */
    MOMENT_COMPUTED,   /* the same of combine */
    MOMENT_COMBINED,
    MOMENTS
} moment_t;

static size_t number_of(const moe_layer_t *layer, moment_t moment)
{
    return layer->spec.chunk * MOMENTS + (size_t)moment;
}

/* The one exchange whose end can be waited for apart; NULL: there are several, or the algorithm or
 * the graph does all in one. */
static const moe_layer_exchange_t *in_halves(const moe_layer_t *layer, bool combine)
{
    const moe_algorithm_ops_t *algorithm = layer->spec.algorithm;
    const moe_layer_exchange_t *x = &layer->exchange[0];
    const bool one = layer->exchanges == 1 && !layer->spec.graph && algorithm->can_start != NULL;
    return one && algorithm->can_start(x->transport, combine ? &x->combine : &x->dispatch) ? x
                                                                                           : NULL;
}

static moe_status_t start_half(moe_layer_t *layer, bool combine, moe_error_t *error)
{
    moe_device_t *d = layer->spec.device;
    const moe_layer_exchange_t *x = in_halves(layer, combine);
    const size_t ready = number_of(layer, combine ? MOMENT_COMPUTED : MOMENT_PACKED);
    const size_t done = number_of(layer, combine ? MOMENT_COMBINED : MOMENT_DISPATCHED);
    moe_status_t status;
    d->ops->sign(d, ready);
    d->ops->lane(d, MOE_LANE_EXCHANGE);
    d->ops->await(d, ready);
    if (x != NULL) {
        layer->spec.transport->doing = combine ? "combine" : "dispatch";
        status =
            layer->spec.algorithm->start(x->transport, combine ? &x->combine : &x->dispatch, error);
    } else {
        status = combine ? moe_layer_combine(layer, error) : moe_layer_dispatch(layer, error);
    }
    d->ops->sign(d, done);
    d->ops->lane(d, MOE_LANE_COMPUTE);
    return status;
}

static moe_status_t finish_half(moe_layer_t *layer, bool combine, moe_error_t *error)
{
    moe_device_t *d = layer->spec.device;
    const moe_layer_exchange_t *x = in_halves(layer, combine);
    moe_status_t status = MOE_OK;
    if (x != NULL) {
        layer->spec.transport->doing = combine ? "combine" : "dispatch";
        status = layer->spec.algorithm->finish(x->transport, combine ? &x->combine : &x->dispatch,
                                               error);
    }
    d->ops->await(d, number_of(layer, combine ? MOMENT_COMBINED : MOMENT_DISPATCHED));
    return status;
}

moe_status_t moe_layer_start_dispatch(moe_layer_t *layer, moe_error_t *error)
{
    return start_half(layer, false, error);
}

moe_status_t moe_layer_finish_dispatch(moe_layer_t *layer, moe_error_t *error)
{
    return finish_half(layer, false, error);
}

moe_status_t moe_layer_start_combine(moe_layer_t *layer, moe_error_t *error)
{
    return start_half(layer, true, error);
}

moe_status_t moe_layer_finish_combine(moe_layer_t *layer, moe_error_t *error)
{
    return finish_half(layer, true, error);
}

void moe_layer_expert_rows(const moe_layer_t *layer, size_t local_expert, size_t *rows,
                           const void **in, void **out)
{
    const size_t first = layer->plan.expert_first[local_expert];
    const char *from = moe_layer_buffer(layer, BUFFER_EXPERT_IN);
    char *to = moe_layer_buffer(layer, BUFFER_EXPERT_OUT);
    *rows = layer->plan.expert_first[local_expert + 1] - first;
    *in = from + first * moe_layer_buffer_row_bytes(layer, BUFFER_EXPERT_IN);
    *out = to + first * moe_layer_buffer_row_bytes(layer, BUFFER_EXPERT_OUT);
}
