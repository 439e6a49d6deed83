/* Groups of loopback ranks, and how one becomes several. */
#include "loopback.h"

#include <stdlib.h>

#include "moe/system.h"

moe_loopback_group_t *moe_loopback_group(const moe_transport_t *t)
{
    const moe_loopback_state_t *state = t->state;
    return state->group;
}

static void free_group(moe_loopback_group_t *group)
{
    free(group->seat);
    free(group->post);
    free(group->box);
    free(group);
}

static moe_status_t fill_group(moe_loopback_group_t *group, const size_t *seat, size_t size,
                               moe_error_t *error)
{
    void *seats, *posts, *boxes;
    moe_status_t status = moe_alloc("ranks", size, sizeof *group->seat, &seats, error);
    if (status != MOE_OK)
        return status;
    group->seat = seats;
    status = moe_alloc("posts", size, sizeof *group->post, &posts, error);
    if (status != MOE_OK)
        return status;
    group->post = posts;
    status = moe_alloc("mailboxes", size, size * sizeof *group->box, &boxes, error);
    if (status != MOE_OK)
        return status;
    group->box = boxes;
    group->size = group->members = size;
    for (size_t rank = 0; rank < size; rank++)
        group->seat[rank] = seat[rank];
    return MOE_OK;
}

static moe_status_t create_group(moe_loopback_hub_t *hub, const size_t *seat, size_t size,
                                 moe_loopback_group_t **out, moe_error_t *error)
{
    void *memory;
    moe_status_t status =
        moe_alloc("a group of ranks", 1, sizeof(moe_loopback_group_t), &memory, error);
    if (status != MOE_OK)
        return status;
    moe_loopback_group_t *group = memory;
    status = fill_group(group, seat, size, error);
    if (status != MOE_OK) {
        free_group(group);
        return status;
    }
    group->hub = hub;
    pthread_mutex_lock(&hub->lock);
    hub->groups++;
    pthread_mutex_unlock(&hub->lock);
    *out = group;
    return MOE_OK;
}

static void free_hub(moe_loopback_hub_t *hub)
{
    for (size_t seat = 0; seat < hub->seats; seat++)
        pthread_cond_destroy(&hub->seat[seat]);
    pthread_mutex_destroy(&hub->lock);
    free(hub);
}

void moe_loopback_group_leave(moe_loopback_group_t *group)
{
    moe_loopback_hub_t *hub = group->hub;
    pthread_mutex_lock(&hub->lock);
    const bool group_ends = --group->members == 0;
    const bool hub_ends = group_ends && --hub->groups == 0;
    pthread_mutex_unlock(&hub->lock);
    if (group_ends)
        free_group(group);
    if (hub_ends)
        free_hub(hub);
}

static moe_status_t create_hub(size_t size, moe_loopback_hub_t **out, moe_error_t *error)
{
    void *memory;
    const moe_status_t status =
        moe_alloc("loopback ranks", 1, sizeof(moe_loopback_hub_t) + size * sizeof(pthread_cond_t),
                  &memory, error);
    if (status != MOE_OK)
        return status;
    moe_loopback_hub_t *hub = memory;
    pthread_mutex_init(&hub->lock, NULL);
    for (hub->seats = 0; hub->seats < size; hub->seats++)
        pthread_cond_init(&hub->seat[hub->seats], NULL);
    *out = hub;
    return MOE_OK;
}

moe_status_t moe_loopback_group_of_all(size_t size, moe_loopback_group_t **out, moe_error_t *error)
{
    if (size == 0)
        return moe_fail(error, MOE_BAD_INPUT, "loopback: 0 ranks: it needs at least 1");
    if (size > (SIZE_MAX - sizeof(moe_loopback_hub_t)) / sizeof(pthread_cond_t))
        return moe_fail(error, MOE_BAD_INPUT, "loopback: %zu ranks do not fit memory", size);
    moe_loopback_hub_t *hub = NULL;
    moe_status_t status = create_hub(size, &hub, error);
    if (status != MOE_OK)
        return status;
    void *seats;
    status = moe_alloc("loopback ranks", size, sizeof(size_t), &seats, error);
    if (status == MOE_OK) {
        for (size_t seat = 0; seat < size; seat++)
            ((size_t *)seats)[seat] = seat;
        status = create_group(hub, seats, size, out, error);
        free(seats);
    }
    if (status != MOE_OK)
        free_hub(hub);
    return status;
}

/* ---- Split ---- */

typedef struct split_post {
    int color;
    moe_loopback_group_t *group; /* made by the lowest rank of a color, for all of it */
} split_post_t;

static const split_post_t *split_post_of(const moe_transport_t *t, size_t rank)
{
    return moe_loopback_post_of(t, rank)->what;
}

/* The ranks of this color: their seats, and which of them is this one. */
static size_t gather_color(const moe_transport_t *t, int color, size_t *seat, size_t *rank_there)
{
    size_t size = 0;
    for (size_t rank = 0; rank < t->size; rank++) {
        if (split_post_of(t, rank)->color != color)
            continue;
        if (rank == t->rank)
            *rank_there = size;
        seat[size++] = moe_loopback_group(t)->seat[rank];
    }
    return size;
}

static moe_status_t make_group(const moe_transport_t *t, split_post_t *mine, size_t *rank_there,
                               moe_error_t *error)
{
    void *seats;
    moe_status_t status = moe_alloc("ranks", t->size, sizeof(size_t), &seats, error);
    if (status != MOE_OK)
        return status;
    const size_t size = gather_color(t, mine->color, seats, rank_there);
    if (*rank_there == 0)
        status = create_group(moe_loopback_group(t)->hub, seats, size, &mine->group, error);
    free(seats);
    return status;
}

moe_status_t moe_loopback_split(moe_transport_t *t, int color, moe_transport_t **out,
                                moe_error_t *error)
{
    split_post_t mine = {.color = color};
    size_t rank_there = 0;
    moe_status_t status = moe_loopback_enter(t, "split", &mine, 0, error);
    if (status != MOE_OK)
        return status;
    const moe_status_t made = make_group(t, &mine, &rank_there, error);
    /* First meeting: the groups are there. Second: all have seen them, `mine` may go. */
    moe_loopback_leave(t, made, NULL);
    moe_loopback_group_t *group = NULL;
    for (size_t rank = 0; group == NULL && rank < t->size; rank++) {
        if (split_post_of(t, rank)->color == color)
            group = split_post_of(t, rank)->group;
    }
    status = moe_loopback_leave(t, made, error);
    if (group == NULL)
        return made != MOE_OK ? made
                              : moe_fail(error, MOE_FAILED,
                                         "loopback: split: no memory on another "
                                         "rank");
    if (status == MOE_OK)
        status = moe_loopback_handle_create(group, rank_there, out, error);
    if (status != MOE_OK)
        moe_loopback_group_leave(group);
    return status;
}
