#include "iteration_report.h"

#include "clocks.h"

static const char *const share_names[SHARES] = {"a2a", "serial", "exposed"};

static const char *pass_name(const config_t *c)
{
    return c->pass == MOE_TRAINING ? "training" : "forward";
}

/* ---- Printing ---- */

/* Absent = the run has no such part: never 0. */
static bool has_part(const iteration_run_t *run, const moe_style_ops_t *style, moe_part_t part)
{
    const config_t *c = &run->world->config;
    return (part != MOE_PART_ALLREDUCE || (c->dp > 1 && c->pass == MOE_TRAINING)) &&
           (part != MOE_PART_METADATA || style->metadata != MOE_METADATA_NONE);
}

/* Where exchanges overlap with compute, what they take in all is not known: parts and a2a are what
 * compute waited for. */
static bool has_share(const iteration_run_t *run, int share)
{
    return share != SHARE_SERIAL || run->world->config.chunks == 1;
}

void print_iteration_columns(FILE *out)
{
    fprintf(out,
            "\n%-16s %-12s %-26s %9s %9s %9s %9s %9s %9s  %-20s %-20s %-20s %s\n"
            "%-16s %-12s %-26s %9s %9s %9s %9s %9s %9s  %-20s %-20s %-20s %s\n",
            "style", "algorithm", "iteration ms [95 % int.]", "compute", "metadata", "permute",
            "dispatch", "combine", "allreduce", "a2a share %", "serial share %", "exposed share %",
            "slowest", "", "", "slowest rank", "ms", "ms", "ms", "ms", "ms", "ms",
            "of the iteration", "with all-reduce", "not overlapped", "rank");
}

void print_outcome(const iteration_run_t *run, const outcome_t *o, const moe_series_t *series)
{
    FILE *out = run->world->table;
    char whole[64], invalid[48];
    format_interval(whole, sizeof whole, &o->whole, 1e3, 2);
    fprintf(out, "%-16s %-12s %-26s", o->style->name, o->algorithm, whole);
    for (int p = 0; p < MOE_PARTS; p++) {
        char part[24];
        format_or_na(part, sizeof part, has_part(run, o->style, (moe_part_t)p), o->part[p] * 1e3,
                     3);
        fprintf(out, " %9s", part);
    }
    fputs(" ", out);
    for (int s = 0; s < SHARES; s++) {
        char share[64] = "n/a";
        if (has_share(run, s)) {
            format_interval(share, sizeof share, &o->share[s], 100, 1);
        }
        fprintf(out, " %-20s", share);
    }
    fprintf(out, " %zu (%zu of %zu)%s%s\n", o->slowest, o->slowest_times, series->reps,
            series_remarks(series, &o->whole), clocks_remark(series, invalid, sizeof invalid));
    fflush(out);
}

void print_answer(const iteration_run_t *run, const outcome_t *o)
{
    const config_t *c = &run->world->config;
    char share[64];
    if (c->chunks > 1) {
        format_interval(share, sizeof share, &o->share[SHARE_EXPOSED], 100, 1);
        fprintf(
            run->world->table,
            "On %zu ranks, %s dispatch and combine (%s), overlapped with experts in %zu chunks, "
            "leave %s %% of a %s iteration exposed.\n",
            run->world->all->size, o->style->name, o->algorithm, c->chunks, share, pass_name(c));
        return;
    }
    format_interval(share, sizeof share, &o->share[SHARE_A2A], 100, 1);
    fprintf(run->world->table,
            "On %zu ranks, %s dispatch and combine (%s) take %s %% of a %s iteration.\n",
            run->world->all->size, o->style->name, o->algorithm, share,
            c->pass == MOE_TRAINING ? "training" : "forward");
}

/* ---- Records ---- */

/* parts: seconds of each, or NULL: their medians. */
static json_t *part_times(const iteration_run_t *run, const outcome_t *o,
                          const moe_summary_t *columns, const double *parts)
{
    json_t *times = json_object();
    json_object_set_new(times, "iteration", json_real(columns[MOE_COLUMN_ITERATION].median * 1e3));
    for (int p = 0; p < MOE_PARTS; p++) {
        if (has_part(run, o->style, (moe_part_t)p)) {
            json_object_set_new(
                times, moe_part_name((moe_part_t)p),
                json_real((parts != NULL ? parts[p] : columns[MOE_COLUMN_PART0 + p].median) * 1e3));
        }
    }
    json_object_set_new(times, "compute_only",
                        json_real(columns[MOE_COLUMN_COMPUTE_ONLY].median * 1e3));
    return times;
}

static void add_interval(json_t *ci, const char *name, const moe_summary_t *summary, double scale)
{
    char key[32];
    if (summary->has_interval) {
        snprintf(key, sizeof key, "%s_low", name);
        json_object_set_new(ci, key, json_real(summary->low * scale));
        snprintf(key, sizeof key, "%s_high", name);
        json_object_set_new(ci, key, json_real(summary->high * scale));
    }
}

static json_t *intervals(const iteration_run_t *run, const outcome_t *o)
{
    json_t *ci = json_object();
    add_interval(ci, "iteration_ms", &o->whole, 1e3);
    for (int s = 0; s < SHARES; s++) {
        if (has_share(run, s)) {
            add_interval(ci, share_names[s], &o->share[s], 1);
        }
    }
    return ci;
}

moe_status_t record_outcome(const iteration_run_t *run, const outcome_t *o,
                            const moe_series_t *series, moe_error_t *error)
{
    const config_t *c = &run->world->config;
    json_t *share = json_object();
    for (int s = 0; s < SHARES; s++) {
        if (!has_share(run, s)) {
            continue;
        }
        json_object_set_new(share, share_names[s], json_real(o->share[s].median));
    }
    json_t *record = json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o}", "record", "iteration", "style",
        o->style->name, "algorithm", o->algorithm, "pass", pass_name(c), "layers",
        (json_int_t)c->model.layers, "time_ms", part_times(run, o, o->mean, o->part), "max_ms",
        part_times(run, o, o->max, NULL), "share", share, "ci", intervals(run, o));
    moe_summary_t summary;
    moe_status_t status = add_series(record, series, MOE_COLUMN_ITERATION, &summary, error);
    if (status != MOE_OK) {
        json_decref(record);
        return status;
    }
    json_object_set_new(record, "compute", json_string(run->compute->description));
    if (c->chunks > 1) {
        json_object_set_new(record, "overlap", json_string(c->options.value[OPT_OVERLAP]));
    }
    if (run->total_moe != run->layers.count || run->total_dense != run->measured_dense) {
        json_object_set_new(record, "extrapolated_from_layers",
                            json_integer((json_int_t)(run->layers.count + run->measured_dense)));
    }
    if (c->check != MOE_CHECK_OFF) {
        json_object_set_new(record, "errors", json_integer((json_int_t)o->errors));
    }
    return moe_recorder_write(run->world->recorder, record, error);
}

void print_timeline(const iteration_run_t *run)
{
    const world_t *w = run->world;
    fprintf(
        w->table, "compute   %s\npass      %s%s\nmeasured  %zu of %zu MoE layers, %zu of %zu dense",
        run->compute->description, pass_name(&w->config),
        w->config.dp > 1 && w->config.pass == MOE_TRAINING ? ", with the gradient all-reduce (fp32)"
                                                           : "",
        run->layers.count, run->total_moe, run->measured_dense, run->total_dense);
    if (run->layers.count != run->total_moe || run->measured_dense != run->total_dense) {
        fprintf(w->table, "; EXTRAPOLATED to all %zu", run->total_moe + run->total_dense);
    }
    fprintf(w->table, "\n");
    if (w->config.chunks > 1) {
        fprintf(
            w->table,
            "overlap   %zu chunks a layer: metadata, dispatch and combine are what compute waits "
            "for\n",
            w->config.chunks);
    }
}
