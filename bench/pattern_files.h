/* --import and --export of `pattern`: files that others write and read. */
#ifndef BENCH_PATTERN_FILES_H
#define BENCH_PATTERN_FILES_H

#include <stdio.h>

#include "config.h"
#include "layers.h"
#include "moe/record.h"
#include "moe/trace.h"

/* Refuses formats that there are not, before anything is routed. */
moe_status_t pattern_files_check(const config_t *config, moe_error_t *error);
/* Describes the file of --import in `table` (NULL: nothing is printed) and in records, and writes it again as
 * --export says. */
moe_status_t pattern_import(const config_t *config, FILE *table, moe_recorder_t *recorder,
                            moe_error_t *error);
/* The style whose matrix --export writes: exact, or the only one of --style. Refuses what cannot be written as a
 * matrix. */
moe_status_t pattern_export_style(const config_t *config, const moe_style_ops_t **style,
                                  moe_error_t *error);
/* Writes what was routed: the choices of all MoE layers, or what the first one dispatches from rank to rank.
 * group[dp] with the first MoE layer. */
moe_status_t pattern_export(const config_t *config, const layer_set_t *group, size_t ranks_per_node,
                            FILE *table, moe_error_t *error);
/* Writes a matrix as --export says, and says so in the table. */
moe_status_t pattern_write_matrix(const config_t *config, const moe_matrix_t *matrix, FILE *table,
                                  moe_error_t *error);
/* The same of choices. */
moe_status_t pattern_write_choices(const config_t *config, const moe_trace_t *trace, FILE *table,
                                   moe_error_t *error);

#endif
