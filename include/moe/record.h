/* Records: results as JSON Lines (one object a line, appended and flushed as they are made) and CSV.
 * docs/results.md describes every field. */
#ifndef MOE_RECORD_H
#define MOE_RECORD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
 * Records of figures, findings and verdicts go to the CSV file too, one line each, under the columns of
 * their kind (a header line where the kind changes; lists are joined by ";"). MOE_FAILED where writing fails. A NULL
 * recorder accepts and drops everything. */
moe_status_t moe_recorder_write(moe_recorder_t *recorder, json_t *record, moe_error_t *error);
/* From now on every record carries this `step`; MOE_NO_STEP: none, as at first. */
#define MOE_NO_STEP SIZE_MAX
void moe_recorder_set_step(moe_recorder_t *recorder, size_t step);
void moe_recorder_destroy(moe_recorder_t *recorder);

/* ---- Parts of records ---- */

/* {"useful":..,"logical":..,"wire":..,"padding":..} */
json_t *moe_json_bytes(const moe_bytes_t *bytes);
/* {"self":..,"intra_node":..,"inter_node":..} */
json_t *moe_json_tiers(const moe_tiers_t *tiers);
/* Rows of a flow's matrix: [[bytes, ...], ...], row = sender. */
json_t *moe_json_matrix(const moe_flow_t *flow);
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
/* A string; JSON holds only UTF-8: of other text the ASCII is kept. */
json_t *moe_json_text(const char *text);
/* Now, UTC, ISO 8601. */
json_t *moe_json_time(void);

/* ---- Reading results ---- */

/* What is read of one file and of one line, at most: some ten times what the largest runs write. */
#define MOE_READ_FILE_BYTES ((size_t)256 << 20)
#define MOE_READ_LINE_BYTES ((size_t)64 << 20)

/* An exchange, iteration, traffic, pair or rank record, with the run that it belongs to. */
typedef struct moe_result {
    json_t *record, *run; /* as all here: owned by the results */
    json_t *raw;          /* its repetitions, a `raw` record; NULL: none were recorded */
    const char *file;     /* as the user wrote it */
    size_t line;          /* from 1 */
} moe_result_t;

typedef struct moe_results {
    moe_result_t *result; /* [count] in the order in which they were read */
    size_t count, room;
    moe_result_t *finding; /* [findings] who stood out in a run, as the run itself concluded */
    size_t findings, finding_room;
    json_t **run; /* [runs] */
    size_t runs, run_room;
    char **file; /* [files] */
    size_t files, file_room;
} moe_results_t;

/* Adds what a file of JSON Lines holds to `results`, which starts zeroed. docs/results.md says which
 * files are sound. Files are not trusted: MOE_BAD_INPUT, with file and line, for what is empty, cut
 * off, edited, of another program or schema, too long, for a known field of a wrong type or sign, and
 * for figures that contradict each other. Fields and kinds of records that are not known are kept and
 * skipped. After a failure `results` can only be destroyed. */
moe_status_t moe_results_read(const char *path, moe_results_t *results, moe_error_t *error);
void moe_results_destroy(moe_results_t *results);

/* The value at a path of names with dots between, "bytes.wire"; NULL: there is none. */
const json_t *moe_json_at(const json_t *record, const char *path);
/* The same; a path that begins with "run." leads into the run record. */
const json_t *moe_result_at(const moe_result_t *result, const char *path);
/* Text at a path of a result, "" where there is none. */
const char *moe_result_text(const moe_result_t *result, const char *path);
/* Is the path a field that docs/results.md describes, of that kind of record ("run." as above)? */
bool moe_field_is_known(const char *kind, const char *path);
/* The known field whose spelling is nearest; NULL: none is near. */
const char *moe_field_nearest(const char *kind, const char *path);

#ifdef __cplusplus
}
#endif
#endif
