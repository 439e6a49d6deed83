/* Rules from a healthy run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"
#include "moe/verdict.h"

/* Phases in which ranks wait for each other, and the whole: packing is the business of one rank, and
 * what it costs is in the total. */
static const char *const judged_phases[] = {"metadata", "dispatch", "combine", "total",
                                            "alltoallv"};

#define NAME_TEXT      256
#define CONDITION_TEXT 64

static bool is_judged(const moe_result_t *result)
{
    const char *phase = moe_result_text(result, "phase");
    for (size_t i = 0; i < sizeof judged_phases / sizeof *judged_phases; i++) {
        if (strcmp(judged_phases[i], phase) == 0)
            return true;
    }
    return phase[0] == '\0'; /* iterations and pairs have none */
}

/* The fields that make the result what it is. Lists are left out, since a selector reads them as
 * alternatives; and so is a hash that is another phase's. */
static json_t *selector_of(const moe_result_t *result, const moe_group_t *group)
{
    json_t *select = json_object();
    for (size_t f = 0; f < moe_key_count(); f++) {
        const json_t *value = moe_result_at(result, moe_key_path(f));
        if (group->key[f][0] != '\0' && value != NULL && !json_is_array(value) &&
            !json_is_object(value))
            json_object_set_new(select, moe_key_path(f), json_deep_copy(value));
    }
    return select;
}

static void name_of(const moe_result_t *result, const char *what, size_t number, char *text)
{
    static const char *const paths[] = {"style", "algorithm", "phase", "pass", "run.model.name"};
    size_t used = (size_t)snprintf(text, NAME_TEXT, "%zu: %s of", number, what);
    for (size_t i = 0; i < sizeof paths / sizeof *paths && used < NAME_TEXT; i++) {
        const char *part = moe_result_text(result, paths[i]);
        if (part[0] != '\0')
            used += (size_t)snprintf(text + used, NAME_TEXT - used, " %.60s", part);
    }
    const json_t *size = moe_result_at(result, "bytes_per_pair");
    if (size != NULL && used < NAME_TEXT)
        used += (size_t)snprintf(text + used, NAME_TEXT - used, " %.0f B a pair",
                                 json_number_value(size));
    const json_t *from = moe_result_at(result, "from"), *to = moe_result_at(result, "to");
    if (from != NULL && to != NULL && used < NAME_TEXT)
        snprintf(text + used, NAME_TEXT - used, " a message from rank %.0f to rank %.0f",
                 json_number_value(from), json_number_value(to));
}

static void add_rule(json_t *rules, const moe_group_t *group, const char *metric,
                     const char *condition, bool converged)
{
    const moe_result_t *result = group->launch[0];
    char name[NAME_TEXT];
    name_of(result, metric, json_array_size(rules) + 1, name);
    json_t *rule =
        json_pack("{s:s, s:o, s:s, s:s, s:s}", "name", name, "select", selector_of(result, group),
                  "metric", metric, "condition", condition, "missing", "fail");
    /* Where even the healthy run was too noisy, waiting for a run that converges decides nothing: the
     * limit is above the whole interval of the healthy one, and the interval is judged by it. */
    if (!converged) {
        json_object_set_new(rule, "why", json_string("the healthy run had not converged either"));
        json_object_set_new(rule, "unconverged", json_string("judge"));
    }
    json_array_append_new(rules, rule);
}

typedef struct maker {
    json_t *rules;
    double margin;
    size_t times, left_out; /* results with a rule about their time, and without */
} maker_t;

static moe_status_t add_time_rule(maker_t *maker, const moe_group_t *group, moe_error_t *error)
{
    const char *kind = moe_result_text(group->launch[0], "record");
    const char *path = strcmp(kind, "iteration") == 0 ? "max_ms.iteration" : "median_us";
    const moe_metric_t *metric = moe_metric_find(kind, path);
    moe_estimate_t time;
    char condition[CONDITION_TEXT];
    bool found;
    if (metric == NULL || !is_judged(group->launch[0]))
        return MOE_OK;
    const moe_status_t status =
        moe_estimate_read(group->launch, group->launches, metric, &found, &time, error);
    if (status != MOE_OK)
        return status;
    if (time.has_interval) {
        snprintf(condition, sizeof condition, "<= %.9g", time.high * (1 + maker->margin));
        add_rule(maker->rules, group, path, condition, time.converged);
        maker->times++;
    } else {
        maker->left_out++;
    }
    moe_estimate_destroy(&time);
    return MOE_OK;
}

static void add_error_rule(json_t *rules, const moe_group_t *group)
{
    if (moe_result_at(group->launch[0], "errors") != NULL)
        add_rule(rules, group, "errors", "== 0", true);
}

moe_status_t moe_rules_make(const moe_results_t *results, double margin, json_t **out,
                            size_t *left_out, moe_error_t *error)
{
    moe_groups_t groups;
    moe_status_t status = moe_groups_create(results, &groups, error);
    if (status != MOE_OK)
        return status;
    maker_t maker = {.rules = json_array(), .margin = margin};
    for (size_t i = 0; status == MOE_OK && i < groups.count; i++) {
        status = add_time_rule(&maker, &groups.group[i], error);
        if (status == MOE_OK && is_judged(groups.group[i].launch[0]))
            add_error_rule(maker.rules, &groups.group[i]);
    }
    moe_groups_destroy(&groups);
    *left_out = maker.left_out;
    /* Rules about errors alone would let any slowness pass for health. */
    if (status == MOE_OK && maker.times == 0)
        status = moe_fail(error, MOE_BAD_INPUT,
                          "no rule can be made of these results: none of a dispatch, combine, "
                          "total, alltoallv, iteration or pair has an interval (6 repetitions)");
    if (status == MOE_OK)
        *out = json_pack("{s:i, s:s, s:O}", "schema", 1, "for",
                         "No slower than a healthy run, by its measured times and a margin.",
                         "rules", maker.rules);
    json_decref(maker.rules);
    return status;
}
