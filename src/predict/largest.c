/* The largest of many random loads. */
#include <math.h>

#include "moe/predict.h"

/* exp(-gamma): minus the logarithm of the distribution function of the Gumbel law at its mean. Maxima of
 * many independent loads tend to that law (Fisher and Tippett 1928; Gumbel 1958), so that their mean lies
 * where the product of the distribution functions is exp(-exp(-gamma)) = 0.570. */
#define GUMBEL_MEAN 0.5614594835668851

/* Farther out than this many deviations nothing changes the product. */
#define FAR      8.0
#define HALVINGS 40

/* Minus the logarithm of the product at x. */
static double excess(const double *mean, const double *sigma, size_t n, double copies, double x)
{
    double sum = 0;
    for (size_t i = 0; i < n && sum < 2; i++) {
        if (mean[i] + FAR * sigma[i] > x)
            sum -= copies * log1p(-0.5 * erfc((x - mean[i]) / sigma[i] * M_SQRT1_2));
    }
    return sum;
}

double moe_largest(const double *mean, const double *sigma, size_t n, double copies, size_t *which)
{
    double high = mean[0];
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        at = mean[i] > mean[at] ? i : at;
        high = mean[i] + FAR * sigma[i] > high ? mean[i] + FAR * sigma[i] : high;
    }
    double low = mean[at];
    if (which != NULL)
        *which = at;
    /* Below the largest mean the maximum is not expected, even where only one variable is near it. */
    if (high <= low || excess(mean, sigma, n, copies, low) <= GUMBEL_MEAN)
        return low;
    for (int i = 0; i < HALVINGS && high - low > 1e-9 * high; i++) {
        const double middle = (low + high) / 2;
        if (excess(mean, sigma, n, copies, middle) > GUMBEL_MEAN)
            low = middle;
        else
            high = middle;
    }
    return high;
}
