/* What tools/sim-reproduce has simulated, for `reproduce` to print beside what is predicted. */
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"
#include "reproduce.h"

#define FILE_LIMIT ((size_t)1 << 20)

/* One line a figure, as tools/sim-reproduce writes them. */
static moe_status_t check_simulated(const char *path, size_t line, const json_t *object,
                                    moe_error_t *error)
{
    static const char *const texts[] = {"name", "case", "quantity"};
    const char *record = json_string_value(json_object_get(object, "record"));
    bool good = record != NULL && strcmp(record, "simulation") == 0 &&
                json_is_number(json_object_get(object, "simulated"));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        good = good && json_is_string(json_object_get(object, texts[i]));
    return good ? MOE_OK
                : moe_fail(error, MOE_BAD_INPUT,
                           "--simulated %.300s:%zu: no figure as tools/sim-reproduce writes them",
                           path, line);
}

moe_status_t reproduce_read_simulated(const char *path, json_t **out, moe_error_t *error)
{
    char *text = NULL, *rest = NULL;
    size_t size = 0, line = 0;
    json_t *list = json_array();
    moe_status_t status = moe_file_read(path, FILE_LIMIT, &text, &size, error);
    for (char *at = status == MOE_OK ? strtok_r(text, "\n", &rest) : NULL;
         at != NULL && status == MOE_OK; at = strtok_r(NULL, "\n", &rest)) {
        json_error_t why;
        json_t *object = json_loads(at, JSON_REJECT_DUPLICATES, &why);
        line++;
        status = object != NULL ? check_simulated(path, line, object, error)
                                : moe_fail(error, MOE_BAD_INPUT, "--simulated %.300s:%zu: %s", path,
                                           line, why.text);
        json_array_append_new(list, object);
    }
    free(text);
    if (status != MOE_OK) {
        json_decref(list);
        return status;
    }
    *out = list;
    return MOE_OK;
}

static bool is_text(const json_t *object, const char *name, const char *text)
{
    return strcmp(json_string_value(json_object_get(object, name)), text) == 0;
}

bool reproduce_set_simulated(const entry_t *entry, const json_t *simulated, figures_t *figures)
{
    bool found = false;
    for (size_t i = 0; i < figures->count; i++) {
        figure_t *f = &figures->figure[i];
        for (size_t s = 0; s < json_array_size(simulated); s++) {
            const json_t *object = json_array_get(simulated, s);
            if (is_text(object, "name", entry_text(entry, "name")) &&
                is_text(object, "case", f->label) && is_text(object, "quantity", f->quantity)) {
                f->simulated = json_number_value(json_object_get(object, "simulated"));
                found = true;
            }
        }
    }
    return found;
}
