/* What the drivers print and record, beside their own tables. */
#ifndef BENCH_OUTPUT_H
#define BENCH_OUTPUT_H

#include <jansson.h>
#include <stdio.h>

#include "config.h"
#include "moe/measure.h"
#include "moe/record.h"
#include "moe/traffic.h"

/* Who ran it where; fields that a driver without ranks does not know are 0 or NULL and left out. */
typedef struct run_place {
    size_t ranks, nodes, ranks_per_node;
    const char *(*host)(const void *context, size_t rank);
    const void *context;
    const char *transport, *transport_version, *device;
    const char *compute; /* description of the engine */
    size_t routed;       /* ranks that stand for all others; 0: all were routed */
    /* What a device adds to the heading and to the record; NULL: nothing. */
    void (*print_device)(const void *context, FILE *out);
    void (*record_device)(const void *context, json_t *run);
} run_place_t;

/* report: NULL where nothing is routed; the record is then without model and routing. */
json_t *run_record(const config_t *config, const run_place_t *place,
                   const moe_census_report_t *report);
/* The heading of a table: model, layout, routing, load, capacity. */
void print_heading(FILE *out, const config_t *config, const run_place_t *place,
                   const moe_census_report_t *report);
/* What belongs to the step at hand, where results are by step: a heading then leaves it out. Else
 * nothing. */
void print_step(FILE *out, const config_t *config, const moe_census_report_t *report);

/* From whom to whom the rows of a phase travel, padding included. */
moe_status_t write_matrix(moe_recorder_t *recorder, const char *style, const char *phase,
                          const moe_flow_t *flow, moe_error_t *error);

/* "12.3 [11.9, 12.8]" in the unit given (seconds * scale); "12.3 [n/a]" without an interval. */
void format_interval(char *text, size_t size, const moe_summary_t *summary, double scale,
                     int digits);
/* A number, or "n/a". */
void format_or_na(char *text, size_t size, bool has, double value, int digits);

#endif
