/* moe-a2a alltoallv: a raw exchange of bytes, by sizes, by a matrix, or by a pattern's matrix. */
#include <string.h>

#include "alternate.h"
#include "clocks.h"
#include "commands.h"
#include "link.h"
#include "measured.h"
#include "pairs.h"
#include "raw_report.h"

static const command_t command = {
    .name = "alltoallv",
    .summary = "a raw exchange: size sweep, matrix file, or a pattern's matrix, by any algorithm",
    .help =
        "Measures one all-to-all-v of bytes, without tokens: for a sweep of sizes, for a matrix "
        "from a file, or for what one MoE layer would send; every byte checked before.\v"
        "The peer of osu_alltoallv and alltoallv_perf. Times are maxima over ranks, their median "
        "over repetitions with its 95 % interval. A size of a sweep is what every rank sends to "
        "every rank, itself included. algbw = bytes that arrive where most arrive / median; "
        "busbw = bytes of the busiest port in its busier direction, self excluded / median; "
        "bound = the same bytes / link bandwidth; efficiency = bound / median.\n\n"
        "  mpirun -np 4 moe-a2a alltoallv --sizes 1K:4M:2 --algorithm native,pairwise\n"
        "  mpirun -np 8 moe-a2a alltoallv --per-pair\n"
        "  mpirun -np 4 moe-a2a alltoallv --pattern --model olmoe-1b-7b --skew zipf:1.0 "
        "--link-bandwidth measure",
    .groups = GROUP_RAW | GROUP_PAIRS | GROUP_EXCHANGE | GROUP_GPU | GROUP_LAYOUT | GROUP_MODEL |
              GROUP_ROUTING | GROUP_MEASURE | GROUP_OUTPUT | GROUP_SAMPLES,
    .standard_seconds = "2",
};

/* ---- One exchange ---- */

static moe_status_t repeat(void *context, double *seconds, moe_error_t *error)
{
    raw_run_t *run = context;
    moe_transport_t *t = run->world->all;
    moe_status_t status = MOE_OK;
    seconds[RAW_SCHEDULE] = 0;
    if (run->algorithm->schedule != NULL) {
        const double start = moe_now();
        run->began[RAW_SCHEDULE] = start;
        status = moe_raw_schedule(run->raw, error);
        seconds[RAW_SCHEDULE] = moe_now() - start;
        if (status == MOE_OK && !run->world->config.measure.free_running) {
            status = t->ops->barrier(t, error);
        }
    }
    const double start = moe_now();
    if (status == MOE_OK) {
        status = moe_raw_run(run->raw, error);
    }
    seconds[RAW_EXCHANGE] = moe_now() - start;
    run->began[RAW_EXCHANGE] = start;
    return status;
}

static moe_status_t check(raw_run_t *run, const char *label, moe_error_t *error)
{
    world_t *w = run->world;
    moe_raw_result_t result;
    world_progress(w, "checking %s ...", label);
    moe_status_t status = moe_raw_check(run->raw, w->config.check, &result, error);
    if (status != MOE_OK) {
        return status;
    }
    run->errors = result.errors;
    if (result.errors > 0 && result.rank == w->all->rank) {
        char text[256];
        moe_raw_describe(&result, text, sizeof text);
        world_progress_end(w);
        fprintf(stderr, "moe-a2a %s: wrong data: %s: %s\n", command.name, label, text);
    }
    return MOE_OK;
}

static moe_status_t run_algorithm(raw_run_t *run, size_t *all_errors, moe_error_t *error)
{
    world_t *w = run->world;
    moe_series_t series = {0};
    char label[64];
    snprintf(label, sizeof label, "%s of %zu bytes", run->algorithm->name, run->size);
    w->doing = label;
    w->running = false;
    moe_status_t status = world_agree(w, moe_raw_use(run->raw, run->algorithm, error), error);
    w->running = status == MOE_OK;
    if (status == MOE_OK) {
        status = check(run, label, error);
    }
    if (status == MOE_OK) {
        *all_errors += run->errors;
        w->began = run->began;
        status =
            measured_series(w, label, RAW_COLUMNS, RAW_EXCHANGE + 1, repeat, run, &series, error);
    }
    w->began = NULL;
    if (status == MOE_OK) {
        status = report_raw(run, &series, error);
    }
    moe_series_destroy(&series);
    w->doing = "set-up";
    return status;
}

static moe_status_t make_exchange(raw_run_t *run, moe_error_t *error)
{
    world_t *w = run->world;
    const moe_matrix_t *matrix = &run->source->matrix;
    const moe_raw_spec_t spec = {.transport = w->all,
                                 .device = w->device,
                                 .matrix = matrix,
                                 .row_bytes = moe_matrix_row_bytes(matrix),
                                 .ranks_per_node = w->ranks_per_node,
                                 .graph = w->config.graph};
    moe_status_t status =
        moe_matrix_flow(matrix, w->ranks_per_node, run->source->hash_row, &run->flow, error);
    run->size = run->bytes_per_pair;
    for (size_t r = 0; run->bytes_per_pair == 0 && r < matrix->ranks; r++) {
        const size_t sent = moe_matrix_sent(matrix, r);
        run->size = sent > run->size ? sent : run->size;
    }
    if (status == MOE_OK) {
        status = moe_raw_create(&spec, &run->raw, error);
    }
    return status;
}

/* All algorithms on the source's matrix. */
static moe_status_t run_matrix(world_t *w, const raw_source_matrix_t *source, const link_t *link,
                               size_t bytes_per_pair, size_t *all_errors, moe_error_t *error)
{
    const config_t *c = &w->config;
    raw_run_t run = {.world = w, .source = source, .link = *link, .bytes_per_pair = bytes_per_pair};
    if (c->alternate) {
        return alternate_run(w, source, link, all_errors, error);
    }
    w->running = false;
    moe_status_t status = world_agree(w, make_exchange(&run, error), error);
    for (size_t a = 0; status == MOE_OK && a < c->algorithms; a++) {
        run.algorithm = c->algorithm[a];
        status = run_algorithm(&run, all_errors, error);
    }
    moe_raw_destroy(run.raw);
    moe_flow_destroy(&run.flow);
    return status;
}

/* ---- The run ---- */

static void print_raw_heading(const world_t *w, const run_place_t *place)
{
    const config_t *c = &w->config;
    if (c->source == RAW_PAIRS) {
        fprintf(w->table, "pairs     of ranks, each by itself\n");
    } else if (c->source == RAW_SIZES) {
        fprintf(w->table, "sizes     %s, every rank to every rank, itself too\n",
                c->options.given[OPT_SIZES] ? c->options.value[OPT_SIZES] : "1K:4M:2");
    } else {
        fprintf(w->table, "matrix    %s\n", c->options.value[OPT_MATRIX]);
    }
    fprintf(w->table, "layout    %zu ranks, %zu a node; %s on %s\n          %s\n", place->ranks,
            place->ranks_per_node, place->transport, place->device, place->transport_version);
    place->print_device(place->context, w->table);
}

static moe_status_t announce(world_t *w, const raw_source_matrix_t *source, const link_t *link,
                             moe_error_t *error)
{
    static const char *const names[] = {[RAW_SIZES] = "sizes",
                                        [RAW_MATRIX] = "matrix",
                                        [RAW_PATTERN] = "pattern",
                                        [RAW_PAIRS] = "pairs"};
    char version[256], line[256];
    if (w->all->rank != 0) {
        return MOE_OK;
    }
    w->all->ops->version(w->all, version, sizeof version);
    run_place_t place = world_place(w);
    place.transport_version = version;
    if (w->table != NULL) {
        if (source->routed) {
            print_heading(w->table, &w->config, &place, &source->census);
        } else {
            print_raw_heading(w, &place);
        }
        clocks_print(w);
        link_describe(link, line, sizeof line);
        if (w->config.source != RAW_PAIRS || link->bandwidth > 0) {
            fprintf(w->table, "link      %s\n", line);
        }
        if (!w->config.alternate && w->config.source != RAW_PAIRS) {
            print_raw_columns(w);
        }
    }
    json_t *record = run_record(&w->config, &place, source->routed ? &source->census : NULL);
    clocks_record(w, record);
    json_object_set_new(record, "source", json_string(names[w->config.source]));
    json_t *rate = link_record(link);
    if (rate != NULL) {
        json_object_set_new(record, "link", rate);
    }
    return moe_recorder_write(w->recorder, record, error);
}

/* The matrix, where pairs of ranks or repetitions are asked for. */
static moe_status_t record_source(const world_t *w, const raw_source_matrix_t *source,
                                  moe_error_t *error)
{
    moe_flow_t flow;
    if (w->all->rank != 0 || !(w->config.per_pair || w->config.raw)) {
        return MOE_OK;
    }
    moe_status_t status =
        moe_matrix_flow(&source->matrix, w->ranks_per_node, source->hash_row, &flow, error);
    if (status == MOE_OK) {
        status = write_matrix(w->recorder, "raw", "alltoallv", &flow, error);
        moe_flow_destroy(&flow);
    }
    return status;
}

static moe_status_t run_all(world_t *w, raw_source_matrix_t *source, size_t *errors,
                            moe_error_t *error)
{
    const config_t *c = &w->config;
    link_t link;
    moe_status_t status = link_find(w, &link, error);
    if (status == MOE_OK) {
        status = world_agree(w, announce(w, source, &link, error), error);
    }
    if (status != MOE_OK || c->source == RAW_PAIRS) {
        return status;
    }
    if (c->source != RAW_SIZES) {
        status = record_source(w, source, error);
        return status != MOE_OK ? status : run_matrix(w, source, &link, 0, errors, error);
    }
    size_t size = c->first_size;
    do {
        raw_source_set_size(source, size);
        status = run_matrix(w, source, &link, size, errors, error);
    } while (status == MOE_OK && config_next_size(c, size, &size));
    return status;
}

static moe_status_t run_alltoallv(world_t *w, moe_error_t *error)
{
    raw_source_matrix_t source = {0};
    size_t errors = 0;
    moe_status_t status = pairs_possible(w, error);
    if (status == MOE_OK && w->config.source != RAW_PAIRS) {
        status = raw_source_create(w, &source, error);
    }
    if (status == MOE_OK) {
        status = run_all(w, &source, &errors, error);
    }
    raw_source_destroy(&source);
    if (status == MOE_OK && w->config.per_pair) {
        status = pairs_run(w, &errors, error);
    }
    w->running = w->running && status != MOE_OK;
    if (status == MOE_OK && errors > 0) {
        return moe_fail(error, MOE_WRONG_DATA, "%zu wrong bytes were found by the check", errors);
    }
    return status;
}

static int run(int argc, char **argv)
{
    return world_run(&command, argc, argv, run_alltoallv);
}

const command_entry_t alltoallv_command = {
    .command = &command, .run = run, .where = "[MPI]", .body = run_alltoallv};
