#include "alternate.h"

#include <stdlib.h>

#include "measured.h"
#include "moe/system.h"

typedef struct alternate {
    world_t *world;
    size_t count;
    moe_raw_t **raw; /* [count], one for each algorithm */
    size_t turn;     /* repetitions made: the first to run moves on */
} alternate_t;

/* A schedule is made anew outside the times, as the counts are new in every layer. */
static moe_status_t run_one(alternate_t *a, size_t i, double *seconds, moe_error_t *error)
{
    moe_transport_t *t = a->world->all;
    const moe_algorithm_ops_t *algorithm = a->world->config.algorithm[i];
    moe_status_t status = algorithm->schedule != NULL ? moe_raw_schedule(a->raw[i], error) : MOE_OK;
    if (status == MOE_OK) {
        status = t->ops->barrier(t, error);
    }
    const double start = moe_now();
    if (status == MOE_OK) {
        status = moe_raw_run(a->raw[i], error);
    }
    *seconds = moe_now() - start;
    return status;
}

static moe_status_t repeat(void *context, double *seconds, moe_error_t *error)
{
    alternate_t *a = context;
    moe_status_t status = MOE_OK;
    for (size_t i = 0; i < a->count && status == MOE_OK; i++) {
        const size_t which = (a->turn + i) % a->count;
        status = run_one(a, which, &seconds[which], error);
    }
    a->turn++;
    return status;
}

static moe_status_t make(alternate_t *a, const raw_source_matrix_t *source, moe_error_t *error)
{
    world_t *w = a->world;
    const moe_raw_spec_t spec = {.transport = w->all,
                                 .device = w->device,
                                 .matrix = &source->matrix,
                                 .row_bytes = moe_matrix_row_bytes(&source->matrix),
                                 .graph = w->config.graph,
                                 .ranks_per_node = w->ranks_per_node};
    moe_status_t status = moe_alloc("exchanges", a->count, sizeof *a->raw, (void **)&a->raw, error);
    for (size_t i = 0; i < a->count && status == MOE_OK; i++) {
        status = world_agree(w, moe_raw_create(&spec, &a->raw[i], error), error);
        if (status == MOE_OK) {
            status = world_agree(w, moe_raw_use(a->raw[i], w->config.algorithm[i], error), error);
        }
    }
    return status;
}

static moe_status_t check(alternate_t *a, size_t *errors, moe_error_t *error)
{
    world_t *w = a->world;
    moe_status_t status = MOE_OK;
    for (size_t i = 0; i < a->count && status == MOE_OK; i++) {
        moe_raw_result_t result;
        status = moe_raw_check(a->raw[i], w->config.check, &result, error);
        if (status == MOE_OK && result.errors > 0 && result.rank == w->all->rank) {
            char text[256];
            moe_raw_describe(&result, text, sizeof text);
            fprintf(stderr, "moe-a2a alltoallv: wrong data: %s: %s\n", w->config.algorithm[i]->name,
                    text);
        }
        *errors += status == MOE_OK ? result.errors : 0;
    }
    return status;
}

/* Of time of the first over time of algorithm i, repetition by repetition. */
static moe_status_t ratio_of(const moe_series_t *series, size_t i, moe_summary_t *out,
                             moe_error_t *error)
{
    const double *first = moe_series_column(series, series->max, 0);
    const double *other = moe_series_column(series, series->max, i);
    double *ratio = NULL;
    moe_status_t status = moe_alloc("ratios", series->reps, sizeof *ratio, (void **)&ratio, error);
    for (size_t r = 0; status == MOE_OK && r < series->reps; r++) {
        ratio[r] = other[r] > 0 ? first[r] / other[r] : 0;
    }
    if (status == MOE_OK) {
        status = moe_summarise(ratio, series->reps, out, error);
    }
    free(ratio);
    return status;
}

static moe_status_t record(alternate_t *a, size_t i, const moe_series_t *series,
                           const moe_flow_t *flow, const link_t *link, moe_summary_t *time,
                           const moe_summary_t *ratio, moe_error_t *error)
{
    const config_t *c = &a->world->config;
    json_t *line = json_pack("{s:s, s:s, s:s, s:s, s:s, s:f}", "record", "exchange", "style", "raw",
                             "algorithm", c->algorithm[i]->name, "phase", "alltoallv", "ratio_of",
                             c->algorithm[0]->name, "ratio", ratio->median);
    moe_status_t status = add_series(line, series, i, time, error);
    if (status != MOE_OK) {
        json_decref(line);
        return status;
    }
    if (ratio->has_interval) {
        json_object_set_new(line, "ratio_low", json_real(ratio->low));
        json_object_set_new(line, "ratio_high", json_real(ratio->high));
    }
    moe_json_add_times(line, time);
    json_object_set_new(line, "busbw_GBps", json_real(moe_flow_busbw(flow, time->median) / 1e9));
    if (link->bandwidth > 0 && time->median > 0) {
        const double bound = (double)moe_flow_busiest(flow, NULL) / link->bandwidth;
        json_object_set_new(line, "bound_us", json_real(bound * 1e6));
        json_object_set_new(line, "efficiency", json_real(bound / time->median));
    }
    json_object_set_new(line, "bytes", moe_json_bytes(&flow->bytes));
    json_object_set_new(line, "matrix_hash", moe_json_hash(flow->hash));
    return moe_recorder_write(a->world->recorder, line, error);
}

static void print_line(alternate_t *a, size_t i, const moe_flow_t *flow, const link_t *link,
                       const moe_summary_t *time, const moe_summary_t *ratio)
{
    char ms[64], held[64], efficiency[24];
    const double bound =
        link->bandwidth > 0 ? (double)moe_flow_busiest(flow, NULL) / link->bandwidth : 0;
    format_interval(ms, sizeof ms, time, 1e3, 2);
    format_interval(held, sizeof held, ratio, 1, 3);
    format_or_na(efficiency, sizeof efficiency, bound > 0, 100 * bound / time->median, 1);
    fprintf(a->world->table, "%-14s %-32s %10.4f %8s  %-26s%s\n",
            a->world->config.algorithm[i]->name, ms, moe_flow_busbw(flow, time->median) / 1e9,
            efficiency, held, time->trend.drifts ? "  drifts" : "");
}

static moe_status_t report(alternate_t *a, const moe_series_t *series, const moe_flow_t *flow,
                           const link_t *link, moe_error_t *error)
{
    world_t *w = a->world;
    moe_status_t status = MOE_OK;
    world_progress_end(w);
    if (w->table != NULL) {
        fprintf(w->table,
                "\n%zu repetitions of all in turn%s; busiest port %.3f MB\n%-14s %-32s %10s %8s  "
                "%-26s\n",
                series->reps, series->converged ? "" : ", not converged",
                (double)moe_flow_busiest(flow, NULL) / 1e6, "algorithm",
                "median ms [95 % interval]", "busbw GB/s", "eff. %", "times as fast as the first");
    }
    for (size_t i = 0; i < a->count && w->all->rank == 0 && status == MOE_OK; i++) {
        moe_summary_t time, ratio;
        status = ratio_of(series, i, &ratio, error);
        if (status == MOE_OK) {
            status = record(a, i, series, flow, link, &time, &ratio, error);
        }
        if (status == MOE_OK && w->table != NULL) {
            print_line(a, i, flow, link, &time, &ratio);
        }
    }
    return status;
}

moe_status_t alternate_run(world_t *world, const raw_source_matrix_t *source, const link_t *link,
                           size_t *errors, moe_error_t *error)
{
    alternate_t a = {.world = world, .count = world->config.algorithms};
    moe_series_t series = {0};
    moe_flow_t flow = {0};
    world->running = false;
    moe_status_t status = world_agree(
        world,
        moe_matrix_flow(&source->matrix, world->ranks_per_node, source->hash_row, &flow, error),
        error);
    if (status == MOE_OK) {
        status = make(&a, source, error);
    }
    world->running = status == MOE_OK;
    if (status == MOE_OK) {
        status = check(&a, errors, error);
    }
    if (status == MOE_OK) {
        status = measured_series(world, "all algorithms in turn", a.count, a.count, repeat, &a,
                                 &series, error);
    }
    if (status == MOE_OK) {
        status = report(&a, &series, &flow, link, error);
    }
    moe_series_destroy(&series);
    moe_flow_destroy(&flow);
    for (size_t i = 0; a.raw != NULL && i < a.count; i++) {
        moe_raw_destroy(a.raw[i]);
    }
    free(a.raw);
    return status;
}
