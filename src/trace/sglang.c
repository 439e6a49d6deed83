/* JSON of SGLang's expert distribution recorder and its --init-expert-location
 * (python/sglang/srt/eplb/expert_location.py): {"logical_count": [[[..]]]} by step, layer and expert, or without
 * steps; or {"physical_to_logical_map": [[..]]}, the expert in each slot by layer. */
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "moe/system.h"
#include "pull.h"

#define COUNT "logical_count"
#define MAP   "physical_to_logical_map"

static bool detect(const char *head, size_t size, unsigned wanted)
{
    (void)wanted;
    return moe_head_letter(head, size) == '{' && (moe_head_holds(head, size, "\"" COUNT "\"") ||
                                                  moe_head_holds(head, size, "\"" MAP "\""));
}

static moe_status_t read_counts(moe_input_t *input, moe_trace_t *out)
{
    moe_pull_table_t table;
    moe_status_t status = moe_pull_table(input, COUNT, 3, &table);
    if (status != MOE_OK)
        return status;
    if (table.levels < 2) {
        free(table.value);
        return moe_input_refuse(input, COUNT ": arrays by layer and expert must come, or by step, "
                                             "layer and expert");
    }
    const size_t steps = table.levels == 3 ? table.length[0] : 1;
    out->has_steps = table.levels == 3;
    out->experts_known = true;
    return moe_take_counts(input, table.value, steps, table.length[table.levels - 2],
                           table.length[table.levels - 1], out);
}

static moe_status_t take_map(moe_input_t *input, const moe_pull_table_t *table, moe_trace_t *out)
{
    void *map = NULL;
    if (table->levels != 2 || table->length[0] > MOE_TRACE_MAX_LAYERS)
        return moe_input_refuse(input,
                                MAP ": arrays by layer and slot must come, of at most %d layers",
                                MOE_TRACE_MAX_LAYERS);
    const moe_status_t status =
        moe_alloc("a map of experts", table->count, sizeof(uint16_t), &map, input->error);
    if (status != MOE_OK)
        return input->status = status;
    out->kind = MOE_TRACE_MAPS;
    out->map = map;
    out->layers = table->length[0];
    out->slots = table->length[1];
    for (size_t i = 0; i < table->count; i++) {
        const double value = table->value[i];
        if (!(value < MOE_TRACE_MAX_EXPERTS) || value != (double)(uint16_t)value)
            return moe_input_refuse(input,
                                    MAP ": %g in slot %zu of layer %zu is no number of an expert",
                                    value, i % out->slots, i / out->slots);
        out->map[i] = (uint16_t)value;
        out->experts = out->map[i] >= out->experts ? (size_t)out->map[i] + 1 : out->experts;
    }
    return MOE_OK;
}

static moe_status_t read_map(moe_input_t *input, moe_trace_t *out)
{
    moe_pull_table_t table;
    moe_status_t status = moe_pull_table(input, MAP, 2, &table);
    if (status != MOE_OK)
        return status;
    status = take_map(input, &table, out);
    free(table.value);
    return status;
}

static moe_status_t read_trace(moe_input_t *input, unsigned wanted, moe_trace_t *out)
{
    char key[MOE_PULL_KEY];
    bool more = true, found = false;
    moe_status_t status = moe_pull_open(input, '{', "the recorder's object");
    for (size_t member = 0; status == MOE_OK; member++) {
        status = moe_pull_next(input, member, '}', &more);
        if (status != MOE_OK || !more)
            break;
        status = moe_pull_key(input, key);
        if (status != MOE_OK)
            break;
        const bool count = strcmp(key, COUNT) == 0, map = strcmp(key, MAP) == 0;
        /* The first that can be used; of both in one file they are two views of one run. */
        const unsigned kind = count ? MOE_TRACE_COUNTS : MOE_TRACE_MAPS;
        if (!(count || map) || found || (kind & wanted) == 0) {
            status = moe_pull_skip(input);
            continue;
        }
        found = true;
        status = count ? read_counts(input, out) : read_map(input, out);
    }
    if (status == MOE_OK && !found)
        return moe_input_refuse(input, "the object has %s",
                                wanted == MOE_TRACE_ANY ? "no \"" COUNT "\" and no \"" MAP "\""
                                                        : "no \"" COUNT "\"");
    return status == MOE_OK ? moe_pull_end(input) : status;
}

const moe_trace_format_t moe_trace_sglang = {
    .name = "sglang",
    .summary = "logical_count (counts by step, layer) or physical_to_logical_map of SGLang, JSON",
    .kinds = MOE_TRACE_COUNTS | MOE_TRACE_MAPS,
    .detect = detect,
    .read = read_trace,
};
