#include <math.h>

#include "moe/measure.h"
#include "pace.h"
#include "series.h"

static moe_status_t check(const moe_measure_spec_t *spec, size_t columns, size_t deciding,
                          moe_error_t *error)
{
    if (spec->min_reps == 0 || spec->max_reps < spec->min_reps) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "repetitions: at least %zu and at most %zu; the first must be 1 or more, "
                        "and the second not less than it",
                        spec->min_reps, spec->max_reps);
    }
    if (spec->warmup > SIZE_MAX - spec->max_reps) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "%zu warm-up and %zu counted repetitions are more than can be numbered; "
                        "allow fewer",
                        spec->warmup, spec->max_reps);
    }
    if (!(spec->max_seconds > 0) || !(spec->ci >= 0) || isinf(spec->ci)) { /* NaN too */
        return moe_fail(error, MOE_BAD_INPUT,
                        "a time limit of %g s and a relative half-width of %g: the limit must be "
                        "above 0, the half-width 0 or more",
                        spec->max_seconds, spec->ci);
    }
    if (deciding == 0 || deciding > columns) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "%zu of %zu measured columns decide: it must be 1 to all of them", deciding,
                        columns);
    }
    return MOE_OK;
}

/* Nothing but barriers and the body in here: what it costs is in what is measured. */
static moe_status_t repeat(moe_transport_t *transport, size_t columns, bool free_running,
                           moe_repeat_fn body, void *context, const moe_series_batch_t *batch,
                           moe_error_t *error)
{
    for (size_t r = 0; r < batch->count; r++) {
        const bool meet = r == 0 || !free_running;
        moe_status_t status = meet ? transport->ops->barrier(transport, error) : MOE_OK;
        if (status == MOE_OK) {
            status = body(context, batch->own + r * columns, error);
        }
        if (status != MOE_OK) {
            return status;
        }
    }
    return MOE_OK;
}

/* The same on all ranks. */
static moe_status_t next_step(moe_transport_t *transport, moe_pace_t *pace,
                              const moe_series_t *series, moe_pace_step_t *out, moe_error_t *error)
{
    if (transport->rank == 0) {
        *out = moe_pace_next(pace, series);
    }
    return transport->ops->broadcast(transport, out, sizeof *out, 0, error);
}

static moe_status_t take_step(moe_transport_t *transport, const moe_pace_step_t *step,
                              const moe_measure_spec_t *spec, moe_repeat_fn body, void *context,
                              moe_series_batch_t *batch, moe_series_t *series, moe_error_t *error)
{
    const size_t made = series->warmup + series->reps;
    moe_status_t status =
        moe_series_reserve(series, made + step->count, spec->warmup + spec->max_reps, error);
    if (status == MOE_OK) {
        status = moe_series_batch_reserve(batch, series->columns, step->count, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    batch->count = step->count;
    batch->warm = step->warm;
    status = repeat(transport, series->columns, spec->free_running, body, context, batch, error);
    if (status != MOE_OK) {
        return status;
    }
    return moe_series_append(series, transport, batch, error);
}

moe_status_t moe_measure(moe_transport_t *transport, const moe_measure_spec_t *spec, size_t columns,
                         size_t deciding, moe_repeat_fn body, void *context, moe_series_t *out,
                         moe_error_t *error)
{
    moe_pace_t pace;
    moe_status_t status = check(spec, columns, deciding, error);
    if (status == MOE_OK) {
        status = moe_pace_create(spec, deciding, &pace, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    moe_series_t series = {.columns = columns};
    moe_series_batch_t batch = {0};
    moe_pace_step_t step = {0};
    do {
        status = next_step(transport, &pace, &series, &step, error);
        if (status == MOE_OK && step.count > 0) {
            status = take_step(transport, &step, spec, body, context, &batch, &series, error);
        }
        if (status == MOE_OK && step.count > 0 && transport->rank == 0) {
            status = moe_pace_learn(&pace, &series, &step, error);
        }
    } while (status == MOE_OK && step.count > 0);
    moe_series_batch_destroy(&batch);
    moe_pace_destroy(&pace);
    if (status != MOE_OK) {
        moe_series_destroy(&series);
        return status;
    }
    series.converged = step.converged;
    *out = series;
    return MOE_OK;
}
