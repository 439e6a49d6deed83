/* Samples kept in ascending order: what the summary and the decision when to stop read. */
#ifndef MOE_MEASURE_SORTED_H
#define MOE_MEASURE_SORTED_H

#include <stdbool.h>
#include <stddef.h>

#include "moe/status.h"

/* Confidence of every interval of a median here. */
#define MOE_CONFIDENCE 0.95

typedef struct moe_sorted {
    double *values; /* [n] ascending */
    size_t n, room;
} moe_sorted_t;

/* Takes in count values in any order: n + count log count steps. Start from a zeroed struct. */
moe_status_t moe_sorted_add(moe_sorted_t *sorted, const double *values, size_t count,
                            moe_error_t *error);
void moe_sorted_destroy(moe_sorted_t *sorted);

/* The middle value, or the mean of the two in the middle. n > 0. */
double moe_sorted_median(const moe_sorted_t *sorted);

/* Order statistics that bound the median with MOE_CONFIDENCE; false where n is too small. */
bool moe_sorted_interval(const moe_sorted_t *sorted, double *low, double *high);

#endif
