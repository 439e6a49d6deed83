/* What benchmarks of GPUs share: memory, and timing two operations by turns. */
#ifndef MOE_BENCH_GPU_BENCH_H
#define MOE_BENCH_GPU_BENCH_H

#include <stdio.h>
#include <stdlib.h>

#include "moe/device.h"

enum { REPETITIONS = 21, WARM_UP = 3 };

static inline void give_up(const moe_error_t *error)
{
    fprintf(stderr, "bench_gpu_rows: %s\n", error->text);
    exit(error->status);
}

static inline void *host_memory(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);
    if (memory == NULL) {
        exit(MOE_FAILED);
    }
    return memory;
}

static inline void *need(moe_device_t *d, size_t bytes)
{
    void *memory = NULL;
    moe_error_t error = {.status = MOE_OK};
    if (d->ops->alloc(d, "the benchmark", bytes, &memory, &error) != MOE_OK) {
        give_up(&error);
    }
    return memory;
}

static inline const void *need_list(moe_device_t *d, const void *list, size_t bytes)
{
    const void *there = NULL;
    moe_error_t error = {.status = MOE_OK};
    if (d->ops->list(d, "a list", list, bytes, &there, &error) != MOE_OK) {
        give_up(&error);
    }
    return there;
}

static inline int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double median(double *values)
{
    qsort(values, REPETITIONS, sizeof *values, ascending);
    return values[REPETITIONS / 2];
}

typedef void operation_fn(void *context, size_t turn);

/* Seconds of one and of the other, by turns, by events of the GPU. */
static inline void time_both(moe_device_t *d, void *context, operation_fn *one, operation_fn *other,
                             double *one_seconds, double *other_seconds)
{
    for (size_t r = 0; r < WARM_UP + REPETITIONS; r++) {
        double seconds[3];
        moe_error_t error = {.status = MOE_OK};
        d->ops->mark(d);
        one(context, r);
        d->ops->mark(d);
        other(context, r);
        d->ops->mark(d);
        if (d->ops->read_marks(d, seconds, 3, &error) != MOE_OK) {
            give_up(&error);
        }
        if (r >= WARM_UP) {
            one_seconds[r - WARM_UP] = seconds[1];
            other_seconds[r - WARM_UP] = seconds[2] - seconds[1];
        }
    }
}

#endif
