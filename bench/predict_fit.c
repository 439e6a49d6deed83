/* predict --fit: rebuilds what was exchanged from the records of a run, and fits a machine to the times. */
#include "predict_fit.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/predict.h"
#include "moe/record.h"
#include "moe/system.h"
#include "observed.h"
#include "ready_file.h"

#define SOURCE_TEXT 256

typedef struct fit_run {
    moe_results_t results;
    observed_t observed;
    moe_machine_t machine;
    json_t *document;
    double *deviation, *before; /* [observed.count] fitted, and as the machine was described */
    moe_fit_t fit, as_described;
} fit_run_t;

/* ---- Printing ---- */

static void print_rows(const fit_run_t *run, FILE *table)
{
    fprintf(table, "%-16s %-12s %-10s %-14s %12s %14s %10s %10s\n", "style", "algorithm", "phase",
            "skew", "measured ms", "as described", "deviation", "fitted");
    for (size_t i = 0; i < run->observed.count; i++) {
        const moe_observation_t *o = &run->observed.observation[i];
        const moe_result_t *result = run->observed.result[i];
        fprintf(table, "%-16s %-12s %-10s %-14s %12.3f %14.3f %+9.1f%% %+9.1f%%\n",
                moe_result_text(result, "style"), o->algorithm, moe_result_text(result, "phase"),
                moe_result_text(result, "run.routing.skew"), o->seconds * 1e3,
                o->seconds * (1 + run->before[i]) * 1e3, 100 * run->before[i],
                100 * run->deviation[i]);
    }
}

static void print_fit(const fit_run_t *run, FILE *table)
{
    print_rows(run, table);
    fprintf(table,
            "\n%zu exchanges, %zu left out (%s)\nas described: deviation %.1f %% at the median, "
            "%.1f %% "
            "at most\nfitted: deviation %.1f %% at the median, %.1f %% at most\n",
            run->fit.used, run->observed.left_out,
            run->observed.why[0] != '\0' ? run->observed.why : "none",
            100 * run->as_described.median, 100 * run->as_described.largest, 100 * run->fit.median,
            100 * run->fit.largest);
    for (size_t t = 0; t < run->machine.tiers; t++) {
        const moe_tier_t *tier = &run->machine.tier[t];
        fprintf(table, "%-12s latency %.4g us, overhead %.4g us, bandwidth %.4g GB/s%s\n",
                tier->name, tier->latency * 1e6, tier->overhead * 1e6, tier->bandwidth / 1e9,
                run->fit.fitted[t] ? "" : "  (not crossed by any exchange: as before)");
    }
}

/* ---- The description ---- */

static void set_constant(json_t *tier, const char *name, double value, const char *source)
{
    json_object_set_new(tier, name,
                        json_pack("{s:f, s:o}", "value", value, "source", moe_json_text(source)));
}

static void describe(fit_run_t *run, const char *results)
{
    char source[SOURCE_TEXT], name[MOE_MACHINE_NAME];
    json_t *tiers = json_object_get(run->document, "tiers");
    snprintf(source, sizeof source,
             "fitted to %zu exchanges of %.100s: deviation %.1f %% at the median, %.1f %% at most",
             run->fit.used, results, 100 * run->fit.median, 100 * run->fit.largest);
    for (size_t t = 0; t < run->machine.tiers; t++) {
        const moe_tier_t *m = &run->machine.tier[t];
        json_t *tier = json_array_get(tiers, t);
        if (m->ranks > 0)
            json_object_set_new(tier, "ranks", json_integer((json_int_t)m->ranks));
        if (!run->fit.fitted[t])
            continue;
        set_constant(tier, "latency_us", m->latency * 1e6, source);
        set_constant(tier, "overhead_us", m->overhead * 1e6, source);
        set_constant(tier, "bandwidth_GBps", m->bandwidth / 1e9, source);
        json_object_del(tier, "efficiency");
    }
    snprintf(name, sizeof name, "%.50s-fitted", run->machine.name);
    json_object_set_new(run->document, "name", json_string(name));
    json_object_set_new(run->document, "ranks_per_node",
                        json_integer((json_int_t)run->machine.ranks_per_node));
    json_object_del(run->document, "nodes");
}

static moe_status_t write_document(const fit_run_t *run, const char *path, moe_error_t *error)
{
    const size_t flags = JSON_INDENT(2) | JSON_REAL_PRECISION(9);
    FILE *file = path != NULL ? fopen(path, "w") : stdout;
    if (file == NULL) {
        return moe_fail(error, MOE_BAD_INPUT, "--output %s: %s", path, strerror(errno));
    }
    bool written = json_dumpf(run->document, file, flags) == 0 && fputc('\n', file) != EOF;
    if (path != NULL) {
        written = fclose(file) == 0 && written;
    } else {
        written = fflush(file) == 0 && written;
    }
    return written ? MOE_OK
                   : moe_fail(error, MOE_FAILED, "%s: cannot be written",
                              path != NULL ? path : "stdout");
}

/* ---- The run ---- */

static moe_status_t read_all(const config_t *config, fit_run_t *run, moe_error_t *error)
{
    const char *name = config->options.value[OPT_MACHINE];
    char path[PATH_MAX];
    if (name == NULL) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "--fit needs --machine: the description to start from, as h100-ib");
    }
    moe_status_t status = ready_file_find(&ready_machines, name, path, sizeof path, error);
    if (status == MOE_OK) {
        status = moe_machine_read(path, &run->machine, &run->document, error);
    }
    if (status == MOE_OK) {
        status = moe_results_read(config->options.value[OPT_FIT], &run->results, error);
    }
    if (status == MOE_OK) {
        status = observed_read(&run->results, &run->machine, &run->observed, error);
    }
    if (status == MOE_OK && run->observed.count == 0) {
        status =
            moe_fail(error, MOE_BAD_INPUT,
                     "--fit %.200s: no exchange that a machine can be fitted to (%zu left out: "
                     "%s); records of `layer` and of `alltoallv --sizes` are",
                     config->options.value[OPT_FIT], run->observed.left_out,
                     run->observed.why[0] != '\0' ? run->observed.why : "none were there");
    }
    return status;
}

moe_status_t predict_fit(config_t *config, moe_error_t *error)
{
    const char *output = config->options.value[OPT_OUTPUT];
    fit_run_t run = {.document = NULL};
    moe_status_t status = read_all(config, &run, error);
    if (status == MOE_OK) {
        status = moe_alloc("deviations", run.observed.count, sizeof *run.deviation,
                           (void **)&run.deviation, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc("deviations", run.observed.count, sizeof *run.before,
                           (void **)&run.before, error);
    }
    if (status == MOE_OK) {
        status = moe_machine_compare(&run.machine, run.observed.observation, run.observed.count,
                                     run.before, &run.as_described, error);
    }
    if (status == MOE_OK) {
        status = moe_machine_fit(&run.machine, run.observed.observation, run.observed.count,
                                 run.deviation, &run.fit, error);
    }
    if (status == MOE_OK) {
        if (!config->quiet) {
            print_fit(&run, output != NULL ? stdout : stderr);
        }
        describe(&run, config->options.value[OPT_FIT]);
        status = write_document(&run, output, error);
    }
    free(run.deviation);
    free(run.before);
    observed_destroy(&run.observed);
    moe_results_destroy(&run.results);
    json_decref(run.document);
    return status;
}
