/* Tables of counts, whatever wrote them, into a trace. */
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "moe/system.h"

/* used[layers]: some expert was chosen in some step. Returns how many are. */
static size_t find_used(const double *value, size_t steps, size_t layers, size_t experts,
                        uint8_t *used)
{
    size_t count = 0;
    for (size_t i = 0; i < steps * layers; i++) {
        for (size_t e = 0; e < experts; e++)
            used[i % layers] |= value[i * experts + e] > 0;
    }
    for (size_t layer = 0; layer < layers; layer++)
        count += used[layer];
    return count;
}

static void keep_used(double *value, size_t steps, size_t layers, size_t experts,
                      const uint8_t *used)
{
    size_t to = 0;
    for (size_t i = 0; i < steps * layers; i++) {
        if (!used[i % layers])
            continue;
        if (to != i)
            memcpy(value + to * experts, value + i * experts, experts * sizeof *value);
        to++;
    }
}

moe_status_t moe_take_counts(moe_input_t *input, double *value, size_t steps, size_t layers,
                             size_t experts, moe_trace_t *out)
{
    out->count = value;
    if (experts > MOE_TRACE_MAX_EXPERTS || layers > MOE_TRACE_MAX_LAYERS)
        return moe_input_refuse(input, "%zu layers of %zu experts: at most %d and %d", layers,
                                experts, MOE_TRACE_MAX_LAYERS, MOE_TRACE_MAX_EXPERTS);
    void *used = NULL;
    const moe_status_t status = moe_alloc("layers", layers, 1, &used, input->error);
    if (status != MOE_OK)
        return input->status = status;
    const size_t left = find_used(value, steps, layers, experts, used);
    if (left < layers)
        keep_used(value, steps, layers, experts, used);
    free(used);
    out->kind = MOE_TRACE_COUNTS;
    out->steps = steps;
    out->layers = left;
    out->experts = experts;
    out->empty_layers = layers - left;
    return left > 0 ? MOE_OK : moe_input_refuse(input, "all counts are 0");
}
