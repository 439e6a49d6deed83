#include "hop.h"

#include <stdlib.h>

#include "moe/system.h"

size_t moe_hop_send_rows(const moe_hop_t *hop)
{
    return hop->send_first[hop->peers];
}

size_t moe_hop_recv_rows(const moe_hop_t *hop)
{
    return hop->slot_first != NULL ? hop->slot_first[hop->peers] : hop->recv_first[hop->peers];
}

size_t moe_hop_back_rows(const moe_hop_t *hop)
{
    return hop->back_first != NULL ? hop->back_first[hop->peers] : hop->send_first[hop->peers];
}

moe_status_t new_sizes(const char *what, size_t count, size_t **out, moe_error_t *error)
{
    return moe_alloc(what, count, sizeof **out, (void **)out, error);
}

moe_status_t hop_create(moe_scope_t scope, size_t peers, size_t before, moe_hop_t *out,
                        moe_error_t *error)
{
    *out = (moe_hop_t){.scope = scope, .peers = peers, .before = before};
    moe_status_t status = new_sizes("rows to each peer", peers, &out->send_rows, error);
    if (status == MOE_OK) {
        status = new_sizes("rows from each peer", peers, &out->recv_rows, error);
    }
    if (status == MOE_OK) {
        status = new_sizes("rows to each peer", peers + 1, &out->send_first, error);
    }
    return status == MOE_OK ? new_sizes("rows from each peer", peers + 1, &out->recv_first, error)
                            : status;
}

void running_sums(const size_t *rows, size_t count, size_t *first)
{
    first[0] = 0;
    for (size_t p = 0; p < count; p++) {
        first[p + 1] = first[p] + rows[p];
    }
}

void hop_destroy(moe_hop_t *hop)
{
    for (size_t r = 0; r < hop->rounds; r++) {
        free(hop->round[r].send_rows); /* one block of memory for the four */
    }
    free(hop->round);
    free(hop->send_rows);
    free(hop->recv_rows);
    free(hop->send_first);
    free(hop->recv_first);
    free(hop->gather);
    free(hop->reduce_first);
    free(hop->reduce_row);
    free(hop->reduce_weight);
    free(hop->slot_first);
    free(hop->back_first);
    free(hop->side_row);
    *hop = (moe_hop_t){0};
}
