/* Memory of a GPU, and copies between it and the host's. */
#include "moe/device.h"

#ifdef MOE_HAVE_CUDA

#include "cuda.h"
#include "moe/system.h"

static moe_status_t refuse(const moe_cuda_state_t *state, const char *what, size_t bytes,
                           moe_error_t *error)
{
    char needed[16], free_text[16], total_text[16];
    size_t free_bytes = 0, total = 0;
    (void)cudaMemGetInfo(&free_bytes, &total);
    return moe_fail(error, MOE_BAD_INPUT,
                    "%s: %s do not fit the memory of GPU %d, %s (%s free of %s): lower --tokens, "
                    "--hidden, --layers or the ranks that share it",
                    what, moe_format_bytes((double)bytes, needed), state->gpu, state->name,
                    moe_format_bytes((double)free_bytes, free_text),
                    moe_format_bytes((double)total, total_text));
}

/* At least a byte, so that every buffer has an address. */
static moe_status_t allocate(moe_device_t *d, const char *what, size_t bytes, void **out,
                             moe_error_t *error)
{
    moe_cuda_state_t *state = d->state;
    void *memory = NULL;
    moe_status_t status = moe_cuda_check(cudaSetDevice(state->gpu), "cudaSetDevice", error);
    if (status != MOE_OK) {
        return status;
    }
    const cudaError_t code = bytes > state->bytes ? cudaErrorMemoryAllocation
                                                  : cudaMalloc(&memory, bytes > 0 ? bytes : 1);
    if (code == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return refuse(state, what, bytes, error);
    }
    status = moe_cuda_check(code, "cudaMalloc", error);
    if (status == MOE_OK) {
        *out = memory;
    }
    return status;
}

/* Gives `code`, or what the set-up stream fails with, and frees the memory then. */
static moe_status_t end_set_up(moe_cuda_state_t *state, void *memory, cudaError_t code,
                               const char *call, moe_error_t *error)
{
    moe_status_t status = moe_cuda_check(code, call, error);
    if (status == MOE_OK) {
        status =
            moe_cuda_check(cudaStreamSynchronize(state->set_up), "cudaStreamSynchronize", error);
    }
    if (status != MOE_OK) {
        (void)cudaFree(memory);
        (void)cudaGetLastError();
    }
    return status;
}

moe_status_t moe_cuda_alloc(moe_device_t *d, const char *what, size_t bytes, void **out,
                            moe_error_t *error)
{
    moe_cuda_state_t *state = d->state;
    void *memory = NULL;
    moe_status_t status = allocate(d, what, bytes, &memory, error);
    if (status != MOE_OK) {
        return status;
    }
    status = end_set_up(state, memory, cudaMemsetAsync(memory, 0, bytes, state->set_up),
                        "cudaMemsetAsync", error);
    if (status == MOE_OK) {
        *out = memory;
    }
    return status;
}

void moe_cuda_release(moe_device_t *d, void *memory)
{
    moe_cuda_state_t *state = d->state;
    if (memory == NULL) {
        return;
    }
    /* Also where a failure is noted: memory must not stay for want of a finish(). */
    (void)moe_cuda_note(state, cudaSetDevice(state->gpu), "cudaSetDevice");
    (void)moe_cuda_note(state, cudaFree(memory), "cudaFree");
}

size_t moe_cuda_available(moe_device_t *d)
{
    const moe_cuda_state_t *state = d->state;
    size_t free_bytes = 0, total = 0;
    if (cudaSetDevice(state->gpu) != cudaSuccess ||
        cudaMemGetInfo(&free_bytes, &total) != cudaSuccess) {
        (void)cudaGetLastError();
        return SIZE_MAX;
    }
    return free_bytes;
}

void moe_cuda_fill_bytes(moe_device_t *d, void *memory, int byte, size_t bytes)
{
    moe_cuda_state_t *state = moe_cuda_ready(d);
    if (state != NULL && bytes > 0) {
        (void)moe_cuda_note(state, cudaMemsetAsync(memory, byte, bytes, state->stream[state->lane]),
                            "cudaMemsetAsync");
    }
}

/* ---- Copies ---- */

bool moe_cuda_is_device_memory(const void *memory)
{
    struct cudaPointerAttributes attributes;
    if (cudaPointerGetAttributes(&attributes, memory) != cudaSuccess) {
        (void)cudaGetLastError();
        return false;
    }
    return attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
}

/* A copy from or to memory of the host holds the caller up inside the driver until all that the lane
 * was given before is done, which may be never where another rank has died: it is waited for here
 * first, where the watches are asked too. */
void moe_cuda_copy(moe_device_t *d, void *to, const void *from, size_t bytes)
{
    moe_cuda_state_t *state = moe_cuda_ready(d);
    if (state == NULL || bytes == 0) {
        return;
    }
    const bool of_host = !moe_cuda_is_device_memory(to) || !moe_cuda_is_device_memory(from);
    if (of_host && (moe_cuda_recording(state, "a copy from or to host memory") ||
                    !moe_cuda_wait_for_lane(state))) {
        return;
    }
    if (moe_cuda_note(
            state, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, state->stream[state->lane]),
            "cudaMemcpyAsync") &&
        of_host) {
        (void)moe_cuda_wait_for_lane(state);
    }
}

moe_status_t moe_cuda_list(moe_device_t *d, const char *what, const void *list, size_t bytes,
                           const void **out, moe_error_t *error)
{
    moe_cuda_state_t *state = d->state;
    void *memory = NULL;
    moe_status_t status = allocate(d, what, bytes, &memory, error);
    if (status != MOE_OK) {
        return status;
    }
    if (bytes > 0) {
        status =
            end_set_up(state, memory,
                       cudaMemcpyAsync(memory, list, bytes, cudaMemcpyHostToDevice, state->set_up),
                       "cudaMemcpyAsync", error);
    }
    if (status == MOE_OK) {
        *out = memory;
    }
    return status;
}

void moe_cuda_drop_list(moe_device_t *d, const void *list)
{
    moe_cuda_release(d, (void *)list);
}

/* ---- Pinned memory ---- */

moe_status_t moe_cuda_alloc_pinned(moe_device_t *d, const char *what, size_t bytes, void **out,
                                   moe_error_t *error)
{
    const moe_cuda_state_t *state = d->state;
    void *memory = NULL;
    char needed[16];
    moe_status_t status = moe_cuda_check(cudaSetDevice(state->gpu), "cudaSetDevice", error);
    if (status != MOE_OK) {
        return status;
    }
    const cudaError_t code = cudaHostAlloc(&memory, bytes > 0 ? bytes : 1, cudaHostAllocPortable);
    if (code == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return moe_fail(error, MOE_BAD_INPUT,
                        "%s: %s of this host's memory cannot be pinned: lower --tokens, --hidden, "
                        "--layers or the ranks on a host, or raise 'ulimit -l'",
                        what, moe_format_bytes((double)bytes, needed));
    }
    status = moe_cuda_check(code, "cudaHostAlloc", error);
    if (status == MOE_OK) {
        *out = memory;
    }
    return status;
}

void moe_cuda_release_pinned(moe_device_t *d, void *memory)
{
    moe_cuda_state_t *state = d->state;
    if (memory != NULL) {
        (void)moe_cuda_note(state, cudaFreeHost(memory), "cudaFreeHost");
    }
}

void moe_cuda_copy_pinned(moe_device_t *d, void *to, const void *from, size_t bytes)
{
    moe_cuda_state_t *state = moe_cuda_ready(d);
    if (state != NULL && bytes > 0) {
        (void)moe_cuda_note(
            state, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, state->stream[state->lane]),
            "cudaMemcpyAsync");
    }
}

#endif
