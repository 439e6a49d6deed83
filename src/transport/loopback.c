/* The transport of one process: its ranks are threads. It exists to test everything that stands
 * on a transport, so it checks what MPI lets pass: both sides of a message must agree in size. */
#include "loopback.h"

#include <stdio.h>
#include <stdlib.h>

#include "moe/system.h"
#include "row_blocks.h"

static moe_status_t loopback_row_type(moe_transport_t *t, size_t row_bytes, moe_row_type_t *out,
                                      moe_error_t *error)
{
    (void)t;
    if (row_bytes == 0)
        return moe_fail(error, MOE_BAD_INPUT, "a row of 0 bytes: it needs at least 1");
    *out = (moe_row_type_t){.bytes = row_bytes};
    return MOE_OK;
}

static moe_status_t loopback_prepare(moe_transport_t *t, moe_alltoallv_t *x, moe_error_t *error)
{
    return moe_transport_check_blocks(t, x, error);
}

static moe_status_t loopback_nodes(moe_transport_t *t, size_t *node, size_t *nodes,
                                   moe_error_t *error)
{
    const moe_status_t status = moe_loopback_barrier(t, error);
    if (status == MOE_OK) {
        *node = 0;
        *nodes = 1;
    }
    return status;
}

static void loopback_version(moe_transport_t *t, char *text, size_t size)
{
    (void)t;
    snprintf(text, size, "loopback: threads of one process");
}

static void free_handle(moe_transport_t *t)
{
    free(t->state);
    free(t);
}

static void loopback_destroy(moe_transport_t *t)
{
    if (t == NULL)
        return;
    moe_loopback_group_t *group = moe_loopback_group(t);
    moe_loopback_drop_messages(t);
    free_handle(t);
    moe_loopback_group_leave(group);
}

static const moe_transport_ops_t loopback_ops = {
    .name = "loopback",
    .row_type = loopback_row_type,
    .prepare_alltoallv = loopback_prepare,
    .alltoallv = moe_loopback_alltoallv,
    .start_send = moe_loopback_start_send,
    .start_recv = moe_loopback_start_recv,
    .finish = moe_loopback_finish,
    .finish_but = moe_loopback_finish_but,
    .sum_floats = moe_loopback_sum_floats,
    .barrier = moe_loopback_barrier,
    .broadcast = moe_loopback_broadcast,
    .allgather = moe_loopback_allgather,
    .alltoall_sizes = moe_loopback_alltoall_sizes,
    .max_size = moe_loopback_max_size,
    .reduce_sizes = moe_loopback_reduce_sizes,
    .reduce_doubles = moe_loopback_reduce_doubles,
    .exchange_bytes = moe_loopback_exchange_bytes,
    .split = moe_loopback_split,
    .nodes = loopback_nodes,
    .version = loopback_version,
    .abort = moe_loopback_abort,
    .destroy = loopback_destroy,
};

moe_status_t moe_loopback_handle_create(moe_loopback_group_t *group, size_t rank,
                                        moe_transport_t **out, moe_error_t *error)
{
    void *handle, *memory;
    moe_status_t status = moe_alloc("a transport", 1, sizeof(moe_transport_t), &handle, error);
    if (status != MOE_OK)
        return status;
    status = moe_alloc("a transport", 1, sizeof(moe_loopback_state_t), &memory, error);
    if (status != MOE_OK) {
        free(handle);
        return status;
    }
    moe_loopback_state_t *state = memory;
    state->group = group;
    moe_transport_t *t = handle;
    *t = (moe_transport_t){.ops = &loopback_ops, .rank = rank, .size = group->size, .state = state};
    *out = t;
    return MOE_OK;
}

moe_status_t moe_loopback_create(size_t size, moe_transport_t **out, moe_error_t *error)
{
    moe_loopback_group_t *group;
    moe_status_t status = moe_loopback_group_of_all(size, &group, error);
    if (status != MOE_OK)
        return status;
    size_t made = 0;
    while (status == MOE_OK && made < size) {
        status = moe_loopback_handle_create(group, made, &out[made], error);
        made += status == MOE_OK;
    }
    if (status == MOE_OK)
        return MOE_OK;
    for (size_t rank = 0; rank < size; rank++) {
        if (rank < made)
            free_handle(out[rank]);
        moe_loopback_group_leave(group);
    }
    return status;
}
