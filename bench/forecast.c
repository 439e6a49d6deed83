#include "forecast.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"
#include "ready_file.h"

/* Loss figures are made of at most about so many tokens: see layers.c. */
#define GATE_SUM_TOKENS 8192
#define TERM_TEXT       96

/* ---- Machine and compute ---- */

moe_status_t forecast_machine(const config_t *config, moe_machine_t *out, moe_error_t *error)
{
    const char *name = config->options.value[OPT_MACHINE];
    char path[PATH_MAX];
    if (name == NULL) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "--machine is missing: give a file, or one of those that come along, as "
                        "h100-ib (docs/predict.md)");
    }
    moe_status_t status = ready_file_find(&ready_machines, name, path, sizeof path, error);
    if (status == MOE_OK) {
        status = moe_machine_read(path, out, NULL, error);
    }
    if (status == MOE_OK && config->ranks_per_node > 0) {
        moe_machine_set_node(out, config->ranks_per_node);
    }
    return status;
}

/* The rate that the machine or --compute gives, and how it is told. */
static moe_status_t compute_of(const config_t *config, const moe_machine_t *machine, double *flops,
                               char *text, size_t size, moe_error_t *error)
{
    const moe_dtype_t dtype = config->combine_dtype;
    if (strcmp(config->compute, "machine") == 0) {
        const double peak = moe_machine_flops(machine, dtype);
        if (peak <= 0) {
            return moe_fail(error, MOE_BAD_INPUT,
                            "machine %s tells no rate of %s: add compute.%s_TFLOPs to it, or give "
                            "--compute model:FLOPS,EFFICIENCY",
                            machine->name, moe_dtype_name(dtype), moe_dtype_name(dtype));
        }
        *flops = peak * machine->efficiency;
        snprintf(text, size, "%.4g TFLOP/s x %.2g (modelled: machine %s)", peak / 1e12,
                 machine->efficiency, machine->name);
        return MOE_OK;
    }
    if (strcmp(config->compute, "gemm") == 0) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "--compute gemm: nothing is run here; there are machine, none, "
                        "model:FLOPS,EFFICIENCY and gpu:NAME");
    }
    moe_compute_t *engine = NULL;
    const moe_status_t status =
        moe_compute_create("--compute", config->compute, NULL, &engine, error);
    if (status == MOE_OK) {
        *flops = engine->flops_per_second;
        snprintf(text, size, "%s", engine->description);
    }
    moe_compute_destroy(engine);
    return status;
}

static moe_status_t check_memory(const config_t *c, size_t layers, moe_error_t *error)
{
    const double ranks = (double)c->ep;
    const double counted = ranks <= MOE_MOST_COUNTED ? ranks * ranks * 8 * sizeof(float) : 0;
    const double bytes = (double)config_batch_bytes(c) +
                         (double)layers * (counted + ranks * 12 * sizeof(double)) +
                         ranks * 64 * sizeof(double);
    return config_routing_fits(bytes, error);
}

static size_t predicted_layers(const config_t *c)
{
    const size_t all = moe_model_moe_layers(&c->model);
    return c->measure_layers == 0 || c->measure_layers > all ? all : c->measure_layers;
}

moe_status_t forecast_check(config_t *config, const moe_machine_t *machine, moe_error_t *error)
{
    char text[160];
    double flops;
    moe_status_t status = config_lay_out(config, config->ranks, error);
    if (status == MOE_OK) {
        status = moe_machine_check(machine, config->ranks, error);
    }
    if (status == MOE_OK) {
        status = compute_of(config, machine, &flops, text, sizeof text, error);
    }
    return status == MOE_OK ? check_memory(config, predicted_layers(config), error) : status;
}

/* ---- Routing ---- */

typedef struct census_context {
    moe_census_t census;
    const moe_workload_t *workload;
    size_t stride;
} census_context_t;

static void look(void *context, size_t rank, const moe_batch_t *batch)
{
    census_context_t *c = context;
    (void)rank;
    moe_census_add(&c->census, c->workload, batch, 0, c->stride);
}

static moe_status_t sample_layer(forecast_run_t *run, size_t i, size_t tokens,
                                 moe_census_report_t *report, moe_error_t *error)
{
    const config_t *c = run->config;
    census_context_t context = {.workload = &run->layers.workload[i * run->layers.chunks]};
    const double routed = (double)moe_sample_ranks(context.workload, tokens) * (double)c->tokens;
    context.stride = (size_t)(routed / GATE_SUM_TOKENS) + 1;
    moe_status_t status =
        moe_census_create_placed(context.workload->placement, c->ep, &context.census, error);
    if (status == MOE_OK) {
        status =
            moe_sample_create(context.workload, tokens, look, &context, &run->sample[i], error);
    }
    if (status == MOE_OK) {
        moe_census_summarise(&context.census, report);
    }
    moe_census_destroy(&context.census);
    return status;
}

static moe_status_t sample_layers(forecast_run_t *run, moe_error_t *error)
{
    const size_t count = run->layers.count;
    moe_census_report_t *reports = NULL;
    size_t tokens = 0;
    moe_status_t status =
        moe_parse_size("--sample-tokens", run->config->options.value[OPT_SAMPLE_TOKENS], 1,
                       (size_t)1 << 40, &tokens, error);
    if (status == MOE_OK) {
        status = moe_alloc("load figures", count, sizeof *reports, (void **)&reports, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc("samples", count, sizeof *run->sample, (void **)&run->sample, error);
    }
    for (size_t i = 0; status == MOE_OK && i < count; i++) {
        status = sample_layer(run, i, tokens, &reports[i], error);
    }
    if (status == MOE_OK) {
        moe_census_mean(reports, count, &run->census);
        run->routed = run->sample[0].sampled < run->sample[0].ranks ? run->sample[0].sampled : 0;
    }
    if (status == MOE_OK && run->routed > 0 && run->config->scenario != NULL &&
        moe_scenario_ranks_differ(run->config->scenario)) {
        status =
            moe_fail(error, MOE_BAD_INPUT,
                     "--workload %s: its ranks differ, and %zu of %zu are routed, which cannot "
                     "stand for the others: raise --sample-tokens, or lower --tokens",
                     moe_scenario_name(run->config->scenario), run->routed, run->config->ep);
    }
    if (status == MOE_OK && run->routed > 0 && moe_skew_is_traced(&run->config->routing.skew) &&
        moe_trace_by_rank(run->config->routing.skew.trace, &run->config->routing.run)) {
        status = moe_fail(error, MOE_BAD_INPUT,
                          "--skew trace: each rank takes the choices of its own number, and %zu of "
                          "%zu are routed, which cannot stand for the others: raise "
                          "--sample-tokens, or lower --tokens",
                          run->routed, run->config->ep);
    }
    free(reports);
    return status;
}

moe_status_t forecast_create(config_t *config, const moe_machine_t *machine, FILE *table,
                             forecast_run_t *out, moe_error_t *error)
{
    forecast_run_t run = {
        .config = config, .machine = *machine, .total_moe = moe_model_moe_layers(&config->model)};
    run.total_dense = config->model.layers - run.total_moe;
    moe_status_t status =
        compute_of(config, machine, &run.flops, run.compute, sizeof run.compute, error);
    if (status == MOE_OK) {
        status = layer_set_create(config, 0, machine->ranks_per_node, predicted_layers(config),
                                  &out->layers, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    run.layers = out->layers;
    *out = run;
    status = layer_set_choose(&out->layers, config, table, error);
    if (status == MOE_OK) {
        status = sample_layers(out, error);
    }
    if (status != MOE_OK) {
        forecast_destroy(out);
    }
    return status;
}

void forecast_destroy(forecast_run_t *run)
{
    for (size_t i = 0; run->sample != NULL && i < run->layers.count; i++) {
        moe_sample_destroy(&run->sample[i]);
    }
    free(run->sample);
    run->sample = NULL;
    layer_set_destroy(&run->layers);
}

/* ---- A style ---- */

moe_status_t forecast_style(const forecast_run_t *run, const moe_style_ops_t *style,
                            const char *algorithm, moe_forecast_t *out, moe_error_t *error)
{
    const config_t *c = run->config;
    size_t least, most;
    config_tokens_range(c, &least, &most);
    const moe_forecast_spec_t spec = {.machine = &run->machine,
                                      .model = &c->model,
                                      .style = style,
                                      .algorithm = algorithm,
                                      .dtype = c->dtype,
                                      .combine_dtype = c->combine_dtype,
                                      .pass = c->pass,
                                      .tokens = most,
                                      .sequence = c->sequence,
                                      .ep = c->ep,
                                      .dp = c->dp,
                                      .chunks = c->chunks,
                                      .flops = run->flops,
                                      .roofline = true};
    moe_layer_forecast_t *layers = NULL;
    moe_status_t status =
        moe_alloc("layers", run->layers.count, sizeof *layers, (void **)&layers, error);
    for (size_t i = 0; status == MOE_OK && i < run->layers.count; i++) {
        status = moe_predict_layer(&spec, &run->layers.workload[i * run->layers.chunks],
                                   &run->sample[i], &layers[i], error);
    }
    if (status == MOE_OK) {
        status = moe_predict_iteration(&spec, layers, run->layers.count, out, error);
    }
    free(layers);
    return status;
}

/* ---- For printing ---- */

static moe_summary_t one(double value)
{
    return (moe_summary_t){.n = 1, .median = value, .min = value};
}

void forecast_outcome(const moe_forecast_t *f, const moe_style_ops_t *style, const char *algorithm,
                      outcome_t *out)
{
    *out = (outcome_t){.style = style, .algorithm = algorithm, .slowest = f->busiest};
    out->whole = one(f->iteration);
    out->mean[MOE_COLUMN_ITERATION] = out->max[MOE_COLUMN_ITERATION] = one(f->iteration);
    out->mean[MOE_COLUMN_COMPUTE_ONLY] = one(f->compute_only);
    out->max[MOE_COLUMN_COMPUTE_ONLY] = one(f->compute_only_max);
    for (int p = 0; p < MOE_PARTS; p++) {
        out->part[p] = f->part[p];
        out->mean[MOE_COLUMN_PART0 + p] = one(f->part[p]);
        out->max[MOE_COLUMN_PART0 + p] = one(f->part_max[p]);
    }
    out->share[SHARE_A2A] = one(f->share_a2a);
    out->share[SHARE_SERIAL] = one(f->share_serial);
    out->share[SHARE_EXPOSED] = one(f->share_exposed);
}

iteration_view_t forecast_view(const forecast_run_t *run, FILE *table)
{
    return (iteration_view_t){.config = run->config,
                              .table = table,
                              .ranks = run->config->ranks,
                              .compute = run->compute,
                              .moe_layers = run->layers.count,
                              .dense_layers = run->total_dense,
                              .total_moe = run->total_moe,
                              .total_dense = run->total_dense,
                              .predicted = true};
}

static void print_machine(const void *context, FILE *out)
{
    const forecast_run_t *run = context;
    const moe_machine_t *m = &run->machine;
    fprintf(out, "machine   %s: PREDICTED, nothing was run; ", m->name);
    for (size_t t = 0; t < m->tiers; t++) {
        const moe_tier_t *tier = &m->tier[t];
        fprintf(out, "%s%s %.4g GB/s", t > 0 ? ", " : "", tier->name, tier->bandwidth / 1e9);
        if (tier->ranks_per_port > 1) {
            fprintf(out, " for %zu ranks", tier->ranks_per_port);
        }
        fprintf(out, " + %.3g us", tier->latency * 1e6);
    }
    fprintf(out, "\n");
    if (run->config->ep > run->config->model.experts) {
        fprintf(out,
                "          %zu of %zu ranks of a group hold no expert: --ep %zu would use all\n",
                run->config->ep - run->config->model.experts, run->config->ep,
                run->config->model.experts);
    }
}

static void record_machine(const void *context, json_t *run)
{
    const forecast_run_t *forecast = context;
    json_object_set_new(run, "predicted", json_true());
    json_object_set_new(run, "machine", json_string(forecast->machine.name));
}

run_place_t forecast_place(const forecast_run_t *run)
{
    return (run_place_t){.ranks = run->config->ranks,
                         .ranks_per_node = run->machine.ranks_per_node,
                         .context = run,
                         .compute = run->compute,
                         .routed = run->routed,
                         .print_device = print_machine,
                         .record_device = record_machine};
}

void forecast_record(const forecast_run_t *run, const moe_forecast_t *f, json_t *record)
{
    const moe_machine_t *m = &run->machine;
    char term[TERM_TEXT];
    const double most = moe_forecast_dominating(f, m, term, sizeof term);
    json_t *bandwidth = json_object();
    for (size_t t = 0; t < m->tiers; t++) {
        json_object_set_new(bandwidth, m->tier[t].name, json_real(f->terms.bytes[t] * 1e3));
    }
    json_object_set_new(record, "predicted", json_true());
    json_object_set_new(record, "machine", json_string(m->name));
    json_object_set_new(record, "dominating",
                        json_pack("{s:s, s:f}", "term", term, "ms", most * 1e3));
    json_object_set_new(record, "terms_ms",
                        json_pack("{s:f, s:f, s:f, s:f, s:o}", "latency", f->terms.latency * 1e3,
                                  "overhead", f->terms.overhead * 1e3, "memory",
                                  f->terms.memory * 1e3, "wait", f->wait * 1e3, "bandwidth",
                                  bandwidth));
}
