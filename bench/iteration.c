/* moe-a2a iteration: whole iterations of a model, and the share of them that is communication. */
#include <stdlib.h>
#include <string.h>

#include "clocks.h"
#include "commands.h"
#include "iteration_report.h"
#include "moe/system.h"
#include "steps.h"

static const command_t command = {
    .name = "iteration",
    .summary = "whole iterations: the share of time that is communication  (the main job)",
    .help =
        "Runs iterations of a model, compute and token exchanges in turn, and reports what share "
        "of "
        "the time is communication, for every style and algorithm asked for.\v"
        "a2a: metadata, dispatch and combine over the iteration. serial: that and the gradient "
        "all-reduce. exposed: what is left of the iteration without the same compute run alone and "
        "without permutation. Shares carry the 95 % interval of their median over repetitions.\n\n"
        "  mpirun -np 4 moe-a2a iteration --model olmoe-1b-7b --tokens 32 --style exact,padded",
    .groups = GROUP_MODEL | GROUP_ROUTING | GROUP_LAYOUT | GROUP_STYLE | GROUP_EXCHANGE |
              GROUP_GPU | GROUP_COMPUTE | GROUP_MEASURE | GROUP_OUTPUT | GROUP_SAMPLES |
              GROUP_STEPS,
    .standard_style = "exact",
};

typedef struct iteration_run {
    world_t *world;
    moe_compute_t *compute;
    layer_set_t layers;
    size_t measured_dense, total_moe, total_dense;
    size_t errors;
} iteration_run_t;

static iteration_view_t view_of(const iteration_run_t *run)
{
    return (iteration_view_t){.config = &run->world->config,
                              .table = run->world->table,
                              .ranks = run->world->all->size,
                              .compute = run->compute->description,
                              .moe_layers = run->layers.count,
                              .dense_layers = run->measured_dense,
                              .total_moe = run->total_moe,
                              .total_dense = run->total_dense};
}

/* ---- Measuring ---- */

static moe_status_t summarise_shares(const moe_series_t *series, outcome_t *out, moe_error_t *error)
{
    const size_t n = series->reps;
    double *share = NULL;
    moe_status_t status = moe_alloc("shares", SHARES * n, sizeof *share, (void **)&share, error);
    if (status != MOE_OK) {
        return status;
    }
    moe_iteration_shares(series, share, share + n, share + 2 * n);
    for (size_t s = 0; s < SHARES && status == MOE_OK; s++) {
        status = moe_summarise(share + s * n, n, &out->share[s], error);
    }
    free(share);
    return status;
}

static moe_status_t summarise(const moe_series_t *series, outcome_t *out, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t c = 0; c < MOE_ITERATION_COLUMNS && status == MOE_OK; c++) {
        status = moe_summarise(moe_series_column(series, series->mean, c), series->reps,
                               &out->mean[c], error);
        if (status == MOE_OK) {
            status = moe_summarise(moe_series_column(series, series->max, c), series->reps,
                                   &out->max[c], error);
        }
    }
    if (status == MOE_OK) {
        status = moe_iteration_parts(series, out->part, error);
    }
    out->whole = out->max[MOE_COLUMN_ITERATION];
    out->slowest = moe_series_slowest(series, MOE_COLUMN_ITERATION, &out->slowest_times);
    return status == MOE_OK ? summarise_shares(series, out, error) : status;
}

static moe_status_t report(const iteration_run_t *run, outcome_t *o, const moe_series_t *series,
                           moe_error_t *error)
{
    world_t *w = run->world;
    world_progress_end(w);
    moe_status_t status = summarise(series, o, error);
    const iteration_view_t view = view_of(run);
    json_t *record = NULL;
    if (status == MOE_OK && w->all->rank == 0) {
        status = outcome_record(&view, o, series, &record, error);
        status = status == MOE_OK ? moe_recorder_write(w->recorder, record, error) : status;
    }
    if (status == MOE_OK && w->table != NULL) {
        print_outcome(&view, o, series, NULL);
    }
    if (status == MOE_OK) {
        status = write_raw(w, o->style->name, o->algorithm, "iteration", series,
                           MOE_COLUMN_ITERATION, error);
    }
    return status == MOE_OK ? write_ranks(w, o->style->name, o->algorithm, "iteration", series,
                                          MOE_COLUMN_ITERATION, error)
                            : status;
}

static moe_status_t run_algorithm(iteration_run_t *run, moe_iteration_t *iteration,
                                  exchange_set_t *exchanges, const moe_algorithm_ops_t *algorithm,
                                  outcome_t *out, moe_error_t *error)
{
    world_t *w = run->world;
    moe_series_t series = {0};
    char label[64];
    out->algorithm = algorithm->name;
    snprintf(label, sizeof label, "%s %s", out->style->name, out->algorithm);
    w->doing = label;
    world_progress(w, "checking %s ...", label);
    moe_status_t status = exchange_set_use(exchanges, algorithm, error);
    if (status == MOE_OK) {
        status = exchange_set_check(exchanges, w, &out->errors, error);
    }
    run->errors += out->errors;
    if (status == MOE_OK) {
        status = measured_series(w, label, MOE_ITERATION_COLUMNS, 1, moe_iteration_repeat,
                                 iteration, &series, error);
    }
    if (status == MOE_OK) {
        status = report(run, out, &series, error);
    }
    moe_series_destroy(&series);
    w->doing = "set-up";
    return status;
}

static moe_iteration_spec_t timeline_of(const iteration_run_t *run, const exchange_set_t *exchanges)
{
    world_t *w = run->world;
    const config_t *c = &w->config;
    return (moe_iteration_spec_t){
        .model = &c->model,
        .pass = c->pass,
        .tokens = config_tokens_of(c, w->group->rank),
        .sequence = c->sequence,
        .compute = run->compute,
        .world = w->all,
        .replicas = w->replicas,
        .gradients = c->dp > 1,
        .local_experts = moe_layer_local_experts(exchanges->layer[0]),
        .moe_layers = exchanges->layer,
        .measured_moe = exchanges->count,
        .chunks = exchanges->chunks,
        .measured_dense = run->measured_dense,
        .total_moe = run->total_moe,
        .total_dense = run->total_dense,
    };
}

static moe_status_t run_style(iteration_run_t *run, const moe_style_ops_t *style,
                              outcome_t *outcomes, moe_error_t *error)
{
    world_t *w = run->world;
    exchange_set_t exchanges = {0};
    moe_iteration_t *iteration = NULL;
    w->running = false;
    moe_status_t status = exchange_set_create(&run->layers, w, style, &exchanges, error);
    if (status != MOE_OK) {
        return status;
    }
    const moe_iteration_spec_t spec = timeline_of(run, &exchanges);
    status = world_agree(w, moe_iteration_create(&spec, &iteration, error), error);
    if (status == MOE_OK) {
        status = exchange_set_bind(&exchanges, w, moe_iteration_bytes(iteration), error);
    }
    if (status == MOE_OK) {
        status = world_agree(w, moe_iteration_prepare(iteration, error), error);
    }
    w->running = status == MOE_OK;
    for (size_t a = 0; status == MOE_OK && a < w->config.algorithms; a++) {
        outcomes[a].style = style;
        status =
            run_algorithm(run, iteration, &exchanges, w->config.algorithm[a], &outcomes[a], error);
    }
    moe_iteration_destroy(iteration);
    exchange_set_destroy(&exchanges);
    return status;
}

/* ---- The run ---- */

static moe_status_t announce(iteration_run_t *run, moe_error_t *error)
{
    world_t *w = run->world;
    moe_census_report_t census;
    moe_status_t status = layer_set_census(&run->layers, w, &census, error);
    if (status != MOE_OK || w->all->rank != 0) {
        return status;
    }
    char version[256];
    w->all->ops->version(w->all, version, sizeof version);
    run_place_t place = world_place(w);
    place.transport_version = version;
    place.compute = run->compute->description;
    if (w->table != NULL) {
        const iteration_view_t view = view_of(run);
        if (w->config.step == 0) {
            print_heading(w->table, &w->config, &place, &census);
            clocks_print(w);
            print_timeline(&view);
        }
        print_step(w->table, &w->config, &census);
        print_iteration_columns(&view);
    }
    json_t *record = run_record(&w->config, &place, &census);
    clocks_record(w, record);
    return moe_recorder_write(w->recorder, record, error);
}

static moe_status_t prepare_run(iteration_run_t *run, moe_error_t *error)
{
    world_t *w = run->world;
    const config_t *c = &w->config;
    run->total_moe = moe_model_moe_layers(&c->model);
    run->total_dense = c->model.layers - run->total_moe;
    size_t measured = c->measure_layers == 0 || c->measure_layers > run->total_moe
                          ? run->total_moe
                          : c->measure_layers;
    run->measured_dense = c->measure_layers == 0 ? run->total_dense : run->total_dense > 0;
    moe_status_t status =
        world_agree(w,
                    layer_set_create(c, w->all->rank - w->group->rank, w->ranks_per_node, measured,
                                     &run->layers, error),
                    error);
    if (status == MOE_OK) {
        status = layer_set_fits(&run->layers, w, error);
    }
    if (status == MOE_OK) {
        status = world_agree(
            w, moe_compute_create("--compute", c->compute, w->device, &run->compute, error), error);
    }
    return status == MOE_OK ? world_agree(w, announce(run, error), error) : status;
}

static void print_answers(const iteration_run_t *run, const outcome_t *outcomes, size_t count)
{
    const world_t *w = run->world;
    const iteration_view_t view = view_of(run);
    if (w->table == NULL) {
        return;
    }
    fprintf(w->table, "\n");
    for (size_t i = 0; i < count; i++) {
        print_answer(&view, &outcomes[i]);
    }
}

/* Only rank 0 knows the times; what it adds up is small. */
static moe_status_t add_to_steps(world_t *w, const outcome_t *outcomes, size_t count,
                                 steps_t *steps, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && w->all->rank == 0 && i < count; i++) {
        status = steps_add(steps, &w->config, outcomes[i].style->name, outcomes[i].algorithm,
                           outcomes[i].whole.median * 1e3, error);
    }
    return status;
}

/* One step: routing, and iterations with all styles and algorithms on it. */
static moe_status_t run_step(world_t *w, steps_t *steps, size_t *errors, moe_error_t *error)
{
    const config_t *c = &w->config;
    iteration_run_t run = {.world = w};
    outcome_t *outcomes = NULL;
    w->running = false;
    moe_status_t status = moe_alloc("results", c->styles * c->algorithms, sizeof *outcomes,
                                    (void **)&outcomes, error);
    if (status == MOE_OK) {
        status = prepare_run(&run, error);
    }
    for (size_t s = 0; status == MOE_OK && s < c->styles; s++) {
        status = run_style(&run, c->style[s], outcomes + s * c->algorithms, error);
    }
    if (status == MOE_OK) {
        print_answers(&run, outcomes, c->styles * c->algorithms);
        status = add_to_steps(w, outcomes, c->styles * c->algorithms, steps, error);
    }
    *errors += run.errors;
    moe_compute_destroy(run.compute);
    layer_set_destroy(&run.layers);
    free(outcomes);
    return status;
}

static moe_status_t run_iteration(world_t *w, moe_error_t *error)
{
    return steps_run(w, "iteration_ms", "iteration, ms,", run_step, error);
}

static int run(int argc, char **argv)
{
    return world_run(&command, argc, argv, run_iteration);
}

const command_entry_t iteration_command = {
    .command = &command, .run = run, .where = "[MPI]", .body = run_iteration};
