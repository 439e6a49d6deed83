/* Logarithm and exponential that give the same bits on every machine.
 *
 * The C library's differ in the last bit between versions and processors, which could turn a
 * choice. These use IEEE double additions, multiplications and divisions only, in a fixed order;
 * they hold no branch that would keep a loop from being vectorised. Relative error below 1e-15
 * (tested). */
#ifndef MOE_ROUTING_REAL_H
#define MOE_ROUTING_REAL_H

#include <stdint.h>
#include <string.h>

/* Fused multiply-add rounds once where the source says twice. GCC leaves it out in ISO mode
 * only. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__) && !defined(__STRICT_ANSI__)
#error "compile the routing room with -std=c11: GNU modes contract a * b + c"
#endif

/* ln 2 in two parts: the first has 21 zero bits at its end, so that k * MOE_LN2_HIGH is exact for
 * every exponent k (fdlibm, e_log.c). */
#define MOE_LN2_HIGH 6.93147180369123816490e-01
#define MOE_LN2_LOW  1.90821492927058770002e-10

static inline uint64_t moe_real_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double moe_real_from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* A whole number below 2^52 as double: set behind the exponent of 2^52. (A conversion of 64-bit
 * integers is an instruction in AVX-512 only; this is two in every instruction set.) */
static inline double moe_real_from_integer(uint64_t n)
{
    const uint64_t two_to_52 = 0x4330000000000000; /* bits of 2^52 */
    return moe_real_from_bits(n | two_to_52) - 0x1p52;
}

/* x = m * 2^k with m in [sqrt(1/2), sqrt(2)): returns ln m and sets *k. x > 0, finite, normal. */
static inline double moe_real_log_parts(double x, double *k)
{
    const uint64_t sqrt_half = 0x3fe6a09e667f3bcd; /* bits of sqrt(1/2) */
    const uint64_t one = 0x3ff0000000000000;       /* bits of 1, whose exponent is the bias */
    const uint64_t mantissa = 0x000fffffffffffff;
    const uint64_t from_sqrt_half = moe_real_bits(x) + one - sqrt_half;
    *k = moe_real_from_integer(from_sqrt_half >> 52) - 1023;
    const double m = moe_real_from_bits((from_sqrt_half & mantissa) + sqrt_half);
    /* ln m = 2 artanh s = 2 (s + s^3/3 + s^5/5 + ...), s^2 < 0.0295: eleven terms leave 1e-18. */
    const double s = (m - 1) / (m + 1);
    const double z = s * s;
    double sum = 1.0 / 21;
    sum = sum * z + 1.0 / 19;
    sum = sum * z + 1.0 / 17;
    sum = sum * z + 1.0 / 15;
    sum = sum * z + 1.0 / 13;
    sum = sum * z + 1.0 / 11;
    sum = sum * z + 1.0 / 9;
    sum = sum * z + 1.0 / 7;
    sum = sum * z + 1.0 / 5;
    sum = sum * z + 1.0 / 3;
    return 2 * s + 2 * s * (z * sum);
}

/* x > 0, finite, normal. */
static inline double moe_real_log(double x)
{
    double k;
    const double log_m = moe_real_log_parts(x, &k);
    return k * MOE_LN2_HIGH + (log_m + k * MOE_LN2_LOW);
}

/* 0 below e^-700, clipped at e^700; minus infinity is allowed. */
static inline double moe_real_exp(double x)
{
    const double limit = 700; /* e^+-700 and its factors are normal numbers */
    const double log2_e = 1.44269504088896338700;
    const int terms = 14; /* (ln 2 / 2)^14 / 14! = 4e-18 */
    if (!(x >= -limit))
        return 0;
    const double y = x < limit ? x : limit;
    const int64_t k = (int64_t)(y * log2_e + (y < 0 ? -0.5 : 0.5));
    const double r = (y - (double)k * MOE_LN2_HIGH) - (double)k * MOE_LN2_LOW;
    double sum = 1;
    for (int n = terms; n > 0; n--) /* Horner's scheme of sum r^n / n! */
        sum = 1 + r / n * sum;
    return sum * moe_real_from_bits((uint64_t)(k + 1023) << 52);
}

/* A 32-bit word as a number in (0, 1): the middle of its interval of 2^-32. */
static inline double moe_real_uniform(uint32_t word)
{
    return moe_real_from_integer(2 * (uint64_t)word + 1) * 0x1p-33;
}

/* Exp(1) = -ln U, U as moe_real_uniform(): from 2^-33 to 33 ln 2. */
static inline double moe_real_exponential(uint32_t word)
{
    double k;
    const double log_m = moe_real_log_parts(moe_real_from_integer(2 * (uint64_t)word + 1), &k);
    const double halvings = 33 - k;
    return halvings * MOE_LN2_HIGH + (halvings * MOE_LN2_LOW - log_m);
}

#endif
