/* Inside of the NCCL transport: the handle and its life (nccl.c), what a communicator is made with
 * (nccl_setup.c), calls that may not return and what went wrong (nccl_call.c, nccl_fault.c), rows and
 * counts (nccl_rows.c, nccl_counts.c), memory that NCCL knows (nccl_memory.c), and who carried an
 * exchange (nccl_path.c). */
#ifndef MOE_TRANSPORT_NCCL_STATE_H
#define MOE_TRANSPORT_NCCL_STATE_H

#include <nccl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "moe/transport.h"

#if NCCL_VERSION_CODE < NCCL_VERSION(2, 18, 0)
#error "NCCL 2.18 or later is needed (ncclCommSplit); NCCL_HOME= names another one"
#endif

/* What came later, by the header; whether the library that is loaded has it too is asked when it runs
 * (moe_nccl_has()). Sources: src/nccl.h.in of NVIDIA/nccl at these versions. */
#define MOE_NCCL_HEADER_HAS_REGISTER (NCCL_VERSION_CODE >= NCCL_VERSION(2, 19, 0))
#define MOE_NCCL_HEADER_HAS_WINDOWS  (NCCL_VERSION_CODE >= NCCL_VERSION(2, 27, 0))
#define MOE_NCCL_HEADER_HAS_ALLTOALL (NCCL_VERSION_CODE >= NCCL_VERSION(2, 28, 0))

/* Communicators are blocking: on others, every group is handed to a thread that NCCL starts for it
 * (ncclGroupEndInternal() in its src/group.cc, 2.28), which would be measured with each exchange. What
 * may not return for want of another rank is called in a thread of ours instead (moe_nccl_bounded()).
 * NCCL_COMM_BLOCKING=0 overrides this; ncclInProgress is then waited for everywhere. */
#define MOE_NCCL_BLOCKING 1

typedef struct moe_nccl_state moe_nccl_state_t;

/* What all handles of one moe_nccl_create() share. */
typedef struct moe_nccl_run {
    moe_nccl_facts_t facts;
    int version; /* of the library that is loaded, as a NCCL_VERSION_CODE */
    int gpu;     /* as CUDA numbers it */
    size_t world_rank;
    atomic_bool aborted; /* communicators are not to be touched any more; set under the lock */
    pthread_mutex_t lock;
    pthread_cond_t abort_ended_changed;
    /* Under the lock: */
    moe_nccl_state_t *handles;
    bool abort_ended;
    double remote_since; /* when another rank's failure was first seen; 0: not yet */
} moe_nccl_run_t;

/* A message that is queued. */
typedef struct moe_nccl_message {
    bool sends;
    void *rows; /* of a send: only read */
    size_t bytes;
    int peer;
} moe_nccl_message_t;

/* Memory from alloc_rows(). */
typedef struct moe_nccl_memory {
    void *memory;
    bool registered;
    void *handle; /* of ncclCommRegister(), or a window */
    struct moe_nccl_memory *next;
} moe_nccl_memory_t;

struct moe_nccl_state {
    moe_nccl_run_t *run;
    const moe_transport_t *t; /* the handle that this belongs to */
    moe_transport_t *control;
    ncclComm_t comm;
    moe_nccl_message_t *messages; /* [room] */
    size_t count, room;
    /* Counts on their way: numbers to send, then numbers received. */
    size_t *pinned, *on_device; /* [numbers] */
    size_t numbers;
    moe_nccl_memory_t *memory;
    moe_nccl_state_t *next; /* in run->handles */
};

static inline moe_nccl_state_t *moe_nccl_of(const moe_transport_t *t)
{
    return (moe_nccl_state_t *)t->state;
}

static inline moe_device_t *moe_nccl_device(const moe_nccl_state_t *state)
{
    return state->run->facts.spec.device;
}

/* ---- Failures (nccl_fault.c) ---- */

double moe_nccl_now(void);
/* For a failure that all ranks see, or whose cause another rank has: it speaks first. */
void moe_nccl_let_others_speak(void);
/* MOE_FAILED with rank, label, what is under way, the call, and NCCL's text. */
moe_status_t moe_nccl_fail(moe_nccl_state_t *state, ncclResult_t result, const char *call,
                           moe_error_t *error);
/* Waits for an operation that NCCL goes on with behind the call. */
moe_status_t moe_nccl_await(moe_nccl_state_t *state, const char *call, moe_error_t *error);
/* What every call on rows begins with: MOE_FAILED when another thread has ended the run (it does not come
 * back from here before that has been done). */
moe_status_t moe_nccl_fail_ended(moe_nccl_run_t *run, moe_error_t *error);
static inline moe_status_t moe_nccl_enter(const moe_nccl_state_t *state, moe_error_t *error)
{
    return atomic_load_explicit(&state->run->aborted, memory_order_relaxed)
               ? moe_nccl_fail_ended(state->run, error)
               : MOE_OK;
}
/* In the timed calls: here, so that success costs one comparison. */
static inline moe_status_t moe_nccl_check(moe_nccl_state_t *state, ncclResult_t result,
                                          const char *call, moe_error_t *error)
{
    if (result == ncclSuccess)
        return MOE_OK;
    return result == ncclInProgress ? moe_nccl_await(state, call, error)
                                    : moe_nccl_fail(state, result, call, error);
}
/* NCCL's last words, on one line: ": text", or "". */
void moe_nccl_last_error(ncclComm_t comm, char *text, size_t size);
/* What the device asks while it waits; `context` is the run. */
moe_status_t moe_nccl_poll(void *context, moe_error_t *error);
void moe_nccl_abort(moe_transport_t *t, moe_status_t status);

/* ---- Calls that may not return (nccl_call.c) ---- */

#define MOE_NCCL_CALL_TEXT 512

/* One call, made by a thread of its own. Belongs to that thread and to the caller; who leaves last frees
 * it. make() is called with the GPU current; it sets `made` or `handle`, and `polled` where the call
 * may go on behind it. */
typedef struct moe_nccl_call moe_nccl_call_t;
struct moe_nccl_call {
    ncclResult_t (*make)(moe_nccl_call_t *call);
    int gpu;
    /* For make(), as it needs them: */
    ncclComm_t comm;
    ncclUniqueId id;
    ncclConfig_t config;
    int ranks, rank, color, flags;
    void *memory;
    size_t bytes;
    ncclComm_t *comms; /* [bytes] to abort; freed with the call */
    /* What became of it: */
    ncclComm_t made;
    void *handle;
    ncclComm_t polled;  /* tells whether the call has ended; NULL: it has when make() returns */
    bool polled_is_new; /* and is of no use where it has not ended in time */
    ncclResult_t result;
    char text[MOE_NCCL_CALL_TEXT]; /* of moe_nccl_last_error(), where it failed */
    /* Under the lock: */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool polling, given_up, ended;
    int users;
};

moe_status_t moe_nccl_call_create(const moe_nccl_run_t *run,
                                  ncclResult_t (*make)(moe_nccl_call_t *call),
                                  moe_nccl_call_t **out, moe_error_t *error);
/* Makes the call. true: it has ended within `seconds` (see result). Else a communicator that was still
 * being made is aborted, and the thread is left to itself. */
bool moe_nccl_bounded(moe_nccl_call_t *call, double seconds);
void moe_nccl_call_leave(moe_nccl_call_t *call);

/* ---- Set-up (nccl_setup.c) ---- */

/* Whether the library that is loaded is of that version or later. */
static inline bool moe_nccl_has(const moe_nccl_run_t *run, int version)
{
    return run->version >= version;
}
/* The worst of all ranks' statuses; a rank that had none says that another one did. */
moe_status_t moe_nccl_agree(moe_transport_t *control, moe_status_t mine, const char *what,
                            moe_error_t *error);
/* Fills facts and version, and refuses what header or library lack. Local. */
moe_status_t moe_nccl_look(const moe_nccl_spec_t *spec, moe_nccl_run_t *run, moe_error_t *error);
/* The environment of ranks that share a GPU. Collective. */
moe_status_t moe_nccl_share(const moe_nccl_run_t *run, moe_transport_t *control,
                            moe_error_t *error);
/* A communicator of all ranks of `control`, and one of those with the same color. Collective. */
moe_status_t moe_nccl_init(const moe_nccl_run_t *run, moe_transport_t *control, ncclComm_t *out,
                           moe_error_t *error);
moe_status_t moe_nccl_split_comm(moe_nccl_state_t *state, int color, ncclComm_t *out,
                                 moe_error_t *error);
/* Ends a communicator: in peace, or by abort where it has failed. */
void moe_nccl_end_comm(const moe_nccl_run_t *run, ncclComm_t comm);

/* ---- Rows (nccl_rows.c) ---- */

moe_status_t moe_nccl_row_type(moe_transport_t *t, size_t row_bytes, moe_row_type_t *out,
                               moe_error_t *error);
moe_status_t moe_nccl_prepare_alltoallv(moe_transport_t *t, moe_alltoallv_t *x, moe_error_t *error);
void moe_nccl_release_alltoallv(moe_transport_t *t, moe_alltoallv_t *x);
moe_status_t moe_nccl_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x, moe_error_t *error);
/* The same on a given stream. */
moe_status_t moe_nccl_put_alltoallv(const moe_transport_t *t, const moe_alltoallv_t *x,
                                    cudaStream_t stream, moe_error_t *error);
moe_status_t moe_nccl_start_send(moe_transport_t *t, const void *rows, size_t count,
                                 moe_row_type_t row, size_t to, moe_error_t *error);
moe_status_t moe_nccl_start_recv(moe_transport_t *t, void *rows, size_t count, moe_row_type_t row,
                                 size_t from, moe_error_t *error);
moe_status_t moe_nccl_finish(moe_transport_t *t, moe_error_t *error);
moe_status_t moe_nccl_finish_but(moe_transport_t *t, size_t latest, moe_error_t *error);
moe_status_t moe_nccl_sum_floats(moe_transport_t *t, float *values, size_t count,
                                 moe_error_t *error);

/* ---- Counts (nccl_counts.c) ---- */

moe_status_t moe_nccl_alltoall_sizes(moe_transport_t *t, const size_t *send,
                                     const size_t *send_count, size_t *recv,
                                     const size_t *recv_count, moe_error_t *error);
moe_status_t moe_nccl_max_size(moe_transport_t *t, size_t *value, moe_error_t *error);
void moe_nccl_free_counts(moe_nccl_state_t *state);

/* ---- Memory (nccl_memory.c) ---- */

moe_status_t moe_nccl_alloc_rows(moe_transport_t *t, const char *what, size_t bytes, void **out,
                                 moe_error_t *error);
void moe_nccl_release_rows(moe_transport_t *t, void *memory);

#endif
