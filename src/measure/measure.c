#include <math.h>

#include "moe/measure.h"
#include "pace.h"
#include "round_time.h"
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
    if (spec->round_time && (spec->clock == NULL || spec->free_running)) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "repetitions that start by the common clock need one, and cannot run free");
    }
    return MOE_OK;
}

/* A series under way. */
typedef struct run {
    moe_transport_t *transport;
    const moe_measure_spec_t *spec;
    moe_repeat_fn body;
    void *context;
    moe_round_t round;
    moe_pace_t pace;
    moe_series_t series;
    moe_series_batch_t batch;
} run_t;

static moe_status_t run_body(run_t *run, size_t repetition, moe_error_t *error)
{
    const moe_clock_t *clock = run->spec->clock;
    const size_t columns = run->series.columns, at = repetition * columns;
    const moe_status_t status = run->body(run->context, run->batch.own + at, error);
    for (size_t c = 0; run->series.arrivals && c < columns; c++) {
        run->batch.began[at + c] = moe_clock_common(clock, run->spec->began[c]);
    }
    return status;
}

/* Nothing but barriers and the body in here: what it costs is in what is measured. */
static moe_status_t repeat(run_t *run, moe_error_t *error)
{
    moe_transport_t *t = run->transport;
    for (size_t r = 0; r < run->batch.count; r++) {
        const bool meet = r == 0 || !run->spec->free_running;
        moe_status_t status = meet ? t->ops->barrier(t, error) : MOE_OK;
        if (status == MOE_OK) {
            status = run_body(run, r, error);
        }
        if (status != MOE_OK) {
            return status;
        }
    }
    return MOE_OK;
}

/* Invalid repetitions are written over by the next. Fewer than asked for are made where time is out or
 * too many were invalid. */
static moe_status_t repeat_by_clock(run_t *run, moe_error_t *error)
{
    const double out_of_time =
        run->pace.start + run->spec->max_seconds; /* of rank 0, which decides */
    const size_t wanted = run->batch.count;
    size_t valid = 0;
    bool stop = false;
    while (valid < wanted && !stop && run->round.bad < MOE_ROUND_HOPELESS) {
        double late = 0;
        bool invalid = false;
        moe_status_t status = moe_round_start(&run->round, run->transport, &late, error);
        if (status == MOE_OK) {
            status = run_body(run, valid, error);
        }
        if (status == MOE_OK) {
            const bool out = run->transport->rank == 0 && moe_now() > out_of_time;
            status = moe_round_end(&run->round, run->transport, late, out, &invalid, &stop, error);
        }
        if (status != MOE_OK) {
            return status;
        }
        run->series.invalid += invalid;
        valid += !invalid;
    }
    run->batch.count = valid;
    return MOE_OK;
}

/* The same on all ranks. */
static moe_status_t next_step(run_t *run, moe_pace_step_t *out, moe_error_t *error)
{
    moe_transport_t *t = run->transport;
    if (t->rank == 0) {
        *out = moe_pace_next(&run->pace, &run->series);
    }
    return t->ops->broadcast(t, out, sizeof *out, 0, error);
}

/* step->count becomes what was made. */
static moe_status_t take_step(run_t *run, moe_pace_step_t *step, moe_error_t *error)
{
    moe_series_t *series = &run->series;
    const size_t made = series->warmup + series->reps;
    moe_status_t status = moe_series_reserve(series, made + step->count,
                                             run->spec->warmup + run->spec->max_reps, error);
    if (status == MOE_OK) {
        status = moe_series_batch_reserve(&run->batch, series->columns, step->count, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    run->batch.count = step->count;
    run->batch.warm = step->warm;
    status = series->round_time ? repeat_by_clock(run, error) : repeat(run, error);
    step->count = run->batch.count;
    if (status == MOE_OK && step->count > 0) {
        status = moe_series_append(series, run->transport, &run->batch, error);
    }
    if (status == MOE_OK && step->count > 0 && run->transport->rank == 0) {
        status = moe_pace_learn(&run->pace, series, step, error);
    }
    return status;
}

/* By the clock where `run->series.round_time`; forgets what was measured before. */
static moe_status_t measure_series(run_t *run, size_t deciding, moe_error_t *error)
{
    moe_pace_step_t step = {.count = 1};
    moe_status_t status = moe_pace_create(run->spec, deciding, &run->pace, error);
    run->series.warmup = run->series.reps = 0;
    while (status == MOE_OK && step.count > 0 && run->round.bad < MOE_ROUND_HOPELESS) {
        status = next_step(run, &step, error);
        if (status == MOE_OK && step.count > 0) {
            const uint64_t wanted = step.count;
            status = take_step(run, &step, error);
            step.count = wanted;
        }
    }
    run->series.converged = step.converged;
    moe_pace_destroy(&run->pace);
    return status;
}

static moe_status_t begin_by_clock(run_t *run, moe_error_t *error)
{
    moe_status_t status = moe_clock_refresh(run->spec->clock, error);
    run->series.arrivals = run->spec->began != NULL;
    run->series.round_time = run->spec->round_time;
    return status == MOE_OK && run->spec->round_time
               ? moe_round_create(run->spec->clock, &run->round, error)
               : status;
}

static moe_status_t check_clock(run_t *run, moe_error_t *error)
{
    moe_clock_quality_t quality;
    const moe_status_t status = moe_clock_check(run->spec->clock, &quality, error);
    if (status == MOE_OK) {
        run->series.clock_error = quality.error;
        run->series.clock_bound = quality.bound;
    }
    return status;
}

moe_status_t moe_measure(moe_transport_t *transport, const moe_measure_spec_t *spec, size_t columns,
                         size_t deciding, moe_repeat_fn body, void *context, moe_series_t *out,
                         moe_error_t *error)
{
    run_t run = {.transport = transport,
                 .spec = spec,
                 .body = body,
                 .context = context,
                 .series = {.columns = columns}};
    moe_status_t status = check(spec, columns, deciding, error);
    if (status == MOE_OK && spec->clock != NULL) {
        status = begin_by_clock(&run, error);
    }
    if (status == MOE_OK) {
        status = measure_series(&run, deciding, error);
    }
    if (status == MOE_OK && run.series.reps == 0) { /* nobody is ever in time: by barriers */
        run.series.round_time = false;
        run.round.bad = 0;
        status = measure_series(&run, deciding, error);
    }
    if (status == MOE_OK && spec->clock != NULL) {
        status = check_clock(&run, error);
    }
    moe_series_batch_destroy(&run.batch);
    if (status != MOE_OK) {
        moe_series_destroy(&run.series);
        return status;
    }
    *out = run.series;
    return MOE_OK;
}
