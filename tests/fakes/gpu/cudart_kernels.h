/* The kernels of the program under test, run by the fake CUDA runtime: between cudart_launch.c and
 * cudart_kernels.cc. */
#ifndef FAKE_CUDART_KERNELS_H
#define FAKE_CUDART_KERNELS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fake_kernel {
    void (*function)(void);
    /* Calls it with its one argument, a struct of `bytes`. */
    void (*call)(void (*function)(void), const void *args);
    size_t bytes;
} fake_kernel_t;

/* The kernel that nvcc registers under this (mangled) name. 0: there is none. */
int fake_kernel_find(const char *device_name, fake_kernel_t *out);

/* Runs all threads of a grid, one after the other. Ends the program where lanes of a warp do not meet
 * at a shuffle. */
void fake_kernel_run(const fake_kernel_t *kernel, const unsigned grid[3], const unsigned block[3],
                     const void *args);

#ifdef __cplusplus
}
#endif
#endif
