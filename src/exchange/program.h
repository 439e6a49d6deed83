/* What one rank does in one run of an exchange, as a list: copies, messages, and where it waits for
 * them. Algorithms that must know counts of other ranks write the list in schedule(); run() only
 * walks it. */
#ifndef MOE_EXCHANGE_PROGRAM_H
#define MOE_EXCHANGE_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "moe/exchange.h"

/* Where rows lie: in the two buffers of the exchange, or in two of the program's own, which are as
 * long as its steps reach. */
typedef enum moe_buffer { MOE_AT_SEND, MOE_AT_RECV, MOE_AT_OUT, MOE_AT_IN } moe_buffer_t;
#define MOE_OWN_BUFFERS 2

typedef struct moe_place {
    moe_buffer_t buffer;
    size_t first; /* row */
} moe_place_t;

typedef enum moe_step_kind {
    MOE_STEP_COPY,
    MOE_STEP_SEND,
    MOE_STEP_RECV,
    MOE_STEP_FINISH
} moe_step_kind_t;

typedef struct moe_step {
    moe_step_kind_t kind;
    moe_place_t from, to; /* of a copy; a send has `from`, a receive `to` */
    size_t rows;
    size_t peer; /* of a message; of a wait: messages started last that need not be through */
} moe_step_t;

typedef struct moe_program {
    moe_device_t *device;
    size_t *
        matrix; /* [ranks][ranks]: rows from a rank (outer) to a rank (inner); or counts of a node */
    moe_step_t *steps;
    size_t count, capacity;
    bool no_memory;                    /* a step could not be added */
    size_t pending;                    /* messages that may not be through */
    bool agreed;                       /* all ranks have their buffers */
    size_t rows[MOE_OWN_BUFFERS];      /* that the steps reach */
    size_t allocated[MOE_OWN_BUFFERS]; /* bytes */
    void *own[MOE_OWN_BUFFERS];
} moe_program_t;

/* The three parts of an algorithm's prepare(), run(), release(): the program is x->state. prepare_node: for
 * moe_program_begin_node. */
moe_status_t moe_program_prepare(moe_transport_t *t, moe_device_t *d, moe_alltoallv_t *x,
                                 moe_error_t *error);
moe_status_t moe_program_prepare_node(moe_transport_t *t, moe_device_t *d, moe_alltoallv_t *x,
                                      moe_error_t *error);
moe_status_t moe_program_run(moe_transport_t *t, moe_device_t *d, const moe_alltoallv_t *x,
                             moe_error_t *error);
void moe_program_release(moe_transport_t *t, moe_device_t *d, moe_alltoallv_t *x);

/* Begins a schedule: empties the list and learns the counts of all ranks (collective). */
moe_status_t moe_program_begin(moe_transport_t *t, moe_alltoallv_t *x, moe_program_t **out,
                               moe_error_t *error);
/* The same of the ranks of this rank's node alone, and between them alone: matrix is [ranks of the node][2][ranks],
 * what each of them sends to every rank, and what it gets. */
moe_status_t moe_program_begin_node(moe_transport_t *t, moe_alltoallv_t *x, moe_program_t **out,
                                    moe_error_t *error);
/* Steps. 0 rows: nothing is added. Want of memory shows in moe_program_end(). */
void moe_program_copy(moe_program_t *p, moe_place_t from, moe_place_t to, size_t rows);
void moe_program_send(moe_program_t *p, moe_place_t from, size_t rows, size_t peer);
void moe_program_recv(moe_program_t *p, moe_place_t to, size_t rows, size_t peer);
/* Waits for the messages so far, if there are any. */
void moe_program_finish(moe_program_t *p);
/* Waits for all but the `latest` messages added last. */
void moe_program_finish_but(moe_program_t *p, size_t latest);
/* Messages added so far since all were through. */
size_t moe_program_pending(const moe_program_t *p);
/* The block that stays on this rank. */
void moe_program_copy_own(moe_program_t *p, const moe_transport_t *t, const moe_alltoallv_t *x);
/* Ends a schedule: gets the buffers. The first time after prepare() all ranks agree on whether they
 * have them (collective), so that none waits for one that has not. */
moe_status_t moe_program_end(moe_transport_t *t, const moe_alltoallv_t *x, moe_program_t *p,
                             moe_error_t *error);

#endif
