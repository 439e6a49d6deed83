/* Of n sorted repetitions x_1 <= ... <= x_n, the true median lies between x_k and x_k+1 with confidence
 * b(k) = C(n, k) / 2^n (x_0 = 0, x_n+1 = infinity): that is what makes x_l and x_n+1-l its interval, and
 * all such intervals together are its confidence distribution (Xie and Singh, Int. Stat. Rev. 81, 2013).
 * Two samples are independent, so the median of one lies in its gap i, and that of the other in its gap
 * j, with confidence b(i) b(j), and their ratio is then at least (lower end of i) / (upper end of j). The
 * lower end of the interval is the largest t for which ratios below t have no more confidence than half
 * of what is left beside `confidence`. Taking the ends of gaps errs to the wide side. */
#include "ratio_samples.h"

#include <float.h>
#include <math.h>

/* Bisection on the logarithm: from the whole range of ratios down to one part in 10^12. */
#define STEPS    60
#define ROUNDING 1e-9

/* Gaps that have any confidence worth adding up: 9 standard deviations, below 1e-18. */
#define DEVIATIONS 9

typedef struct gaps {
    const double *x; /* [n] ascending */
    size_t n, first, last;
} gaps_t;

static gaps_t gaps_of(const moe_estimate_t *estimate)
{
    const double n = (double)estimate->n, reach = DEVIATIONS * sqrt(n) / 2;
    const double first = floor(n / 2 - reach), last = ceil(n / 2 + reach);
    return (gaps_t){.x = estimate->sample,
                    .n = estimate->n,
                    .first = first > 0 ? (size_t)first : 0,
                    .last = last < n ? (size_t)last : estimate->n};
}

static double confidence_of(const gaps_t *gaps, size_t k)
{
    int sign;
    const double n = (double)gaps->n, i = (double)k;
    return exp(lgamma_r(n + 1, &sign) - lgamma_r(i + 1, &sign) - lgamma_r(n - i + 1, &sign) -
               n * M_LN2);
}

static double lower_end(const gaps_t *gaps, size_t k)
{
    return k == 0 ? 0 : gaps->x[k - 1];
}

/* b(k + 1) / b(k) */
static double next_over(const gaps_t *gaps, size_t k)
{
    return (double)(gaps->n - k) / (double)(k + 1);
}

/* Confidence in ratios below t: the higher the gap of `bottom`, the more gaps of `top` are low enough
 * for it. */
static double confidence_below(const gaps_t *top, const gaps_t *bottom, double t)
{
    double sum = 0, low_enough = 0; /* confidence in the gaps of top before i */
    double of_i = confidence_of(top, top->first), of_j = confidence_of(bottom, bottom->first);
    size_t i = top->first;
    for (size_t j = bottom->first; j <= bottom->last; j++) {
        const double limit = j == bottom->n ? INFINITY : t * bottom->x[j];
        for (; i <= top->last && lower_end(top, i) < limit; i++) {
            low_enough += of_i;
            of_i *= next_over(top, i);
        }
        sum += of_j * low_enough;
        of_j *= next_over(bottom, j);
    }
    return sum;
}

bool moe_samples_ratio_low(const moe_estimate_t *top, const moe_estimate_t *bottom,
                           double confidence, double *low)
{
    const gaps_t above = gaps_of(top), below = gaps_of(bottom);
    const double allowed = (1 - confidence) / 2;
    /* Below the smallest ratio of two repetitions there are only the open gaps. */
    double from = log(top->sample[0] / bottom->sample[bottom->n - 1]) - ROUNDING;
    double to = log(top->sample[top->n - 1] / bottom->sample[0]) + ROUNDING;
    if (!isfinite(from) || !isfinite(to) || confidence_below(&above, &below, exp(from)) > allowed)
        return false;
    for (int step = 0; step < STEPS; step++) {
        const double middle = from + (to - from) / 2;
        if (confidence_below(&above, &below, exp(middle)) <= allowed)
            from = middle;
        else
            to = middle;
    }
    *low = exp(from);
    return true;
}
