/* Who is slow: one sentence and one record a finding. */
#ifndef BENCH_FINDINGS_H
#define BENCH_FINDINGS_H

#include "moe/outliers.h"
#include "world.h"

/* Where the findings are from. */
typedef struct findings_source {
    const size_t *node; /* [ranks] */
    bool pairs;         /* of pairs of that reach; else of ranks by themselves, in: */
    moe_reach_t reach;
    const char *style, *algorithm, *phase;
    const size_t *slowest; /* [ranks] repetitions in which a rank was last, */
    size_t reps;           /* of so many */
} findings_source_t;

/* Ranks of the same host get the same number, below the number of ranks, into node[ranks]: by
 * --ranks-per-node where it is given. Collective. */
moe_status_t findings_nodes(world_t *world, size_t *node, moe_error_t *error);

/* Rank 0 only: prints and records. "Nothing stands out" and "too few to say" are findings too. */
moe_status_t findings_report(world_t *world, const findings_source_t *source,
                             const moe_findings_t *findings, moe_error_t *error);

#endif
