/* Inside of the CUDA device, for its own files and for transports that move rows of its memory. */
#ifndef MOE_DEVICE_CUDA_STATE_H
#define MOE_DEVICE_CUDA_STATE_H

#include <cuda_runtime_api.h>

#include "moe/device.h"

/* MOE_FAILED with the call's name and CUDA's text ("cudaMalloc failed: out of memory"). */
moe_status_t moe_cuda_fail(cudaError_t code, const char *call, moe_error_t *error);
static inline moe_status_t moe_cuda_check(cudaError_t code, const char *call, moe_error_t *error)
{
    return code == cudaSuccess ? MOE_OK : moe_cuda_fail(code, call, error);
}

/* Whether `d` is a CUDA device. */
bool moe_cuda_is(const moe_device_t *d);
/* Stream of the current lane: what is put into it keeps to the device's order. */
cudaStream_t moe_cuda_stream(const moe_device_t *d);

/* While finish() waits for the device it calls poll(context) again and again: what a library has found
 * out behind the device's back ends the wait. At most MOE_CUDA_WATCHES at a time. */
#define MOE_CUDA_WATCHES 64
typedef moe_status_t (*moe_cuda_poll_fn)(void *context, moe_error_t *error);
moe_status_t moe_cuda_watch(moe_device_t *d, moe_cuda_poll_fn poll, void *context,
                            moe_error_t *error);
void moe_cuda_unwatch(moe_device_t *d, void *context);

/* Host memory that the device copies to and from without a stop in between (pinned). */
moe_status_t moe_cuda_alloc_pinned(moe_device_t *d, const char *what, size_t bytes, void **out,
                                   moe_error_t *error);
void moe_cuda_release_pinned(moe_device_t *d, void *memory);
/* As copy(), but one of the two is pinned memory, and the caller is not held up: for host memory that
 * stays as it is until finish(). */
void moe_cuda_copy_pinned(moe_device_t *d, void *to, const void *from, size_t bytes);

#endif
