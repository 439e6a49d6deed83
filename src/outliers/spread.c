#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "findings.h"
#include "moe/outliers.h"
#include "moe/system.h"

const moe_outlier_rule_t moe_outlier_rule = {.mads = 5, .floor = 0.10};

/* 1 / the upper quartile of the standard normal law. */
#define CONSISTENCY 1.4826022185056018

/* Croux and Rousseeuw (1992): the MAD of few values is too small by these, from n = 2 on. */
static double small_sample(size_t n)
{
    static const double factors[] = {1.196, 1.495, 1.363, 1.206, 1.200, 1.140, 1.129, 1.107};
    if (n < 2) {
        return 1;
    }
    return n - 2 < sizeof factors / sizeof *factors ? factors[n - 2]
                                                    : (double)n / ((double)n - 0.8);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double sorted_median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare);
    return n % 2 == 1 ? values[n / 2] : values[n / 2 - 1] + (values[n / 2] - values[n / 2 - 1]) / 2;
}

double moe_lower_median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare);
    return values[(n - 1) / 2];
}

moe_status_t moe_spread_of(const double *values, size_t n, moe_spread_t *out, moe_error_t *error)
{
    double *work = NULL;
    const moe_status_t status = moe_alloc("a sample", n, sizeof *work, (void **)&work, error);
    if (status != MOE_OK) {
        return status;
    }
    memcpy(work, values, n * sizeof *work);
    moe_spread_t spread = {.n = n, .center = sorted_median(work, n)};
    for (size_t i = 0; i < n; i++) {
        work[i] = fabs(values[i] - spread.center);
    }
    spread.scale = CONSISTENCY * small_sample(n) * sorted_median(work, n);
    free(work);
    *out = spread;
    return MOE_OK;
}

double moe_spread_limit(const moe_spread_t *spread, const moe_outlier_rule_t *rule)
{
    return spread->center + fmax(rule->mads * spread->scale, rule->floor * fabs(spread->center));
}
