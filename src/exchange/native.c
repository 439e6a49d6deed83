/* The transport's own collective: whatever the library chooses for these sizes. */
#include "algorithm.h"

static moe_status_t prepare(moe_transport_t *t, moe_device_t *d, moe_alltoallv_t *x,
                            moe_error_t *error)
{
    (void)d;
    return t->ops->prepare_alltoallv(t, x, error);
}

static moe_status_t run(moe_transport_t *t, moe_device_t *d, const moe_alltoallv_t *x,
                        moe_error_t *error)
{
    (void)d;
    return t->ops->alltoallv(t, x, error);
}

static bool can_start(const moe_transport_t *t, const moe_alltoallv_t *x)
{
    (void)x;
    return t->ops->start_alltoallv != NULL;
}

static moe_status_t start(moe_transport_t *t, const moe_alltoallv_t *x, moe_error_t *error)
{
    return t->ops->start_alltoallv(t, x, error);
}

static moe_status_t finish(moe_transport_t *t, const moe_alltoallv_t *x, moe_error_t *error)
{
    return t->ops->finish_alltoallv(t, x, error);
}

static void release(moe_transport_t *t, moe_device_t *d, moe_alltoallv_t *x)
{
    (void)d;
    if (t->ops->release_alltoallv != NULL) {
        t->ops->release_alltoallv(t, x);
    }
}

const moe_algorithm_ops_t moe_algorithm_native = {
    .name = "native",
    .summary = "the library's own: MPI_Alltoall for equal blocks, else MPI_Alltoallv; NCCL's "
               "ncclAlltoAll, "
               "else one group of sends and receives",
    .source = "MPI 3.1, section 5.8; NCCL user guide, point-to-point communication",
    .prepare = prepare,
    .run = run,
    .can_start = can_start,
    .start = start,
    .finish = finish,
    .release = release,
};
