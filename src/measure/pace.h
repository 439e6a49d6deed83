/* Rank 0's decisions: how many repetitions come next, and when it is enough. */
#ifndef MOE_MEASURE_PACE_H
#define MOE_MEASURE_PACE_H

#include "moe/measure.h"
#include "sorted.h"

typedef struct moe_pace {
    const moe_measure_spec_t *spec;
    size_t deciding;
    moe_sorted_t *sorted; /* [deciding] counted maxima over ranks */
    double start;         /* of the whole series */
    double step_start;    /* of the last step */
    double since;         /* start of the repetitions that tell how long one takes, */
    size_t reps_since;    /* and how many they were; 0: none yet */
} moe_pace_t;

/* What comes next; broadcast as it is. */
typedef struct moe_pace_step {
    uint64_t count; /* repetitions; 0: stop */
    uint64_t warm;
    uint64_t converged;
} moe_pace_step_t;

/* The clock of max_seconds runs from here. */
moe_status_t moe_pace_create(const moe_measure_spec_t *spec, size_t deciding, moe_pace_t *out,
                             moe_error_t *error);
void moe_pace_destroy(moe_pace_t *pace);

moe_pace_step_t moe_pace_next(moe_pace_t *pace, const moe_series_t *series);

/* Takes in what the step has appended to the series. */
moe_status_t moe_pace_learn(moe_pace_t *pace, const moe_series_t *series,
                            const moe_pace_step_t *step, moe_error_t *error);

#endif
