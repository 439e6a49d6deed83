#include <math.h>
#include <stdlib.h>

#include "moe/measure.h"
#include "moe/system.h"

/* Terms of a series, steps of a fraction: both converge in some sqrt(degrees) of them. */
#define MOST_TERMS 10000
#define PRECISION  1e-12

/* ---- The chi-squared law: Q(a, x), the upper incomplete gamma function over the whole one ---- */

static double lower_series(double a, double x)
{
    double term = 1 / a, sum = term;
    for (int n = 1; n < MOST_TERMS && term > PRECISION * sum; n++) {
        term *= x / (a + n);
        sum += term;
    }
    return sum;
}

/* By Legendre's continued fraction, evaluated as Lentz does (Applied Optics 15, 1976). */
static double upper_fraction(double a, double x)
{
    const double tiny = 1e-300;
    double b = x + 1 - a, c = 1 / tiny, d = 1 / b, result = d, step = 0;
    for (int n = 1; n < MOST_TERMS && fabs(step - 1) > PRECISION; n++) {
        const double numerator = -n * (n - a);
        b += 2;
        d = 1 / (fabs(numerator * d + b) > tiny ? numerator * d + b : tiny);
        c = fabs(b + numerator / c) > tiny ? b + numerator / c : tiny;
        step = c * d;
        result *= step;
    }
    return result;
}

double moe_chi_squared_above(double value, size_t degrees)
{
    const double a = (double)degrees / 2, x = value / 2;
    int sign;
    if (!(x > 0) || degrees == 0) {
        return 1;
    }
    const double scale = exp(a * log(x) - x - lgamma_r(a, &sign));
    return x < a + 1 ? 1 - scale * lower_series(a, x) : scale * upper_fraction(a, x);
}

/* ---- Kruskal and Wallis ---- */

typedef struct mark {
    double value;
    size_t launch;
} mark_t;

static int compare(const void *a, const void *b)
{
    const double x = ((const mark_t *)a)->value, y = ((const mark_t *)b)->value;
    return (x > y) - (x < y);
}

/* H of all[n], sorted; sums[launches] is work space, zeroed. */
static double kruskal_wallis(const mark_t *all, size_t n, const size_t *counts, size_t launches,
                             double *sums)
{
    double ties = 0, h = 0;
    const double total = (double)n, mean = (total + 1) / 2;
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && all[end].value == all[i].value; end++) {
        }
        const double tied = (double)(end - i), rank = ((double)(i + end) + 1) / 2;
        ties += tied * (tied * tied - 1);
        for (size_t k = i; k < end; k++) {
            sums[all[k].launch] += rank - mean;
        }
    }
    for (size_t l = 0; l < launches; l++) {
        h += sums[l] * sums[l] / (double)counts[l];
    }
    const double untied = 1 - ties / (total * (total * total - 1));
    return untied > 0 ? 12 * h / (total * (total + 1)) / untied : 0;
}

static moe_status_t compare_launches(const double *const *values, const size_t *counts,
                                     size_t launches, moe_launches_t *out, moe_error_t *error)
{
    size_t n = 0, at = 0;
    for (size_t l = 0; l < launches; l++) {
        n += counts[l];
    }
    mark_t *all = NULL;
    double *sums = NULL;
    moe_status_t status = moe_alloc("repetitions", n, sizeof *all, (void **)&all, error);
    if (status == MOE_OK) {
        status = moe_alloc("launches", launches, sizeof *sums, (void **)&sums, error);
    }
    for (size_t l = 0; status == MOE_OK && l < launches; l++) {
        for (size_t i = 0; i < counts[l]; i++) {
            all[at++] = (mark_t){.value = values[l][i], .launch = l};
        }
    }
    if (status == MOE_OK) {
        qsort(all, n, sizeof *all, compare);
        out->h = kruskal_wallis(all, n, counts, launches, sums);
        out->p = moe_chi_squared_above(out->h, launches - 1);
    }
    free(sums);
    free(all);
    return status;
}

/* ---- A summary ---- */

/* Medians of the launches, and how wide their intervals are beside them: work[2 * launches]. */
static moe_status_t summarise_each(const double *const *values, const size_t *counts,
                                   size_t launches, double *work, moe_launches_t *out,
                                   moe_error_t *error)
{
    moe_summary_t one, medians, widths;
    moe_status_t status = MOE_OK;
    size_t intervals = 0;
    out->tested = launches > 1;
    for (size_t l = 0; l < launches && status == MOE_OK; l++) {
        status = moe_summarise(values[l], counts[l], &one, error);
        if (status == MOE_OK) {
            work[l] = one.median;
            out->reps += counts[l];
            out->tested = out->tested && counts[l] >= MOE_LAUNCH_LEAST;
        }
        if (status == MOE_OK && one.has_interval && one.median > 0) {
            work[launches + intervals++] = (one.high - one.low) / 2 / one.median;
        }
    }
    if (status == MOE_OK) {
        status = moe_summarise(work, launches, &medians, error);
        out->medians = medians;
    }
    if (status == MOE_OK && intervals > 0) {
        status = moe_summarise(work + launches, intervals, &widths, error);
        out->within = status == MOE_OK ? widths.median : 0;
        out->has_within = status == MOE_OK;
    }
    return status;
}

moe_status_t moe_launches_of(const double *const *values, const size_t *counts, size_t launches,
                             moe_launches_t *out, moe_error_t *error)
{
    moe_launches_t found = {.launches = launches, .p = 1};
    double *work = NULL;
    if (launches == 0) {
        return moe_fail(error, MOE_BAD_INPUT, "no launches: there is nothing to compare");
    }
    moe_status_t status = moe_alloc("launches", launches, 2 * sizeof *work, (void **)&work, error);
    if (status == MOE_OK) {
        status = summarise_each(values, counts, launches, work, &found, error);
    }
    if (status == MOE_OK && found.tested) {
        status = compare_launches(values, counts, launches, &found, error);
    }
    if (status == MOE_OK) {
        found.spread = found.medians.median > 0
                           ? (found.medians.max - found.medians.min) / found.medians.median
                           : 0;
        found.differ = found.tested && found.p < MOE_LAUNCH_P && found.spread > MOE_LAUNCH_SPREAD;
        *out = found;
    }
    free(work);
    return status;
}
