/* Opening cuBLAS, and what it keeps: see cuda_blas.h. */
#include "moe/device.h"

#ifdef MOE_HAVE_CUDA

#include "cuda_blas.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef MOE_HAVE_CUBLAS

/* What NVIDIA advises for Hopper and later (cuBLAS documentation, cublasSetWorkspace()). */
#define WORKSPACE_BYTES ((size_t)32 << 20)

#define TEXT_OF(x)  TEXT_OF_(x)
#define TEXT_OF_(x) #x
#define LIBRARY     "libcublas.so." TEXT_OF(CUBLAS_VER_MAJOR)

/* ---- Opening ---- */

static bool find(void *library, const char *name, void *function)
{
    void *const found = dlsym(library, name);
    memcpy(function, &found, sizeof found); /* C has no conversion from void * to a function */
    return found != NULL;
}

static bool find_all(moe_cuda_blas_t *blas)
{
    void *const library = blas->library;
#if CUBLAS_VERSION >= 120500
    (void)find(library, "cublasGemmGroupedBatchedEx", &blas->grouped);
#endif
    return find(library, "cublasCreate_v2", &blas->create) &&
           find(library, "cublasDestroy_v2", &blas->destroy) &&
           find(library, "cublasSetStream_v2", &blas->set_stream) &&
           find(library, "cublasSetWorkspace_v2", &blas->set_workspace) &&
           find(library, "cublasSetMathMode", &blas->set_math_mode) &&
           find(library, "cublasGetStatusName", &blas->status_name) &&
           find(library, "cublasGemmEx", &blas->gemm);
}

static void write_version(const moe_cuda_blas_t *blas, char *version, size_t size)
{
    __typeof__(&cublasGetProperty) property;
    int major = 0, minor = 0;
    if (find(blas->library, "cublasGetProperty", &property) &&
        property(MAJOR_VERSION, &major) == CUBLAS_STATUS_SUCCESS &&
        property(MINOR_VERSION, &minor) == CUBLAS_STATUS_SUCCESS) {
        snprintf(version, size, "cuBLAS %d.%d", major, minor);
    } else {
        snprintf(version, size, "cuBLAS");
    }
}

bool moe_cuda_blas_open(moe_cuda_state_t *state, char *version, size_t size)
{
    moe_cuda_blas_t *blas = calloc(1, sizeof *blas);
    snprintf(version, size, "no cuBLAS");
    if (blas == NULL) {
        return false;
    }
    /* It stays loaded: the next device of this process need not wait for it. */
    blas->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (blas->library == NULL || !find_all(blas)) {
        if (blas->library != NULL) {
            (void)dlclose(blas->library);
        }
        free(blas);
        return false;
    }
    write_version(blas, version, size);
    state->blas = blas;
    return true;
}

static void close_groups(moe_cuda_groups_t *groups)
{
    free(groups->left_op);
    free(groups->right_op);
    free(groups->rows);
    free(groups->columns);
    free(groups->inner);
    free(groups->left_leading);
    free(groups->right_leading);
    free(groups->result_leading);
    free(groups->size);
    free(groups->one);
    free(groups->zero);
    free(groups->address);
}

void moe_cuda_blas_close(moe_cuda_state_t *state)
{
    moe_cuda_blas_t *blas = state->blas;
    if (blas == NULL) {
        return;
    }
    for (size_t i = 0; i < MOE_LANES; i++) {
        if (blas->lane[i].handle != NULL) {
            (void)blas->destroy(blas->lane[i].handle);
        }
        (void)cudaFree(blas->lane[i].workspace);
    }
    for (size_t i = 0; i < MOE_CUDA_ADDRESS_SLOTS; i++) {
        free(blas->addresses[i].on_host);
        (void)cudaFree(blas->addresses[i].on_gpu);
    }
    close_groups(&blas->groups);
    (void)dlclose(blas->library);
    free(blas);
    state->blas = NULL;
}

/* ---- Handles ---- */

bool moe_cuda_blas_note(moe_cuda_state_t *state, cublasStatus_t code, const char *call)
{
    if (code != CUBLAS_STATUS_SUCCESS) {
        moe_cuda_note_text(state, "%s failed: %s", call, state->blas->status_name(code));
    }
    return code == CUBLAS_STATUS_SUCCESS;
}

/* The stream before the workspace, which cublasSetStream() takes away. Sums stay in fp32 where cuBLAS
 * splits them too. */
static bool set_up_handle(moe_cuda_state_t *state, cublasHandle_t handle, void *workspace)
{
    const moe_cuda_blas_t *blas = state->blas;
    const cublasMath_t mode =
        CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
    return moe_cuda_blas_note(state, blas->set_stream(handle, state->stream[state->lane]),
                              "cublasSetStream") &&
           moe_cuda_blas_note(state, blas->set_workspace(handle, workspace, WORKSPACE_BYTES),
                              "cublasSetWorkspace") &&
           moe_cuda_blas_note(state, blas->set_math_mode(handle, mode), "cublasSetMathMode");
}

cublasHandle_t moe_cuda_blas_handle(moe_cuda_state_t *state)
{
    moe_cuda_blas_t *blas = state->blas;
    moe_cuda_blas_lane_t *lane = &blas->lane[state->lane];
    if (lane->handle != NULL) {
        return lane->handle;
    }
    if (lane->workspace == NULL &&
        !moe_cuda_note(state, cudaMalloc(&lane->workspace, WORKSPACE_BYTES),
                       "cudaMalloc of 32 MiB for cuBLAS")) {
        return NULL;
    }
    cublasHandle_t handle;
    if (!moe_cuda_blas_note(state, blas->create(&handle), "cublasCreate")) {
        return NULL;
    }
    if (!set_up_handle(state, handle, lane->workspace)) {
        (void)blas->destroy(handle);
        return NULL;
    }
    lane->handle = handle;
    return handle;
}

/* ---- Arrays of a call ---- */

static bool resize(void *array, size_t count, size_t bytes)
{
    void **const pointer = array;
    void *const grown = realloc(*pointer, count * bytes);
    if (grown != NULL) {
        *pointer = grown;
    }
    return grown != NULL;
}

bool moe_cuda_blas_make_room(moe_cuda_state_t *state, size_t count)
{
    moe_cuda_groups_t *g = &state->blas->groups;
    if (count <= g->room) {
        return true;
    }
    int **const of_int[] = {&g->rows,          &g->columns,        &g->inner, &g->left_leading,
                            &g->right_leading, &g->result_leading, &g->size};
    bool there = resize(&g->left_op, count, sizeof *g->left_op) &&
                 resize(&g->right_op, count, sizeof *g->right_op) &&
                 resize(&g->one, count, sizeof *g->one) &&
                 resize(&g->zero, count, sizeof *g->zero) &&
                 resize(&g->address, 3 * count, sizeof *g->address);
    for (size_t i = 0; there && i < sizeof of_int / sizeof *of_int; i++) {
        there = resize(of_int[i], count, sizeof(int));
    }
    if (!there) {
        moe_cuda_note_text(state, "no memory for a call of %zu products", count);
        return false;
    }
    g->room = count;
    return true;
}

/* ---- Addresses ---- */

/* FNV-1a (Fowler, Noll, Vo), of words. */
static size_t hash(const void *const *address, size_t count)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < count; i++) {
        h = (h ^ (uint64_t)(uintptr_t)address[i]) * UINT64_C(0x100000001b3);
    }
    return (size_t)(h ^ (h >> 32));
}

/* Where these addresses are, or may be put: an empty slot, else the one that they hash to. */
static moe_cuda_addresses_t *slot_of(moe_cuda_blas_t *blas, size_t count)
{
    const size_t bytes = 3 * count * sizeof(void *);
    const size_t start = hash(blas->groups.address, 3 * count);
    for (size_t i = 0; i < MOE_CUDA_ADDRESS_SLOTS; i++) {
        moe_cuda_addresses_t *slot = &blas->addresses[(start + i) % MOE_CUDA_ADDRESS_SLOTS];
        if (slot->count == 0 ||
            (slot->count == count && memcmp(slot->on_host, blas->groups.address, bytes) == 0)) {
            return slot;
        }
    }
    return &blas->addresses[start % MOE_CUDA_ADDRESS_SLOTS];
}

/* In the stream of set-up, and waited for: a lane may have much to do before. */
static bool fill_slot(moe_cuda_state_t *state, moe_cuda_addresses_t *slot, size_t count)
{
    const size_t bytes = 3 * count * sizeof(void *);
    moe_cuda_addresses_t made = {.count = count};
    made.on_host = malloc(bytes);
    if (made.on_host == NULL) {
        moe_cuda_note_text(state, "no memory for the addresses of %zu products", count);
        return false;
    }
    memcpy(made.on_host, state->blas->groups.address, bytes);
    if (!moe_cuda_note(state, cudaMalloc((void **)&made.on_gpu, bytes), "cudaMalloc") ||
        !moe_cuda_note(state,
                       cudaMemcpyAsync(made.on_gpu, made.on_host, bytes, cudaMemcpyHostToDevice,
                                       state->set_up),
                       "cudaMemcpyAsync") ||
        !moe_cuda_note(state, cudaStreamSynchronize(state->set_up), "cudaStreamSynchronize")) {
        (void)cudaFree(made.on_gpu);
        free(made.on_host);
        return false;
    }
    free(slot->on_host);
    (void)cudaFree(slot->on_gpu); /* waits for the products that read it */
    *slot = made;
    return true;
}

const void **moe_cuda_blas_addresses(moe_cuda_state_t *state, size_t count)
{
    moe_cuda_addresses_t *slot = slot_of(state->blas, count);
    const size_t bytes = 3 * count * sizeof(void *);
    const bool there =
        slot->count == count && memcmp(slot->on_host, state->blas->groups.address, bytes) == 0;
    return there || fill_slot(state, slot, count) ? slot->on_gpu : NULL;
}

#else

bool moe_cuda_blas_open(moe_cuda_state_t *state, char *version, size_t size)
{
    (void)state;
    snprintf(version, size, "no cuBLAS");
    return false;
}

void moe_cuda_blas_close(moe_cuda_state_t *state)
{
    (void)state;
}

#endif
#endif
