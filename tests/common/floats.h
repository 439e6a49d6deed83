/* Rows of any dtype from and to floats, by a device that works in host memory. */
#ifndef TESTS_FLOATS_H
#define TESTS_FLOATS_H

#include "moe/device.h"

static inline void rows_to_floats(moe_device_t *d, float *to, const void *from, moe_dtype_t dtype,
                                  size_t rows, size_t hidden)
{
    d->ops->gather(d, to, hidden * sizeof *to, MOE_FP32, from, moe_row_bytes(dtype, hidden), dtype,
                   NULL, rows, hidden);
}

static inline void rows_from_floats(moe_device_t *d, void *to, moe_dtype_t dtype, const float *from,
                                    size_t rows, size_t hidden)
{
    d->ops->gather(d, to, moe_row_bytes(dtype, hidden), dtype, from, hidden * sizeof *from,
                   MOE_FP32, NULL, rows, hidden);
}

#endif
