/* What share of an iteration is what. */
#include <stdlib.h>
#include <string.h>

#include "moe/iteration.h"
#include "moe/system.h"

const char *moe_part_name(moe_part_t part)
{
    static const char *const names[MOE_PARTS] = {"compute",  "metadata", "permute",
                                                 "dispatch", "combine",  "allreduce"};
    return names[part];
}

void moe_iteration_shares(const moe_series_t *series, double *a2a, double *serial, double *exposed)
{
    const double *mean[MOE_ITERATION_COLUMNS], *max[MOE_ITERATION_COLUMNS];
    for (size_t c = 0; c < MOE_ITERATION_COLUMNS; c++) {
        mean[c] = moe_series_column(series, series->mean, c);
        max[c] = moe_series_column(series, series->max, c);
    }
    for (size_t r = 0; r < series->reps; r++) {
        const double whole = mean[MOE_COLUMN_ITERATION][r];
        const double tokens = mean[MOE_COLUMN_PART0 + MOE_PART_METADATA][r] +
                              mean[MOE_COLUMN_PART0 + MOE_PART_DISPATCH][r] +
                              mean[MOE_COLUMN_PART0 + MOE_PART_COMBINE][r];
        const double gradients = mean[MOE_COLUMN_PART0 + MOE_PART_ALLREDUCE][r];
        const double longest = max[MOE_COLUMN_ITERATION][r];
        a2a[r] = whole > 0 ? tokens / whole : 0;
        serial[r] = whole > 0 ? (tokens + gradients) / whole : 0;
        const double alone =
            max[MOE_COLUMN_COMPUTE_ONLY][r] + max[MOE_COLUMN_PART0 + MOE_PART_PERMUTE][r];
        exposed[r] = longest > alone ? (longest - alone) / longest : 0;
    }
}

/* ---- Parts that add up ---- */

static int by_time(const void *a, const void *b)
{
    const double *x = *(const double *const *)a, *y = *(const double *const *)b;
    return (*x > *y) - (*x < *y);
}

/* Repetitions [*low, *high) in order of time: those of the median's interval, or all where there are
 * too few for one. */
static void around_the_median(size_t reps, size_t *low, size_t *high)
{
    size_t first, last;
    const bool has = moe_median_ranks(reps, 0.95, &first, &last);
    *low = has ? first - 1 : 0;
    *high = has ? last : reps;
}

moe_status_t moe_iteration_parts(const moe_series_t *series, double *seconds, moe_error_t *error)
{
    const double *whole = moe_series_column(series, series->mean, MOE_COLUMN_ITERATION);
    const double **order = NULL;
    moe_summary_t summary;
    moe_status_t status = moe_summarise(whole, series->reps, &summary, error);
    if (status == MOE_OK) {
        status = moe_alloc("parts", series->reps, sizeof *order, (void **)&order, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    size_t low, high;
    for (size_t r = 0; r < series->reps; r++) {
        order[r] = whole + r;
    }
    qsort(order, series->reps, sizeof *order, by_time);
    around_the_median(series->reps, &low, &high);
    for (int p = 0; p < MOE_PARTS; p++) {
        const double *part = moe_series_column(series, series->mean, MOE_COLUMN_PART0 + (size_t)p);
        double share = 0;
        for (size_t i = low; i < high; i++) {
            const size_t r = (size_t)(order[i] - whole);
            share += whole[r] > 0 ? part[r] / whole[r] / (double)(high - low) : 0;
        }
        seconds[p] = share * summary.median;
    }
    free(order);
    return MOE_OK;
}
