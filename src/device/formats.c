#include "formats.h"

#include <assert.h>

#include "../system/clones.h"

/* ---- bf16, fp16, fp32: loops over elements side by side ---- */

MOE_CLONES static void decode_bf16(float *restrict to, const uint16_t *restrict from, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        to[j] = moe_bf16_to_float(from[j]);
    }
}

MOE_CLONES static void add_bf16(float *restrict sums, float weight, const uint16_t *restrict from,
                                size_t n)
{
    for (size_t j = 0; j < n; j++) {
        sums[j] += weight * moe_bf16_to_float(from[j]);
    }
}

MOE_CLONES static void encode_bf16(uint16_t *restrict to, const float *restrict from, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        to[j] = moe_bf16_from_float(from[j]);
    }
}

MOE_CLONES static void decode_fp16(float *restrict to, const uint16_t *restrict from, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        to[j] = moe_fp16_to_float(from[j]);
    }
}

MOE_CLONES static void add_fp16(float *restrict sums, float weight, const uint16_t *restrict from,
                                size_t n)
{
    for (size_t j = 0; j < n; j++) {
        sums[j] += weight * moe_fp16_to_float(from[j]);
    }
}

MOE_CLONES static void encode_fp16(uint16_t *restrict to, const float *restrict from, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        to[j] = moe_fp16_from_float(from[j]);
    }
}

MOE_CLONES static void add_fp32(float *restrict sums, float weight, const float *restrict from,
                                size_t n)
{
    for (size_t j = 0; j < n; j++) {
        sums[j] += weight * from[j];
    }
}

/* ---- FP8: one block of a row ---- */

MOE_CLONES static void decode_e4m3(float *restrict to, const uint8_t *restrict from, float scale,
                                   size_t n)
{
    for (size_t j = 0; j < n; j++) {
        to[j] = moe_e4m3_to_float(from[j]) * scale;
    }
}

MOE_CLONES static void add_e4m3(float *restrict sums, float weight, const uint8_t *restrict from,
                                float scale, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        sums[j] += weight * (moe_e4m3_to_float(from[j]) * scale);
    }
}

MOE_CLONES static void encode_e4m3(uint8_t *restrict to, const float *restrict from, float inverse,
                                   size_t n)
{
    for (size_t j = 0; j < n; j++) {
        to[j] = moe_e4m3_from_float(from[j] * inverse);
    }
}

MOE_CLONES static uint32_t largest_magnitude(const float *from, size_t n)
{
    uint32_t largest = 0;
    for (size_t j = 0; j < n; j++) {
        const uint32_t number = moe_fp8_magnitude(from[j]);
        largest = number > largest ? number : largest;
    }
    return largest;
}

static void encode_fp8(uint8_t *row, const float *from, size_t hidden, size_t first, size_t n)
{
    assert(first % MOE_FP8_BLOCK == 0);
    for (size_t done = 0; done < n; done += MOE_FP8_BLOCK) {
        const size_t width = n - done < MOE_FP8_BLOCK ? n - done : MOE_FP8_BLOCK;
        const uint32_t exponent = moe_fp8_scale_exponent(largest_magnitude(from + done, width));
        const float scale = moe_power_of_two(exponent);
        const float inverse = moe_inverse_power_of_two(exponent);
        const size_t block = (first + done) / MOE_FP8_BLOCK;
        encode_e4m3(row + first + done, from + done, inverse, width);
        memcpy(row + hidden + block * sizeof scale, &scale, sizeof scale);
    }
}

static float scale_at(const uint8_t *row, size_t hidden, size_t block)
{
    float scale;
    memcpy(&scale, row + hidden + block * sizeof scale, sizeof scale);
    return scale;
}

static void decode_fp8(float *to, const uint8_t *row, size_t hidden, size_t first, size_t n)
{
    for (size_t column = first; column < first + n;) {
        const size_t block = column / MOE_FP8_BLOCK;
        const size_t left = first + n - column;
        const size_t in_block = (block + 1) * MOE_FP8_BLOCK - column;
        const size_t width = left < in_block ? left : in_block;
        const float scale = scale_at(row, hidden, block);
        decode_e4m3(to + (column - first), row + column, scale, width);
        column += width;
    }
}

static void add_fp8(float *sums, float weight, const uint8_t *row, size_t hidden, size_t first,
                    size_t n)
{
    assert(first % MOE_FP8_BLOCK == 0);
    for (size_t done = 0; done < n; done += MOE_FP8_BLOCK) {
        const size_t width = n - done < MOE_FP8_BLOCK ? n - done : MOE_FP8_BLOCK;
        const float scale = scale_at(row, hidden, (first + done) / MOE_FP8_BLOCK);
        add_e4m3(sums + done, weight, row + first + done, scale, width);
    }
}

/* ---- By dtype ---- */

void moe_format_decode(moe_dtype_t dtype, float *to, const void *row, size_t hidden, size_t first,
                       size_t n)
{
    switch (dtype) {
    case MOE_BF16:
        decode_bf16(to, (const uint16_t *)row + first, n);
        break;
    case MOE_FP16:
        decode_fp16(to, (const uint16_t *)row + first, n);
        break;
    case MOE_FP8:
        decode_fp8(to, row, hidden, first, n);
        break;
    default:
        memcpy(to, (const float *)row + first, n * sizeof *to);
        break;
    }
}

void moe_format_add(moe_dtype_t dtype, float *sums, float weight, const void *row, size_t hidden,
                    size_t first, size_t n)
{
    switch (dtype) {
    case MOE_BF16:
        add_bf16(sums, weight, (const uint16_t *)row + first, n);
        break;
    case MOE_FP16:
        add_fp16(sums, weight, (const uint16_t *)row + first, n);
        break;
    case MOE_FP8:
        add_fp8(sums, weight, row, hidden, first, n);
        break;
    default:
        add_fp32(sums, weight, (const float *)row + first, n);
        break;
    }
}

void moe_format_encode(moe_dtype_t dtype, void *row, const float *from, size_t hidden, size_t first,
                       size_t n)
{
    switch (dtype) {
    case MOE_BF16:
        encode_bf16((uint16_t *)row + first, from, n);
        break;
    case MOE_FP16:
        encode_fp16((uint16_t *)row + first, from, n);
        break;
    case MOE_FP8:
        encode_fp8(row, from, hidden, first, n);
        break;
    default:
        memcpy((float *)row + first, from, n * sizeof *from);
        break;
    }
}
