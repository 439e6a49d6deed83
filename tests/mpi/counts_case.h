/* Counts between ranks, over any transport. */
#ifndef TESTS_MPI_COUNTS_CASE_H
#define TESTS_MPI_COUNTS_CASE_H

#include <stdlib.h>

#include "on_ranks.h"

/* Rank r gives peer p (r + p) % 3 numbers, each r * 100 + p. */
static inline bool counts(moe_transport_t *t, char *text)
{
    size_t *memory = calloc(6 * t->size, sizeof *memory);
    EXPECT(memory != NULL);
    size_t *const count = memory, *const send = count + t->size, *const recv = send + 2 * t->size;
    size_t sent = 0, at = 0;
    for (size_t peer = 0; peer < t->size; peer++) {
        count[peer] = (t->rank + peer) % 3;
        for (size_t i = 0; i < count[peer]; i++)
            send[sent++] = t->rank * 100 + peer;
    }
    bool right = t->ops->alltoall_sizes(t, send, count, recv, count, NULL) == MOE_OK;
    for (size_t peer = 0; peer < t->size; peer++) {
        for (size_t i = 0; i < count[peer]; i++)
            right = right && recv[at++] == peer * 100 + t->rank;
    }
    free(memory);
    EXPECT(right);
    return true;
}

#endif
