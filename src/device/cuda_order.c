/* Lanes of a GPU, points in time, and waiting for it. */
#include "moe/device.h"

#ifdef MOE_HAVE_CUDA

#include <sched.h>
#include <stdlib.h>

#include "cuda.h"

/* ---- Watches ---- */

moe_status_t moe_cuda_watch(moe_device_t *d, moe_cuda_poll_fn poll, void *context,
                            moe_error_t *error)
{
    moe_cuda_state_t *state = d->state;
    if (state->watches == MOE_CUDA_WATCHES) {
        return moe_fail(error, MOE_FAILED,
                        "a GPU has at most %d communicators that are watched at a time",
                        MOE_CUDA_WATCHES);
    }
    state->watch[state->watches++] = (moe_cuda_watch_entry_t){.poll = poll, .context = context};
    return MOE_OK;
}

void moe_cuda_unwatch(moe_device_t *d, void *context)
{
    moe_cuda_state_t *state = d->state;
    size_t kept = 0;
    for (size_t i = 0; i < state->watches; i++) {
        if (state->watch[i].context != context) {
            state->watch[kept++] = state->watch[i];
        }
    }
    state->watches = kept;
}

static moe_status_t ask_watches(const moe_cuda_state_t *state, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < state->watches; i++) {
        status = state->watch[i].poll(state->watch[i].context, error);
    }
    return status;
}

/* ---- Waiting ---- */

/* Rounds of asking, about a microsecond each, before the core is offered to others: ranks that share
 * cores must let each other come to the point that they wait for. */
#define EAGER_ROUNDS 100

/* Waits for `count` streams. The watches are asked once at least: what they know of may have left the
 * streams empty. */
static moe_status_t wait_for(const moe_cuda_state_t *state, const cudaStream_t *stream,
                             size_t count, moe_error_t *error)
{
    for (size_t round = 0;; round++) {
        bool busy = false;
        for (size_t i = 0; i < count; i++) {
            const cudaError_t code = cudaStreamQuery(stream[i]);
            if (code == cudaErrorNotReady) {
                busy = true;
            } else if (code != cudaSuccess) {
                (void)cudaGetLastError();
                return moe_cuda_fail(code, "waiting for the GPU", error);
            }
        }
        const moe_status_t status = ask_watches(state, error);
        if (status != MOE_OK || !busy) {
            return status;
        }
        if (round >= EAGER_ROUNDS) {
            (void)sched_yield();
        }
    }
}

bool moe_cuda_wait_for_lane(moe_cuda_state_t *state)
{
    return state->failed.status == MOE_OK &&
           wait_for(state, &state->stream[state->lane], 1, &state->failed) == MOE_OK;
}

/* A failure that is noted ends the wait before it begins: where a rank failed to give its part of an
 * exchange, the others' parts, and so its own stream, may wait for it for ever. */
moe_status_t moe_cuda_finish(moe_device_t *d, moe_error_t *error)
{
    moe_cuda_state_t *state = moe_cuda_ready(d);
    if (state != NULL && !moe_cuda_recording(state, "waiting for the GPU")) {
        (void)wait_for(state, state->stream, MOE_LANES, &state->failed);
    }
    state = d->state;
    if (state->failed.status == MOE_OK) {
        return MOE_OK;
    }
    const moe_error_t failed = state->failed;
    state->failed = (moe_error_t){.status = MOE_OK};
    return moe_fail(error, failed.status, "%s", failed.text);
}

/* ---- Events ---- */

#define FIRST_MARKS ((size_t)256)

/* Makes room for `needed` events, and the events. */
static bool grow(moe_cuda_state_t *state, cudaEvent_t **events, size_t *made, size_t needed,
                 unsigned flags)
{
    if (needed <= *made) {
        return true;
    }
    cudaEvent_t *grown = realloc(*events, needed * sizeof(cudaEvent_t));
    if (grown == NULL) {
        moe_cuda_note_text(state, "no memory for %zu points in time", needed);
        return false;
    }
    *events = grown;
    for (; *made < needed; (*made)++) {
        if (!moe_cuda_note(state, cudaEventCreateWithFlags(&grown[*made], flags),
                           "cudaEventCreateWithFlags")) {
            return false;
        }
    }
    return true;
}

void moe_cuda_mark(moe_device_t *d)
{
    moe_cuda_state_t *state = moe_cuda_ready(d);
    if (state == NULL || moe_cuda_recording(state, "a point in time")) {
        return;
    }
    /* Twice as many each time: events are made in the first repetitions, and then no more. */
    const size_t room = state->mark_room > 0 ? 2 * state->mark_room : FIRST_MARKS;
    if (state->marks == state->mark_room &&
        !grow(state, &state->mark, &state->mark_room, room, cudaEventDefault)) {
        return;
    }
    if (moe_cuda_note(state, cudaEventRecord(state->mark[state->marks], state->stream[state->lane]),
                      "cudaEventRecord")) {
        state->marks++;
    }
}

moe_status_t moe_cuda_read_marks(moe_device_t *d, double *seconds, size_t count, moe_error_t *error)
{
    moe_cuda_state_t *state = d->state;
    const size_t made = state->marks;
    moe_status_t status = moe_cuda_finish(d, error);
    state->marks = 0;
    if (status == MOE_OK && made != count) {
        status = moe_fail(error, MOE_FAILED, "%zu points in time were to be read, %zu were made",
                          count, made);
    }
    for (size_t i = 0; status == MOE_OK && i < count; i++) {
        float milliseconds = 0;
        status = moe_cuda_check(cudaEventElapsedTime(&milliseconds, state->mark[0], state->mark[i]),
                                "cudaEventElapsedTime", error);
        seconds[i] = 1e-3 * (double)milliseconds;
    }
    return status;
}

/* ---- Lanes ---- */

void moe_cuda_lane(moe_device_t *d, moe_lane_t lane)
{
    moe_cuda_state_t *state = d->state;
    state->lane = lane;
}

cudaStream_t moe_cuda_stream(const moe_device_t *d)
{
    const moe_cuda_state_t *state = d->state;
    return state->stream[state->lane];
}

void moe_cuda_sign(moe_device_t *d, size_t number)
{
    moe_cuda_state_t *state = moe_cuda_ready(d);
    if (state != NULL &&
        grow(state, &state->sign, &state->signs, number + 1, cudaEventDisableTiming)) {
        (void)moe_cuda_note(state, cudaEventRecord(state->sign[number], state->stream[state->lane]),
                            "cudaEventRecord");
    }
}

void moe_cuda_await(moe_device_t *d, size_t number)
{
    moe_cuda_state_t *state = moe_cuda_ready(d);
    if (state != NULL && number < state->signs) {
        (void)moe_cuda_note(state,
                            cudaStreamWaitEvent(state->stream[state->lane], state->sign[number], 0),
                            "cudaStreamWaitEvent");
    }
}

void moe_cuda_drop_events(moe_cuda_state_t *state)
{
    for (size_t i = 0; i < state->mark_room; i++) {
        (void)cudaEventDestroy(state->mark[i]);
    }
    for (size_t i = 0; i < state->signs; i++) {
        (void)cudaEventDestroy(state->sign[i]);
    }
}

#endif
