/* The steps of a layer: each does one thing that the records name, and nothing else. */
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

moe_status_t moe_layer_metadata(moe_layer_t *layer, moe_error_t *error)
{
    moe_transport_t *t = layer->spec.transport;
    switch (layer->spec.style->metadata) {
    case MOE_METADATA_NONE:
        return MOE_OK;
    case MOE_METADATA_MAX: {
        size_t count_max = layer->count_max;
        moe_status_t status = t->ops->reduce_sizes(t, &count_max, 1, MOE_MAX, error);
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
    }
    return MOE_OK;
}

moe_status_t moe_layer_permute(moe_layer_t *layer, moe_error_t *error)
{
    (void)error;
    moe_device_t *d = layer->spec.device;
    const moe_hop_t *hop = &layer->plan.hop;
    d->ops->gather(d, moe_layer_buffer(layer, BUFFER_SEND), layer->spec.dtype,
                   moe_layer_buffer(layer, BUFFER_TOKENS), moe_memory_dtype(layer->spec.dtype),
                   hop->gather, hop->send_first[hop->peers], layer->spec.hidden);
    return MOE_OK;
}

moe_status_t moe_layer_dispatch(moe_layer_t *layer, moe_error_t *error)
{
    return layer->spec.algorithm->run(layer->spec.transport, layer->spec.device, &layer->dispatch,
                                      error);
}

moe_status_t moe_layer_arrange(moe_layer_t *layer, moe_error_t *error)
{
    (void)error;
    moe_device_t *d = layer->spec.device;
    if (layer->plan.expert_gather != NULL) {
        d->ops->gather(d, moe_layer_buffer(layer, BUFFER_EXPERT_IN), layer->spec.dtype,
                       moe_layer_buffer(layer, BUFFER_RECV), layer->spec.dtype,
                       layer->plan.expert_gather, moe_layer_buffer_rows(layer, BUFFER_EXPERT_IN),
                       layer->spec.hidden);
    }
    return MOE_OK;
}

moe_status_t moe_layer_restore(moe_layer_t *layer, moe_error_t *error)
{
    (void)error;
    moe_device_t *d = layer->spec.device;
    if (layer->plan.expert_return != NULL) {
        d->ops->gather(d, moe_layer_buffer(layer, BUFFER_RETURN), layer->spec.combine_dtype,
                       moe_layer_buffer(layer, BUFFER_EXPERT_OUT), layer->spec.combine_dtype,
                       layer->plan.expert_return, moe_layer_buffer_rows(layer, BUFFER_RETURN),
                       layer->spec.hidden);
    }
    return MOE_OK;
}

moe_status_t moe_layer_combine(moe_layer_t *layer, moe_error_t *error)
{
    return layer->spec.algorithm->run(layer->spec.transport, layer->spec.device, &layer->combine,
                                      error);
}

moe_status_t moe_layer_unpermute(moe_layer_t *layer, moe_error_t *error)
{
    (void)error;
    moe_device_t *d = layer->spec.device;
    const moe_hop_t *hop = &layer->plan.hop;
    d->ops->reduce(
        d, moe_layer_buffer(layer, BUFFER_COMBINED), moe_memory_dtype(layer->spec.combine_dtype),
        moe_layer_buffer(layer, BUFFER_RETURNED), layer->spec.combine_dtype, hop->reduce_first,
        hop->reduce_row, hop->reduce_weight, hop->before, layer->spec.hidden);
    return MOE_OK;
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
