/* Devices: memory of rows, and what is done to rows where they lie. One ops table each
 * (src/device/). Buffers come from alloc(), index lists and weights from list().
 *
 * A device may work behind the caller's back: calls give it work, in order, and return. What it was
 * given is done after finish(), which also tells of the first thing that went wrong since the last
 * finish(); on `host` every call has ended when it returns. Transports that move rows of a device
 * keep to its order. Where a call reads host memory of the caller's (copy(), check_*()), it has been
 * read when the call returns; and where copy() writes host memory, that has been written. */
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

/* A matrix product C[m][n] = op(A) * op(B), row major, elements of the device's gemm_dtype. */
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

/* Work that is recorded once and given to the device again and again: see capture(). */
typedef struct moe_graph moe_graph_t;
typedef moe_status_t (*moe_work_fn)(void *context, moe_error_t *error);

/* Lanes of a device: work of one lane is done in order, work of two lanes at the same time. */
typedef enum moe_lane { MOE_LANE_COMPUTE, MOE_LANE_EXCHANGE, MOE_LANES } moe_lane_t;

typedef struct moe_device_ops {
    const char *name;
    bool separate; /* its memory is not the host's: host code reads it by copy() only */

    /* ---- Memory ---- */
    /* Aligned to a page (on a GPU to 256 bytes at least) and written to once (no page faults in timed
     * loops). */
    moe_status_t (*alloc)(moe_device_t *d, const char *what, size_t bytes, void **out,
                          moe_error_t *error);
    void (*release)(moe_device_t *d, void *memory);
    /* Bytes that alloc() may still give, shared with the other processes there; SIZE_MAX: not known. */
    size_t (*available)(moe_device_t *d);
    void (*fill_bytes)(moe_device_t *d, void *memory, int byte, size_t bytes);
    /* Between any two of device and host memory. */
    void (*copy)(moe_device_t *d, void *to, const void *from, size_t bytes);
    /* `bytes` of host memory that stay as they are until drop_list(), for the calls below: *out may
     * be `list` itself, and is not to be read by the host. */
    moe_status_t (*list)(moe_device_t *d, const char *what, const void *list, size_t bytes,
                         const void **out, moe_error_t *error);
    void (*drop_list)(moe_device_t *d, const void *list); /* NULL: no effect */

    /* ---- Rows ---- */
    /* Pack. to[r] = from[index[r]] for r < rows, zeros for MOE_ROW_ZERO; index NULL: to[r] =
     * from[r]. `from` holds rows of dtype `from_dtype`, `to` of `to_dtype`: equal rows are copied,
     * others converted (to fp8: quantised, a power-of-two scale per 128 elements). Rows lie stride
     * bytes apart: those of the dtype, or more. `index` is of list(). */
    void (*gather)(moe_device_t *d, void *to, size_t to_stride, moe_dtype_t to_dtype,
                   const void *from, size_t from_stride, moe_dtype_t from_dtype,
                   const size_t *index, size_t rows, size_t hidden);
    /* The same for `bytes` of each row, whatever they are. Without an index, `to` or `from` may lie
     * in host memory. */
    void (*copy_parts)(moe_device_t *d, void *to, size_t to_stride, const void *from,
                       size_t from_stride, size_t bytes, const size_t *index, size_t rows);
    /* Unpack and weigh. to[b] = sum over i in [first[b], first[b+1]) of weight[i] * from[row[i]],
     * summed in fp32, rounded once to to_dtype; no term gives zeros. first, row, weight: of list(). */
    void (*reduce)(moe_device_t *d, void *to, moe_dtype_t to_dtype, const void *from,
                   moe_dtype_t from_dtype, const size_t *first, const size_t *row,
                   const float *weight, size_t rows, size_t hidden);

    /* ---- Oracle ---- tokens, experts, weights, kept: in host memory */
    void (*fill_tokens)(moe_device_t *d, void *to, moe_dtype_t dtype, uint64_t seed,
                        uint64_t first_token, size_t rows, size_t hidden);
    /* Every row r (with r % stride == 0) must hold tokens[r] (a global number), or zeros for
     * MOE_TOKEN_PADDING. Adds to *result (which may hold earlier findings); row numbers are counted
     * from `row_base`. Where the device fails, finish() says so, and *result says nothing. */
    void (*check_rows)(moe_device_t *d, const void *rows, moe_dtype_t dtype, uint64_t seed,
                       const uint64_t *tokens, size_t count, size_t stride, size_t hidden,
                       size_t row_base, moe_mismatch_t *result);
    /* The known expert: out = in + bias(expert). Padding goes through like any row. */
    void (*apply_expert)(moe_device_t *d, void *out, moe_dtype_t out_dtype, const void *in,
                         moe_dtype_t in_dtype, size_t expert, size_t rows, size_t hidden);
    /* Every token t (with t % stride == 0) of `out` must be the sum over its kept k of
     * weight[t][k] * (x + bias(expert[t][k])), rounded once to dtype; with partial sums, see there.
     * As check_rows() where the device fails. */
    void (*check_combined)(moe_device_t *d, const void *out, moe_dtype_t dtype, uint64_t seed,
                           uint64_t first_token, const int32_t *expert, const float *weight,
                           const uint8_t *kept, const moe_partial_sums_t *sums, size_t tokens,
                           size_t top_k, size_t stride, size_t hidden, moe_mismatch_t *result);

    /* ---- Compute ---- */
    bool has_gemm;
    moe_dtype_t gemm_dtype; /* of matrices: MOE_FP32 or MOE_BF16; products are summed in fp32 */
    /* Bytes that operands must be spread over to be cold again when they are read next: at least,
     * and at most (what may be spent on it). */
    size_t least_operands, most_operands;
    size_t
        gemm_group; /* products that are worth giving in one call of gemm(); 1: it makes no odds */
    /* `count` products that do not depend on each other, as one call of the library where it can. */
    void (*gemm)(moe_device_t *d, size_t count, const moe_gemm_t *shape, const void *const *a,
                 const void *const *b, void *const *c);
    /* Takes `seconds`, as if the device had computed that long. */
    void (*wait)(moe_device_t *d, double seconds);

    /* ---- Time and order ---- */
    /* Waits until all lanes have done what they were given. MOE_FAILED: what went wrong first. */
    moe_status_t (*finish)(moe_device_t *d, moe_error_t *error);
    /* A point in time: when the current lane has done what it was given so far. */
    void (*mark)(moe_device_t *d);
    /* As finish(); then seconds[i] is the time from the first mark to mark i, for the `count` marks
     * that were made since the last read_marks(); count 0: forgets them. */
    moe_status_t (*read_marks)(moe_device_t *d, double *seconds, size_t count, moe_error_t *error);
    /* Lanes: what follows is given to that one. A device without lanes does all in one order, and
     * sign() and await() do nothing. sign() remembers, under a number from 0, what the current lane
     * was given so far; after await() the current lane waits for it. */
    void (*lane)(moe_device_t *d, moe_lane_t lane);
    void (*sign)(moe_device_t *d, size_t number);
    void (*await)(moe_device_t *d, size_t number);
    /* capture(): what work() gives to the device (and to a transport that keeps to its order) is
     * recorded and not done; replay() does it. NULL: the device cannot. */
    moe_status_t (*capture)(moe_device_t *d, moe_work_fn work, void *context, moe_graph_t **out,
                            moe_error_t *error);
    void (*replay)(moe_device_t *d, moe_graph_t *graph);
    void (*drop_graph)(moe_device_t *d, moe_graph_t *graph);

    void (*destroy)(moe_device_t *d);
} moe_device_ops_t;

struct moe_device {
    const moe_device_ops_t *ops;
    char description[128]; /* "host memory, OpenBLAS 0.3.21, 1 thread" */
    void *state;
};

/* One product. */
static inline void moe_device_gemm(moe_device_t *d, const moe_gemm_t *shape, const void *a,
                                   const void *b, void *c)
{
    d->ops->gemm(d, 1, shape, &a, &b, &c);
}

/* threads: of BLAS; 0: cores of the host shared among `ranks_on_host`. */
moe_status_t moe_host_device_create(size_t threads, size_t ranks_on_host, moe_device_t **out,
                                    moe_error_t *error);

/* ---- GPUs ---- */

/* A GPU that this process sees. */
typedef struct moe_gpu {
    char name[64]; /* "NVIDIA H200" */
    char pci[16]; /* "0000:1b:00.0": the same GPU has the same address in every process of a host */
    size_t bytes; /* of its memory */
    int major, minor; /* compute capability */
} moe_gpu_t;

bool moe_cuda_built_in(void);
/* Versions of driver and runtime that this process runs with, "CUDA runtime 13.0, driver 13.0"; where
 * there is no driver it says so. */
void moe_cuda_version(char *text, size_t size);
/* The GPUs that this process sees, at most `room` of them; *count is how many there are.
 * MOE_BAD_INPUT, with what is missing, where there is none or the library was built without CUDA. */
moe_status_t moe_cuda_gpus(moe_gpu_t *gpus, size_t room, size_t *count, moe_error_t *error);

/* GPU number `gpu` of those. */
moe_status_t moe_cuda_device_create(size_t gpu, moe_device_t **out, moe_error_t *error);

/* What one rank sees, for the choice below: gathered from all ranks. */
#define MOE_GPUS_MAX 32
typedef struct moe_gpu_view {
    size_t node;                /* of the rank */
    size_t count;               /* GPUs that it sees */
    char pci[MOE_GPUS_MAX][16]; /* as in moe_gpu_t */
    uint32_t near; /* bit g: GPU g is near the cores that the rank is bound to; 0 where it
                                   is not bound, or the host does not tell */
} moe_gpu_view_t;

/* One GPU for each rank, the same answer on every rank: chosen[ranks] are numbers in each rank's own
 * view; GPUs of a node are the same where their PCI addresses are. In order of ranks, a rank takes a
 * GPU near its cores that no rank of its node has yet, else the first that none has; ranks before it
 * move to other GPUs that they see where else it would get none, or where more ranks are then near
 * theirs: there is an answer whenever one exists, and none has more ranks near their GPUs.
 * MOE_BAD_INPUT where there is none, unless ranks may share: then the GPU with the fewest ranks is
 * taken, in the same way. MOE_BAD_INPUT too where a rank sees no GPU, or more than MOE_GPUS_MAX.
 * Local: no device is touched. */
moe_status_t moe_gpu_choose(const moe_gpu_view_t *views, size_t ranks, bool share, size_t *chosen,
                            moe_error_t *error);

#ifdef __cplusplus
}
#endif
#endif
