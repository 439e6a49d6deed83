/* Files of scenarios: what they may hold, and where one that is wrong is wrong. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../system/quote.h"
#include "moe/system.h"
#include "scenario.h"

#define FORMAT     1
#define FILE_LIMIT ((size_t)1 << 20)
#define MAX_LISTED 65536
#define PLACE_TEXT 64

typedef struct reader {
    const char *path;
    moe_scenario_t *scenario;
} reader_t;

/* ---- Places and types ---- */

static moe_status_t refuse(const reader_t *r, const char *place, const char *what,
                           moe_error_t *error)
{
    return moe_fail(error, MOE_BAD_INPUT, MOE_QUOTED ": %s: %s", MOE_QUOTE(r->path, 300), place,
                    what);
}

static moe_status_t check_keys(const reader_t *r, const char *place, const json_t *object,
                               const char *const *known, size_t count, moe_error_t *error)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return refuse(r, place, "must be an object", error);
    json_object_foreach((json_t *)object, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < count; i++)
            found = found || strcmp(known[i], key) == 0;
        if (found)
            continue;
        const char *nearest = moe_nearest(key, known, count);
        return moe_fail(error, MOE_BAD_INPUT,
                        MOE_QUOTED ": %s: '" MOE_QUOTED "' is no key that is known%s%s",
                        MOE_QUOTE(r->path, 300), place, MOE_QUOTE_VALUE(key),
                        nearest != NULL ? "; nearest: " : "", nearest != NULL ? nearest : "");
    }
    return MOE_OK;
}

static moe_status_t number_of(const reader_t *r, const char *place, const json_t *value, double min,
                              double max, double *out, moe_error_t *error)
{
    char what[96];
    const double number = json_number_value(value);
    snprintf(what, sizeof what, "must be a number between %g and %g", min, max);
    if (!json_is_number(value) || !(number >= min) || !(number <= max))
        return refuse(r, place, what, error);
    *out = number;
    return MOE_OK;
}

static moe_status_t whole_of(const reader_t *r, const char *place, const json_t *value, size_t min,
                             size_t max, size_t *out, moe_error_t *error)
{
    char what[96];
    const json_int_t number = json_integer_value(value);
    snprintf(what, sizeof what, "must be a whole number between %zu and %zu", min, max);
    if (!json_is_integer(value) || number < (json_int_t)min || number > (json_int_t)max)
        return refuse(r, place, what, error);
    *out = (size_t)number;
    return MOE_OK;
}

/* A copy of the text at a key, which has to be there. */
static moe_status_t text_of(const reader_t *r, const json_t *root, const char *key, char **out,
                            moe_error_t *error)
{
    const char *text = json_string_value(json_object_get(root, key));
    if (text == NULL || text[0] == '\0')
        return refuse(r, key, "missing: text is expected", error);
    *out = strdup(text);
    return *out != NULL ? MOE_OK : moe_fail(error, MOE_BAD_INPUT, "out of memory");
}

/* Says which words there are. name(i): NULL past the end. */
static moe_status_t refuse_word(const reader_t *r, const char *place, const char *word,
                                const char *(*name)(size_t), moe_error_t *error)
{
    char all[256] = "";
    size_t used = 0;
    for (size_t i = 0; name(i) != NULL && used < sizeof all; i++)
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", i > 0 ? ", " : "", name(i));
    return moe_fail(error, MOE_BAD_INPUT, MOE_QUOTED ": %s: '" MOE_QUOTED "' is not one of: %s",
                    MOE_QUOTE(r->path, 300), place, MOE_QUOTE_VALUE(word), all);
}

/* ---- Experts ---- */

static const char *law_name(size_t index)
{
    const moe_law_t *law = moe_law_at(index);
    return law != NULL ? law->name : NULL;
}

static const char *order_name(size_t index)
{
    const moe_order_t *order = moe_order_at(index);
    return order != NULL ? order->name : NULL;
}

static moe_status_t read_law(const reader_t *r, const json_t *experts, moe_error_t *error)
{
    moe_scenario_t *s = r->scenario;
    const char *word = json_string_value(json_object_get(experts, "law"));
    if (word == NULL)
        return refuse(r, "experts.law", "missing: text is expected", error);
    size_t i = 0;
    while (moe_law_at(i) != NULL && strcmp(moe_law_at(i)->name, word) != 0)
        i++;
    s->law = moe_law_at(i);
    return s->law != NULL ? MOE_OK : refuse_word(r, "experts.law", word, law_name, error);
}

static moe_status_t read_parameters(const reader_t *r, const json_t *experts, moe_error_t *error)
{
    moe_scenario_t *s = r->scenario;
    const char *known[MOE_LAW_PARAMETERS + 5] = {"law", "where", "at", "rotate"};
    size_t count = 4;
    if (s->law->counts_hot)
        known[count++] = "hot";
    for (size_t i = 0; i < MOE_LAW_PARAMETERS && s->law->parameter[i].name != NULL; i++)
        known[count++] = s->law->parameter[i].name;
    moe_status_t status = check_keys(r, "experts", experts, known, count, error);
    for (size_t i = 0; status == MOE_OK && i < MOE_LAW_PARAMETERS; i++) {
        char place[PLACE_TEXT];
        if (s->law->parameter[i].name == NULL)
            break;
        snprintf(place, sizeof place, "experts.%s", s->law->parameter[i].name);
        status =
            number_of(r, place, json_object_get(experts, s->law->parameter[i].name),
                      s->law->parameter[i].min, s->law->parameter[i].max, &s->parameter[i], error);
    }
    const json_t *hot = json_object_get(experts, "hot");
    const char *word = json_string_value(hot);
    if (status == MOE_OK && hot != NULL && (word == NULL || strcmp(word, "per-rank") != 0))
        status =
            whole_of(r, "experts.hot (or \"per-rank\")", hot, 1, MOE_MAX_EXPERTS, &s->hot, error);
    return status;
}

static moe_status_t read_order(const reader_t *r, const json_t *experts, moe_error_t *error)
{
    moe_scenario_t *s = r->scenario;
    const json_t *where = json_object_get(experts, "where");
    const json_t *at = json_object_get(experts, "at"), *turn = json_object_get(experts, "rotate");
    const char *word = where != NULL ? json_string_value(where) : moe_order_at(0)->name;
    if (word == NULL)
        return refuse(r, "experts.where", "must be text", error);
    size_t i = 0;
    while (moe_order_at(i) != NULL && strcmp(moe_order_at(i)->name, word) != 0)
        i++;
    if (moe_order_at(i) == NULL)
        return refuse_word(r, "experts.where", word, order_name, error);
    s->order = moe_order_at(i);
    if (!s->order->by_rank && (at != NULL || turn != NULL))
        return refuse(r, at != NULL ? "experts.at" : "experts.rotate",
                      "only with \"where\": \"one-rank\" or \"spread\"", error);
    moe_status_t status = MOE_OK;
    if (at != NULL)
        status = whole_of(r, "experts.at", at, 0, INT32_MAX, &s->at, error);
    return status == MOE_OK && turn != NULL
               ? whole_of(r, "experts.rotate", turn, 1, INT32_MAX, &s->rotate, error)
               : status;
}

static moe_status_t read_experts(const reader_t *r, const json_t *experts, moe_error_t *error)
{
    r->scenario->law = moe_law_at(0);
    r->scenario->order = moe_order_at(0);
    if (experts == NULL)
        return MOE_OK;
    if (!json_is_object(experts))
        return refuse(r, "experts", "must be an object", error);
    moe_status_t status = read_law(r, experts, error);
    if (status == MOE_OK)
        status = read_parameters(r, experts, error);
    return status == MOE_OK ? read_order(r, experts, error) : status;
}

/* ---- Ranks ---- */

static const char *set_name(size_t index)
{
    const moe_rank_set_t *set = moe_rank_set_at(index);
    return set != NULL ? set->name : NULL;
}

/* " N" behind a set's name; false for anything else. */
static bool number_behind(const char *text, size_t *out)
{
    size_t value = 0;
    if (text[0] != ' ' || text[1] == '\0')
        return false;
    for (text++; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || value > INT32_MAX / 10)
            return false;
        value = 10 * value + (size_t)(*text - '0');
    }
    *out = value;
    return true;
}

static moe_status_t read_set(const reader_t *r, const char *place, const char *word,
                             moe_some_ranks_t *out, moe_error_t *error)
{
    const moe_rank_set_t *set;
    for (size_t i = 0; (set = moe_rank_set_at(i)) != NULL; i++) {
        const size_t length = strlen(set->name);
        if (strncmp(set->name, word, length) != 0)
            continue;
        out->set = set;
        if (set->numbered ? number_behind(word + length, &out->number) : word[length] == '\0')
            return MOE_OK;
    }
    return refuse_word(r, place, word, set_name, error);
}

/* Shares have to sum to 1 but for what decimals lose. */
#define SLACK 1e-6

static moe_status_t read_parts(const reader_t *r, const char *place, const json_t *to,
                               moe_rank_rule_t *rule, moe_error_t *error)
{
    const char *key;
    json_t *value;
    double sum = 0;
    if (!json_is_object(to) || json_object_size(to) < 1 || json_object_size(to) > MOE_RULE_PARTS)
        return refuse(r, place, "must be an object of 1 to 8 sets of ranks and their shares",
                      error);
    json_object_foreach((json_t *)to, key, value)
    {
        moe_part_of_rule_t *part = &rule->part[rule->parts++];
        moe_status_t status = read_set(r, place, key, &part->to, error);
        if (status == MOE_OK)
            status = number_of(r, place, value, 0, 1, &part->share, error);
        if (status != MOE_OK)
            return status;
        sum += part->share;
    }
    return fabs(sum - 1) <= SLACK ? MOE_OK : refuse(r, place, "shares must sum to 1", error);
}

static moe_status_t read_rule(const reader_t *r, size_t number, const json_t *object,
                              moe_error_t *error)
{
    static const char *const known[] = {"from", "to"};
    moe_rank_rule_t *rule = &r->scenario->rule[number];
    char place[PLACE_TEXT], part[PLACE_TEXT + 8];
    snprintf(place, sizeof place, "ranks[%zu]", number);
    moe_status_t status = check_keys(r, place, object, known, 2, error);
    const json_t *from = json_object_get(object, "from");
    const char *word = from == NULL ? "all" : json_string_value(from);
    snprintf(part, sizeof part, "%s.from", place);
    if (status == MOE_OK)
        status = word != NULL ? read_set(r, part, word, &rule->from, error)
                              : refuse(r, part, "must be text", error);
    if (status == MOE_OK && rule->from.set->others)
        status =
            refuse(r, part, "'others' stands in `to` only; the last rule may be of all", error);
    snprintf(part, sizeof part, "%s.to", place);
    return status == MOE_OK ? read_parts(r, part, json_object_get(object, "to"), rule, error)
                            : status;
}

static moe_status_t read_ranks(const reader_t *r, const json_t *ranks, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    if (ranks == NULL)
        return MOE_OK;
    if (!json_is_array(ranks) || json_array_size(ranks) < 1 ||
        json_array_size(ranks) > MOE_SCENARIO_RULES)
        return refuse(r, "ranks", "must be a list of 1 to 16 rules", error);
    for (size_t i = 0; status == MOE_OK && i < json_array_size(ranks); i++)
        status = read_rule(r, r->scenario->rules++, json_array_get(ranks, i), error);
    return status;
}

/* ---- Tokens ---- */

static moe_status_t read_factors(const reader_t *r, const char *place, const json_t *list,
                                 double **out, size_t *count, moe_error_t *error)
{
    if (list == NULL)
        return MOE_OK;
    const size_t n = json_array_size(list);
    if (n < 1 || n > MAX_LISTED)
        return refuse(r, place, "must be a list of 1 to 65536 numbers", error);
    void *factors = NULL;
    double most = 0;
    moe_status_t status = moe_alloc("workload", n, sizeof(double), &factors, error);
    *out = factors;
    for (size_t i = 0; status == MOE_OK && i < n; i++) {
        status = number_of(r, place, json_array_get(list, i), 0, 1, &(*out)[i], error);
        most = status == MOE_OK && (*out)[i] > most ? (*out)[i] : most;
    }
    *count = n;
    return status == MOE_OK && !(most > 0) ? refuse(r, place, "one at least must be above 0", error)
                                           : status;
}

static moe_status_t read_tokens(const reader_t *r, const json_t *tokens, moe_error_t *error)
{
    static const char *const known[] = {"by_rank", "by_step"};
    moe_scenario_t *s = r->scenario;
    if (tokens == NULL)
        return MOE_OK;
    moe_status_t status = check_keys(r, "tokens", tokens, known, 2, error);
    if (status == MOE_OK)
        status = read_factors(r, "tokens.by_rank", json_object_get(tokens, "by_rank"), &s->by_rank,
                              &s->ranks_listed, error);
    return status == MOE_OK ? read_factors(r, "tokens.by_step", json_object_get(tokens, "by_step"),
                                           &s->by_step, &s->steps_listed, error)
                            : status;
}

/* ---- All of it ---- */

static moe_status_t read_name(const reader_t *r, const json_t *root, moe_error_t *error)
{
    const char *name = json_string_value(json_object_get(root, "name"));
    const size_t length = name != NULL ? strlen(name) : 0;
    if (length < 1 || length > MOE_SCENARIO_NAME ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != length)
        return refuse(r, "name", "must be 1 to 40 small letters, digits and hyphens", error);
    memcpy(r->scenario->name, name, length + 1);
    return MOE_OK;
}

static moe_status_t read_root(const reader_t *r, const json_t *root, moe_error_t *error)
{
    static const char *const known[] = {"workload", "name",  "isolates", "source",
                                        "experts",  "ranks", "tokens",   "published"};
    const json_t *published = json_object_get(root, "published");
    size_t format = 0;
    moe_status_t status =
        check_keys(r, "the file", root, known, sizeof known / sizeof *known, error);
    if (status == MOE_OK)
        status = whole_of(r, "workload (the version of the format)",
                          json_object_get(root, "workload"), FORMAT, FORMAT, &format, error);
    if (status == MOE_OK)
        status = read_name(r, root, error);
    if (status == MOE_OK)
        status = text_of(r, root, "isolates", &r->scenario->isolates, error);
    if (status == MOE_OK)
        status = text_of(r, root, "source", &r->scenario->source, error);
    if (status == MOE_OK)
        status = read_experts(r, json_object_get(root, "experts"), error);
    if (status == MOE_OK)
        status = read_ranks(r, json_object_get(root, "ranks"), error);
    if (status == MOE_OK)
        status = read_tokens(r, json_object_get(root, "tokens"), error);
    return status == MOE_OK && published != NULL && !json_is_array(published)
               ? refuse(r, "published", "must be a list", error)
               : status;
}

/* FNV-1a (Fowler, Noll, Vo), 64 bits. */
static uint64_t hash_of(const char *text, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3;
    return hash;
}

moe_status_t moe_scenario_read(const char *path, moe_scenario_t **out, moe_error_t *error)
{
    char *text = NULL;
    size_t size = 0;
    json_error_t why;
    void *memory = NULL;
    moe_status_t status = moe_file_read(path, FILE_LIMIT, &text, &size, error);
    if (status == MOE_OK)
        status = moe_alloc("workload", 1, sizeof(moe_scenario_t), &memory, error);
    if (status != MOE_OK) {
        free(text);
        return status;
    }
    const reader_t reader = {.path = path, .scenario = memory};
    reader.scenario->hash = hash_of(text, size);
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    free(text);
    status = root != NULL ? read_root(&reader, root, error)
                          : moe_fail(error, MOE_BAD_INPUT, MOE_QUOTED ":%d:%d: %s",
                                     MOE_QUOTE(path, 300), why.line, why.column, why.text);
    json_decref(root);
    if (status == MOE_OK)
        *out = reader.scenario;
    else
        moe_scenario_destroy(reader.scenario);
    return status;
}

void moe_scenario_destroy(moe_scenario_t *scenario)
{
    if (scenario == NULL)
        return;
    free(scenario->by_step);
    free(scenario->by_rank);
    free(scenario->source);
    free(scenario->isolates);
    free(scenario);
}

const char *moe_scenario_name(const moe_scenario_t *scenario)
{
    return scenario->name;
}

const char *moe_scenario_isolates(const moe_scenario_t *scenario)
{
    return scenario->isolates;
}

const char *moe_scenario_source(const moe_scenario_t *scenario)
{
    return scenario->source;
}

uint64_t moe_scenario_hash(const moe_scenario_t *scenario)
{
    return scenario->hash;
}
