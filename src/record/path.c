#include <string.h>

#include "moe/record.h"

#define RUN_PREFIX "run."
#define NAME_TEXT  64 /* no field has a longer name */

const json_t *moe_json_at(const json_t *record, const char *path)
{
    const json_t *at = record;
    for (const char *name = path; at != NULL && *name != '\0';) {
        char key[NAME_TEXT];
        const size_t length = strcspn(name, ".");
        if (length >= sizeof key)
            return NULL;
        memcpy(key, name, length);
        key[length] = '\0';
        at = json_object_get(at, key);
        name += length + (name[length] == '.');
    }
    return at;
}

const json_t *moe_result_at(const moe_result_t *result, const char *path)
{
    const size_t prefix = strlen(RUN_PREFIX);
    return strncmp(path, RUN_PREFIX, prefix) == 0 ? moe_json_at(result->run, path + prefix)
                                                  : moe_json_at(result->record, path);
}

const char *moe_result_text(const moe_result_t *result, const char *path)
{
    const char *text = json_string_value(moe_result_at(result, path));
    return text != NULL ? text : "";
}
