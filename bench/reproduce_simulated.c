/* What tools/sim-reproduce has simulated, for `reproduce` to print beside what is predicted. */
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"
#include "reproduce.h"

#define FILE_LIMIT ((size_t)1 << 20)
#define MOST       1e12 /* of any quantity */

/* One line a figure, as tools/sim-reproduce writes them. */
static moe_status_t check_simulated(const char *path, size_t line, const json_t *object,
                                    moe_error_t *error)
{
    static const char *const texts[] = {"name", "case", "quantity"};
    const char *record = json_string_value(json_object_get(object, "record"));
    const double value = json_number_value(json_object_get(object, "simulated"));
    bool good = record != NULL && strcmp(record, "simulation") == 0 && value > 0 && value < MOST;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        good = good && json_is_string(json_object_get(object, texts[i]));
    return good ? MOE_OK
                : moe_fail(error, MOE_BAD_INPUT,
                           "--simulated %.300s:%zu: no figure as tools/sim-reproduce writes them",
                           path, line);
}

moe_status_t reproduce_read_simulated(const char *path, json_t **out, moe_error_t *error)
{
    char *text = NULL;
    size_t size = 0, line = 1;
    json_t *list = json_array();
    moe_error_t why_not = {0};
    moe_status_t status = moe_file_read(path, FILE_LIMIT, &text, &size, &why_not);
    if (status != MOE_OK)
        (void)moe_fail(error, status, "--simulated: %.700s", why_not.text);
    for (char *at = text; status == MOE_OK && at < text + size; line++) {
        char *end = memchr(at, '\n', (size_t)(text + size - at));
        const size_t length = end != NULL ? (size_t)(end - at) : (size_t)(text + size - at);
        json_error_t why;
        json_t *object = length > 0 ? json_loadb(at, length, JSON_REJECT_DUPLICATES, &why) : NULL;
        if (object == NULL && length > 0)
            status =
                moe_fail(error, MOE_BAD_INPUT, "--simulated %.300s:%zu: %s", path, line, why.text);
        if (object != NULL)
            status = check_simulated(path, line, object, error);
        json_array_append_new(list, object);
        at += length + 1;
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
            json_t *object = json_array_get(simulated, s);
            if (is_text(object, "name", entry_text(entry, "name")) &&
                is_text(object, "case", f->label) && is_text(object, "quantity", f->quantity)) {
                f->simulated = json_number_value(json_object_get(object, "simulated"));
                json_object_set_new(object, "used", json_true());
                found = true;
            }
        }
    }
    return found;
}

size_t reproduce_unused(const json_t *simulated)
{
    size_t unused = 0;
    for (size_t s = 0; s < json_array_size(simulated); s++)
        unused += json_object_get(json_array_get(simulated, s), "used") == NULL;
    return unused;
}
