/* Rules over results: which records a rule is about, what is missing, and the verdict in all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../system/quote.h"
#include "judge.h"
#include "moe/system.h"
#include "moe/verdict.h"

typedef struct acceptor {
    const moe_rules_t *rules;
    const moe_results_t *results, *baseline;
    moe_acceptance_t *out;
} acceptor_t;

/* "FILE: rules[3] (NAME)" */
#define PLACE_TEXT 800

static const char *place_of(const acceptor_t *a, const moe_rule_t *rule, char text[PLACE_TEXT])
{
    snprintf(text, PLACE_TEXT, "%.500s: rules[%zu] (%.200s)", a->rules->file,
             (size_t)(rule - a->rules->rule), rule->name);
    return text;
}

/* ---- Selecting ---- */

static bool equals(const json_t *wanted, const json_t *value)
{
    if (json_is_number(wanted) && json_is_number(value))
        return json_number_value(wanted) == json_number_value(value);
    return json_equal(wanted, value);
}

static bool meets(const json_t *wanted, const json_t *value)
{
    bool met = !json_is_array(wanted) && equals(wanted, value);
    for (size_t i = 0; i < json_array_size(wanted); i++)
        met = met || equals(json_array_get(wanted, i), value);
    return met;
}

static bool selects(const moe_rule_t *rule, const moe_result_t *result)
{
    const char *field;
    json_t *wanted;
    json_object_foreach((json_t *)rule->select, field, wanted)
    {
        const json_t *value = moe_result_at(result, field);
        if (value == NULL || !meets(wanted, value))
            return false;
    }
    return true;
}

/* A typo selects nothing, and would be taken for something that was not measured. */
static moe_status_t check_fields(const acceptor_t *a, const moe_rule_t *rule, moe_error_t *error)
{
    const char *field;
    json_t *wanted;
    json_object_foreach((json_t *)rule->select, field, wanted)
    {
        bool known = moe_field_is_known(rule->kind, field);
        for (size_t i = 0; !known && i < a->results->count; i++)
            known = moe_result_at(&a->results->result[i], field) != NULL;
        if (known)
            continue;
        char place[PLACE_TEXT];
        const char *nearest = moe_field_nearest(rule->kind, field);
        const bool of_run = strncmp(field, "run.", 4) == 0;
        return moe_fail(error, MOE_BAD_INPUT,
                        "%s: select: '" MOE_QUOTED "' is no field of %s records%s%s%s",
                        place_of(a, rule, place), MOE_QUOTE_VALUE(field), rule->kind,
                        nearest != NULL ? "; nearest: " : "",
                        nearest != NULL && of_run ? "run." : "", nearest != NULL ? nearest : "");
    }
    return MOE_OK;
}

/* ---- Judgements ---- */

static moe_status_t add(acceptor_t *a, const moe_judgement_t *judgement, moe_error_t *error)
{
    moe_acceptance_t *out = a->out;
    const moe_status_t status = moe_grow("verdicts", out->count, sizeof *out->judgement,
                                         (void **)&out->judgement, &out->room, error);
    if (status == MOE_OK)
        out->judgement[out->count++] = *judgement;
    return status;
}

static moe_status_t add_missing(acceptor_t *a, const moe_rule_t *rule, const moe_result_t *result,
                                const char *why, moe_error_t *error)
{
    moe_judgement_t j = {.rule = rule, .result = result, .missing = true, .verdict = MOE_FAIL};
    snprintf(j.why, sizeof j.why, "%s", why);
    return add(a, &j, error);
}

static moe_status_t read_baseline(const acceptor_t *a, moe_judgement_t *j,
                                  const moe_metric_t *metric, bool *found, moe_error_t *error)
{
    const moe_group_t *own = moe_groups_of(&a->out->groups, j->result);
    const moe_group_t *like = own == NULL ? NULL : moe_groups_find(&a->out->baseline_groups, own);
    *found = false;
    return like == NULL ? MOE_OK
                        : moe_estimate_read(like->launch, like->launches, metric, found,
                                            &j->baseline, error);
}

static moe_status_t judge_result(acceptor_t *a, const moe_rule_t *rule, const moe_result_t *result,
                                 moe_error_t *error)
{
    const moe_metric_t *metric = moe_metric_find(rule->kind, rule->metric);
    moe_judgement_t j = {.rule = rule, .result = result};
    bool found, has_baseline = true;
    moe_status_t status = moe_estimate_read(&result, 1, metric, &found, &j.value, error);
    if (status != MOE_OK)
        return status;
    if (!found)
        return add_missing(a, rule, result, "the metric was not measured here", error);
    if (rule->condition.baseline)
        status = read_baseline(a, &j, metric, &has_baseline, error);
    if (has_baseline) {
        moe_judge(&j);
    } else {
        j.baseline = (moe_estimate_t){0};
        j.verdict = MOE_UNDECIDED;
        snprintf(j.why, sizeof j.why, "the baseline has no such measurement");
    }
    if (status == MOE_OK)
        status = add(a, &j, error);
    if (status != MOE_OK) {
        moe_estimate_destroy(&j.value);
        moe_estimate_destroy(&j.baseline);
    }
    return status;
}

/* ---- What is missing ---- */

static bool any_selected(const moe_rule_t *rule, const moe_results_t *results, const char *field,
                         const json_t *wanted)
{
    for (size_t i = 0; i < results->count; i++) {
        const moe_result_t *result = &results->result[i];
        if (selects(rule, result) &&
            (field == NULL || equals(wanted, moe_result_at(result, field))))
            return true;
    }
    return false;
}

/* A list in a selector is a list of what must be there: each value is to be met by a result. */
static moe_status_t check_lists(acceptor_t *a, const moe_rule_t *rule, moe_error_t *error)
{
    const char *field;
    json_t *list;
    moe_status_t status = MOE_OK;
    json_object_foreach((json_t *)rule->select, field, list)
    {
        for (size_t i = 0; status == MOE_OK && i < json_array_size(list); i++) {
            const json_t *wanted = json_array_get(list, i);
            if (any_selected(rule, a->results, field, wanted))
                continue;
            char why[MOE_WHY_TEXT];
            char *text = json_dumps(wanted, JSON_ENCODE_ANY);
            snprintf(why, sizeof why, "missing: no result with %.60s %.80s", field,
                     text != NULL ? text : "");
            free(text);
            status = add_missing(a, rule, NULL, why, error);
        }
    }
    return status;
}

/* What the healthy run measured is to be measured again. */
static moe_status_t check_baseline(acceptor_t *a, const moe_rule_t *rule, moe_error_t *error)
{
    const moe_groups_t *groups = &a->out->baseline_groups;
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && rule->condition.baseline && i < groups->count; i++) {
        const moe_group_t *group = &groups->group[i];
        if (!selects(rule, group->launch[0]) || moe_groups_find(&a->out->groups, group) != NULL)
            continue;
        char nearest[MOE_WHY_TEXT - 64], why[MOE_WHY_TEXT];
        moe_groups_why_not(&a->out->groups, group, nearest, sizeof nearest);
        snprintf(why, sizeof why, "missing: the baseline has it, the results do not; %s", nearest);
        status = add_missing(a, rule, group->launch[0], why, error);
    }
    return status;
}

/* ---- Rules ---- */

/* A metric that is in none of a rule's records was not asked for when they were measured: there is
 * nothing to judge, and saying FAIL would blame the machine. */
static moe_status_t check_metric(const acceptor_t *a, const moe_rule_t *rule, moe_error_t *error)
{
    char place[PLACE_TEXT];
    size_t matched = 0;
    for (size_t i = 0; i < a->results->count; i++) {
        const moe_result_t *result = &a->results->result[i];
        if (!selects(rule, result))
            continue;
        matched++;
        if (moe_result_at(result, rule->metric) != NULL)
            return MOE_OK;
    }
    return matched == 0
               ? MOE_OK
               : moe_fail(error, MOE_BAD_INPUT,
                          "%s: metric '%s' is in none of the %zu results that the rule selects: it "
                          "was not measured (errors need --check, efficiency needs "
                          "--link-bandwidth)",
                          place_of(a, rule, place), rule->metric, matched);
}

static moe_status_t apply(acceptor_t *a, const moe_rule_t *rule, bool *matches, moe_error_t *error)
{
    char place[PLACE_TEXT];
    moe_status_t status = check_fields(a, rule, error);
    if (status == MOE_OK)
        status = check_metric(a, rule, error);
    if (status != MOE_OK)
        return status;
    *matches = any_selected(rule, a->results, NULL, NULL);
    const bool in_baseline = rule->condition.baseline && a->baseline != NULL &&
                             any_selected(rule, a->baseline, NULL, NULL);
    if (!*matches && !rule->missing_fails && !in_baseline)
        return moe_fail(error, MOE_BAD_INPUT,
                        "%s: selects none of the %zu results: a rule that matches nothing proves "
                        "nothing",
                        place_of(a, rule, place), a->results->count);
    if (!*matches && !in_baseline)
        return add_missing(a, rule, NULL, "missing: no result is selected", error);
    for (size_t i = 0; status == MOE_OK && i < a->results->count; i++) {
        if (selects(rule, &a->results->result[i]))
            status = judge_result(a, rule, &a->results->result[i], error);
    }
    if (status == MOE_OK && *matches)
        status = check_lists(a, rule, error);
    return status == MOE_OK ? check_baseline(a, rule, error) : status;
}

static moe_status_t check_use_of_baseline(const acceptor_t *a, moe_error_t *error)
{
    char place[PLACE_TEXT];
    bool used = false;
    for (size_t r = 0; r < a->rules->count; r++) {
        const moe_rule_t *rule = &a->rules->rule[r];
        used = used || rule->condition.baseline;
        if (rule->condition.baseline && a->baseline == NULL)
            return moe_fail(error, MOE_BAD_INPUT, "%s: needs --baseline: results of a healthy run",
                            place_of(a, rule, place));
    }
    if (a->baseline != NULL && !used)
        return moe_fail(error, MOE_BAD_INPUT, "--baseline: no rule of '%.700s' mentions it",
                        a->rules->file);
    return MOE_OK;
}

/* FAIL outweighs INCONCLUSIVE, which outweighs PASS. */
static moe_verdict_t worse(moe_verdict_t a, moe_verdict_t b)
{
    static const int weight[] = {[MOE_PASS] = 0, [MOE_UNDECIDED] = 1, [MOE_FAIL] = 2};
    return weight[a] >= weight[b] ? a : b;
}

static void sum_up(acceptor_t *a)
{
    moe_acceptance_t *out = a->out;
    for (size_t i = 0; i < out->count; i++) {
        const moe_judgement_t *j = &out->judgement[i];
        moe_verdict_t *of_rule = &out->of_rule[j->rule - a->rules->rule];
        *of_rule = worse(*of_rule, j->verdict);
        if (j->rule->warning)
            continue;
        out->verdicts[j->verdict]++;
        out->verdict = worse(out->verdict, j->verdict);
    }
}

static moe_status_t apply_all(acceptor_t *a, moe_error_t *error)
{
    bool matched = false;
    moe_status_t status = MOE_OK;
    for (size_t r = 0; status == MOE_OK && r < a->rules->count; r++) {
        bool matches = false;
        status = apply(a, &a->rules->rule[r], &matches, error);
        matched = matched || matches;
    }
    if (status == MOE_OK && !matched)
        return moe_fail(
            error, MOE_BAD_INPUT,
            "no rule of '%.500s' selects any of the %zu results: they are of other runs",
            a->rules->file, a->results->count);
    return status;
}

moe_status_t moe_accept(const moe_rules_t *rules, const moe_results_t *results,
                        const moe_results_t *baseline, moe_acceptance_t *out, moe_error_t *error)
{
    moe_acceptance_t acceptance = {0};
    acceptor_t a = {.rules = rules, .results = results, .baseline = baseline, .out = &acceptance};
    moe_status_t status = moe_alloc("verdicts", rules->count, sizeof *acceptance.of_rule,
                                    (void **)&acceptance.of_rule, error);
    if (status == MOE_OK)
        status = check_use_of_baseline(&a, error);
    if (status == MOE_OK && baseline != NULL)
        status = moe_groups_create(baseline, &acceptance.baseline_groups, error);
    if (status == MOE_OK && baseline != NULL)
        status = moe_groups_create(results, &acceptance.groups, error);
    if (status == MOE_OK)
        status = apply_all(&a, error);
    if (status != MOE_OK) {
        moe_acceptance_destroy(&acceptance);
        return status;
    }
    sum_up(&a);
    *out = acceptance;
    return MOE_OK;
}

void moe_acceptance_destroy(moe_acceptance_t *acceptance)
{
    for (size_t i = 0; i < acceptance->count; i++) {
        moe_estimate_destroy(&acceptance->judgement[i].value);
        moe_estimate_destroy(&acceptance->judgement[i].baseline);
    }
    free(acceptance->judgement);
    free(acceptance->of_rule);
    moe_groups_destroy(&acceptance->groups);
    moe_groups_destroy(&acceptance->baseline_groups);
    *acceptance = (moe_acceptance_t){0};
}
