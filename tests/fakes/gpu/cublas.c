/* A fake cuBLAS: the calls that the program uses, as plain loops over bf16, summed in fp32 in the order
 * of the terms. It insists on what the real one needs: device memory for matrices, for the workspace
 * and for the addresses of a group. See README.md. */
#include "fake_cuda.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cublas_v2.h>

#include "../../../src/device/formats.h"

struct cublasContext {
    cudaStream_t stream;
};

cublasStatus_t cublasCreate_v2(cublasHandle_t *handle)
{
    *handle = calloc(1, sizeof **handle);
    return *handle != NULL ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle)
{
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetProperty(libraryPropertyType type, int *value)
{
    *value = type == MAJOR_VERSION   ? CUBLAS_VER_MAJOR
             : type == MINOR_VERSION ? CUBLAS_VER_MINOR
                                     : 0;
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasGetStatusName(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS         ? "CUBLAS_STATUS_SUCCESS"
           : status == CUBLAS_STATUS_ALLOC_FAILED  ? "CUBLAS_STATUS_ALLOC_FAILED"
           : status == CUBLAS_STATUS_INVALID_VALUE ? "CUBLAS_STATUS_INVALID_VALUE"
                                                   : "CUBLAS_STATUS_EXECUTION_FAILED";
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void *workspace, size_t bytes)
{
    (void)handle;
    return bytes == 0 || fake_cuda_is_device(workspace) ? CUBLAS_STATUS_SUCCESS
                                                        : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode)
{
    (void)handle, (void)mode;
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- Products, column-major: C[m x n] = op(A)[m x k] op(B)[k x n] ---- */

typedef struct product {
    int m, n, k, lda, ldb, ldc;
    int transpose_a, transpose_b;
    float alpha, beta;
    const uint16_t *a, *b;
    uint16_t *c;
} product_t;

/* op(X) as fp32, so that the terms of a sum lie side by side: to[line * terms + term]. */
static float *decoded(const uint16_t *x, int lines, int terms, int line_step, int term_step)
{
    float *to = malloc(sizeof *to * (size_t)lines * (size_t)terms);
    for (int i = 0; to != NULL && i < lines; i++) {
        for (int j = 0; j < terms; j++) {
            to[(size_t)i * (size_t)terms + (size_t)j] =
                moe_bf16_to_float(x[(size_t)i * (size_t)line_step + (size_t)j * (size_t)term_step]);
        }
    }
    return to;
}

static int multiply(const product_t *p)
{
    if (!fake_cuda_is_device(p->a) || !fake_cuda_is_device(p->b) || !fake_cuda_is_device(p->c)) {
        fprintf(stderr, "fake cublas: a matrix lies in host memory\n");
        return 1;
    }
    float *const a =
        decoded(p->a, p->m, p->k, p->transpose_a ? p->lda : 1, p->transpose_a ? 1 : p->lda);
    float *const b =
        decoded(p->b, p->n, p->k, p->transpose_b ? 1 : p->ldb, p->transpose_b ? p->ldb : 1);
    const int failed = a == NULL || b == NULL;
    for (int j = 0; !failed && j < p->n; j++) {
        for (int i = 0; i < p->m; i++) {
            const float *const left = a + (size_t)i * (size_t)p->k;
            const float *const right = b + (size_t)j * (size_t)p->k;
            uint16_t *const c = &p->c[(size_t)j * (size_t)p->ldc + (size_t)i];
            float sum = 0;
            for (int l = 0; l < p->k; l++) {
                sum += left[l] * right[l];
            }
            sum *= p->alpha;
            if (p->beta != 0) {
                sum += p->beta * moe_bf16_to_float(*c);
            }
            *c = moe_bf16_from_float(sum);
        }
    }
    free(a);
    free(b);
    return failed;
}

static int do_multiply(void *args)
{
    return multiply(args);
}

static int is_bf16(cudaDataType a, cudaDataType b, cudaDataType c, cublasComputeType_t compute)
{
    return a == CUDA_R_16BF && b == CUDA_R_16BF && c == CUDA_R_16BF &&
           compute == CUBLAS_COMPUTE_32F;
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b,
                            int m, int n, int k, const void *alpha, const void *a,
                            cudaDataType a_type, int lda, const void *b, cudaDataType b_type,
                            int ldb, const void *beta, void *c, cudaDataType c_type, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm)
{
    (void)algorithm;
    if (!is_bf16(a_type, b_type, c_type, compute)) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    if (m < 0 || n < 0 || k < 0 || lda < (op_a == CUBLAS_OP_N ? m : k) ||
        ldb < (op_b == CUBLAS_OP_N ? k : n) || ldc < m) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    const product_t p = {.m = m,
                         .n = n,
                         .k = k,
                         .lda = lda,
                         .ldb = ldb,
                         .ldc = ldc,
                         .transpose_a = op_a != CUBLAS_OP_N,
                         .transpose_b = op_b != CUBLAS_OP_N,
                         .alpha = *(const float *)alpha,
                         .beta = *(const float *)beta,
                         .a = a,
                         .b = b,
                         .c = c};
    return fake_cuda_enqueue(handle->stream, do_multiply, &p, sizeof p, FAKE_CUDA_KERNEL) ==
                   cudaSuccess
               ? CUBLAS_STATUS_SUCCESS
               : CUBLAS_STATUS_EXECUTION_FAILED;
}

/* ---- Groups ---- */

/* One group of a call: addresses are read when it runs, as the GPU does. */
typedef struct group {
    product_t shape;
    int size;
    const void *const *a, *const *b;
    void *const *c;
} group_t;

static int do_group(void *args)
{
    const group_t *g = args;
    int failed = 0;
    for (int i = 0; i < g->size && !failed; i++) {
        product_t p = g->shape;
        p.a = g->a[i];
        p.b = g->b[i];
        p.c = g->c[i];
        failed = multiply(&p);
    }
    return failed;
}

cublasStatus_t cublasGemmGroupedBatchedEx(cublasHandle_t handle, const cublasOperation_t op_a[],
                                          const cublasOperation_t op_b[], const int m[],
                                          const int n[], const int k[], const void *alpha,
                                          const void *const a[], cudaDataType_t a_type,
                                          const int lda[], const void *const b[],
                                          cudaDataType_t b_type, const int ldb[], const void *beta,
                                          void *const c[], cudaDataType_t c_type, const int ldc[],
                                          int groups, const int size[], cublasComputeType_t compute)
{
    if (!is_bf16(a_type, b_type, c_type, compute)) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    if (!fake_cuda_is_device(a) || !fake_cuda_is_device(b) || !fake_cuda_is_device((void *)c)) {
        fprintf(stderr, "fake cublas: the addresses of a group lie in host memory\n");
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    for (int i = 0, first = 0; i < groups; first += size[i++]) {
        const group_t g = {.shape = {.m = m[i],
                                     .n = n[i],
                                     .k = k[i],
                                     .lda = lda[i],
                                     .ldb = ldb[i],
                                     .ldc = ldc[i],
                                     .transpose_a = op_a[i] != CUBLAS_OP_N,
                                     .transpose_b = op_b[i] != CUBLAS_OP_N,
                                     .alpha = ((const float *)alpha)[i],
                                     .beta = ((const float *)beta)[i]},
                           .size = size[i],
                           .a = a + first,
                           .b = b + first,
                           .c = c + first};
        if (fake_cuda_enqueue(handle->stream, do_group, &g, sizeof g, FAKE_CUDA_KERNEL) !=
            cudaSuccess) {
            return CUBLAS_STATUS_EXECUTION_FAILED;
        }
    }
    return CUBLAS_STATUS_SUCCESS;
}
