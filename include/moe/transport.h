/* Transports: how rows get from one rank to another. One ops table each (src/transport/).
 *
 * A handle belongs to one rank and one group of ranks; calls on it are collective in the same order
 * on all ranks of the group unless said otherwise. Buffers of rows lie in device memory that the
 * transport can reach; everything under "control" is small and lies in host memory.
 * All functions return MOE_FAILED with a message that names the call when the transport fails. */
#ifndef MOE_TRANSPORT_H
#define MOE_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moe_transport moe_transport_t;

/* A datatype for one token row. */
typedef struct moe_row_type {
    size_t bytes;
    void *handle; /* the transport's own */
} moe_row_type_t;

/* One all-to-all-v. Arrays have one entry a rank; `first` is where a block starts. All in rows. */
typedef struct moe_alltoallv {
    moe_row_type_t row;
    const void *send;
    const size_t *send_rows, *send_first;
    void *recv;
    const size_t *recv_rows, *recv_first;
    bool uniform; /* all blocks of all ranks have send_rows[0] rows, and lie side by side */
    size_t ranks_per_node; /* ranks r and s share a node where r / ranks_per_node == s /
                              ranks_per_node; 0: not known, all on one */
    void *state;           /* the algorithm's own */
    void *prepared; /* by prepare_alltoallv(); NULL before it and after release_alltoallv() */
} moe_alltoallv_t;

typedef enum moe_reduce { MOE_SUM, MOE_MAX, MOE_MIN } moe_reduce_t;

typedef struct moe_transport_ops {
    const char *name;
    /* Datatypes stay valid until destroy(); asking twice for a size gives the same one. Local. */
    moe_status_t (*row_type)(moe_transport_t *t, size_t row_bytes, moe_row_type_t *out,
                             moe_error_t *error);
    /* The library's own collectives. prepare_alltoallv() is local: it converts counts and refuses
     * what the transport cannot count (more than INT_MAX rows for MPI), so that the timed call does
     * no more than the library's call. The arrays must not change between the two. */
    moe_status_t (*prepare_alltoallv)(moe_transport_t *t, moe_alltoallv_t *x, moe_error_t *error);
    void (*release_alltoallv)(moe_transport_t *t, moe_alltoallv_t *x); /* not prepared: no effect */
    moe_status_t (*alltoallv)(moe_transport_t *t, const moe_alltoallv_t *x, moe_error_t *error);
    /* Point to point, for algorithms: any number of starts, then one finish() that completes them
     * all. 0 rows on both sides is skipped by the caller. Peer = this rank is not allowed. Messages
     * between two ranks arrive in the order in which they were started. */
    moe_status_t (*start_send)(moe_transport_t *t, const void *rows, size_t count,
                               moe_row_type_t row, size_t to, moe_error_t *error);
    moe_status_t (*start_recv)(moe_transport_t *t, void *rows, size_t count, moe_row_type_t row,
                               size_t from, moe_error_t *error);
    moe_status_t (*finish)(moe_transport_t *t, moe_error_t *error);
    /* Completes all but the `latest` that were started last. */
    moe_status_t (*finish_but)(moe_transport_t *t, size_t latest, moe_error_t *error);
    /* Sum of `count` floats over the group, in place, in device memory (gradients). */
    moe_status_t (*sum_floats)(moe_transport_t *t, float *values, size_t count, moe_error_t *error);
    /* Control. */
    moe_status_t (*barrier)(moe_transport_t *t, moe_error_t *error);
    moe_status_t (*broadcast)(moe_transport_t *t, void *bytes, size_t count, size_t root,
                              moe_error_t *error);
    moe_status_t (*allgather)(moe_transport_t *t, const void *mine, size_t bytes, void *all,
                              moe_error_t *error);
    moe_status_t (*alltoall_sizes)(moe_transport_t *t, const size_t *send, const size_t *send_count,
                                   size_t *recv, const size_t *recv_count, moe_error_t *error);
    moe_status_t (*reduce_sizes)(moe_transport_t *t, size_t *values, size_t count, moe_reduce_t how,
                                 moe_error_t *error); /* all ranks get the result */
    moe_status_t (*reduce_doubles)(moe_transport_t *t, double *values, size_t count,
                                   moe_reduce_t how, moe_error_t *error);
    /* A message of control to and from one peer (not this rank), both of `bytes` bytes; where `send`
     * or `recv` is NULL, the other way only. Of the two ranks alone, and not while messages of rows
     * are under way. Returns when `recv` has arrived, and `send` may be written again. */
    moe_status_t (*exchange_bytes)(moe_transport_t *t, size_t peer, const void *send, void *recv,
                                   size_t bytes, moe_error_t *error);
    /* A handle for the ranks that gave the same color (0 or more), ordered by their rank here. */
    moe_status_t (*split)(moe_transport_t *t, int color, moe_transport_t **out, moe_error_t *error);
    /* Ranks that share memory with this one get the same *node, counted from 0 by lowest rank. */
    moe_status_t (*nodes)(moe_transport_t *t, size_t *node, size_t *nodes, moe_error_t *error);
    /* Version of the library, one line. Local. */
    void (*version)(moe_transport_t *t, char *text, size_t size);
    /* Ends the program on all ranks with that exit status. Local; does not return for MPI; for
     * loopback every call of the group that is under way or follows returns MOE_FAILED. */
    void (*abort)(moe_transport_t *t, moe_status_t status);
    void (*destroy)(moe_transport_t *t); /* collective */
} moe_transport_ops_t;

struct moe_transport {
    const moe_transport_ops_t *ops;
    size_t rank, size;
    void *state; /* the transport's own */
};

/* `size` ranks in this process, without MPI: out[size] handles, each to be used by a thread of its
 * own and destroyed by it. For tests of everything else. */
moe_status_t moe_loopback_create(size_t size, moe_transport_t **out, moe_error_t *error);

/* All ranks of MPI_COMM_WORLD. Initialises MPI (needs argc and argv as main() has them); destroying
 * the handle finalises it. MOE_BAD_INPUT where the library was built without MPI. */
moe_status_t moe_mpi_create(int *argc, char ***argv, moe_transport_t **out, moe_error_t *error);
bool moe_mpi_built_in(void);

#ifdef __cplusplus
}
#endif
#endif
