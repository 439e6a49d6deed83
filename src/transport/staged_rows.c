/* Rows of a device over a transport that moves host memory: the device is waited for, what is to be
 * sent is copied to host memory (or given as it is, `direct`), the inner transport moves it, and what
 * has arrived is copied to the device, in its order. */
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"
#include "row_blocks.h"
#include "staged.h"

static moe_status_t wait_for_device(const moe_staged_state_t *state, moe_error_t *error)
{
    return state->device->ops->finish(state->device, error);
}

/* ---- All-to-all-v ---- */

/* x->prepared where rows are staged. */
typedef struct exchange {
    moe_alltoallv_t inner; /* the same in host memory, as the inner transport has prepared it */
    size_t send_bytes, recv_bytes; /* from the first row of the buffer to the last of any block */
    size_t recv_at;                /* where the second begins in host memory */
    bool under_way;
} exchange_t;

static size_t reach(size_t size, const size_t *rows, const size_t *first)
{
    size_t end = 0;
    for (size_t rank = 0; rank < size; rank++) {
        if (rows[rank] > 0 && first[rank] + rows[rank] > end)
            end = first[rank] + rows[rank];
    }
    return end;
}

static void release_exchange(moe_staged_state_t *state, exchange_t *e)
{
    if (e != NULL && state->inner->ops->release_alltoallv != NULL)
        state->inner->ops->release_alltoallv(state->inner, &e->inner);
    free(e);
}

moe_status_t moe_staged_prepare_alltoallv(moe_transport_t *t, moe_alltoallv_t *x,
                                          moe_error_t *error)
{
    moe_staged_state_t *state = moe_staged_of(t);
    if (state->direct)
        return state->inner->ops->prepare_alltoallv(state->inner, x, error);
    moe_status_t status = moe_transport_check_blocks(t, x, error);
    if (status != MOE_OK)
        return status;
    void *memory;
    status = moe_alloc("a staged exchange", 1, sizeof(exchange_t), &memory, error);
    if (status != MOE_OK)
        return status;
    exchange_t *e = memory;
    e->inner = *x;
    e->inner.prepared = NULL;
    e->send_bytes = reach(t->size, x->send_rows, x->send_first) * x->row.bytes;
    e->recv_bytes = reach(t->size, x->recv_rows, x->recv_first) * x->row.bytes;
    /* Never the same place for both: Open MPI 4.1 takes that as MPI_IN_PLACE in nonblocking calls
     * (NBC_IN_PLACE of its coll/libnbc), on the rank that has nothing to send. */
    e->recv_at = moe_staged_rounded(e->send_bytes > 0 ? e->send_bytes : 1);
    status = state->inner->ops->prepare_alltoallv(state->inner, &e->inner, error);
    if (status != MOE_OK) {
        free(e);
        return status;
    }
    status = moe_staged_reserve(state, e->recv_at + e->recv_bytes, error);
    if (status != MOE_OK) {
        release_exchange(state, e);
        return status;
    }
    release_exchange(state, x->prepared);
    x->prepared = e;
    return MOE_OK;
}

void moe_staged_release_alltoallv(moe_transport_t *t, moe_alltoallv_t *x)
{
    moe_staged_state_t *state = moe_staged_of(t);
    if (!state->direct) {
        release_exchange(state, x->prepared);
        x->prepared = NULL;
    } else if (state->inner->ops->release_alltoallv != NULL) {
        state->inner->ops->release_alltoallv(state->inner, x);
    }
}

/* The blocks of one buffer, each to its place; blocks that lie side by side as one. */
static void copy_blocks(moe_staged_state_t *state, size_t size, void *to, const void *from,
                        const size_t *rows, const size_t *first, size_t row_bytes)
{
    for (size_t rank = 0; rank < size;) {
        const size_t begin = first[rank];
        size_t end = begin + rows[rank];
        for (rank++; rank < size && (rows[rank] == 0 || first[rank] == end); rank++)
            end += rows[rank];
        if (end > begin)
            moe_staged_copy(state, (char *)to + begin * row_bytes,
                            (const char *)from + begin * row_bytes, (end - begin) * row_bytes);
    }
}

/* Host memory for both sides, with the rows to be sent in it. */
static moe_status_t bring_to_host(const moe_transport_t *t, const moe_alltoallv_t *x,
                                  moe_error_t *error)
{
    moe_staged_state_t *state = moe_staged_of(t);
    exchange_t *e = x->prepared;
    void *memory;
    moe_status_t status = wait_for_device(state, error);
    if (status == MOE_OK)
        status = moe_staged_take(state, e->recv_at + e->recv_bytes, &memory, error);
    if (status != MOE_OK)
        return status;
    e->inner.send = memory;
    e->inner.recv = (char *)memory + e->recv_at;
    e->under_way = true;
    if (e->send_bytes == 0)
        return MOE_OK;
    copy_blocks(state, t->size, memory, x->send, x->send_rows, x->send_first, x->row.bytes);
    return wait_for_device(state, error);
}

static void bring_to_device(const moe_transport_t *t, const moe_alltoallv_t *x)
{
    moe_staged_state_t *state = moe_staged_of(t);
    exchange_t *e = x->prepared;
    copy_blocks(state, t->size, x->recv, e->inner.recv, x->recv_rows, x->recv_first, x->row.bytes);
    e->under_way = false;
    moe_staged_give_back(state);
}

static moe_status_t check_order(const char *call, bool right, const char *order, moe_error_t *error)
{
    return right ? MOE_OK : moe_fail(error, MOE_FAILED, "%s: called %s", call, order);
}

moe_status_t moe_staged_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x, moe_error_t *error)
{
    moe_staged_state_t *state = moe_staged_of(t);
    moe_transport_t *inner = state->inner;
    exchange_t *e = x->prepared;
    if (state->direct) {
        const moe_status_t status = wait_for_device(state, error);
        return status == MOE_OK ? inner->ops->alltoallv(inner, x, error) : status;
    }
    moe_status_t status = check_order("alltoallv", e != NULL, "before prepare_alltoallv", error);
    if (status == MOE_OK)
        status = bring_to_host(t, x, error);
    if (status == MOE_OK)
        status = inner->ops->alltoallv(inner, &e->inner, error);
    if (status == MOE_OK)
        bring_to_device(t, x);
    return status;
}

moe_status_t moe_staged_start_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x,
                                        moe_error_t *error)
{
    moe_staged_state_t *state = moe_staged_of(t);
    moe_transport_t *inner = state->inner;
    exchange_t *e = x->prepared;
    if (state->direct) {
        const moe_status_t status = wait_for_device(state, error);
        return status == MOE_OK ? inner->ops->start_alltoallv(inner, x, error) : status;
    }
    moe_status_t status =
        check_order("start_alltoallv", e != NULL, "before prepare_alltoallv", error);
    if (status == MOE_OK)
        status = check_order("start_alltoallv", !e->under_way, "while this exchange is under way",
                             error);
    if (status == MOE_OK)
        status = bring_to_host(t, x, error);
    return status == MOE_OK ? inner->ops->start_alltoallv(inner, &e->inner, error) : status;
}

moe_status_t moe_staged_finish_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x,
                                         moe_error_t *error)
{
    moe_staged_state_t *state = moe_staged_of(t);
    moe_transport_t *inner = state->inner;
    exchange_t *e = x->prepared;
    if (state->direct)
        return inner->ops->finish_alltoallv(inner, x, error);
    moe_status_t status =
        check_order("finish_alltoallv", e != NULL && e->under_way, "before start_alltoallv", error);
    if (status == MOE_OK)
        status = inner->ops->finish_alltoallv(inner, &e->inner, error);
    if (status == MOE_OK)
        bring_to_device(t, x);
    return status;
}

/* ---- Point to point: the inner transport gets the messages when the first of them is to be finished,
 * so that the device is waited for once, and not for each ---- */

static moe_status_t start(moe_transport_t *t, moe_staged_message_t message, moe_error_t *error)
{
    moe_staged_state_t *state = moe_staged_of(t);
    if (message.peer >= t->size || message.peer == t->rank)
        return moe_fail(error, MOE_FAILED, "%s: rank %zu of %zu has no peer %zu",
                        message.sends ? "start_send" : "start_recv", t->rank, t->size,
                        message.peer);
    const moe_status_t status = moe_grow("messages", state->count, sizeof *state->messages,
                                         (void **)&state->messages, &state->room, error);
    if (status != MOE_OK)
        return status;
    state->messages[state->count++] = message;
    return MOE_OK;
}

moe_status_t moe_staged_start_send(moe_transport_t *t, const void *rows, size_t count,
                                   moe_row_type_t row, size_t to, moe_error_t *error)
{
    return start(t,
                 (moe_staged_message_t){
                     .sends = true, .rows = (void *)rows, .count = count, .row = row, .peer = to},
                 error);
}

moe_status_t moe_staged_start_recv(moe_transport_t *t, void *rows, size_t count, moe_row_type_t row,
                                   size_t from, moe_error_t *error)
{
    return start(t, (moe_staged_message_t){.rows = rows, .count = count, .row = row, .peer = from},
                 error);
}

/* Memory that the inner transport can use for the messages from `begin` on. */
static moe_status_t bring_messages(moe_staged_state_t *state, size_t begin, moe_error_t *error)
{
    moe_status_t status = wait_for_device(state, error);
    bool copied = false;
    for (size_t i = begin; status == MOE_OK && i < state->count; i++) {
        moe_staged_message_t *m = &state->messages[i];
        const size_t bytes = m->count * m->row.bytes;
        if (state->direct)
            m->host = m->rows;
        else
            status = moe_staged_take(state, bytes, &m->host, error);
        if (status == MOE_OK && m->sends && !state->direct) {
            moe_staged_copy(state, m->host, m->rows, bytes);
            copied = true;
        }
    }
    return status == MOE_OK && copied ? wait_for_device(state, error) : status;
}

static moe_status_t begin_messages(moe_staged_state_t *state, moe_error_t *error)
{
    moe_transport_t *inner = state->inner;
    size_t begin = 0;
    while (begin < state->count && state->messages[begin].begun)
        begin++;
    if (begin == state->count)
        return MOE_OK;
    moe_status_t status = bring_messages(state, begin, error);
    for (size_t i = begin; status == MOE_OK && i < state->count; i++) {
        moe_staged_message_t *m = &state->messages[i];
        status = m->sends
                     ? inner->ops->start_send(inner, m->host, m->count, m->row, m->peer, error)
                     : inner->ops->start_recv(inner, m->host, m->count, m->row, m->peer, error);
        m->begun = true;
    }
    return status;
}

moe_status_t moe_staged_finish_but(moe_transport_t *t, size_t latest, moe_error_t *error)
{
    moe_staged_state_t *state = moe_staged_of(t);
    moe_transport_t *inner = state->inner;
    if (state->count <= latest)
        return MOE_OK;
    moe_status_t status = begin_messages(state, error);
    if (status == MOE_OK)
        status = inner->ops->finish_but(inner, latest, error);
    if (status != MOE_OK)
        return status;
    const size_t through = state->count - latest;
    for (size_t i = 0; !state->direct && i < through; i++) {
        const moe_staged_message_t *m = &state->messages[i];
        if (!m->sends)
            moe_staged_copy(state, m->rows, m->host, m->count * m->row.bytes);
        moe_staged_give_back(state);
    }
    memmove(state->messages, state->messages + through, latest * sizeof *state->messages);
    state->count = latest;
    return MOE_OK;
}

moe_status_t moe_staged_finish(moe_transport_t *t, moe_error_t *error)
{
    return moe_staged_finish_but(t, 0, error);
}

/* ---- Gradients ---- */

/* Floats that pass through host memory at a time: 64 MiB of them. */
#define SUM_CHUNK ((size_t)16 << 20)

static moe_status_t sum_chunk(moe_staged_state_t *state, float *host, float *values, size_t count,
                              moe_error_t *error)
{
    moe_transport_t *inner = state->inner;
    moe_staged_copy(state, host, values, count * sizeof *values);
    moe_status_t status = wait_for_device(state, error);
    if (status == MOE_OK)
        status = inner->ops->sum_floats(inner, host, count, error);
    if (status == MOE_OK)
        moe_staged_copy(state, values, host, count * sizeof *values);
    return status == MOE_OK ? wait_for_device(state, error) : status;
}

moe_status_t moe_staged_sum_floats(moe_transport_t *t, float *values, size_t count,
                                   moe_error_t *error)
{
    moe_staged_state_t *state = moe_staged_of(t);
    moe_transport_t *inner = state->inner;
    const size_t most = count < SUM_CHUNK ? count : SUM_CHUNK;
    void *host = NULL;
    moe_status_t status = wait_for_device(state, error);
    if (status == MOE_OK && state->direct)
        return inner->ops->sum_floats(inner, values, count, error);
    if (status == MOE_OK)
        status = moe_staged_take(state, most * sizeof *values, &host, error);
    if (status != MOE_OK)
        return status;
    for (size_t done = 0; status == MOE_OK && done < count; done += most) {
        const size_t rest = count - done;
        status = sum_chunk(state, host, values + done, rest < most ? rest : most, error);
    }
    moe_staged_give_back(state);
    return status;
}
