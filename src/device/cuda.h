/* The CUDA device, in parts: creation and GPUs (cuda.c, cuda_gpus.c), memory (cuda_memory.c), lanes,
 * time and graphs (cuda_order.c, cuda_graph.c), rows (cuda_rows.c), the oracle's check (cuda_check.c),
 * matrix products (cuda_gemm.c, cuda_blas.c). What is done to rows on the GPU: cuda_kernels.h. */
#ifndef MOE_DEVICE_CUDA_H
#define MOE_DEVICE_CUDA_H

#include <cuda_runtime_api.h>

#include "cuda_kernels.h"
#include "cuda_state.h"
#include "moe/device.h"

typedef struct moe_cuda_watch_entry {
    moe_cuda_poll_fn poll;
    void *context;
} moe_cuda_watch_entry_t;

typedef struct moe_cuda_blas moe_cuda_blas_t; /* cuda_blas.h */

/* What checks keep: allocated with the device, so that no check fails for want of memory. */
typedef struct moe_cuda_scratch {
    char *pinned, *device; /* [MOE_CUDA_SCRATCH_...] */
} moe_cuda_scratch_t;

typedef struct moe_cuda_state {
    moe_device_ops_t ops; /* of this device: has_gemm differs */
    int gpu;
    unsigned multiprocessors;
    size_t bytes; /* of its memory */
    char name[64];
    cudaStream_t stream[MOE_LANES];
    cudaStream_t set_up; /* filling new memory, lists: never behind work that may hang */
    moe_lane_t lane;
    bool recording;     /* in capture() */
    moe_error_t failed; /* the first failure since the last finish(); MOE_OK: none */
    cudaEvent_t *mark;  /* [mark_room], of which `marks` were made since the last read_marks() */
    size_t marks, mark_room;
    cudaEvent_t *sign; /* [signs] */
    size_t signs;
    moe_cuda_watch_entry_t watch[MOE_CUDA_WATCHES];
    size_t watches;
    moe_cuda_scratch_t scratch;
    moe_cuda_blas_t *blas; /* or NULL */
} moe_cuda_state_t;

/* ---- Failure (cuda.c) ----
 * A call that cannot report notes what failed; from then on calls do nothing, until finish() has told
 * of it. */

/* The state with its GPU made current, as every thread must before it gives work; NULL where a failure
 * is noted. */
moe_cuda_state_t *moe_cuda_ready(moe_device_t *d);
/* Whether it went well; notes the first failure. */
bool moe_cuda_note(moe_cuda_state_t *state, cudaError_t code, const char *call);
/* Notes a failure that has a text of its own; the first one stays. */
void moe_cuda_note_text(moe_cuda_state_t *state, const char *format, ...) MOE_PRINTF(2, 3);
/* Whether work is being recorded, which `what` cannot be: that is noted then. */
bool moe_cuda_recording(moe_cuda_state_t *state, const char *what);

/* ---- cuda_memory.c ---- */
moe_status_t moe_cuda_alloc(moe_device_t *d, const char *what, size_t bytes, void **out,
                            moe_error_t *error);
void moe_cuda_release(moe_device_t *d, void *memory);
size_t moe_cuda_available(moe_device_t *d);
void moe_cuda_fill_bytes(moe_device_t *d, void *memory, int byte, size_t bytes);
void moe_cuda_copy(moe_device_t *d, void *to, const void *from, size_t bytes);
moe_status_t moe_cuda_list(moe_device_t *d, const char *what, const void *list, size_t bytes,
                           const void **out, moe_error_t *error);
void moe_cuda_drop_list(moe_device_t *d, const void *list);
/* Whether the GPU owns the memory there. */
bool moe_cuda_is_device_memory(const void *memory);

/* ---- cuda_rows.c ---- */
void moe_cuda_gather(moe_device_t *d, void *to, size_t to_stride, moe_dtype_t to_dtype,
                     const void *from, size_t from_stride, moe_dtype_t from_dtype,
                     const size_t *index, size_t rows, size_t hidden);
void moe_cuda_copy_parts(moe_device_t *d, void *to, size_t to_stride, const void *from,
                         size_t from_stride, size_t bytes, const size_t *index, size_t rows);
void moe_cuda_reduce(moe_device_t *d, void *to, moe_dtype_t to_dtype, const void *from,
                     moe_dtype_t from_dtype, const size_t *first, const size_t *row,
                     const float *weight, size_t rows, size_t hidden);
void moe_cuda_fill_tokens(moe_device_t *d, void *to, moe_dtype_t dtype, uint64_t seed,
                          uint64_t first_token, size_t rows, size_t hidden);
void moe_cuda_apply_expert(moe_device_t *d, void *out, moe_dtype_t out_dtype, const void *in,
                           moe_dtype_t in_dtype, size_t expert, size_t rows, size_t hidden);
/* Rows that lie close, or `stride` bytes apart. */
moe_cuda_rows_t moe_cuda_rows(const void *base, size_t stride, moe_dtype_t dtype);

/* ---- cuda_check.c ---- */
moe_status_t moe_cuda_scratch_create(moe_cuda_state_t *state, moe_error_t *error);
void moe_cuda_scratch_destroy(moe_cuda_state_t *state);
void moe_cuda_check_rows(moe_device_t *d, const void *rows, moe_dtype_t dtype, uint64_t seed,
                         const uint64_t *tokens, size_t count, size_t stride, size_t hidden,
                         size_t row_base, moe_mismatch_t *result);
void moe_cuda_check_combined(moe_device_t *d, const void *out, moe_dtype_t dtype, uint64_t seed,
                             uint64_t first_token, const int32_t *expert, const float *weight,
                             const uint8_t *kept, const moe_partial_sums_t *sums, size_t tokens,
                             size_t top_k, size_t stride, size_t hidden, moe_mismatch_t *result);

/* ---- cuda_gemm.c ---- */
void moe_cuda_gemm(moe_device_t *d, size_t count, const moe_gemm_t *shape, const void *const *a,
                   const void *const *b, void *const *c);
void moe_cuda_wait(moe_device_t *d, double seconds);

/* ---- cuda_order.c ---- */
moe_status_t moe_cuda_finish(moe_device_t *d, moe_error_t *error);
/* Waits for the current lane only; what goes wrong is noted. Whether it went well. */
bool moe_cuda_wait_for_lane(moe_cuda_state_t *state);
void moe_cuda_mark(moe_device_t *d);
moe_status_t moe_cuda_read_marks(moe_device_t *d, double *seconds, size_t count,
                                 moe_error_t *error);
void moe_cuda_lane(moe_device_t *d, moe_lane_t lane);
void moe_cuda_sign(moe_device_t *d, size_t number);
void moe_cuda_await(moe_device_t *d, size_t number);
void moe_cuda_drop_events(moe_cuda_state_t *state);

/* ---- cuda_graph.c ---- */
moe_status_t moe_cuda_capture(moe_device_t *d, moe_work_fn work, void *context, moe_graph_t **out,
                              moe_error_t *error);
void moe_cuda_replay(moe_device_t *d, moe_graph_t *graph);
void moe_cuda_drop_graph(moe_device_t *d, moe_graph_t *graph);

#endif
