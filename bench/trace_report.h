/* What a run says of the trace that its skew comes from. */
#ifndef BENCH_TRACE_REPORT_H
#define BENCH_TRACE_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "config.h"

/* Lines behind that of the routing; nothing where the skew reads no file. */
void trace_print(FILE *out, const config_t *config);
/* The object "trace" of a routing record, NULL where the skew reads no file. */
json_t *trace_record(const config_t *config);

/* "choices", "counts", "map" */
const char *trace_kind_name(const moe_trace_t *trace);
/* "262144 tokens of 8 ranks, 4 layers, 2 steps; top-8 of 64 experts" into text[256]. */
#define TRACE_TEXT 256
void trace_describe(const moe_trace_t *trace, char text[TRACE_TEXT]);

#endif
