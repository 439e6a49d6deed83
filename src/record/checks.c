/* Figures of one record that must agree: where they do not, somebody edited the file. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fields.h"
#include "moe/measure.h"
#include "moe/record.h"

/* An interval of a median needs so many repetitions (moe_median_ranks). */
#define FEWEST_FOR_INTERVAL 6
/* Times are rounded to the nanosecond, and to 9 digits when they are written. */
#define ROUNDING_US    2e-3
#define ROUNDING_SHARE 1e-8

typedef struct interval {
    const char *value, *low, *high;
} interval_t;

static const interval_t of_exchange[] = {
    {"median_us", "ci_low_us", "ci_high_us"},
    {"ratio", "ratio_low", "ratio_high"},
};
static const interval_t of_iteration[] = {
    {"max_ms.iteration", "ci.iteration_ms_low", "ci.iteration_ms_high"},
    {"share.a2a", "ci.a2a_low", "ci.a2a_high"},
    {"share.serial", "ci.serial_low", "ci.serial_high"},
    {"share.exposed", "ci.exposed_low", "ci.exposed_high"},
};

static moe_status_t check_interval(const moe_place_t *place, const json_t *record,
                                   const interval_t *names, moe_error_t *error)
{
    const json_t *value = moe_json_at(record, names->value);
    const json_t *low = moe_json_at(record, names->low), *high = moe_json_at(record, names->high);
    const json_t *reps = json_object_get(record, "reps");
    if ((low == NULL) != (high == NULL))
        return moe_refuse_field(place, low == NULL ? names->low : names->high, error,
                                "missing, while the other end of the interval is there");
    if (low == NULL)
        return MOE_OK;
    if (value == NULL)
        return moe_refuse_field(place, names->value, error, "missing, while its interval is there");
    if (reps != NULL && json_number_value(reps) < FEWEST_FOR_INTERVAL)
        return moe_refuse_field(place, names->low, error,
                                "an interval of %g repetitions: there is none below %d",
                                json_number_value(reps), FEWEST_FOR_INTERVAL);
    if (json_number_value(low) > json_number_value(value))
        return moe_refuse_field(place, names->low, error, "%.9g is above %s, %.9g",
                                json_number_value(low), names->value, json_number_value(value));
    if (json_number_value(high) < json_number_value(value))
        return moe_refuse_field(place, names->high, error, "%.9g is below %s, %.9g",
                                json_number_value(high), names->value, json_number_value(value));
    return MOE_OK;
}

static moe_status_t check_order(const moe_place_t *place, const json_t *record, const char *lower,
                                const char *upper, moe_error_t *error)
{
    const json_t *low = json_object_get(record, lower), *high = json_object_get(record, upper);
    if (low != NULL && high != NULL && json_number_value(low) > json_number_value(high))
        return moe_refuse_field(place, lower, error, "%.9g is above %s, %.9g",
                                json_number_value(low), upper, json_number_value(high));
    return MOE_OK;
}

static moe_status_t check_exchange(const moe_place_t *place, const json_t *record,
                                   moe_error_t *error)
{
    static const char *const ascending[] = {"min_us", "median_us", "p95_us", "p99_us"};
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < sizeof of_exchange / sizeof *of_exchange; i++)
        status = check_interval(place, record, &of_exchange[i], error);
    for (size_t i = 1; status == MOE_OK && i < sizeof ascending / sizeof *ascending; i++)
        status = check_order(place, record, ascending[i - 1], ascending[i], error);
    return status;
}

static moe_status_t check_rank(const moe_place_t *place, const json_t *record, const char *field,
                               const json_t *run, moe_error_t *error)
{
    const json_t *rank = json_object_get(record, field);
    const double ranks = json_number_value(json_object_get(run, "ranks"));
    if (rank != NULL && json_number_value(rank) >= ranks)
        return moe_refuse_field(place, field, error, "%g, and the run has %g ranks",
                                json_number_value(rank), ranks);
    return MOE_OK;
}

static moe_status_t check_run(const moe_place_t *place, const json_t *run, moe_error_t *error)
{
    const double ranks = json_number_value(json_object_get(run, "ranks"));
    const json_t *hosts = json_object_get(run, "hosts");
    if (ranks < 1)
        return moe_refuse_field(place, "ranks", error, "0: a run has at least one");
    if (hosts != NULL && (double)json_array_size(hosts) != ranks)
        return moe_refuse_field(place, "hosts", error, "%zu of them, and the run has %g ranks",
                                json_array_size(hosts), ranks);
    return MOE_OK;
}

moe_status_t moe_figures_check(const moe_place_t *place, const char *kind, const json_t *record,
                               const json_t *run, moe_error_t *error)
{
    static const char *const ranks[] = {"slowest_rank", "busiest_rank", "rank", "from", "to"};
    const json_t *reps = json_object_get(record, "reps");
    moe_status_t status = MOE_OK;
    if (strcmp(kind, "run") == 0)
        return check_run(place, record, error);
    for (size_t i = 0; status == MOE_OK && i < sizeof ranks / sizeof *ranks; i++)
        status = check_rank(place, record, ranks[i], run, error);
    if (status == MOE_OK && reps != NULL && json_number_value(reps) < 1)
        status = moe_refuse_field(place, "reps", error, "0: a figure without a repetition");
    if (status == MOE_OK && (strcmp(kind, "exchange") == 0 || strcmp(kind, "pair") == 0))
        status = check_exchange(place, record, error);
    for (size_t i = 0; status == MOE_OK && strcmp(kind, "iteration") == 0 &&
                       i < sizeof of_iteration / sizeof *of_iteration;
         i++)
        status = check_interval(place, record, &of_iteration[i], error);
    return status;
}

/* ---- Repetitions ---- */

static moe_status_t median_of(const json_t *times, double *median, moe_error_t *error)
{
    const size_t n = json_array_size(times);
    double *values = malloc(n * sizeof *values);
    moe_summary_t summary;
    if (values == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "%zu repetitions do not fit memory", n);
    for (size_t i = 0; i < n; i++)
        values[i] = json_number_value(json_array_get(times, i));
    const moe_status_t status = moe_summarise(values, n, &summary, error);
    free(values);
    if (status == MOE_OK)
        *median = summary.median;
    return status;
}

moe_status_t moe_repetitions_check(const moe_place_t *place, const json_t *raw,
                                   const json_t *record, moe_error_t *error)
{
    const json_t *times = json_object_get(raw, "times_us");
    const double reps = json_number_value(json_object_get(record, "reps"));
    const json_t *ms = moe_json_at(record, "max_ms.iteration");
    const double stated = ms != NULL ? json_number_value(ms) * 1e3
                                     : json_number_value(moe_json_at(record, "median_us"));
    double median = 0;
    if ((double)json_array_size(times) != reps)
        return moe_refuse_field(place, "times_us", error,
                                "%zu repetitions, and the record before states %g",
                                json_array_size(times), reps);
    const moe_status_t status = median_of(times, &median, error);
    if (status == MOE_OK && fabs(median - stated) > ROUNDING_US + ROUNDING_SHARE * stated)
        return moe_refuse_field(place, "times_us", error,
                                "their median is %.9g us, and the record before states %.9g",
                                median, stated);
    return status;
}
