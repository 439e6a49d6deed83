/* How the ranks of a loopback group wait for each other. */
#include "loopback.h"

#include <string.h>

moe_status_t moe_loopback_fail_aborted(const moe_transport_t *t, moe_error_t *error)
{
    return moe_fail(error, MOE_FAILED, "loopback: the group of rank %zu was aborted", t->rank);
}

static void wake_all(moe_loopback_hub_t *hub)
{
    for (size_t seat = 0; seat < hub->seats; seat++)
        pthread_cond_signal(&hub->seat[seat]);
}

static void abort_locked(moe_loopback_hub_t *hub)
{
    hub->aborted = true;
    wake_all(hub);
}

void moe_loopback_abort(moe_transport_t *t, moe_status_t status)
{
    (void)status; /* the process goes on: its exit status is for the caller to decide */
    moe_loopback_hub_t *hub = moe_loopback_group(t)->hub;
    pthread_mutex_lock(&hub->lock);
    abort_locked(hub);
    pthread_mutex_unlock(&hub->lock);
}

/* Under the lock. Returns true when all ranks of the group have come; false when the group was
 * aborted before that (and `abortable`). */
static bool meet(moe_transport_t *t, bool abortable)
{
    moe_loopback_group_t *group = moe_loopback_group(t);
    moe_loopback_hub_t *hub = group->hub;
    const uint64_t meeting = group->meetings;
    if (++group->arrived == group->size) {
        group->arrived = 0;
        group->meetings++;
        for (size_t rank = 0; rank < group->size; rank++)
            pthread_cond_signal(&hub->seat[group->seat[rank]]);
    }
    while (group->meetings == meeting && !(abortable && hub->aborted))
        pthread_cond_wait(&hub->seat[group->seat[t->rank]], &hub->lock);
    return group->meetings != meeting;
}

/* Under the lock. Two ranks in different calls would read each other's posts wrongly, and with MPI
 * would hang or worse. */
static moe_status_t check_same_call(moe_transport_t *t, const char *call, moe_error_t *error)
{
    moe_loopback_group_t *group = moe_loopback_group(t);
    if (group->arrived == 0)
        group->call = call;
    if (strcmp(group->call, call) == 0)
        return MOE_OK;
    abort_locked(group->hub);
    return moe_fail(error, MOE_FAILED, "loopback: rank %zu calls %s while another is in %s",
                    t->rank, call, group->call);
}

moe_status_t moe_loopback_enter(moe_transport_t *t, const char *call, const void *what,
                                size_t count, moe_error_t *error)
{
    moe_loopback_group_t *group = moe_loopback_group(t);
    moe_loopback_hub_t *hub = group->hub;
    pthread_mutex_lock(&hub->lock);
    moe_status_t status =
        hub->aborted ? moe_loopback_fail_aborted(t, error) : check_same_call(t, call, error);
    if (status == MOE_OK) {
        group->post[t->rank] = (moe_loopback_post_t){.what = what, .count = count};
        if (!meet(t, true))
            status = moe_loopback_fail_aborted(t, error);
    }
    pthread_mutex_unlock(&hub->lock);
    return status;
}

moe_status_t moe_loopback_leave(moe_transport_t *t, moe_status_t status, moe_error_t *error)
{
    moe_loopback_hub_t *hub = moe_loopback_group(t)->hub;
    pthread_mutex_lock(&hub->lock);
    meet(t, false);
    if (status == MOE_OK && hub->aborted)
        status = moe_loopback_fail_aborted(t, error);
    pthread_mutex_unlock(&hub->lock);
    return status;
}

const moe_loopback_post_t *moe_loopback_post_of(const moe_transport_t *t, size_t rank)
{
    return &moe_loopback_group(t)->post[rank];
}
