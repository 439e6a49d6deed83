/* Inside of the MPI transport. */
#ifndef MOE_TRANSPORT_MPI_STATE_H
#define MOE_TRANSPORT_MPI_STATE_H

#include <mpi.h>

#include "moe/transport.h"

/* size_t travels as MPI_UINT64_T. */
_Static_assert(sizeof(size_t) == sizeof(uint64_t), "size_t has 64 bits");

/* A datatype of one row; handles in moe_row_type_t point here. */
typedef struct moe_mpi_row {
    size_t bytes;
    MPI_Datatype type;
    struct moe_mpi_row *next;
} moe_mpi_row_t;

typedef struct moe_mpi_state {
    MPI_Comm comm;
    bool finalise; /* this handle has initialised MPI */
    moe_mpi_row_t *rows;
    MPI_Request *requests; /* [capacity] of start_send() and start_recv() */
    MPI_Status *statuses;  /* [capacity] */
    size_t started, capacity;
    int *
        sizes_calls; /* [4][ranks] of alltoall_sizes(), which is timed: not allocated in the call */
} moe_mpi_state_t;

/* MOE_FAILED with the call's name and MPI's text. */
moe_status_t moe_mpi_fail(int code, const char *call, moe_error_t *error);
/* In the timed calls: here, so that success costs one comparison. */
static inline moe_status_t moe_mpi_check(int code, const char *call, moe_error_t *error)
{
    return code == MPI_SUCCESS ? MOE_OK : moe_mpi_fail(code, call, error);
}
/* A number for MPI's int arguments; `what` and `remedy` for the message. */
moe_status_t moe_mpi_int(size_t value, const char *what, const char *remedy, int *out,
                         moe_error_t *error);

/* A handle on `comm`, which it owns from then on (also on failure). */
moe_status_t moe_mpi_handle_create(MPI_Comm comm, bool finalise, moe_transport_t **out,
                                   moe_error_t *error);

/* ---- Rows (mpi_rows.c) ---- */

moe_status_t moe_mpi_row_type(moe_transport_t *t, size_t row_bytes, moe_row_type_t *out,
                              moe_error_t *error);
moe_status_t moe_mpi_prepare_alltoallv(moe_transport_t *t, moe_alltoallv_t *x, moe_error_t *error);
void moe_mpi_release_alltoallv(moe_transport_t *t, moe_alltoallv_t *x);
moe_status_t moe_mpi_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x, moe_error_t *error);
moe_status_t moe_mpi_start_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x,
                                     moe_error_t *error);
moe_status_t moe_mpi_finish_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x,
                                      moe_error_t *error);
moe_status_t moe_mpi_start_send(moe_transport_t *t, const void *rows, size_t count,
                                moe_row_type_t row, size_t to, moe_error_t *error);
moe_status_t moe_mpi_start_recv(moe_transport_t *t, void *rows, size_t count, moe_row_type_t row,
                                size_t from, moe_error_t *error);
moe_status_t moe_mpi_finish(moe_transport_t *t, moe_error_t *error);
moe_status_t moe_mpi_finish_but(moe_transport_t *t, size_t latest, moe_error_t *error);
moe_status_t moe_mpi_sum_floats(moe_transport_t *t, float *values, size_t count,
                                moe_error_t *error);

/* ---- Control (mpi_control.c) ---- */

moe_status_t moe_mpi_barrier(moe_transport_t *t, moe_error_t *error);
moe_status_t moe_mpi_broadcast(moe_transport_t *t, void *bytes, size_t count, size_t root,
                               moe_error_t *error);
moe_status_t moe_mpi_allgather(moe_transport_t *t, const void *mine, size_t bytes, void *all,
                               moe_error_t *error);
moe_status_t moe_mpi_alltoall_sizes(moe_transport_t *t, const size_t *send,
                                    const size_t *send_count, size_t *recv,
                                    const size_t *recv_count, moe_error_t *error);
moe_status_t moe_mpi_max_size(moe_transport_t *t, size_t *value, moe_error_t *error);
moe_status_t moe_mpi_reduce_sizes(moe_transport_t *t, size_t *values, size_t count,
                                  moe_reduce_t how, moe_error_t *error);
moe_status_t moe_mpi_reduce_doubles(moe_transport_t *t, double *values, size_t count,
                                    moe_reduce_t how, moe_error_t *error);
moe_status_t moe_mpi_exchange_bytes(moe_transport_t *t, size_t peer, const void *send, void *recv,
                                    size_t bytes, moe_error_t *error);
moe_status_t moe_mpi_split(moe_transport_t *t, int color, moe_transport_t **out,
                           moe_error_t *error);
moe_status_t moe_mpi_nodes(moe_transport_t *t, size_t *node, size_t *nodes, moe_error_t *error);

#endif
