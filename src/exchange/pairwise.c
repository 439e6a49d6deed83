/* P - 1 steps; in step s rank r sends to r + s and receives from r - s (modulo P) and ends the
 * step before the next. Every rank sends one message and receives one at any time: no port is
 * asked by two at once, as long as the blocks are alike; with unequal blocks a step lasts as
 * long as its largest. R. Thakur, R. Rabenseifner, W. Gropp: Optimization of Collective
 * Communication Operations in MPICH, IJHPCA 19(1), 2005: the algorithm for long messages and P
 * that is no power of two. */
#include "algorithm.h"

static moe_status_t run_step(moe_transport_t *t, const moe_alltoallv_t *x, size_t step,
                             moe_error_t *error)
{
    moe_status_t status = moe_exchange_start_recv(t, x, moe_exchange_peer_before(t, step), error);
    if (status == MOE_OK)
        status = moe_exchange_start_send(t, x, moe_exchange_peer_after(t, step), error);
    if (status == MOE_OK)
        status = t->ops->finish(t, error);
    return status;
}

static moe_status_t run(moe_transport_t *t, moe_device_t *d, const moe_alltoallv_t *x,
                        moe_error_t *error)
{
    moe_exchange_copy_own(t, d, x);
    for (size_t step = 1; step < t->size; step++) {
        const moe_status_t status = run_step(t, x, step, error);
        if (status != MOE_OK)
            return status;
    }
    return MOE_OK;
}

const moe_algorithm_ops_t moe_algorithm_pairwise = {
    .name = "pairwise",
    .summary = "P - 1 steps, one partner to send to and one to receive from in each",
    .source = "Thakur, Rabenseifner and Gropp 2005 (doi 10.1177/1094342005051521)",
    .run = run,
};
