/* What `compare` prints and records. */
#ifndef BENCH_COMPARE_OUTPUT_H
#define BENCH_COMPARE_OUTPUT_H

#include "outputs.h"

/* One file against the first; takes over the reference to `heading`. */
moe_status_t write_comparison(const outputs_t *outputs, const char *path_a, const char *path_b,
                              const moe_comparison_t *comparison, json_t *heading,
                              moe_error_t *error);

#endif
