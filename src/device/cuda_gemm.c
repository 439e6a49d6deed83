/* Matrix products on a GPU, by cuBLAS; and time that passes as if there were some. */
#include "moe/device.h"

#ifdef MOE_HAVE_CUDA

#include <limits.h>

#include "cuda_blas.h"

/* Longest wait, 30 years: keeps nanoseconds in 64 bits. */
#define LONGEST_WAIT 1e9

void moe_cuda_wait(moe_device_t *d, double seconds)
{
    moe_cuda_state_t *state = moe_cuda_ready(d);
    if (state == NULL || !(seconds > 0)) { /* NaN too */
        return;
    }
    const double wait = seconds < LONGEST_WAIT ? seconds : LONGEST_WAIT;
    const moe_cuda_wait_t args = {.nanoseconds = (uint64_t)(1e9 * wait)};
    (void)moe_cuda_note(state, moe_cuda_launch_wait(&args, state->stream[state->lane]),
                        "the kernel that waits");
}

#ifdef MOE_HAVE_CUBLAS

/* cuBLAS counts columns first. A row-major C = op(A) op(B) is a column-major C' = op(B)' op(A)', and a
 * row-major matrix is the transpose of the column-major one that lies in the same place: so operands
 * change places and keep their operations. `left` is B, `right` is A. */
static void add_product(moe_cuda_groups_t *g, size_t i, size_t room, const moe_gemm_t *shape,
                        const void *a, const void *b, void *c)
{
    g->left_op[i] = shape->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    g->right_op[i] = shape->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    g->rows[i] = (int)shape->n;
    g->columns[i] = (int)shape->m;
    g->inner[i] = (int)shape->k;
    g->left_leading[i] = (int)(shape->transpose_b ? shape->k : shape->n);
    g->right_leading[i] = (int)(shape->transpose_a ? shape->m : shape->k);
    g->result_leading[i] = (int)shape->n;
    g->size[i] = 1;
    g->one[i] = 1.0f;
    g->zero[i] = 0.0f;
    g->address[i] = b;
    g->address[room + i] = a;
    g->address[2 * room + i] = c;
}

/* Products that are work: those without rows or columns are none, and those without terms are zeros.
 * How many; their numbers in which[]. */
static size_t count_work(moe_cuda_state_t *state, size_t count, const moe_gemm_t *shape,
                         void *const *c)
{
    size_t work = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t m = shape[i].m, n = shape[i].n, k = shape[i].k;
        if (m > INT_MAX || n > INT_MAX || k > INT_MAX) {
            moe_cuda_note_text(state, "a product of %zu x %zu x %zu: cuBLAS counts to %d", m, n, k,
                               INT_MAX);
        } else if (m > 0 && n > 0 && k > 0) {
            work++;
        } else if (m > 0 && n > 0) {
            (void)moe_cuda_note(
                state,
                cudaMemsetAsync(c[i], 0, m * n * sizeof(uint16_t), state->stream[state->lane]),
                "cudaMemsetAsync");
        }
    }
    return work;
}

static void multiply_each(moe_cuda_state_t *state, cublasHandle_t handle, size_t count)
{
    const moe_cuda_groups_t *g = &state->blas->groups;
    for (size_t i = 0; i < count; i++) {
        const cublasStatus_t code = state->blas->gemm(
            handle, g->left_op[i], g->right_op[i], g->rows[i], g->columns[i], g->inner[i],
            &g->one[i], g->address[i], CUDA_R_16BF, g->left_leading[i], g->address[count + i],
            CUDA_R_16BF, g->right_leading[i], &g->zero[i], (void *)g->address[2 * count + i],
            CUDA_R_16BF, g->result_leading[i], CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
        if (!moe_cuda_blas_note(state, code, "cublasGemmEx")) {
            return;
        }
    }
}

#if CUBLAS_VERSION >= 120500

/* The library loads 16 bytes at a time from matrices of a group, and does not look whether it may
 * (cuBLAS documentation, cublasGemmGroupedBatchedEx()). */
static bool may_be_grouped(const moe_cuda_groups_t *g, size_t count)
{
    const size_t elements = 16 / sizeof(uint16_t);
    for (size_t i = 0; i < count; i++) {
        const uintptr_t address = (uintptr_t)g->address[i] | (uintptr_t)g->address[count + i] |
                                  (uintptr_t)g->address[2 * count + i];
        const size_t leading =
            (size_t)(g->left_leading[i] | g->right_leading[i] | g->result_leading[i]);
        if (address % 16 != 0 || leading % elements != 0) {
            return false;
        }
    }
    return true;
}

/* Whether the products were given as one call. A recording gets them one by one: a graph would have to
 * read again, at every replay, arrays of this call that are long gone. */
static bool multiply_grouped(moe_cuda_state_t *state, cublasHandle_t handle, size_t count)
{
    moe_cuda_blas_t *blas = state->blas;
    const moe_cuda_groups_t *g = &blas->groups;
    if (blas->grouped == NULL || state->recording || count < 2 || count > INT_MAX ||
        !may_be_grouped(g, count)) {
        return false;
    }
    const void **const address = moe_cuda_blas_addresses(state, count);
    if (address == NULL) {
        return true; /* noted */
    }
    const cublasStatus_t code =
        blas->grouped(handle, g->left_op, g->right_op, g->rows, g->columns, g->inner, g->one,
                      address, CUDA_R_16BF, g->left_leading, address + count, CUDA_R_16BF,
                      g->right_leading, g->zero, (void *const *)(address + 2 * count), CUDA_R_16BF,
                      g->result_leading, (int)count, g->size, CUBLAS_COMPUTE_32F);
    if (code == CUBLAS_STATUS_NOT_SUPPORTED || code == CUBLAS_STATUS_ARCH_MISMATCH) {
        blas->grouped = NULL; /* not on this GPU */
        return false;
    }
    (void)moe_cuda_blas_note(state, code, "cublasGemmGroupedBatchedEx");
    return true;
}

#else

static bool multiply_grouped(moe_cuda_state_t *state, cublasHandle_t handle, size_t count)
{
    (void)state, (void)handle, (void)count;
    return false;
}

#endif

void moe_cuda_gemm(moe_device_t *d, size_t count, const moe_gemm_t *shape, const void *const *a,
                   const void *const *b, void *const *c)
{
    moe_cuda_state_t *state = moe_cuda_ready(d);
    if (state == NULL || state->blas == NULL) {
        return;
    }
    const size_t work = count_work(state, count, shape, c);
    if (work == 0 || state->failed.status != MOE_OK || !moe_cuda_blas_make_room(state, work)) {
        return;
    }
    moe_cuda_groups_t *groups = &state->blas->groups;
    for (size_t i = 0, added = 0; i < count; i++) {
        if (shape[i].m > 0 && shape[i].n > 0 && shape[i].k > 0) {
            add_product(groups, added++, work, &shape[i], a[i], b[i], c[i]);
        }
    }
    const cublasHandle_t handle = moe_cuda_blas_handle(state);
    if (handle != NULL && !multiply_grouped(state, handle, work)) {
        multiply_each(state, handle, work);
    }
}

#else

void moe_cuda_gemm(moe_device_t *d, size_t count, const moe_gemm_t *shape, const void *const *a,
                   const void *const *b, void *const *c)
{
    (void)d, (void)count, (void)shape, (void)a, (void)b, (void)c;
}

#endif
#endif
