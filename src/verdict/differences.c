#include "differences.h"

#include <stdlib.h>
#include <string.h>

/* Not the environment: what it was (matched row by row), how it came out, when. */
static const char *const left_out[] = {"record",  "schema", "time",     "ranks", "model",
                                       "routing", "load",   "capacity", "source"};
/* Members of these are told one by one. */
static const char *const by_member[] = {"topology", "env", "layout", "link"};

static bool is_among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}
#define AMONG(name, names) is_among(name, names, sizeof(names) / sizeof(names)[0])

/* fields: path -> [values of A, values of B], each a list in which a value stands once. */
static void note(json_t *fields, const char *path, size_t side, json_t *value)
{
    json_t *sides = json_object_get(fields, path);
    if (sides == NULL) {
        sides = json_pack("[[], []]");
        json_object_set_new(fields, path, sides);
    }
    json_t *list = json_array_get(sides, side);
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (json_equal(json_array_get(list, i), value))
            return;
    }
    json_array_append(list, value);
}

static void note_members(json_t *fields, const char *name, size_t side, json_t *object)
{
    const char *member;
    json_t *value;
    json_object_foreach(object, member, value)
    {
        char *path = malloc(strlen(name) + strlen(member) + sizeof ".");
        if (path == NULL)
            return;
        stpcpy(stpcpy(stpcpy(path, name), "."), member);
        note(fields, path, side, value);
        free(path);
    }
}

static void note_run(json_t *fields, size_t side, json_t *run)
{
    const char *name;
    json_t *value;
    json_object_foreach(run, name, value)
    {
        if (AMONG(name, left_out))
            continue;
        if (AMONG(name, by_member) && json_is_object(value))
            note_members(fields, name, side, value);
        else
            note(fields, name, side, value);
    }
}

static bool holds(const json_t *list, const json_t *value)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (json_equal(json_array_get(list, i), value))
            return true;
    }
    return false;
}

static bool same_values(const json_t *a, const json_t *b)
{
    if (json_array_size(a) != json_array_size(b))
        return false;
    for (size_t i = 0; i < json_array_size(a); i++) {
        if (!holds(b, json_array_get(a, i)))
            return false;
    }
    return true;
}

static moe_status_t add(moe_comparison_t *c, const char *field, json_t *sides, moe_error_t *error)
{
    char *name = strdup(field);
    if (name == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "differences do not fit memory");
    c->difference[c->differences++] =
        (moe_difference_t){.field = name,
                           .a = json_incref(json_array_get(sides, 0)),
                           .b = json_incref(json_array_get(sides, 1))};
    return MOE_OK;
}

moe_status_t moe_find_differences(const moe_results_t *a, const moe_results_t *b,
                                  moe_comparison_t *c, moe_error_t *error)
{
    json_t *fields = json_object(), *sides;
    const char *field;
    for (size_t i = 0; i < a->runs; i++)
        note_run(fields, 0, a->run[i]);
    for (size_t i = 0; i < b->runs; i++)
        note_run(fields, 1, b->run[i]);
    c->difference = calloc(json_object_size(fields) + 1, sizeof *c->difference);
    moe_status_t status = c->difference != NULL
                              ? MOE_OK
                              : moe_fail(error, MOE_BAD_INPUT, "differences do not fit memory");
    json_object_foreach(fields, field, sides)
    {
        if (status == MOE_OK && !same_values(json_array_get(sides, 0), json_array_get(sides, 1)))
            status = add(c, field, sides, error);
    }
    json_decref(fields);
    return status;
}
