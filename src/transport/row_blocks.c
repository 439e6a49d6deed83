#include "row_blocks.h"

moe_status_t moe_transport_check_blocks(const moe_transport_t *t, const moe_alltoallv_t *x,
                                        moe_error_t *error)
{
    const size_t own = t->rank;
    if (x->send_rows[own] != x->recv_rows[own])
        return moe_fail(error, MOE_FAILED,
                        "all-to-all: rank %zu sends itself %zu rows and receives %zu", own,
                        x->send_rows[own], x->recv_rows[own]);
    for (size_t peer = 0; x->uniform && peer < t->size; peer++) {
        const size_t rows = x->send_rows[0];
        if (x->send_rows[peer] != rows || x->recv_rows[peer] != rows ||
            x->send_first[peer] != peer * rows || x->recv_first[peer] != peer * rows)
            return moe_fail(error, MOE_FAILED,
                            "all-to-all: rank %zu calls its blocks uniform, but the block of rank "
                            "%zu has %zu rows out and %zu in, not %zu, or is not in its place",
                            own, peer, x->send_rows[peer], x->recv_rows[peer], rows);
    }
    return MOE_OK;
}
