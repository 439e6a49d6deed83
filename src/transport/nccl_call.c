/* NCCL: calls that return only when other ranks have come, or the device has done what it was given. A
 * thread makes them, so that the rank's own thread can give up. */
#include "moe/transport.h"

#ifdef MOE_HAVE_NCCL

#include <cuda_runtime_api.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "moe/system.h"
#include "nccl_state.h"

/* For the abort of a communicator that was still being made. */
#define ABORT_SECONDS 2.0

moe_status_t moe_nccl_call_create(const moe_nccl_run_t *run,
                                  ncclResult_t (*make)(moe_nccl_call_t *call),
                                  moe_nccl_call_t **out, moe_error_t *error)
{
    void *memory;
    const moe_status_t status = moe_alloc("a call", 1, sizeof(moe_nccl_call_t), &memory, error);
    if (status != MOE_OK)
        return status;
    moe_nccl_call_t *call = memory;
    call->make = make;
    call->gpu = run->gpu;
    call->users = 1;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&call->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&call->lock, NULL);
    *out = call;
    return MOE_OK;
}

void moe_nccl_call_leave(moe_nccl_call_t *call)
{
    pthread_mutex_lock(&call->lock);
    const bool last = --call->users == 0;
    pthread_mutex_unlock(&call->lock);
    if (!last)
        return;
    pthread_cond_destroy(&call->changed);
    pthread_mutex_destroy(&call->lock);
    free(call->comms);
    free(call);
}

/* Whether the caller still waits; notes that the call has returned and NCCL goes on with it. */
static bool is_wanted(moe_nccl_call_t *call)
{
    pthread_mutex_lock(&call->lock);
    call->polling = true;
    const bool wanted = !call->given_up;
    pthread_mutex_unlock(&call->lock);
    return wanted;
}

/* A communicator that goes on by itself: until it is done, or nobody wants it any more. */
static ncclResult_t poll_communicator(moe_nccl_call_t *call)
{
    const struct timespec nap = {.tv_nsec = 500 * 1000};
    ncclResult_t result = ncclInProgress;
    while (result == ncclInProgress) {
        if (!is_wanted(call)) {
            if (call->polled_is_new)
                (void)ncclCommAbort(call->polled);
            return ncclInProgress;
        }
        nanosleep(&nap, NULL);
        const ncclResult_t asked = ncclCommGetAsyncError(call->polled, &result);
        result = asked != ncclSuccess ? asked : result;
    }
    return result;
}

static void *call_main(void *argument)
{
    moe_nccl_call_t *call = argument;
    (void)cudaSetDevice(call->gpu);
    call->result = call->make(call);
    if (call->result == ncclInProgress && call->polled != NULL)
        call->result = poll_communicator(call);
    if (call->result != ncclSuccess && call->result != ncclInProgress)
        moe_nccl_last_error(call->polled, call->text, sizeof call->text);
    pthread_mutex_lock(&call->lock);
    call->ended = true;
    pthread_cond_broadcast(&call->changed);
    pthread_mutex_unlock(&call->lock);
    moe_nccl_call_leave(call);
    return NULL;
}

/* Under the lock. */
static void wait_until(moe_nccl_call_t *call, double deadline)
{
    const struct timespec until = {.tv_sec = (time_t)deadline,
                                   .tv_nsec = (long)((deadline - (double)(time_t)deadline) * 1e9)};
    while (!call->ended &&
           pthread_cond_timedwait(&call->changed, &call->lock, &until) != ETIMEDOUT) {
    }
}

bool moe_nccl_bounded(moe_nccl_call_t *call, double seconds)
{
    pthread_t thread;
    const double begin = moe_nccl_now();
    call->users++;
    if (pthread_create(&thread, NULL, call_main, call) != 0) {
        call->users--;
        call->result = ncclSystemError;
        return true;
    }
    pthread_detach(thread);
    pthread_mutex_lock(&call->lock);
    wait_until(call, begin + seconds);
    const bool in_time = call->ended;
    if (!in_time) {
        call->given_up = true;
        if (call->polling)
            wait_until(call, begin + seconds + ABORT_SECONDS);
    }
    pthread_mutex_unlock(&call->lock);
    return in_time;
}

#endif
