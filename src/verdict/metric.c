/* Which figures can be judged, and reading them with what is known of their uncertainty. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/measure.h"
#include "moe/system.h"
#include "moe/verdict.h"

#define COUNT(kind, path)                                                                          \
    {                                                                                              \
        kind, path, MOE_METRIC_COUNT, NULL, NULL, 0                                                \
    }
#define RATE(kind, path)                                                                           \
    {                                                                                              \
        kind, path, MOE_METRIC_RATE, "ci_low_us", "ci_high_us", 1                                  \
    }
#define OF_RUN(kind)                                                                               \
    COUNT(kind, "run.ranks"), COUNT(kind, "run.nodes"), COUNT(kind, "run.load.max_over_mean"),     \
        COUNT(kind, "run.load.rank_max_over_mean"), COUNT(kind, "run.load.cv"),                    \
        COUNT(kind, "run.load.gini"), COUNT(kind, "run.load.hottest_share"),                       \
        COUNT(kind, "run.capacity.drop_share"), COUNT(kind, "run.capacity.padding_share")
#define OF_BYTES(kind)                                                                             \
    COUNT(kind, "bytes.useful"), COUNT(kind, "bytes.logical"), COUNT(kind, "bytes.wire"),          \
        COUNT(kind, "bytes.padding"), COUNT(kind, "tiers.self"), COUNT(kind, "tiers.intra_node"),  \
        COUNT(kind, "tiers.inter_node")

/* Medians of parts, minima, percentiles and what single ranks saw carry no interval in a record: they
 * are shown, and cannot be judged. */
static const moe_metric_t metrics[] = {
    {"exchange", "median_us", MOE_METRIC_MEDIAN, "ci_low_us", "ci_high_us", 1},
    {"exchange", "ratio", MOE_METRIC_MEDIAN, "ratio_low", "ratio_high", 0},
    RATE("exchange", "algbw_GBps"),
    RATE("exchange", "busbw_GBps"),
    RATE("exchange", "efficiency"),
    COUNT("exchange", "errors"),
    COUNT("exchange", "bound_us"),
    COUNT("exchange", "reps"),
    OF_BYTES("exchange"),
    OF_RUN("exchange"),
    {"iteration", "max_ms.iteration", MOE_METRIC_MEDIAN, "ci.iteration_ms_low",
     "ci.iteration_ms_high", 1e-3},
    {"iteration", "share.a2a", MOE_METRIC_MEDIAN, "ci.a2a_low", "ci.a2a_high", 0},
    {"iteration", "share.serial", MOE_METRIC_MEDIAN, "ci.serial_low", "ci.serial_high", 0},
    {"iteration", "share.exposed", MOE_METRIC_MEDIAN, "ci.exposed_low", "ci.exposed_high", 0},
    COUNT("iteration", "errors"),
    COUNT("iteration", "reps"),
    OF_RUN("iteration"),
    OF_BYTES("traffic"),
    COUNT("traffic", "metadata_bytes"),
    COUNT("traffic", "busiest_rank_bytes"),
    OF_RUN("traffic"),
    {"pair", "median_us", MOE_METRIC_MEDIAN, "ci_low_us", "ci_high_us", 1},
    RATE("pair", "GBps"),
};
#define METRICS (sizeof metrics / sizeof *metrics)

const moe_metric_t *moe_metric_find(const char *kind, const char *path)
{
    for (size_t i = 0; i < METRICS; i++) {
        if (strcmp(metrics[i].kind, kind) == 0 && strcmp(metrics[i].path, path) == 0)
            return &metrics[i];
    }
    return NULL;
}

void moe_metric_list(const char *kind, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < METRICS && used < size; i++) {
        if (strcmp(metrics[i].kind, kind) == 0)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "",
                                     metrics[i].path);
    }
}

/* ---- Of one launch ---- */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The repetitions as values of the metric: microseconds, or a rate that was `value` at the median. */
static moe_status_t read_sample(const moe_result_t *result, const moe_metric_t *metric,
                                double median_us, moe_estimate_t *out, moe_error_t *error)
{
    const json_t *times = json_object_get(result->raw, "times_us");
    const size_t n = json_array_size(times);
    void *sample;
    const moe_status_t status = moe_alloc("repetitions", n, sizeof *out->sample, &sample, error);
    if (status != MOE_OK)
        return status;
    out->sample = sample;
    out->n = n;
    for (size_t i = 0; i < n; i++) {
        const double us = json_number_value(json_array_get(times, i));
        out->sample[i] =
            metric->type == MOE_METRIC_RATE ? out->value * median_us / us : us * metric->per_us;
    }
    qsort(out->sample, n, sizeof *out->sample, ascending);
    return MOE_OK;
}

static void read_interval(const moe_result_t *result, const moe_metric_t *metric, double median_us,
                          moe_estimate_t *out)
{
    const json_t *low = moe_result_at(result, metric->low);
    const json_t *high = moe_result_at(result, metric->high);
    if (low == NULL || high == NULL)
        return;
    out->low = json_number_value(low);
    out->high = json_number_value(high);
    out->has_interval = true;
    if (metric->type == MOE_METRIC_RATE) {
        const double at_most = out->value * median_us / out->low;
        out->low = out->value * median_us / out->high;
        out->high = at_most;
        out->has_interval = out->low > 0;
    }
}

static moe_status_t read_one(const moe_result_t *result, const moe_metric_t *metric, bool *found,
                             moe_estimate_t *out, moe_error_t *error)
{
    const json_t *value = moe_result_at(result, metric->path);
    const double median_us = json_number_value(moe_result_at(result, "median_us"));
    *found = value != NULL;
    *out = (moe_estimate_t){.value = json_number_value(value), .launches = 1};
    if (value == NULL)
        return MOE_OK;
    if (metric->type == MOE_METRIC_COUNT) {
        out->exact = out->has_interval = out->converged = true;
        out->low = out->high = out->value;
        return MOE_OK;
    }
    const json_t *converged = moe_result_at(result, "converged");
    out->converged = converged == NULL || json_is_true(converged);
    read_interval(result, metric, median_us, out);
    return result->raw != NULL && metric->per_us > 0
               ? read_sample(result, metric, median_us, out, error)
               : MOE_OK;
}

/* ---- Of several ---- */

static void widen(moe_estimate_t *all, const moe_estimate_t *one)
{
    all->exact = all->exact && one->exact && one->value == all->value;
    all->has_interval = all->has_interval && one->has_interval;
    all->low = one->low < all->low ? one->low : all->low;
    all->high = one->high > all->high ? one->high : all->high;
    all->converged = all->converged && one->converged;
    all->launches++;
}

/* Launches, and not the repetitions within them, are what was repeated independently (Kalibera and
 * Jones, ISMM'13): 6 of them make an interval of their own. */
static moe_status_t summarise_launches(const double *medians, size_t count, moe_estimate_t *all,
                                       moe_error_t *error)
{
    moe_summary_t summary;
    const moe_status_t status = moe_summarise(medians, count, &summary, error);
    if (status != MOE_OK)
        return status;
    all->value = summary.median;
    if (summary.has_interval && !all->exact) {
        all->has_interval = true;
        all->low = summary.low;
        all->high = summary.high;
    }
    return MOE_OK;
}

moe_status_t moe_estimate_read(const moe_result_t *const *launch, size_t count,
                               const moe_metric_t *metric, bool *found, moe_estimate_t *out,
                               moe_error_t *error)
{
    double *medians;
    moe_estimate_t all;
    moe_status_t status = read_one(launch[0], metric, found, &all, error);
    if (status != MOE_OK || !*found || count == 1) {
        *out = all;
        return status;
    }
    moe_estimate_t first = all;
    moe_estimate_destroy(&first);
    all.sample = NULL; /* repetitions of different launches are no one sample */
    all.n = 0;
    status = moe_alloc("launches", count, sizeof *medians, (void **)&medians, error);
    if (status != MOE_OK)
        return status;
    medians[0] = all.value;
    for (size_t i = 1; status == MOE_OK && *found && i < count; i++) {
        moe_estimate_t one;
        status = read_one(launch[i], metric, found, &one, error);
        medians[i] = one.value;
        widen(&all, &one);
        moe_estimate_destroy(&one);
    }
    if (status == MOE_OK && *found)
        status = summarise_launches(medians, count, &all, error);
    free(medians);
    *out = all;
    return status;
}
