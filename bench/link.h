/* Bandwidth of the links under a run: as given, or measured between pairs of ranks. */
#ifndef BENCH_LINK_H
#define BENCH_LINK_H

#include <jansson.h>

#include "world.h"

typedef struct link {
    double bandwidth; /* bytes a second of a rank's port in one direction; 0: not known */
    bool measured;
    size_t pairings, pairs; /* where it was measured: pairs of all pairings */
    bool between_nodes;     /* only pairs on two nodes were measured */
} link_t;

/* By the options (collective). Measured: at each distance d = 1, 2, 4, ... below the number of ranks,
 * every rank i exchanges LINK_MESSAGE bytes with rank i xor d, both directions and all pairs at once;
 * where there are several nodes, only pairs on different ones. A rank's rate is the message over its
 * median time; the fastest rank's counts, so that no exchange can beat the bound that is made of it. */
#define LINK_MESSAGE ((size_t)4 << 20)
moe_status_t link_find(world_t *world, link_t *out, moe_error_t *error);

/* One line for the heading of a table. */
void link_describe(const link_t *link, char *text, size_t size);
/* For the run record; NULL where nothing is known. */
json_t *link_record(const link_t *link);

#endif
