#include "compare_output.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of what did not match, and of what differed, so many lines are for people; --json has all. */
#define MOST_LINES 20

/* ---- Records ---- */

static void add_side(json_t *record, const char *side, const moe_group_t *group,
                     const moe_estimate_t *time)
{
    char name[32];
    snprintf(name, sizeof name, "%s_us", side);
    set_number(record, name, time->value);
    if (time->has_interval) {
        snprintf(name, sizeof name, "%s_low_us", side);
        set_number(record, name, time->low);
        snprintf(name, sizeof name, "%s_high_us", side);
        set_number(record, name, time->high);
    }
    snprintf(name, sizeof name, "%s_converged", side);
    json_object_set_new(record, name, json_boolean(time->converged));
    snprintf(name, sizeof name, "%s_launches", side);
    json_object_set_new(record, name, json_integer((json_int_t)group->launches));
    snprintf(name, sizeof name, "%s_line", side);
    json_object_set_new(record, name, json_integer((json_int_t)group->launch[0]->line));
}

static void add_ratio(json_t *record, const moe_ratio_t *ratio)
{
    set_number(record, "ratio", ratio->ratio);
    if (ratio->method != MOE_RATIO_NONE) {
        set_number(record, "ratio_low", ratio->low);
        set_number(record, "ratio_high", ratio->high);
    }
}

static moe_status_t record_rows(const outputs_t *o, const char *a, const char *b,
                                const moe_comparison_t *c, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < c->rows; i++) {
        const moe_comparison_row_t *row = &c->row[i];
        json_t *record = json_pack("{s:s, s:o, s:o}", "record", "ratio", "a", moe_json_text(a), "b",
                                   moe_json_text(b));
        add_identity(record, row->a->launch[0]);
        add_side(record, "a", row->a, &row->time_a);
        add_side(record, "b", row->b, &row->time_b);
        add_ratio(record, &row->ratio);
        json_object_set_new(record, "method",
                            json_string(moe_ratio_method_name(row->ratio.method)));
        json_object_set_new(record, "verdict", json_string(moe_call_name(row->call)));
        status = moe_recorder_write(o->recorder, record, error);
    }
    return status;
}

static moe_status_t record_rest(const outputs_t *o, const char *a, const char *b,
                                const moe_comparison_t *c, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < c->means; i++) {
        const moe_comparison_mean_t *mean = &c->mean[i];
        json_t *record =
            json_pack("{s:s, s:s, s:I, s:f, s:f}", "record", "ratio_mean", "phase", mean->phase,
                      "rows", (json_int_t)mean->rows, "least", mean->least, "most", mean->most);
        if (mean->sound) {
            add_ratio(record, &mean->ratio);
        }
        status = moe_recorder_write(o->recorder, record, error);
    }
    for (size_t i = 0; status == MOE_OK && i < c->unmatched_count; i++) {
        const moe_unmatched_t *u = &c->unmatched[i];
        json_t *record =
            json_pack("{s:s, s:s, s:I, s:s}", "record", "unmatched", "file", u->in_a ? a : b,
                      "line", (json_int_t)u->group->launch[0]->line, "why", u->why);
        add_identity(record, u->group->launch[0]);
        status = moe_recorder_write(o->recorder, record, error);
    }
    for (size_t i = 0; status == MOE_OK && i < c->differences; i++) {
        const moe_difference_t *d = &c->difference[i];
        status = moe_recorder_write(o->recorder,
                                    json_pack("{s:s, s:s, s:O, s:O}", "record", "difference",
                                              "field", d->field, "a", d->a, "b", d->b),
                                    error);
    }
    return status;
}

static moe_status_t record_all(const outputs_t *o, const char *a, const char *b,
                               const moe_comparison_t *c, json_t *heading, moe_error_t *error)
{
    json_t *counts = json_pack("{s:o, s:o, s:f, s:I, s:I, s:I, s:I, s:I}", "a", moe_json_text(a),
                               "b", moe_json_text(b), "confidence", MOE_COMPARED_CONFIDENCE, "rows",
                               (json_int_t)c->rows, "faster", (json_int_t)c->calls[MOE_FASTER],
                               "slower", (json_int_t)c->calls[MOE_SLOWER], "no_difference",
                               (json_int_t)c->calls[MOE_NO_DIFFERENCE], "unmatched",
                               (json_int_t)c->unmatched_count);
    json_object_update(heading, counts);
    json_decref(counts);
    moe_status_t status = moe_recorder_write(o->recorder, heading, error);
    if (status == MOE_OK) {
        status = record_rows(o, a, b, c, error);
    }
    return status == MOE_OK ? record_rest(o, a, b, c, error) : status;
}

/* ---- For people ---- */

/* Size of a pair, or the layer, or nothing: what tells rows of one phase apart. */
static void format_place(const moe_result_t *result, char *text, size_t size)
{
    const json_t *bytes = moe_result_at(result, "bytes_per_pair");
    const json_t *layer = moe_result_at(result, "layer");
    const json_t *step = moe_result_at(result, "step");
    const json_t *to = moe_result_at(result, "to");
    text[0] = '\0';
    if (bytes != NULL) {
        snprintf(text, size, "%" JSON_INTEGER_FORMAT " B", json_integer_value(bytes));
    } else if (to != NULL) {
        snprintf(text, size, "%.0f to %.0f", json_number_value(moe_result_at(result, "from")),
                 json_number_value(to));
    } else if (layer != NULL) {
        snprintf(text, size, "layer %" JSON_INTEGER_FORMAT, json_integer_value(layer));
    }
    if (step != NULL) {
        const size_t length = strlen(text);
        snprintf(text + length, size - length, "%sstep %" JSON_INTEGER_FORMAT,
                 length > 0 ? ", " : "", json_integer_value(step));
    }
}

static const char *phase_of(const moe_result_t *result)
{
    const char *phase = moe_result_text(result, "phase");
    if (phase[0] == '\0') {
        phase = moe_result_text(result, "pass");
    }
    return phase[0] != '\0' ? phase : moe_result_text(result, "record");
}

static void add_name(grid_t *grid, const moe_result_t *result)
{
    char place[48];
    format_place(result, place, sizeof place);
    grid_cell(grid, 0, "%s", moe_result_text(result, "run.model.name"));
    grid_cell(grid, 1, "%.0f", json_number_value(moe_result_at(result, "run.ranks")));
    grid_cell(grid, 2, "%s", moe_result_text(result, "style"));
    grid_cell(grid, 3, "%s", moe_result_text(result, "algorithm"));
    grid_cell(grid, 4, "%s", phase_of(result));
    grid_cell(grid, 5, "%s", place);
}

static moe_status_t print_rows(const outputs_t *o, const moe_comparison_t *c, moe_error_t *error)
{
    static const char *const headings[] = {"model",       "ranks",       "style",
                                           "algorithm",   "phase",       "",
                                           "A us [95 %]", "B us [95 %]", "times as fast [99 %]",
                                           "verdict on B"};
    grid_t grid;
    char text[48];
    grid_start(&grid, sizeof headings / sizeof *headings, headings);
    for (size_t i = 0; i < c->rows; i++) {
        const moe_comparison_row_t *row = &c->row[i];
        const bool converged = row->time_a.converged && row->time_b.converged;
        grid_add_row(&grid);
        add_name(&grid, row->a->launch[0]);
        grid_cell(&grid, 6, "%s", format_estimate(&row->time_a, text));
        grid_cell(&grid, 7, "%s", format_estimate(&row->time_b, text));
        grid_cell(&grid, 8, "%s", format_ratio(&row->ratio, text));
        grid_cell(&grid, 9, "%s%s", moe_call_name(row->call), converged ? "" : " (not converged)");
    }
    return outputs_grid(o, "", &grid, error);
}

static moe_status_t print_means(const outputs_t *o, const moe_comparison_t *c, moe_error_t *error)
{
    static const char *const headings[] = {"phase", "rows", "times as fast [99 %]", "from", "to"};
    grid_t grid;
    char text[48];
    size_t shown = 0;
    grid_start(&grid, sizeof headings / sizeof *headings, headings);
    for (size_t i = 0; i < c->means; i++) {
        const moe_comparison_mean_t *mean = &c->mean[i];
        if (mean->rows < 2) {
            continue;
        }
        shown++;
        grid_add_row(&grid);
        grid_cell(&grid, 0, "%s", mean->phase);
        grid_cell(&grid, 1, "%zu", mean->rows);
        grid_cell(&grid, 2, "%s",
                  mean->sound ? format_ratio(&mean->ratio, text)
                              : "none: sizes differ, or rows contradict");
        grid_cell(&grid, 3, "%.3f", mean->least);
        grid_cell(&grid, 4, "%.3f", mean->most);
    }
    if (shown == 0) {
        grid_destroy(&grid);
        return MOE_OK;
    }
    return outputs_grid(o, "Geometric mean over rows of one phase", &grid, error);
}

static moe_status_t print_unmatched(const outputs_t *o, const moe_comparison_t *c,
                                    moe_error_t *error)
{
    static const char *const headings[] = {"model", "ranks", "style",   "algorithm",
                                           "phase", "",      "only in", "why"};
    grid_t grid;
    char heading[64];
    if (c->unmatched_count == 0) {
        return MOE_OK;
    }
    grid_start(&grid, sizeof headings / sizeof *headings, headings);
    for (size_t i = 0; i < c->unmatched_count && i < MOST_LINES; i++) {
        const moe_unmatched_t *u = &c->unmatched[i];
        grid_add_row(&grid);
        add_name(&grid, u->group->launch[0]);
        grid_cell(&grid, 6, "%s:%zu", u->in_a ? "A" : "B", u->group->launch[0]->line);
        grid_cell(&grid, 7, "%s", u->why);
    }
    snprintf(heading, sizeof heading, "Not compared: %zu%s", c->unmatched_count,
             c->unmatched_count > MOST_LINES ? ", the first of them" : "");
    return outputs_grid(o, heading, &grid, error);
}

/* A value as people read it: the words of a command with blanks between, the program without its
 * folder. Freed by the caller; NULL where memory is short. */
static char *value_text(const json_t *value)
{
    if (json_is_string(value)) {
        return strdup(json_string_value(value));
    }
    const char *first = json_string_value(json_array_get(value, 0));
    if (first == NULL) {
        return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9));
    }
    char *text = malloc(GRID_CELL);
    const char *slash = strrchr(first, '/');
    size_t used = text == NULL
                      ? GRID_CELL
                      : (size_t)snprintf(text, GRID_CELL, "%s", slash != NULL ? slash + 1 : first);
    for (size_t i = 1; i < json_array_size(value) && used < GRID_CELL; i++) {
        const char *word = json_string_value(json_array_get(value, i));
        used += (size_t)snprintf(text + used, GRID_CELL - used, " %s", word != NULL ? word : "...");
    }
    return text;
}

static void put_values(grid_t *grid, size_t column, const json_t *values)
{
    char text[GRID_CELL] = "";
    size_t used = 0;
    for (size_t i = 0; i < json_array_size(values) && used < sizeof text; i++) {
        char *dumped = value_text(json_array_get(values, i));
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%.100s%s", i > 0 ? "; " : "",
                                 dumped != NULL ? dumped : "",
                                 dumped != NULL && strlen(dumped) > 100 ? "..." : "");
        free(dumped);
    }
    grid_cell(grid, column, "%s", json_array_size(values) == 0 ? "none" : text);
}

static moe_status_t print_differences(const outputs_t *o, const moe_comparison_t *c,
                                      moe_error_t *error)
{
    static const char *const headings[] = {"what", "A", "B"};
    grid_t grid;
    char heading[64];
    if (c->differences == 0) {
        outputs_line(o, "The runs differ in nothing that is recorded of them.");
        return MOE_OK;
    }
    grid_start(&grid, sizeof headings / sizeof *headings, headings);
    for (size_t i = 0; i < c->differences && i < MOST_LINES; i++) {
        grid_add_row(&grid);
        grid_cell(&grid, 0, "%s", c->difference[i].field);
        put_values(&grid, 1, c->difference[i].a);
        put_values(&grid, 2, c->difference[i].b);
    }
    snprintf(heading, sizeof heading, "What else differed between the runs: %zu%s", c->differences,
             c->differences > MOST_LINES ? ", the first of them" : "");
    return outputs_grid(o, heading, &grid, error);
}

/* One launch a side says that these two differ; only launches in turn say that A and B do. */
static bool has_single_launches(const moe_comparison_t *c)
{
    for (size_t i = 0; i < c->rows; i++) {
        if (c->row[i].a->launches == 1 && c->row[i].b->launches == 1) {
            return true;
        }
    }
    return false;
}

static moe_status_t print_all(const outputs_t *o, const char *a, const char *b,
                              const moe_comparison_t *c, moe_error_t *error)
{
    outputs_line(o, "A  %s", a);
    outputs_line(o, "B  %s", b);
    moe_status_t status = c->rows > 0 ? print_rows(o, c, error) : MOE_OK;
    if (status == MOE_OK && c->rows > 0) {
        if (o->table != NULL) {
            fputc('\n', o->table);
        }
        outputs_line(o,
                     "Of %zu rows B is faster in %zu and slower in %zu; in %zu no difference is "
                     "shown.",
                     c->rows, c->calls[MOE_FASTER], c->calls[MOE_SLOWER],
                     c->calls[MOE_NO_DIFFERENCE]);
        if (has_single_launches(c)) {
            outputs_line(o, "One launch a side: what differs between launches is in no interval "
                            "here (tools/launches repeats them).");
        }
        status = print_means(o, c, error);
    }
    if (status == MOE_OK) {
        status = print_unmatched(o, c, error);
    }
    if (status == MOE_OK) {
        status = print_differences(o, c, error);
    }
    if (o->table != NULL) {
        fputc('\n', o->table);
    }
    return status;
}

moe_status_t write_comparison(const outputs_t *outputs, const char *path_a, const char *path_b,
                              const moe_comparison_t *comparison, json_t *heading,
                              moe_error_t *error)
{
    const moe_status_t status = record_all(outputs, path_a, path_b, comparison, heading, error);
    return status == MOE_OK ? print_all(outputs, path_a, path_b, comparison, error) : status;
}
