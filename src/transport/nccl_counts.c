/* NCCL: counts, which the host has and needs. They go to the device, between the ranks, and back, and the
 * host waits for them: that is what the counts of an exchange cost on GPUs. */
#include "moe/transport.h"

#ifdef MOE_HAVE_NCCL

#include <string.h>

#include "../device/cuda_state.h"
#include "nccl_state.h"

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "size_t travels as ncclUint64");

#define FIRST_NUMBERS ((size_t)1024)

void moe_nccl_free_counts(moe_nccl_state_t *state)
{
    moe_device_t *d = moe_nccl_device(state);
    moe_cuda_release_pinned(d, state->pinned);
    d->ops->release(d, state->on_device);
    state->pinned = state->on_device = NULL;
    state->numbers = 0;
}

/* Room for that many; got when an exchange of this size is first made. */
static moe_status_t reserve(moe_nccl_state_t *state, size_t numbers, moe_error_t *error)
{
    moe_device_t *d = moe_nccl_device(state);
    void *pinned, *on_device;
    moe_status_t status = moe_nccl_enter(state, error);
    if (status != MOE_OK || numbers <= state->numbers)
        return status;
    size_t room = state->numbers > 0 ? state->numbers : FIRST_NUMBERS;
    while (room < numbers)
        room *= 2;
    moe_nccl_free_counts(state);
    status = moe_cuda_alloc_pinned(d, "counts", room * sizeof *state->pinned, &pinned, error);
    if (status != MOE_OK)
        return status;
    status = d->ops->alloc(d, "counts", room * sizeof *state->on_device, &on_device, error);
    if (status != MOE_OK) {
        moe_cuda_release_pinned(d, pinned);
        return status;
    }
    state->pinned = pinned;
    state->on_device = on_device;
    state->numbers = room;
    return MOE_OK;
}

static size_t sum(const size_t *count, size_t ranks)
{
    size_t all = 0;
    for (size_t rank = 0; rank < ranks; rank++)
        all += count[rank];
    return all;
}

/* Blocks of all other ranks: out of the first `sent` numbers on the device, into those behind them. */
static moe_status_t put_counts(const moe_transport_t *t, const size_t *send_count,
                               const size_t *recv_count, size_t sent, moe_error_t *error)
{
    moe_nccl_state_t *state = moe_nccl_of(t);
    const cudaStream_t stream = moe_cuda_stream(moe_nccl_device(state));
    const size_t *from = state->on_device;
    size_t *to = state->on_device + sent;
    const char *call = "ncclGroupStart";
    ncclResult_t result = ncclGroupStart();
    if (result != ncclSuccess)
        return moe_nccl_fail(state, result, call, error);
    for (size_t rank = 0; rank < t->size; rank++) {
        const bool other = rank != t->rank && result == ncclSuccess;
        if (other && send_count[rank] > 0) {
            call = "ncclSend";
            result = ncclSend(from, send_count[rank], ncclUint64, (int)rank, state->comm, stream);
        }
        result = result == ncclInProgress ? ncclSuccess : result;
        if (other && result == ncclSuccess && recv_count[rank] > 0) {
            call = "ncclRecv";
            result = ncclRecv(to, recv_count[rank], ncclUint64, (int)rank, state->comm, stream);
        }
        result = result == ncclInProgress ? ncclSuccess : result;
        from += send_count[rank];
        to += recv_count[rank];
    }
    const ncclResult_t ended = ncclGroupEnd();
    return result != ncclSuccess ? moe_nccl_fail(state, result, call, error)
                                 : moe_nccl_check(state, ended, "ncclGroupEnd", error);
}

moe_status_t moe_nccl_alltoall_sizes(moe_transport_t *t, const size_t *send,
                                     const size_t *send_count, size_t *recv,
                                     const size_t *recv_count, moe_error_t *error)
{
    moe_nccl_state_t *state = moe_nccl_of(t);
    moe_device_t *d = moe_nccl_device(state);
    const size_t sent = sum(send_count, t->size), got = sum(recv_count, t->size);
    moe_status_t status = reserve(state, sent + got, error);
    if (status != MOE_OK)
        return status;
    if (sent > 0)
        memcpy(state->pinned, send, sent * sizeof *send);
    moe_cuda_copy_pinned(d, state->on_device, state->pinned, sent * sizeof *send);
    status = put_counts(t, send_count, recv_count, sent, error);
    if (status != MOE_OK)
        return status;
    moe_cuda_copy_pinned(d, state->pinned + sent, state->on_device + sent, got * sizeof *recv);
    status = d->ops->finish(d, error);
    if (status != MOE_OK)
        return status;
    if (got > 0)
        memcpy(recv, state->pinned + sent, got * sizeof *recv);
    if (send_count[t->rank] > 0)
        memcpy(recv + sum(recv_count, t->rank), send + sum(send_count, t->rank),
               send_count[t->rank] * sizeof *recv);
    return MOE_OK;
}

moe_status_t moe_nccl_max_size(moe_transport_t *t, size_t *value, moe_error_t *error)
{
    moe_nccl_state_t *state = moe_nccl_of(t);
    moe_device_t *d = moe_nccl_device(state);
    moe_status_t status = reserve(state, 1, error);
    if (status != MOE_OK)
        return status;
    *state->pinned = *value;
    moe_cuda_copy_pinned(d, state->on_device, state->pinned, sizeof *value);
    status = moe_nccl_check(state,
                            ncclAllReduce(state->on_device, state->on_device, 1, ncclUint64,
                                          ncclMax, state->comm, moe_cuda_stream(d)),
                            "ncclAllReduce", error);
    if (status != MOE_OK)
        return status;
    moe_cuda_copy_pinned(d, state->pinned, state->on_device, sizeof *value);
    status = d->ops->finish(d, error);
    if (status == MOE_OK)
        *value = *state->pinned;
    return status;
}

#endif
