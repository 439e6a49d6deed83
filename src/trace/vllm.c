/* Routed experts as vLLM returns them (--enable-return-routed-experts, vllm-project/vllm #28284), saved by
 * numpy.save(): whole numbers [tokens][MoE layers][top_k], or [tokens][top_k] of one layer. */
#include <stdlib.h>

#include "moe/system.h"
#include "npy.h"
#include "rows.h"

/* Loads are kept in wider types than numbers of experts are: where both would do, only narrow ones are taken
 * for choices. */
#define NARROW 2

static bool detect(const char *head, size_t size, unsigned wanted)
{
    moe_npy_t npy;
    return moe_npy_peek(head, size, &npy) && npy.kind != 'f' &&
           (npy.bytes <= NARROW || (wanted & MOE_TRACE_COUNTS) == 0) &&
           (npy.levels == 2 || npy.levels == 3);
}

static moe_status_t check(moe_input_t *input, const moe_npy_t *npy)
{
    if (npy->kind == 'f' || npy->levels < 2 || npy->levels > 3)
        return moe_input_refuse_byte(input, 0,
                                     "choices are whole numbers [tokens][layers][top_k] or "
                                     "[tokens][top_k], and this array has %zu dimensions of type "
                                     "%c%zu",
                                     npy->levels, npy->kind, npy->bytes);
    const size_t layers = npy->levels == 3 ? npy->length[1] : 1;
    const size_t top_k = npy->length[npy->levels - 1];
    if (npy->count == 0 || layers > MOE_TRACE_MAX_LAYERS || top_k > MOE_TRACE_MAX_TOP_K)
        return moe_input_refuse_byte(input, 0,
                                     "%zu tokens, %zu layers, %zu experts a token: at least 1 of "
                                     "each, at most %d layers and %d experts",
                                     npy->length[0], layers, top_k, MOE_TRACE_MAX_LAYERS,
                                     MOE_TRACE_MAX_TOP_K);
    return MOE_OK;
}

static moe_status_t make(moe_input_t *input, const moe_npy_t *npy, moe_trace_t *out)
{
    void *expert = NULL, *first = NULL;
    out->layers = npy->levels == 3 ? npy->length[1] : 1;
    out->top_k = npy->length[npy->levels - 1];
    out->tokens = npy->count / out->top_k;
    if (npy->count * sizeof(uint16_t) > moe_memory_available())
        return moe_input_refuse_byte(input, 0, "%zu choices do not fit memory", npy->count);
    moe_status_t status =
        moe_alloc("choices of a trace", npy->count, sizeof(uint16_t), &expert, input->error);
    if (status == MOE_OK)
        status =
            moe_alloc("cells of a trace", out->layers + 1, sizeof(size_t), &first, input->error);
    out->kind = MOE_TRACE_CHOICES;
    out->expert = expert;
    out->first = first;
    for (size_t layer = 0; status == MOE_OK && layer < out->layers; layer++)
        out->first[layer + 1] = out->first[layer] + npy->length[0];
    return status;
}

/* One token of one layer. */
static moe_status_t take_row(moe_input_t *input, const moe_npy_t *npy, size_t element,
                             const int64_t *row, uint16_t *to, moe_trace_t *out)
{
    uint16_t twice = 0;
    for (size_t k = 0; k < out->top_k; k++) {
        if (row[k] < -1 || row[k] >= MOE_TRACE_MAX_EXPERTS)
            return moe_input_refuse_byte(input, npy->data + (element + k) * npy->bytes,
                                         "expert %lld is not between 0 and %d (or -1: none)",
                                         (long long)row[k], MOE_TRACE_MAX_EXPERTS - 1);
        to[k] = row[k] < 0 ? MOE_TRACE_NO_EXPERT : (uint16_t)row[k];
        if (row[k] >= (int64_t)out->experts)
            out->experts = (size_t)row[k] + 1;
    }
    return moe_row_sound(to, out->top_k, &twice)
               ? MOE_OK
               : moe_input_refuse_byte(input, npy->data + element * npy->bytes,
                                       "a token chooses expert %u twice", twice);
}

static moe_status_t read_trace(moe_input_t *input, unsigned wanted, moe_trace_t *out)
{
    moe_npy_t npy;
    int64_t row[MOE_TRACE_MAX_TOP_K];
    (void)wanted;
    moe_status_t status = moe_npy_open(input, &npy);
    if (status == MOE_OK)
        status = check(input, &npy);
    if (status == MOE_OK)
        status = make(input, &npy, out);
    for (size_t element = 0; status == MOE_OK && element < npy.count; element += out->top_k) {
        const size_t at = element / out->top_k, token = at / out->layers, layer = at % out->layers;
        status = moe_npy_whole(input, &npy, out->top_k, row);
        if (status == MOE_OK)
            status = take_row(input, &npy, element, row,
                              out->expert + (out->first[layer] + token) * out->top_k, out);
    }
    if (status == MOE_OK && out->experts == 0)
        return moe_input_refuse_byte(input, npy.data, "no token chooses any expert");
    return status == MOE_OK ? moe_input_end(input) : status;
}

const moe_trace_format_t moe_trace_vllm = {
    .name = "vllm",
    .summary = "routed experts of vLLM, NPY [tokens][layers][top_k]: choices",
    .kinds = MOE_TRACE_CHOICES,
    .detect = detect,
    .read = read_trace,
};
