#include "raw_report.h"

#include <string.h>

#include "clocks.h"
#include "measured.h"

#define STYLE "raw"

static const char *const phases[RAW_COLUMNS] = {
    [RAW_EXCHANGE] = "alltoallv", [RAW_SCHEDULE] = "schedule"};

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

/* Medians over repetitions: from the first rank's start to the last one's, and from there to the end. */
typedef struct arrivals {
    double wait, transfer;
} arrivals_t;

static moe_status_t arrivals_of(const moe_series_t *series, raw_column_t column, arrivals_t *out,
                                moe_error_t *error)
{
    moe_summary_t wait, transfer;
    moe_status_t status = moe_summarise(moe_series_column(series, series->wait, (size_t)column),
                                        series->reps, &wait, error);
    if (status == MOE_OK) {
        status = moe_summarise(moe_series_column(series, series->transfer, (size_t)column),
                               series->reps, &transfer, error);
    }
    if (status == MOE_OK) {
        *out = (arrivals_t){.wait = wait.median, .transfer = transfer.median};
    }
    return status;
}

/* ---- The table ---- */

void print_raw_columns(const world_t *w)
{
    const bool sweep = w->config.source == RAW_SIZES;
    fprintf(w->table, "\n%12s  %-19s %-34s %10s %10s %8s %8s %10s %6s %7s %6s %12s%s\n", "size",
            "algorithm", "median us [95 % interval]", "min us", "p99 us", "algbw", "busbw",
            "bound us", "eff.", "slowest", "errors", "schedule us",
            w->config.measure.clock != NULL ? "    wait us  transfer" : "");
    fprintf(w->table, "%12s  %-19s %-34s %10s %10s %8s %8s %10s %6s %7s %6s %12s\n",
            sweep ? "bytes a pair" : "most sent", "", "", "", "", "GB/s", "GB/s", "", "%", "rank",
            "", "");
}

static void print_line(const raw_run_t *run, const moe_series_t *series,
                       const moe_summary_t times[RAW_COLUMNS], const arrivals_t *arrivals)
{
    const moe_summary_t *t = &times[RAW_EXCHANGE];
    char label[40], median[64], p99[24], busbw[24], bound[24], efficiency[24], errors[24],
        schedule[24] = "";
    char invalid[48], aligned[32] = "";
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
    if (series->arrivals) {
        snprintf(aligned, sizeof aligned, " %10.1f %9.1f", arrivals->wait * 1e6,
                 arrivals->transfer * 1e6);
    }
    fprintf(run->world->table,
            "%12zu  %-19s %-34s %10.1f %10s %8.3f %8s %10s %6s %7zu %6s %12s%s%s%s\n", run->size,
            label, median, t->min * 1e6, p99, moe_flow_algbw(&run->flow, t->median) / 1e9, busbw,
            bound, efficiency, moe_series_slowest(series, RAW_EXCHANGE, &last), errors, schedule,
            aligned, series_remarks(series, t), clocks_remark(series, invalid, sizeof invalid));
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
    if (status == MOE_OK && series->arrivals) {
        arrivals_t arrivals = {0};
        status = arrivals_of(series, column, &arrivals, error);
        json_object_set_new(record, "wait_us", json_real(arrivals.wait * 1e6));
        json_object_set_new(record, "transfer_us", json_real(arrivals.transfer * 1e6));
    }
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

moe_status_t report_raw(const raw_run_t *run, const moe_series_t *series, moe_error_t *error)
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
    arrivals_t arrivals = {0};
    if (status == MOE_OK && w->table != NULL && series->arrivals) {
        status = arrivals_of(series, RAW_EXCHANGE, &arrivals, error);
    }
    if (status == MOE_OK && w->table != NULL) {
        print_line(run, series, times, &arrivals);
    }
    return status;
}
