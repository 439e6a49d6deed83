/* Where commands that read results write to: records, a table for people, Markdown, JUnit. */
#ifndef BENCH_OUTPUTS_H
#define BENCH_OUTPUTS_H

#include <stdio.h>

#include "grid.h"
#include "moe/record.h"
#include "moe/verdict.h"
#include "options.h"

typedef struct outputs {
    moe_recorder_t *recorder; /* --json, --csv */
    FILE *table;              /* stdout, stderr where records go to stdout; NULL with --quiet */
    FILE *markdown, *junit;   /* NULL: not asked for */
    const options_t *options;
} outputs_t;

/* Opens all that was asked for. Two that go to one place are refused. */
moe_status_t outputs_open(const options_t *options, outputs_t *out, moe_error_t *error);
/* Closes them; MOE_FAILED where not all of it could be written. `status` is passed on if it is an
 * error already. */
moe_status_t outputs_close(outputs_t *outputs, moe_status_t status, moe_error_t *error);

/* A heading and a grid, in the table and in Markdown; destroys the grid. */
moe_status_t outputs_grid(const outputs_t *outputs, const char *heading, grid_t *grid,
                          moe_error_t *error);
/* A line of text in both. */
void outputs_line(const outputs_t *outputs, const char *format, ...) MOE_PRINTF(2, 3);

/* All files named on the command line, one behind the other. */
moe_status_t read_results(const char *const *paths, size_t count, moe_results_t *out,
                          moe_error_t *error);

/* Says of results that hold predicted or simulated runs that these were not measured; else nothing. */
void outputs_not_measured(const outputs_t *outputs, const char *name, const moe_results_t *results);

/* The record that comes first: of that kind, with schema, program, version, command, time. */
json_t *heading_record(const char *kind, int argc, char **argv);
/* Copies the fields that say what a result is of, those that it has: style, algorithm, ... */
void add_identity(json_t *record, const moe_result_t *result);
/* "12.3 [11.9, 12.8]", in as many digits as tell values apart; "12.3 [n/a]". At least 48 bytes. */
const char *format_estimate(const moe_estimate_t *estimate, char *text);
/* "2.001 [1.93, 2.08]". At least 48 bytes. */
const char *format_ratio(const moe_ratio_t *ratio, char *text);
/* Sets a number; infinite and undefined ones are left out. */
void set_number(json_t *record, const char *name, double value);

#endif
