/* Files of rules: what they may hold, and where one that is wrong is wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../system/quote.h"
#include "moe/system.h"
#include "moe/verdict.h"

#define RULES_SCHEMA 1
#define PLACE_TEXT   900
#define METRIC_TEXT  64

/* ---- Places and types ---- */

static moe_status_t refuse(const char *place, const char *field, const char *what,
                           moe_error_t *error)
{
    return moe_fail(error, MOE_BAD_INPUT, "%s%s%s: %s", place, field[0] != '\0' ? "." : "", field,
                    what);
}

static moe_status_t check_keys(const char *place, const json_t *object, const char *const *known,
                               size_t count, moe_error_t *error)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < count; i++)
            found = found || strcmp(known[i], key) == 0;
        if (found)
            continue;
        const char *nearest = moe_nearest(key, known, count);
        return moe_fail(error, MOE_BAD_INPUT, "%s: '" MOE_QUOTED "' is no key that is known%s%s",
                        place, MOE_QUOTE_VALUE(key), nearest != NULL ? "; nearest: " : "",
                        nearest != NULL ? nearest : "");
    }
    return MOE_OK;
}

/* NULL in *out where it is absent. */
static moe_status_t text_at(const char *place, const json_t *object, const char *field,
                            const char **out, moe_error_t *error)
{
    const json_t *value = json_object_get(object, field);
    *out = json_string_value(value);
    if (value != NULL && (*out == NULL || (*out)[0] == '\0'))
        return refuse(place, field, "must be text", error);
    return MOE_OK;
}

/* One of two words; *second tells which, the first being the default. */
static moe_status_t choice_at(const char *place, const json_t *object, const char *field,
                              const char *first, const char *second, bool *out, moe_error_t *error)
{
    const char *word;
    char what[128];
    const moe_status_t status = text_at(place, object, field, &word, error);
    if (status != MOE_OK || word == NULL || strcmp(word, first) == 0)
        return status;
    *out = strcmp(word, second) == 0;
    snprintf(what, sizeof what, "must be \"%s\" or \"%s\"", first, second);
    return *out ? MOE_OK : refuse(place, field, what, error);
}

/* ---- Selectors ---- */

static bool is_plain(const json_t *value)
{
    return json_is_string(value) || json_is_number(value) || json_is_boolean(value);
}

static moe_status_t check_selector_value(const char *place, const char *field, const json_t *value,
                                         moe_error_t *error)
{
    bool sound = is_plain(value) || json_array_size(value) > 0;
    for (size_t i = 0; i < json_array_size(value); i++)
        sound = sound && is_plain(json_array_get(value, i));
    return sound ? MOE_OK
                 : refuse(place, field, "must be text, a number, true or false, or a list of these",
                          error);
}

static moe_status_t check_selector(const char *place, moe_rule_t *rule, moe_error_t *error)
{
    static const char *const kinds[] = {"exchange", "iteration", "traffic", "pair"};
    const char *field;
    json_t *value;
    if (!json_is_object(rule->select))
        return refuse(place, "select", "missing: an object of fields and values is expected",
                      error);
    rule->kind = json_string_value(json_object_get(rule->select, "record"));
    for (size_t i = 0; rule->kind != NULL && i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i], rule->kind) == 0)
            break;
        if (i + 1 == sizeof kinds / sizeof *kinds)
            rule->kind = NULL;
    }
    if (rule->kind == NULL)
        return refuse(place, "select.record",
                      "must be \"exchange\", \"iteration\", \"traffic\" or \"pair\"", error);
    json_object_foreach((json_t *)rule->select, field, value)
    {
        char path[METRIC_TEXT + sizeof "select."];
        snprintf(path, sizeof path, "select.%.60s", field);
        const moe_status_t status = check_selector_value(place, path, value, error);
        if (status != MOE_OK)
            return status;
    }
    return MOE_OK;
}

/* ---- Conditions ---- */

static moe_status_t check_metric(const char *place, const moe_rule_t *rule, moe_error_t *error)
{
    char list[512];
    const moe_metric_t *metric = moe_metric_find(rule->kind, rule->metric);
    const bool equality = rule->condition.op == MOE_EQUAL || rule->condition.op == MOE_NOT_EQUAL;
    if (metric == NULL) {
        const char *nearest = moe_field_nearest(rule->kind, rule->metric);
        const bool shown = moe_field_is_known(rule->kind, rule->metric);
        moe_metric_list(rule->kind, list, sizeof list);
        return moe_fail(error, MOE_BAD_INPUT, "%s: metric '" MOE_QUOTED "' %s%s%s; %s has: %s",
                        place, MOE_QUOTE_VALUE(rule->metric),
                        shown ? "has no interval that it could be judged on" : "is no figure",
                        !shown && nearest != NULL ? "; nearest: " : "",
                        !shown && nearest != NULL ? nearest : "", rule->kind, list);
    }
    if (equality && metric->type != MOE_METRIC_COUNT)
        return moe_fail(error, MOE_BAD_INPUT,
                        "%s: %s is measured, and never equal to anything: write `within 5 %% of`",
                        place, rule->metric);
    return MOE_OK;
}

static moe_status_t read_condition(const char *place, const json_t *object, moe_rule_t *rule,
                                   moe_error_t *error)
{
    const char *named;
    char what[PLACE_TEXT], inside[METRIC_TEXT];
    moe_status_t status = text_at(place, object, "metric", &named, error);
    if (status == MOE_OK)
        status = text_at(place, object, "condition", &rule->text, error);
    if (status != MOE_OK)
        return status;
    if (rule->text == NULL)
        return refuse(place, "condition", "missing", error);
    snprintf(what, sizeof what, "%.880s.condition", place);
    status = moe_condition_parse(what, rule->text, inside, sizeof inside, &rule->condition, error);
    if (status != MOE_OK)
        return status;
    if (named == NULL && inside[0] == '\0')
        return refuse(place, "metric", "missing, and the condition names none", error);
    if (named != NULL && inside[0] != '\0' && strcmp(named, inside) != 0)
        return refuse(place, "metric", "is not the one that the condition names", error);
    rule->metric = strdup(named != NULL ? named : inside);
    if (rule->metric == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "%s: does not fit memory", place);
    return check_metric(place, rule, error);
}

/* ---- Rules ---- */

static moe_status_t name_rule(const char *place, const json_t *object, const moe_rules_t *rules,
                              moe_rule_t *rule, moe_error_t *error)
{
    const char *name;
    char made[256];
    const moe_status_t status = text_at(place, object, "name", &name, error);
    if (status != MOE_OK)
        return status;
    const bool in_text = strncmp(rule->text, rule->metric, strlen(rule->metric)) == 0;
    snprintf(made, sizeof made, "%s%s%s", in_text ? "" : rule->metric, in_text ? "" : " ",
             rule->text);
    rule->name = strdup(name != NULL ? name : made);
    if (rule->name == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "%s: does not fit memory", place);
    for (const moe_rule_t *other = rules->rule; other != rule; other++) {
        if (strcmp(other->name, rule->name) == 0)
            return moe_fail(error, MOE_BAD_INPUT,
                            "%s: a second rule named '" MOE_QUOTED "': give it a name of its own",
                            place, MOE_QUOTE_VALUE(rule->name));
    }
    return MOE_OK;
}

static moe_status_t read_rule(const char *place, const json_t *object, const moe_rules_t *rules,
                              moe_rule_t *rule, moe_error_t *error)
{
    static const char *const keys[] = {"name",      "why",      "select",  "metric",
                                       "condition", "severity", "missing", "unconverged"};
    if (!json_is_object(object))
        return refuse(place, "", "must be an object", error);
    moe_status_t status = check_keys(place, object, keys, sizeof keys / sizeof *keys, error);
    rule->select = json_object_get(object, "select");
    if (status == MOE_OK)
        status = check_selector(place, rule, error);
    if (status == MOE_OK)
        status = read_condition(place, object, rule, error);
    if (status == MOE_OK)
        status = name_rule(place, object, rules, rule, error);
    if (status == MOE_OK)
        status = text_at(place, object, "why", &rule->why, error);
    if (status == MOE_OK)
        status = choice_at(place, object, "severity", "error", "warning", &rule->warning, error);
    if (status == MOE_OK)
        status = choice_at(place, object, "missing", "error", "fail", &rule->missing_fails, error);
    if (status == MOE_OK)
        status = choice_at(place, object, "unconverged", "inconclusive", "judge",
                           &rule->judge_unconverged, error);
    return status;
}

static moe_status_t read_list(moe_rules_t *rules, const json_t *list, moe_error_t *error)
{
    bool decides = false;
    moe_status_t status = moe_alloc("rules", json_array_size(list), sizeof *rules->rule,
                                    (void **)&rules->rule, error);
    for (size_t i = 0; status == MOE_OK && i < json_array_size(list); i++) {
        char place[PLACE_TEXT];
        snprintf(place, sizeof place, MOE_QUOTED ": rules[%zu]", MOE_QUOTE_PATH(rules->file), i);
        rules->count++;
        status = read_rule(place, json_array_get(list, i), rules, &rules->rule[i], error);
        decides = decides || !rules->rule[i].warning;
    }
    if (status == MOE_OK && !decides)
        return refuse(rules->file, "", "every rule is a warning: nothing could fail", error);
    return status;
}

static moe_status_t read_root(moe_rules_t *rules, moe_error_t *error)
{
    static const char *const keys[] = {"schema", "for", "rules"};
    const json_t *root = rules->root, *schema = json_object_get(root, "schema");
    const json_t *list = json_object_get(root, "rules");
    const char *purpose;
    if (!json_is_object(root))
        return refuse(rules->file, "", "an object with \"schema\" and \"rules\" is expected",
                      error);
    moe_status_t status = check_keys(rules->file, root, keys, sizeof keys / sizeof *keys, error);
    if (status == MOE_OK)
        status = text_at(rules->file, root, "for", &purpose, error);
    if (status != MOE_OK)
        return status;
    if (!json_is_integer(schema) || json_integer_value(schema) != RULES_SCHEMA)
        return refuse(rules->file, "schema", "must be 1, the schema of rules that is known", error);
    if (json_array_size(list) == 0)
        return refuse(rules->file, "rules", "must be a list of at least one rule", error);
    return read_list(rules, list, error);
}

moe_status_t moe_rules_read(const char *path, moe_rules_t *out, moe_error_t *error)
{
    char *text;
    size_t size;
    json_error_t why;
    moe_rules_t rules = {.file = strdup(path)};
    if (rules.file == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "the name of a file does not fit memory");
    moe_status_t status = moe_file_read(path, MOE_RULES_BYTES, &text, &size, error);
    if (status == MOE_OK) {
        rules.root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
        free(text);
        status = rules.root == NULL ? moe_fail(error, MOE_BAD_INPUT, MOE_QUOTED ":%d:%d: %s",
                                               MOE_QUOTE_PATH(path), why.line, why.column, why.text)
                                    : read_root(&rules, error);
    }
    if (status == MOE_OK)
        *out = rules;
    else
        moe_rules_destroy(&rules);
    return status;
}

void moe_rules_destroy(moe_rules_t *rules)
{
    for (size_t i = 0; i < rules->count; i++) {
        free(rules->rule[i].name);
        free(rules->rule[i].metric);
    }
    free(rules->rule);
    free(rules->file);
    json_decref(rules->root);
    *rules = (moe_rules_t){0};
}
