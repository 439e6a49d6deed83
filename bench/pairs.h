/* alltoallv --per-pair: every pair of ranks by itself, and who is slow by it. */
#ifndef BENCH_PAIRS_H
#define BENCH_PAIRS_H

#include "world.h"

/* Refuses --per-pair on one rank. */
moe_status_t pairs_possible(const world_t *world, moe_error_t *error);

/* Collective. Checks, measures within --max-seconds (PAIRS_SECONDS where none is given) all rounds in every
 * repetition, prints and records each pair, then what stands out. *errors: wrong elements are added. */
#define PAIRS_SECONDS 20.0
moe_status_t pairs_run(world_t *world, size_t *errors, moe_error_t *error);

#endif
