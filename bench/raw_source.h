/* The matrices that alltoallv exchanges, from its options. */
#ifndef BENCH_RAW_SOURCE_H
#define BENCH_RAW_SOURCE_H

#include "world.h"

typedef struct raw_source_matrix {
    moe_matrix_t matrix;        /* of a sweep: of its first size */
    size_t hash_row;            /* bytes of a row; 1: there are none */
    bool routed;                /* by --pattern: */
    moe_census_report_t census; /* of the routing */
} raw_source_matrix_t;

/* Collective, agreed: the same matrix on all ranks. Refuses what does not fit memory; of a sweep its
 * largest size, before the first is measured. */
moe_status_t raw_source_create(world_t *world, raw_source_matrix_t *out, moe_error_t *error);
void raw_source_destroy(raw_source_matrix_t *source);
/* Every pair of ranks the same. */
void raw_source_set_size(raw_source_matrix_t *source, size_t bytes_per_pair);

#endif
