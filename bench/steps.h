/* A sequence of steps: which one is at hand, and what all of them come to. */
#ifndef BENCH_STEPS_H
#define BENCH_STEPS_H

#include <stdio.h>

#include "world.h"

/* One style and algorithm over the steps. */
typedef struct steps_row {
    const char *style, *algorithm; /* algorithm NULL: none carries it */
    double sum, most;
    size_t count, most_step;
} steps_row_t;

typedef struct steps {
    const char *figure; /* what is added up: "total_us" */
    const char *title;  /* the same, for the table */
    steps_row_t *row;   /* [count] */
    size_t count, room;
} steps_t;

/* One step on all ranks: what it measures goes into `steps`, wrong elements are added to *errors. */
typedef moe_status_t (*step_fn)(world_t *world, steps_t *steps, size_t *errors, moe_error_t *error);

/* Collective: carries out every step of the run, and what all of them come to. MOE_WRONG_DATA where a
 * check found wrong elements. */
moe_status_t steps_run(world_t *world, const char *figure, const char *title, step_fn step,
                       moe_error_t *error);

/* Makes `step` the one at hand, in the results too. recorder: NULL on ranks without one. */
void steps_begin(config_t *config, size_t step, moe_recorder_t *recorder);
/* Adds the figure of one style and algorithm at the step at hand; names are borrowed. */
moe_status_t steps_add(steps_t *steps, const config_t *config, const char *style,
                       const char *algorithm, double value, moe_error_t *error);
/* Prints and records mean and largest over the steps, where there were several. table, recorder:
 * NULL where there is none. */
moe_status_t steps_report(const steps_t *steps, const config_t *config, FILE *table,
                          moe_recorder_t *recorder, moe_error_t *error);
void steps_destroy(steps_t *steps);

#endif
