/* Several algorithms on one matrix, in turn within every repetition: noise and drift meet all of them
 * alike, and ratios are paired. */
#ifndef BENCH_ALTERNATE_H
#define BENCH_ALTERNATE_H

#include "link.h"
#include "raw_source.h"
#include "world.h"

/* All algorithms of the configuration; the first is what the others are held against. Prints and records
 * a line each. *errors: wrong bytes found by the checks. */
moe_status_t alternate_run(world_t *world, const raw_source_matrix_t *source, const link_t *link,
                           size_t *errors, moe_error_t *error);

#endif
