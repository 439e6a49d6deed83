/* What the measuring drivers share: a repetition under the watchdog, places, raw and rank records. */
#ifndef BENCH_MEASURED_H
#define BENCH_MEASURED_H

#include "output.h"
#include "world.h"

/* moe_measure() with the watchdog fed in every repetition and progress shown. `label`: what is
 * measured, e.g. "exact native". */
moe_status_t measured_series(world_t *world, const char *label, size_t columns, size_t deciding,
                             moe_repeat_fn body, void *context, moe_series_t *out,
                             moe_error_t *error);

run_place_t world_place(const world_t *world);

/* --raw: the maxima over ranks of every repetition of a column. Rank 0 only. */
moe_status_t write_raw(world_t *world, const char *style, const char *algorithm, const char *phase,
                       const moe_series_t *series, size_t column, moe_error_t *error);

/* --per-rank (collective): median time of each rank in a column, its wait against the slowest of each
 * repetition, and how often it was last; recorded, and printed by rank 0. */
moe_status_t write_ranks(world_t *world, const char *style, const char *algorithm,
                         const char *phase, const moe_series_t *series, size_t column,
                         moe_error_t *error);

/* Adds reps, warmup, converged, slowest_rank and the trend of a column to a record. */
moe_status_t add_series(json_t *record, const moe_series_t *series, size_t column,
                        moe_summary_t *summary, moe_error_t *error);

/* What stands behind a line of a table: "  not converged", "  drifts", both, or nothing. */
const char *series_remarks(const moe_series_t *series, const moe_summary_t *summary);

#endif
