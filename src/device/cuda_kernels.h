/* Kernels of the CUDA device (cuda_kernels.cu, cuda_check_kernels.cu), each behind a function that
 * gives it to a stream. All addresses are of device memory; sizes are in 64 bits throughout. Elements
 * of rows are aligned to their size, scales of FP8 rows need not be. Where there is nothing to do
 * nothing is launched. */
#ifndef MOE_DEVICE_CUDA_KERNELS_H
#define MOE_DEVICE_CUDA_KERNELS_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rows that lie `stride` bytes apart. */
typedef struct moe_cuda_rows {
    char *base;
    size_t stride;
    moe_dtype_t dtype;
} moe_cuda_rows_t;

/* to[r] = `bytes` bytes of from[index[r]], whatever they are; zeros for MOE_ROW_ZERO; index NULL:
 * from[r]. The dtypes are not looked at. */
typedef struct moe_cuda_copy {
    unsigned multiprocessors; /* of the GPU, here and below */
    moe_cuda_rows_t to, from;
    const size_t *index; /* [rows] or NULL */
    size_t rows, bytes;
} moe_cuda_copy_t;
cudaError_t moe_cuda_launch_copy(const moe_cuda_copy_t *args, cudaStream_t stream);

/* The same for rows of `hidden` elements whose dtypes differ. */
typedef struct moe_cuda_convert {
    unsigned multiprocessors;
    moe_cuda_rows_t to, from;
    const size_t *index; /* [rows] or NULL */
    size_t rows, hidden;
} moe_cuda_convert_t;
cudaError_t moe_cuda_launch_convert(const moe_cuda_convert_t *args, cudaStream_t stream);

/* to[b] = sum over i in [first[b], first[b+1]) of weight[i] * from[row[i]], in that order. */
typedef struct moe_cuda_reduce {
    unsigned multiprocessors;
    moe_cuda_rows_t to, from;
    const size_t *first; /* [rows + 1] */
    const size_t *row;
    const float *weight;
    size_t rows, hidden;
} moe_cuda_reduce_t;
cudaError_t moe_cuda_launch_reduce(const moe_cuda_reduce_t *args, cudaStream_t stream);

/* Rows of the oracle's tokens [first_token, first_token + rows). */
typedef struct moe_cuda_fill {
    unsigned multiprocessors;
    moe_cuda_rows_t to;
    uint64_t seed, first_token;
    size_t rows, hidden;
} moe_cuda_fill_t;
cudaError_t moe_cuda_launch_fill(const moe_cuda_fill_t *args, cudaStream_t stream);

/* to[r] = from[r] + bias(expert). */
typedef struct moe_cuda_expert {
    unsigned multiprocessors;
    moe_cuda_rows_t to, from;
    size_t expert, rows, hidden;
} moe_cuda_expert_t;
cudaError_t moe_cuda_launch_expert(const moe_cuda_expert_t *args, cudaStream_t stream);

/* The stream is busy that long. */
typedef struct moe_cuda_wait {
    uint64_t nanoseconds;
} moe_cuda_wait_t;
cudaError_t moe_cuda_launch_wait(const moe_cuda_wait_t *args, cudaStream_t stream);

/* ---- Checks (cuda_check_kernels.cu) ----
 * Row n of a check is row n * stride of its rows: stride is that of moe_cuda_rows_t, so checking every
 * s-th row is a matter of a longer one. */

/* What a check found: set it to {0, MOE_CUDA_NOTHING} before. */
typedef struct moe_cuda_found {
    unsigned long long count; /* of wrong elements */
    unsigned long long first; /* least row * hidden + column of one */
} moe_cuda_found_t;
#define MOE_CUDA_NOTHING (~0ULL)

typedef struct moe_cuda_check_rows {
    unsigned multiprocessors;
    moe_cuda_rows_t rows;
    uint64_t seed;
    const uint64_t *tokens; /* [count] */
    size_t count, hidden;
    moe_cuda_found_t *found;
} moe_cuda_check_rows_t;
cudaError_t moe_cuda_launch_check_rows(const moe_cuda_check_rows_t *args, cudaStream_t stream);

/* One selection of a token, in the order in which a token's are summed. */
typedef struct moe_cuda_term {
    uint64_t key; /* moe_oracle_expert_key() */
    union {
        float weight;
        int32_t whole; /* weight * 2^16: see moe_cuda_terms_t */
    } by;
    uint32_t ends; /* MOE_CUDA_ENDS_... */
} moe_cuda_term_t;
#define MOE_CUDA_ENDS_INNER 1u /* the last of an inner sum, which is rounded now */
#define MOE_CUDA_ENDS_OUTER 2u /* the last of an outer sum */

/* Kept selections of a token. */
typedef struct moe_cuda_terms {
    uint32_t count;
    uint32_t
        whole; /* not 0: all sums are whole multiples of 2^-16 that int32_t holds, none is rounded */
} moe_cuda_terms_t;

/* Puts the selections of tokens in the order of host_check.c: by outer sum, by inner sum, as they
 * are. term[t * top_k + i], i < terms[t].count. */
typedef struct moe_cuda_order {
    unsigned multiprocessors;
    const int32_t *expert; /* [tokens][top_k], as the next ones */
    const float *weight;
    const int32_t *inner, *outer; /* or NULL: see moe_partial_sums_t */
    const uint8_t *kept;
    size_t tokens, top_k;
    moe_cuda_terms_t *terms; /* [tokens] */
    moe_cuda_term_t *term;   /* [tokens][top_k] */
} moe_cuda_order_t;
cudaError_t moe_cuda_launch_order(const moe_cuda_order_t *args, cudaStream_t stream);

typedef struct moe_cuda_check_combined {
    unsigned multiprocessors;
    moe_cuda_rows_t rows;
    uint64_t seed, first_token, token_step; /* row n is token first_token + n * token_step */
    const moe_cuda_terms_t *terms;          /* of moe_cuda_launch_order() */
    const moe_cuda_term_t *term;
    size_t top_k;
    moe_dtype_t partial_dtype;
    size_t count, hidden;
    moe_cuda_found_t *found;
} moe_cuda_check_combined_t;
cudaError_t moe_cuda_launch_check_combined(const moe_cuda_check_combined_t *args,
                                           cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
