/* Weights of experts as EPLB (deepseek-ai/EPLB) takes them, as JSON: [layers][experts], or {"weight": ..}. */
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "pull.h"

static bool detect(const char *head, size_t size, unsigned wanted)
{
    (void)wanted;
    const char letter = moe_head_letter(head, size);
    const char *bracket = memchr(head, '[', size);
    /* Rows in it: '[' by itself also begins a section of an .ini file. */
    const bool rows =
        letter == '[' && moe_head_letter(bracket + 1, size - (size_t)(bracket + 1 - head)) == '[';
    return rows || (letter == '{' && moe_head_holds(head, size, "\"weight\""));
}

static moe_status_t read_object(moe_input_t *input, moe_pull_table_t *table)
{
    char key[MOE_PULL_KEY];
    bool more = true;
    moe_status_t status = moe_pull_open(input, '{', "the weights");
    for (size_t member = 0; status == MOE_OK; member++) {
        status = moe_pull_next(input, member, '}', &more);
        if (status != MOE_OK || !more)
            break;
        status = moe_pull_key(input, key);
        if (status == MOE_OK && strcmp(key, "weight") == 0 && table->value == NULL)
            status = moe_pull_table(input, "weight", 2, table);
        else if (status == MOE_OK)
            status = moe_pull_skip(input);
    }
    if (status == MOE_OK && table->value == NULL)
        return moe_input_refuse(input, "the object has no \"weight\"");
    return status;
}

static moe_status_t read_trace(moe_input_t *input, unsigned wanted, moe_trace_t *out)
{
    moe_pull_table_t table = {0};
    (void)wanted;
    moe_status_t status = moe_pull_look(input) == '{' ? read_object(input, &table)
                                                      : moe_pull_table(input, "weight", 2, &table);
    if (status == MOE_OK)
        status = moe_pull_end(input);
    if (status == MOE_OK && table.levels != 2)
        status = moe_input_refuse(input, "weights are arrays by layer and expert");
    if (status != MOE_OK) {
        free(table.value);
        return status;
    }
    out->experts_known = true;
    return moe_take_counts(input, table.value, 1, table.length[0], table.length[1], out);
}

const moe_trace_format_t moe_trace_eplb = {
    .name = "eplb",
    .summary = "weights of experts [layers][experts] as EPLB takes them, JSON: counts",
    .kinds = MOE_TRACE_COUNTS,
    .detect = detect,
    .read = read_trace,
};
