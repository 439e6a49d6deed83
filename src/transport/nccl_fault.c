/* NCCL: what went wrong, how a rank learns of it, and the end of all. */
#include "moe/transport.h"

#ifdef MOE_HAVE_NCCL

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "nccl_state.h"

/* The rank that has the cause of a failure speaks first: the others wait that long before they say that
 * another rank has failed. */
#define OTHERS_WAIT_SECONDS 1.0
/* An abort may hang as the call did that it is to end. */
#define ABORT_SECONDS 2.0

double moe_nccl_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void sleep_for(double seconds)
{
    const struct timespec time = {.tv_sec = (time_t)seconds,
                                  .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&time, NULL);
}

void moe_nccl_let_others_speak(void)
{
    sleep_for(OTHERS_WAIT_SECONDS);
}

void moe_nccl_last_error(ncclComm_t comm, char *text, size_t size)
{
    const char *words = ncclGetLastError(comm);
    size_t used = 0;
    text[0] = '\0';
    if (words == NULL)
        return;
    while (*words == ' ' || *words == '\n')
        words++;
    if (*words == '\0')
        return;
    snprintf(text, size, ": %s", words);
    for (char *c = text; *c != '\0'; c++) {
        if (*c == '\n' || *c == '\r')
            *c = ' ';
        if (*c != ' ')
            used = (size_t)(c - text) + 1;
    }
    text[used] = '\0';
}

static const char *doing(const moe_nccl_state_t *state)
{
    const char *what = state->t != NULL ? state->t->doing : NULL;
    return what != NULL ? what : "exchange";
}

/* The program is being ended by another thread: this one has nothing to add. With a control transport
 * whose abort() returns, it goes on when that has. */
moe_status_t moe_nccl_fail_ended(moe_nccl_run_t *run, moe_error_t *error)
{
    pthread_mutex_lock(&run->lock);
    while (!run->abort_ended)
        pthread_cond_wait(&run->abort_ended_changed, &run->lock);
    pthread_mutex_unlock(&run->lock);
    return moe_fail(error, MOE_FAILED, "rank %zu (%s): the run was ended", run->world_rank,
                    run->facts.spec.label);
}

moe_status_t moe_nccl_fail(moe_nccl_state_t *state, ncclResult_t result, const char *call,
                           moe_error_t *error)
{
    moe_nccl_run_t *run = state->run;
    char last[MOE_NCCL_CALL_TEXT] = "";
    if (atomic_load(&run->aborted))
        return moe_nccl_fail_ended(run, error);
    if (result == ncclRemoteError)
        moe_nccl_let_others_speak();
    moe_nccl_last_error(state->comm, last, sizeof last);
    return moe_fail(error, MOE_FAILED, "rank %zu (%s): %s: %s failed: %s%s", run->world_rank,
                    run->facts.spec.label, doing(state), call, ncclGetErrorString(result), last);
}

/* ---- Operations that go on behind their call ---- */

#define SPINS         1000
#define SLEEP_SECONDS 50e-6

moe_status_t moe_nccl_await(moe_nccl_state_t *state, const char *call, moe_error_t *error)
{
    moe_nccl_run_t *run = state->run;
    const double limit = run->facts.spec.timeout_seconds, begin = moe_nccl_now();
    for (size_t turn = 0;; turn++) {
        ncclResult_t result = ncclSuccess;
        pthread_mutex_lock(&run->lock);
        const bool aborted = atomic_load(&run->aborted);
        const ncclResult_t asked =
            aborted ? ncclSuccess : ncclCommGetAsyncError(state->comm, &result);
        pthread_mutex_unlock(&run->lock);
        if (aborted)
            return moe_nccl_fail_ended(run, error);
        if (asked != ncclSuccess)
            return moe_nccl_fail(state, asked, "ncclCommGetAsyncError", error);
        if (result == ncclSuccess)
            return MOE_OK;
        if (result != ncclInProgress)
            return moe_nccl_fail(state, result, call, error);
        if (moe_nccl_now() - begin > limit)
            return moe_fail(error, MOE_FAILED,
                            "rank %zu (%s): %s: %s is still in progress after %g s",
                            run->world_rank, run->facts.spec.label, doing(state), call, limit);
        if (turn > SPINS)
            sleep_for(SLEEP_SECONDS);
    }
}

/* ---- Failures that no call returns ---- */

/* Under the lock. The first handle whose communicator has failed by itself, else one that has because of
 * another rank; NULL: none. */
static moe_nccl_state_t *find_failed(moe_nccl_run_t *run, ncclResult_t *result)
{
    moe_nccl_state_t *found = NULL;
    for (moe_nccl_state_t *s = run->handles; s != NULL; s = s->next) {
        ncclResult_t now = ncclSuccess;
        const ncclResult_t asked = ncclCommGetAsyncError(s->comm, &now);
        now = asked != ncclSuccess ? asked : now;
        if (now == ncclSuccess || now == ncclInProgress ||
            (found != NULL && now == ncclRemoteError))
            continue;
        found = s;
        *result = now;
        if (now != ncclRemoteError)
            break;
    }
    return found;
}

moe_status_t moe_nccl_poll(void *context, moe_error_t *error)
{
    moe_nccl_run_t *run = context;
    ncclResult_t result = ncclSuccess;
    char last[MOE_NCCL_CALL_TEXT] = "";
    const char *what = NULL;
    pthread_mutex_lock(&run->lock);
    const bool aborted = atomic_load(&run->aborted);
    moe_nccl_state_t *failed = aborted ? NULL : find_failed(run, &result);
    if (failed != NULL && result == ncclRemoteError && run->remote_since == 0)
        run->remote_since = moe_nccl_now();
    if (failed != NULL && result == ncclRemoteError &&
        moe_nccl_now() - run->remote_since < OTHERS_WAIT_SECONDS)
        failed = NULL;
    if (failed != NULL) {
        moe_nccl_last_error(failed->comm, last, sizeof last);
        what = doing(failed);
    }
    pthread_mutex_unlock(&run->lock);
    if (aborted)
        return moe_nccl_fail_ended(run, error);
    if (failed == NULL)
        return MOE_OK;
    return moe_fail(error, MOE_FAILED,
                    "rank %zu (%s): %s: NCCL reports an asynchronous error: %s%s", run->world_rank,
                    run->facts.spec.label, what, ncclGetErrorString(result), last);
}

/* ---- The end ---- */

static ncclResult_t make_abort(moe_nccl_call_t *call)
{
    for (size_t i = 0; i < call->bytes; i++)
        (void)ncclCommAbort(call->comms[i]);
    return ncclSuccess;
}

/* Under the lock: all communicators of the run. */
static void collect_comms(const moe_nccl_run_t *run, moe_nccl_call_t *call)
{
    size_t count = 0;
    for (const moe_nccl_state_t *s = run->handles; s != NULL; s = s->next)
        count++;
    call->comms = malloc((count > 0 ? count : 1) * sizeof(ncclComm_t));
    for (const moe_nccl_state_t *s = run->handles; s != NULL && call->comms != NULL; s = s->next)
        call->comms[call->bytes++] = s->comm;
}

/* Called by a watchdog's thread while the rank's own thread is inside NCCL or waits for the device: the
 * abort frees the communicators, so nobody may ask them anything afterwards (`aborted`). */
void moe_nccl_abort(moe_transport_t *t, moe_status_t status)
{
    const moe_nccl_state_t *state = moe_nccl_of(t);
    moe_nccl_run_t *run = state->run;
    moe_nccl_call_t *call = NULL;
    const bool made = moe_nccl_call_create(run, make_abort, &call, NULL) == MOE_OK;
    pthread_mutex_lock(&run->lock);
    const bool first = !atomic_exchange(&run->aborted, true);
    if (first && made)
        collect_comms(run, call);
    pthread_mutex_unlock(&run->lock);
    if (first && made)
        (void)moe_nccl_bounded(call, ABORT_SECONDS);
    if (made)
        moe_nccl_call_leave(call);
    state->control->ops->abort(state->control, status);
    pthread_mutex_lock(&run->lock);
    run->abort_ended = true;
    pthread_cond_broadcast(&run->abort_ended_changed);
    pthread_mutex_unlock(&run->lock);
}

#endif
