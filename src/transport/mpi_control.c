/* MPI: what ranks agree on around the exchanges. */
#include "moe/transport.h"

#ifdef MOE_HAVE_MPI

#include <stdlib.h>

#include "moe/simulated.h"
#include "moe/system.h"
#include "mpi_state.h"

/* Control data are small: whatever is longer is a mistake of the caller. */
#define CONTROL_REMEDY "this is more than a control message may hold"

/* Rows travel under another tag. */
#define CONTROL_TAG 1

static MPI_Comm comm_of(const moe_transport_t *t)
{
    const moe_mpi_state_t *state = t->state;
    return state->comm;
}

moe_status_t moe_mpi_barrier(moe_transport_t *t, moe_error_t *error)
{
    return moe_mpi_check(MPI_Barrier(comm_of(t)), "MPI_Barrier", error);
}

moe_status_t moe_mpi_broadcast(moe_transport_t *t, void *bytes, size_t count, size_t root,
                               moe_error_t *error)
{
    int n = 0;
    const moe_status_t status = moe_mpi_int(count, "bytes to broadcast", CONTROL_REMEDY, &n, error);
    if (status != MOE_OK)
        return status;
    return moe_mpi_check(MPI_Bcast(bytes, n, MPI_BYTE, (int)root, comm_of(t)), "MPI_Bcast", error);
}

moe_status_t moe_mpi_allgather(moe_transport_t *t, const void *mine, size_t bytes, void *all,
                               moe_error_t *error)
{
    int n = 0;
    const moe_status_t status = moe_mpi_int(bytes, "bytes to gather", CONTROL_REMEDY, &n, error);
    if (status != MOE_OK)
        return status;
    return moe_mpi_check(MPI_Allgather(mine, n, MPI_BYTE, all, n, MPI_BYTE, comm_of(t)),
                         "MPI_Allgather", error);
}

/* Blocks of count[rank] numbers side by side. */
static moe_status_t place_sizes(size_t size, const size_t *count, int *counts, int *first,
                                moe_error_t *error)
{
    size_t sum = 0;
    for (size_t rank = 0; rank < size; rank++) {
        moe_status_t status =
            moe_mpi_int(count[rank], "numbers for a rank", CONTROL_REMEDY, &counts[rank], error);
        if (status == MOE_OK)
            status = moe_mpi_int(sum, "numbers for all ranks", CONTROL_REMEDY, &first[rank], error);
        if (status != MOE_OK)
            return status;
        sum += count[rank];
    }
    return MOE_OK;
}

moe_status_t moe_mpi_alltoall_sizes(moe_transport_t *t, const size_t *send,
                                    const size_t *send_count, size_t *recv,
                                    const size_t *recv_count, moe_error_t *error)
{
    const moe_mpi_state_t *state = t->state;
    int *const send_counts = state->sizes_calls, *const send_first = send_counts + t->size;
    int *const recv_counts = send_first + t->size, *const recv_first = recv_counts + t->size;
    moe_status_t status = place_sizes(t->size, send_count, send_counts, send_first, error);
    if (status == MOE_OK)
        status = place_sizes(t->size, recv_count, recv_counts, recv_first, error);
    if (status != MOE_OK)
        return status;
    return moe_mpi_check(MPI_Alltoallv(send, send_counts, send_first, MPI_UINT64_T, recv,
                                       recv_counts, recv_first, MPI_UINT64_T, state->comm),
                         "MPI_Alltoallv", error);
}

static MPI_Op operation(moe_reduce_t how)
{
    switch (how) {
    case MOE_MAX:
        return MPI_MAX;
    case MOE_MIN:
        return MPI_MIN;
    case MOE_SUM:
        break;
    }
    return MPI_SUM;
}

static moe_status_t reduce(moe_transport_t *t, void *values, size_t count, MPI_Datatype type,
                           moe_reduce_t how, moe_error_t *error)
{
    int n = 0;
    const moe_status_t status = moe_mpi_int(count, "numbers to reduce", CONTROL_REMEDY, &n, error);
    if (status != MOE_OK)
        return status;
    return moe_mpi_check(MPI_Allreduce(MPI_IN_PLACE, values, n, type, operation(how), comm_of(t)),
                         "MPI_Allreduce", error);
}

/* Unsigned numbers in order become signed numbers in the same order, and back. */
static void flip_signs(size_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        values[i] ^= (size_t)1 << (8 * sizeof(size_t) - 1);
    }
}

moe_status_t moe_mpi_reduce_sizes(moe_transport_t *t, size_t *values, size_t count,
                                  moe_reduce_t how, moe_error_t *error)
{
    if (how == MOE_SUM) {
        return reduce(t, values, count, MPI_UINT64_T, how, error);
    }
    /* MPICH 4.0 orders unsigned numbers as signed ones (pmodels/mpich issue 6083), Open MPI 4.1 does on
     * some processors (open-mpi/ompi issue 10648): both order these alike. */
    flip_signs(values, count);
    const moe_status_t status = reduce(t, values, count, MPI_INT64_T, how, error);
    flip_signs(values, count);
    return status;
}

moe_status_t moe_mpi_max_size(moe_transport_t *t, size_t *value, moe_error_t *error)
{
    return moe_mpi_reduce_sizes(t, value, 1, MOE_MAX, error);
}

moe_status_t moe_mpi_reduce_doubles(moe_transport_t *t, double *values, size_t count,
                                    moe_reduce_t how, moe_error_t *error)
{
    return reduce(t, values, count, MPI_DOUBLE, how, error);
}

moe_status_t moe_mpi_exchange_bytes(moe_transport_t *t, size_t peer, const void *send, void *recv,
                                    size_t bytes, moe_error_t *error)
{
    int n = 0;
    const moe_status_t status = moe_mpi_int(bytes, "bytes to exchange", CONTROL_REMEDY, &n, error);
    if (status != MOE_OK)
        return status;
    if (recv == NULL)
        return moe_mpi_check(MPI_Send(send, n, MPI_BYTE, (int)peer, CONTROL_TAG, comm_of(t)),
                             "MPI_Send", error);
    if (send == NULL)
        return moe_mpi_check(
            MPI_Recv(recv, n, MPI_BYTE, (int)peer, CONTROL_TAG, comm_of(t), MPI_STATUS_IGNORE),
            "MPI_Recv", error);
    return moe_mpi_check(MPI_Sendrecv(send, n, MPI_BYTE, (int)peer, CONTROL_TAG, recv, n, MPI_BYTE,
                                      (int)peer, CONTROL_TAG, comm_of(t), MPI_STATUS_IGNORE),
                         "MPI_Sendrecv", error);
}

moe_status_t moe_mpi_split(moe_transport_t *t, int color, moe_transport_t **out, moe_error_t *error)
{
    MPI_Comm comm;
    const moe_status_t status = moe_mpi_check(
        MPI_Comm_split(comm_of(t), color, (int)t->rank, &comm), "MPI_Comm_split", error);
    return status == MOE_OK ? moe_mpi_handle_create(comm, false, out, error) : status;
}

/* The lowest rank that shares memory with this one. */
static moe_status_t find_leader(moe_transport_t *t, size_t *out, moe_error_t *error)
{
    MPI_Comm node;
    uint64_t leader = t->rank;
    moe_status_t status = moe_mpi_check(
        MPI_Comm_split_type(comm_of(t), MPI_COMM_TYPE_SHARED, (int)t->rank, MPI_INFO_NULL, &node),
        "MPI_Comm_split_type", error);
    if (status != MOE_OK)
        return status;
    status = moe_mpi_check(MPI_Bcast(&leader, 1, MPI_UINT64_T, 0, node), "MPI_Bcast", error);
    MPI_Comm_free(&node);
    if (status == MOE_OK)
        *out = leader;
    return status;
}

/* On a simulated network all ranks share memory; nodes are what the platform says. */
static moe_status_t find_simulated_leader(moe_transport_t *t, size_t *out, moe_error_t *error)
{
    const uint64_t mine = moe_simulated_node();
    void *memory;
    moe_status_t status = moe_alloc("ranks", t->size, sizeof mine, &memory, error);
    if (status != MOE_OK)
        return status;
    uint64_t *all = memory;
    status = moe_mpi_allgather(t, &mine, sizeof mine, all, error);
    *out = 0;
    while (status == MOE_OK && all[*out] != mine)
        (*out)++;
    free(all);
    return status;
}

moe_status_t moe_mpi_nodes(moe_transport_t *t, size_t *node, size_t *nodes, moe_error_t *error)
{
    size_t mine;
    void *memory;
    moe_status_t status = moe_alloc("ranks", t->size, sizeof(size_t), &memory, error);
    if (status != MOE_OK)
        return status;
    size_t *leaders = memory;
    status =
        moe_simulated() ? find_simulated_leader(t, &mine, error) : find_leader(t, &mine, error);
    if (status == MOE_OK)
        status = moe_mpi_allgather(t, &mine, sizeof mine, leaders, error);
    if (status == MOE_OK) {
        size_t all = 0, before = 0;
        for (size_t rank = 0; rank < t->size; rank++) {
            all += leaders[rank] == rank;
            before += rank < mine && leaders[rank] == rank;
        }
        *node = before;
        *nodes = all;
    }
    free(leaders);
    return status;
}

#endif
