#include "outputs.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

/* ---- Opening and closing ---- */

static moe_status_t open_text(const options_t *options, option_t id, FILE **out, moe_error_t *error)
{
    const char *path = options->value[id];
    *out = NULL;
    if (path == NULL) {
        return MOE_OK;
    }
    *out = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
    if (*out == NULL) {
        return moe_fail(error, MOE_BAD_INPUT, "--%s: cannot write '%.700s': %s",
                        option_row(id)->name, path, strerror(errno));
    }
    return MOE_OK;
}

static const option_t files[] = {OPT_JSON, OPT_CSV, OPT_MARKDOWN, OPT_JUNIT};
#define FILES (sizeof files / sizeof *files)

static moe_status_t check_apart(const options_t *options, bool *stdout_taken, moe_error_t *error)
{
    *stdout_taken = false;
    for (size_t i = 0; i < FILES; i++) {
        const char *path = options->value[files[i]];
        *stdout_taken = *stdout_taken || (path != NULL && strcmp(path, "-") == 0);
        for (size_t j = 0; path != NULL && j < i; j++) {
            const char *other = options->value[files[j]];
            if (other != NULL && strcmp(path, other) == 0) {
                return moe_fail(error, MOE_BAD_INPUT,
                                "--%s: '%.700s' is where --%s writes too: name another file",
                                option_row(files[i])->name, path, option_row(files[j])->name);
            }
        }
    }
    return MOE_OK;
}

moe_status_t outputs_open(const options_t *options, outputs_t *out, moe_error_t *error)
{
    bool stdout_taken;
    *out = (outputs_t){.options = options};
    moe_status_t status = check_apart(options, &stdout_taken, error);
    if (status == MOE_OK) {
        status = moe_recorder_create(options->value[OPT_JSON], options->value[OPT_CSV],
                                     &out->recorder, error);
    }
    if (status == MOE_OK) {
        status = open_text(options, OPT_MARKDOWN, &out->markdown, error);
    }
    if (status == MOE_OK) {
        status = open_text(options, OPT_JUNIT, &out->junit, error);
    }
    if (options->value[OPT_QUIET] == NULL) {
        out->table = stdout_taken ? stderr : stdout;
    }
    return status;
}

static moe_status_t close_text(FILE *file, const options_t *options, option_t id,
                               moe_error_t *error)
{
    if (file == NULL) {
        return MOE_OK;
    }
    const bool written = fflush(file) == 0 && !ferror(file);
    if ((file == stdout || fclose(file) == 0) && written) {
        return MOE_OK;
    }
    return moe_fail(error, MOE_FAILED, "--%s: cannot write all of '%.700s'", option_row(id)->name,
                    options->value[id]);
}

static bool is_verdict(moe_status_t status, const moe_error_t *error)
{
    return status == MOE_OK || error->status == MOE_OK;
}

moe_status_t outputs_close(outputs_t *outputs, moe_status_t status, moe_error_t *error)
{
    moe_error_t late = {0};
    moe_recorder_destroy(outputs->recorder);
    moe_status_t closed = close_text(outputs->markdown, outputs->options, OPT_MARKDOWN, &late);
    const moe_status_t junit = close_text(outputs->junit, outputs->options, OPT_JUNIT, &late);
    closed = closed != MOE_OK ? closed : junit;
    *outputs = (outputs_t){0};
    if (closed != MOE_OK && is_verdict(status, error)) {
        return moe_fail(error, closed, "%s", late.text);
    }
    return status;
}

/* ---- Text ---- */

moe_status_t outputs_grid(const outputs_t *outputs, const char *heading, grid_t *grid,
                          moe_error_t *error)
{
    const moe_status_t status = grid->status == MOE_OK
                                    ? MOE_OK
                                    : moe_fail(error, MOE_FAILED, "a table does not fit memory");
    if (outputs->table != NULL) {
        fprintf(outputs->table, "\n%s%s", heading, heading[0] != '\0' ? "\n" : "");
        grid_print(grid, outputs->table);
    }
    if (outputs->markdown != NULL) {
        fprintf(outputs->markdown, "%s%s%s", heading[0] != '\0' ? "### " : "", heading,
                heading[0] != '\0' ? "\n\n" : "");
        grid_print_markdown(grid, outputs->markdown);
    }
    grid_destroy(grid);
    return status;
}

void outputs_line(const outputs_t *outputs, const char *format, ...)
{
    moe_error_t line = {0}; /* for its text, in which nothing can reach the terminal */
    char text[MOE_ERROR_TEXT];
    va_list arguments;
    va_start(arguments, format);
    /* The analyzer forgets va_start() in runs over several files: */
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)moe_fail(&line, MOE_OK, "%s", text);
    if (outputs->table != NULL) {
        fprintf(outputs->table, "%s\n", line.text);
    }
    if (outputs->markdown != NULL) {
        markdown_text(line.text, outputs->markdown);
        fputs("\n\n", outputs->markdown);
    }
}

static int digits_for(double value)
{
    return value >= 100 ? 1 : value >= 1 ? 2 : 4;
}

const char *format_estimate(const moe_estimate_t *e, char *text)
{
    const int digits = digits_for(e->value);
    if (e->exact) {
        snprintf(text, 48, "%.9g", e->value);
    } else if (e->has_interval) {
        snprintf(text, 48, "%.*f [%.*f, %.*f]", digits, e->value, digits, e->low, digits, e->high);
    } else {
        snprintf(text, 48, "%.*f [n/a]", digits, e->value);
    }
    return text;
}

const char *format_ratio(const moe_ratio_t *ratio, char *text)
{
    if (ratio->method != MOE_RATIO_NONE) {
        snprintf(text, 48, "%.3f [%.3f, %.3f]", ratio->ratio, ratio->low, ratio->high);
    } else if (isfinite(ratio->ratio)) {
        snprintf(text, 48, "%.3f [n/a]", ratio->ratio);
    } else {
        snprintf(text, 48, "n/a");
    }
    return text;
}

/* ---- Records ---- */

moe_status_t read_results(const char *const *paths, size_t count, moe_results_t *out,
                          moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < count; i++) {
        status = moe_results_read(paths[i], out, error);
    }
    return status;
}

void outputs_not_measured(const outputs_t *outputs, const char *name, const moe_results_t *results)
{
    size_t predicted = 0, simulated = 0;
    for (size_t i = 0; i < results->runs; i++) {
        predicted += json_is_true(json_object_get(results->run[i], "predicted"));
        simulated += json_is_true(json_object_get(results->run[i], "simulated"));
    }
    if (predicted + simulated > 0) {
        outputs_line(outputs,
                     "%s: NOT MEASURED: of %zu runs %zu predicted, %zu simulated; what is said of "
                     "these holds for the model, not for a machine.",
                     name, results->runs, predicted, simulated);
    }
}

json_t *heading_record(const char *kind, int argc, char **argv)
{
    json_t *command = json_array();
    for (int i = 0; i < argc; i++) {
        json_array_append_new(command, moe_json_text(argv[i]));
    }
    return json_pack("{s:s, s:i, s:s, s:s, s:o, s:o}", "record", kind, "schema", MOE_SCHEMA,
                     "program", "moe-a2a", "version", MOE_VERSION, "command", command, "time",
                     moe_json_time());
}

void add_identity(json_t *record, const moe_result_t *result)
{
    static const struct {
        const char *name, *path;
    } parts[] = {
        {"of", "record"},
        {"style", "style"},
        {"algorithm", "algorithm"},
        {"phase", "phase"},
        {"pass", "pass"},
        {"layer", "layer"},
        {"step", "step"},
        {"bytes_per_pair", "bytes_per_pair"},
        {"from", "from"},
        {"to", "to"},
        {"matrix_hash", "matrix_hash"},
        {"model", "run.model.name"},
        {"ranks", "run.ranks"},
        {"routing_hash", "run.routing.hash"},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const json_t *value = moe_result_at(result, parts[i].path);
        if (value != NULL) {
            json_object_set_new(record, parts[i].name, json_deep_copy(value));
        }
    }
}

void set_number(json_t *record, const char *name, double value)
{
    if (isfinite(value)) {
        json_object_set_new(record, name, json_real(value));
    }
}
