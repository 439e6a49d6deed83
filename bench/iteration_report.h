/* How iterations are printed and recorded, measured ones and predicted ones. */
#ifndef BENCH_ITERATION_REPORT_H
#define BENCH_ITERATION_REPORT_H

#include "layers.h"
#include "measured.h"
#include "moe/iteration.h"

enum { SHARE_A2A, SHARE_SERIAL, SHARE_EXPOSED, SHARES };

/* What printing has to know of the run. */
typedef struct iteration_view {
    const config_t *config;
    FILE *table;
    size_t ranks;
    const char *compute; /* description of the engine */
    size_t moe_layers;   /* that were really run, or predicted with a routing of their own */
    size_t dense_layers; /* the same */
    size_t total_moe, total_dense;
    bool predicted;
} iteration_view_t;

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

void print_timeline(const iteration_view_t *view);
void print_iteration_columns(const iteration_view_t *view);
/* series: NULL where it is predicted; `remark` then stands in place of the slowest rank. */
void print_outcome(const iteration_view_t *view, const outcome_t *o, const moe_series_t *series,
                   const char *remark);
/* The answer in one sentence. */
void print_answer(const iteration_view_t *view, const outcome_t *o);
/* A new reference. series: as above. */
moe_status_t outcome_record(const iteration_view_t *view, const outcome_t *o,
                            const moe_series_t *series, json_t **out, moe_error_t *error);

#endif
