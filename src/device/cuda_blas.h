/* cuBLAS as the CUDA device uses it: opened when a device is created, because linking it would cost
 * every start of the program 0.4 s. */
#ifndef MOE_DEVICE_CUDA_BLAS_H
#define MOE_DEVICE_CUDA_BLAS_H

#include "cuda.h"

#if defined(__has_include)
#if __has_include(<cublas_v2.h>)
#define MOE_HAVE_CUBLAS
#endif
#endif

/* Opens cuBLAS and writes "cuBLAS 13.0", or "no cuBLAS" where there is none, and gives false. */
bool moe_cuda_blas_open(moe_cuda_state_t *state, char *version, size_t size);
void moe_cuda_blas_close(moe_cuda_state_t *state);

#ifdef MOE_HAVE_CUBLAS

#include <cublas_v2.h>

/* A handle works in one stream, and in a workspace of its own: products of two lanes, or of a graph
 * and what runs beside it, must not share one. Made when a lane multiplies first. */
typedef struct moe_cuda_blas_lane {
    cublasHandle_t handle;
    void *workspace;
} moe_cuda_blas_lane_t;

/* The addresses of the matrices of one call, where cublasGemmGroupedBatchedEx() reads them: in device
 * memory. A plan gives the same again and again, so they are kept. */
typedef struct moe_cuda_addresses {
    size_t count;         /* of products; 0: none here */
    const void **on_host; /* [3][count]: left and right operands, results */
    const void **on_gpu;  /* the same */
} moe_cuda_addresses_t;

#define MOE_CUDA_ADDRESS_SLOTS ((size_t)1024)

/* Arrays of one call, in host memory. */
typedef struct moe_cuda_groups {
    size_t room;
    cublasOperation_t *left_op, *right_op;
    int *rows, *columns, *inner, *left_leading, *right_leading, *result_leading, *size;
    float *one, *zero;
    const void **address; /* [3][count] */
} moe_cuda_groups_t;

struct moe_cuda_blas {
    void *library;
    __typeof__(&cublasCreate_v2) create;
    __typeof__(&cublasDestroy_v2) destroy;
    __typeof__(&cublasSetStream_v2) set_stream;
    __typeof__(&cublasSetWorkspace_v2) set_workspace;
    __typeof__(&cublasSetMathMode) set_math_mode;
    __typeof__(&cublasGetStatusName) status_name;
    __typeof__(&cublasGemmEx) gemm;
#if CUBLAS_VERSION >= 120500
    __typeof__(&cublasGemmGroupedBatchedEx) grouped; /* NULL: it has none, or cannot for bf16 */
#endif
    moe_cuda_blas_lane_t lane[MOE_LANES];
    moe_cuda_groups_t groups;
    moe_cuda_addresses_t addresses[MOE_CUDA_ADDRESS_SLOTS];
};

/* The current lane's handle; NULL, with the failure noted, where it cannot be made. */
cublasHandle_t moe_cuda_blas_handle(moe_cuda_state_t *state);
bool moe_cuda_blas_note(moe_cuda_state_t *state, cublasStatus_t code, const char *call);
/* [3][count] addresses in device memory that hold groups.address; NULL, noted, where that fails. */
const void **moe_cuda_blas_addresses(moe_cuda_state_t *state, size_t count);
/* Makes room for `count` products in groups. */
bool moe_cuda_blas_make_room(moe_cuda_state_t *state, size_t count);

#endif
#endif
