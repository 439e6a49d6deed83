#include "program.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"
#include "nodes.h"

#define FIRST_CAPACITY 64

/* ---- Life ---- */

static moe_status_t prepare(size_t ranks, size_t rows, moe_device_t *d, moe_alltoallv_t *x,
                            moe_error_t *error)
{
    void *memory, *matrix;
    moe_status_t status =
        moe_alloc("an exchange's schedule", 1, sizeof(moe_program_t), &memory, error);
    if (status != MOE_OK)
        return status;
    const size_t row = ranks <= SIZE_MAX / sizeof(size_t) ? ranks * sizeof(size_t) : SIZE_MAX;
    status = moe_alloc("the rows between ranks", rows, row, &matrix, error);
    if (status != MOE_OK) {
        free(memory);
        return status;
    }
    moe_program_t *p = memory;
    p->device = d;
    p->matrix = matrix;
    x->state = p;
    return MOE_OK;
}

moe_status_t moe_program_prepare(moe_transport_t *t, moe_device_t *d, moe_alltoallv_t *x,
                                 moe_error_t *error)
{
    return prepare(t->size, t->size, d, x, error);
}

moe_status_t moe_program_prepare_node(moe_transport_t *t, moe_device_t *d, moe_alltoallv_t *x,
                                      moe_error_t *error)
{
    const moe_node_map_t map = moe_node_map(t->size, x->ranks_per_node);
    return prepare(t->size, 2 * map.per_node, d, x, error);
}

void moe_program_release(moe_transport_t *t, moe_device_t *d, moe_alltoallv_t *x)
{
    (void)t;
    moe_program_t *p = x->state;
    if (p == NULL)
        return;
    for (size_t i = 0; i < MOE_OWN_BUFFERS; i++) {
        if (p->own[i] != NULL)
            d->ops->release(d, p->own[i]);
    }
    free(p->steps);
    free(p->matrix);
    free(p);
    x->state = NULL;
}

/* ---- Writing ---- */

static moe_status_t empty(const moe_transport_t *t, const moe_alltoallv_t *x, moe_program_t **out,
                          moe_error_t *error)
{
    moe_program_t *p = x->state;
    if (p == NULL)
        return moe_fail(error, MOE_FAILED, "rank %zu: schedule() of an exchange before prepare()",
                        t->rank);
    p->count = 0;
    p->no_memory = false;
    p->pending = 0;
    for (size_t i = 0; i < MOE_OWN_BUFFERS; i++)
        p->rows[i] = 0;
    *out = p;
    return MOE_OK;
}

moe_status_t moe_program_begin(moe_transport_t *t, moe_alltoallv_t *x, moe_program_t **out,
                               moe_error_t *error)
{
    moe_program_t *p = NULL;
    moe_status_t status = empty(t, x, &p, error);
    if (status == MOE_OK)
        status = t->ops->allgather(t, x->send_rows, t->size * sizeof *p->matrix, p->matrix, error);
    if (status == MOE_OK)
        *out = p;
    return status;
}

/* Every rank of a node has its own counts in its place; recursive doubling. */
static moe_status_t double_counts(moe_transport_t *t, size_t *counts, size_t first, size_t size,
                                  moe_error_t *error)
{
    const size_t each = 2 * t->size, index = t->rank - first;
    moe_status_t status = MOE_OK;
    for (size_t have = 1; status == MOE_OK && have < size; have *= 2) {
        const size_t peer = index ^ have, mine = index / have * have, theirs = peer / have * have;
        status =
            t->ops->exchange_bytes(t, first + peer, counts + mine * each, counts + theirs * each,
                                   have * each * sizeof *counts, error);
    }
    return status;
}

/* The same for any number of ranks, in pairs: in round r those meet whose indices add up to r, modulo their number. */
static moe_status_t pair_counts(moe_transport_t *t, size_t *counts, size_t first, size_t size,
                                moe_error_t *error)
{
    const size_t each = 2 * t->size, index = t->rank - first;
    moe_status_t status = MOE_OK;
    for (size_t round = 0; status == MOE_OK && round < size; round++) {
        const size_t peer = (round + size - index) % size;
        if (peer != index)
            status = t->ops->exchange_bytes(t, first + peer, counts + index * each,
                                            counts + peer * each, each * sizeof *counts, error);
    }
    return status;
}

moe_status_t moe_program_begin_node(moe_transport_t *t, moe_alltoallv_t *x, moe_program_t **out,
                                    moe_error_t *error)
{
    const moe_node_map_t map = moe_node_map(t->size, x->ranks_per_node);
    const size_t node = moe_node_of(&map, t->rank), first = moe_node_first(&map, node);
    const size_t size = moe_node_size(&map, node);
    moe_program_t *p = NULL;
    moe_status_t status = empty(t, x, &p, error);
    if (status != MOE_OK)
        return status;
    size_t *mine = p->matrix + 2 * t->size * (t->rank - first);
    memcpy(mine, x->send_rows, t->size * sizeof *mine);
    memcpy(mine + t->size, x->recv_rows, t->size * sizeof *mine);
    status = (size & (size - 1)) == 0 ? double_counts(t, p->matrix, first, size, error)
                                      : pair_counts(t, p->matrix, first, size, error);
    if (status == MOE_OK)
        *out = p;
    return status;
}

static bool is_own(moe_buffer_t buffer)
{
    return buffer >= MOE_AT_OUT;
}

static void reach(moe_program_t *p, moe_place_t place, size_t rows)
{
    if (!is_own(place.buffer))
        return;
    size_t *reached = &p->rows[place.buffer - MOE_AT_OUT];
    if (*reached < place.first + rows)
        *reached = place.first + rows;
}

static void add(moe_program_t *p, moe_step_t step)
{
    if (p->no_memory)
        return;
    if (p->count == p->capacity) {
        const size_t capacity = p->capacity == 0 ? FIRST_CAPACITY : 2 * p->capacity;
        moe_step_t *steps = capacity <= SIZE_MAX / sizeof *steps
                                ? realloc(p->steps, capacity * sizeof *steps)
                                : NULL;
        if (steps == NULL) {
            p->no_memory = true;
            return;
        }
        p->steps = steps;
        p->capacity = capacity;
    }
    p->steps[p->count++] = step;
}

static bool goes_on(moe_place_t before, size_t rows, moe_place_t after)
{
    return before.buffer == after.buffer && before.first + rows == after.first;
}

static bool goes_on_from_last(const moe_program_t *p, moe_place_t from, moe_place_t to)
{
    if (p->count == 0)
        return false;
    const moe_step_t *last = &p->steps[p->count - 1];
    return last->kind == MOE_STEP_COPY && goes_on(last->from, last->rows, from) &&
           goes_on(last->to, last->rows, to);
}

void moe_program_copy(moe_program_t *p, moe_place_t from, moe_place_t to, size_t rows)
{
    if (rows == 0)
        return;
    reach(p, from, rows);
    reach(p, to, rows);
    if (goes_on_from_last(p, from, to))
        p->steps[p->count - 1].rows += rows;
    else
        add(p, (moe_step_t){.kind = MOE_STEP_COPY, .from = from, .to = to, .rows = rows});
}

void moe_program_send(moe_program_t *p, moe_place_t from, size_t rows, size_t peer)
{
    if (rows == 0)
        return;
    reach(p, from, rows);
    p->pending++;
    add(p, (moe_step_t){.kind = MOE_STEP_SEND, .from = from, .rows = rows, .peer = peer});
}

void moe_program_recv(moe_program_t *p, moe_place_t to, size_t rows, size_t peer)
{
    if (rows == 0)
        return;
    reach(p, to, rows);
    p->pending++;
    add(p, (moe_step_t){.kind = MOE_STEP_RECV, .to = to, .rows = rows, .peer = peer});
}

void moe_program_finish_but(moe_program_t *p, size_t latest)
{
    if (p->pending > latest) {
        add(p, (moe_step_t){.kind = MOE_STEP_FINISH, .peer = latest});
        p->pending = latest;
    }
}

void moe_program_finish(moe_program_t *p)
{
    moe_program_finish_but(p, 0);
}

size_t moe_program_pending(const moe_program_t *p)
{
    return p->pending;
}

void moe_program_copy_own(moe_program_t *p, const moe_transport_t *t, const moe_alltoallv_t *x)
{
    moe_program_copy(p, (moe_place_t){MOE_AT_SEND, x->send_first[t->rank]},
                     (moe_place_t){MOE_AT_RECV, x->recv_first[t->rank]}, x->send_rows[t->rank]);
}

static moe_status_t get_buffer(moe_program_t *p, size_t number, size_t row_bytes,
                               moe_error_t *error)
{
    moe_device_t *d = p->device;
    const size_t rows = p->rows[number];
    if (rows > SIZE_MAX / row_bytes)
        return moe_fail(error, MOE_BAD_INPUT,
                        "%zu rows of %zu bytes to be forwarded do not fit memory: take fewer "
                        "--tokens",
                        rows, row_bytes);
    if (rows * row_bytes <= p->allocated[number])
        return MOE_OK;
    if (p->own[number] != NULL)
        d->ops->release(d, p->own[number]);
    p->own[number] = NULL;
    p->allocated[number] = 0;
    const moe_status_t status =
        d->ops->alloc(d, "rows to be forwarded", rows * row_bytes, &p->own[number], error);
    if (status == MOE_OK)
        p->allocated[number] = rows * row_bytes;
    return status;
}

moe_status_t moe_program_end(moe_transport_t *t, const moe_alltoallv_t *x, moe_program_t *p,
                             moe_error_t *error)
{
    moe_program_finish(p);
    moe_status_t status = MOE_OK;
    if (p->no_memory)
        status =
            moe_fail(error, MOE_BAD_INPUT,
                     "the schedule of an exchange between %zu ranks does not fit memory", t->size);
    for (size_t i = 0; status == MOE_OK && i < MOE_OWN_BUFFERS; i++)
        status = get_buffer(p, i, x->row.bytes, error);
    if (p->agreed)
        return status;
    size_t worst = status;
    const moe_status_t agreed = t->ops->reduce_sizes(t, &worst, 1, MOE_MAX, error);
    if (agreed != MOE_OK || status != MOE_OK)
        return status != MOE_OK ? status : agreed;
    if (worst != MOE_OK)
        return moe_fail(error, (moe_status_t)worst, "another rank could not schedule an exchange");
    p->agreed = true;
    return MOE_OK;
}

/* ---- Running ---- */

static char *at(const moe_program_t *p, const moe_alltoallv_t *x, moe_place_t place)
{
    char *const buffers[] = {[MOE_AT_SEND] = (char *)x->send,
                             [MOE_AT_RECV] = x->recv,
                             [MOE_AT_OUT] = p->own[0],
                             [MOE_AT_IN] = p->own[1]};
    return buffers[place.buffer] + place.first * x->row.bytes;
}

static moe_status_t run_step(moe_transport_t *t, moe_device_t *d, const moe_alltoallv_t *x,
                             const moe_step_t *step, moe_error_t *error)
{
    const moe_program_t *p = x->state;
    switch (step->kind) {
    case MOE_STEP_COPY:
        d->ops->copy(d, at(p, x, step->to), at(p, x, step->from), step->rows * x->row.bytes);
        return MOE_OK;
    case MOE_STEP_SEND:
        return t->ops->start_send(t, at(p, x, step->from), step->rows, x->row, step->peer, error);
    case MOE_STEP_RECV:
        return t->ops->start_recv(t, at(p, x, step->to), step->rows, x->row, step->peer, error);
    case MOE_STEP_FINISH:
        return t->ops->finish_but(t, step->peer, error);
    }
    return MOE_OK;
}

moe_status_t moe_program_run(moe_transport_t *t, moe_device_t *d, const moe_alltoallv_t *x,
                             moe_error_t *error)
{
    const moe_program_t *p = x->state;
    if (p == NULL || !p->agreed)
        return moe_fail(error, MOE_FAILED, "rank %zu: run() of an exchange before schedule()",
                        t->rank);
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < p->count; i++)
        status = run_step(t, d, x, &p->steps[i], error);
    return status;
}
