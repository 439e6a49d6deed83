/* Filling a series while it is measured. */
#ifndef MOE_MEASURE_SERIES_H
#define MOE_MEASURE_SERIES_H

#include "moe/measure.h"

/* Makes room for `repetitions` in all, warm-up included, and keeps what is there. Grows by half at
 * least, but not past `most`: so that a million allowed repetitions cost memory only when made. */
moe_status_t moe_series_reserve(moe_series_t *series, size_t repetitions, size_t most,
                                moe_error_t *error);

/* Values of one batch on this rank, [count][columns], and the work space to reduce them. */
typedef struct moe_series_batch {
    size_t count, room; /* repetitions in it; repetitions that fit */
    bool warm;
    double *own;
    double *began; /* common time, where arrivals are noted; not reduced */
    double *work;
    size_t *ranks;
} moe_series_batch_t;

moe_status_t moe_series_batch_reserve(moe_series_batch_t *batch, size_t columns, size_t count,
                                      moe_error_t *error);
void moe_series_batch_destroy(moe_series_batch_t *batch);

/* Reduces the batch over the ranks and appends it. Collective. There must be room. */
moe_status_t moe_series_append(moe_series_t *series, moe_transport_t *transport,
                               moe_series_batch_t *batch, moe_error_t *error);

#endif
