/* layer --per-rank: ranks that take long in a phase. */
#ifndef BENCH_SLOW_RANKS_H
#define BENCH_SLOW_RANKS_H

#include "moe/exchange.h"
#include "world.h"

/* Of a layer in one style by one algorithm. */
typedef struct slow_ranks {
    world_t *world;
    const moe_style_ops_t *style;
    const char *algorithm;
    const moe_flow_t *dispatch, *combine;
} slow_ranks_t;

/* Collective, with --per-rank only: prints and records who takes long in the phase of that column, given what its
 * load explains: bytes of its port for dispatch and combine, rows that it packs and unpacks for permute and
 * unpermute (of styles made of blocks per expert: with others rows are also copied to experts, which no flow
 * counts). The other phases are not judged: metadata and schedule are a few small messages, whose times are the
 * barrier's, and total is all of it. Nor is anything with --dp, since the flows are those of the first group. */
moe_status_t slow_ranks_find(const slow_ranks_t *about, moe_layer_column_t column,
                             const moe_series_t *series, moe_error_t *error);

#endif
