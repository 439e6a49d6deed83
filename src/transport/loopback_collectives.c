/* Collectives of the loopback transport: every rank shows its buffers, then each takes its part. */
#include "loopback.h"

#include <string.h>

moe_status_t moe_loopback_barrier(moe_transport_t *t, moe_error_t *error)
{
    return moe_loopback_enter(t, "barrier", NULL, 0, error);
}

static moe_status_t take_blocks(const moe_transport_t *t, const moe_alltoallv_t *x,
                                moe_error_t *error)
{
    for (size_t from = 0; from < t->size; from++) {
        const moe_alltoallv_t *other = moe_loopback_post_of(t, from)->what;
        const size_t rows = x->recv_rows[from];
        if (other->send_rows[t->rank] != rows || other->row.bytes != x->row.bytes)
            return moe_fail(error, MOE_FAILED,
                            "loopback: alltoallv: rank %zu sends %zu rows of %zu bytes, rank %zu "
                            "expects %zu of %zu",
                            from, other->send_rows[t->rank], other->row.bytes, t->rank, rows,
                            x->row.bytes);
        if (rows == 0)
            continue;
        memcpy((char *)x->recv + x->recv_first[from] * x->row.bytes,
               (const char *)other->send + other->send_first[t->rank] * x->row.bytes,
               rows * x->row.bytes);
    }
    return MOE_OK;
}

moe_status_t moe_loopback_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x,
                                    moe_error_t *error)
{
    moe_status_t status = moe_loopback_enter(t, "alltoallv", x, 0, error);
    if (status != MOE_OK)
        return status;
    status = take_blocks(t, x, error);
    return moe_loopback_leave(t, status, error);
}

/* All ranks must have posted the same count. */
static moe_status_t check_counts(const moe_transport_t *t, const char *call, moe_error_t *error)
{
    const size_t first = moe_loopback_post_of(t, 0)->count;
    for (size_t rank = 1; rank < t->size; rank++) {
        const size_t count = moe_loopback_post_of(t, rank)->count;
        if (count != first)
            return moe_fail(error, MOE_FAILED, "loopback: %s: rank 0 gives %zu, rank %zu gives %zu",
                            call, first, rank, count);
    }
    return MOE_OK;
}

moe_status_t moe_loopback_broadcast(moe_transport_t *t, void *bytes, size_t count, size_t root,
                                    moe_error_t *error)
{
    moe_status_t status = moe_loopback_enter(t, "broadcast", bytes, count, error);
    if (status != MOE_OK)
        return status;
    status = check_counts(t, "broadcast", error);
    if (status == MOE_OK && t->rank != root && count > 0)
        memcpy(bytes, moe_loopback_post_of(t, root)->what, count);
    return moe_loopback_leave(t, status, error);
}

moe_status_t moe_loopback_allgather(moe_transport_t *t, const void *mine, size_t bytes, void *all,
                                    moe_error_t *error)
{
    moe_status_t status = moe_loopback_enter(t, "allgather", mine, bytes, error);
    if (status != MOE_OK)
        return status;
    status = check_counts(t, "allgather", error);
    for (size_t rank = 0; status == MOE_OK && bytes > 0 && rank < t->size; rank++)
        memcpy((char *)all + rank * bytes, moe_loopback_post_of(t, rank)->what, bytes);
    return moe_loopback_leave(t, status, error);
}

typedef struct sizes_post {
    const size_t *data, *count;
} sizes_post_t;

static moe_status_t take_sizes(const moe_transport_t *t, size_t *recv, const size_t *recv_count,
                               moe_error_t *error)
{
    for (size_t from = 0; from < t->size; from++) {
        const sizes_post_t *post = moe_loopback_post_of(t, from)->what;
        const size_t count = post->count[t->rank];
        if (count != recv_count[from])
            return moe_fail(error, MOE_FAILED,
                            "loopback: alltoall_sizes: rank %zu sends %zu, rank %zu expects %zu",
                            from, count, t->rank, recv_count[from]);
        const size_t *data = post->data;
        for (size_t to = 0; to < t->rank; to++)
            data += post->count[to];
        if (count > 0)
            memcpy(recv, data, count * sizeof *recv);
        recv += count;
    }
    return MOE_OK;
}

moe_status_t moe_loopback_alltoall_sizes(moe_transport_t *t, const size_t *send,
                                         const size_t *send_count, size_t *recv,
                                         const size_t *recv_count, moe_error_t *error)
{
    const sizes_post_t post = {.data = send, .count = send_count};
    moe_status_t status = moe_loopback_enter(t, "alltoall_sizes", &post, 0, error);
    if (status != MOE_OK)
        return status;
    status = take_sizes(t, recv, recv_count, error);
    return moe_loopback_leave(t, status, error);
}

/* ---- Reductions, in place and in order of ranks: every rank folds a slice of its own over all
 * ranks' arrays and writes the result back into all of them. ---- */

/* Folds element i of all ranks' arrays. */
typedef void (*fold_fn)(const moe_transport_t *t, size_t i, moe_reduce_t how);

#define DEFINE_FOLD(name, type)                                                                    \
    static void name(const moe_transport_t *t, size_t i, moe_reduce_t how)                         \
    {                                                                                              \
        type folded = ((const type *)moe_loopback_post_of(t, 0)->what)[i];                         \
        for (size_t rank = 1; rank < t->size; rank++) {                                            \
            const type value = ((const type *)moe_loopback_post_of(t, rank)->what)[i];             \
            if (how == MOE_SUM)                                                                    \
                folded += value;                                                                   \
            else if (how == MOE_MAX ? value > folded : value < folded)                             \
                folded = value;                                                                    \
        }                                                                                          \
        for (size_t rank = 0; rank < t->size; rank++)                                              \
            ((type *)moe_loopback_post_of(t, rank)->what)[i] = folded;                             \
    }

DEFINE_FOLD(fold_float, float)
DEFINE_FOLD(fold_size, size_t)
DEFINE_FOLD(fold_double, double)

static moe_status_t reduce(moe_transport_t *t, const char *call, void *values, size_t count,
                           fold_fn fold, moe_reduce_t how, moe_error_t *error)
{
    moe_status_t status = moe_loopback_enter(t, call, values, count, error);
    if (status != MOE_OK)
        return status;
    status = check_counts(t, call, error);
    const size_t share = count / t->size, rest = count % t->size;
    const size_t begin = t->rank * share + (t->rank < rest ? t->rank : rest);
    const size_t end = begin + share + (t->rank < rest ? 1 : 0);
    for (size_t i = begin; status == MOE_OK && i < end; i++)
        fold(t, i, how);
    return moe_loopback_leave(t, status, error);
}

moe_status_t moe_loopback_sum_floats(moe_transport_t *t, float *values, size_t count,
                                     moe_error_t *error)
{
    return reduce(t, "sum_floats", values, count, fold_float, MOE_SUM, error);
}

moe_status_t moe_loopback_max_size(moe_transport_t *t, size_t *value, moe_error_t *error)
{
    return reduce(t, "max_size", value, 1, fold_size, MOE_MAX, error);
}

moe_status_t moe_loopback_reduce_sizes(moe_transport_t *t, size_t *values, size_t count,
                                       moe_reduce_t how, moe_error_t *error)
{
    return reduce(t, "reduce_sizes", values, count, fold_size, how, error);
}

moe_status_t moe_loopback_reduce_doubles(moe_transport_t *t, double *values, size_t count,
                                         moe_reduce_t how, moe_error_t *error)
{
    return reduce(t, "reduce_doubles", values, count, fold_double, how, error);
}
