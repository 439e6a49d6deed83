/* The check of a layer: one repetition with known rows, held against choices that are made anew from
 * the specification for every source rank. It looks at no index list of the plan. */
#include "layer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "moe/system.h"

/* 0xFF in every byte: NaN in bf16, fp16, fp32 and E4M3, and no row of the oracle. */
#define POISON 0xFF

static void poison(const moe_layer_t *layer)
{
    moe_device_t *d = layer->spec.device;
    for (int b = BUFFER_SEND; b < BUFFERS; b++) {
        const moe_buffer_t buffer = (moe_buffer_t)b;
        d->ops->fill_bytes(d, moe_layer_buffer(layer, buffer), POISON,
                           moe_layer_buffer_rows(layer, buffer) *
                               moe_layer_buffer_row_bytes(layer, buffer));
    }
}

/* Side data of all rows that have arrived, in host memory; NULL where rows have none. */
static moe_status_t fetch_side(const moe_layer_t *layer, unsigned char **out, moe_error_t *error)
{
    const moe_buffer_t arrived = layer->plan.two_hops ? BUFFER_FORWARD_RECV : BUFFER_RECV;
    const size_t wide = moe_layer_buffer_row_bytes(layer, arrived), bytes = layer->side_bytes;
    const size_t rows = moe_layer_buffer_rows(layer, arrived);
    moe_device_t *d = layer->spec.device;
    *out = NULL;
    if (layer->spec.style->side == NULL) {
        return MOE_OK;
    }
    const moe_status_t status = moe_alloc("the check", rows, bytes, (void **)out, error);
    if (status == MOE_OK) {
        const char *from = moe_layer_buffer(layer, arrived);
        d->ops->copy_parts(d, *out, bytes, from + wide - bytes, wide, bytes, NULL, rows);
    }
    return status;
}

/* Side data that arrived with the row that went to this row by expert. Every byte counts as an element
 * behind the row's own. */
static void check_side(const moe_layer_t *layer, const moe_batch_t *batch, size_t selection,
                       size_t row, const unsigned char *side, moe_mismatch_t *found)
{
    const size_t top_k = layer->sizes.top_k;
    unsigned char expected[MOE_SIDE_BYTES_MAX];
    if (side == NULL) {
        return;
    }
    layer->spec.style->side(&layer->sizes, batch, selection / top_k, selection % top_k, expected);
    const unsigned char *got = side + layer->plan.expert_gather[row] * layer->side_bytes;
    for (size_t i = 0; i < layer->side_bytes; i++) {
        if (expected[i] != got[i] && found->count++ == 0) {
            *found = (moe_mismatch_t){.count = 1,
                                      .row = row,
                                      .column = layer->spec.hidden + i,
                                      .token = batch->table.first_token + selection / top_k,
                                      .expected = expected[i],
                                      .got = got[i]};
        }
    }
}

/* Other rows in every check: what an algorithm kept in buffers of its own from an earlier exchange is
 * wrong now. Collective in effect: all ranks check as often. */
static void new_data(moe_layer_t *layer)
{
    const moe_table_t *table = &layer->batch->table;
    moe_device_t *d = layer->spec.device;
    layer->spec.data_seed++;
    d->ops->fill_tokens(d, moe_layer_buffer(layer, BUFFER_TOKENS),
                        moe_memory_dtype(layer->spec.dtype), layer->spec.data_seed,
                        table->first_token, table->tokens, layer->spec.hidden);
}

/* Marks where the tokens of one source rank must stand among the rows by expert. cursor[l]: first
 * row of the source's block for local expert l; moved to the next source's. Nothing is written past
 * the rows that the plan gives an expert: expect_rows() sees from the cursors that it is wrong. */
static void expect_from(const moe_layer_t *layer, const moe_batch_t *batch, size_t *cursor,
                        size_t *within, uint64_t *expected, const unsigned char *side,
                        moe_mismatch_t *found)
{
    const moe_placement_t *placement = layer->spec.workload->placement;
    const size_t top_k = batch->table.top_k;
    for (size_t l = 0; l < layer->local_experts; l++) {
        within[l] = 0;
    }
    for (size_t i = 0; i < batch->table.tokens * top_k; i++) {
        const int32_t e = batch->table.expert[i];
        if (!batch->kept[i] || (size_t)placement->rank_of[e] != layer->plan.rank) {
            continue;
        }
        const size_t l = (size_t)placement->local_of[e];
        const size_t row = cursor[l] + within[l]++;
        if (row < layer->plan.expert_first[l + 1]) {
            expected[row] = batch->table.first_token + i / top_k;
            check_side(layer, batch, i, row, side, found);
        }
    }
    for (size_t l = 0; l < layer->local_experts; l++) {
        const int32_t e = placement->expert_at[placement->first[layer->plan.rank] + l];
        cursor[l] += moe_style_expert_rows(layer->spec.style, &layer->sizes, batch->counts[e]);
    }
}

/* The token that every row by expert must hold; MOE_TOKEN_PADDING where none. */
static moe_status_t expect_rows(const moe_layer_t *layer, uint64_t *expected, moe_mismatch_t *found,
                                moe_error_t *error)
{
    const size_t experts = layer->local_experts, peers = layer->spec.workload->placement->ranks;
    const size_t *first = layer->plan.expert_first;
    size_t *cursor = NULL;
    unsigned char *side = NULL;
    moe_status_t status =
        moe_alloc("the check", 2 * experts, sizeof *cursor, (void **)&cursor, error);
    if (status == MOE_OK) {
        status = fetch_side(layer, &side, error);
    }
    if (status != MOE_OK) {
        free(cursor);
        return status;
    }
    for (size_t r = 0; r < first[experts]; r++) {
        expected[r] = MOE_TOKEN_PADDING;
    }
    for (size_t l = 0; l < experts; l++) {
        cursor[l] = first[l];
    }
    for (size_t p = 0; p < peers && status == MOE_OK; p++) {
        moe_batch_t *batch = NULL;
        status = moe_batch_create(layer->spec.workload, p, &batch, error);
        if (status == MOE_OK) {
            expect_from(layer, batch, cursor, cursor + experts, expected, side, found);
            moe_batch_destroy(batch);
        }
    }
    for (size_t l = 0; l < experts && status == MOE_OK; l++) {
        if (cursor[l] != first[l + 1]) {
            status = moe_fail(error, MOE_WRONG_DATA,
                              "rank %zu: local expert %zu expects rows up to %zu, the plan has %zu",
                              layer->plan.rank, l, cursor[l], first[l + 1]);
        }
    }
    free(side);
    free(cursor);
    return status;
}

static size_t stride_of(moe_check_t how)
{
    return how == MOE_CHECK_FULL ? 1 : MOE_CHECK_STRIDE;
}

static moe_status_t check_dispatch(moe_layer_t *layer, moe_check_t how, moe_mismatch_t *found,
                                   moe_error_t *error)
{
    moe_device_t *d = layer->spec.device;
    const size_t rows = layer->plan.expert_first[layer->local_experts];
    uint64_t *expected = NULL;
    moe_status_t status = moe_alloc("the check", rows, sizeof *expected, (void **)&expected, error);
    if (status != MOE_OK) {
        return status;
    }
    moe_mismatch_t side = {0};
    status = expect_rows(layer, expected, &side, error);
    if (status == MOE_OK) {
        d->ops->check_rows(d, moe_layer_buffer(layer, BUFFER_EXPERT_IN), layer->spec.dtype,
                           layer->spec.data_seed, expected, rows, stride_of(how),
                           layer->spec.hidden, 0, found);
        status = d->ops->finish(d, error);
    }
    /* Where a row is wrong, so is what lies behind it: the row tells more. */
    if (found->count == 0) {
        *found = side;
    } else {
        found->count += side.count;
    }
    free(expected);
    return status;
}

static void apply_experts(const moe_layer_t *layer)
{
    const moe_placement_t *placement = layer->spec.workload->placement;
    moe_device_t *d = layer->spec.device;
    for (size_t l = 0; l < layer->local_experts; l++) {
        const int32_t e = placement->expert_at[placement->first[layer->plan.rank] + l];
        size_t rows;
        const void *in;
        void *out;
        moe_layer_expert_rows(layer, l, &rows, &in, &out);
        d->ops->apply_expert(d, out, layer->spec.combine_dtype, in, layer->spec.dtype, (size_t)e,
                             rows, layer->spec.hidden);
    }
}

/* Which partial sum each selection belongs to, where sums are rounded on the way: the rank of its
 * expert, and the node of that. */
static moe_status_t list_sums(const moe_layer_t *layer, moe_partial_sums_t *out, moe_error_t *error)
{
    const moe_table_t *table = &layer->batch->table;
    const size_t count = table->tokens * table->top_k, g = moe_sizes_node_ranks(&layer->sizes);
    int32_t *inner = NULL, *outer = NULL;
    moe_status_t status = moe_alloc("the check", count, sizeof *inner, (void **)&inner, error);
    if (status == MOE_OK && layer->spec.style->sum_at == MOE_SUM_AT_FORWARDERS) {
        status = moe_alloc("the check", count, sizeof *outer, (void **)&outer, error);
    }
    if (status != MOE_OK) {
        free(inner);
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        const int32_t e = table->expert[i];
        inner[i] = e >= 0 ? layer->sizes.placement->rank_of[e] : -1;
        if (outer != NULL) {
            outer[i] = inner[i] >= 0 ? (int32_t)((size_t)inner[i] / g) : -1;
        }
    }
    *out = (moe_partial_sums_t){.inner = inner, .outer = outer, .dtype = layer->spec.combine_dtype};
    return MOE_OK;
}

static moe_status_t check_combine(const moe_layer_t *layer, moe_check_t how, moe_mismatch_t *found,
                                  moe_error_t *error)
{
    moe_partial_sums_t sums = {0};
    const bool partial = layer->spec.style->sum_at != MOE_SUM_AT_SOURCE;
    moe_status_t status = partial ? list_sums(layer, &sums, error) : MOE_OK;
    if (status != MOE_OK) {
        return status;
    }
    moe_device_t *d = layer->spec.device;
    const moe_table_t *table = &layer->batch->table;
    d->ops->check_combined(d, moe_layer_buffer(layer, BUFFER_COMBINED),
                           moe_memory_dtype(layer->spec.combine_dtype), layer->spec.data_seed,
                           table->first_token, table->expert, table->weight, layer->batch->kept,
                           partial ? &sums : NULL, table->tokens, table->top_k, stride_of(how),
                           layer->spec.hidden, found);
    free((void *)sums.inner);
    free((void *)sums.outer);
    return d->ops->finish(d, error);
}

static moe_status_t run_to_experts(moe_layer_t *layer, moe_error_t *error)
{
    moe_status_t status = moe_layer_metadata(layer, error);
    if (status == MOE_OK) {
        status = moe_layer_schedule(layer, error);
    }
    if (status == MOE_OK) {
        status = moe_layer_permute(layer, error);
    }
    if (status == MOE_OK) {
        status = moe_layer_dispatch(layer, error);
    }
    return status == MOE_OK ? moe_layer_arrange(layer, error) : status;
}

static moe_status_t run_from_experts(moe_layer_t *layer, moe_error_t *error)
{
    moe_status_t status = moe_layer_restore(layer, error);
    if (status == MOE_OK) {
        status = moe_layer_combine(layer, error);
    }
    return status == MOE_OK ? moe_layer_unpermute(layer, error) : status;
}

/* A wrong row makes wrong sums wherever its tokens come from: what was found after dispatch, on
 * whichever rank, is nearer to the cause than what was found after combine. */
static bool tells_more(const moe_check_result_t *a, const moe_check_result_t *b)
{
    return a->errors > 0 && (b->errors == 0 || (b->in_combine && !a->in_combine));
}

/* All ranks get the errors of all, and the first of them. */
static moe_status_t agree(moe_transport_t *t, const moe_check_result_t *mine,
                          moe_check_result_t *out, moe_error_t *error)
{
    moe_check_result_t *all = NULL;
    moe_status_t status = moe_alloc("the check", t->size, sizeof *all, (void **)&all, error);
    if (status != MOE_OK) {
        return status;
    }
    status = t->ops->allgather(t, mine, sizeof *mine, all, error);
    if (status == MOE_OK) {
        size_t first = 0, errors = 0;
        for (size_t r = 0; r < t->size; r++) {
            errors += all[r].errors;
            first = tells_more(&all[r], &all[first]) ? r : first;
        }
        *out = errors > 0 ? all[first] : (moe_check_result_t){0};
        out->errors = errors;
    }
    free(all);
    return status;
}

moe_status_t moe_layer_check(moe_layer_t *layer, moe_check_t how, moe_check_result_t *out,
                             moe_error_t *error)
{
    moe_transport_t *t = layer->spec.transport;
    moe_check_result_t mine = {.rank = t->rank};
    if (how == MOE_CHECK_OFF) {
        *out = (moe_check_result_t){0};
        return MOE_OK;
    }
    new_data(layer);
    poison(layer);
    moe_status_t status = run_to_experts(layer, error);
    if (status == MOE_OK) {
        status = check_dispatch(layer, how, &mine.at, error);
    }
    const size_t after_dispatch = mine.at.count;
    if (status == MOE_OK) {
        apply_experts(layer);
        status = run_from_experts(layer, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    status = check_combine(layer, how, &mine.at, error);
    if (status != MOE_OK) {
        return status;
    }
    mine.in_combine = after_dispatch == 0;
    mine.errors = mine.at.count;
    return agree(t, &mine, out, error);
}

void moe_check_describe(const moe_check_result_t *result, char *text, size_t size)
{
    char token[32];
    if (result->at.token == MOE_TOKEN_PADDING) {
        snprintf(token, sizeof token, "padding");
    } else {
        snprintf(token, sizeof token, "token %" PRIu64, result->at.token);
    }
    snprintf(text, size,
             "rank %zu: after %s: row %zu, %s, column %zu: expected %g, got %g "
             "(%zu wrong elements in all)",
             result->rank, result->in_combine ? "combine" : "dispatch", result->at.row, token,
             result->at.column, result->at.expected, result->at.got, result->errors);
}
