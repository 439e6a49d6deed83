/* Creation of the CUDA device, and how its failures are kept. */
#include "moe/device.h"

#ifdef MOE_HAVE_CUDA

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda.h"
#include "cuda_blas.h"
#include "moe/system.h"

/* ---- Failure ---- */

moe_status_t moe_cuda_fail(cudaError_t code, const char *call, moe_error_t *error)
{
    return moe_fail(error, MOE_FAILED, "%s failed: %s", call, cudaGetErrorString(code));
}

moe_cuda_state_t *moe_cuda_ready(moe_device_t *d)
{
    moe_cuda_state_t *state = d->state;
    if (state->failed.status != MOE_OK ||
        !moe_cuda_note(state, cudaSetDevice(state->gpu), "cudaSetDevice")) {
        return NULL;
    }
    return state;
}

bool moe_cuda_note(moe_cuda_state_t *state, cudaError_t code, const char *call)
{
    if (code == cudaSuccess) {
        return true;
    }
    (void)cudaGetLastError(); /* else it is found again, by a library that asks for the last one */
    if (state->failed.status == MOE_OK) {
        (void)moe_cuda_fail(code, call, &state->failed);
    }
    return false;
}

void moe_cuda_note_text(moe_cuda_state_t *state, const char *format, ...)
{
    if (state->failed.status != MOE_OK) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    /* The analyzer forgets va_start() in runs over several files: */
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    vsnprintf(state->failed.text, sizeof state->failed.text, format, arguments);
    va_end(arguments);
    state->failed.status = MOE_FAILED;
}

bool moe_cuda_recording(moe_cuda_state_t *state, const char *what)
{
    if (state->recording) {
        moe_cuda_note_text(state, "%s cannot be recorded", what);
    }
    return state->recording;
}

/* ---- The device ---- */

bool moe_cuda_built_in(void)
{
    return true;
}

bool moe_cuda_is(const moe_device_t *d)
{
    return strcmp(d->ops->name, "cuda") == 0;
}

/* Where a library hangs behind the device, giving memory back would wait for it: what is still busy is
 * left to the end of the process. */
static bool is_idle(const moe_cuda_state_t *state)
{
    for (size_t i = 0; i < MOE_LANES; i++) {
        if (state->stream[i] != NULL && cudaStreamQuery(state->stream[i]) != cudaSuccess) {
            return false;
        }
    }
    return true;
}

static void destroy_streams(moe_cuda_state_t *state)
{
    for (size_t i = 0; i < MOE_LANES; i++) {
        if (state->stream[i] != NULL) {
            (void)cudaStreamDestroy(state->stream[i]);
        }
    }
    if (state->set_up != NULL) {
        (void)cudaStreamDestroy(state->set_up);
    }
}

static void cuda_destroy(moe_device_t *d)
{
    moe_cuda_state_t *state = d->state;
    if (cudaSetDevice(state->gpu) == cudaSuccess && is_idle(state)) {
        moe_cuda_blas_close(state);
        moe_cuda_scratch_destroy(state);
        moe_cuda_drop_events(state);
        destroy_streams(state);
    }
    (void)cudaGetLastError();
    free(state->mark);
    free(state->sign);
    free(state);
    free(d);
}

static const moe_device_ops_t cuda_ops = {
    .name = "cuda",
    .separate = true,
    .alloc = moe_cuda_alloc,
    .release = moe_cuda_release,
    .available = moe_cuda_available,
    .fill_bytes = moe_cuda_fill_bytes,
    .copy = moe_cuda_copy,
    .list = moe_cuda_list,
    .drop_list = moe_cuda_drop_list,
    .gather = moe_cuda_gather,
    .copy_parts = moe_cuda_copy_parts,
    .reduce = moe_cuda_reduce,
    .fill_tokens = moe_cuda_fill_tokens,
    .check_rows = moe_cuda_check_rows,
    .apply_expert = moe_cuda_apply_expert,
    .check_combined = moe_cuda_check_combined,
    .gemm_dtype = MOE_BF16,
    .least_operands =
        (size_t)256 << 20, /* past the second-level cache: 50 MB on H200, 126 MB on B200 */
    .most_operands = (size_t)2 << 30,
    .gemm_group = 256, /* cublasGemmGroupedBatchedEx() takes any number */
    .gemm = moe_cuda_gemm,
    .wait = moe_cuda_wait,
    .finish = moe_cuda_finish,
    .mark = moe_cuda_mark,
    .read_marks = moe_cuda_read_marks,
    .lane = moe_cuda_lane,
    .sign = moe_cuda_sign,
    .await = moe_cuda_await,
    .capture = moe_cuda_capture,
    .replay = moe_cuda_replay,
    .drop_graph = moe_cuda_drop_graph,
    .destroy = cuda_destroy,
};

/* The kernels of an exchange are few and short: where they wait for blocks of a matrix product to end,
 * nothing is hidden behind it. */
static moe_status_t create_streams(moe_cuda_state_t *state, moe_error_t *error)
{
    int least = 0, greatest = 0;
    moe_status_t status = moe_cuda_check(cudaDeviceGetStreamPriorityRange(&least, &greatest),
                                         "cudaDeviceGetStreamPriorityRange", error);
    for (size_t i = 0; status == MOE_OK && i < MOE_LANES; i++) {
        status =
            moe_cuda_check(cudaStreamCreateWithPriority(&state->stream[i], cudaStreamNonBlocking,
                                                        i == MOE_LANE_EXCHANGE ? greatest : least),
                           "cudaStreamCreateWithPriority", error);
    }
    if (status != MOE_OK) {
        return status;
    }
    return moe_cuda_check(cudaStreamCreateWithFlags(&state->set_up, cudaStreamNonBlocking),
                          "cudaStreamCreateWithFlags", error);
}

static moe_status_t set_up(moe_cuda_state_t *state, moe_error_t *error)
{
    int multiprocessors = 0;
    moe_status_t status = moe_cuda_check(cudaSetDevice(state->gpu), "cudaSetDevice", error);
    if (status == MOE_OK) {
        status = moe_cuda_check(
            cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, state->gpu),
            "cudaDeviceGetAttribute", error);
    }
    if (status == MOE_OK) {
        state->multiprocessors = (unsigned)multiprocessors;
        status = create_streams(state, error);
    }
    if (status == MOE_OK) {
        status = moe_cuda_scratch_create(state, error);
    }
    return status;
}

moe_status_t moe_cuda_device_create(size_t gpu, moe_device_t **out, moe_error_t *error)
{
    moe_gpu_t gpus[MOE_GPUS_MAX];
    size_t count = 0;
    moe_device_t *device = NULL;
    moe_status_t status = moe_cuda_gpus(gpus, MOE_GPUS_MAX, &count, error);
    if (status != MOE_OK) {
        return status;
    }
    if (gpu >= count || gpu >= MOE_GPUS_MAX) {
        return moe_fail(error, MOE_BAD_INPUT, "GPU %zu: this process sees %zu, counted from 0", gpu,
                        count);
    }
    status = moe_alloc("a device", 1, sizeof *device, (void **)&device, error);
    if (status != MOE_OK) {
        return status;
    }
    status = moe_alloc("a device", 1, sizeof(moe_cuda_state_t), &device->state, error);
    if (status != MOE_OK) {
        free(device);
        return status;
    }
    moe_cuda_state_t *state = device->state;
    state->gpu = (int)gpu;
    state->bytes = gpus[gpu].bytes;
    snprintf(state->name, sizeof state->name, "%s", gpus[gpu].name);
    state->ops = cuda_ops;
    device->ops = &state->ops;
    status = set_up(state, error);
    if (status != MOE_OK) {
        cuda_destroy(device);
        return status;
    }
    char blas[32];
    state->ops.has_gemm = moe_cuda_blas_open(state, blas, sizeof blas);
    snprintf(device->description, sizeof device->description, "%s, GPU %zu (%s), %s", state->name,
             gpu, gpus[gpu].pci, blas);
    *out = device;
    return MOE_OK;
}

#else

#define NOT_BUILT_IN                                                                               \
    "--device cuda: this program was built without CUDA; build it where the CUDA toolkit is "      \
    "(make CUDA_HOME=/usr/local/cuda), or use --device host"

bool moe_cuda_built_in(void)
{
    return false;
}

void moe_cuda_version(char *text, size_t size)
{
    if (size > 0) {
        text[0] = '\0';
    }
}

moe_status_t moe_cuda_gpus(moe_gpu_t *gpus, size_t room, size_t *count, moe_error_t *error)
{
    (void)gpus, (void)room, (void)count;
    return moe_fail(error, MOE_BAD_INPUT, NOT_BUILT_IN);
}

moe_status_t moe_cuda_device_create(size_t gpu, moe_device_t **out, moe_error_t *error)
{
    (void)gpu, (void)out;
    return moe_fail(error, MOE_BAD_INPUT, NOT_BUILT_IN);
}

#endif
