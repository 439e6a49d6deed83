/* Pseudo-random numbers for tests of statistics: the same on every machine. */
#ifndef TESTS_NOISE_H
#define TESTS_NOISE_H

#include <math.h>
#include <stdint.h>

/* SplitMix64 (Steele, Lea and Flood, OOPSLA'14). */
static inline uint64_t noise_bits(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* In (0, 1). */
static inline double noise_uniform(uint64_t *state)
{
    return ((double)(noise_bits(state) >> 11) + 0.5) * 0x1p-53;
}

static inline double noise_exponential(uint64_t *state)
{
    return -log(noise_uniform(state));
}

/* Box and Muller. */
static inline double noise_normal(uint64_t *state)
{
    const double radius = sqrt(2 * noise_exponential(state));
    return radius * cos(6.283185307179586 * noise_uniform(state));
}

#endif
