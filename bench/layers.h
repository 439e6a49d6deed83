/* The MoE layers that a run measures: routers, workloads, and exchanges made of them. */
#ifndef BENCH_LAYERS_H
#define BENCH_LAYERS_H

#include "moe/traffic.h"
#include "world.h"

typedef struct layer_set {
    size_t count, chunks;
    size_t *layer;              /* [count] number of each in the model */
    moe_router_t **router;      /* [count] */
    moe_workload_t *workload;   /* [count][chunks] */
    moe_placement_t home;       /* without replicas: what a workload's ranks hold */
    moe_placement_t *placement; /* [count] of each layer: eplb differs from layer to layer */
    size_t *tokens;             /* [chunks][group] */
    uint64_t *first_token;      /* [chunks][group] */
} layer_set_t;

/* Routers and workloads point into *out, which stays where it is until it is destroyed.
 * For ranks [first_rank, first_rank + ep) of the run: the first `count` MoE layers of the model. */
moe_status_t layer_set_create(const config_t *config, size_t first_rank, size_t ranks_per_node,
                              size_t count, layer_set_t *out, moe_error_t *error);
void layer_set_destroy(layer_set_t *set);

/* Refuses styles that cannot be with this layout and dtype; where all styles were asked for, leaves
 * them out instead and says so in the table. */
moe_status_t layer_set_choose(const layer_set_t *set, config_t *config, FILE *table,
                              moe_error_t *error);

/* Refuses tables and rows that cannot fit memory, before any are made (collective, agreed). */
moe_status_t layer_set_fits(const layer_set_t *set, world_t *world, moe_error_t *error);

/* Load figures over all ranks of the run (collective). */
moe_status_t layer_set_census(const layer_set_t *set, world_t *world, moe_census_report_t *out,
                              moe_error_t *error);

/* Exchanges of one style for all layers of the set and their chunks; a chunk's, of whichever layer, are
 * bound to one workspace. Refused where they do not fit memory (collective, agreed). extra_bytes: what
 * else this rank will allocate. */
typedef struct exchange_set {
    size_t count, chunks;
    moe_layer_t **layer;         /* [count][chunks] */
    moe_workspace_t **workspace; /* [chunks] */
} exchange_set_t;
moe_status_t exchange_set_create(const layer_set_t *set, world_t *world,
                                 const moe_style_ops_t *style, exchange_set_t *out,
                                 moe_error_t *error);
/* The second half: memory for rows, and `extra_bytes` beside them. */
moe_status_t exchange_set_bind(exchange_set_t *exchanges, world_t *world, size_t extra_bytes,
                               moe_error_t *error);
void exchange_set_destroy(exchange_set_t *exchanges);
moe_status_t exchange_set_use(exchange_set_t *exchanges, const moe_algorithm_ops_t *algorithm,
                              moe_error_t *error);
/* Checks every layer (collective). *errors: wrong elements on all ranks of the run; the rank that
 * found the first describes it on stderr. */
moe_status_t exchange_set_check(exchange_set_t *exchanges, world_t *world, size_t *errors,
                                moe_error_t *error);

#endif
