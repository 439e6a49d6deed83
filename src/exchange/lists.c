/* The index lists of a layer's plan where its device reads them. */
#include "layer.h"

const void *moe_layer_plan_list(const moe_layer_t *layer, moe_layer_list_t which, size_t *bytes)
{
    const moe_plan_t *plan = &layer->plan;
    const moe_hop_t *hop = &plan->hop, *forward = &plan->forward;
    const moe_hop_t *last = moe_layer_last_hop(layer);
    const size_t sends = moe_hop_send_rows(hop);
    const size_t expert_rows = plan->expert_first[layer->local_experts];
    const size_t arrived = last->recv_first[last->peers];
    const size_t forwards = plan->two_hops ? moe_hop_send_rows(forward) : 0;
    const size_t sums = hop->reduce_first[hop->before];
    const size_t forward_sums = plan->two_hops ? forward->reduce_first[forward->before] : 0;
    const size_t returns = plan->return_first != NULL ? plan->return_first[arrived] : 0;
    const struct {
        const void *list;
        size_t entries, size;
    } lists[LISTS] = {
        [LIST_GATHER] = {hop->gather, sends, sizeof(size_t)},
        [LIST_SIDE_ROW] = {hop->side_row, sends, sizeof(size_t)},
        [LIST_REDUCE_FIRST] = {hop->reduce_first, hop->before + 1, sizeof(size_t)},
        [LIST_REDUCE_ROW] = {hop->reduce_row, sums, sizeof(size_t)},
        [LIST_REDUCE_WEIGHT] = {hop->reduce_weight, sums, sizeof(float)},
        [LIST_FORWARD_GATHER] = {forward->gather, forwards, sizeof(size_t)},
        [LIST_FORWARD_FIRST] = {forward->reduce_first, forward->before + 1, sizeof(size_t)},
        [LIST_FORWARD_ROW] = {forward->reduce_row, forward_sums, sizeof(size_t)},
        [LIST_FORWARD_WEIGHT] = {forward->reduce_weight, forward_sums, sizeof(float)},
        [LIST_EXPERT_GATHER] = {plan->expert_gather, expert_rows, sizeof(size_t)},
        [LIST_EXPERT_RETURN] = {plan->expert_return, arrived, sizeof(size_t)},
        [LIST_RETURN_FIRST] = {plan->return_first, arrived + 1, sizeof(size_t)},
        [LIST_RETURN_ROW] = {plan->return_row, returns, sizeof(size_t)},
        [LIST_RETURN_WEIGHT] = {plan->return_weight, returns, sizeof(float)},
    };
    *bytes = lists[which].list != NULL ? lists[which].entries * lists[which].size : 0;
    return lists[which].list;
}

moe_status_t moe_layer_take_lists(moe_layer_t *layer, moe_error_t *error)
{
    moe_device_t *d = layer->spec.device;
    moe_status_t status = MOE_OK;
    moe_layer_drop_lists(layer);
    for (int l = 0; l < LISTS && status == MOE_OK; l++) {
        size_t bytes;
        const void *list = moe_layer_plan_list(layer, (moe_layer_list_t)l, &bytes);
        if (list != NULL) {
            status =
                d->ops->list(d, "index lists of an exchange", list, bytes, &layer->list[l], error);
        }
    }
    return status;
}

void moe_layer_drop_lists(moe_layer_t *layer)
{
    moe_device_t *d = layer->spec.device;
    for (int l = 0; l < LISTS; l++) {
        if (layer->list[l] != NULL) {
            d->ops->drop_list(d, layer->list[l]);
        }
        layer->list[l] = NULL;
    }
}

size_t moe_layer_list_bytes(const moe_layer_t *layer)
{
    size_t sum = 0;
    for (int l = 0; l < LISTS && layer->spec.device->ops->separate; l++) {
        size_t bytes;
        (void)moe_layer_plan_list(layer, (moe_layer_list_t)l, &bytes);
        if (__builtin_add_overflow(sum, bytes, &sum)) {
            return SIZE_MAX;
        }
    }
    return sum;
}
