/* Records: results as JSON Lines (one object a line, appended and flushed as they are made) and CSV.
 * docs/results.md describes every field. */
#ifndef MOE_RECORD_H
#define MOE_RECORD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "moe/measure.h"
#include "moe/status.h"
#include "moe/traffic.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MOE_SCHEMA 1

typedef struct moe_recorder moe_recorder_t;

/* json_path, csv_path: a file to append to, "-" for stdout, or NULL. Refuses what cannot be written,
 * before anything is measured. */
moe_status_t moe_recorder_create(const char *json_path, const char *csv_path, moe_recorder_t **out,
                                 moe_error_t *error);
/* Writes one record and flushes it; takes over the reference to `record` (also on failure).
 * Exchange, iteration and traffic records go to the CSV file too, one line each, under the columns
 * of their kind (a header line where the kind changes). MOE_FAILED where writing fails. A NULL
 * recorder accepts and drops everything. */
moe_status_t moe_recorder_write(moe_recorder_t *recorder, json_t *record, moe_error_t *error);
void moe_recorder_destroy(moe_recorder_t *recorder);

/* ---- Parts of records ---- */

/* {"useful":..,"logical":..,"wire":..,"padding":..} */
json_t *moe_json_bytes(const moe_bytes_t *bytes);
/* {"self":..,"intra_node":..,"inter_node":..} */
json_t *moe_json_tiers(const moe_tiers_t *tiers);
/* {"max_over_mean":..,"cv":..,"gini":..,"hottest_share":..} */
json_t *moe_json_load(const moe_load_t *load);
/* Adds "median_us", "min_us", and where the sample allows "ci_low_us", "ci_high_us", "p95_us",
 * "p99_us", from seconds. */
void moe_json_add_times(json_t *record, const moe_summary_t *seconds);
/* 64-bit hash as a hexadecimal string (JSON numbers do not hold 64 bits everywhere). */
json_t *moe_json_hash(unsigned long long hash);
/* An array of `n` times in microseconds from seconds. */
json_t *moe_json_times(const double *seconds, size_t n);
/* Topology and the environment of this process. */
json_t *moe_json_topology(void);
json_t *moe_json_environment(void);
/* Now, UTC, ISO 8601. */
json_t *moe_json_time(void);

#ifdef __cplusplus
}
#endif
#endif
