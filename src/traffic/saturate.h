/* Sums and products of sizes that stop at SIZE_MAX instead of wrapping. */
#ifndef MOE_TRAFFIC_SATURATE_H
#define MOE_TRAFFIC_SATURATE_H

#include <stddef.h>
#include <stdint.h>

static inline size_t moe_saturating_add(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

static inline size_t moe_saturating_multiply(size_t a, size_t b)
{
    size_t product;
    return __builtin_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}

#endif
