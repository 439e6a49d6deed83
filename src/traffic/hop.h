/* What the files of this room that make plans share. */
#ifndef MOE_TRAFFIC_HOP_H
#define MOE_TRAFFIC_HOP_H

#include "moe/traffic.h"

moe_status_t new_sizes(const char *what, size_t count, size_t **out, moe_error_t *error);
/* Empty arrays of a hop; destroy it also after an error. */
moe_status_t hop_create(moe_scope_t scope, size_t peers, size_t before, moe_hop_t *out,
                        moe_error_t *error);
void hop_destroy(moe_hop_t *hop);
/* first[count + 1] */
void running_sums(const size_t *rows, size_t count, size_t *first);

/* ---- Styles of one row per (token, place): src/traffic/tokens.c ---- */

/* The peer of a hop that holds an expert, for deduplication; SIZE_MAX: none (not reached by it). */
typedef size_t (*moe_place_fn)(const moe_sizes_t *sizes, int32_t expert);

/* Which of `places` hold a kept expert of token t: marks[places], 0 or 1. */
void tokens_places(const moe_sizes_t *sizes, const moe_batch_t *batch, size_t t, moe_place_fn place,
                   size_t places, uint8_t *marks);
/* The hop from the tokens: a row of every token to each place that holds a kept expert of it (or to
 * all of them); summed with weights 1 when it comes back. */
moe_status_t tokens_send(const moe_sizes_t *sizes, const moe_batch_t *batch, moe_place_fn place,
                         moe_hop_t *hop, moe_error_t *error);
/* Order in which the rows of the source ranks arrive: first_of[ranks] becomes the first arrival of
 * each, from rows_of[ranks]. */
typedef void (*moe_order_fn)(const moe_sizes_t *sizes, const size_t *rows_of, size_t *first_of);
/* The order of a direct exchange: sources ascending. */
void tokens_in_order_of_ranks(const moe_sizes_t *sizes, const size_t *rows_of, size_t *first_of);
/* Everything behind the last arrival: experts, and weighed sums on the way back. `all`: every token of
 * every rank arrives, whether it has an expert here or not. rows_of[ranks] is made and returned
 * (freed by the caller): arrivals of each source. */
moe_status_t tokens_arrive(const moe_workload_t *workload, const moe_sizes_t *sizes, bool all,
                           moe_order_fn order, moe_plan_t *plan, size_t **rows_of,
                           moe_error_t *error);

/* Index (K * 4 B) and weight (K * 4 B) of a token's kept experts, as DeepEP sends them. */
size_t tokens_index_and_weight_bytes(const moe_sizes_t *sizes);
void tokens_index_and_weight(const moe_sizes_t *sizes, const moe_batch_t *batch, size_t t, size_t k,
                             void *out);

#endif
