/* The GPUs that a process sees. */
#include "moe/device.h"

#ifdef MOE_HAVE_CUDA

#include <ctype.h>
#include <stdio.h>

#include "cuda.h"

#define NO_GPU                                                                                     \
    "--device cuda: no CUDA device was found (%s): run where a GPU and its driver are and "        \
    "CUDA_VISIBLE_DEVICES does not hide it, or use --device host"

static int major_of(int version)
{
    return version / 1000;
}

static int minor_of(int version)
{
    return version % 1000 / 10;
}

void moe_cuda_version(char *text, size_t size)
{
    int runtime = 0, driver = 0;
    (void)cudaRuntimeGetVersion(&runtime);
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
        snprintf(text, size, "CUDA runtime %d.%d, no driver", major_of(runtime), minor_of(runtime));
        return;
    }
    snprintf(text, size, "CUDA runtime %d.%d, driver %d.%d", major_of(runtime), minor_of(runtime),
             major_of(driver), minor_of(driver));
}

static moe_status_t describe(moe_gpu_t *gpu, int number, moe_error_t *error)
{
    struct cudaDeviceProp properties;
    moe_status_t status = moe_cuda_check(cudaGetDeviceProperties(&properties, number),
                                         "cudaGetDeviceProperties", error);
    if (status == MOE_OK) {
        status = moe_cuda_check(cudaDeviceGetPCIBusId(gpu->pci, (int)sizeof gpu->pci, number),
                                "cudaDeviceGetPCIBusId", error);
    }
    if (status != MOE_OK) {
        return status;
    }
    for (char *c = gpu->pci; *c != '\0'; c++) {
        *c = (char)tolower((unsigned char)*c); /* as Linux and hwloc write it */
    }
    snprintf(gpu->name, sizeof gpu->name, "%.*s", (int)sizeof gpu->name - 1, properties.name);
    gpu->bytes = properties.totalGlobalMem;
    gpu->major = properties.major;
    gpu->minor = properties.minor;
    return MOE_OK;
}

moe_status_t moe_cuda_gpus(moe_gpu_t *gpus, size_t room, size_t *count, moe_error_t *error)
{
    int found = 0;
    const cudaError_t code = cudaGetDeviceCount(&found);
    if (code != cudaSuccess || found <= 0) {
        (void)cudaGetLastError();
        return moe_fail(error, MOE_BAD_INPUT, NO_GPU,
                        cudaGetErrorString(code != cudaSuccess ? code : cudaErrorNoDevice));
    }
    for (int i = 0; i < found && (size_t)i < room; i++) {
        moe_gpu_t gpu = {.bytes = 0};
        const moe_status_t status = describe(&gpu, i, error);
        if (status != MOE_OK) {
            return status;
        }
        gpus[i] = gpu;
    }
    *count = (size_t)found;
    return MOE_OK;
}

#endif
