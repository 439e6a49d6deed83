/* Devices: memory of rows, and what is done to rows where they lie. One ops table each
 * (src/device/). Buffers come from alloc(); index lists lie in host memory on device `host`. */
#ifndef MOE_DEVICE_H
#define MOE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe/model.h"
#include "moe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The oracle ----
 * Element `column` of token `token` is a small whole number, exact in every dtype, and so is what an
 * expert makes of it:
 *     x(token, column)          in [-8, 7]
 *     y = x + bias(expert, column),   bias in [-8, 8]: |y| <= 16, exact in E4M3, bf16, fp16
 * With gate weights that are multiples of 2^-16 and sum to at most 1, sums of weight * y are exact in
 * fp32 in any order; the result is rounded once to the dtype of the output. */
int moe_oracle_token(uint64_t seed, uint64_t token, size_t column);
int moe_oracle_bias(size_t expert, size_t column);

/* Elements of a token in memory: fp8 rows exist on the wire only; tokens and outputs are then bf16. */
moe_dtype_t moe_memory_dtype(moe_dtype_t wire);

/* Where a check found the first wrong element. */
typedef struct moe_mismatch {
    size_t count;       /* wrong elements; the rest describes the first */
    size_t row, column; /* row: number in the checked buffer */
    uint64_t token;     /* global number, UINT64_MAX: padding, which must be zero */
    double expected, got;
} moe_mismatch_t;

#define MOE_TOKEN_PADDING UINT64_MAX

typedef struct moe_device moe_device_t;

/* A matrix product C[m][n] = op(A) * op(B), row major, fp32 or the device's nearest type. */
typedef struct moe_gemm {
    size_t m, n, k;
    bool transpose_a; /* A is [k][m] */
    bool transpose_b; /* B is [n][k] */
} moe_gemm_t;

/* Sums that are rounded on the way. Selections of a token with the same inner number are summed and
 * rounded to dtype; these sums are summed as they are, or first those with the same outer number,
 * rounded once more. */
typedef struct moe_partial_sums {
    const int32_t *inner; /* [tokens][top_k] */
    const int32_t *outer; /* [tokens][top_k], or NULL */
    moe_dtype_t dtype;    /* not MOE_FP8 */
} moe_partial_sums_t;

typedef struct moe_device_ops {
    const char *name;
    /* Aligned to a page and written to once (no page faults in timed loops). */
    moe_status_t (*alloc)(moe_device_t *d, const char *what, size_t bytes, void **out,
                          moe_error_t *error);
    void (*release)(moe_device_t *d, void *memory);
    void (*fill_bytes)(moe_device_t *d, void *memory, int byte, size_t bytes);
    void (*copy)(moe_device_t *d, void *to, const void *from, size_t bytes);

    /* Pack. to[r] = from[index[r]] for r < rows, zeros for MOE_ROW_ZERO; index NULL: to[r] =
     * from[r]. `from` holds rows of dtype `from_dtype`, `to` of `to_dtype`: equal (rows are copied),
     * or bf16 to fp8 (quantised, a power-of-two scale per 128 elements), or fp8 to bf16. Rows lie
     * stride bytes apart: those of the dtype, or more. */
    void (*gather)(moe_device_t *d, void *to, size_t to_stride, moe_dtype_t to_dtype,
                   const void *from, size_t from_stride, moe_dtype_t from_dtype,
                   const size_t *index, size_t rows, size_t hidden);
    /* The same for `bytes` of each row, whatever they are. */
    void (*copy_parts)(moe_device_t *d, void *to, size_t to_stride, const void *from,
                       size_t from_stride, size_t bytes, const size_t *index, size_t rows);
    /* Unpack and weigh. to[b] = sum over i in [first[b], first[b+1]) of weight[i] * from[row[i]],
     * summed in fp32, rounded once to to_dtype; no term gives zeros. */
    void (*reduce)(moe_device_t *d, void *to, moe_dtype_t to_dtype, const void *from,
                   moe_dtype_t from_dtype, const size_t *first, const size_t *row,
                   const float *weight, size_t rows, size_t hidden);

    /* Oracle. tokens[rows] are global numbers. */
    void (*fill_tokens)(moe_device_t *d, void *to, moe_dtype_t dtype, uint64_t seed,
                        uint64_t first_token, size_t rows, size_t hidden);
    /* Every row r (with r % stride == 0) must hold tokens[r], or zeros for MOE_TOKEN_PADDING. Adds
     * to *result (which may hold earlier findings); row numbers are counted from `row_base`. */
    void (*check_rows)(moe_device_t *d, const void *rows, moe_dtype_t dtype, uint64_t seed,
                       const uint64_t *tokens, size_t count, size_t stride, size_t hidden,
                       size_t row_base, moe_mismatch_t *result);
    /* The known expert: out = in + bias(expert). Padding goes through like any row. */
    void (*apply_expert)(moe_device_t *d, void *out, moe_dtype_t out_dtype, const void *in,
                         moe_dtype_t in_dtype, size_t expert, size_t rows, size_t hidden);
    /* Every token t (with t % stride == 0) of `out` must be the sum over its kept k of
     * weight[t][k] * (x + bias(expert[t][k])), rounded once to dtype; with partial sums, see there. */
    void (*check_combined)(moe_device_t *d, const void *out, moe_dtype_t dtype, uint64_t seed,
                           uint64_t first_token, const int32_t *expert, const float *weight,
                           const uint8_t *kept, const moe_partial_sums_t *sums, size_t tokens,
                           size_t top_k, size_t stride, size_t hidden, moe_mismatch_t *result);

    /* Compute. */
    bool has_gemm;
    void (*gemm)(moe_device_t *d, const moe_gemm_t *shape, const float *a, const float *b,
                 float *c);
    /* rows of dtype to fp32, for gemm(). */
    void (*widen)(moe_device_t *d, float *to, const void *from, moe_dtype_t dtype, size_t rows,
                  size_t hidden);
    void (*narrow)(moe_device_t *d, void *to, moe_dtype_t dtype, const float *from, size_t rows,
                   size_t hidden);
    /* Returns after `seconds`, as if the device had computed that long: sleeps, then spins. */
    void (*wait)(moe_device_t *d, double seconds);
    void (*destroy)(moe_device_t *d);
} moe_device_ops_t;

struct moe_device {
    const moe_device_ops_t *ops;
    char description[128]; /* "host memory, OpenBLAS 0.3.21, 1 thread" */
    void *state;
};

/* threads: of BLAS; 0: cores of the host shared among `ranks_on_host`. */
moe_status_t moe_host_device_create(size_t threads, size_t ranks_on_host, moe_device_t **out,
                                    moe_error_t *error);

#ifdef __cplusplus
}
#endif
#endif
