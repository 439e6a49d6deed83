#include "sorted.h"

#include <stdlib.h>
#include <string.h>

#include "moe/measure.h"
#include "moe/system.h"

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static moe_status_t reserve(moe_sorted_t *sorted, size_t room, moe_error_t *error)
{
    if (room <= sorted->room) {
        return MOE_OK;
    }
    const size_t twice = 2 * sorted->room;
    const size_t grown = room > twice ? room : twice;
    void *values;
    const moe_status_t status =
        moe_alloc("a sorted sample", grown, sizeof *sorted->values, &values, error);
    if (status != MOE_OK) {
        return status;
    }
    if (sorted->n > 0) {
        memcpy(values, sorted->values, sorted->n * sizeof *sorted->values);
    }
    free(sorted->values);
    sorted->values = values;
    sorted->room = grown;
    return MOE_OK;
}

moe_status_t moe_sorted_add(moe_sorted_t *sorted, const double *values, size_t count,
                            moe_error_t *error)
{
    if (count == 0) {
        return MOE_OK;
    }
    /* The new values are sorted behind the place where the merged ones will end. */
    const moe_status_t status = reserve(sorted, sorted->n + 2 * count, error);
    if (status != MOE_OK) {
        return status;
    }
    double *all = sorted->values, *more = all + sorted->n + count;
    memcpy(more, values, count * sizeof *values);
    qsort(more, count, sizeof *more, compare);
    size_t old = sorted->n, left = count;
    while (left > 0) { /* from the back: nothing unread is overwritten */
        const bool take_old = old > 0 && all[old - 1] > more[left - 1];
        const double value = take_old ? all[old - 1] : more[left - 1];
        all[old + left - 1] = value;
        *(take_old ? &old : &left) -= 1;
    }
    sorted->n += count;
    return MOE_OK;
}

void moe_sorted_destroy(moe_sorted_t *sorted)
{
    free(sorted->values);
    *sorted = (moe_sorted_t){0};
}

double moe_sorted_median(const moe_sorted_t *sorted)
{
    const double *middle = sorted->values + sorted->n / 2;
    return sorted->n % 2 == 1 ? *middle : middle[-1] + (*middle - middle[-1]) / 2;
}

bool moe_sorted_interval(const moe_sorted_t *sorted, double *low, double *high)
{
    size_t first, last;
    if (!moe_median_ranks(sorted->n, MOE_CONFIDENCE, &first, &last)) {
        return false;
    }
    *low = sorted->values[first - 1];
    *high = sorted->values[last - 1];
    return true;
}
