/* What the fake CUDA runtime (libcudart.so.N of this folder) offers to the other fakes beside CUDA's
 * own functions. The symbols below are exported by that library: a fake that uses them leaves them
 * undefined (they are found when the program has loaded it), or looks them up with
 * dlsym(RTLD_DEFAULT, ...). */
#ifndef FAKE_CUDA_H
#define FAKE_CUDA_H

#include <stddef.h>

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Work of another library in a stream: 0, or anything else for failure. `args` points to the copy
 * that was made when the work was given, aligned for any type; it may be written to, and what was
 * written is still there when a graph does the work again. */
typedef int (*fake_cuda_work_fn)(void *args);

/* Kinds of nodes of a graph, as cudaGraphNodeGetType() tells them. */
#define FAKE_CUDA_KERNEL cudaGraphNodeTypeKernel
#define FAKE_CUDA_COPY   cudaGraphNodeTypeMemcpy
#define FAKE_CUDA_HOST   cudaGraphNodeTypeHost

/* Gives work to a stream. `args` (`bytes` of it; NULL with 0) is copied before the call returns, so
 * it may lie on the caller's stack; what it points to must live as long as the work may run.
 *
 * - The stream is not being captured: all that was given to the stream before has been done (the fake
 *   does everything in the call that gives it), so fn(copy) runs now, in the calling thread, and the
 *   copy is freed afterwards. fn may block, call MPI, and read and write device memory (which is host
 *   memory). It must give no work to streams of its own.
 * - The stream is being captured: nothing runs. One node of kind `node_kind` (FAKE_CUDA_KERNEL,
 *   FAKE_CUDA_COPY or FAKE_CUDA_HOST) joins the capture; fn(copy) runs at every cudaGraphLaunch(), at
 *   its place in the order of capture, in the thread that launches. The copy is freed with the graph:
 *   cudaGraphInstantiate() takes it over, so cudaGraphDestroy() before cudaGraphExecDestroy() is fine.
 * - fn returns other than 0: from then on every call that gives work to this stream, queries it or
 *   waits for it, and cudaDeviceSynchronize(), returns cudaErrorUnknown. fake_cuda_enqueue() itself
 *   still returns cudaSuccess: a launch succeeds, what it started fails later, as on a GPU.
 *
 * Returns cudaSuccess; cudaErrorUnknown where the stream has failed already (fn does not run);
 * cudaErrorInvalidValue where fn is NULL; cudaErrorMemoryAllocation. */
cudaError_t fake_cuda_enqueue(cudaStream_t stream, int (*fn)(void *args), const void *args,
                              size_t bytes, int node_kind);

/* Makes the stream unfinished: cudaStreamQuery() says cudaErrorNotReady, and cudaStreamSynchronize()
 * does not return, until the same is called with `hung` 0. For faults in which work never ends: the
 * program must find the way out by itself. */
cudaError_t fake_cuda_hang(cudaStream_t stream, int hung);

/* 1: the address lies in memory that cudaMalloc() (or fake_cuda_alloc()) gave; the fake keeps it in a
 * range of its own, so that a host pointer where a device pointer belongs is noticed. 0: it does not. */
int fake_cuda_is_device(const void *address);

/* Memory that counts as the device's, for ncclMemAlloc(). NULL where MOE_FAKE_GPU_BYTES is spent. */
void *fake_cuda_alloc(size_t bytes);
void fake_cuda_free(void *memory); /* NULL: no effect */

#ifdef __cplusplus
}
#endif
#endif
