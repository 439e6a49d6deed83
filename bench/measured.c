#include "measured.h"

#include <stdlib.h>

#include "binding.h"
#include "clocks.h"
#include "gpu.h"
#include "moe/system.h"
#include "simulation.h"

typedef struct watched {
    world_t *world;
    const char *label;
    size_t repetitions;
    moe_repeat_fn body;
    void *context;
} watched_t;

static moe_status_t repeat_watched(void *context, double *seconds, moe_error_t *error)
{
    watched_t *w = context;
    moe_watchdog_feed(w->world->watchdog);
    return w->body(w->context, seconds, error);
}

moe_status_t measured_series(world_t *world, const char *label, size_t columns, size_t deciding,
                             moe_repeat_fn body, void *context, moe_series_t *out,
                             moe_error_t *error)
{
    moe_measure_spec_t spec = world->config.measure;
    watched_t watched = {.world = world, .label = label, .body = body, .context = context};
    world->doing = label;
    world_progress(world, "measuring %s, at most %g s ...", label,
                   world->config.measure.max_seconds);
    spec.began = world->began;
    return moe_measure(world->all, &spec, columns, deciding, repeat_watched, &watched, out, error);
}

static const char *host_of(const void *context, size_t rank)
{
    const world_t *world = context;
    return world->hosts[rank];
}

static void print_device(const void *context, FILE *out)
{
    gpu_print(out, context);
    simulation_print(out);
}

static void record_device(const void *context, json_t *run)
{
    gpu_record(context, run);
    binding_record(context, run);
    simulation_record(run);
}

run_place_t world_place(const world_t *world)
{
    return (run_place_t){.ranks = world->all->size,
                         .nodes = world->nodes,
                         .ranks_per_node = world->ranks_per_node,
                         .host = host_of,
                         .context = world,
                         .transport = world->all->ops->name,
                         .device = world->device->description,
                         .print_device = print_device,
                         .record_device = record_device};
}

moe_status_t write_raw(world_t *world, const char *style, const char *algorithm, const char *phase,
                       const moe_series_t *series, size_t column, moe_error_t *error)
{
    if (!world->config.raw || world->all->rank != 0) {
        return MOE_OK;
    }
    const double *counted = moe_series_column(series, series->max, column);
    json_t *record = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "record", "raw", "style", style,
                               "algorithm", algorithm, "phase", phase, "warmup_us",
                               moe_json_times(counted - series->warmup, series->warmup), "times_us",
                               moe_json_times(counted, series->reps));
    return moe_recorder_write(world->recorder, record, error);
}

/* One rank's line: medians of its time, of its wait for the last to end, and of how much later than the
 * first it began; times it was last to end itself. */
typedef struct rank_line {
    double median, wait, late;
    size_t slowest;
} rank_line_t;

static moe_status_t own_line(const world_t *world, const moe_series_t *series, size_t column,
                             rank_line_t *out, moe_error_t *error)
{
    const double *own = moe_series_column(series, series->own, column);
    const double *max = moe_series_column(series, series->max, column);
    const uint32_t *slowest = series->slowest + column * series->capacity + series->warmup;
    moe_summary_t time, wait, late;
    double *waits = NULL;
    moe_status_t status =
        moe_alloc("rank figures", series->reps, sizeof *waits, (void **)&waits, error);
    if (status != MOE_OK) {
        return status;
    }
    *out = (rank_line_t){0};
    for (size_t r = 0; r < series->reps; r++) {
        waits[r] = max[r] - own[r];
        out->slowest += slowest[r] == world->all->rank;
    }
    status = moe_summarise(own, series->reps, &time, error);
    if (status == MOE_OK) {
        status = moe_summarise(waits, series->reps, &wait, error);
    }
    if (status == MOE_OK) {
        out->median = time.median;
        out->wait = wait.median;
    }
    if (status == MOE_OK && series->arrivals) {
        status = moe_summarise(moe_series_column(series, series->late, column), series->reps, &late,
                               error);
        out->late = status == MOE_OK ? late.median : 0;
    }
    free(waits);
    return status;
}

moe_status_t write_ranks(world_t *world, const char *style, const char *algorithm,
                         const char *phase, const moe_series_t *series, size_t column,
                         moe_error_t *error)
{
    moe_transport_t *t = world->all;
    rank_line_t mine, *every = NULL;
    if (!world->config.per_rank) {
        return MOE_OK;
    }
    moe_status_t status = own_line(world, series, column, &mine, error);
    if (status == MOE_OK) {
        status = moe_alloc("rank figures", t->size, sizeof *every, (void **)&every, error);
    }
    if (status == MOE_OK) {
        status = t->ops->allgather(t, &mine, sizeof mine, every, error);
    }
    for (size_t r = 0; status == MOE_OK && t->rank == 0 && r < t->size; r++) {
        if (world->table != NULL) {
            fprintf(
                world->table,
                "    rank %-4zu %-20s %-9s median %12.1f us, %10.1f us before the last, last %zu "
                "times of %zu\n",
                r, world->hosts[r], phase, every[r].median * 1e6, every[r].wait * 1e6,
                every[r].slowest, series->reps);
        }
        json_t *record = json_pack(
            "{s:s, s:s, s:s, s:s, s:I, s:s, s:f, s:f, s:I, s:I}", "record", "rank", "style", style,
            "algorithm", algorithm, "phase", phase, "rank", (json_int_t)r, "host", world->hosts[r],
            "median_us", every[r].median * 1e6, "wait_us", every[r].wait * 1e6, "slowest_count",
            (json_int_t)every[r].slowest, "reps", (json_int_t)series->reps);
        if (series->arrivals) {
            json_object_set_new(record, "late_us", json_real(every[r].late * 1e6));
        }
        status = moe_recorder_write(world->recorder, record, error);
    }
    free(every);
    return status;
}

moe_status_t add_series(json_t *record, const moe_series_t *series, size_t column,
                        moe_summary_t *summary, moe_error_t *error)
{
    moe_status_t status =
        moe_summarise(moe_series_column(series, series->max, column), series->reps, summary, error);
    if (status != MOE_OK) {
        return status;
    }
    size_t times;
    json_object_set_new(record, "reps", json_integer((json_int_t)series->reps));
    json_object_set_new(record, "warmup", json_integer((json_int_t)series->warmup));
    json_object_set_new(record, "converged", json_boolean(series->converged));
    json_object_set_new(record, "slowest_rank",
                        json_integer((json_int_t)moe_series_slowest(series, column, &times)));
    if (summary->trend.judged) {
        json_object_set_new(record, "drift", json_real(summary->trend.change));
        json_object_set_new(record, "drifts", json_boolean(summary->trend.drifts));
    }
    clocks_add_series(record, series);
    return MOE_OK;
}

const char *series_remarks(const moe_series_t *series, const moe_summary_t *summary)
{
    static const char *const remarks[2][2] = {{"", "  not converged"},
                                              {"  drifts", "  not converged, drifts"}};
    return remarks[summary->trend.drifts][!series->converged];
}
