/* The host's device, in parts: memory and time (host.c), packing and conversion of rows (host_rows.c),
 * their weighted sums (host_reduce.c), the oracle's rows and their check (host_check.c), matrix
 * products (host_gemm.c). */
#ifndef MOE_DEVICE_HOST_H
#define MOE_DEVICE_HOST_H

#include <time.h>

#include "moe/device.h"

typedef struct moe_host_state {
    struct timespec *mark; /* [mark_room], `marks` made since the last read_marks() */
    size_t marks, mark_room;
    bool marks_lost; /* no memory for one */
} moe_host_state_t;

/* host_rows.c */
void moe_host_gather(moe_device_t *d, void *to, size_t to_stride, moe_dtype_t to_dtype,
                     const void *from, size_t from_stride, moe_dtype_t from_dtype,
                     const size_t *index, size_t rows, size_t hidden);
void moe_host_copy_parts(moe_device_t *d, void *to, size_t to_stride, const void *from,
                         size_t from_stride, size_t bytes, const size_t *index, size_t rows);

/* host_reduce.c */
void moe_host_reduce(moe_device_t *d, void *to, moe_dtype_t to_dtype, const void *from,
                     moe_dtype_t from_dtype, const size_t *first, const size_t *row,
                     const float *weight, size_t rows, size_t hidden);

/* host_check.c */
void moe_host_fill_tokens(moe_device_t *d, void *to, moe_dtype_t dtype, uint64_t seed,
                          uint64_t first_token, size_t rows, size_t hidden);
void moe_host_apply_expert(moe_device_t *d, void *out, moe_dtype_t out_dtype, const void *in,
                           moe_dtype_t in_dtype, size_t expert, size_t rows, size_t hidden);
void moe_host_check_rows(moe_device_t *d, const void *rows, moe_dtype_t dtype, uint64_t seed,
                         const uint64_t *tokens, size_t count, size_t stride, size_t hidden,
                         size_t row_base, moe_mismatch_t *result);
void moe_host_check_combined(moe_device_t *d, const void *out, moe_dtype_t dtype, uint64_t seed,
                             uint64_t first_token, const int32_t *expert, const float *weight,
                             const uint8_t *kept, const moe_partial_sums_t *sums, size_t tokens,
                             size_t top_k, size_t stride, size_t hidden, moe_mismatch_t *result);

/* host_gemm.c */
#ifdef MOE_HAVE_BLAS
#define MOE_HOST_HAS_GEMM true
#else
#define MOE_HOST_HAS_GEMM false
#endif
void moe_host_gemm(moe_device_t *d, size_t count, const moe_gemm_t *shape, const void *const *a,
                   const void *const *b, void *const *c);
/* Sets the threads of the BLAS; 0: what OPENBLAS_NUM_THREADS says, else the cores that this process
 * may use shared among `ranks_on_host`. Writes "OpenBLAS 0.3.21, 2 threads", or "no BLAS". */
void moe_host_set_up_blas(size_t threads, size_t ranks_on_host, char *description, size_t size);

#endif
