#include "pairs.h"

#include <math.h>
#include <stdlib.h>

#include "findings.h"
#include "measured.h"
#include "moe/pairs.h"
#include "moe/system.h"

/* The whole matrix is printed up to so many ranks, the slowest messages beyond. */
#define MATRIX_RANKS 8
#define SLOWEST      8

typedef struct pairs_run {
    world_t *world;
    moe_pairs_t *pairs;
    size_t *node;          /* [ranks] */
    moe_pair_time_t *time; /* [from][to] */
    double *median;        /* [from][to] */
    moe_series_t series;
} pairs_run_t;

static const moe_pair_time_t *time_of(const pairs_run_t *run, size_t from, size_t to)
{
    return &run->time[from * run->world->all->size + to];
}

static double rate_of(const pairs_run_t *run, size_t from, size_t to)
{
    const double median = time_of(run, from, to)->median;
    return median > 0 ? (double)run->world->config.pair_bytes / median / 1e9 : 0;
}

/* ---- The table ---- */

static void print_matrix(const pairs_run_t *run)
{
    FILE *out = run->world->table;
    const size_t ranks = run->world->all->size;
    fprintf(out, "\nGB/s by medians    to rank\n%-18s", "from rank");
    for (size_t to = 0; to < ranks; to++) {
        fprintf(out, " %9zu", to);
    }
    fputs("\n", out);
    for (size_t from = 0; from < ranks; from++) {
        fprintf(out, "%4zu %-13.13s", from, run->world->hosts[from]);
        for (size_t to = 0; to < ranks; to++) {
            char rate[24] = "-";
            if (from != to) {
                snprintf(rate, sizeof rate, "%.4g", rate_of(run, from, to));
            }
            fprintf(out, " %9s", rate);
        }
        fputs("\n", out);
    }
}

/* The slowest message behind `last` in order of medians, then of ranks; last = cells: of all. Returns
 * cells where there is none. */
static size_t next_slowest(const pairs_run_t *run, size_t cells, size_t last)
{
    const double *m = run->median, after = last < cells ? m[last] : INFINITY;
    size_t found = cells;
    for (size_t i = 0; i < cells; i++) {
        const bool behind = m[i] < after || (m[i] == after && i > last);
        if (m[i] > 0 && behind && (found == cells || m[i] > m[found])) {
            found = i;
        }
    }
    return found;
}

static void print_slowest(const pairs_run_t *run)
{
    const world_t *w = run->world;
    const size_t ranks = w->all->size, cells = ranks * ranks;
    fprintf(w->table, "\nslowest messages, by medians\n%6s %6s  %-20s %-20s %12s %9s\n", "from",
            "to", "host", "host", "us", "GB/s");
    size_t at = next_slowest(run, cells, cells);
    for (size_t i = 0; i < SLOWEST && at < cells; i++) {
        const size_t from = at / ranks, to = at % ranks;
        fprintf(w->table, "%6zu %6zu  %-20.20s %-20.20s %12.1f %9.4g\n", from, to, w->hosts[from],
                w->hosts[to], run->median[at] * 1e6, rate_of(run, from, to));
        at = next_slowest(run, cells, at);
    }
}

static void print_pairs(const pairs_run_t *run)
{
    const world_t *w = run->world;
    char size[16];
    fprintf(w->table,
            "\npairs     %zu messages of %s, one direction at a time, in %zu steps; %zu "
            "repetitions%s\n",
            w->all->size * (w->all->size - 1), moe_format_bytes((double)w->config.pair_bytes, size),
            moe_pairs_columns(run->pairs), run->series.reps,
            run->series.converged ? "" : ", not converged");
    if (w->all->size <= MATRIX_RANKS) {
        print_matrix(run);
    } else {
        print_slowest(run);
    }
    fputs("\n", w->table);
}

/* ---- Records ---- */

static moe_status_t record_pair(const pairs_run_t *run, size_t from, size_t to, moe_error_t *error)
{
    const world_t *w = run->world;
    const moe_pair_time_t *t = time_of(run, from, to);
    json_t *record =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:b}", "record", "pair", "from", (json_int_t)from,
                  "to", (json_int_t)to, "bytes", (json_int_t)w->config.pair_bytes, "reps",
                  (json_int_t)run->series.reps, "converged", (int)run->series.converged);
    const moe_summary_t summary = {.n = run->series.reps,
                                   .median = t->median,
                                   .min = t->min,
                                   .has_interval = t->high > 0,
                                   .low = t->low,
                                   .high = t->high};
    moe_json_add_times(record, &summary);
    json_object_set_new(record, "GBps", json_real(rate_of(run, from, to)));
    return moe_recorder_write(w->recorder, record, error);
}

static moe_status_t record_pairs(const pairs_run_t *run, moe_error_t *error)
{
    const size_t ranks = run->world->all->size;
    moe_status_t status = MOE_OK;
    for (size_t from = 0; from < ranks; from++) {
        for (size_t to = 0; status == MOE_OK && to < ranks; to++) {
            status = from != to ? record_pair(run, from, to, error) : MOE_OK;
        }
    }
    return status;
}

/* ---- Who is slow ---- */

static bool has_reach(const pairs_run_t *run, moe_reach_t reach)
{
    for (size_t a = 0; a < run->world->all->size; a++) {
        for (size_t b = 0; b < a; b++) {
            if ((run->node[a] == run->node[b]) == (reach == MOE_REACH_WITHIN)) {
                return true;
            }
        }
    }
    return false;
}

static moe_status_t judge(pairs_run_t *run, moe_error_t *error)
{
    world_t *w = run->world;
    const moe_pair_times_t times = {
        .ranks = w->all->size, .seconds = run->median, .node = run->node};
    moe_status_t status = MOE_OK;
    for (int reach = 0; status == MOE_OK && reach < MOE_REACHES; reach++) {
        const findings_source_t source = {
            .node = run->node, .pairs = true, .reach = (moe_reach_t)reach};
        moe_findings_t findings = {0};
        if (!has_reach(run, (moe_reach_t)reach)) {
            continue;
        }
        status =
            moe_outliers_of_pairs(&times, (moe_reach_t)reach, &moe_outlier_rule, &findings, error);
        if (status == MOE_OK) {
            status = findings_report(w, &source, &findings, error);
        }
        moe_findings_destroy(&findings);
    }
    return status;
}

static moe_status_t report(pairs_run_t *run, moe_error_t *error)
{
    const size_t ranks = run->world->all->size;
    moe_status_t status = moe_pairs_times(run->pairs, &run->series, run->time, error);
    world_progress_end(run->world);
    if (status != MOE_OK || run->world->all->rank != 0) {
        return status;
    }
    for (size_t i = 0; i < ranks * ranks; i++) {
        run->median[i] = run->time[i].median;
    }
    if (run->world->table != NULL) {
        print_pairs(run);
    }
    status = record_pairs(run, error);
    return status == MOE_OK ? judge(run, error) : status;
}

/* ---- The run ---- */

static moe_status_t check(pairs_run_t *run, size_t *errors, moe_error_t *error)
{
    world_t *w = run->world;
    moe_pairs_result_t result;
    w->doing = "the check of all pairs";
    world_progress(w, "checking all pairs ...");
    moe_status_t status = moe_pairs_check(run->pairs, w->config.check, &result, error);
    if (status == MOE_OK && result.errors > 0 && w->all->rank == 0) {
        char text[256];
        moe_pairs_describe(&result, text, sizeof text);
        world_progress_end(w);
        fprintf(stderr, "moe-a2a alltoallv: wrong data: --per-pair: %s\n", text);
    }
    *errors += status == MOE_OK ? result.errors : 0;
    return status;
}

/* All rounds in every repetition: what disturbs the machine for a while disturbs all pairs alike. */
static moe_status_t measure(pairs_run_t *run, moe_error_t *error)
{
    world_t *w = run->world;
    const double standard = w->config.measure.max_seconds;
    if (!w->config.options.given[OPT_MAX_SECONDS]) {
        w->config.measure.max_seconds = PAIRS_SECONDS;
    }
    const size_t columns = moe_pairs_columns(run->pairs);
    const moe_status_t status = measured_series(w, "all pairs", columns, columns, moe_pairs_repeat,
                                                run->pairs, &run->series, error);
    w->config.measure.max_seconds = standard;
    return status;
}

static moe_status_t set_up(pairs_run_t *run, moe_error_t *error)
{
    world_t *w = run->world;
    const size_t ranks = w->all->size;
    const moe_pairs_spec_t spec = {
        .transport = w->all, .device = w->device, .bytes = w->config.pair_bytes, .node = run->node};
    moe_status_t status =
        moe_alloc("times of pairs", ranks, ranks * sizeof *run->time, (void **)&run->time, error);
    if (status == MOE_OK) {
        status = moe_alloc("times of pairs", ranks, ranks * sizeof *run->median,
                           (void **)&run->median, error);
    }
    if (status == MOE_OK) {
        status =
            config_name_option(OPT_PAIR_BYTES, moe_pairs_create(&spec, &run->pairs, error), error);
    }
    return status;
}

static moe_status_t run_all(pairs_run_t *run, size_t *errors, moe_error_t *error)
{
    world_t *w = run->world;
    const size_t ranks = w->all->size;
    moe_status_t status = world_fits_device(
        w, "messages of pairs", moe_pairs_memory(w->config.pair_bytes), "--pair-bytes", error);
    if (status == MOE_OK) {
        status = world_fits(w, "times of pairs",
                            ranks * ranks * (sizeof *run->time + sizeof *run->median),
                            "the number of ranks", error);
    }
    if (status == MOE_OK) {
        status = world_agree(
            w, moe_alloc("nodes", ranks, sizeof *run->node, (void **)&run->node, error), error);
    }
    if (status == MOE_OK) {
        status = findings_nodes(w, run->node, error);
    }
    if (status == MOE_OK) {
        status = world_agree(w, set_up(run, error), error);
    }
    w->running = status == MOE_OK;
    if (status == MOE_OK) {
        status = check(run, errors, error);
    }
    if (status == MOE_OK) {
        status = measure(run, error);
    }
    return status == MOE_OK ? report(run, error) : status;
}

moe_status_t pairs_possible(const world_t *world, moe_error_t *error)
{
    return !world->config.per_pair || world->all->size > 1
               ? MOE_OK
               : moe_fail(error, MOE_BAD_INPUT, "--per-pair: one rank is no pair; start more");
}

moe_status_t pairs_run(world_t *world, size_t *errors, moe_error_t *error)
{
    pairs_run_t run = {.world = world};
    world->running = false;
    const moe_status_t status = run_all(&run, errors, error);
    moe_series_destroy(&run.series);
    moe_pairs_destroy(run.pairs);
    free(run.node);
    free(run.time);
    free(run.median);
    world->doing = "set-up";
    return status;
}
