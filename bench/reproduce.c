/* moe-a2a reproduce: published figures, and ours beside them. */
#include "reproduce.h"

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "moe/system.h"
#include "ready_file.h"

#define FILE_LIMIT ((size_t)1 << 20)

static const command_t command = {
    .name = "reproduce",
    .arguments = "NAME|FILE|all",
    .summary = "published figures beside ours: arithmetic to the digit, measurements predicted",
    .help =
        "Reckons published figures anew. Exact ones must be equal to the digits that were "
        "published. "
        "Measured ones are predicted by the cost model from the configuration that was "
        "published, and "
        "shown with their deviation; the entry says what was left open, what is assumed, and "
        "why they "
        "differ.\v"
        "  moe-a2a reproduce --list\n"
        "  moe-a2a reproduce schemoe-table1\n"
        "  moe-a2a reproduce all --simulated results/sim-reproduce.jsonl --json figures.jsonl\n\n"
        "Exit status: 0 done, 1 an exact figure is not equal or one is outside of what its "
        "entry allows.",
    .groups = GROUP_OUTPUT | GROUP_MARKDOWN | GROUP_REPRODUCE,
};

/* ---- Entries ---- */

const char *entry_text(const entry_t *entry, const char *name)
{
    const char *text = json_string_value(json_object_get(entry->object, name));
    return text != NULL ? text : "";
}

moe_status_t entry_fail(const entry_t *entry, size_t number, moe_error_t *error, const char *format,
                        ...)
{
    char text[MOE_ERROR_TEXT], where[32] = "";
    va_list arguments;
    va_start(arguments, format);
    /* The analyzer forgets va_start() in runs over several files: */
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (number > 0)
        snprintf(where, sizeof where, " case %zu:", number);
    return moe_fail(error, MOE_BAD_INPUT, "%.300s:%s %.600s", entry->path, where, text);
}

static moe_status_t check_entry(const entry_t *entry, moe_error_t *error)
{
    static const char *const texts[] = {"name", "kind", "what", "source"};
    static const char *const known[] = {
        "schema",    "name",          "kind",   "what",     "source",          "check", "cases",
        "rows",      "options",       "shape",  "within",   "gives",           "open",  "assumed",
        "deviation", "share_percent", "models", "machines", "capacity_factors"};
    const char *key;
    json_t *value;
    if (json_integer_value(json_object_get(entry->object, "schema")) != 1)
        return entry_fail(entry, 0, error, "schema: this program knows 1");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (entry_text(entry, texts[i])[0] == '\0')
            return entry_fail(entry, 0, error, "%s: is missing, or no text", texts[i]);
    }
    json_object_foreach(entry->object, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            found = found || strcmp(known[i], key) == 0;
        if (!found)
            return entry_fail(entry, 0, error, "%.60s: no such field", key);
    }
    return MOE_OK;
}

static moe_status_t read_entry(const char *path, entry_t *out, moe_error_t *error)
{
    char *text = NULL;
    size_t size = 0;
    json_error_t why;
    moe_status_t status = moe_file_read(path, FILE_LIMIT, &text, &size, error);
    if (status != MOE_OK)
        return status;
    entry_t entry = {.path = path, .object = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why)};
    free(text);
    if (entry.object == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "%.300s:%d:%d: %s", path, why.line, why.column,
                        why.text);
    status = check_entry(&entry, error);
    if (status != MOE_OK) {
        json_decref(entry.object);
        return status;
    }
    *out = entry;
    return MOE_OK;
}

/* ---- Output ---- */

static moe_status_t record_figures(const entry_t *entry, const outputs_t *outputs,
                                   const figures_t *figures, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < figures->count; i++) {
        const figure_t *f = &figures->figure[i];
        json_t *record =
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:f, s:f}", "record", "reproduction", "name",
                      entry_text(entry, "name"), "kind", entry_text(entry, "kind"), "case",
                      f->label, "quantity", f->quantity, "published", f->published, "ours",
                      f->computed, "deviation", figure_deviation(f, f->computed));
        if (!isnan(f->simulated))
            json_object_set_new(record, "simulated", json_real(f->simulated));
        if (f->verdict != FIGURE_BESIDE)
            json_object_set_new(record, "verdict", json_string(figure_verdict_name(f->verdict)));
        status = moe_recorder_write(outputs->recorder, record, error);
    }
    return status;
}

/* Columns that are empty for an entry are left out. */
static moe_status_t print_figures(const entry_t *entry, const outputs_t *outputs,
                                  const figures_t *figures, bool simulated, moe_error_t *error)
{
    const bool exact = strcmp(entry_text(entry, "kind"), "exact") == 0;
    const char *headings[] = {"case",      "quantity",  "published", exact ? "ours" : "predicted",
                              "deviation", "SIMULATED", "deviation", ""};
    const size_t columns = sizeof headings / sizeof *headings, last = simulated ? columns - 1 : 5;
    grid_t grid;
    headings[last] = "";
    grid_start(&grid, last + 1, headings);
    for (size_t i = 0; i < figures->count; i++) {
        const figure_t *f = &figures->figure[i];
        grid_add_row(&grid);
        grid_cell(&grid, 0, "%s", f->label);
        grid_cell(&grid, 1, "%s", f->quantity);
        grid_cell(&grid, 2, "%s", f->published);
        grid_cell(&grid, 3, "%.*f", f->decimals + (exact ? 0 : 1), f->computed);
        if (!exact)
            grid_cell(&grid, 4, "%+.1f %%", 100 * figure_deviation(f, f->computed));
        if (simulated && !isnan(f->simulated)) {
            grid_cell(&grid, 5, "%.*f", f->decimals + 1, f->simulated);
            grid_cell(&grid, 6, "%+.1f %%", 100 * figure_deviation(f, f->simulated));
        }
        grid_cell(&grid, last, "%s", figure_verdict_name(f->verdict));
    }
    return outputs_grid(outputs, "", &grid, error);
}

static void print_words(const entry_t *entry, const outputs_t *outputs)
{
    static const char *const words[] = {"gives", "open", "assumed", "deviation"};
    outputs_line(outputs, "%s", "");
    outputs_line(outputs, "== %s: %s", entry_text(entry, "name"), entry_text(entry, "what"));
    outputs_line(outputs, "   source: %s", entry_text(entry, "source"));
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (entry_text(entry, words[i])[0] != '\0')
            outputs_line(outputs, "   %s: %s", words[i], entry_text(entry, words[i]));
    }
}

/* ---- The run ---- */

typedef struct totals {
    json_t *simulated; /* NULL: none was given */
    size_t exact, equal, judged, within, shown, entries;
} totals_t;

static void add_totals(totals_t *t, const figures_t *figures)
{
    for (size_t i = 0; i < figures->count; i++) {
        const figure_verdict_t v = figures->figure[i].verdict;
        t->exact += v == FIGURE_EQUAL || v == FIGURE_UNEQUAL;
        t->equal += v == FIGURE_EQUAL;
        t->judged += v == FIGURE_WITHIN || v == FIGURE_OUTSIDE;
        t->within += v == FIGURE_WITHIN;
        t->shown += v == FIGURE_BESIDE;
    }
}

static moe_status_t reproduce_entry(const char *path, const outputs_t *outputs, totals_t *totals,
                                    moe_error_t *error)
{
    entry_t entry;
    figures_t figures = {0};
    moe_status_t status = read_entry(path, &entry, error);
    if (status != MOE_OK)
        return status;
    const char *kind = entry_text(&entry, "kind");
    totals->entries++;
    print_words(&entry, outputs);
    if (strcmp(kind, "range") == 0) {
        status = reproduce_range(&entry, outputs, error);
        json_decref(entry.object);
        return status;
    }
    if (strcmp(kind, "exact") == 0)
        status = reproduce_exact(&entry, &figures, error);
    else if (strcmp(kind, "measured") == 0)
        status = reproduce_measured(&entry, &figures, error);
    else
        status =
            entry_fail(&entry, 0, error, "kind '%.60s': there is exact, measured, range", kind);
    const bool simulated =
        status == MOE_OK && reproduce_set_simulated(&entry, totals->simulated, &figures);
    if (status == MOE_OK)
        status = print_figures(&entry, outputs, &figures, simulated, error);
    if (status == MOE_OK)
        status = record_figures(&entry, outputs, &figures, error);
    add_totals(totals, &figures);
    figures_destroy(&figures);
    json_decref(entry.object);
    return status;
}

static moe_status_t list_entries(const outputs_t *outputs, moe_error_t *error)
{
    char *names[READY_NAMES], path[PATH_MAX];
    const size_t count = ready_file_names(&ready_figures, names);
    moe_status_t status = MOE_OK;
    for (size_t i = 0; i < count; i++) {
        entry_t entry;
        if (status == MOE_OK)
            status = ready_file_find(&ready_figures, names[i], path, sizeof path, error);
        if (status == MOE_OK)
            status = read_entry(path, &entry, error);
        if (status == MOE_OK) {
            outputs_line(outputs, "%-26s %-9s %s", names[i], entry_text(&entry, "kind"),
                         entry_text(&entry, "what"));
            json_decref(entry.object);
        }
        free(names[i]);
    }
    return status;
}

static moe_status_t reproduce_named(const char *name, const outputs_t *outputs, totals_t *totals,
                                    moe_error_t *error)
{
    char path[PATH_MAX];
    const moe_status_t status = ready_file_find(&ready_figures, name, path, sizeof path, error);
    return status == MOE_OK ? reproduce_entry(path, outputs, totals, error) : status;
}

static moe_status_t reproduce_all(const outputs_t *outputs, totals_t *totals, moe_error_t *error)
{
    char *names[READY_NAMES];
    const size_t count = ready_file_names(&ready_figures, names);
    moe_status_t status =
        count > 0
            ? MOE_OK
            : moe_fail(error, MOE_BAD_INPUT, "patterns/reproduce is not found beside the program");
    for (size_t i = 0; i < count; i++) {
        if (status == MOE_OK)
            status = reproduce_named(names[i], outputs, totals, error);
        free(names[i]);
    }
    return status;
}

static moe_status_t judge(const totals_t *t, const outputs_t *outputs, moe_error_t *error)
{
    outputs_line(outputs, "%s", "");
    outputs_line(
        outputs,
        "%zu entries: %zu of %zu exact figures are equal, %zu of %zu others within what their "
        "entries allow, %zu shown beside the published ones",
        t->entries, t->equal, t->exact, t->within, t->judged, t->shown);
    if (t->equal == t->exact && t->within == t->judged)
        return MOE_OK;
    return moe_fail(error, MOE_WRONG_DATA, "%zu exact figures are not equal, %zu are outside",
                    t->exact - t->equal, t->judged - t->within);
}

static moe_status_t run_reproduce(const options_t *options, int argc, char **argv,
                                  moe_error_t *error)
{
    outputs_t outputs = {0};
    totals_t totals = {0};
    const char *name = options->positional;
    const bool list = options->given[OPT_LIST];
    if (list == (name != NULL))
        return moe_fail(error, MOE_BAD_INPUT,
                        "give a NAME, all, or --list, which names them: one of these");
    moe_status_t status = MOE_OK;
    if (options->value[OPT_SIMULATED] != NULL)
        status = reproduce_read_simulated(options->value[OPT_SIMULATED], &totals.simulated, error);
    if (status != MOE_OK)
        return status;
    status = outputs_open(options, &outputs, error);
    if (status == MOE_OK && !list)
        status =
            moe_recorder_write(outputs.recorder, heading_record("reproduce", argc, argv), error);
    if (status == MOE_OK)
        status = list                       ? list_entries(&outputs, error)
                 : strcmp(name, "all") == 0 ? reproduce_all(&outputs, &totals, error)
                                            : reproduce_named(name, &outputs, &totals, error);
    const size_t unused = reproduce_unused(totals.simulated);
    if (status == MOE_OK && !list && unused > 0 && strcmp(name, "all") == 0)
        outputs_line(
            &outputs,
            "%zu simulated figures belong to no published one: they are of another version",
            unused);
    if (status == MOE_OK && !list)
        status = judge(&totals, &outputs, error);
    json_decref(totals.simulated);
    return outputs_close(&outputs, status, error);
}

static int run(int argc, char **argv)
{
    options_t options;
    moe_error_t error = {0};
    moe_status_t status = options_parse(&command, argc - 1, argv + 1, &options, &error);
    if (status == MOE_OK && !options.help)
        status = run_reproduce(&options, argc, argv, &error);
    if (status != MOE_OK)
        fprintf(stderr, "moe-a2a reproduce: %s\n", error.text);
    return (int)status;
}

const command_entry_t reproduce_command = {.command = &command, .run = run, .where = ""};
