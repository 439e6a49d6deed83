/* Number formats of rows: bf16, fp16, fp32, and E4M3 with scales; element by element and row by row.
 *
 * Conversions round to nearest even and keep NaN. A row of MOE_FP8 is `hidden` bytes of E4M3, then
 * ceil(hidden / 128) fp32 scales, not aligned where hidden is not; element j is
 * E4M3[j] * scale[j / 128]. */
#ifndef MOE_DEVICE_FORMATS_H
#define MOE_DEVICE_FORMATS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "inline.h"
#include "moe/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Columns that are converted at a time: small enough for the first-level cache in fp32, whole FP8
 * blocks. */
#define MOE_PANEL ((size_t)1024)

/* fp32: 1 sign bit, 8 of the exponent, 23 of the fraction. */
#define MOE_FP32_FRACTION 23
#define MOE_FP32_BIAS     127
#define MOE_FP32_SIGN     UINT32_C(0x80000000)
#define MOE_FP32_INFINITY UINT32_C(0x7f800000)
#define MOE_FP32_QUIET    UINT32_C(0x00400000) /* of a NaN that raises no signal */

/* binary16 (IEEE 754-2008): 1, 5, 10. */
#define MOE_FP16_FRACTION 10
#define MOE_FP16_BIAS     15
#define MOE_FP16_INFINITY UINT32_C(0x7c00)
#define MOE_FP16_QUIET    UINT32_C(0x0200)

/* E4M3 (OCP 8-bit floating point specification 1.0; Micikevicius et al., arXiv 2209.05433): 1, 4, 3;
 * no infinity, one NaN a sign, largest number 448. */
#define MOE_E4M3_FRACTION 3
#define MOE_E4M3_BIAS     7
#define MOE_E4M3_NAN      UINT32_C(0x7f)
#define MOE_E4M3_LARGEST  UINT32_C(0x7e)

MOE_INLINE uint32_t moe_bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

MOE_INLINE float moe_float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* condition ? a : b as arithmetic, which stays free of branches (and so in vectors) where a compiler
 * would jump over floating-point work. */
MOE_INLINE uint32_t moe_select(int condition, uint32_t a, uint32_t b)
{
    const uint32_t mask = 0u - (uint32_t)(condition != 0);
    return (a & mask) | (b & ~mask);
}

MOE_INLINE float moe_bf16_to_float(uint16_t value)
{
    return moe_float_of((uint32_t)value << 16);
}

/* Bits whose upper half is the bf16 nearest to `value`. */
MOE_INLINE uint32_t moe_bf16_round(float value)
{
    const uint32_t bits = moe_bits_of(value);
    const uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);
    return value != value ? bits | MOE_FP32_QUIET : rounded;
}

MOE_INLINE uint16_t moe_bf16_from_float(float value)
{
    return (uint16_t)(moe_bf16_round(value) >> 16);
}

/* Finite magnitudes of a format with fewer exponent bits than fp32. Without branches, and without
 * subnormal fp32 numbers, which some processors take hundreds of cycles for. */
MOE_INLINE uint32_t moe_small_to_float(uint32_t magnitude, int fraction, int bias)
{
    const int shift = MOE_FP32_FRACTION - fraction;
    const uint32_t least_normal = (uint32_t)(MOE_FP32_BIAS + 1 - bias) << MOE_FP32_FRACTION;
    const uint32_t normal =
        (magnitude << shift) + ((uint32_t)(MOE_FP32_BIAS - bias) << MOE_FP32_FRACTION);
    const uint32_t subnormal =
        moe_bits_of(moe_float_of((magnitude << shift) + least_normal) - moe_float_of(least_normal));
    return moe_select(magnitude >> fraction == 0, subnormal, normal);
}

/* The same the other way, bits without sign; past the format's largest number it goes on counting.
 * Subnormals: adding 2^(23 + exponent of the last bit) leaves the rounded multiple in the low bits. */
MOE_INLINE uint32_t moe_small_from_float(uint32_t bits, int fraction, int bias)
{
    const int shift = MOE_FP32_FRACTION - fraction;
    const uint32_t least_normal = (uint32_t)(MOE_FP32_BIAS + 1 - bias) << MOE_FP32_FRACTION;
    const uint32_t odd = (bits >> shift) & 1;
    const uint32_t normal = ((bits + ((1u << (shift - 1)) - 1) + odd) >> shift) -
                            ((uint32_t)(MOE_FP32_BIAS - bias) << fraction);
    const uint32_t magic = least_normal + ((uint32_t)shift << MOE_FP32_FRACTION);
    const uint32_t subnormal = moe_bits_of(moe_float_of(bits) + moe_float_of(magic)) - magic;
    return moe_select(bits < least_normal, subnormal, normal);
}

MOE_INLINE float moe_fp16_to_float(uint16_t value)
{
    const uint32_t magnitude = value & 0x7fffu;
    const uint32_t finite = moe_small_to_float(magnitude, MOE_FP16_FRACTION, MOE_FP16_BIAS);
    const uint32_t special =
        MOE_FP32_INFINITY | (magnitude << (MOE_FP32_FRACTION - MOE_FP16_FRACTION));
    const uint32_t sign = (uint32_t)(value & 0x8000u) << 16;
    return moe_float_of(sign | moe_select(magnitude >= MOE_FP16_INFINITY, special, finite));
}

MOE_INLINE uint16_t moe_fp16_from_float(float value)
{
    const uint32_t bits = moe_bits_of(value) & ~MOE_FP32_SIGN;
    const uint32_t sign = moe_bits_of(value) >> 31 << 15;
    const uint32_t near = moe_small_from_float(bits, MOE_FP16_FRACTION, MOE_FP16_BIAS);
    const uint32_t finite = near < MOE_FP16_INFINITY ? near : MOE_FP16_INFINITY;
    const uint32_t payload = (bits >> (MOE_FP32_FRACTION - MOE_FP16_FRACTION)) & 0x3ff;
    const uint32_t quiet = MOE_FP16_INFINITY | MOE_FP16_QUIET | payload;
    return (uint16_t)(sign | moe_select(bits > MOE_FP32_INFINITY, quiet, finite));
}

MOE_INLINE float moe_e4m3_to_float(uint8_t value)
{
    const uint32_t magnitude = value & 0x7fu;
    const uint32_t finite = moe_small_to_float(magnitude, MOE_E4M3_FRACTION, MOE_E4M3_BIAS);
    const uint32_t sign = (uint32_t)(value & 0x80u) << 24;
    const uint32_t nan = MOE_FP32_INFINITY | MOE_FP32_QUIET;
    return moe_float_of(sign | moe_select(magnitude == MOE_E4M3_NAN, nan, finite));
}

/* Saturates at 448. */
MOE_INLINE uint8_t moe_e4m3_from_float(float value)
{
    const uint32_t bits = moe_bits_of(value) & ~MOE_FP32_SIGN;
    const uint32_t sign = moe_bits_of(value) >> 31 << 7;
    const uint32_t near = moe_small_from_float(bits, MOE_E4M3_FRACTION, MOE_E4M3_BIAS);
    const uint32_t finite = near < MOE_E4M3_LARGEST ? near : MOE_E4M3_LARGEST;
    return (uint8_t)(sign | moe_select(bits > MOE_FP32_INFINITY, MOE_E4M3_NAN, finite));
}

/* Bits of the magnitude, which are ordered as the floats are; NaN counts as 0, so that it does not
 * decide the scale of its neighbours. */
MOE_INLINE uint32_t moe_fp8_magnitude(float value)
{
    const uint32_t bits = moe_bits_of(value) & ~MOE_FP32_SIGN;
    return moe_select(bits > MOE_FP32_INFINITY, 0, bits);
}

/* Exponent (biased) of the scale of a block whose largest magnitude this is: see moe_format_encode().
 * 448 = 1.75 * 2^8. It stays where its inverse is a normal number too. */
MOE_INLINE uint32_t moe_fp8_scale_exponent(uint32_t largest)
{
    const uint32_t fraction_of_448 = UINT32_C(0x600000);
    const uint32_t exponent_of_448 = 8;
    if (largest == 0) {
        return MOE_FP32_BIAS;
    }
    const uint32_t fraction = largest & ((1u << MOE_FP32_FRACTION) - 1);
    const uint32_t exponent = (largest >> MOE_FP32_FRACTION) + (fraction > fraction_of_448 ? 1 : 0);
    return exponent > exponent_of_448 ? exponent - exponent_of_448 : 1;
}

MOE_INLINE float moe_power_of_two(uint32_t biased_exponent)
{
    return moe_float_of(biased_exponent << MOE_FP32_FRACTION);
}

/* 1 / moe_power_of_two(). */
MOE_INLINE float moe_inverse_power_of_two(uint32_t biased_exponent)
{
    return moe_power_of_two(2 * MOE_FP32_BIAS - biased_exponent);
}

/* Scales of a row: one for each MOE_FP8_BLOCK elements. */
MOE_INLINE size_t moe_fp8_blocks(size_t hidden)
{
    return hidden / MOE_FP8_BLOCK + (hidden % MOE_FP8_BLOCK != 0);
}

/* Columns of the panel that starts at column `first`. */
MOE_INLINE size_t moe_panel_width(size_t hidden, size_t first)
{
    return hidden - first < MOE_PANEL ? hidden - first : MOE_PANEL;
}

/* ---- Columns [first, first + n) of a row of `hidden` elements ---- */

void moe_format_decode(moe_dtype_t dtype, float *to, const void *row, size_t hidden, size_t first,
                       size_t n);
/* sums[j] += weight * element, the product rounded to fp32 before it is added. FP8: first is a
 * multiple of MOE_FP8_BLOCK. */
void moe_format_add(moe_dtype_t dtype, float *sums, float weight, const void *row, size_t hidden,
                    size_t first, size_t n);
/* FP8: first is a multiple of MOE_FP8_BLOCK, and first + n another, or hidden. The scale of a block
 * is the smallest power of two s with max |element| / s <= 448 (as UE8M0 scales are: OCP MX
 * specification 1.0, DeepSeek-V3.1), so that small whole numbers stay exact; 1 where all are 0. */
void moe_format_encode(moe_dtype_t dtype, void *row, const float *from, size_t hidden, size_t first,
                       size_t n);

#ifdef __cplusplus
}
#endif
#endif
