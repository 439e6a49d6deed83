/* Runs whose ranks are threads of this process; and what world.c gives to each of them. */
#ifndef BENCH_WORLD_LOOPBACK_H
#define BENCH_WORLD_LOOPBACK_H

#include "world.h"

/* Refuses ranks that would be threads of each of several processes. */
moe_status_t world_loopback_check(const config_t *config, moe_error_t *error);
/* Starts config->ranks threads, runs `body` on each, and returns the worst that they end with. */
moe_status_t world_run_loopback(const config_t *config, world_fn body, moe_error_t *error);

/* Of world.c. Sets a rank up, runs the body, tears it down; parsed: what reading its options gave. */
moe_status_t world_run_rank(world_t *world, world_fn body, moe_status_t parsed, moe_error_t *error);
/* Destroys the transport. */
void world_end(world_t *world);

#endif
