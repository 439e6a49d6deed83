/* What `accept` prints and records. */
#ifndef BENCH_ACCEPT_OUTPUT_H
#define BENCH_ACCEPT_OUTPUT_H

#include "outputs.h"

/* Takes over the reference to `heading`. */
moe_status_t write_acceptance(const outputs_t *outputs, const moe_rules_t *rules,
                              const moe_acceptance_t *acceptance, json_t *heading,
                              moe_error_t *error);

/* "exact native dispatch layer 0 (mixtral-8x7b, 8 ranks; run.jsonl:7)" */
void describe_result(const moe_result_t *result, char *text, size_t size);

/* JUnit's XML, as CI systems read it: a failure for FAIL, an error for INCONCLUSIVE. */
void write_junit(FILE *out, const moe_rules_t *rules, const moe_acceptance_t *acceptance);

#endif
