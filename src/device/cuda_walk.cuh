/* How kernels walk over rows, and how they are given to a stream. */
#ifndef MOE_DEVICE_CUDA_WALK_CUH
#define MOE_DEVICE_CUDA_WALK_CUH

#include "cuda_kernels.h"

#define MOE_DEVICE static __device__ __forceinline__

/* Before a loop: arrays that it indexes stay in registers. (Host compilers, which compile kernels for
 * the tests, know no such pragma.) */
#ifdef __CUDACC__
#define MOE_UNROLL _Pragma("unroll")
#else
#define MOE_UNROLL
#endif

/* Blocks of all kernels: 8 warps, which a multiprocessor places well whatever registers they take. */
enum { THREADS = 256, LANES = 32, WARPS = THREADS / LANES };

/* A pack is what one lane handles at a time: 8 neighbouring elements, 16 bytes of bf16, the widest
 * load there is. 16 lanes hold a block of FP8, so a warp takes two of them in a step. */
enum { PACK = 8, STEP = LANES * PACK, BLOCK_LANES = MOE_FP8_BLOCK / PACK };
#define ALL_LANES 0xffffffffu

/* ---- Walking ----
 * Rows are cut into parts, and workers (warps, or less) take (row, part) in turn: w, w + workers, ...
 * Neighbours work side by side in a row, few long rows keep a whole GPU busy, and many short ones are
 * shared out evenly. One division at the start; the steps only add. */
typedef struct moe_walk {
    size_t row, row_step;
    unsigned part, part_step, parts;
} moe_walk_t;

MOE_DEVICE moe_walk_t moe_walk_start(unsigned worker, unsigned workers, unsigned parts)
{
    moe_walk_t w;
    w.row = worker / parts;
    w.part = worker % parts;
    w.row_step = workers / parts;
    w.part_step = workers % parts;
    w.parts = parts;
    return w;
}

MOE_DEVICE void moe_walk_on(moe_walk_t *w)
{
    w->row += w->row_step;
    w->part += w->part_step;
    if (w->part >= w->parts) {
        w->part -= w->parts;
        w->row++;
    }
}

/* A walk of warps over rows of `hidden` elements, `columns` (a multiple of STEP) at a time. */
MOE_DEVICE moe_walk_t moe_walk_of_warp(size_t hidden, unsigned columns)
{
    return moe_walk_start(blockIdx.x * WARPS + threadIdx.x / LANES, gridDim.x * WARPS,
                          (unsigned)((hidden + columns - 1) / columns));
}

/* Of a lane, in its part of a row. */
MOE_DEVICE size_t moe_first_column(const moe_walk_t &at, unsigned columns)
{
    return (size_t)at.part * columns + threadIdx.x % LANES * PACK;
}

static inline size_t moe_parts(size_t hidden, size_t columns)
{
    return (hidden + columns - 1) / columns;
}

/* ---- Giving work ---- */

/* Blocks for so many (row, part), as many as run at a time at most. */
static inline dim3 moe_grid(size_t rows, size_t parts, size_t workers_in_block,
                            unsigned multiprocessors, unsigned blocks_each)
{
    const size_t most = (size_t)multiprocessors * blocks_each;
    const size_t work = rows > SIZE_MAX / parts ? SIZE_MAX : rows * parts;
    const size_t needed = work / workers_in_block + (work % workers_in_block != 0);
    return dim3((unsigned)(needed < most ? needed : most));
}

template <typename Args>
static inline cudaError_t moe_launch(void (*kernel)(Args), dim3 grid, unsigned threads,
                                     const Args &args, cudaStream_t stream)
{
    void *parameters[] = {const_cast<Args *>(&args)};
    return cudaLaunchKernel(kernel, grid, dim3(threads), parameters, 0, stream);
}

/* The instance of a kernel template for a dtype, or for two. */
#define MOE_BY_DTYPE(dtype, kernel)                                                                \
    ((dtype) == MOE_BF16   ? kernel<MOE_BF16>                                                      \
     : (dtype) == MOE_FP16 ? kernel<MOE_FP16>                                                      \
     : (dtype) == MOE_FP32 ? kernel<MOE_FP32>                                                      \
                           : kernel<MOE_FP8>)
#define MOE_TO_DTYPE(dtype, kernel, from)                                                          \
    ((dtype) == MOE_BF16   ? kernel<MOE_BF16, from>                                                \
     : (dtype) == MOE_FP16 ? kernel<MOE_FP16, from>                                                \
     : (dtype) == MOE_FP32 ? kernel<MOE_FP32, from>                                                \
                           : kernel<MOE_FP8, from>)
#define MOE_BY_DTYPES(to, from, kernel)                                                            \
    ((from) == MOE_BF16   ? MOE_TO_DTYPE(to, kernel, MOE_BF16)                                     \
     : (from) == MOE_FP16 ? MOE_TO_DTYPE(to, kernel, MOE_FP16)                                     \
     : (from) == MOE_FP32 ? MOE_TO_DTYPE(to, kernel, MOE_FP32)                                     \
                          : MOE_TO_DTYPE(to, kernel, MOE_FP8))

#endif
