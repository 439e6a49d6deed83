/* Inside of the loopback transport: ranks are threads of one process, rows are copied once.
 *
 * A hub is what all groups of one moe_loopback_create() share: one lock, one abort, and a seat (a
 * condition) for each rank, on which that rank's thread sleeps whatever it waits for. Groups come
 * from split(). Everything in a group is read and written under the hub's lock, but for row data:
 * that is copied outside it, between two meetings or while a message is MOE_MESSAGE_COPYING. */
#ifndef MOE_TRANSPORT_LOOPBACK_H
#define MOE_TRANSPORT_LOOPBACK_H

#include <pthread.h>

#include "moe/transport.h"

typedef struct moe_loopback_hub {
    pthread_mutex_t lock;
    bool aborted;
    size_t groups; /* alive */
    size_t seats;
    pthread_cond_t seat[]; /* [seats] */
} moe_loopback_hub_t;

typedef enum moe_message_state {
    MOE_MESSAGE_WAITING, /* in its mailbox, the other side has not come */
    MOE_MESSAGE_COPYING, /* the other side has taken it out and copies */
    MOE_MESSAGE_DONE,
    MOE_MESSAGE_MISMATCH /* the other side had another number of bytes */
} moe_message_state_t;

typedef struct moe_mailbox moe_mailbox_t;

/* One side of a message that came before the other. Belongs to the rank that started it. */
typedef struct moe_message {
    moe_message_state_t state;
    bool is_send;
    void *rows; /* of a send: only read */
    size_t bytes, peer_bytes;
    size_t peer;
    size_t seat;  /* to wake when it is done */
    size_t order; /* how many its rank had started before */
    moe_mailbox_t *box;
    struct moe_message *behind;     /* in the mailbox */
    struct moe_message *next_owned; /* of the same rank */
} moe_message_t;

/* Messages from one rank to another that wait for their other side, oldest first: all of them
 * sends, or all of them receives. */
struct moe_mailbox {
    moe_message_t *first, *last;
};

/* What a rank shows the others in a collective call. */
typedef struct moe_loopback_post {
    const void *what;
    size_t count;
} moe_loopback_post_t;

typedef struct moe_loopback_group {
    moe_loopback_hub_t *hub;
    size_t size;
    size_t members;            /* handles not yet destroyed */
    size_t *seat;              /* [size] seats of the ranks */
    const char *call;          /* of the meeting under way */
    size_t arrived;            /* at it */
    uint64_t meetings;         /* held */
    moe_loopback_post_t *post; /* [size] */
    moe_mailbox_t *box;        /* from rank i to rank j in slot i * size + j */
} moe_loopback_group_t;

typedef struct moe_loopback_state {
    moe_loopback_group_t *group;
    moe_message_t *owned; /* started and not finished, the latest first */
    size_t started;       /* messages, ever */
    moe_message_t *spare; /* for the next ones */
} moe_loopback_state_t;

moe_loopback_group_t *moe_loopback_group(const moe_transport_t *t);
moe_status_t moe_loopback_handle_create(moe_loopback_group_t *group, size_t rank,
                                        moe_transport_t **out, moe_error_t *error);

/* ---- Groups (loopback_group.c) ---- */

/* The first group of a hub, with `size` members. */
moe_status_t moe_loopback_group_of_all(size_t size, moe_loopback_group_t **out, moe_error_t *error);
/* Drops one member; the last one frees the group, and the last group the hub. */
void moe_loopback_group_leave(moe_loopback_group_t *group);
moe_status_t moe_loopback_split(moe_transport_t *t, int color, moe_transport_t **out,
                                moe_error_t *error);

/* ---- Meetings (loopback_meet.c) ----
 * A collective call is: enter(), read what the others posted and copy, leave(). Between the two
 * every rank's buffers stay: leave() returns when all have called it, even when the group was
 * aborted, so no rank frees what another still reads. */

/* Shows `what` to the others, returns when all ranks have. */
moe_status_t moe_loopback_enter(moe_transport_t *t, const char *call, const void *what,
                                size_t count, moe_error_t *error);
/* Passes `status` on, or MOE_FAILED where the group was aborted. */
moe_status_t moe_loopback_leave(moe_transport_t *t, moe_status_t status, moe_error_t *error);
const moe_loopback_post_t *moe_loopback_post_of(const moe_transport_t *t, size_t rank);
void moe_loopback_abort(moe_transport_t *t, moe_status_t status);
moe_status_t moe_loopback_fail_aborted(const moe_transport_t *t, moe_error_t *error);

/* ---- Messages (loopback_message.c) ---- */

moe_status_t moe_loopback_start_send(moe_transport_t *t, const void *rows, size_t count,
                                     moe_row_type_t row, size_t to, moe_error_t *error);
moe_status_t moe_loopback_start_recv(moe_transport_t *t, void *rows, size_t count,
                                     moe_row_type_t row, size_t from, moe_error_t *error);
moe_status_t moe_loopback_finish(moe_transport_t *t, moe_error_t *error);
/* Of the same mailboxes: nothing else may be under way between the two. */
moe_status_t moe_loopback_exchange_bytes(moe_transport_t *t, size_t peer, const void *send,
                                         void *recv, size_t bytes, moe_error_t *error);
moe_status_t moe_loopback_finish_but(moe_transport_t *t, size_t latest, moe_error_t *error);
/* Takes back what the other side has not met, and frees all. */
void moe_loopback_drop_messages(moe_transport_t *t);

/* ---- Collectives (loopback_collectives.c) ---- */

moe_status_t moe_loopback_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x,
                                    moe_error_t *error);
moe_status_t moe_loopback_sum_floats(moe_transport_t *t, float *values, size_t count,
                                     moe_error_t *error);
moe_status_t moe_loopback_barrier(moe_transport_t *t, moe_error_t *error);
moe_status_t moe_loopback_broadcast(moe_transport_t *t, void *bytes, size_t count, size_t root,
                                    moe_error_t *error);
moe_status_t moe_loopback_allgather(moe_transport_t *t, const void *mine, size_t bytes, void *all,
                                    moe_error_t *error);
moe_status_t moe_loopback_alltoall_sizes(moe_transport_t *t, const size_t *send,
                                         const size_t *send_count, size_t *recv,
                                         const size_t *recv_count, moe_error_t *error);
moe_status_t moe_loopback_max_size(moe_transport_t *t, size_t *value, moe_error_t *error);
moe_status_t moe_loopback_reduce_sizes(moe_transport_t *t, size_t *values, size_t count,
                                       moe_reduce_t how, moe_error_t *error);
moe_status_t moe_loopback_reduce_doubles(moe_transport_t *t, double *values, size_t count,
                                         moe_reduce_t how, moe_error_t *error);

#endif
