/* A share that was published without its configuration: for which configurations do we find it? */
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"
#include "reproduce.h"

typedef struct range {
    const entry_t *entry;
    const outputs_t *outputs;
    const json_t *models, *machines, *factors;
    double low, high; /* percent */
    size_t points, inside;
} range_t;

static moe_status_t read_range(range_t *r, moe_error_t *error)
{
    const json_t *object = r->entry->object, *bounds = json_object_get(object, "share_percent");
    const char *low = json_string_value(json_array_get(bounds, 0));
    const char *high = json_string_value(json_array_get(bounds, 1));
    r->models = json_object_get(object, "models");
    r->machines = json_object_get(object, "machines");
    r->factors = json_object_get(object, "capacity_factors");
    if (low == NULL || high == NULL || json_array_size(r->models) == 0 ||
        json_array_size(r->machines) == 0 || json_array_size(r->factors) == 0)
        return entry_fail(r->entry, 0, error,
                          "share_percent, models, machines, capacity_factors: lists of texts");
    const moe_status_t status = moe_parse_real("share_percent", low, 0, 100, &r->low, error);
    return status == MOE_OK ? moe_parse_real("share_percent", high, 0, 100, &r->high, error)
                            : status;
}

static moe_status_t point(const range_t *r, const char *model, const char *machine,
                          const char *factor, double *percent, moe_error_t *error)
{
    char *options[MOST_OPTIONS];
    reproduction_t result;
    const json_t *own = json_pack("[s, s, s, s, s, s]", "--model", model, "--machine", machine,
                                  "--capacity-factor", factor);
    const size_t count =
        entry_options(json_object_get(r->entry->object, "options"), own, options, MOST_OPTIONS);
    const moe_status_t status =
        reproduce_predict(r->entry, 0, options, count, NULL, &result, error);
    json_decref((json_t *)own);
    if (status == MOE_OK)
        *percent = 100 * result.share;
    return status;
}

static moe_status_t record_point(const range_t *r, const char *model, const char *machine,
                                 const char *factor, double percent, bool inside,
                                 moe_error_t *error)
{
    return moe_recorder_write(
        r->outputs->recorder,
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:f, s:f, s:f, s:b}", "record", "reproduction",
                  "name", entry_text(r->entry, "name"), "kind", "range", "model", model, "machine",
                  machine, "capacity_factor", factor, "share_percent", percent, "low", r->low,
                  "high", r->high, "inside", inside),
        error);
}

/* Runs of factors inside, "1 to 1.5, 4". */
static void add_factor(char *text, size_t size, const char *factor, const char *before, bool first)
{
    const size_t used = strlen(text);
    if (first)
        snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "", factor);
    else if (before != NULL)
        snprintf(text + used, size - used, " to %s", factor);
}

static moe_status_t one_pair(range_t *r, const char *model, const char *machine, grid_t *grid,
                             moe_error_t *error)
{
    char inside_text[GRID_CELL] = "";
    const char *last = NULL, *start = NULL;
    moe_status_t status = MOE_OK;
    grid_add_row(grid);
    grid_cell(grid, 0, "%s", model);
    grid_cell(grid, 1, "%s", machine);
    for (size_t f = 0; status == MOE_OK && f <= json_array_size(r->factors); f++) {
        const char *factor = json_string_value(json_array_get(r->factors, f));
        double percent = 0;
        if (factor != NULL)
            status = point(r, model, machine, factor, &percent, error);
        const bool inside = factor != NULL && percent >= r->low && percent <= r->high;
        if (factor != NULL && status == MOE_OK) {
            grid_cell(grid, 2 + f, "%.1f%s", percent, inside ? " *" : "");
            status = record_point(r, model, machine, factor, percent, inside, error);
            r->points++;
            r->inside += inside;
        }
        if (inside && start == NULL)
            add_factor(inside_text, sizeof inside_text, start = factor, NULL, true);
        if (!inside && start != NULL) {
            if (last != start)
                add_factor(inside_text, sizeof inside_text, last, start, false);
            start = NULL;
        }
        last = factor;
    }
    grid_cell(grid, 2 + json_array_size(r->factors), "%s",
              inside_text[0] != '\0' ? inside_text : "never");
    return status;
}

static void start_grid(const range_t *r, grid_t *grid, char (*texts)[32])
{
    const char *headings[GRID_COLUMNS] = {"model", "machine"};
    const size_t factors = json_array_size(r->factors);
    for (size_t f = 0; f < factors; f++) {
        snprintf(texts[f], sizeof texts[f], "factor %s: %%",
                 json_string_value(json_array_get(r->factors, f)));
        headings[2 + f] = texts[f];
    }
    headings[2 + factors] = "inside at factors";
    grid_start(grid, factors + 3, headings);
}

moe_status_t reproduce_range(const entry_t *entry, const outputs_t *outputs, moe_error_t *error)
{
    range_t r = {.entry = entry, .outputs = outputs};
    char texts[GRID_COLUMNS][32];
    grid_t grid;
    moe_status_t status = read_range(&r, error);
    if (status != MOE_OK)
        return status;
    if (json_array_size(r.factors) + 3 > GRID_COLUMNS)
        return entry_fail(entry, 0, error, "capacity_factors: at most %d", GRID_COLUMNS - 3);
    start_grid(&r, &grid, texts);
    for (size_t m = 0; m < json_array_size(r.models); m++) {
        for (size_t n = 0; status == MOE_OK && n < json_array_size(r.machines); n++) {
            const char *model = json_string_value(json_array_get(r.models, m));
            const char *machine = json_string_value(json_array_get(r.machines, n));
            status = model != NULL && machine != NULL
                         ? one_pair(&r, model, machine, &grid, error)
                         : entry_fail(entry, 0, error, "models, machines: lists of texts");
        }
    }
    if (status != MOE_OK) {
        grid_destroy(&grid);
        return status;
    }
    outputs_line(outputs, "predicted all-to-all share of an iteration; * between %g and %g %%",
                 r.low, r.high);
    status = outputs_grid(outputs, "", &grid, error);
    outputs_line(outputs, "%zu of %zu configurations are inside", r.inside, r.points);
    return status;
}
