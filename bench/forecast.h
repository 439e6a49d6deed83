/* Predictions of one configuration: what `predict` and `reproduce` have in common. */
#ifndef BENCH_FORECAST_H
#define BENCH_FORECAST_H

#include "iteration_report.h"
#include "layers.h"
#include "moe/predict.h"
#include "output.h"

typedef struct forecast_run {
    config_t *config;
    moe_machine_t machine;
    char compute[160]; /* in words */
    double flops;      /* a second; 0: compute takes no time */
    layer_set_t layers;
    moe_sample_t *sample; /* [layers.count] */
    moe_census_report_t census;
    size_t routed; /* as in run_place_t */
    size_t total_moe, total_dense;
} forecast_run_t;

/* Reads the machine that the options name, laid out as they say. */
moe_status_t forecast_machine(const config_t *config, moe_machine_t *out, moe_error_t *error);
/* What can be refused before anything is routed: layout, machine, compute, memory. */
moe_status_t forecast_check(config_t *config, const moe_machine_t *machine, moe_error_t *error);
/* Routes. `config` is borrowed. table: where styles that are left out are told; may be NULL. */
moe_status_t forecast_create(config_t *config, const moe_machine_t *machine, FILE *table,
                             forecast_run_t *out, moe_error_t *error);
void forecast_destroy(forecast_run_t *run);
moe_status_t forecast_style(const forecast_run_t *run, const moe_style_ops_t *style,
                            const char *algorithm, moe_forecast_t *out, moe_error_t *error);
/* The same for printing. */
void forecast_outcome(const moe_forecast_t *forecast, const moe_style_ops_t *style,
                      const char *algorithm, outcome_t *out);
iteration_view_t forecast_view(const forecast_run_t *run, FILE *table);
run_place_t forecast_place(const forecast_run_t *run);
/* Adds what a predicted iteration has beside those of a measured one. */
void forecast_record(const forecast_run_t *run, const moe_forecast_t *forecast, json_t *record);

#endif
