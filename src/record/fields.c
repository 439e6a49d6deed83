#include "fields.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../system/quote.h"
#include "fields_table.h"
#include "moe/record.h"
#include "moe/system.h"

#define RUN_PREFIX "run."

moe_status_t moe_refuse_field(const moe_place_t *place, const char *field, moe_error_t *error,
                              const char *format, ...)
{
    char text[MOE_ERROR_TEXT];
    va_list arguments;
    va_start(arguments, format);
    /* The analyzer forgets va_start() in runs over several files: */
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return moe_fail(error, MOE_BAD_INPUT, MOE_QUOTED ":%zu: %s: %s", MOE_QUOTE_PATH(place->file),
                    place->line, field, text);
}

bool moe_kind_is_known(const char *kind)
{
    for (size_t i = 0; i < moe_field_count; i++) {
        if (strcmp(moe_fields[i].kind, kind) == 0)
            return true;
    }
    return false;
}

/* ---- Types ---- */

static const char *const type_names[] = {
    [MOE_FIELD_TEXT] = "text",
    [MOE_FIELD_HASH] = "a hash (16 hexadecimal digits, as text)",
    [MOE_FIELD_COUNT] = "a whole number, 0 or more",
    [MOE_FIELD_REAL] = "a number, 0 or more",
    [MOE_FIELD_FLAG] = "true or false",
    [MOE_FIELD_OBJECT] = "an object",
    [MOE_FIELD_TEXTS] = "a list of texts",
    [MOE_FIELD_NUMBERS] = "a list of numbers, each 0 or more",
};

#define HASH_DIGITS 16

static bool is_hash(const json_t *value)
{
    const char *text = json_string_value(value);
    return text != NULL && strlen(text) == HASH_DIGITS &&
           strspn(text, "0123456789abcdef") == HASH_DIGITS;
}

static bool is_real(const json_t *value)
{
    return json_is_number(value) && json_number_value(value) >= 0;
}

static bool is_list(const json_t *value, bool texts)
{
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *member = json_array_get(value, i);
        if (!(texts ? json_is_string(member) : is_real(member)))
            return false;
    }
    return json_is_array(value);
}

/* A count past what a JSON integer holds was written as a real number: whole all the same. */
static bool is_count(const json_t *value)
{
    return json_is_integer(value) ? json_integer_value(value) >= 0
                                  : json_is_real(value) && json_real_value(value) >= 9.2e18;
}

static bool has_type(const json_t *value, moe_field_type_t type)
{
    switch (type) {
    case MOE_FIELD_TEXT:
        return json_is_string(value);
    case MOE_FIELD_HASH:
        return is_hash(value);
    case MOE_FIELD_COUNT:
        return is_count(value);
    case MOE_FIELD_REAL:
        return is_real(value);
    case MOE_FIELD_FLAG:
        return json_is_boolean(value);
    case MOE_FIELD_OBJECT:
        return json_is_object(value);
    case MOE_FIELD_TEXTS:
    case MOE_FIELD_NUMBERS:
        return is_list(value, type == MOE_FIELD_TEXTS);
    }
    return false;
}

static moe_status_t wrong_type(const moe_place_t *place, const moe_field_t *field,
                               const json_t *value, moe_error_t *error)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    const moe_status_t status =
        moe_refuse_field(place, field->path, error, MOE_QUOTED " is not %s",
                         MOE_QUOTE_VALUE(text != NULL ? text : "it"), type_names[field->type]);
    free(text);
    return status;
}

moe_status_t moe_fields_check(const moe_place_t *place, const char *kind, const json_t *record,
                              moe_error_t *error)
{
    for (size_t i = 0; i < moe_field_count; i++) {
        const moe_field_t *field = &moe_fields[i];
        if (strcmp(field->kind, kind) != 0)
            continue;
        const json_t *value = moe_json_at(record, field->path);
        if (value == NULL && field->required)
            return moe_refuse_field(place, field->path, error,
                                    "missing; every %s record that moe-a2a writes has it", kind);
        if (value != NULL && !has_type(value, field->type))
            return wrong_type(place, field, value, error);
    }
    return MOE_OK;
}

/* ---- Names ---- */

static const char *without_prefix(const char *path, const char **kind)
{
    const size_t prefix = strlen(RUN_PREFIX);
    if (strncmp(path, RUN_PREFIX, prefix) != 0)
        return path;
    *kind = "run";
    return path + prefix;
}

bool moe_field_is_known(const char *kind, const char *path)
{
    path = without_prefix(path, &kind);
    for (size_t i = 0; i < moe_field_count; i++) {
        if (strcmp(moe_fields[i].kind, kind) == 0 && strcmp(moe_fields[i].path, path) == 0)
            return true;
    }
    return false;
}

const char *moe_field_nearest(const char *kind, const char *path)
{
    const char *names[MOE_MOST_FIELDS];
    size_t count = 0;
    path = without_prefix(path, &kind);
    for (size_t i = 0; i < moe_field_count && count < MOE_MOST_FIELDS; i++) {
        if (strcmp(moe_fields[i].kind, kind) == 0)
            names[count++] = moe_fields[i].path;
    }
    return moe_nearest(path, names, count);
}
