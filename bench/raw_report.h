/* What alltoallv prints and records of an exchange. */
#ifndef BENCH_RAW_REPORT_H
#define BENCH_RAW_REPORT_H

#include "link.h"
#include "raw_source.h"
#include "world.h"

/* Columns of a repetition. */
typedef enum raw_column { RAW_EXCHANGE, RAW_SCHEDULE, RAW_COLUMNS } raw_column_t;

typedef struct raw_run {
    world_t *world;
    const raw_source_matrix_t *source;
    link_t link;
    size_t bytes_per_pair; /* 0: not the same for all */
    size_t size;           /* that, or what the rank sends that sends most */
    moe_flow_t flow;
    moe_raw_t *raw;
    const moe_algorithm_ops_t *algorithm;
    size_t errors;
    double began[RAW_COLUMNS]; /* of the repetition under way: what moe_now() showed */
} raw_run_t;

void print_raw_columns(const world_t *world);

/* Collective: a record of each column, repetitions and ranks where they are asked for, and a line of the table. */
moe_status_t report_raw(const raw_run_t *run, const moe_series_t *series, moe_error_t *error);

#endif
