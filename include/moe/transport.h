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

#include "moe/device.h"
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
    /* The same in two halves, so that the caller may compute in between; several may be under way,
     * and are finished in any order that is the same on all ranks. NULL: alltoallv() does not hold the
     * caller up, or there is no such thing. */
    moe_status_t (*start_alltoallv)(moe_transport_t *t, const moe_alltoallv_t *x,
                                    moe_error_t *error);
    moe_status_t (*finish_alltoallv)(moe_transport_t *t, const moe_alltoallv_t *x,
                                     moe_error_t *error);
    /* Point to point, for algorithms: any number of starts, then one finish() that completes them
     * all: what is given to the device afterwards finds the rows. A transport may begin with a
     * message only when it is to be finished. 0 rows on both sides is skipped by the caller. Peer = this rank is not allowed. Messages
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
    /* Memory of the device for rows that this transport is to move, known to its library where that
     * makes it faster. Collective; no rank has it where one has not (MOE_BAD_INPUT on all). NULL: the
     * device's own alloc() and release() do. */
    moe_status_t (*alloc_rows)(moe_transport_t *t, const char *what, size_t bytes, void **out,
                               moe_error_t *error);
    void (*release_rows)(moe_transport_t *t, void *memory); /* collective */

    /* Counts, in host memory: what the metadata phase exchanges, by the library that moves rows. */
    moe_status_t (*alltoall_sizes)(moe_transport_t *t, const size_t *send, const size_t *send_count,
                                   size_t *recv, const size_t *recv_count, moe_error_t *error);
    /* The largest of all ranks' values, on all of them. */
    moe_status_t (*max_size)(moe_transport_t *t, size_t *value, moe_error_t *error);

    /* Control. barrier() waits for the device first, so that it is idle on all ranks. */
    moe_status_t (*barrier)(moe_transport_t *t, moe_error_t *error);
    moe_status_t (*broadcast)(moe_transport_t *t, void *bytes, size_t count, size_t root,
                              moe_error_t *error);
    moe_status_t (*allgather)(moe_transport_t *t, const void *mine, size_t bytes, void *all,
                              moe_error_t *error);
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
    /* What is under way, for messages: a constant string, or NULL. Read by a watchdog's thread. */
    const char *volatile doing;
    void *state; /* the transport's own */
};

/* `size` ranks in this process, without MPI: out[size] handles, each to be used by a thread of its
 * own and destroyed by it. For tests of everything else. */
moe_status_t moe_loopback_create(size_t size, moe_transport_t **out, moe_error_t *error);

/* Rows of a device's memory over a transport that moves host memory. Takes `inner` over (destroyed
 * with the handle, or on failure by the caller); `device` is borrowed. direct: `inner` is given device
 * memory as it is (CUDA-aware MPI); else rows are staged through pinned host memory. On `host` devices
 * nothing of this is needed. */
moe_status_t moe_staged_create(moe_transport_t *inner, moe_device_t *device, bool direct,
                               moe_transport_t **out, moe_error_t *error);

/* All ranks of MPI_COMM_WORLD. Initialises MPI (needs argc and argv as main() has them); destroying
 * the handle finalises it. MOE_BAD_INPUT where the library was built without MPI. */
moe_status_t moe_mpi_create(int *argc, char ***argv, moe_transport_t **out, moe_error_t *error);
bool moe_mpi_built_in(void);
/* Whether this MPI says that it takes memory of CUDA devices. */
bool moe_mpi_takes_cuda(void);

/* ---- NCCL: rows of a `cuda` device; what is small and in host memory goes over `control` ---- */

/* How memory of rows is made known to NCCL (docs/gpu.md). */
typedef enum moe_nccl_register {
    MOE_NCCL_REGISTER_OFF,
    MOE_NCCL_REGISTER_WINDOW,    /* ncclMemAlloc, and a window of the communicator */
    MOE_NCCL_REGISTER_SYMMETRIC, /* the same size on all ranks, and a symmetric window */
    MOE_NCCL_REGISTER_COPY       /* that, and a policy of no CTAs: copy engines where NCCL can */
} moe_nccl_register_t;

typedef struct moe_nccl_spec {
    moe_device_t *device;      /* cuda; borrowed */
    char label[96];            /* "host n1, GPU 0": who speaks, in messages */
    double timeout_seconds;    /* set-up that takes longer fails */
    size_t min_ctas, max_ctas; /* 0: NCCL's own choice */
    size_t channels_per_peer;  /* 0: NCCL's own choice */
    moe_nccl_register_t registration;
    bool share_gpu; /* ranks may share a GPU: sockets only, each rank a host of its own to NCCL */
} moe_nccl_spec_t;

/* What a record tells of a communicator. */
typedef struct moe_nccl_facts {
    char version[32]; /* "2.28.9", of the library that is loaded */
    moe_nccl_spec_t spec;
    bool has_alltoall; /* ncclAlltoAll: else equal blocks are grouped sends and receives too */
} moe_nccl_facts_t;

/* Who carried an exchange: kernels on the GPU's multiprocessors (CTAs), or its copy engines. */
typedef enum moe_nccl_path {
    MOE_NCCL_PATH_UNKNOWN,
    MOE_NCCL_PATH_KERNELS,
    MOE_NCCL_PATH_COPY_ENGINES
} moe_nccl_path_t;

bool moe_nccl_built_in(void);
/* Version of the library that is loaded; "" where the library was built without it. */
void moe_nccl_version(char *text, size_t size);
/* Collective over `control`, which is taken over on success (the caller's on failure). MOE_FAILED
 * where set-up fails or does not end in time. split() makes communicators by ncclCommSplit. */
moe_status_t moe_nccl_create(const moe_nccl_spec_t *spec, moe_transport_t *control,
                             moe_transport_t **out, moe_error_t *error);
const moe_nccl_facts_t *moe_nccl_facts(const moe_transport_t *t); /* NULL: not of this transport */
/* Collective: records the library's own exchange `x` (prepared) without doing it, and looks at what it
 * is made of. UNKNOWN where that cannot be told; always where blocks are not equal. */
moe_nccl_path_t moe_nccl_path(moe_transport_t *t, const moe_alltoallv_t *x);

#ifdef __cplusplus
}
#endif
#endif
