#include "algorithm.h"

#include <stdio.h>
#include <string.h>

#include "moe/system.h"

/* The first is the default: what an application gets that leaves the choice to its library. */
/* clang-format off */
static const moe_algorithm_ops_t *const algorithms[] = {
    &moe_algorithm_native,
    &moe_algorithm_linear,
    &moe_algorithm_pairwise,
    &moe_algorithm_bruck,
    &moe_algorithm_hierarchical,
    &moe_algorithm_birkhoff,
    &moe_algorithm_best,
};
/* clang-format on */

#define ALGORITHMS (sizeof algorithms / sizeof algorithms[0])

/* Of the same, with an option: found by name only. */
static const moe_algorithm_ops_t *const variants[] = {
    &moe_algorithm_bruck_4,
    &moe_algorithm_bruck_8,
    &moe_algorithm_bruck_16,
};

size_t moe_algorithm_count(void)
{
    return ALGORITHMS;
}

const moe_algorithm_ops_t *moe_algorithm_at(size_t index)
{
    return algorithms[index];
}

static moe_status_t refuse_name(const char *name, moe_error_t *error)
{
    const char *names[ALGORITHMS];
    char list[256] = "";
    for (size_t i = 0; i < ALGORITHMS; i++) {
        names[i] = algorithms[i]->name;
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : ", ", names[i]);
    }
    const char *nearest = moe_nearest(name, names, ALGORITHMS);
    return moe_fail(error, MOE_BAD_INPUT, "unknown algorithm '%.60s'%s%s%s; there are: %s", name,
                    nearest != NULL ? ", did you mean '" : "", nearest != NULL ? nearest : "",
                    nearest != NULL ? "'" : "", list);
}

moe_status_t moe_algorithm_find(const char *name, const moe_algorithm_ops_t **out,
                                moe_error_t *error)
{
    for (size_t i = 0; i < ALGORITHMS; i++) {
        if (strcmp(name, algorithms[i]->name) == 0) {
            *out = algorithms[i];
            return MOE_OK;
        }
    }
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        if (strcmp(name, variants[i]->name) == 0) {
            *out = variants[i];
            return MOE_OK;
        }
    }
    return refuse_name(name, error);
}

size_t moe_exchange_peer_after(const moe_transport_t *t, size_t step)
{
    return (t->rank + step) % t->size;
}

size_t moe_exchange_peer_before(const moe_transport_t *t, size_t step)
{
    return (t->rank + t->size - step) % t->size;
}

moe_status_t moe_exchange_start_send(moe_transport_t *t, const moe_alltoallv_t *x, size_t to,
                                     moe_error_t *error)
{
    if (x->send_rows[to] == 0)
        return MOE_OK;
    const char *rows = (const char *)x->send + x->send_first[to] * x->row.bytes;
    return t->ops->start_send(t, rows, x->send_rows[to], x->row, to, error);
}

moe_status_t moe_exchange_start_recv(moe_transport_t *t, const moe_alltoallv_t *x, size_t from,
                                     moe_error_t *error)
{
    if (x->recv_rows[from] == 0)
        return MOE_OK;
    char *rows = (char *)x->recv + x->recv_first[from] * x->row.bytes;
    return t->ops->start_recv(t, rows, x->recv_rows[from], x->row, from, error);
}

void moe_exchange_copy_own(const moe_transport_t *t, moe_device_t *d, const moe_alltoallv_t *x)
{
    const size_t own = t->rank;
    if (x->send_rows[own] == 0)
        return;
    d->ops->copy(d, (char *)x->recv + x->recv_first[own] * x->row.bytes,
                 (const char *)x->send + x->send_first[own] * x->row.bytes,
                 x->send_rows[own] * x->row.bytes);
}

/* ---- Runs ---- */

typedef struct work {
    const moe_algorithm_ops_t *algorithm;
    moe_transport_t *t;
    moe_device_t *d;
    const moe_alltoallv_t *x;
} work_t;

static moe_status_t do_work(void *context, moe_error_t *error)
{
    const work_t *w = context;
    return w->algorithm->run(w->t, w->d, w->x, error);
}

moe_status_t moe_exchange_run(const moe_algorithm_ops_t *algorithm, moe_transport_t *t,
                              moe_device_t *d, const moe_alltoallv_t *x, moe_graph_t **graph,
                              moe_error_t *error)
{
    if (graph == NULL) {
        return algorithm->run(t, d, x, error);
    }
    moe_status_t status = MOE_OK;
    if (*graph == NULL) {
        work_t work = {.algorithm = algorithm, .t = t, .d = d, .x = x};
        status = d->ops->capture(d, do_work, &work, graph, error);
    }
    if (status == MOE_OK) {
        d->ops->replay(d, *graph);
    }
    return status;
}

/* ---- Memory ---- */

moe_status_t moe_exchange_alloc_rows(moe_transport_t *t, moe_device_t *d, const char *what,
                                     size_t bytes, void **out, moe_error_t *error)
{
    return t->ops->alloc_rows != NULL ? t->ops->alloc_rows(t, what, bytes, out, error)
                                      : d->ops->alloc(d, what, bytes, out, error);
}

void moe_exchange_release_rows(moe_transport_t *t, moe_device_t *d, void *rows)
{
    if (t->ops->alloc_rows != NULL) {
        t->ops->release_rows(t, rows);
    } else {
        d->ops->release(d, rows);
    }
}
