/* moe-a2a alltoallv: a raw exchange of bytes, by sizes, by a matrix, or by a pattern's matrix. */
#include <string.h>

#include "alternate.h"
#include "commands.h"
#include "link.h"
#include "measured.h"
#include "pairs.h"
#include "raw_source.h"

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
    .groups = GROUP_RAW | GROUP_EXCHANGE | GROUP_LAYOUT | GROUP_MODEL | GROUP_ROUTING |
              GROUP_MEASURE | GROUP_OUTPUT | GROUP_SAMPLES,
    .standard_seconds = "2",
};

#define STYLE "raw"

/* Columns of a repetition. */
typedef enum raw_column { RAW_EXCHANGE, RAW_SCHEDULE, RAW_COLUMNS } raw_column_t;
static const char *const phases[RAW_COLUMNS] = {
    [RAW_EXCHANGE] = "alltoallv", [RAW_SCHEDULE] = "schedule"};

typedef struct raw_run {
    world_t *world;
    const raw_source_matrix_t *source;
    link_t link;
    size_t bytes_per_pair; /* 0: not the same for all */
    size_t size;           /* that, or what the rank sends that sends most */
    moe_flow_t flow;
    moe_raw_t *raw;
    const moe_algorithm_ops_t *algorithm;
    size_t errors;
} raw_run_t;

/* ---- Figures ---- */

static bool bound_of(const raw_run_t *run, double *seconds)
{
    *seconds = run->link.bandwidth > 0
                   ? (double)moe_flow_busiest(&run->flow, NULL) / run->link.bandwidth
                   : 0;
    return run->link.bandwidth > 0;
}

/* "best (pairwise)" */
static void algorithm_label(const raw_run_t *run, char *text, size_t size)
{
    const char *chosen = moe_raw_chosen(run->raw);
    const bool other = strcmp(chosen, run->algorithm->name) != 0;
    snprintf(text, size, "%s%s%s%s", run->algorithm->name, other ? " (" : "", other ? chosen : "",
             other ? ")" : "");
}

/* ---- The table ---- */

static void print_columns(const world_t *w)
{
    const bool sweep = w->config.source == RAW_SIZES;
    fprintf(w->table, "\n%12s  %-19s %-34s %10s %10s %8s %8s %10s %6s %7s %6s %12s\n", "size",
            "algorithm", "median us [95 % interval]", "min us", "p99 us", "algbw", "busbw",
            "bound us", "eff.", "slowest", "errors", "schedule us");
    fprintf(w->table, "%12s  %-19s %-34s %10s %10s %8s %8s %10s %6s %7s %6s %12s\n",
            sweep ? "bytes a pair" : "most sent", "", "", "", "", "GB/s", "GB/s", "", "%", "rank",
            "", "");
}

static void print_line(const raw_run_t *run, const moe_series_t *series,
                       const moe_summary_t times[RAW_COLUMNS])
{
    const moe_summary_t *t = &times[RAW_EXCHANGE];
    char label[40], median[64], p99[24], busbw[24], bound[24], efficiency[24], errors[24],
        schedule[24] = "";
    double least;
    size_t last;
    const bool bounded = bound_of(run, &least);
    const double port = moe_flow_busbw(&run->flow, t->median);
    algorithm_label(run, label, sizeof label);
    format_interval(median, sizeof median, t, 1e6, 1);
    format_or_na(p99, sizeof p99, t->has_p99, t->p99 * 1e6, 1);
    format_or_na(busbw, sizeof busbw, port > 0, port / 1e9, 3);
    format_or_na(bound, sizeof bound, bounded, least * 1e6, 1);
    format_or_na(efficiency, sizeof efficiency, bounded && t->median > 0,
                 t->median > 0 ? 100 * least / t->median : 0, 1);
    format_or_na(errors, sizeof errors, run->world->config.check != MOE_CHECK_OFF,
                 (double)run->errors, 0);
    if (run->algorithm->schedule != NULL) {
        snprintf(schedule, sizeof schedule, "%.1f", times[RAW_SCHEDULE].median * 1e6);
    }
    fprintf(run->world->table,
            "%12zu  %-19s %-34s %10.1f %10s %8.3f %8s %10s %6s %7zu %6s %12s%s\n", run->size, label,
            median, t->min * 1e6, p99, moe_flow_algbw(&run->flow, t->median) / 1e9, busbw, bound,
            efficiency, moe_series_slowest(series, RAW_EXCHANGE, &last), errors, schedule,
            series_remarks(series, t));
    fflush(run->world->table);
}

/* ---- Records ---- */

static void add_bytes(const raw_run_t *run, json_t *record, double median)
{
    const moe_flow_t *flow = &run->flow;
    double least;
    if (median > 0 && moe_flow_most_arriving(flow) > 0) {
        json_object_set_new(record, "algbw_GBps", json_real(moe_flow_algbw(flow, median) / 1e9));
    }
    if (median > 0 && moe_flow_busiest(flow, NULL) > 0) {
        json_object_set_new(record, "busbw_GBps", json_real(moe_flow_busbw(flow, median) / 1e9));
    }
    if (bound_of(run, &least)) {
        json_object_set_new(record, "bound_us", json_real(least * 1e6));
        if (median > 0) {
            json_object_set_new(record, "efficiency", json_real(least / median));
        }
    }
    json_object_set_new(record, "bytes", moe_json_bytes(&flow->bytes));
    json_object_set_new(record, "tiers", moe_json_tiers(&flow->tiers));
    json_object_set_new(record, "matrix_hash", moe_json_hash(flow->hash));
}

static moe_status_t record_line(const raw_run_t *run, raw_column_t column,
                                const moe_series_t *series, moe_summary_t *summary,
                                moe_error_t *error)
{
    world_t *w = run->world;
    json_t *record = json_pack("{s:s, s:s, s:s, s:s}", "record", "exchange", "style", STYLE,
                               "algorithm", run->algorithm->name, "phase", phases[column]);
    if (strcmp(moe_raw_chosen(run->raw), run->algorithm->name) != 0) {
        json_object_set_new(record, "chosen", json_string(moe_raw_chosen(run->raw)));
    }
    if (run->bytes_per_pair > 0) {
        json_object_set_new(record, "bytes_per_pair",
                            json_integer((json_int_t)run->bytes_per_pair));
    }
    moe_status_t status = add_series(record, series, column, summary, error);
    if (status != MOE_OK) {
        json_decref(record);
        return status;
    }
    moe_json_add_times(record, summary);
    if (column == RAW_EXCHANGE) {
        add_bytes(run, record, summary->median);
        if (w->config.check != MOE_CHECK_OFF) {
            json_object_set_new(record, "errors", json_integer((json_int_t)run->errors));
        }
    }
    return moe_recorder_write(w->recorder, record, error);
}

static moe_status_t report(const raw_run_t *run, const moe_series_t *series, moe_error_t *error)
{
    world_t *w = run->world;
    const int columns = run->algorithm->schedule != NULL ? RAW_COLUMNS : RAW_EXCHANGE + 1;
    moe_summary_t times[RAW_COLUMNS] = {0};
    moe_status_t status = MOE_OK;
    world_progress_end(w);
    for (int c = 0; status == MOE_OK && c < columns; c++) {
        const char *name = run->algorithm->name;
        if (w->all->rank == 0) {
            status = record_line(run, (raw_column_t)c, series, &times[c], error);
        }
        if (status == MOE_OK) {
            status = write_raw(w, STYLE, name, phases[c], series, (size_t)c, error);
        }
        if (status == MOE_OK) {
            status = write_ranks(w, STYLE, name, phases[c], series, (size_t)c, error);
        }
    }
    if (status == MOE_OK && w->table != NULL) {
        print_line(run, series, times);
    }
    return status;
}

/* ---- One exchange ---- */

static moe_status_t repeat(void *context, double *seconds, moe_error_t *error)
{
    const raw_run_t *run = context;
    moe_transport_t *t = run->world->all;
    moe_status_t status = MOE_OK;
    seconds[RAW_SCHEDULE] = 0;
    if (run->algorithm->schedule != NULL) {
        const double start = moe_now();
        status = moe_raw_schedule(run->raw, error);
        seconds[RAW_SCHEDULE] = moe_now() - start;
        if (status == MOE_OK) {
            status = t->ops->barrier(t, error);
        }
    }
    const double start = moe_now();
    if (status == MOE_OK) {
        status = moe_raw_run(run->raw, error);
    }
    seconds[RAW_EXCHANGE] = moe_now() - start;
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
        status =
            measured_series(w, label, RAW_COLUMNS, RAW_EXCHANGE + 1, repeat, run, &series, error);
    }
    if (status == MOE_OK) {
        status = report(run, &series, error);
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
                                 .ranks_per_node = w->ranks_per_node};
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
        link_describe(link, line, sizeof line);
        fprintf(w->table, "link      %s\n", line);
        if (!w->config.alternate && w->config.source != RAW_PAIRS) {
            print_columns(w);
        }
    }
    json_t *record = run_record(&w->config, &place, source->routed ? &source->census : NULL);
    json_object_set_new(record, "source", json_string(names[w->config.source]));
    json_t *rate = link_record(link);
    if (rate != NULL) {
        json_object_set_new(record, "link", rate);
    }
    return moe_recorder_write(w->recorder, record, error);
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
        return run_matrix(w, source, &link, 0, errors, error);
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
    moe_status_t status =
        w->config.source != RAW_PAIRS ? raw_source_create(w, &source, error) : MOE_OK;
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

const command_entry_t alltoallv_command = {.command = &command, .run = run, .where = "[MPI]"};
