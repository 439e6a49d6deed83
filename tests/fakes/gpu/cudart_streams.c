/* The fake CUDA runtime: streams and events. Work is done in the call that gives it, so a stream is
 * never busy (but see fake_cuda_hang()), and an event is a time of the clock. */
#include "cudart_state.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

static struct CUstream_st default_stream;
static cudaStream_t streams; /* all others */

cudaStream_t fake_stream(cudaStream_t stream)
{
    return stream == NULL || stream == cudaStreamLegacy || stream == cudaStreamPerThread
               ? &default_stream
               : stream;
}

static cudaError_t create(cudaStream_t *out)
{
    cudaStream_t made = calloc(1, sizeof *made);
    if (made == NULL) {
        return fake_end(cudaErrorMemoryAllocation);
    }
    made->device = fake_current_device();
    fake_lock();
    made->next = streams;
    streams = made;
    fake_unlock();
    *out = made;
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    FAKE_BEGIN();
    return create(stream);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    FAKE_BEGIN();
    (void)flags;
    return create(stream);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority)
{
    FAKE_BEGIN();
    (void)flags, (void)priority;
    return create(stream);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    FAKE_BEGIN();
    cudaError_t code = cudaErrorInvalidResourceHandle;
    fake_lock();
    for (cudaStream_t *at = &streams; *at != NULL; at = &(*at)->next) {
        if (*at == stream) {
            *at = stream->next;
            free(stream);
            code = cudaSuccess;
            break;
        }
    }
    fake_unlock();
    return fake_end(code);
}

void fake_leave_capture(fake_capture_t *capture)
{
    fake_lock();
    for (cudaStream_t s = streams; s != NULL; s = s->next) {
        if (s->capture == capture) {
            s->capture = NULL;
            s->given = s->joined = 0;
        }
    }
    fake_unlock();
}

bool fake_has_loose_ends(const fake_capture_t *capture)
{
    bool loose = false;
    fake_lock();
    for (cudaStream_t s = streams; s != NULL; s = s->next) {
        loose = loose || (s->capture == capture && s != capture->origin && s->given > s->joined);
    }
    fake_unlock();
    return loose;
}

/* ---- Work ---- */

static void *copy_of(const void *args, size_t bytes)
{
    void *copy = malloc(bytes > 0 ? bytes : 1);
    if (copy != NULL && bytes > 0) {
        memcpy(copy, args, bytes);
    }
    return copy;
}

cudaError_t fake_cuda_enqueue(cudaStream_t stream, fake_cuda_work_fn work, const void *args,
                              size_t bytes, int node_kind)
{
    cudaStream_t s = fake_stream(stream);
    if (work == NULL) {
        return cudaErrorInvalidValue;
    }
    if (s->failed) {
        return cudaErrorUnknown;
    }
    void *const copy = copy_of(args, bytes);
    if (copy == NULL) {
        return cudaErrorMemoryAllocation;
    }
    if (s->capture != NULL) {
        s->given++;
        return fake_graph_add(s->capture->graph, work, copy, (enum cudaGraphNodeType)node_kind);
    }
    s->failed = work(copy) != 0;
    free(copy);
    return cudaSuccess;
}

cudaError_t fake_cuda_hang(cudaStream_t stream, int hung)
{
    __atomic_store_n(&fake_stream(stream)->hung, hung != 0, __ATOMIC_RELAXED);
    return cudaSuccess;
}

/* Asking a stream how far it is breaks its capture. */
static cudaError_t state_of(cudaStream_t stream)
{
    cudaStream_t s = fake_stream(stream);
    if (s->capture != NULL) {
        s->capture->broken = true;
        return cudaErrorStreamCaptureUnsupported;
    }
    if (s->failed) {
        return cudaErrorUnknown;
    }
    return __atomic_load_n(&s->hung, __ATOMIC_RELAXED) ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    FAKE_BEGIN();
    return fake_end(state_of(stream));
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    FAKE_BEGIN();
    cudaError_t code = state_of(stream);
    while (code == cudaErrorNotReady) {
        (void)sched_yield();
        code = state_of(stream);
    }
    return fake_end(code);
}

cudaError_t cudaDeviceSynchronize(void)
{
    FAKE_BEGIN();
    cudaError_t code = cudaSuccess;
    fake_lock();
    for (cudaStream_t s = streams; s != NULL && code == cudaSuccess; s = s->next) {
        code = s->device == fake_current_device() ? state_of(s) : cudaSuccess;
    }
    fake_unlock();
    return fake_end(code);
}

/* ---- Events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    FAKE_BEGIN();
    cudaEvent_t made = calloc(1, sizeof *made);
    if (made == NULL) {
        return fake_end(cudaErrorMemoryAllocation);
    }
    made->flags = flags;
    *event = made;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    FAKE_BEGIN();
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    FAKE_BEGIN();
    cudaStream_t s = fake_stream(stream);
    if (event == NULL) {
        return fake_end(cudaErrorInvalidResourceHandle);
    }
    if (s->failed) {
        return fake_end(cudaErrorUnknown);
    }
    event->recorded = true;
    event->capture_id = s->capture != NULL ? s->capture->id : 0;
    event->stream = s;
    event->given = s->given;
    clock_gettime(CLOCK_MONOTONIC, &event->time);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    FAKE_BEGIN();
    return fake_end(event->capture_id != 0 ? cudaErrorCapturedEvent : cudaSuccess);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    return cudaEventQuery(event);
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end)
{
    FAKE_BEGIN();
    if (!start->recorded || !end->recorded || start->capture_id != 0 || end->capture_id != 0 ||
        ((start->flags | end->flags) & cudaEventDisableTiming) != 0) {
        return fake_end(cudaErrorInvalidResourceHandle);
    }
    *milliseconds = (float)(1e3 * (double)(end->time.tv_sec - start->time.tv_sec) +
                            1e-6 * (double)(end->time.tv_nsec - start->time.tv_nsec));
    return cudaSuccess;
}

/* In a capture the stream of the event joins the waiting one, and a stream that waits for an event of a
 * capture joins that. */
static cudaError_t join(cudaStream_t s, cudaEvent_t event)
{
    cudaStream_t other = event->stream;
    if (s->capture != NULL) {
        if (event->capture_id != s->capture->id) {
            s->capture->broken = true;
            return cudaErrorStreamCaptureIsolation;
        }
        if (other != s && event->given > other->joined) {
            other->joined = event->given;
        }
        s->given++;
        return cudaSuccess;
    }
    if (event->capture_id == 0) {
        return cudaSuccess;
    }
    if (other->capture == NULL || other->capture->id != event->capture_id) {
        return cudaErrorCapturedEvent;
    }
    s->capture = other->capture;
    s->given = 1;
    s->joined = 0;
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    FAKE_BEGIN();
    (void)flags;
    return fake_end(event->recorded ? join(fake_stream(stream), event) : cudaSuccess);
}
