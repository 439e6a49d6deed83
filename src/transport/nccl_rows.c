/* NCCL: rows. All is given to the stream of the device's current lane and has happened when the device
 * comes to what it is given next; only the giving is waited for. */
#include "moe/transport.h"

#ifdef MOE_HAVE_NCCL

#include <stdlib.h>
#include <string.h>

#include "../device/cuda_state.h"
#include "moe/system.h"
#include "nccl_state.h"
#include "row_blocks.h"

/* A library older than the header may be loaded: it lacks this, and is not asked for it. */
#if MOE_NCCL_HEADER_HAS_ALLTOALL
#pragma weak ncclAlltoAll
#endif

moe_status_t moe_nccl_row_type(moe_transport_t *t, size_t row_bytes, moe_row_type_t *out,
                               moe_error_t *error)
{
    (void)t;
    if (row_bytes == 0)
        return moe_fail(error, MOE_BAD_INPUT, "a row of 0 bytes: it needs at least 1");
    *out = (moe_row_type_t){.bytes = row_bytes};
    return MOE_OK;
}

/* ---- Groups of messages ----
 * A group is one kernel (or a few), in which all its messages go on at the same time; it ends when all
 * of them have. NCCL sets no limit to their number. */

/* Within a group: what goes on behind the call does so for the whole group. */
static ncclResult_t in_group(ncclResult_t result)
{
    return result == ncclInProgress ? ncclSuccess : result;
}

static ncclResult_t put_message(const moe_nccl_state_t *state, const moe_nccl_message_t *m,
                                cudaStream_t stream)
{
    return in_group(m->sends ? ncclSend(m->rows, m->bytes, ncclInt8, m->peer, state->comm, stream)
                             : ncclRecv(m->rows, m->bytes, ncclInt8, m->peer, state->comm, stream));
}

/* Ends the group also where something in it was refused: NCCL counts them. */
static moe_status_t end_group(moe_nccl_state_t *state, ncclResult_t so_far, const char *call,
                              moe_error_t *error)
{
    const ncclResult_t ended = ncclGroupEnd();
    return so_far != ncclSuccess ? moe_nccl_fail(state, so_far, call, error)
                                 : moe_nccl_check(state, ended, "ncclGroupEnd", error);
}

/* ---- All-to-all-v ---- */

moe_status_t moe_nccl_prepare_alltoallv(moe_transport_t *t, moe_alltoallv_t *x, moe_error_t *error)
{
    const moe_status_t status = moe_transport_check_blocks(t, x, error);
    if (status == MOE_OK)
        x->prepared = t; /* there is nothing to keep */
    return status;
}

void moe_nccl_release_alltoallv(moe_transport_t *t, moe_alltoallv_t *x)
{
    (void)t;
    x->prepared = NULL;
}

/* One block each way, from and to the ranks at a distance of `step`; empty ones on neither side. The own
 * block goes the same way, as with all who write an all-to-all-v on NCCL. */
static ncclResult_t put_step(const moe_transport_t *t, const moe_alltoallv_t *x, size_t step,
                             cudaStream_t stream, const char **call)
{
    const moe_nccl_state_t *state = moe_nccl_of(t);
    const size_t to = (t->rank + step) % t->size, from = (t->rank + t->size - step) % t->size;
    const size_t row = x->row.bytes;
    ncclResult_t result = ncclSuccess;
    *call = "ncclSend";
    if (x->send_rows[to] > 0)
        result = in_group(ncclSend((const char *)x->send + x->send_first[to] * row,
                                   x->send_rows[to] * row, ncclInt8, (int)to, state->comm, stream));
    if (result != ncclSuccess || x->recv_rows[from] == 0)
        return result;
    *call = "ncclRecv";
    return in_group(ncclRecv((char *)x->recv + x->recv_first[from] * row, x->recv_rows[from] * row,
                             ncclInt8, (int)from, state->comm, stream));
}

static moe_status_t put_blocks(const moe_transport_t *t, const moe_alltoallv_t *x,
                               cudaStream_t stream, moe_error_t *error)
{
    moe_nccl_state_t *state = moe_nccl_of(t);
    const char *call = "ncclGroupStart";
    ncclResult_t result = ncclGroupStart();
    if (result != ncclSuccess)
        return moe_nccl_fail(state, result, call, error);
    for (size_t step = 0; result == ncclSuccess && step < t->size; step++)
        result = put_step(t, x, step, stream, &call);
    return end_group(state, result, call, error);
}

/* One block that goes to all, as long as everybody's: an all-gather. All ranks see it alike: blocks that
 * are one are not in any other exchange, and the length of all others' is in recv_rows. */
static bool is_allgather(const moe_transport_t *t, const moe_alltoallv_t *x)
{
    const size_t rows = x->send_rows[0];
    bool same = t->size > 1 && rows > 0;
    for (size_t p = 0; same && p < t->size; p++)
        same = x->send_rows[p] == rows && x->send_first[p] == x->send_first[0] &&
               x->recv_rows[p] == rows && x->recv_first[p] == x->recv_first[0] + p * rows;
    return same;
}

moe_status_t moe_nccl_put_alltoallv(const moe_transport_t *t, const moe_alltoallv_t *x,
                                    cudaStream_t stream, moe_error_t *error)
{
    moe_nccl_state_t *state = moe_nccl_of(t);
    const size_t row = x->row.bytes;
    if (is_allgather(t, x))
        return moe_nccl_check(state,
                              ncclAllGather((const char *)x->send + x->send_first[0] * row,
                                            (char *)x->recv + x->recv_first[0] * row,
                                            x->send_rows[0] * row, ncclInt8, state->comm, stream),
                              "ncclAllGather", error);
#if MOE_NCCL_HEADER_HAS_ALLTOALL
    if (x->uniform && state->run->facts.has_alltoall)
        return x->send_rows[0] == 0
                   ? MOE_OK
                   : moe_nccl_check(state,
                                    ncclAlltoAll(x->send, x->recv, x->send_rows[0] * row, ncclInt8,
                                                 state->comm, stream),
                                    "ncclAlltoAll", error);
#endif
    return put_blocks(t, x, stream, error);
}

moe_status_t moe_nccl_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x, moe_error_t *error)
{
    if (x->prepared == NULL)
        return moe_fail(error, MOE_FAILED, "alltoallv: called before prepare_alltoallv");
    const moe_status_t status = moe_nccl_enter(moe_nccl_of(t), error);
    if (status != MOE_OK)
        return status;
    return moe_nccl_put_alltoallv(t, x, moe_cuda_stream(moe_nccl_device(moe_nccl_of(t))), error);
}

/* ---- Point to point ---- */

static moe_status_t queue(moe_transport_t *t, moe_nccl_message_t message, size_t peer,
                          moe_error_t *error)
{
    moe_nccl_state_t *state = moe_nccl_of(t);
    if (peer >= t->size || peer == t->rank)
        return moe_fail(error, MOE_FAILED, "%s: rank %zu of %zu has no peer %zu",
                        message.sends ? "start_send" : "start_recv", t->rank, t->size, peer);
    const moe_status_t status = moe_grow("messages", state->count, sizeof *state->messages,
                                         (void **)&state->messages, &state->room, error);
    if (status != MOE_OK)
        return status;
    message.peer = (int)peer;
    state->messages[state->count++] = message;
    return MOE_OK;
}

moe_status_t moe_nccl_start_send(moe_transport_t *t, const void *rows, size_t count,
                                 moe_row_type_t row, size_t to, moe_error_t *error)
{
    const moe_nccl_message_t message = {
        .sends = true, .rows = (void *)rows, .bytes = count * row.bytes};
    return queue(t, message, to, error);
}

moe_status_t moe_nccl_start_recv(moe_transport_t *t, void *rows, size_t count, moe_row_type_t row,
                                 size_t from, moe_error_t *error)
{
    return queue(t, (moe_nccl_message_t){.rows = rows, .bytes = count * row.bytes}, from, error);
}

moe_status_t moe_nccl_finish_but(moe_transport_t *t, size_t latest, moe_error_t *error)
{
    moe_nccl_state_t *state = moe_nccl_of(t);
    if (state->count <= latest)
        return MOE_OK;
    const moe_status_t status = moe_nccl_enter(state, error);
    if (status != MOE_OK)
        return status;
    const size_t count = state->count - latest;
    const cudaStream_t stream = moe_cuda_stream(moe_nccl_device(state));
    ncclResult_t result = ncclGroupStart();
    if (result != ncclSuccess)
        return moe_nccl_fail(state, result, "ncclGroupStart", error);
    const char *call = "ncclSend";
    for (size_t i = 0; result == ncclSuccess && i < count; i++) {
        call = state->messages[i].sends ? "ncclSend" : "ncclRecv";
        result = put_message(state, &state->messages[i], stream);
    }
    memmove(state->messages, state->messages + count, latest * sizeof *state->messages);
    state->count = latest;
    return end_group(state, result, call, error);
}

moe_status_t moe_nccl_finish(moe_transport_t *t, moe_error_t *error)
{
    return moe_nccl_finish_but(t, 0, error);
}

/* ---- Gradients ---- */

moe_status_t moe_nccl_sum_floats(moe_transport_t *t, float *values, size_t count,
                                 moe_error_t *error)
{
    moe_nccl_state_t *state = moe_nccl_of(t);
    const moe_status_t status = count > 0 ? moe_nccl_enter(state, error) : MOE_OK;
    if (count == 0 || status != MOE_OK)
        return status;
    return moe_nccl_check(state,
                          ncclAllReduce(values, values, count, ncclFloat32, ncclSum, state->comm,
                                        moe_cuda_stream(moe_nccl_device(state))),
                          "ncclAllReduce", error);
}

#endif
