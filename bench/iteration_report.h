/* How the iteration driver prints and records what it measured. */
#ifndef BENCH_ITERATION_REPORT_H
#define BENCH_ITERATION_REPORT_H

#include "layers.h"
#include "measured.h"
#include "moe/iteration.h"

enum { SHARE_A2A, SHARE_SERIAL, SHARE_EXPOSED, SHARES };

typedef struct iteration_run {
    world_t *world;
    moe_compute_t *compute;
    layer_set_t layers;
    size_t measured_dense, total_moe, total_dense;
    size_t errors;
} iteration_run_t;

/* One style and algorithm, summarised. */
typedef struct outcome {
    const moe_style_ops_t *style;
    const char *algorithm;
    moe_summary_t whole; /* maximum over ranks */
    moe_summary_t mean[MOE_ITERATION_COLUMNS], max[MOE_ITERATION_COLUMNS];
    double part[MOE_PARTS]; /* seconds, adding up to the median of mean[iteration] */
    moe_summary_t share[SHARES];
    size_t slowest, slowest_times;
    size_t errors;
} outcome_t;

void print_timeline(const iteration_run_t *run);
void print_iteration_columns(FILE *out);
void print_outcome(const iteration_run_t *run, const outcome_t *o, const moe_series_t *series);
/* The answer in one sentence. */
void print_answer(const iteration_run_t *run, const outcome_t *o);
moe_status_t record_outcome(const iteration_run_t *run, const outcome_t *o,
                            const moe_series_t *series, moe_error_t *error);

#endif
