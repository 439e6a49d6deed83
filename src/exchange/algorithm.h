/* What the algorithms of this room share. */
#ifndef MOE_EXCHANGE_ALGORITHM_H
#define MOE_EXCHANGE_ALGORITHM_H

#include "moe/exchange.h"

extern const moe_algorithm_ops_t moe_algorithm_native;
extern const moe_algorithm_ops_t moe_algorithm_linear;
extern const moe_algorithm_ops_t moe_algorithm_pairwise;
extern const moe_algorithm_ops_t moe_algorithm_bruck, moe_algorithm_bruck_4, moe_algorithm_bruck_8,
    moe_algorithm_bruck_16;
extern const moe_algorithm_ops_t moe_algorithm_hierarchical;
extern const moe_algorithm_ops_t moe_algorithm_birkhoff;
extern const moe_algorithm_ops_t moe_algorithm_best;

/* Peers at a distance of `step` on the ring of ranks; 0 < step < size. */
size_t moe_exchange_peer_after(const moe_transport_t *t, size_t step);
size_t moe_exchange_peer_before(const moe_transport_t *t, size_t step);

/* One block between this rank and another; nothing where it has no rows (both sides know that). */
moe_status_t moe_exchange_start_send(moe_transport_t *t, const moe_alltoallv_t *x, size_t to,
                                     moe_error_t *error);
moe_status_t moe_exchange_start_recv(moe_transport_t *t, const moe_alltoallv_t *x, size_t from,
                                     moe_error_t *error);
/* run() of an algorithm; graph not NULL: as a graph, which the first run records in *graph. */
moe_status_t moe_exchange_run(const moe_algorithm_ops_t *algorithm, moe_transport_t *t,
                              moe_device_t *d, const moe_alltoallv_t *x, moe_graph_t **graph,
                              moe_error_t *error);
/* Memory for rows: the transport's, where it has such, else the device's. */
moe_status_t moe_exchange_alloc_rows(moe_transport_t *t, moe_device_t *d, const char *what,
                                     size_t bytes, void **out, moe_error_t *error);
void moe_exchange_release_rows(moe_transport_t *t, moe_device_t *d, void *rows);

/* The block that stays on this rank. */
void moe_exchange_copy_own(const moe_transport_t *t, moe_device_t *d, const moe_alltoallv_t *x);

#endif
