/* moe-a2a layer: dispatch and combine of one MoE layer, styles and algorithms beside each other. */
#include <stdlib.h>
#include <string.h>

#include "clocks.h"
#include "commands.h"
#include "layer_summary.h"
#include "layers.h"
#include "measured.h"
#include "moe/iteration.h"
#include "moe/system.h"
#include "slow_ranks.h"
#include "steps.h"

static const command_t command = {
    .name = "layer",
    .summary = "dispatch + combine of one MoE layer, styles and algorithms beside each other",
    .help = "Measures dispatch and combine of one MoE layer for every style and algorithm asked "
            "for, on "
            "one routing table, each byte checked before.\v"
            "Each phase is aligned by a barrier; `total` runs all phases without barriers inside. "
            "Times "
            "are maxima over ranks, their median over repetitions with its 95 % interval.\n\n"
            "  mpirun -np 4 moe-a2a layer --model olmoe-1b-7b --tokens 256 --skew zipf:1.0",
    .groups = GROUP_MODEL | GROUP_ROUTING | GROUP_LAYOUT | GROUP_STYLE | GROUP_EXCHANGE |
              GROUP_GPU | GROUP_MEASURE | GROUP_OUTPUT | GROUP_SAMPLES | GROUP_PAIRS | GROUP_STEPS,
    .standard_style = "padded,padded-max,exact",
};

/* Order of the lines of a table: as a token passes. */
static const moe_layer_column_t printed[] = {
    MOE_LAYER_METADATA, MOE_LAYER_SCHEDULE,  MOE_LAYER_PERMUTE, MOE_LAYER_DISPATCH,
    MOE_LAYER_COMBINE,  MOE_LAYER_UNPERMUTE, MOE_LAYER_TOTAL,
};

/* What one style moves, and where its lines go. */
typedef struct style_run {
    world_t *world;
    const moe_style_ops_t *style;
    const moe_algorithm_ops_t *algorithm;
    moe_flow_t dispatch, combine;
    size_t metadata_bytes;
    size_t layer; /* its number in the model */
    size_t errors;
    const char *chosen;       /* what carries it: another algorithm, with `best` */
    moe_nccl_path_t path;     /* of rows, where the library's own exchange carries them */
    layer_outcome_t *outcome; /* of the style and algorithm under way */
} style_run_t;

static void print_columns(FILE *out)
{
    fprintf(out, "\n%-16s %-12s %-9s %10s %10s %8s  %-34s %10s %8s %8s %7s\n", "style", "algorithm",
            "phase", "useful", "wire", "padding", "median us [95 % interval]", "p99 us", "algbw",
            "busbw", "slowest");
    fprintf(out, "%-16s %-12s %-9s %10s %10s %8s  %-34s %10s %8s %8s %7s\n", "", "", "", "MB", "MB",
            "% wire", "", "", "GB/s", "GB/s", "rank");
}

static bool has_phase(const style_run_t *run, moe_layer_column_t column)
{
    return (column != MOE_LAYER_METADATA || run->style->metadata != MOE_METADATA_NONE) &&
           (column != MOE_LAYER_SCHEDULE || run->algorithm->schedule != NULL);
}

/* Bytes of a phase over all ranks; false where it moves none. */
static bool phase_bytes(const style_run_t *run, moe_layer_column_t column, moe_bytes_t *out)
{
    const moe_bytes_t *d = &run->dispatch.bytes, *c = &run->combine.bytes;
    switch (column) {
    case MOE_LAYER_METADATA:
        *out = (moe_bytes_t){.logical = run->metadata_bytes, .wire = run->metadata_bytes};
        return true;
    case MOE_LAYER_DISPATCH:
        *out = *d;
        return true;
    case MOE_LAYER_COMBINE:
        *out = *c;
        return true;
    case MOE_LAYER_TOTAL:
        *out = (moe_bytes_t){.useful = d->useful + c->useful,
                             .logical = d->logical + c->logical + run->metadata_bytes,
                             .wire = d->wire + c->wire + run->metadata_bytes,
                             .padding = d->padding + c->padding};
        return true;
    default:
        return false;
    }
}

static const moe_flow_t *phase_flow(const style_run_t *run, moe_layer_column_t column)
{
    return column == MOE_LAYER_DISPATCH  ? &run->dispatch
           : column == MOE_LAYER_COMBINE ? &run->combine
                                         : NULL;
}

static void print_line(const style_run_t *run, moe_layer_column_t column,
                       const moe_series_t *series, const moe_summary_t *summary)
{
    FILE *out = run->world->table;
    char times[64], p99[24], useful[24] = "", wire[24] = "", padding[24] = "", algbw[24] = "",
                             busbw[24] = "";
    char invalid[48];
    moe_bytes_t bytes;
    size_t last;
    const size_t slowest = moe_series_slowest(series, column, &last);
    format_interval(times, sizeof times, summary, 1e6, 1);
    format_or_na(p99, sizeof p99, summary->has_p99, summary->p99 * 1e6, 1);
    if (phase_bytes(run, column, &bytes)) {
        snprintf(useful, sizeof useful, "%.3f", (double)bytes.useful / 1e6);
        snprintf(wire, sizeof wire, "%.3f", (double)bytes.wire / 1e6);
        format_or_na(padding, sizeof padding, bytes.wire > 0,
                     bytes.wire > 0 ? 100.0 * (double)bytes.padding / (double)bytes.wire : 0, 1);
    }
    const moe_flow_t *flow = phase_flow(run, column);
    if (flow != NULL) {
        snprintf(algbw, sizeof algbw, "%.3f", moe_flow_algbw(flow, summary->median) / 1e9);
        const double port = moe_flow_busbw(flow, summary->median);
        format_or_na(busbw, sizeof busbw, port > 0, port / 1e9, 3);
    }
    fprintf(out, "%-16s %-12s %-9s %10s %10s %8s  %-34s %10s %8s %8s %7zu%s%s\n", run->style->name,
            run->algorithm->name, moe_layer_column_name(column), useful, wire, padding, times, p99,
            algbw, busbw, slowest,
            column == MOE_LAYER_TOTAL ? series_remarks(series, summary)
            : summary->trend.drifts   ? "  drifts"
                                      : "",
            column == MOE_LAYER_TOTAL ? clocks_remark(series, invalid, sizeof invalid) : "");
}

static void add_bandwidths(json_t *record, const moe_flow_t *flow, double seconds)
{
    const double algbw = moe_flow_algbw(flow, seconds), busbw = moe_flow_busbw(flow, seconds);
    if (algbw > 0) {
        json_object_set_new(record, "algbw_GBps", json_real(algbw / 1e9));
    }
    if (busbw > 0) {
        json_object_set_new(record, "busbw_GBps", json_real(busbw / 1e9));
    }
}

static moe_status_t record_line(const style_run_t *run, moe_layer_column_t column,
                                const moe_series_t *series, moe_summary_t *summary,
                                moe_error_t *error)
{
    world_t *w = run->world;
    moe_bytes_t bytes;
    json_t *record = json_pack("{s:s, s:s, s:s, s:s, s:I}", "record", "exchange", "style",
                               run->style->name, "algorithm", run->algorithm->name, "phase",
                               moe_layer_column_name(column), "layer", (json_int_t)run->layer);
    if (strcmp(run->chosen, run->algorithm->name) != 0) {
        json_object_set_new(record, "chosen", json_string(run->chosen));
    }
    moe_status_t status = add_series(record, series, column, summary, error);
    if (status != MOE_OK) {
        json_decref(record);
        return status;
    }
    moe_json_add_times(record, summary);
    if (phase_bytes(run, column, &bytes)) {
        json_object_set_new(record, "bytes", moe_json_bytes(&bytes));
    }
    const moe_flow_t *flow = phase_flow(run, column);
    if (flow != NULL) {
        add_bandwidths(record, flow, summary->median);
        json_object_set_new(record, "tiers", moe_json_tiers(&flow->tiers));
        json_object_set_new(record, "matrix_hash", moe_json_hash(flow->hash));
    }
    if (flow != NULL && run->path != MOE_NCCL_PATH_UNKNOWN) {
        json_object_set_new(
            record, "nccl_path",
            json_string(run->path == MOE_NCCL_PATH_KERNELS ? "kernels" : "copy-engines"));
    }
    if (w->config.check != MOE_CHECK_OFF) {
        json_object_set_new(record, "errors", json_integer((json_int_t)run->errors));
    }
    return moe_recorder_write(w->recorder, record, error);
}

/* On rank 0, which alone has a table and records. */
static moe_status_t report_line(const style_run_t *run, moe_layer_column_t column,
                                const moe_series_t *series, moe_error_t *error)
{
    moe_summary_t summary;
    const moe_status_t status = record_line(run, column, series, &summary, error);
    if (status != MOE_OK) {
        return status;
    }
    run->outcome->time[column] = summary;
    if (run->world->table != NULL) {
        print_line(run, column, series, &summary);
    }
    return MOE_OK;
}

static moe_status_t report(const style_run_t *run, const moe_series_t *series, moe_error_t *error)
{
    world_t *w = run->world;
    const slow_ranks_t ranks = {.world = w,
                                .style = run->style,
                                .algorithm = run->algorithm->name,
                                .dispatch = &run->dispatch,
                                .combine = &run->combine};
    moe_status_t status = MOE_OK;
    world_progress_end(w);
    for (size_t i = 0; status == MOE_OK && i < sizeof printed / sizeof *printed; i++) {
        const moe_layer_column_t column = printed[i];
        if (!has_phase(run, column)) {
            continue;
        }
        if (w->all->rank == 0) {
            status = report_line(run, column, series, error);
        }
        if (status == MOE_OK) {
            status = write_raw(w, run->style->name, run->algorithm->name,
                               moe_layer_column_name(column), series, column, error);
        }
        if (status == MOE_OK) {
            status = write_ranks(w, run->style->name, run->algorithm->name,
                                 moe_layer_column_name(column), series, column, error);
        }
        if (status == MOE_OK) {
            status = slow_ranks_find(&ranks, column, series, error);
        }
    }
    if (w->table != NULL) {
        fflush(w->table);
    }
    return status;
}

/* Who carries the library's own exchange (collective). */
static moe_nccl_path_t path_of(const style_run_t *run, const moe_layer_t *layer)
{
    moe_transport_t *t;
    const moe_alltoallv_t *x = moe_layer_first_exchange(layer, &t);
    const bool own = run->world->config.nccl && run->algorithm == moe_algorithm_at(0);
    return own && x->uniform ? moe_nccl_path(t, x) : MOE_NCCL_PATH_UNKNOWN;
}

static moe_status_t run_algorithm(style_run_t *run, exchange_set_t *exchanges, size_t *all_errors,
                                  moe_error_t *error)
{
    world_t *w = run->world;
    char label[64];
    snprintf(label, sizeof label, "%s %s", run->style->name, run->algorithm->name);
    w->doing = label;
    world_progress(w, "checking %s ...", label);
    moe_status_t status = exchange_set_use(exchanges, run->algorithm, error);
    if (status == MOE_OK) {
        status = exchange_set_check(exchanges, w, &run->errors, error);
    }
    run->chosen = run->outcome->chosen = moe_layer_chosen(exchanges->layer[0]);
    *all_errors += run->errors;
    if (status == MOE_OK) {
        run->path = path_of(run, exchanges->layer[0]);
    }
    moe_series_t series = {0};
    if (status == MOE_OK) {
        status = measured_series(w, label, MOE_LAYER_COLUMNS, MOE_LAYER_DECIDING, moe_layer_repeat,
                                 exchanges->layer[0], &series, error);
    }
    if (status == MOE_OK) {
        status = report(run, &series, error);
    }
    moe_series_destroy(&series);
    w->doing = "set-up";
    return status;
}

static moe_tiers_t add_tiers(const moe_tiers_t *a, const moe_tiers_t *b)
{
    return (moe_tiers_t){.self = a->self + b->self,
                         .intra_node = a->intra_node + b->intra_node,
                         .inter_node = a->inter_node + b->inter_node};
}

/* From whom to whom, where pairs of ranks or repetitions are asked for. */
static moe_status_t record_matrices(const style_run_t *run, moe_error_t *error)
{
    const world_t *w = run->world;
    if (w->all->rank != 0 || !(w->config.per_pair || w->config.raw)) {
        return MOE_OK;
    }
    const moe_status_t status =
        write_matrix(w->recorder, run->style->name, "dispatch", &run->dispatch, error);
    return status != MOE_OK
               ? status
               : write_matrix(w->recorder, run->style->name, "combine", &run->combine, error);
}

static moe_status_t run_style(world_t *w, const layer_set_t *set, const moe_style_ops_t *style,
                              layer_outcome_t *outcomes, size_t *all_errors, moe_error_t *error)
{
    const config_t *c = &w->config;
    style_run_t run = {.world = w, .style = style, .layer = set->layer[0]};
    exchange_set_t exchanges = {0};
    w->running = false;
    moe_status_t status = exchange_set_create(set, w, style, &exchanges, error);
    if (status != MOE_OK) {
        return status;
    }
    status = exchange_set_bind(&exchanges, w, 0, error);
    if (status == MOE_OK) {
        status = moe_layer_flows(exchanges.layer[0], w->ranks_per_node, &run.dispatch, &run.combine,
                                 &run.metadata_bytes, error);
    }
    if (status == MOE_OK) {
        status = record_matrices(&run, error);
    }
    status = world_agree(w, status, error);
    w->running = status == MOE_OK;
    for (size_t a = 0; status == MOE_OK && a < c->algorithms; a++) {
        run.algorithm = c->algorithm[a];
        run.outcome = &outcomes[a];
        *run.outcome =
            (layer_outcome_t){.style = style,
                              .algorithm = run.algorithm,
                              .tiers = add_tiers(&run.dispatch.tiers, &run.combine.tiers)};
        status = run_algorithm(&run, &exchanges, all_errors, error);
    }
    moe_flow_destroy(&run.dispatch);
    moe_flow_destroy(&run.combine);
    exchange_set_destroy(&exchanges);
    return status;
}

static moe_status_t announce(world_t *w, const layer_set_t *set, moe_error_t *error)
{
    moe_census_report_t census;
    moe_status_t status = layer_set_census(set, w, &census, error);
    if (status != MOE_OK || w->all->rank != 0) {
        return status;
    }
    char version[256];
    w->all->ops->version(w->all, version, sizeof version);
    run_place_t place = world_place(w);
    place.transport_version = version;
    if (w->table != NULL) {
        if (w->config.step == 0) {
            print_heading(w->table, &w->config, &place, &census);
            clocks_print(w);
        }
        print_step(w->table, &w->config, &census);
        print_columns(w->table);
    }
    json_t *record = run_record(&w->config, &place, &census);
    clocks_record(w, record);
    return moe_recorder_write(w->recorder, record, error);
}

/* Only rank 0 knows the times; what it adds up is small. */
static moe_status_t add_to_steps(world_t *w, const layer_outcome_t *outcomes, size_t count,
                                 steps_t *steps, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && w->all->rank == 0 && i < count; i++) {
        const layer_outcome_t *o = &outcomes[i];
        status = steps_add(steps, &w->config, o->style->name, o->algorithm->name,
                           o->time[MOE_LAYER_TOTAL].median * 1e6, error);
    }
    return status;
}

/* One step: routing, and all styles and algorithms on it. */
static moe_status_t run_step(world_t *w, steps_t *steps, size_t *errors, moe_error_t *error)
{
    layer_set_t set = {0};
    const size_t most = w->config.styles * w->config.algorithms;
    layer_outcome_t *outcomes = NULL;
    w->running = false;
    moe_status_t status = moe_alloc("results", most, sizeof *outcomes, (void **)&outcomes, error);
    if (status != MOE_OK) {
        return status;
    }
    status = world_agree(w,
                         layer_set_create(&w->config, w->all->rank - w->group->rank,
                                          w->ranks_per_node, 1, &set, error),
                         error);
    if (status == MOE_OK) {
        status = layer_set_fits(&set, w, error);
    }
    if (status == MOE_OK) {
        status = world_agree(w, announce(w, &set, error), error);
    }
    for (size_t s = 0; status == MOE_OK && s < w->config.styles; s++) {
        status = run_style(w, &set, w->config.style[s], outcomes + s * w->config.algorithms, errors,
                           error);
    }
    const size_t count = w->config.styles * w->config.algorithms;
    if (status == MOE_OK) {
        status = add_to_steps(w, outcomes, count, steps, error);
    }
    if (status == MOE_OK && w->table != NULL) {
        print_layer_summary(w->table, outcomes, count);
    }
    free(outcomes);
    layer_set_destroy(&set);
    return status;
}

static moe_status_t run_layer(world_t *w, moe_error_t *error)
{
    return steps_run(w, "total_us", "total, us,", run_step, error);
}

static int run(int argc, char **argv)
{
    return world_run(&command, argc, argv, run_layer);
}

const command_entry_t layer_command = {
    .command = &command, .run = run, .where = "[MPI]", .body = run_layer};
