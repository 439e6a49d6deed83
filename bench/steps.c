#include "steps.h"

#include <stdlib.h>
#include <string.h>

#include "moe/system.h"

/* Larger figures are bytes, or times whose fractions say nothing. */
#define SHOWN_WHOLE 1e5

void steps_begin(config_t *config, size_t step, moe_recorder_t *recorder)
{
    config->step = (uint32_t)step;
    if (config->counts_steps) {
        moe_recorder_set_step(recorder, step);
    }
}

static steps_row_t *find(const steps_t *steps, const char *style, const char *algorithm)
{
    for (size_t i = 0; i < steps->count; i++) {
        steps_row_t *row = &steps->row[i];
        if (strcmp(row->style, style) == 0 &&
            (algorithm == NULL || strcmp(row->algorithm, algorithm) == 0)) {
            return row;
        }
    }
    return NULL;
}

moe_status_t steps_add(steps_t *steps, const config_t *config, const char *style,
                       const char *algorithm, double value, moe_error_t *error)
{
    steps_row_t *row = find(steps, style, algorithm);
    if (row == NULL) {
        const moe_status_t status = moe_grow("results of steps", steps->count, sizeof *row,
                                             (void **)&steps->row, &steps->room, error);
        if (status != MOE_OK) {
            return status;
        }
        row = &steps->row[steps->count++];
        *row = (steps_row_t){.style = style, .algorithm = algorithm};
    }
    row->sum += value;
    row->count++;
    if (row->count == 1 || value > row->most) {
        row->most = value;
        row->most_step = config->step;
    }
    return MOE_OK;
}

static moe_status_t record_row(const steps_t *steps, const steps_row_t *row,
                               moe_recorder_t *recorder, moe_error_t *error)
{
    const double mean = row->sum / (double)row->count;
    json_t *record =
        json_pack("{s:s, s:s, s:s, s:I, s:f, s:f, s:I}", "record", "steps", "style", row->style,
                  "figure", steps->figure, "steps", (json_int_t)row->count, "mean", mean, "max",
                  row->most, "max_step", (json_int_t)row->most_step);
    if (row->algorithm != NULL) {
        json_object_set_new(record, "algorithm", json_string(row->algorithm));
    }
    if (mean > 0) {
        json_object_set_new(record, "max_over_mean", json_real(row->most / mean));
    }
    return moe_recorder_write(recorder, record, error);
}

moe_status_t steps_report(const steps_t *steps, const config_t *config, FILE *table,
                          moe_recorder_t *recorder, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    if (config->steps < 2) {
        return MOE_OK;
    }
    moe_recorder_set_step(recorder, MOE_NO_STEP);
    if (table != NULL) {
        fprintf(table, "\n%s over %zu steps\n%-16s %-12s %14s %14s %9s\n", steps->title,
                config->steps, "style", "algorithm", "mean", "largest", "at step");
    }
    for (size_t i = 0; status == MOE_OK && i < steps->count; i++) {
        const steps_row_t *row = &steps->row[i];
        if (table != NULL) {
            const int digits = row->most < SHOWN_WHOLE ? 3 : 0;
            fprintf(table, "%-16s %-12s %14.*f %14.*f %9zu\n", row->style,
                    row->algorithm != NULL ? row->algorithm : "", digits,
                    row->sum / (double)row->count, digits, row->most, row->most_step);
        }
        status = record_row(steps, row, recorder, error);
    }
    return status;
}

void steps_destroy(steps_t *steps)
{
    free(steps->row);
    *steps = (steps_t){0};
}

moe_status_t steps_run(world_t *world, const char *figure, const char *title, step_fn step,
                       moe_error_t *error)
{
    steps_t steps = {.figure = figure, .title = title};
    size_t errors = 0;
    moe_status_t status = MOE_OK;
    for (size_t s = 0; status == MOE_OK && s < world->config.steps; s++) {
        steps_begin(&world->config, s, world->recorder);
        status = step(world, &steps, &errors, error);
    }
    if (status == MOE_OK && world->all->rank == 0) {
        status = steps_report(&steps, &world->config, world->table, world->recorder, error);
    }
    steps_destroy(&steps);
    world->running = false;
    if (status == MOE_OK && errors > 0) {
        return moe_fail(error, MOE_WRONG_DATA, "%zu wrong elements were found by the check",
                        errors);
    }
    return status;
}
