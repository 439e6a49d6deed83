/* The ranks' common clock: made for --sync round-time and none, said and recorded. */
#ifndef BENCH_CLOCKS_H
#define BENCH_CLOCKS_H

#include <jansson.h>

#include "world.h"

/* Collective, during set-up. Falls back to barriers, and says so on stderr, where the clock is worse than
 * what a barrier does. Makes no clock where none is needed. */
moe_status_t clocks_set_up(world_t *world, moe_error_t *error);

/* How repetitions start: "round-time", "barrier" or "none". */
const char *clocks_sync(const config_t *config);

/* A line of the heading; nothing without a clock. */
void clocks_print(const world_t *world);
/* "sync" as it is, and "clock" where there is one, into a `run` record. */
void clocks_record(const world_t *world, json_t *run);

/* Of a series with a clock: invalid repetitions and the clock's error after it. */
void clocks_add_series(json_t *record, const moe_series_t *series);

/* What stands behind a line of a table: "  3 of 105 invalid", or nothing. Returns text. */
const char *clocks_remark(const moe_series_t *series, char *text, size_t size);

#endif
