/* All messages at once. Every rank starts with its next neighbour, so that the first messages of
 * all ranks go to different receivers. It has the fewest waits and the most messages in flight.
 * Called basic linear in Open MPI, scattered destination in MPICH. */
#include "algorithm.h"

static moe_status_t run(moe_transport_t *t, moe_device_t *d, const moe_alltoallv_t *x,
                        moe_error_t *error)
{
    /* Receives come first: a message that finds its buffer is not stored in between. */
    for (size_t step = 1; step < t->size; step++) {
        const moe_status_t status =
            moe_exchange_start_recv(t, x, moe_exchange_peer_before(t, step), error);
        if (status != MOE_OK)
            return status;
    }
    for (size_t step = 1; step < t->size; step++) {
        const moe_status_t status =
            moe_exchange_start_send(t, x, moe_exchange_peer_after(t, step), error);
        if (status != MOE_OK)
            return status;
    }
    moe_exchange_copy_own(t, d, x);
    return t->ops->finish(t, error);
}

const moe_algorithm_ops_t moe_algorithm_linear = {
    .name = "linear",
    .summary = "all sends and receives at once, from the next rank on",
    .source = "Thakur, Rabenseifner and Gropp 2005 (doi 10.1177/1094342005051521): long messages, "
              "non-blocking",
    .run = run,
};
