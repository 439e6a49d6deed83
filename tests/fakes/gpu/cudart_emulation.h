/* What kernels find in CUDA's headers, for a host compiler: included after cuda_runtime.h, which
 * leaves __global__ and __device__ empty there. Lanes of a warp run one after the other; where they
 * shuffle they wait for each other (cudart_kernels.cc). There are no barriers of whole blocks, no
 * shared memory and no other intrinsics than these: a kernel that uses one does not compile. */
#ifndef FAKE_CUDART_EMULATION_H
#define FAKE_CUDART_EMULATION_H

#include <cmath>
#include <cstdint>
#include <typeinfo>

#include <cuda_runtime.h>
#include <vector_functions.h>

#include "cudart_kernels.h"

#undef __launch_bounds__
#define __launch_bounds__(...)

/* A host that fuses products and sums would round otherwise than the kernels say. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=off")
#endif

/* ---- Where a thread is ---- */
extern thread_local uint3 threadIdx, blockIdx;
extern thread_local dim3 blockDim, gridDim;

/* ---- Arithmetic ---- */
static inline float __fmul_rn(float a, float b)
{
    return a * b;
}
static inline float __fadd_rn(float a, float b)
{
    return a + b;
}
static inline double __dmul_rn(double a, double b)
{
    return a * b;
}
static inline double __dadd_rn(double a, double b)
{
    return a + b;
}

/* ---- Between threads ---- */

/* Of the lane whose number differs by `apart`, after all lanes of the warp have come here. */
uint32_t __shfl_xor_sync(unsigned lanes, uint32_t value, int apart);

/* Streams of several devices are driven by several threads of the program. */
static inline unsigned long long atomicAdd(unsigned long long *at, unsigned long long value)
{
    return __atomic_fetch_add(at, value, __ATOMIC_RELAXED);
}
static inline unsigned long long atomicMin(unsigned long long *at, unsigned long long value)
{
    unsigned long long old = __atomic_load_n(at, __ATOMIC_RELAXED);
    while (value < old && !__atomic_compare_exchange_n(at, &old, value, false, __ATOMIC_RELAXED,
                                                       __ATOMIC_RELAXED)) {
    }
    return old;
}

uint64_t emulated_globaltimer();

/* ---- Launching ----
 * The functions that launch kernels are compiled here too, but the program calls its own; what they
 * leave here is how to call a kernel with that argument. */
struct fake_thunk {
    const char *args_name; /* as it stands at the end of a kernel's mangled name */
    void (*call)(void (*function)(void), const void *args);
    size_t bytes;
    fake_thunk *next;
    fake_thunk(const char *name, void (*call_it)(void (*)(void), const void *), size_t size);
};

template <typename Args> struct fake_thunk_of {
    static void call(void (*function)(void), const void *args)
    {
        reinterpret_cast<void (*)(Args)>(function)(*static_cast<const Args *>(args));
    }
    static fake_thunk entry;
};
template <typename Args>
fake_thunk fake_thunk_of<Args>::entry(typeid(Args).name(), fake_thunk_of<Args>::call, sizeof(Args));

template <typename Args>
cudaError_t cudaLaunchKernel(void (*kernel)(Args), dim3 grid, dim3 block, void **args,
                             size_t /* shared */, cudaStream_t)
{
    const fake_thunk *thunk = &fake_thunk_of<Args>::entry;
    const fake_kernel_t found = {reinterpret_cast<void (*)(void)>(kernel), thunk->call,
                                 thunk->bytes};
    const unsigned blocks[3] = {grid.x, grid.y, grid.z}, threads[3] = {block.x, block.y, block.z};
    fake_kernel_run(&found, blocks, threads, args[0]);
    return cudaSuccess;
}

#endif
