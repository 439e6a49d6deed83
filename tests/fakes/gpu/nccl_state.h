/* Inside of the fake NCCL: communicators and faults (nccl.c), how they are made (nccl_meeting.c), what is
 * put into groups (nccl_group.c), and how it is done over MPI (nccl_wire.c). */
#ifndef FAKE_NCCL_STATE_H
#define FAKE_NCCL_STATE_H

#include <mpi.h>
#include <nccl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fake_cuda.h"

/* Tags in MPI_COMM_WORLD, which the program itself leaves alone: context * FAKE_TAGS + one of these. */
typedef enum fake_tag {
    FAKE_TAG_HELLO, /* to the root of a meeting, and back */
    FAKE_TAG_REPLY,
    FAKE_TAG_SENDER, /* what a sender will send, and what a receiver expects */
    FAKE_TAG_RECEIVER,
    FAKE_TAG_DATA,
    FAKE_TAG_FAILED, /* a rank of the communicator has failed */
    FAKE_TAGS
} fake_tag_t;

/* A region of memory that was registered. */
typedef struct ncclWindow_vidmem fake_window_t;
struct ncclWindow_vidmem {
    char *memory;
    size_t bytes;
    bool symmetric;
    fake_window_t *next;
};

typedef struct fake_meeting fake_meeting_t;

struct ncclComm {
    int rank, size;
    int *world;  /* [size] ranks of MPI_COMM_WORLD */
    int context; /* of its tags: no other communicator of any rank has it */
    bool blocking, zero_ctas;
    ncclResult_t async;
    char last_error[256];
    int in_progress;         /* more polls before an operation counts as done */
    fake_meeting_t *meeting; /* that makes it, or another one of it (split); NULL: none */
    fake_window_t *windows;
    cudaStream_t hung; /* in which its work does not end; NULL: none */
    void *kept;        /* where MPI may still write after a failure */
    ncclComm_t next;   /* of those that were aborted */
    int aborted;       /* atomic */
    int busy;          /* atomic: calls that are inside */
};

/* ---- nccl.c ---- */

typedef enum fake_fault {
    FAKE_FAULT_NONE,
    FAKE_FAULT_ASYNC,
    FAKE_FAULT_ABSENT,
    FAKE_FAULT_SETUP,
    FAKE_FAULT_CORRUPT
} fake_fault_t;

/* The fault that this rank is to have; NONE on all others. */
fake_fault_t fake_nccl_fault(void);
size_t fake_nccl_knob(const char *name, size_t otherwise);
int fake_nccl_version_code(void);
int fake_world_rank(void);
/* Says it on stderr, and for ncclGetLastError(). Returns `result`. */
ncclResult_t fake_nccl_say(ncclComm_t comm, ncclResult_t result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Whether a communicator can be used now; says why not. */
ncclResult_t fake_nccl_ready(ncclComm_t comm, const char *call);
/* What a call on a communicator returns when it has done its work. */
ncclResult_t fake_nccl_done(ncclComm_t comm);
/* The work that is under way in the stream never ends, but by an abort. */
void fake_nccl_hang(ncclComm_t comm, cudaStream_t stream);
/* Between two looks at the same thing. */
void fake_nccl_nap(size_t turn);
bool fake_nccl_is_aborted(const struct ncclComm *comm);
/* A context that no communicator has. */
int fake_nccl_new_context(void);

/* ---- nccl_meeting.c ---- */

/* All of `size` ranks come to the rank `root` of the world, which sorts them into communicators by color
 * and key. With comm->size 0 the ranks become this communicator (`made` is it); else one more of it. */
ncclResult_t fake_nccl_meet(ncclComm_t comm, int root, int size, int color, int key,
                            ncclComm_t *made, const ncclConfig_t *config);
/* Goes on with a meeting. ncclInProgress: it has not ended. */
ncclResult_t fake_nccl_go_on(ncclComm_t comm);
ncclResult_t fake_nccl_read_config(ncclComm_t comm, const ncclConfig_t *config);

/* ---- nccl_wire.c ---- */

typedef struct fake_op {
    bool sends;
    int peer;
    void *memory;
    size_t bytes;
    uint64_t kind; /* must be the same on both sides */
} fake_op_t;

typedef enum fake_end { FAKE_DONE, FAKE_ABORTED, FAKE_FAILED } fake_end_t;

/* Does all of them at the same time. `data` false: compares both sides' sizes and kinds, and no more. On
 * FAKE_FAILED comm->async says what was wrong, and the others have been told. */
fake_end_t fake_nccl_exchange(ncclComm_t comm, const fake_op_t *ops, size_t count, bool data);
/* The communicator has failed on this rank: all others hear of it. */
void fake_nccl_fail(ncclComm_t comm, ncclResult_t result);

#endif
