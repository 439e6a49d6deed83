/* Which results are of the same work: routing and matrix, shape, style, algorithm, phase, ranks. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"
#include "moe/verdict.h"

enum { EXCHANGE = 1, ITERATION = 2, TRAFFIC = 4, PAIR = 8, ANY = 15, ROUTED = 7 };

/* In the order in which they are told where two works differ: what follows from others comes last. */
static const struct key_field {
    const char *path;
    unsigned kinds; /* in which it tells works apart */
} fields[] = {
    {"record", ANY},
    {"run.ranks", ANY},
    {"run.model.name", ROUTED},
    {"run.model.overrides", ROUTED},
    {"run.model.hidden", ROUTED},
    {"run.model.experts", ROUTED},
    {"run.model.top_k", ROUTED},
    {"run.model.tokens", ROUTED},
    {"run.model.dtype", ROUTED},
    {"run.model.combine_dtype", ROUTED},
    {"run.model.expert_ffn", ITERATION},
    {"run.model.layers", ITERATION},
    {"run.model.seq_len", ITERATION},
    {"run.layout.ep", ROUTED},
    {"run.layout.dp", ROUTED},
    {"run.capacity.factor", ROUTED},
    {"run.capacity.slots", ROUTED},
    {"run.capacity.drop", ROUTED},
    {"run.routing.spec", ROUTED},
    {"run.routing.seed", ROUTED},
    {"run.routing.workload_hash", ROUTED},
    {"step", ROUTED},
    {"run.routing.hash", ROUTED},
    {"style", ROUTED},
    {"algorithm", EXCHANGE | ITERATION},
    {"phase", EXCHANGE | TRAFFIC},
    {"pass", ITERATION},
    {"layer", EXCHANGE},
    {"bytes_per_pair", EXCHANGE},
    {"from", PAIR},
    {"to", PAIR},
    {"bytes", PAIR},
    {"matrix_hash", EXCHANGE | TRAFFIC},
};
#define FIELDS (sizeof fields / sizeof *fields)

/* Stands between the fields of a joined key: no text of a record holds it unescaped by chance. */
#define SEPARATOR "\x1f"

/* The nearest group is looked for among so many: it explains, and decides nothing. */
#define MOST_LOOKED_AT 4096

size_t moe_key_count(void)
{
    return FIELDS;
}

const char *moe_key_path(size_t field)
{
    return fields[field].path;
}

static unsigned kind_of(const moe_result_t *result)
{
    static const char *const names[] = {"exchange", "iteration", "traffic", "pair"};
    const char *kind = moe_result_text(result, "record");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(kind, names[i]) == 0)
            return 1u << i;
    }
    return 0;
}

/* ---- Keys ---- */

static bool same_exchange(const moe_result_t *a, const moe_result_t *b)
{
    static const char *const paths[] = {"record", "style", "algorithm",
                                        "layer",  "step",  "bytes_per_pair"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        const json_t *x = moe_result_at(a, paths[i]), *y = moe_result_at(b, paths[i]);
        if ((x == NULL) != (y == NULL) || (x != NULL && !json_equal(x, y)))
            return false;
    }
    return true;
}

/* A phase that has no matrix of its own (total, permute) is of the same work only where the dispatch
 * of the same style and algorithm is. */
static const json_t *matrix_hash(const moe_results_t *results, size_t at)
{
    const moe_result_t *self = &results->result[at];
    const json_t *own = moe_result_at(self, "matrix_hash");
    size_t first = at;
    if (own != NULL || kind_of(self) != EXCHANGE)
        return own;
    while (first > 0 && results->result[first - 1].run == self->run)
        first--;
    for (size_t i = first; i < results->count && results->result[i].run == self->run; i++) {
        const json_t *hash = moe_result_at(&results->result[i], "matrix_hash");
        if (hash != NULL && same_exchange(self, &results->result[i]))
            return hash;
    }
    return NULL;
}

static const json_t *key_value(const moe_results_t *results, size_t at, size_t field)
{
    const moe_result_t *result = &results->result[at];
    if ((fields[field].kinds & kind_of(result)) == 0)
        return NULL;
    return strcmp(fields[field].path, "matrix_hash") == 0
               ? matrix_hash(results, at)
               : moe_result_at(result, fields[field].path);
}

static char *text_of(const json_t *value)
{
    if (value == NULL)
        return strdup("");
    if (json_is_string(value))
        return strdup(json_string_value(value));
    return json_dumps(value,
                      JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(9));
}

static void destroy_key(char **key)
{
    for (size_t f = 0; key != NULL && f < FIELDS; f++)
        free(key[f]);
    free(key);
}

static moe_status_t make_key(const moe_results_t *results, size_t at, char ***out,
                             moe_error_t *error)
{
    char **key = NULL;
    moe_status_t status = moe_alloc("keys", FIELDS, sizeof *key, (void **)&key, error);
    for (size_t f = 0; status == MOE_OK && f < FIELDS; f++) {
        key[f] = text_of(key_value(results, at, f));
        if (key[f] == NULL)
            status = moe_fail(error, MOE_BAD_INPUT, "keys do not fit memory");
    }
    if (status == MOE_OK)
        *out = key;
    else
        destroy_key(key);
    return status;
}

static char *join(char *const *key)
{
    size_t size = 1;
    for (size_t f = 0; f < FIELDS; f++)
        size += strlen(key[f]) + 1;
    char *text = malloc(size), *end = text;
    for (size_t f = 0; text != NULL && f < FIELDS; f++)
        end = stpcpy(stpcpy(end, key[f]), SEPARATOR);
    return text;
}

/* ---- Groups ---- */

static moe_status_t add_launch(moe_group_t *group, const moe_result_t *result, moe_error_t *error)
{
    const moe_status_t status = moe_grow("launches", group->launches, sizeof *group->launch,
                                         (void **)&group->launch, &group->room, error);
    if (status == MOE_OK)
        group->launch[group->launches++] = result;
    return status;
}

/* A new group with this key, which it takes over. */
static moe_status_t add_group(moe_groups_t *groups, const char *joined, char **key,
                              moe_error_t *error)
{
    if (joined == NULL ||
        moe_grow("results", groups->count, sizeof *groups->group, (void **)&groups->group,
                 &groups->room, error) != MOE_OK ||
        json_object_set_new(groups->index, joined, json_integer((json_int_t)groups->count)) != 0) {
        destroy_key(key);
        return moe_fail(error, MOE_BAD_INPUT, "%zu results do not fit memory", groups->count);
    }
    groups->group[groups->count++] = (moe_group_t){.key = key};
    return MOE_OK;
}

/* Takes over the key. */
static moe_status_t add_result(moe_groups_t *groups, size_t number_of_result, char **key,
                               moe_error_t *error)
{
    char *joined = join(key);
    const json_t *number = joined == NULL ? NULL : json_object_get(groups->index, joined);
    const size_t at = number != NULL ? (size_t)json_integer_value(number) : groups->count;
    moe_status_t status = MOE_OK;
    if (number != NULL)
        destroy_key(key);
    else
        status = add_group(groups, joined, key, error);
    free(joined);
    if (status != MOE_OK)
        return status;
    groups->of_result[number_of_result] = at;
    return add_launch(&groups->group[at], &groups->results->result[number_of_result], error);
}

moe_status_t moe_groups_create(const moe_results_t *results, moe_groups_t *out, moe_error_t *error)
{
    moe_groups_t groups = {.index = json_object(), .results = results};
    moe_status_t status = moe_alloc("groups of results", results->count, sizeof(size_t),
                                    (void **)&groups.of_result, error);
    for (size_t i = 0; status == MOE_OK && i < results->count; i++) {
        char **key;
        groups.of_result[i] = SIZE_MAX;
        if (kind_of(&results->result[i]) == 0)
            continue;
        status = make_key(results, i, &key, error);
        if (status == MOE_OK)
            status = add_result(&groups, i, key, error);
    }
    if (status == MOE_OK)
        *out = groups;
    else
        moe_groups_destroy(&groups);
    return status;
}

void moe_groups_destroy(moe_groups_t *groups)
{
    for (size_t i = 0; i < groups->count; i++) {
        destroy_key(groups->group[i].key);
        free(groups->group[i].launch);
    }
    free(groups->group);
    free(groups->of_result);
    json_decref(groups->index);
    *groups = (moe_groups_t){0};
}

const moe_group_t *moe_groups_of(const moe_groups_t *groups, const moe_result_t *result)
{
    const size_t at = groups->of_result[result - groups->results->result];
    return at == SIZE_MAX ? NULL : &groups->group[at];
}

const moe_group_t *moe_groups_find(const moe_groups_t *groups, const moe_group_t *like)
{
    char *joined = join(like->key);
    const json_t *number = joined == NULL ? NULL : json_object_get(groups->index, joined);
    free(joined);
    return number == NULL ? NULL : &groups->group[json_integer_value(number)];
}

/* ---- Why not ---- */

static size_t distance(const moe_group_t *a, const moe_group_t *b)
{
    size_t different = 0;
    for (size_t f = 0; f < FIELDS; f++)
        different += strcmp(a->key[f], b->key[f]) != 0;
    return different;
}

static const char *shown(const char *value)
{
    return value[0] != '\0' ? value : "none";
}

void moe_groups_why_not(const moe_groups_t *groups, const moe_group_t *like, char *text,
                        size_t size)
{
    const moe_group_t *nearest = NULL;
    size_t best = FIELDS + 1, used;
    for (size_t i = 0; i < groups->count && i < MOST_LOOKED_AT; i++) {
        const moe_group_t *group = &groups->group[i];
        if (strcmp(group->key[0], like->key[0]) == 0 && distance(group, like) < best) {
            best = distance(group, like);
            nearest = group;
        }
    }
    if (nearest == NULL) {
        snprintf(text, size, "no %s records there", like->key[0]);
        return;
    }
    used = (size_t)snprintf(text, size, "the nearest (%s:%zu) differs:", nearest->launch[0]->file,
                            nearest->launch[0]->line);
    for (size_t f = 0, named = 0; f < FIELDS && used < size; f++) {
        if (strcmp(nearest->key[f], like->key[f]) != 0)
            used += (size_t)snprintf(text + used, size - used, "%s %s %.40s, there %.40s",
                                     named++ > 0 ? "," : "", fields[f].path, shown(like->key[f]),
                                     shown(nearest->key[f]));
    }
    /* Values may have been cut in the middle of a letter. */
    for (char *letter = text; *letter != '\0'; letter++) {
        if ((unsigned char)*letter > 127)
            *letter = '?';
    }
}
