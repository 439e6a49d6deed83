/* Functions that the host's device and the kernels of GPUs share: one definition, so that both come
 * to the same bits. They compile as C11, as C++17, and for a GPU. */
#ifndef MOE_DEVICE_INLINE_H
#define MOE_DEVICE_INLINE_H

#ifdef __CUDACC__
#define MOE_INLINE __host__ __device__ static inline
#else
#define MOE_INLINE static inline
#endif

#endif
