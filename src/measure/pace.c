#include "pace.h"

#include <stdlib.h>

#include "moe/system.h"

/* After min_reps, the interval is looked at so often. */
#define LOOK_EVERY 10
/* Warm-up may take this share of max_seconds, so that slow repetitions leave time to be counted. */
#define WARMUP_SHARE 0.25

moe_status_t moe_pace_create(const moe_measure_spec_t *spec, size_t deciding, moe_pace_t *out,
                             moe_error_t *error)
{
    void *sorted;
    const moe_status_t status =
        moe_alloc("the deciding columns", deciding, sizeof *out->sorted, &sorted, error);
    if (status != MOE_OK) {
        return status;
    }
    *out = (moe_pace_t){.spec = spec, .deciding = deciding, .sorted = sorted, .start = moe_now()};
    return MOE_OK;
}

void moe_pace_destroy(moe_pace_t *pace)
{
    for (size_t c = 0; pace->sorted != NULL && c < pace->deciding; c++) {
        moe_sorted_destroy(&pace->sorted[c]);
    }
    free(pace->sorted);
    *pace = (moe_pace_t){0};
}

static bool converged(const moe_pace_t *pace)
{
    for (size_t c = 0; c < pace->deciding; c++) {
        double low, high;
        if (moe_sorted_median(&pace->sorted[c]) == 0) {
            continue; /* a phase that this exchange does not have */
        }
        if (!moe_sorted_interval(&pace->sorted[c], &low, &high) ||
            (high - low) / 2 > pace->spec->ci * moe_sorted_median(&pace->sorted[c])) {
            return false;
        }
    }
    return true;
}

/* How many of `wanted` repetitions end within `seconds` of the start, going by those so far. */
static size_t that_fit(const moe_pace_t *pace, double seconds, size_t wanted)
{
    const double now = moe_now();
    const double left = seconds - (now - pace->start);
    const double each = (now - pace->since) / (double)pace->reps_since;
    if (left >= each * (double)wanted) {
        return wanted;
    }
    return left > each ? (size_t)(left / each) : 0;
}

/* Warm-up: one repetition tells how long they take, then as many as fit. 0: it is over. */
static size_t next_warmup(const moe_pace_t *pace, const moe_series_t *series)
{
    const size_t left = pace->spec->warmup - series->warmup;
    if (series->reps > 0 || left == 0) {
        return 0;
    }
    return series->warmup == 0 ? 1 : that_fit(pace, WARMUP_SHARE * pace->spec->max_seconds, left);
}

/* Up to the next look at the interval; at least one repetition is counted. */
static size_t next_counted(const moe_pace_t *pace, const moe_series_t *series)
{
    const size_t reps = series->reps, min = pace->spec->min_reps;
    const size_t look = reps < min ? min - reps : LOOK_EVERY - (reps - min) % LOOK_EVERY;
    const size_t allowed = pace->spec->max_reps - reps;
    if (pace->reps_since == 0) { /* no warm-up: the first tells how long they take */
        return 1;
    }
    const size_t fit = that_fit(pace, pace->spec->max_seconds, look < allowed ? look : allowed);
    return reps == 0 && fit == 0 ? 1 : fit;
}

moe_pace_step_t moe_pace_next(moe_pace_t *pace, const moe_series_t *series)
{
    moe_pace_step_t step = {.count = next_warmup(pace, series)};
    step.warm = step.count > 0;
    if (!step.warm) {
        step.converged = series->reps >= pace->spec->min_reps && converged(pace);
        step.count = step.converged ? 0 : next_counted(pace, series);
    }
    pace->step_start = moe_now();
    return step;
}

moe_status_t moe_pace_learn(moe_pace_t *pace, const moe_series_t *series,
                            const moe_pace_step_t *step, moe_error_t *error)
{
    const bool first_counted = series->reps == step->count;
    if (step->warm || first_counted) { /* forget what went before: first repetitions are slow */
        pace->since = pace->step_start;
        pace->reps_since = 0;
    }
    pace->reps_since += step->count;
    for (size_t c = 0; !step->warm && c < pace->deciding; c++) {
        const double *end = moe_series_column(series, series->max, c) + series->reps;
        const moe_status_t status =
            moe_sorted_add(&pace->sorted[c], end - step->count, step->count, error);
        if (status != MOE_OK) {
            return status;
        }
    }
    return MOE_OK;
}
