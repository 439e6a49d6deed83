/* Loads of experts, as vLLM's expert load balancer and others keep them, saved by numpy.save(): numbers
 * [..][layers][experts]; what stands before the layers are steps. */
#include <stdlib.h>

#include "moe/system.h"
#include "npy.h"

static bool detect(const char *head, size_t size, unsigned wanted)
{
    (void)wanted;
    moe_npy_t npy;
    return moe_npy_peek(head, size, &npy) && npy.levels >= 2;
}

static moe_status_t make(moe_input_t *input, const moe_npy_t *npy, double **value)
{
    void *memory = NULL;
    if (npy->levels < 2 || npy->count == 0)
        return moe_input_refuse_byte(input, 0,
                                     "loads are numbers [..][layers][experts], and this array has "
                                     "%zu dimensions and %zu elements",
                                     npy->levels, npy->count);
    if (npy->count > moe_memory_available() / sizeof **value)
        return moe_input_refuse_byte(input, 0, "%zu loads do not fit memory", npy->count);
    const moe_status_t status =
        moe_alloc("loads of experts", npy->count, sizeof **value, &memory, input->error);
    *value = memory;
    return status;
}

static moe_status_t read_trace(moe_input_t *input, unsigned wanted, moe_trace_t *out)
{
    const double most = 1e290; /* sums stay finite */
    moe_npy_t npy;
    (void)wanted;
    moe_status_t status = moe_npy_open(input, &npy);
    if (status == MOE_OK)
        status = make(input, &npy, &out->count);
    for (size_t done = 0; status == MOE_OK && done < npy.count;) {
        const size_t left = npy.count - done, here = left < MOE_NPY_BLOCK ? left : MOE_NPY_BLOCK;
        double *value = out->count + done;
        status = moe_npy_real(input, &npy, here, value);
        for (size_t i = 0; status == MOE_OK && i < here; i++) {
            if (!(value[i] >= 0 && value[i] <= most))
                status =
                    moe_input_refuse_byte(input, npy.data + (done + i) * npy.bytes,
                                          "a load of %g is not between 0 and %g", value[i], most);
        }
        done += here;
    }
    if (status == MOE_OK)
        status = moe_input_end(input);
    if (status != MOE_OK)
        return status;
    const size_t layers = npy.length[npy.levels - 2], experts = npy.length[npy.levels - 1];
    out->experts_known = true;
    out->has_steps = npy.levels > 2;
    return moe_take_counts(input, out->count, npy.count / experts / layers, layers, experts, out);
}

const moe_trace_format_t moe_trace_vllm_load = {
    .name = "vllm-load",
    .summary = "loads of experts, NPY [..][layers][experts]: counts",
    .kinds = MOE_TRACE_COUNTS,
    .detect = detect,
    .read = read_trace,
};
