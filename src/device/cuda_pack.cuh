/* What one lane of a kernel holds of a row: loading, decoding, encoding, storing. */
#ifndef MOE_DEVICE_CUDA_PACK_CUH
#define MOE_DEVICE_CUDA_PACK_CUH

#include "cuda_walk.cuh"
#include "formats.h"
#include "oracle.h"

/* Of one element; as moe_dtype_bytes(), for the compiler. */
template <moe_dtype_t dtype>
constexpr unsigned element_bytes = dtype == MOE_FP32  ? 4
                                   : dtype == MOE_FP8 ? 1
                                                      : 2;

/* Elements as they lie in memory, the first in the lowest bits. */
template <moe_dtype_t dtype> struct pack_t {
    static constexpr unsigned words = PACK * element_bytes<dtype> / 4;
    uint32_t word[words];
};

/* Element j of a pack; j is known when a loop is unrolled. */
template <moe_dtype_t dtype> MOE_DEVICE uint32_t pack_get(const pack_t<dtype> &pack, unsigned j)
{
    constexpr unsigned in_word = 4 / element_bytes<dtype>, bits = 8 * element_bytes<dtype>;
    return pack.word[j / in_word] >> (j % in_word * bits) & (0xffffffffu >> (32 - bits));
}

/* Its bits must be 0 before. */
template <moe_dtype_t dtype>
MOE_DEVICE void pack_put(pack_t<dtype> *pack, unsigned j, uint32_t element)
{
    constexpr unsigned in_word = 4 / element_bytes<dtype>, bits = 8 * element_bytes<dtype>;
    pack->word[j / in_word] |= element << (j % in_word * bits);
}

template <moe_dtype_t dtype> MOE_DEVICE pack_t<dtype> pack_of_zeros()
{
    pack_t<dtype> pack;
    MOE_UNROLL
    for (unsigned i = 0; i < pack.words; i++) {
        pack.word[i] = 0;
    }
    return pack;
}

/* Whether packs of these rows can be moved whole. */
template <moe_dtype_t dtype> MOE_DEVICE bool packs_are_aligned(const moe_cuda_rows_t &rows)
{
    constexpr unsigned bytes = PACK * element_bytes<dtype>;
    return (((uintptr_t)rows.base | rows.stride) & ((bytes < 16 ? bytes : 16) - 1)) == 0;
}

/* Elements of a pack that starts at `column` which the row has. */
MOE_DEVICE unsigned pack_valid(size_t hidden, size_t column)
{
    const size_t left = column < hidden ? hidden - column : 0;
    return left < PACK ? (unsigned)left : (unsigned)PACK;
}

template <moe_dtype_t dtype> MOE_DEVICE uint32_t load_element(const char *at)
{
    if (element_bytes<dtype> == 1) {
        return *(const uint8_t *)at;
    }
    if (element_bytes<dtype> == 2) {
        return *(const uint16_t *)at;
    }
    return *(const uint32_t *)at;
}

template <moe_dtype_t dtype> MOE_DEVICE void store_element(char *at, uint32_t element)
{
    if (element_bytes<dtype> == 1) {
        *(uint8_t *)at = (uint8_t)element;
    } else if (element_bytes<dtype> == 2) {
        *(uint16_t *)at = (uint16_t)element;
    } else {
        *(uint32_t *)at = element;
    }
}

template <moe_dtype_t dtype> MOE_DEVICE pack_t<dtype> load_whole_pack(const char *at)
{
    pack_t<dtype> pack;
    if constexpr (pack_t<dtype>::words == 2) {
        const uint2 v = *(const uint2 *)at;
        pack.word[0] = v.x, pack.word[1] = v.y;
    } else {
        MOE_UNROLL
        for (unsigned i = 0; i < pack.words; i += 4) {
            const uint4 v = *(const uint4 *)(at + 4 * i);
            pack.word[i] = v.x, pack.word[i + 1] = v.y;
            pack.word[i + 2] = v.z, pack.word[i + 3] = v.w;
        }
    }
    return pack;
}

/* Zeros past `valid`. */
template <moe_dtype_t dtype>
MOE_DEVICE pack_t<dtype> load_pack(const char *at, unsigned valid, bool aligned)
{
    if (valid == PACK && aligned) {
        return load_whole_pack<dtype>(at);
    }
    pack_t<dtype> pack = pack_of_zeros<dtype>();
    MOE_UNROLL
    for (unsigned j = 0; j < PACK; j++) {
        if (j < valid) {
            pack_put<dtype>(&pack, j, load_element<dtype>(at + j * element_bytes<dtype>));
        }
    }
    return pack;
}

template <moe_dtype_t dtype> MOE_DEVICE void store_whole_pack(char *at, const pack_t<dtype> &pack)
{
    if constexpr (pack_t<dtype>::words == 2) {
        *(uint2 *)at = make_uint2(pack.word[0], pack.word[1]);
    } else {
        MOE_UNROLL
        for (unsigned i = 0; i < pack.words; i += 4) {
            *(uint4 *)(at + 4 * i) =
                make_uint4(pack.word[i], pack.word[i + 1], pack.word[i + 2], pack.word[i + 3]);
        }
    }
}

template <moe_dtype_t dtype>
MOE_DEVICE void store_pack(char *at, const pack_t<dtype> &pack, unsigned valid, bool aligned)
{
    if (valid == PACK && aligned) {
        store_whole_pack<dtype>(at, pack);
        return;
    }
    MOE_UNROLL
    for (unsigned j = 0; j < PACK; j++) {
        if (j < valid) {
            store_element<dtype>(at + j * element_bytes<dtype>, pack_get<dtype>(pack, j));
        }
    }
}

/* ---- Numbers ----
 * Products and sums are never fused (fma), as the host does not fuse them; and a GPU makes one NaN of
 * all NaN, so those are led around the arithmetic. */

MOE_DEVICE float scaled(float value, float scale)
{
    const float product = __fmul_rn(value, scale);
    return value != value ? value : product;
}

MOE_DEVICE float plus(float value, float more)
{
    const float sum = __fadd_rn(value, more);
    return value != value ? moe_float_of(moe_bits_of(value) | MOE_FP32_QUIET) : sum;
}

/* Where the scale of a column lies in an FP8 row: behind the elements, at any address. */
MOE_DEVICE size_t scale_offset(size_t hidden, size_t column)
{
    return hidden + column / MOE_FP8_BLOCK * sizeof(float);
}

MOE_DEVICE uint32_t load_scale_bits(const char *at)
{
    if (((uintptr_t)at & 3) == 0) {
        return *(const uint32_t *)at;
    }
    const uint8_t *const byte = (const uint8_t *)at;
    return (uint32_t)byte[0] | (uint32_t)byte[1] << 8 | (uint32_t)byte[2] << 16 |
           (uint32_t)byte[3] << 24;
}

MOE_DEVICE void store_scale_bits(char *at, uint32_t bits)
{
    if (((uintptr_t)at & 3) == 0) {
        *(uint32_t *)at = bits;
        return;
    }
    MOE_UNROLL
    for (unsigned i = 0; i < 4; i++) {
        ((uint8_t *)at)[i] = (uint8_t)(bits >> 8 * i);
    }
}

/* Elements as they came, with the scale of their block: 1 but for FP8. */
template <moe_dtype_t dtype> struct scaled_pack_t {
    pack_t<dtype> pack;
    float scale;
};

/* How the packs of a part of a row are moved: one answer for a whole warp, so that the many parts that
 * are `whole` are moved by loads and stores in a row, with no questions in between. */
typedef struct moe_shape {
    size_t hidden;
    bool whole;   /* every pack is whole and aligned */
    bool aligned; /* those that are whole are aligned */
} moe_shape_t;

MOE_DEVICE moe_shape_t moe_shape_of(size_t hidden, const moe_walk_t &at, unsigned columns,
                                    bool aligned)
{
    moe_shape_t shape;
    shape.hidden = hidden;
    shape.whole = aligned && ((size_t)at.part + 1) * columns <= hidden;
    shape.aligned = aligned;
    return shape;
}

template <moe_dtype_t dtype>
MOE_DEVICE float load_scale(const char *row, const moe_shape_t &shape, size_t column)
{
    return dtype != MOE_FP8 || column >= shape.hidden
               ? 1.0f
               : moe_float_of(load_scale_bits(row + scale_offset(shape.hidden, column)));
}

/* The packs of a lane: the first starts at column `first`, the others follow STEP apart. */
template <moe_dtype_t dtype, unsigned packs>
MOE_DEVICE void load_packs(scaled_pack_t<dtype> (&to)[packs], const char *row,
                           const moe_shape_t &shape, size_t first)
{
    const char *const at = row + first * element_bytes<dtype>;
    constexpr size_t step = STEP * element_bytes<dtype>;
    if (shape.whole) {
        MOE_UNROLL
        for (unsigned u = 0; u < packs; u++) {
            to[u].pack = load_whole_pack<dtype>(at + u * step);
        }
    } else {
        MOE_UNROLL
        for (unsigned u = 0; u < packs; u++) {
            to[u].pack = load_pack<dtype>(at + u * step, pack_valid(shape.hidden, first + u * STEP),
                                          shape.aligned);
        }
    }
    MOE_UNROLL
    for (unsigned u = 0; u < packs; u++) {
        to[u].scale = load_scale<dtype>(row, shape, first + u * STEP);
    }
}

template <moe_dtype_t dtype>
MOE_DEVICE float decode_element(const scaled_pack_t<dtype> &from, unsigned j)
{
    const uint32_t bits = pack_get<dtype>(from.pack, j);
    if (dtype == MOE_BF16) {
        return moe_bf16_to_float((uint16_t)bits);
    }
    if (dtype == MOE_FP16) {
        return moe_fp16_to_float((uint16_t)bits);
    }
    if (dtype == MOE_FP8) {
        return scaled(moe_e4m3_to_float((uint8_t)bits), from.scale);
    }
    return moe_float_of(bits);
}

/* The largest magnitude of a block, in all of its lanes, from the largest of each lane. */
MOE_DEVICE uint32_t largest_of_block(uint32_t largest)
{
    MOE_UNROLL
    for (unsigned apart = BLOCK_LANES / 2; apart > 0; apart /= 2) {
        const uint32_t other = __shfl_xor_sync(ALL_LANES, largest, apart);
        largest = other > largest ? other : largest;
    }
    return largest;
}

/* Bits of an element; for FP8, of value / scale. */
template <moe_dtype_t dtype> MOE_DEVICE uint32_t encode_element(float value, float inverse_scale)
{
    if (dtype == MOE_BF16) {
        return moe_bf16_from_float(value);
    }
    if (dtype == MOE_FP16) {
        return moe_fp16_from_float(value);
    }
    if (dtype == MOE_FP8) {
        return moe_e4m3_from_float(scaled(value, inverse_scale));
    }
    return moe_bits_of(value);
}

/* Values past the end of a row must be 0. For FP8 all lanes of a warp must come here together. */
template <moe_dtype_t dtype> MOE_DEVICE scaled_pack_t<dtype> encode(const float (&value)[PACK])
{
    scaled_pack_t<dtype> to;
    to.pack = pack_of_zeros<dtype>();
    to.scale = 1.0f;
    float inverse = 1.0f;
    if (dtype == MOE_FP8) {
        uint32_t largest = 0;
        MOE_UNROLL
        for (unsigned j = 0; j < PACK; j++) {
            const uint32_t magnitude = moe_fp8_magnitude(value[j]);
            largest = magnitude > largest ? magnitude : largest;
        }
        const uint32_t exponent = moe_fp8_scale_exponent(largest_of_block(largest));
        to.scale = moe_power_of_two(exponent);
        inverse = moe_inverse_power_of_two(exponent);
    }
    MOE_UNROLL
    for (unsigned j = 0; j < PACK; j++) {
        pack_put<dtype>(&to.pack, j, encode_element<dtype>(value[j], inverse));
    }
    return to;
}

/* Elements of an oracle's token; 0 past the end of the row. */
MOE_DEVICE void token_values(float (&value)[PACK], uint64_t key, size_t hidden, size_t column)
{
    const unsigned valid = pack_valid(hidden, column);
    MOE_UNROLL
    for (unsigned j = 0; j < PACK; j++) {
        value[j] = j < valid ? (float)moe_oracle_x(key, (uint32_t)column + j) : 0.0f;
    }
}

/* The first lane of a block stores its scale. */
template <moe_dtype_t dtype>
MOE_DEVICE void store_scaled(char *row, const moe_shape_t &shape, size_t column,
                             const scaled_pack_t<dtype> &from)
{
    char *const at = row + column * element_bytes<dtype>;
    if (shape.whole) {
        store_whole_pack<dtype>(at, from.pack);
    } else {
        store_pack<dtype>(at, from.pack, pack_valid(shape.hidden, column), shape.aligned);
    }
    if (dtype == MOE_FP8 && column % MOE_FP8_BLOCK == 0 && column < shape.hidden) {
        store_scale_bits(row + scale_offset(shape.hidden, column), moe_bits_of(from.scale));
    }
}

#endif
