/* A transport before another one: what it adds is in staged_rows.c, all else it passes on. */
#include "staged.h"

#include <stdlib.h>

#include "moe/system.h"

static moe_transport_t *inner_of(const moe_transport_t *t)
{
    return moe_staged_of(t)->inner;
}

static moe_status_t staged_row_type(moe_transport_t *t, size_t row_bytes, moe_row_type_t *out,
                                    moe_error_t *error)
{
    return inner_of(t)->ops->row_type(inner_of(t), row_bytes, out, error);
}

static moe_status_t staged_alltoall_sizes(moe_transport_t *t, const size_t *send,
                                          const size_t *send_count, size_t *recv,
                                          const size_t *recv_count, moe_error_t *error)
{
    return inner_of(t)->ops->alltoall_sizes(inner_of(t), send, send_count, recv, recv_count, error);
}

static moe_status_t staged_max_size(moe_transport_t *t, size_t *value, moe_error_t *error)
{
    return inner_of(t)->ops->max_size(inner_of(t), value, error);
}

static moe_status_t staged_barrier(moe_transport_t *t, moe_error_t *error)
{
    moe_device_t *d = moe_staged_of(t)->device;
    const moe_status_t status = d->ops->finish(d, error);
    return status == MOE_OK ? inner_of(t)->ops->barrier(inner_of(t), error) : status;
}

static moe_status_t staged_broadcast(moe_transport_t *t, void *bytes, size_t count, size_t root,
                                     moe_error_t *error)
{
    return inner_of(t)->ops->broadcast(inner_of(t), bytes, count, root, error);
}

static moe_status_t staged_allgather(moe_transport_t *t, const void *mine, size_t bytes, void *all,
                                     moe_error_t *error)
{
    return inner_of(t)->ops->allgather(inner_of(t), mine, bytes, all, error);
}

static moe_status_t staged_reduce_sizes(moe_transport_t *t, size_t *values, size_t count,
                                        moe_reduce_t how, moe_error_t *error)
{
    return inner_of(t)->ops->reduce_sizes(inner_of(t), values, count, how, error);
}

static moe_status_t staged_reduce_doubles(moe_transport_t *t, double *values, size_t count,
                                          moe_reduce_t how, moe_error_t *error)
{
    return inner_of(t)->ops->reduce_doubles(inner_of(t), values, count, how, error);
}

static moe_status_t staged_exchange_bytes(moe_transport_t *t, size_t peer, const void *send,
                                          void *recv, size_t bytes, moe_error_t *error)
{
    return inner_of(t)->ops->exchange_bytes(inner_of(t), peer, send, recv, bytes, error);
}

static moe_status_t staged_split(moe_transport_t *t, int color, moe_transport_t **out,
                                 moe_error_t *error)
{
    const moe_staged_state_t *state = moe_staged_of(t);
    moe_transport_t *part;
    const moe_status_t status = state->inner->ops->split(state->inner, color, &part, error);
    if (status != MOE_OK) {
        return status;
    }
    const moe_status_t made = moe_staged_create(part, state->device, state->direct, out, error);
    if (made != MOE_OK) {
        part->ops->destroy(part);
    }
    return made;
}

static moe_status_t staged_nodes(moe_transport_t *t, size_t *node, size_t *nodes,
                                 moe_error_t *error)
{
    return inner_of(t)->ops->nodes(inner_of(t), node, nodes, error);
}

static void staged_version(moe_transport_t *t, char *text, size_t size)
{
    inner_of(t)->ops->version(inner_of(t), text, size);
}

/* Called by a watchdog's thread too: nothing here is touched. */
static void staged_abort(moe_transport_t *t, moe_status_t status)
{
    inner_of(t)->ops->abort(inner_of(t), status);
}

static void staged_destroy(moe_transport_t *t)
{
    if (t == NULL)
        return;
    moe_staged_state_t *state = moe_staged_of(t);
    state->device->ops->finish(state->device, NULL);
    state->inner->ops->destroy(state->inner);
    moe_staged_free(state);
    free(state->messages);
    free(state);
    free(t);
}

static const moe_transport_ops_t staged_ops = {
    .row_type = staged_row_type,
    .prepare_alltoallv = moe_staged_prepare_alltoallv,
    .release_alltoallv = moe_staged_release_alltoallv,
    .alltoallv = moe_staged_alltoallv,
    .start_send = moe_staged_start_send,
    .start_recv = moe_staged_start_recv,
    .finish = moe_staged_finish,
    .finish_but = moe_staged_finish_but,
    .sum_floats = moe_staged_sum_floats,
    .alltoall_sizes = staged_alltoall_sizes,
    .max_size = staged_max_size,
    .barrier = staged_barrier,
    .broadcast = staged_broadcast,
    .allgather = staged_allgather,
    .reduce_sizes = staged_reduce_sizes,
    .reduce_doubles = staged_reduce_doubles,
    .exchange_bytes = staged_exchange_bytes,
    .split = staged_split,
    .nodes = staged_nodes,
    .version = staged_version,
    .abort = staged_abort,
    .destroy = staged_destroy,
};

moe_status_t moe_staged_create(moe_transport_t *inner, moe_device_t *device, bool direct,
                               moe_transport_t **out, moe_error_t *error)
{
    void *handle, *memory;
    moe_status_t status = moe_alloc("a transport", 1, sizeof(moe_transport_t), &handle, error);
    if (status != MOE_OK)
        return status;
    status = moe_alloc("a transport", 1, sizeof(moe_staged_state_t), &memory, error);
    if (status != MOE_OK) {
        free(handle);
        return status;
    }
    moe_staged_state_t *state = memory;
    *state =
        (moe_staged_state_t){.ops = staged_ops, .inner = inner, .device = device, .direct = direct};
    state->ops.name = inner->ops->name;
    if (inner->ops->start_alltoallv != NULL) {
        state->ops.start_alltoallv = moe_staged_start_alltoallv;
        state->ops.finish_alltoallv = moe_staged_finish_alltoallv;
    }
    moe_transport_t *t = handle;
    *t = (moe_transport_t){
        .ops = &state->ops, .rank = inner->rank, .size = inner->size, .state = state};
    *out = t;
    return MOE_OK;
}
