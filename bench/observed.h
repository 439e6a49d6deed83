/* Measured exchanges, with what they moved, rebuilt from the records of their run. */
#ifndef BENCH_OBSERVED_H
#define BENCH_OBSERVED_H

#include "moe/predict.h"
#include "moe/record.h"

typedef struct observed {
    size_t count, room, result_room;
    moe_observation_t *observation;
    const moe_result_t **result; /* beside them */
    size_t left_out;
    char why[160]; /* the last reason */
} observed_t;

/* Dispatch and combine of `layer`, and `alltoallv --sizes`. The machine is laid out as the first run was;
 * what cannot be rebuilt, or was laid out otherwise, is counted as left out. */
moe_status_t observed_read(const moe_results_t *results, moe_machine_t *machine, observed_t *out,
                           moe_error_t *error);
void observed_destroy(observed_t *observed);

#endif
