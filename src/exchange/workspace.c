#include "layer.h"

#include <stdlib.h>

#include "algorithm.h"

#include "moe/system.h"

/* Side data is one entry a token, or a selection where each has a row of its own. */
static size_t side_entries(const moe_layer_t *layer)
{
    const size_t tokens = layer->batch->table.tokens;
    return layer->spec.style->block_rows != NULL ? tokens * layer->sizes.top_k : tokens;
}

size_t moe_layer_buffer_rows(const moe_layer_t *layer, moe_buffer_t buffer)
{
    const moe_plan_t *plan = &layer->plan;
    const moe_hop_t *last = moe_layer_last_hop(layer);
    const bool two = plan->two_hops;
    switch (buffer) {
    case BUFFER_TOKENS:
    case BUFFER_COMBINED:
        return layer->batch->table.tokens;
    case BUFFER_SIDE:
        return layer->side_bytes > 0 ? side_entries(layer) : 0;
    case BUFFER_SEND:
        return moe_hop_send_rows(&plan->hop);
    case BUFFER_RECV:
        return moe_hop_recv_rows(&plan->hop);
    case BUFFER_FORWARD_SEND:
        return two ? moe_hop_send_rows(&plan->forward) : 0;
    case BUFFER_FORWARD_RECV:
        return two ? moe_hop_recv_rows(&plan->forward) : 0;
    case BUFFER_EXPERT_IN: /* rows that arrive in order of experts need no second place */
        return plan->expert_gather != NULL ? plan->expert_first[layer->local_experts] : 0;
    case BUFFER_EXPERT_OUT:
        return plan->expert_first[layer->local_experts];
    case BUFFER_RETURN:
        return plan->expert_return != NULL || plan->return_first != NULL
                   ? last->recv_first[last->peers]
                   : 0;
    case BUFFER_FORWARD_BACK:
        return two ? moe_hop_back_rows(&plan->forward) : 0;
    case BUFFER_FORWARD_SUM:
        return two ? plan->forward.before : 0;
    case BUFFER_RETURNED:
        return moe_hop_back_rows(&plan->hop);
    case BUFFERS:
        break;
    }
    return 0;
}

size_t moe_layer_buffer_row_bytes(const moe_layer_t *layer, moe_buffer_t buffer)
{
    const moe_layer_spec_t *spec = &layer->spec;
    switch (buffer) {
    case BUFFER_TOKENS:
        return moe_row_bytes(moe_memory_dtype(spec->dtype), spec->hidden);
    case BUFFER_COMBINED:
        return moe_row_bytes(moe_memory_dtype(spec->combine_dtype), spec->hidden);
    case BUFFER_SIDE:
        return layer->side_bytes;
    case BUFFER_SEND:
    case BUFFER_RECV:
    case BUFFER_FORWARD_SEND:
    case BUFFER_FORWARD_RECV:
        return moe_row_bytes(spec->dtype, spec->hidden) + layer->side_bytes;
    case BUFFER_EXPERT_IN:
        return moe_row_bytes(spec->dtype, spec->hidden);
    default:
        return moe_row_bytes(spec->combine_dtype, spec->hidden);
    }
}

void *moe_layer_buffer(const moe_layer_t *layer, moe_buffer_t buffer)
{
    const moe_plan_t *plan = &layer->plan;
    if (buffer == BUFFER_EXPERT_IN && plan->expert_gather == NULL) {
        buffer = plan->two_hops ? BUFFER_FORWARD_RECV : BUFFER_RECV;
    }
    if (buffer == BUFFER_RETURN && plan->expert_return == NULL && plan->return_first == NULL) {
        buffer = BUFFER_EXPERT_OUT;
    }
    char *first = layer->workspace->buffer[buffer];
    return buffer == BUFFER_SIDE ? first + layer->side_first : first;
}

moe_status_t moe_layer_fill_side(moe_layer_t *layer, moe_error_t *error)
{
    const moe_style_ops_t *style = layer->spec.style;
    const size_t entries = moe_layer_buffer_rows(layer, BUFFER_SIDE);
    const size_t per_token = style->block_rows != NULL ? layer->sizes.top_k : 1;
    moe_device_t *d = layer->spec.device;
    char *side = NULL;
    if (entries == 0) {
        return MOE_OK;
    }
    moe_status_t status = moe_alloc("side data", entries, layer->side_bytes, (void **)&side, error);
    if (status != MOE_OK) {
        return status;
    }
    for (size_t i = 0; i < entries; i++) {
        style->side(&layer->sizes, layer->batch, i / per_token, i % per_token,
                    side + i * layer->side_bytes);
    }
    d->ops->copy(d, moe_layer_buffer(layer, BUFFER_SIDE), side, entries * layer->side_bytes);
    free(side);
    return MOE_OK;
}

/* Largest size of a buffer over the layers; of side data, which are not made anew in every run, all
 * of them; SIZE_MAX past the range. */
static size_t buffer_bytes(moe_layer_t *const *layers, size_t count, moe_buffer_t buffer)
{
    size_t largest = 0, sum = 0;
    for (size_t i = 0; i < count; i++) {
        size_t bytes;
        if (__builtin_mul_overflow(moe_layer_buffer_rows(layers[i], buffer),
                                   moe_layer_buffer_row_bytes(layers[i], buffer), &bytes)) {
            return SIZE_MAX;
        }
        largest = bytes > largest ? bytes : largest;
        if (__builtin_add_overflow(sum, bytes, &sum)) {
            sum = SIZE_MAX;
        }
    }
    return buffer == BUFFER_SIDE ? sum : largest;
}

size_t moe_workspace_bytes(moe_layer_t *const *layers, size_t count)
{
    size_t total = 0;
    for (int b = 0; b < BUFFERS; b++) {
        if (__builtin_add_overflow(total, buffer_bytes(layers, count, (moe_buffer_t)b), &total)) {
            return SIZE_MAX;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (__builtin_add_overflow(total, moe_layer_list_bytes(layers[i]), &total)) {
            return SIZE_MAX;
        }
    }
    return total;
}

moe_status_t moe_workspace_create(moe_layer_t *const *layers, size_t count, moe_workspace_t **out,
                                  moe_error_t *error)
{
    static const char *const what[BUFFERS] = {"tokens",          "side data",
                                              "rows to send",    "rows received",
                                              "rows to forward", "rows forwarded",
                                              "rows by expert",  "rows of experts",
                                              "rows to return",  "rows on the way back",
                                              "sums to return",  "rows come back",
                                              "combined tokens"};
    moe_workspace_t *workspace = NULL;
    moe_status_t status =
        moe_alloc("a workspace", 1, sizeof *workspace, (void **)&workspace, error);
    if (status != MOE_OK) {
        return status;
    }
    workspace->device = layers[0]->spec.device;
    workspace->transport = layers[0]->spec.transport;
    for (int b = 0; b < BUFFERS && status == MOE_OK; b++) {
        workspace->bytes[b] = buffer_bytes(layers, count, (moe_buffer_t)b);
        status = moe_exchange_alloc_rows(workspace->transport, workspace->device, what[b],
                                         workspace->bytes[b], &workspace->buffer[b], error);
    }
    if (status != MOE_OK) {
        moe_workspace_destroy(workspace);
        return status;
    }
    for (size_t i = 0, side = 0; i < count; i++) {
        layers[i]->side_first = side;
        side += buffer_bytes(&layers[i], 1, BUFFER_SIDE);
    }
    const moe_layer_t *first = layers[0];
    const moe_table_t *table = &first->batch->table;
    workspace->device->ops->fill_tokens(workspace->device, workspace->buffer[BUFFER_TOKENS],
                                        moe_memory_dtype(first->spec.dtype), first->spec.data_seed,
                                        table->first_token, table->tokens, first->spec.hidden);
    *out = workspace;
    return MOE_OK;
}

void moe_workspace_destroy(moe_workspace_t *workspace)
{
    if (workspace == NULL) {
        return;
    }
    for (int b = 0; b < BUFFERS; b++) {
        if (workspace->buffer[b] != NULL) {
            moe_exchange_release_rows(workspace->transport, workspace->device,
                                      workspace->buffer[b]);
        }
    }
    free(workspace);
}

/* Table and kept flag of a selection. */
#define BYTES_PER_SELECTION (sizeof(int32_t) + sizeof(float) + 1)

/* Rows of one rank, as doubles: products of what users ask for need not fit a size_t. */
typedef struct row_counts {
    double tokens, kept;
    double sent;
    double received;
    double arranged; /* a second place, in order of experts */
} row_counts_t;

static row_counts_t count_rows(const moe_layer_spec_t *spec)
{
    const moe_workload_t *w = spec->workload;
    const moe_placement_t *placement = w->placement;
    const size_t rank = spec->transport->rank;
    const double local = (double)(placement->first[rank + 1] - placement->first[rank]);
    const double experts = (double)placement->experts, peers = (double)placement->ranks;
    row_counts_t rows = {.tokens = (double)w->tokens[rank]};
    moe_sizes_t sizes;
    moe_sizes_of(w, 0, &sizes);
    size_t even = (size_t)(rows.tokens * (double)sizes.top_k / experts);
    even = sizes.slots > 0 && even > sizes.slots ? sizes.slots : even;
    sizes.count_max = even;
    const double block = (double)moe_style_expert_rows(spec->style, &sizes, even);
    rows.kept = experts * (double)even;
    rows.sent = experts * block;
    rows.received = local * peers * block;
    rows.arranged = local > 1 && peers > 1 ? rows.received : 0; /* else they arrive in that order */
    return rows;
}

static size_t token_bytes(const moe_layer_spec_t *spec)
{
    const double tokens = (double)spec->workload->tokens[spec->transport->rank];
    const double bytes =
        tokens * (double)(moe_row_bytes(moe_memory_dtype(spec->dtype), spec->hidden) +
                          moe_row_bytes(moe_memory_dtype(spec->combine_dtype), spec->hidden));
    return bytes < (double)SIZE_MAX ? (size_t)bytes : SIZE_MAX;
}

size_t moe_layer_least_bytes(const moe_layer_spec_t *spec)
{
    /* Where tokens travel once to a place, rows depend on the routing: the tokens alone are sure. */
    if (spec->style->block_rows == NULL) {
        return token_bytes(spec);
    }
    const row_counts_t n = count_rows(spec);
    const double row = (double)moe_row_bytes(spec->dtype, spec->hidden);
    const double combine_row = (double)moe_row_bytes(spec->combine_dtype, spec->hidden);
    const double token = (double)moe_row_bytes(moe_memory_dtype(spec->dtype), spec->hidden);
    const double combined =
        (double)moe_row_bytes(moe_memory_dtype(spec->combine_dtype), spec->hidden);
    const double buffers =
        (n.sent + n.received + n.arranged) * (row + combine_row) + n.tokens * (token + combined);
    /* gather, reduce_first, reduce_row; expert_gather and expert_return; reduce_weight */
    const double lists = (double)sizeof(size_t) * (n.sent + n.tokens + n.kept + 2 * n.arranged) +
                         (double)sizeof(float) * n.kept +
                         n.tokens * (double)moe_router_spec(spec->workload->router)->top_k *
                             (double)BYTES_PER_SELECTION;
    const double bytes = buffers + lists;
    return bytes < (double)SIZE_MAX ? (size_t)bytes : SIZE_MAX;
}
