/* Scenarios: how tokens and the loads of experts are spread over ranks, experts and steps, as a file
 * of patterns/workloads says it (docs/workloads.md describes the format).
 *
 * Nothing in a scenario is a number of experts or ranks: one file works at any shape. What it gives is
 * a target for the share of each expert in the selections of one rank's tokens at one step; gates
 * draw from the popularity that realises these shares (see moe_scenario_loads()). */
#ifndef MOE_SCENARIO_H
#define MOE_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "moe/routing.h"
#include "moe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Reads a file. Files are not trusted: MOE_BAD_INPUT with file and place for what is no scenario. */
moe_status_t moe_scenario_read(const char *path, moe_scenario_t **out, moe_error_t *error);
void moe_scenario_destroy(moe_scenario_t *scenario);

/* As the file says; owned by the scenario. */
const char *moe_scenario_name(const moe_scenario_t *scenario);
const char *moe_scenario_isolates(const moe_scenario_t *scenario);
const char *moe_scenario_source(const moe_scenario_t *scenario);
/* Of the file's bytes. */
uint64_t moe_scenario_hash(const moe_scenario_t *scenario);

/* Steps after which it repeats itself on so many ranks; 1: every step is like the first. */
size_t moe_scenario_cycle(const moe_scenario_t *scenario, size_t ranks);
/* Do loads depend on the rank that holds a token, or on the step? */
bool moe_scenario_varies(const moe_scenario_t *scenario);

/* Do loads or token counts depend on the rank that holds a token? */
bool moe_scenario_ranks_differ(const moe_scenario_t *scenario);

/* Ranks of a node that the scenario goes by: ranks_per_node; or, where all ranks would share one node,
 * the largest divisor of `ranks` whose square is at most `ranks`: nodes are then supposed. 0: it
 * names no nodes. */
size_t moe_scenario_node_ranks(const moe_scenario_t *scenario, size_t ranks, size_t ranks_per_node);

/* Tokens that `rank` of a group holds at a step, of at most `tokens`. */
size_t moe_scenario_tokens(const moe_scenario_t *scenario, size_t tokens, size_t rank,
                           uint32_t step);

/* Refuses what the scenario of a spec cannot be on its ranks: a set of ranks that is empty, or fewer
 * experts in reach of a rank's tokens than each has to choose. */
moe_status_t moe_scenario_check(const moe_routing_spec_t *spec, moe_error_t *error);

/* load[experts]: the share of each expert in the selections of `source`'s tokens, sums to 1. No
 * share is more than 1 / top_k (every token chooses it): what a file asks beyond that goes to the
 * others in proportion. Realised by the softmax gate within what chance and the approximation of
 * moe_scenario_units() allow. */
moe_status_t moe_scenario_loads(const moe_routing_spec_t *spec, size_t layer, uint32_t step,
                                size_t source, double *load, moe_error_t *error);

#ifdef __cplusplus
}
#endif
#endif
