/* Kernels that make the oracle's rows: tokens, and what the known expert makes of them. They are bound
 * by arithmetic nearly as much as by memory: the key of a row is made once for 4 packs of a lane. */
#include <cuda_runtime.h>

#include "cuda_pack.cuh"

enum { MAKE_PACKS = 4, MAKE_COLUMNS = MAKE_PACKS * STEP, MAKE_BLOCKS = 4 };

template <moe_dtype_t dtype>
__global__ void __launch_bounds__(THREADS, MAKE_BLOCKS) moe_fill_kernel(const moe_cuda_fill_t args)
{
    const bool aligned = packs_are_aligned<dtype>(args.to);
    moe_walk_t at = moe_walk_of_warp(args.hidden, MAKE_COLUMNS);
    for (; at.row < args.rows; moe_walk_on(&at)) {
        const uint64_t key = moe_oracle_token_key(args.seed, args.first_token + at.row);
        const size_t first = moe_first_column(at, MAKE_COLUMNS);
        const moe_shape_t shape = moe_shape_of(args.hidden, at, MAKE_COLUMNS, aligned);
        char *const row = args.to.base + at.row * args.to.stride;
        MOE_UNROLL
        for (unsigned u = 0; u < MAKE_PACKS; u++) {
            float value[PACK];
            token_values(value, key, args.hidden, first + u * STEP);
            store_scaled<dtype>(row, shape, first + u * STEP, encode<dtype>(value));
        }
    }
}

cudaError_t moe_cuda_launch_fill(const moe_cuda_fill_t *args, cudaStream_t stream)
{
    if (args->rows == 0 || args->hidden == 0) {
        return cudaSuccess;
    }
    const size_t parts = moe_parts(args->hidden, MAKE_COLUMNS);
    return moe_launch(MOE_BY_DTYPE(args->to.dtype, moe_fill_kernel),
                      moe_grid(args->rows, parts, WARPS, args->multiprocessors, MAKE_BLOCKS),
                      THREADS, *args, stream);
}

enum { EXPERT_AHEAD = 2, EXPERT_COLUMNS = EXPERT_AHEAD * STEP };

template <moe_dtype_t to_dtype, moe_dtype_t from_dtype>
__global__ void __launch_bounds__(THREADS, MAKE_BLOCKS)
    moe_expert_kernel(const moe_cuda_expert_t args)
{
    const bool to_aligned = packs_are_aligned<to_dtype>(args.to);
    const bool from_aligned = packs_are_aligned<from_dtype>(args.from);
    const uint64_t key = moe_oracle_expert_key(args.expert);
    moe_walk_t at = moe_walk_of_warp(args.hidden, EXPERT_COLUMNS);
    for (; at.row < args.rows; moe_walk_on(&at)) {
        const size_t first = moe_first_column(at, EXPERT_COLUMNS);
        const moe_shape_t to = moe_shape_of(args.hidden, at, EXPERT_COLUMNS, to_aligned);
        scaled_pack_t<from_dtype> in[EXPERT_AHEAD];
        load_packs<from_dtype>(in, args.from.base + at.row * args.from.stride,
                               moe_shape_of(args.hidden, at, EXPERT_COLUMNS, from_aligned), first);
        MOE_UNROLL
        for (unsigned u = 0; u < EXPERT_AHEAD; u++) {
            const size_t column = first + u * STEP;
            const unsigned valid = pack_valid(args.hidden, column);
            float value[PACK];
            MOE_UNROLL
            for (unsigned j = 0; j < PACK; j++) {
                const float bias = (float)moe_oracle_b(key, (uint32_t)column + j);
                value[j] = j < valid ? plus(decode_element<from_dtype>(in[u], j), bias) : 0.0f;
            }
            store_scaled<to_dtype>(args.to.base + at.row * args.to.stride, to, column,
                                   encode<to_dtype>(value));
        }
    }
}

cudaError_t moe_cuda_launch_expert(const moe_cuda_expert_t *args, cudaStream_t stream)
{
    if (args->rows == 0 || args->hidden == 0) {
        return cudaSuccess;
    }
    const size_t parts = moe_parts(args->hidden, EXPERT_COLUMNS);
    return moe_launch(MOE_BY_DTYPES(args->to.dtype, args->from.dtype, moe_expert_kernel),
                      moe_grid(args->rows, parts, WARPS, args->multiprocessors, MAKE_BLOCKS),
                      THREADS, *args, stream);
}
