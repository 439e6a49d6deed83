/* The oracle's numbers, element by element and row by row. Pure functions. */
#ifndef MOE_DEVICE_ORACLE_H
#define MOE_DEVICE_ORACLE_H

#include <stddef.h>
#include <stdint.h>

#include "inline.h"
#include "moe/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* splitmix64's finaliser (Steele, Lea, Flood, OOPSLA'14, doi 10.1145/2660193.2660195): a bijection,
 * so that different tokens of a seed have different keys. */
MOE_INLINE uint64_t moe_oracle_mix(uint64_t z)
{
    z += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

MOE_INLINE uint64_t moe_oracle_token_key(uint64_t seed, uint64_t token)
{
    return moe_oracle_mix(moe_oracle_mix(seed) ^ token);
}

/* Experts have a stream of their own, the same for every seed. */
MOE_INLINE uint64_t moe_oracle_expert_key(size_t expert)
{
    return moe_oracle_mix(UINT64_C(0x6578706572740000) ^ (uint64_t)expert);
}

/* 32 bits of (key, column): two multiplications, in 32 bits, so that eight or sixteen columns go at
 * once. The upper bits are the good ones. */
MOE_INLINE uint32_t moe_oracle_hash(uint64_t key, uint32_t column)
{
    uint32_t h = column * UINT32_C(0x9e3779b1) + (uint32_t)key;
    h ^= h >> 16;
    return h * ((uint32_t)(key >> 32) | 1u);
}

/* [-8, 7]: the upper 4 bits. */
MOE_INLINE int32_t moe_oracle_x(uint64_t key, uint32_t column)
{
    return (int32_t)(moe_oracle_hash(key, column) >> 28) - 8;
}

/* [-8, 8]: the upper half scaled to 17 values. */
MOE_INLINE int32_t moe_oracle_b(uint64_t key, uint32_t column)
{
    return (int32_t)(((moe_oracle_hash(key, column) >> 16) * 17u) >> 16) - 8;
}

/* to[j] = x(first + j), of the token with that key. */
void moe_oracle_fill(float *to, uint64_t token_key, size_t first, size_t n);
/* values[j] += bias(first + j), of the expert with that key. */
void moe_oracle_add(float *values, uint64_t expert_key, size_t first, size_t n);
/* sums[j] += weight * (x(first + j) + bias(first + j)). */
void moe_oracle_sum(double *sums, double weight, uint64_t token_key, uint64_t expert_key,
                    size_t first, size_t n);

#ifdef __cplusplus
}
#endif
#endif
