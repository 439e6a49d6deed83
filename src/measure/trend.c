#include <math.h>

#include "moe/measure.h"
#include "sorted.h"

/* Where two sorted samples stand to each other: pairs (a, b) with a < b, equal ones half, and the sum
 * over groups of t equal values of t^3 - t. */
typedef struct standing {
    double below;
    double ties;
} standing_t;

static standing_t compare(const moe_sorted_t *first, const moe_sorted_t *second)
{
    standing_t s = {0};
    size_t i = 0, j = 0;
    while (i < first->n || j < second->n) {
        const bool from_first =
            j == second->n || (i < first->n && first->values[i] <= second->values[j]);
        const double value = from_first ? first->values[i] : second->values[j];
        const size_t before = i, beside = j;
        while (i < first->n && first->values[i] == value) {
            i++;
        }
        while (j < second->n && second->values[j] == value) {
            j++;
        }
        const double equal = (double)(i - before), others = (double)(j - beside);
        const double tied = equal + others;
        s.below += others * ((double)before + equal / 2);
        s.ties += tied * (tied * tied - 1);
    }
    return s;
}

/* U of the second half, standardised; 0 where all values are equal. */
static double standard_score(const moe_sorted_t *first, const moe_sorted_t *second)
{
    const standing_t s = compare(first, second);
    const double m = (double)first->n, n = (double)second->n, all = m + n;
    const double variance = m * n / 12 * (all + 1 - s.ties / (all * (all - 1)));
    const double away = s.below - m * n / 2;
    const double continuous = fabs(away) > 0.5 ? fabs(away) - 0.5 : 0;
    return variance > 0 ? copysign(continuous / sqrt(variance), away) : 0;
}

moe_status_t moe_trend_of(const double *values, size_t n, moe_trend_t *out, moe_error_t *error)
{
    const size_t half = n / 2; /* odd n: the value in the middle is in neither */
    moe_sorted_t first = {0}, second = {0};
    *out = (moe_trend_t){0};
    if (n < MOE_TREND_LEAST) {
        return MOE_OK;
    }
    moe_status_t status = moe_sorted_add(&first, values, half, error);
    if (status == MOE_OK) {
        status = moe_sorted_add(&second, values + n - half, half, error);
    }
    if (status == MOE_OK && moe_sorted_median(&first) > 0) {
        out->judged = true;
        out->change = moe_sorted_median(&second) / moe_sorted_median(&first) - 1;
        out->z = standard_score(&first, &second);
        out->drifts = fabs(out->z) > MOE_TREND_Z && fabs(out->change) > MOE_TREND_CHANGE;
    }
    moe_sorted_destroy(&first);
    moe_sorted_destroy(&second);
    return status;
}
