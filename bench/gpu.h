/* GPUs of a run: which rank takes which, the transport over them, and what is told of it. */
#ifndef BENCH_GPU_H
#define BENCH_GPU_H

#include <jansson.h>

#include "world.h"

typedef struct rank_gpu {
    size_t number; /* as its rank counts them */
    bool near;     /* of those near the rank's cores */
    moe_gpu_t gpu;
} rank_gpu_t;

/* Collective, agreed: chooses a GPU for each rank (world->gpus), opens it (world->device), and puts
 * the transport for its memory over world->all. timeout: seconds that setting NCCL up may take. */
moe_status_t gpu_take(world_t *world, double timeout, moe_error_t *error);

/* Of a run on GPUs: lines for the heading of a table, and fields for the run record. */
void gpu_print(FILE *out, const world_t *world);
void gpu_record(const world_t *world, json_t *run);

#endif
