/* The fake CUDA runtime: what nvcc's start-up code registers, and launches of it. */
#include "cudart_state.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cudart_kernels.h"

typedef struct registered {
    const void *host_function; /* by which the program names the kernel */
    const char *device_name;
    struct registered *next;
} registered_t;

static registered_t *kernels;

/* ---- Registration, by functions that no header of CUDA declares for others ---- */

static void *fat_binary;

void **__cudaRegisterFatBinary(void *binary)
{
    (void)binary;
    return &fat_binary;
}

void __cudaRegisterFatBinaryEnd(void **handle)
{
    (void)handle;
}

void __cudaUnregisterFatBinary(void **handle)
{
    (void)handle;
    while (kernels != NULL) {
        registered_t *next = kernels->next;
        free(kernels);
        kernels = next;
    }
}

char __cudaInitModule(void **handle)
{
    (void)handle;
    return 1;
}

void __cudaRegisterFunction(void **handle, const char *host_function, char *device_function,
                            const char *device_name, int thread_limit, uint3 *thread_id,
                            uint3 *block_id, dim3 *block, dim3 *grid, int *warp_bytes)
{
    (void)handle, (void)device_function, (void)thread_limit, (void)thread_id, (void)block_id;
    (void)block, (void)grid, (void)warp_bytes;
    registered_t *made = malloc(sizeof *made);
    if (made == NULL) {
        abort();
    }
    *made = (registered_t){host_function, device_name, kernels};
    kernels = made;
}

/* <<<>>> leaves its numbers here for the stub that it calls next. */
static _Thread_local struct {
    dim3 grid, block;
    size_t shared;
    cudaStream_t stream;
} pushed;

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream)
{
    pushed.grid = grid;
    pushed.block = block;
    pushed.shared = shared;
    pushed.stream = stream;
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream)
{
    *grid = pushed.grid;
    *block = pushed.block;
    *shared = pushed.shared;
    *(cudaStream_t *)stream = pushed.stream;
    return cudaSuccess;
}

/* ---- Launching ---- */

typedef struct launch {
    fake_kernel_t kernel;
    unsigned grid[3], block[3];
    size_t args_at; /* the argument lies that far behind the start of this */
} launch_t;

static int do_launch(void *args)
{
    const launch_t *l = args;
    if (fake_is_planted("kernel")) {
        fake_device_fault(cudaErrorIllegalAddress);
        return 0;
    }
    fake_kernel_run(&l->kernel, l->grid, l->block, (const char *)args + l->args_at);
    return 0;
}

/* An address of the host in a kernel's argument: where a word looks like a user's address (heaps,
 * stacks and libraries lie above 2^40), is mapped, and is not the device's. What is small in its lower
 * half is a number with another one, or with padding, above it. */
static bool is_host_address(uintptr_t word)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    unsigned char there;
    return word >> 40 != 0 && word >> 47 == 0 && (uint32_t)word >= page &&
           !fake_is_reserved((const void *)word) &&
           mincore((void *)(word / page * page), page, &there) == 0;
}

static bool has_host_address(const char *name, const void *args, size_t bytes)
{
    for (size_t at = 0; at + sizeof(uintptr_t) <= bytes; at += sizeof(uintptr_t)) {
        uintptr_t word;
        memcpy(&word, (const char *)args + at, sizeof word);
        if (is_host_address(word)) {
            fprintf(stderr,
                    "fake cudart: %s is given an address of host memory (byte %zu of its "
                    "argument)\n",
                    name, at);
            return true;
        }
    }
    return false;
}

static const char *name_of(const void *host_function)
{
    for (const registered_t *k = kernels; k != NULL; k = k->next) {
        if (k->host_function == host_function) {
            return k->device_name;
        }
    }
    return NULL;
}

static cudaError_t launch(const void *host_function, dim3 grid, dim3 block, void **args,
                          cudaStream_t stream)
{
    const char *name = name_of(host_function);
    launch_t l = {.grid = {grid.x, grid.y, grid.z}, .block = {block.x, block.y, block.z}};
    if (name == NULL || !fake_kernel_find(name, &l.kernel)) {
        return cudaErrorInvalidDeviceFunction;
    }
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || block.x == 0 || block.y == 0 || block.z == 0 ||
        (size_t)block.x * block.y * block.z > 1024 || grid.y > 65535 || grid.z > 65535) {
        return cudaErrorInvalidConfiguration;
    }
    if (has_host_address(name, args[0], l.kernel.bytes)) {
        fake_device_fault(cudaErrorIllegalAddress);
        return cudaSuccess; /* as on a GPU, later calls tell */
    }
    l.args_at = (sizeof l + 15) / 16 * 16;
    char *const both = calloc(1, l.args_at + l.kernel.bytes);
    if (both == NULL) {
        return cudaErrorMemoryAllocation;
    }
    memcpy(both, &l, sizeof l);
    memcpy(both + l.args_at, args[0], l.kernel.bytes);
    const cudaError_t code = fake_cuda_enqueue(stream, do_launch, both, l.args_at + l.kernel.bytes,
                                               cudaGraphNodeTypeKernel);
    free(both);
    return code;
}

cudaError_t cudaLaunchKernel(const void *host_function, dim3 grid, dim3 block, void **args,
                             size_t shared, cudaStream_t stream)
{
    FAKE_BEGIN();
    (void)shared;
    return fake_end(launch(host_function, grid, block, args, stream));
}

/* A kernel's handle is its host function here. */
cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *host_function)
{
    *kernel = (cudaKernel_t)host_function;
    return cudaSuccess;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **args,
                               size_t shared, cudaStream_t stream)
{
    return cudaLaunchKernel(kernel, grid, block, args, shared, stream);
}
