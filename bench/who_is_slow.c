#include "who_is_slow.h"

#include <stdlib.h>
#include <string.h>

#define NAMES 256

static bool names_somebody(const moe_result_t *finding)
{
    const char *kind = moe_result_text(finding, "kind");
    return strcmp(kind, "none") != 0 && strcmp(kind, "unknown") != 0;
}

/* "3 on host3", "4, 5 on host2": the ranks in order, and each host once where it follows itself. */
static void name_ranks(const moe_result_t *finding, char *text, size_t size)
{
    const json_t *ranks = moe_result_at(finding, "ranks"), *hosts = moe_result_at(finding, "hosts");
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < json_array_size(ranks) && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%.0f", i > 0 ? ", " : "",
                                 json_number_value(json_array_get(ranks, i)));
    }
    const char *last = NULL;
    for (size_t i = 0; i < json_array_size(hosts) && used < size; i++) {
        const char *host = json_string_value(json_array_get(hosts, i));
        if (last == NULL || strcmp(host, last) != 0) {
            used += (size_t)snprintf(text + used, size - used, "%s%.60s",
                                     last == NULL ? " on " : ", ", host);
        }
        last = host;
    }
}

static void tell(const outputs_t *outputs, const moe_result_t *finding)
{
    static const struct {
        const char *direction, *text;
    } directions[] = {
        {"sending", " to send"}, {"receiving", " to receive"}, {"both", " both ways"}};
    char ranks[NAMES];
    const char *direction = "", *phase = moe_result_text(finding, "phase");
    for (size_t i = 0; i < sizeof directions / sizeof *directions; i++) {
        if (strcmp(moe_result_text(finding, "direction"), directions[i].direction) == 0) {
            direction = directions[i].text;
        }
    }
    name_ranks(finding, ranks, sizeof ranks);
    outputs_line(outputs, "- slow %s%s: rank %s%s%s, %.2f times as long as the others (%s:%zu)",
                 moe_result_text(finding, "kind"), direction, ranks, phase[0] != '\0' ? " in " : "",
                 phase, json_number_value(moe_result_at(finding, "ratio")), finding->file,
                 finding->line);
}

static moe_status_t record(const outputs_t *outputs, const moe_result_t *finding,
                           moe_error_t *error)
{
    json_t *copy = json_deep_copy(finding->record);
    if (copy == NULL) {
        return moe_fail(error, MOE_FAILED, "a finding does not fit memory");
    }
    json_object_set_new(copy, "file", moe_json_text(finding->file));
    json_object_set_new(copy, "line", json_integer((json_int_t)finding->line));
    return moe_recorder_write(outputs->recorder, copy, error);
}

moe_status_t tell_who_is_slow(const outputs_t *outputs, const moe_results_t *results,
                              moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    size_t told = 0, judged = 0;
    if (results->findings == 0) {
        return MOE_OK;
    }
    outputs_line(outputs, "## Who is slow");
    for (size_t i = 0; status == MOE_OK && i < results->findings; i++) {
        if (names_somebody(&results->finding[i])) {
            tell(outputs, &results->finding[i]);
            told++;
        }
        judged += strcmp(moe_result_text(&results->finding[i], "kind"), "unknown") != 0;
        status = record(outputs, &results->finding[i], error);
    }
    if (told == 0) {
        outputs_line(outputs, judged > 0 ? "nothing stands out" : "too few ranks to say");
    }
    return status;
}
