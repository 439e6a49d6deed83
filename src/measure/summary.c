#include <math.h>

#include "moe/measure.h"
#include "sorted.h"

/* A percentile p is shown only where the largest of n values lies above the population's p with
 * 95 % confidence, 1 - p^n >= 0.95: n >= log(0.05) / log(p). Below that the tail was not seen. */
#define MIN_FOR_P95 59
#define MIN_FOR_P99 299

/* P(X = n/2), X binomial (n, 1/2), n even. lgamma_r: lgamma() writes a global. Its rounding errors
 * leave about 9 digits at n = 1e6. */
static double probability_of_the_middle(size_t n)
{
    int sign;
    const double half = (double)n / 2;
    return exp(lgamma_r((double)n + 1, &sign) - 2 * lgamma_r(half + 1, &sign) -
               (double)n * log(2.0));
}

/* P(X <= k), k the largest whole number below n/2, and P(X = k). n > 0. */
static void lower_half(size_t n, double *sum, double *last)
{
    const size_t k = (n - 1) / 2;
    if (n % 2 == 0) {
        const double middle = probability_of_the_middle(n);
        *sum = (1 - middle) / 2;
        *last = middle * (double)(k + 1) / (double)(n - k); /* p(k) = p(k+1) * (k+1) / (n-k) */
    } else { /* the two in the middle of n make the middle of n + 1 by Pascal's rule */
        *sum = 0.5;
        *last = probability_of_the_middle(n + 1);
    }
}

/* The interval between the l-th smallest and the l-th largest value misses the median with
 * probability 2 P(X < l): the sum is taken from the middle outwards, some sqrt(n) terms, until it is
 * small enough. (Hahn and Meeker, Statistical Intervals, 1991, chapter 5.) */
bool moe_median_ranks(size_t n, double confidence, size_t *low, size_t *high)
{
    if (n == 0) {
        return false;
    }
    double below, term;
    lower_half(n, &below, &term);
    size_t k = (n - 1) / 2; /* invariant: below = P(X <= k), term = P(X = k) */
    while (2 * below > 1 - confidence) {
        if (k == 0) {
            return false;
        }
        below -= term;
        term *= (double)k / (double)(n - k + 1);
        k--;
    }
    *low = k + 1;
    *high = n - k;
    return true;
}

/* Nearest rank: the ceil(n * percent / 100)-th smallest value. */
static double percentile(const moe_sorted_t *sorted, size_t percent)
{
    const size_t n = sorted->n;
    const size_t rank = n / 100 * percent + (n % 100 * percent + 99) / 100;
    return sorted->values[rank - 1];
}

/* Leaves the values in `sorted`, which is emptied first. */
static moe_status_t median_of(const double *values, size_t n, moe_sorted_t *sorted, double *out,
                              moe_error_t *error)
{
    sorted->n = 0;
    const moe_status_t status = moe_sorted_add(sorted, values, n, error);
    if (status == MOE_OK) {
        *out = moe_sorted_median(sorted);
    }
    return status;
}

static double mean_of(const double *values, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += values[i];
    }
    return sum / (double)n;
}

static moe_status_t check(const double *values, size_t n, moe_error_t *error)
{
    if (n == 0) {
        return moe_fail(error, MOE_BAD_INPUT, "a sample without values cannot be summarised");
    }
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(values[i])) {
            return moe_fail(error, MOE_BAD_INPUT,
                            "value %zu of a sample of %zu is %g: only finite values can be "
                            "summarised",
                            i, n, values[i]);
        }
    }
    return MOE_OK;
}

moe_status_t moe_summarise(const double *values, size_t n, moe_summary_t *out, moe_error_t *error)
{
    moe_status_t status = check(values, n, error);
    if (status != MOE_OK) {
        return status;
    }
    const size_t half = n - n / 2; /* odd n: the value in the middle belongs to both halves */
    moe_sorted_t sorted = {0};
    moe_summary_t s = {.n = n, .mean = mean_of(values, n)};
    status = median_of(values, half, &sorted, &s.first_half, error);
    if (status == MOE_OK) {
        status = median_of(values + n - half, half, &sorted, &s.second_half, error);
    }
    if (status == MOE_OK) {
        status = median_of(values, n, &sorted, &s.median, error);
    }
    if (status == MOE_OK) {
        s.min = sorted.values[0];
        s.max = sorted.values[n - 1];
        s.has_interval = moe_sorted_interval(&sorted, &s.low, &s.high);
        s.has_p95 = n >= MIN_FOR_P95;
        s.p95 = s.has_p95 ? percentile(&sorted, 95) : 0;
        s.has_p99 = n >= MIN_FOR_P99;
        s.p99 = s.has_p99 ? percentile(&sorted, 99) : 0;
        status = moe_trend_of(values, n, &s.trend, error);
    }
    if (status == MOE_OK) {
        *out = s;
    }
    moe_sorted_destroy(&sorted);
    return status;
}
