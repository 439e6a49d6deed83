/* Point to point in the loopback transport: whichever side comes second copies. */
#include "loopback.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"

static void append(moe_mailbox_t *box, moe_message_t *message)
{
    message->behind = NULL;
    if (box->last != NULL)
        box->last->behind = message;
    else
        box->first = message;
    box->last = message;
}

static void take_out(moe_mailbox_t *box, moe_message_t *message)
{
    moe_message_t *before = NULL;
    for (moe_message_t *m = box->first; m != message; m = m->behind)
        before = m;
    if (before != NULL)
        before->behind = message->behind;
    else
        box->first = message->behind;
    if (box->last == message)
        box->last = before;
}

static moe_status_t fail_mismatch(const moe_transport_t *t, const moe_message_t *mine,
                                  size_t peer_bytes, moe_error_t *error)
{
    return moe_fail(error, MOE_FAILED, "loopback: rank %zu %s %zu bytes, rank %zu %s %zu", t->rank,
                    mine->is_send ? "sends" : "expects", mine->bytes, mine->peer,
                    mine->is_send ? "expects" : "sends", peer_bytes);
}

/* Under the lock, which is given up during the copy. `other` came first. */
static moe_status_t meet_message(moe_transport_t *t, const moe_message_t *mine,
                                 moe_message_t *other, moe_error_t *error)
{
    moe_loopback_hub_t *hub = moe_loopback_group(t)->hub;
    take_out(mine->box, other);
    other->peer_bytes = mine->bytes;
    moe_status_t status = MOE_OK;
    if (other->bytes != mine->bytes) {
        other->state = MOE_MESSAGE_MISMATCH;
        status = fail_mismatch(t, mine, other->bytes, error);
    } else {
        other->state = MOE_MESSAGE_COPYING;
        pthread_mutex_unlock(&hub->lock);
        memcpy(mine->is_send ? other->rows : mine->rows, mine->is_send ? mine->rows : other->rows,
               mine->bytes);
        pthread_mutex_lock(&hub->lock);
        other->state = MOE_MESSAGE_DONE;
    }
    pthread_cond_signal(&hub->seat[other->seat]);
    return status;
}

/* A message of this rank that will wait in its mailbox. */
static moe_status_t new_message(moe_loopback_state_t *state, moe_message_t **out,
                                moe_error_t *error)
{
    if (state->spare != NULL) {
        *out = state->spare;
        state->spare = state->spare->next_owned;
        return MOE_OK;
    }
    void *memory;
    const moe_status_t status = moe_alloc("a message", 1, sizeof(moe_message_t), &memory, error);
    if (status == MOE_OK)
        *out = memory;
    return status;
}

static moe_status_t start(moe_transport_t *t, const moe_message_t *mine, moe_error_t *error)
{
    moe_loopback_state_t *state = t->state;
    moe_loopback_hub_t *hub = state->group->hub;
    pthread_mutex_lock(&hub->lock);
    moe_message_t *other = mine->box->first, *waiting;
    moe_status_t status;
    if (hub->aborted) {
        status = moe_loopback_fail_aborted(t, error);
    } else if (other != NULL && other->is_send != mine->is_send) {
        status = meet_message(t, mine, other, error);
    } else {
        status = new_message(state, &waiting, error);
        if (status == MOE_OK) {
            *waiting = *mine;
            waiting->order = state->started;
            append(mine->box, waiting);
            waiting->next_owned = state->owned;
            state->owned = waiting;
        }
    }
    state->started += status == MOE_OK;
    pthread_mutex_unlock(&hub->lock);
    return status;
}

static moe_status_t check_peer(const moe_transport_t *t, size_t peer, moe_error_t *error)
{
    if (peer < t->size && peer != t->rank)
        return MOE_OK;
    return moe_fail(error, MOE_FAILED, "loopback: rank %zu of %zu has no peer %zu", t->rank,
                    t->size, peer);
}

moe_status_t moe_loopback_start_send(moe_transport_t *t, const void *rows, size_t count,
                                     moe_row_type_t row, size_t to, moe_error_t *error)
{
    const moe_loopback_group_t *group = moe_loopback_group(t);
    const moe_status_t status = check_peer(t, to, error);
    if (status != MOE_OK)
        return status;
    const moe_message_t mine = {.state = MOE_MESSAGE_WAITING,
                                .is_send = true,
                                .rows = (void *)rows,
                                .bytes = count * row.bytes,
                                .peer = to,
                                .seat = group->seat[t->rank],
                                .box = &group->box[t->rank * t->size + to]};
    return start(t, &mine, error);
}

moe_status_t moe_loopback_start_recv(moe_transport_t *t, void *rows, size_t count,
                                     moe_row_type_t row, size_t from, moe_error_t *error)
{
    const moe_loopback_group_t *group = moe_loopback_group(t);
    const moe_status_t status = check_peer(t, from, error);
    if (status != MOE_OK)
        return status;
    const moe_message_t mine = {.state = MOE_MESSAGE_WAITING,
                                .rows = rows,
                                .bytes = count * row.bytes,
                                .peer = from,
                                .seat = group->seat[t->rank],
                                .box = &group->box[from * t->size + t->rank]};
    return start(t, &mine, error);
}

/* Of the messages started before `end`. */
static bool any_in_state(const moe_message_t *owned, size_t end, moe_message_state_t state)
{
    for (; owned != NULL; owned = owned->next_owned) {
        if (owned->order < end && owned->state == state)
            return true;
    }
    return false;
}

/* Under the lock. Waits for this rank's messages that were started before `end`; with `stop`, or once
 * one has failed or the group was aborted, only for those that are being copied. */
static bool settle(moe_transport_t *t, size_t end, bool stop)
{
    const moe_loopback_state_t *state = t->state;
    moe_loopback_hub_t *hub = state->group->hub;
    for (;;) {
        const bool hopeless =
            stop || hub->aborted || any_in_state(state->owned, SIZE_MAX, MOE_MESSAGE_MISMATCH);
        const size_t until = hopeless ? SIZE_MAX : end;
        if (!any_in_state(state->owned, until, MOE_MESSAGE_COPYING) &&
            (hopeless || !any_in_state(state->owned, end, MOE_MESSAGE_WAITING)))
            return hopeless;
        pthread_cond_wait(&hub->seat[state->group->seat[t->rank]], &hub->lock);
    }
}

/* Under the lock. No message of this rank that was started before `end` stays in a mailbox. */
static moe_status_t retire(moe_transport_t *t, size_t end, moe_error_t *error)
{
    moe_loopback_state_t *state = t->state;
    moe_status_t status = MOE_OK;
    for (moe_message_t **link = &state->owned; *link != NULL;) {
        moe_message_t *message = *link;
        if (message->order >= end) {
            link = &message->next_owned;
            continue;
        }
        *link = message->next_owned;
        if (message->state == MOE_MESSAGE_WAITING)
            take_out(message->box, message);
        else if (message->state == MOE_MESSAGE_MISMATCH)
            status = fail_mismatch(t, message, message->peer_bytes, error);
        message->next_owned = state->spare;
        state->spare = message;
    }
    return status;
}

moe_status_t moe_loopback_finish_but(moe_transport_t *t, size_t latest, moe_error_t *error)
{
    const moe_loopback_state_t *state = t->state;
    moe_loopback_hub_t *hub = moe_loopback_group(t)->hub;
    pthread_mutex_lock(&hub->lock);
    const size_t end = state->started > latest ? state->started - latest : 0;
    const bool hopeless = settle(t, end, false);
    moe_status_t status = retire(t, hopeless ? SIZE_MAX : end, error);
    if (status == MOE_OK && hub->aborted)
        status = moe_loopback_fail_aborted(t, error);
    pthread_mutex_unlock(&hub->lock);
    return status;
}

moe_status_t moe_loopback_finish(moe_transport_t *t, moe_error_t *error)
{
    return moe_loopback_finish_but(t, 0, error);
}

moe_status_t moe_loopback_exchange_bytes(moe_transport_t *t, size_t peer, const void *send,
                                         void *recv, size_t bytes, moe_error_t *error)
{
    const moe_row_type_t row = {.bytes = bytes};
    moe_status_t status =
        send != NULL ? moe_loopback_start_send(t, send, 1, row, peer, error) : MOE_OK;
    if (status == MOE_OK && recv != NULL)
        status = moe_loopback_start_recv(t, recv, 1, row, peer, error);
    return status == MOE_OK ? moe_loopback_finish(t, error) : status;
}

void moe_loopback_drop_messages(moe_transport_t *t)
{
    moe_loopback_state_t *state = t->state;
    moe_loopback_hub_t *hub = state->group->hub;
    pthread_mutex_lock(&hub->lock);
    settle(t, SIZE_MAX, true);
    retire(t, SIZE_MAX, NULL);
    pthread_mutex_unlock(&hub->lock);
    while (state->spare != NULL) {
        moe_message_t *message = state->spare;
        state->spare = message->next_owned;
        free(message);
    }
}
