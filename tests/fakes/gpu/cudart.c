/* The fake CUDA runtime: errors, planted faults, devices. See README.md. */
#include "cudart_state.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void fake_lock(void)
{
    (void)pthread_mutex_lock(&lock);
}

void fake_unlock(void)
{
    (void)pthread_mutex_unlock(&lock);
}

unsigned long long fake_knob(const char *name, unsigned long long otherwise)
{
    const char *text = getenv(name);
    return text == NULL || *text == '\0' ? otherwise : strtoull(text, NULL, 0);
}

/* ---- Faults ---- */

enum { FAULTS = 8, FAULT_TEXT = 512 };

static struct {
    char text[FAULT_TEXT]; /* of MOE_FAKE_CUDA_FAIL, as it was counted from */
    size_t calls[FAULTS];  /* of the function of each entry */
} planted;

static cudaError_t device_fault;
static _Thread_local cudaError_t last_error;

/* Entry "name" or "name:n" of the list at `entry`; whether it is about `what`, and which call. */
static bool entry_is(const char *entry, size_t length, const char *what, size_t *n)
{
    const char *colon = memchr(entry, ':', length);
    const size_t name = colon == NULL ? length : (size_t)(colon - entry);
    *n = colon == NULL ? 1 : strtoul(colon + 1, NULL, 10);
    return name == strlen(what) && strncmp(entry, what, name) == 0;
}

bool fake_is_planted(const char *what)
{
    const char *list = getenv("MOE_FAKE_CUDA_FAIL");
    bool fails = false;
    if (list == NULL || *list == '\0') {
        planted.text[0] = '\0';
        return false;
    }
    fake_lock();
    if (strncmp(planted.text, list, FAULT_TEXT - 1) != 0) {
        snprintf(planted.text, sizeof planted.text, "%s", list);
        memset(planted.calls, 0, sizeof planted.calls);
    }
    for (size_t i = 0; i < FAULTS && *list != '\0'; i++) {
        const size_t length = strcspn(list, ",");
        size_t n;
        if (entry_is(list, length, what, &n)) {
            fails = fails || ++planted.calls[i] == n;
        }
        list += length + (list[length] == ',');
    }
    fake_unlock();
    return fails;
}

void fake_device_fault(cudaError_t code)
{
    __atomic_store_n(&device_fault, code, __ATOMIC_RELAXED);
}

/* Starts the device anew, as far as this fake goes: a fault is forgotten, memory stays. */
cudaError_t cudaDeviceReset(void)
{
    fake_device_fault(cudaSuccess);
    return cudaSuccess;
}

cudaError_t fake_end(cudaError_t code)
{
    if (code != cudaSuccess && code != cudaErrorNotReady) {
        last_error = code;
    }
    return code;
}

cudaError_t fake_begin(const char *function)
{
    const cudaError_t fault = __atomic_load_n(&device_fault, __ATOMIC_RELAXED);
    if (fault != cudaSuccess) {
        return fake_end(fault);
    }
    if (!fake_is_planted(function)) {
        return cudaSuccess;
    }
    const bool allocates =
        strcmp(function, "cudaMalloc") == 0 || strcmp(function, "cudaHostAlloc") == 0;
    return fake_end(allocates ? cudaErrorMemoryAllocation : cudaErrorUnknown);
}

cudaError_t cudaGetLastError(void)
{
    const cudaError_t code = last_error;
    last_error = cudaSuccess;
    return code;
}

cudaError_t cudaPeekAtLastError(void)
{
    return last_error;
}

typedef struct error_text {
    cudaError_t code;
    const char *name, *text;
} error_text_t;

static const error_text_t error_texts[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorIllegalState, "cudaErrorIllegalState",
     "the operation cannot be performed in the present state"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress",
     "an illegal memory access was encountered"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "operation failed because the capture was not initiated in this stream"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined",
     "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};

static const error_text_t *text_of(cudaError_t code)
{
    static const error_text_t other = {cudaErrorUnknown, "unrecognized error code",
                                       "unrecognized error code"};
    for (size_t i = 0; i < sizeof error_texts / sizeof *error_texts; i++) {
        if (error_texts[i].code == code) {
            return &error_texts[i];
        }
    }
    return &other;
}

const char *cudaGetErrorString(cudaError_t code)
{
    return text_of(code)->text;
}

const char *cudaGetErrorName(cudaError_t code)
{
    return text_of(code)->name;
}

/* ---- Devices ---- */

/* Few, so that a kernel's grid is small, and odd, so that rows do not divide evenly among blocks. */
enum { MULTIPROCESSORS = 3, DEFAULT_GPUS = 8 };

static _Thread_local int current_device;

int fake_current_device(void)
{
    return current_device;
}

/* CUDA_VISIBLE_DEVICES hides and renumbers, as in CUDA: a list of numbers, up to the first that there
 * is not. Number `n` of those, as there would be without it; -1: there is none. */
static int visible(int n)
{
    const int all = (int)fake_knob("MOE_FAKE_GPUS", DEFAULT_GPUS);
    const char *list = getenv("CUDA_VISIBLE_DEVICES");
    if (list == NULL) {
        return n < all ? n : -1;
    }
    for (int i = 0;; i++) {
        char *end;
        const long number = strtol(list, &end, 10);
        if (end == list || number < 0 || number >= all) {
            return -1;
        }
        if (i == n) {
            return (int)number;
        }
        if (*end != ',') {
            return -1;
        }
        list = end + 1;
    }
}

int fake_devices(void)
{
    int count = 0;
    while (visible(count) >= 0) {
        count++;
    }
    return count;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    FAKE_BEGIN();
    *count = fake_devices();
    return fake_end(*count > 0 ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device)
{
    FAKE_BEGIN();
    if (device < 0 || device >= fake_devices()) {
        return fake_end(cudaErrorInvalidDevice);
    }
    current_device = device;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device)
{
    FAKE_BEGIN();
    *device = current_device;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
    FAKE_BEGIN();
    if (visible(device) < 0) {
        return fake_end(cudaErrorInvalidDevice);
    }
    memset(properties, 0, sizeof *properties);
    snprintf(properties->name, sizeof properties->name, "fake GPU (host memory)");
    properties->totalGlobalMem = (size_t)fake_knob("MOE_FAKE_GPU_BYTES", 4ull << 30);
    properties->multiProcessorCount = MULTIPROCESSORS;
    properties->major = 9;
    properties->warpSize = 32;
    properties->pciBusID = 0x1b + visible(device);
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
    FAKE_BEGIN();
    if (visible(device) < 0) {
        return fake_end(cudaErrorInvalidDevice);
    }
    switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
        *value = MULTIPROCESSORS;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
        *value = 9;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
        *value = 0;
        return cudaSuccess;
    default:
        return fake_end(cudaErrorInvalidValue);
    }
}

/* Upper case, as CUDA writes it. */
cudaError_t cudaDeviceGetPCIBusId(char *text, int length, int device)
{
    FAKE_BEGIN();
    if (visible(device) < 0) {
        return fake_end(cudaErrorInvalidDevice);
    }
    snprintf(text, (size_t)length, "0000:%02X:00.0", 0x1bu + (unsigned)visible(device));
    return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    FAKE_BEGIN();
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = fake_devices() > 0 ? CUDART_VERSION : 0;
    return cudaSuccess;
}
