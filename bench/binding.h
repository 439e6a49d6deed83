/* Where the ranks of a run are bound: warned about where it spoils times, and recorded. */
#ifndef BENCH_BINDING_H
#define BENCH_BINDING_H

#include <jansson.h>

#include "world.h"

/* Collective, agreed, when world->gpus are known: fills world->bindings on rank 0, which says on stderr
 * what is wrong with them. Ranks that are threads of one process are not bound: nothing is done. */
moe_status_t binding_check(world_t *world, moe_error_t *error);

/* The field `binding` of the run record. */
void binding_record(const world_t *world, json_t *run);

void binding_free(world_t *world);

#endif
