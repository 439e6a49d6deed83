#include "accept_output.h"

#include <string.h>

void describe_result(const moe_result_t *result, char *text, size_t size)
{
    static const char *const paths[] = {"style", "algorithm", "phase", "pass"};
    size_t used = 0;
    if (result == NULL) {
        snprintf(text, size, "nothing measured");
        return;
    }
    text[0] = '\0';
    for (size_t i = 0; i < sizeof paths / sizeof *paths && used < size; i++) {
        const char *part = moe_result_text(result, paths[i]);
        if (part[0] != '\0') {
            used += (size_t)snprintf(text + used, size - used, "%.40s ", part);
        }
    }
    static const struct {
        const char *path, *format;
    } numbers[] = {{"from", "rank %.0f "},
                   {"to", "to %.0f "},
                   {"layer", "layer %.0f "},
                   {"step", "step %.0f "},
                   {"bytes_per_pair", "%.0f B a pair "}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && used < size; i++) {
        const json_t *value = moe_result_at(result, numbers[i].path);
        if (value != NULL) {
            used += (size_t)snprintf(text + used, size - used, numbers[i].format,
                                     json_number_value(value));
        }
    }
    if (used < size) {
        const char *model = moe_result_text(result, "run.model.name");
        snprintf(text + used, size - used, "(%.40s%s%.0f ranks; %.60s:%zu)", model,
                 model[0] != '\0' ? ", " : "",
                 json_number_value(moe_result_at(result, "run.ranks")), result->file, result->line);
    }
}

/* The host of the rank that was last most often; NULL where the run does not tell. */
static const json_t *slowest_host(const moe_result_t *result)
{
    const json_t *rank = moe_result_at(result, "slowest_rank");
    return rank == NULL ? NULL
                        : json_array_get(moe_result_at(result, "run.hosts"),
                                         (size_t)json_number_value(rank));
}

/* ---- Records ---- */

static void add_estimate(json_t *record, const char *name, const moe_estimate_t *e)
{
    char field[32];
    if (e->launches == 0) {
        return;
    }
    set_number(record, name, e->value);
    if (e->has_interval) {
        snprintf(field, sizeof field, "%s_low", name);
        set_number(record, field, e->low);
        snprintf(field, sizeof field, "%s_high", name);
        set_number(record, field, e->high);
    }
}

static void add_ratio(json_t *record, const moe_ratio_t *ratio)
{
    if (ratio->method == MOE_RATIO_NONE) {
        return;
    }
    set_number(record, "ratio", ratio->ratio);
    set_number(record, "ratio_low", ratio->low);
    set_number(record, "ratio_high", ratio->high);
}

static json_t *judgement_record(const moe_judgement_t *j)
{
    json_t *record = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "record", "verdict", "rule",
                               j->rule->name, "severity", j->rule->warning ? "warning" : "error",
                               "verdict", moe_verdict_name(j->verdict), "metric", j->rule->metric,
                               "condition", j->rule->text);
    if (j->why[0] != '\0') {
        json_object_set_new(record, "why", moe_json_text(j->why));
    }
    add_estimate(record, "value", &j->value);
    add_estimate(record, "baseline", &j->baseline);
    add_ratio(record, &j->ratio);
    if (j->result != NULL) {
        json_object_set_new(record, "file", moe_json_text(j->result->file));
        json_object_set_new(record, "line", json_integer((json_int_t)j->result->line));
        add_identity(record, j->result);
        const json_t *rank = moe_result_at(j->result, "slowest_rank");
        const json_t *host = slowest_host(j->result);
        if (rank != NULL) {
            json_object_set_new(record, "slowest_rank", json_deep_copy(rank));
        }
        if (host != NULL) {
            json_object_set_new(record, "slowest_host", json_deep_copy(host));
        }
    }
    return record;
}

static moe_status_t record_all(const outputs_t *o, const moe_rules_t *rules,
                               const moe_acceptance_t *a, json_t *heading, moe_error_t *error)
{
    json_t *sum =
        json_pack("{s:o, s:s, s:I, s:I, s:I, s:I}", "rules", moe_json_text(rules->file), "verdict",
                  moe_verdict_name(a->verdict), "rule_count", (json_int_t)rules->count, "pass",
                  (json_int_t)a->verdicts[MOE_PASS], "fail", (json_int_t)a->verdicts[MOE_FAIL],
                  "inconclusive", (json_int_t)a->verdicts[MOE_UNDECIDED]);
    json_object_update(heading, sum);
    json_decref(sum);
    moe_status_t status = moe_recorder_write(o->recorder, heading, error);
    for (size_t i = 0; status == MOE_OK && i < a->count; i++) {
        status = moe_recorder_write(o->recorder, judgement_record(&a->judgement[i]), error);
    }
    return status;
}

/* ---- For people ---- */

static moe_status_t print_rules(const outputs_t *o, const moe_rules_t *rules,
                                const moe_acceptance_t *a, moe_error_t *error)
{
    static const char *const headings[] = {"verdict", "rule", "metric",      "condition",
                                           "pass",    "fail", "inconclusive"};
    grid_t grid;
    grid_start(&grid, sizeof headings / sizeof *headings, headings);
    for (size_t r = 0; r < rules->count; r++) {
        const moe_rule_t *rule = &rules->rule[r];
        size_t verdicts[3] = {0};
        for (size_t i = 0; i < a->count; i++) {
            verdicts[a->judgement[i].verdict] += a->judgement[i].rule == rule;
        }
        grid_add_row(&grid);
        grid_cell(&grid, 0, "%s%s", moe_verdict_name(a->of_rule[r]),
                  rule->warning ? " (warning)" : "");
        grid_cell(&grid, 1, "%s", rule->name);
        grid_cell(&grid, 2, "%s", rule->metric);
        grid_cell(&grid, 3, "%s", rule->text);
        grid_cell(&grid, 4, "%zu", verdicts[MOE_PASS]);
        grid_cell(&grid, 5, "%zu", verdicts[MOE_FAIL]);
        grid_cell(&grid, 6, "%zu", verdicts[MOE_UNDECIDED]);
    }
    return outputs_grid(o, "Rules", &grid, error);
}

static void put_host(grid_t *grid, size_t column, const moe_judgement_t *j)
{
    const json_t *host = j->result == NULL ? NULL : slowest_host(j->result);
    if (host != NULL && !j->missing) {
        grid_cell(grid, column, "%.0f (%s)",
                  json_number_value(moe_result_at(j->result, "slowest_rank")),
                  json_string_value(host));
    }
}

/* Everything that did not pass. */
static moe_status_t print_findings(const outputs_t *o, const moe_acceptance_t *a,
                                   moe_error_t *error)
{
    static const char *const headings[] = {"verdict",      "rule",      "of",
                                           "measured",     "condition", "to baseline [95 %]",
                                           "slowest rank", "why"};
    grid_t grid;
    char text[GRID_CELL];
    grid_start(&grid, sizeof headings / sizeof *headings, headings);
    for (size_t i = 0; i < a->count; i++) {
        const moe_judgement_t *j = &a->judgement[i];
        if (j->verdict == MOE_PASS) {
            continue;
        }
        grid_add_row(&grid);
        grid_cell(&grid, 0, "%s%s", moe_verdict_name(j->verdict),
                  j->rule->warning ? " (warning)" : "");
        grid_cell(&grid, 1, "%s", j->rule->name);
        describe_result(j->result, text, sizeof text);
        grid_cell(&grid, 2, "%s", text);
        grid_cell(&grid, 3, "%s", j->value.launches > 0 ? format_estimate(&j->value, text) : "n/a");
        grid_cell(&grid, 4, "%s", j->rule->text);
        grid_cell(&grid, 5, "%s", j->baseline.launches > 0 ? format_ratio(&j->ratio, text) : "");
        put_host(&grid, 6, j);
        grid_cell(&grid, 7, "%s", j->why);
    }
    if (grid.rows == 1) {
        grid_destroy(&grid);
        return MOE_OK;
    }
    return outputs_grid(o, "What did not pass", &grid, error);
}

moe_status_t write_acceptance(const outputs_t *outputs, const moe_rules_t *rules,
                              const moe_acceptance_t *acceptance, json_t *heading,
                              moe_error_t *error)
{
    moe_status_t status = record_all(outputs, rules, acceptance, heading, error);
    if (outputs->junit != NULL) {
        write_junit(outputs->junit, rules, acceptance);
    }
    if (status == MOE_OK) {
        status = print_rules(outputs, rules, acceptance, error);
    }
    if (status == MOE_OK) {
        status = print_findings(outputs, acceptance, error);
    }
    if (outputs->table != NULL) {
        fputc('\n', outputs->table);
    }
    outputs_line(outputs, "%s: %zu passed, %zu failed, %zu inconclusive, by %zu rules of %s",
                 moe_verdict_name(acceptance->verdict), acceptance->verdicts[MOE_PASS],
                 acceptance->verdicts[MOE_FAIL], acceptance->verdicts[MOE_UNDECIDED], rules->count,
                 rules->file);
    return status;
}
