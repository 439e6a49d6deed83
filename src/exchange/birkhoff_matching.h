/* A matching of senders and receivers that lives on while its graph changes. */
#ifndef MOE_EXCHANGE_BIRKHOFF_MATCHING_H
#define MOE_EXCHANGE_BIRKHOFF_MATCHING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe/status.h"

typedef struct moe_matching {
    size_t ports, words; /* words of 64 bits in a row of the graph */
    uint64_t *edge;      /* [ports][words]: bit `to` of row `from` */
    uint64_t *unseen;    /* [words] receivers that a search has not reached */
    size_t *to, *from;   /* [ports] partners; `ports`: none */
    size_t *parent;      /* [ports] sender from which a search reached a receiver */
    size_t *queue;       /* [ports] senders of a search */
} moe_matching_t;

/* Without edges. Free with moe_matching_destroy(), which may be called on a zeroed one. */
moe_status_t moe_matching_create(size_t ports, moe_matching_t *out, moe_error_t *error);
void moe_matching_destroy(moe_matching_t *m);
/* Takes an edge away, and its partners apart if they are matched. */
void moe_matching_set_edge(moe_matching_t *m, size_t from, size_t to, bool there);
/* Matches all ports, if the graph allows it; else leaves a matching of some. */
bool moe_matching_complete(moe_matching_t *m);

#endif
