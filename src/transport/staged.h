/* Inside of the staged transport: rows of a device over a transport that moves host memory. The handle
 * in staged.c, exchanges and messages in staged_rows.c, the host memory between in staged_memory.c. */
#ifndef MOE_TRANSPORT_STAGED_H
#define MOE_TRANSPORT_STAGED_H

#include "moe/transport.h"

/* One piece of host memory, given out from its beginning on. */
typedef struct moe_staged_chunk {
    char *memory;
    size_t bytes, used;
    struct moe_staged_chunk *next;
} moe_staged_chunk_t;

/* A message that the caller has started. */
typedef struct moe_staged_message {
    bool sends, begun; /* begun: the inner transport has it */
    void *rows;        /* in device memory; of a send: only read */
    void *host;
    size_t count, peer;
    moe_row_type_t row;
} moe_staged_message_t;

typedef struct moe_staged_state {
    moe_transport_ops_t ops; /* of the handle: what the inner transport lacks is NULL here too */
    moe_transport_t *inner;
    moe_device_t *device;
    bool direct;
    moe_staged_chunk_t *chunks;     /* the latest first */
    size_t users;                   /* pieces given out */
    moe_staged_message_t *messages; /* [room]; `count` started and not finished, in order */
    size_t count, room;
} moe_staged_state_t;

static inline moe_staged_state_t *moe_staged_of(const moe_transport_t *t)
{
    return (moe_staged_state_t *)t->state;
}

/* ---- Host memory (staged_memory.c) ---- */

/* Up to the next place where a piece may begin. */
size_t moe_staged_rounded(size_t bytes);
/* Makes sure that `bytes` can be taken without asking the system. While something is given out it does
 * nothing. */
moe_status_t moe_staged_reserve(moe_staged_state_t *state, size_t bytes, moe_error_t *error);
/* What was taken stays until everything has been given back. */
moe_status_t moe_staged_take(moe_staged_state_t *state, size_t bytes, void **out,
                             moe_error_t *error);
void moe_staged_give_back(moe_staged_state_t *state);
void moe_staged_free(moe_staged_state_t *state);
/* Between host memory that was taken and the device. Both ways it is done after the device's finish(). */
void moe_staged_copy(moe_staged_state_t *state, void *to, const void *from, size_t bytes);

/* ---- Rows (staged_rows.c) ---- */

moe_status_t moe_staged_prepare_alltoallv(moe_transport_t *t, moe_alltoallv_t *x,
                                          moe_error_t *error);
void moe_staged_release_alltoallv(moe_transport_t *t, moe_alltoallv_t *x);
moe_status_t moe_staged_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x, moe_error_t *error);
moe_status_t moe_staged_start_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x,
                                        moe_error_t *error);
moe_status_t moe_staged_finish_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x,
                                         moe_error_t *error);
moe_status_t moe_staged_start_send(moe_transport_t *t, const void *rows, size_t count,
                                   moe_row_type_t row, size_t to, moe_error_t *error);
moe_status_t moe_staged_start_recv(moe_transport_t *t, void *rows, size_t count, moe_row_type_t row,
                                   size_t from, moe_error_t *error);
moe_status_t moe_staged_finish(moe_transport_t *t, moe_error_t *error);
moe_status_t moe_staged_finish_but(moe_transport_t *t, size_t latest, moe_error_t *error);
moe_status_t moe_staged_sum_floats(moe_transport_t *t, float *values, size_t count,
                                   moe_error_t *error);

#endif
