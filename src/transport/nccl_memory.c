/* NCCL: memory of rows that NCCL knows, so that it need not copy them into buffers of its own. */
#include "moe/transport.h"

#ifdef MOE_HAVE_NCCL

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>

#include "moe/system.h"
#include "nccl_state.h"

/* Later than the oldest NCCL that may be loaded. */
#if MOE_NCCL_HEADER_HAS_REGISTER
#pragma weak ncclMemAlloc
#pragma weak ncclMemFree
#pragma weak ncclCommRegister
#pragma weak ncclCommDeregister
#endif
#if MOE_NCCL_HEADER_HAS_WINDOWS
#pragma weak ncclCommWindowRegister
#pragma weak ncclCommWindowDeregister
#endif

#ifdef NCCL_WIN_REQUIRED_ALIGNMENT
#define ALIGNMENT ((size_t)NCCL_WIN_REQUIRED_ALIGNMENT)
#else
#define ALIGNMENT ((size_t)4096) /* of NCCL 2.28, which was the first to say so */
#endif

#if MOE_NCCL_HEADER_HAS_REGISTER

/* Windows, where header and library have them. */
static bool by_window(const moe_nccl_run_t *run)
{
    return MOE_NCCL_HEADER_HAS_WINDOWS && moe_nccl_has(run, NCCL_VERSION(2, 27, 0));
}

static ncclResult_t make_window(moe_nccl_call_t *call)
{
    call->polled = call->comm;
#if MOE_NCCL_HEADER_HAS_WINDOWS
    ncclWindow_t window = NULL;
    const ncclResult_t result =
        ncclCommWindowRegister(call->comm, call->memory, call->bytes, &window, call->flags);
    call->handle = window;
    return result;
#else
    return ncclInvalidUsage;
#endif
}

static ncclResult_t make_register(moe_nccl_call_t *call)
{
    call->polled = call->comm;
    return ncclCommRegister(call->comm, call->memory, call->bytes, &call->handle);
}

static ncclResult_t make_end_window(moe_nccl_call_t *call)
{
    call->polled = call->comm;
#if MOE_NCCL_HEADER_HAS_WINDOWS
    return ncclCommWindowDeregister(call->comm, call->handle);
#else
    return ncclInvalidUsage;
#endif
}

static ncclResult_t make_deregister(moe_nccl_call_t *call)
{
    call->polled = call->comm;
    return ncclCommDeregister(call->comm, call->handle);
}

/* Tells NCCL of the memory. A window that NCCL cannot make use of is no failure: it gives none, and the
 * path that was really taken is found out by moe_nccl_path(). */
static moe_status_t register_memory(moe_nccl_state_t *state, size_t bytes, moe_nccl_memory_t *m,
                                    moe_error_t *error)
{
    const moe_nccl_run_t *run = state->run;
    const bool window = by_window(run);
    const char *name = window ? "ncclCommWindowRegister" : "ncclCommRegister";
    moe_nccl_call_t *call;
    moe_status_t status =
        moe_nccl_call_create(run, window ? make_window : make_register, &call, error);
    if (status != MOE_OK)
        return status;
    call->comm = state->comm;
    call->memory = m->memory;
    call->bytes = bytes;
#if MOE_NCCL_HEADER_HAS_WINDOWS
    call->flags = run->facts.spec.registration == MOE_NCCL_REGISTER_WINDOW
                      ? NCCL_WIN_DEFAULT
                      : NCCL_WIN_COLL_SYMMETRIC;
#endif
    if (!moe_nccl_bounded(call, run->facts.spec.timeout_seconds))
        status =
            moe_fail(error, MOE_FAILED, "rank %zu (%s): %s did not end within %g s",
                     run->world_rank, run->facts.spec.label, name, run->facts.spec.timeout_seconds);
    else if (call->result != ncclSuccess)
        status = moe_fail(error, MOE_BAD_INPUT,
                          "rank %zu (%s): %s failed: %s%s: leave out "
                          "--nccl-register",
                          run->world_rank, run->facts.spec.label, name,
                          ncclGetErrorString(call->result), call->text);
    m->registered = status == MOE_OK;
    m->handle = call->handle;
    moe_nccl_call_leave(call);
    return status;
}

static void deregister_memory(moe_nccl_state_t *state, const moe_nccl_memory_t *m)
{
    const moe_nccl_run_t *run = state->run;
    moe_nccl_call_t *call;
    if (!m->registered || m->handle == NULL ||
        moe_nccl_call_create(run, by_window(run) ? make_end_window : make_deregister, &call,
                             NULL) != MOE_OK)
        return;
    call->comm = state->comm;
    call->handle = m->handle;
    (void)moe_nccl_bounded(call, run->facts.spec.timeout_seconds);
    moe_nccl_call_leave(call);
}

static moe_status_t get_memory(const moe_nccl_state_t *state, const char *what, size_t bytes,
                               void **out, moe_error_t *error)
{
    char needed[16], last[MOE_NCCL_CALL_TEXT] = "";
    (void)cudaSetDevice(state->run->gpu);
    const ncclResult_t result = ncclMemAlloc(out, bytes);
    if (result == ncclSuccess)
        return MOE_OK;
    (void)cudaGetLastError(); /* else it is found again, by whoever asks for the last one */
    moe_nccl_last_error(NULL, last, sizeof last);
    return moe_fail(error, MOE_BAD_INPUT,
                    "rank %zu (%s): %s: ncclMemAlloc of %s failed: %s%s: lower --tokens, --hidden "
                    "or the ranks that share the GPU",
                    state->run->world_rank, state->run->facts.spec.label, what,
                    moe_format_bytes((double)bytes, needed), ncclGetErrorString(result), last);
}

static void free_memory(moe_nccl_memory_t *m)
{
    if (m->memory != NULL)
        (void)ncclMemFree(m->memory);
    free(m);
}

/* Windows must have the same size on all ranks, and begin and end on a page of NCCL's. */
static moe_status_t common_size(moe_transport_t *control, size_t *bytes, moe_error_t *error)
{
    if (*bytes == 0)
        *bytes = 1;
    *bytes = *bytes <= SIZE_MAX - ALIGNMENT ? (*bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT
                                            : SIZE_MAX / ALIGNMENT * ALIGNMENT;
    return control->ops->reduce_sizes(control, bytes, 1, MOE_MAX, error);
}

/* Memory that all ranks have got. */
static moe_status_t get_on_all(moe_nccl_state_t *state, const char *what, size_t bytes,
                               moe_nccl_memory_t **out, moe_error_t *error)
{
    void *memory = NULL;
    moe_status_t status = moe_alloc(what, 1, sizeof **out, &memory, error);
    moe_nccl_memory_t *m = memory;
    if (status == MOE_OK)
        status = get_memory(state, what, bytes, &m->memory, error);
    status = moe_nccl_agree(state->control, status, "has no memory for rows", error);
    if (status == MOE_OK)
        *out = m;
    else if (m != NULL)
        free_memory(m);
    return status;
}

static moe_status_t alloc_registered(moe_nccl_state_t *state, const char *what, size_t bytes,
                                     void **out, moe_error_t *error)
{
    moe_device_t *d = moe_nccl_device(state);
    moe_nccl_memory_t *m;
    moe_status_t status = common_size(state->control, &bytes, error);
    /* Registration waits for all ranks: either all begin it, or none. */
    if (status == MOE_OK)
        status = get_on_all(state, what, bytes, &m, error);
    if (status != MOE_OK)
        return status;
    status = register_memory(state, bytes, m, error);
    if (status == MOE_OK) {
        d->ops->fill_bytes(d, m->memory, 0, bytes);
        status = d->ops->finish(d, error);
    }
    status = moe_nccl_agree(state->control, status, "could not register its rows", error);
    if (status != MOE_OK) {
        deregister_memory(state, m);
        free_memory(m);
        return status;
    }
    m->next = state->memory;
    state->memory = m;
    *out = m->memory;
    return MOE_OK;
}

static bool release_registered(moe_nccl_state_t *state, const void *memory)
{
    moe_device_t *d = moe_nccl_device(state);
    for (moe_nccl_memory_t **at = &state->memory; *at != NULL; at = &(*at)->next) {
        moe_nccl_memory_t *m = *at;
        if (m->memory != memory)
            continue;
        *at = m->next;
        if (d->ops->finish(d, NULL) == MOE_OK) { /* else it stays: the device may be using it */
            deregister_memory(state, m);
            free_memory(m);
        }
        return true;
    }
    return false;
}

#else

static moe_status_t alloc_registered(moe_nccl_state_t *state, const char *what, size_t bytes,
                                     void **out, moe_error_t *error)
{
    (void)state, (void)what, (void)bytes, (void)out;
    return moe_fail(error, MOE_BAD_INPUT, "--nccl-register: this NCCL has no registration");
}

static bool release_registered(moe_nccl_state_t *state, const void *memory)
{
    (void)state, (void)memory;
    return false;
}

#endif

moe_status_t moe_nccl_alloc_rows(moe_transport_t *t, const char *what, size_t bytes, void **out,
                                 moe_error_t *error)
{
    moe_nccl_state_t *state = moe_nccl_of(t);
    moe_device_t *d = moe_nccl_device(state);
    void *memory = NULL;
    if (state->run->facts.spec.registration != MOE_NCCL_REGISTER_OFF)
        return alloc_registered(state, what, bytes, out, error);
    moe_status_t status = d->ops->alloc(d, what, bytes, &memory, error);
    status = moe_nccl_agree(state->control, status, "has no memory for rows", error);
    if (status == MOE_OK)
        *out = memory;
    else if (memory != NULL)
        d->ops->release(d, memory);
    return status;
}

void moe_nccl_release_rows(moe_transport_t *t, void *memory)
{
    moe_nccl_state_t *state = moe_nccl_of(t);
    moe_device_t *d = moe_nccl_device(state);
    if (memory != NULL && !release_registered(state, memory))
        d->ops->release(d, memory);
}

#endif
