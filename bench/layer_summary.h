/* The table that closes `layer`: every style and algorithm, fastest first. */
#ifndef BENCH_LAYER_SUMMARY_H
#define BENCH_LAYER_SUMMARY_H

#include <stdio.h>

#include "moe/exchange.h"
#include "moe/iteration.h"
#include "moe/measure.h"
#include "moe/traffic.h"

typedef struct layer_outcome {
    const moe_style_ops_t *style;
    const moe_algorithm_ops_t *algorithm;
    const char *chosen; /* what really ran, with `best` */
    moe_tiers_t tiers;  /* bytes of rows, dispatch and combine */
    moe_summary_t time[MOE_LAYER_COLUMNS];
} layer_outcome_t;

/* Sorts the outcomes by their total. */
void print_layer_summary(FILE *out, layer_outcome_t *outcomes, size_t count);

#endif
