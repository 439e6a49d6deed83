#include "iteration_report.h"

#include "clocks.h"

static const char *const share_names[SHARES] = {"a2a", "serial", "exposed"};

static const char *pass_name(const config_t *c)
{
    return c->pass == MOE_TRAINING ? "training" : "forward";
}

/* ---- Printing ---- */

/* Absent = the run has no such part: never 0. */
static bool has_part(const iteration_view_t *view, const moe_style_ops_t *style, moe_part_t part)
{
    const config_t *c = view->config;
    return (part != MOE_PART_ALLREDUCE || (c->dp > 1 && c->pass == MOE_TRAINING)) &&
           (part != MOE_PART_METADATA || style->metadata != MOE_METADATA_NONE);
}

/* Where exchanges overlap with compute, what they take in all is not known: parts and a2a are what
 * compute waited for. */
static bool has_share(const iteration_view_t *view, int share)
{
    return share != SHARE_SERIAL || view->config->chunks == 1;
}

void print_iteration_columns(const iteration_view_t *view)
{
    fprintf(view->table,
            "\n%-16s %-12s %-26s %9s %9s %9s %9s %9s %9s  %-20s %-20s %-20s %s\n"
            "%-16s %-12s %-26s %9s %9s %9s %9s %9s %9s  %-20s %-20s %-20s %s\n",
            "style", "algorithm",
            view->predicted ? "predicted iteration ms" : "iteration ms [95 % int.]", "compute",
            "metadata", "permute", "dispatch", "combine", "allreduce", "a2a share %",
            "serial share %", "exposed share %", view->predicted ? "most time goes to" : "slowest",
            "", "", "slowest rank", "ms", "ms", "ms", "ms", "ms", "ms", "of the iteration",
            "with all-reduce", "not overlapped", view->predicted ? "" : "rank");
}

/* What is predicted has no interval. */
static void format_figure(char *text, size_t size, const iteration_view_t *view,
                          const moe_summary_t *summary, double scale, int digits)
{
    if (view->predicted) {
        snprintf(text, size, "%.*f", digits, summary->median * scale);
    } else {
        format_interval(text, size, summary, scale, digits);
    }
}

void print_outcome(const iteration_view_t *view, const outcome_t *o, const moe_series_t *series,
                   const char *remark)
{
    FILE *out = view->table;
    char whole[64], invalid[48];
    format_figure(whole, sizeof whole, view, &o->whole, 1e3, 2);
    fprintf(out, "%-16s %-12s %-26s", o->style->name, o->algorithm, whole);
    for (int p = 0; p < MOE_PARTS; p++) {
        char part[24];
        format_or_na(part, sizeof part, has_part(view, o->style, (moe_part_t)p), o->part[p] * 1e3,
                     3);
        fprintf(out, " %9s", part);
    }
    fputs(" ", out);
    for (int s = 0; s < SHARES; s++) {
        char share[64] = "n/a";
        if (has_share(view, s)) {
            format_figure(share, sizeof share, view, &o->share[s], 100, 1);
        }
        fprintf(out, " %-20s", share);
    }
    if (series == NULL) {
        fprintf(out, " %s\n", remark);
        return;
    }
    fprintf(out, " %zu (%zu of %zu)%s%s\n", o->slowest, o->slowest_times, series->reps,
            series_remarks(series, &o->whole), clocks_remark(series, invalid, sizeof invalid));
    fflush(out);
}

void print_answer(const iteration_view_t *view, const outcome_t *o)
{
    const config_t *c = view->config;
    const char *start = view->predicted ? "Predicted: on" : "On";
    char share[64];
    if (c->counts_steps) {
        fprintf(view->table, "Step %u: ", (unsigned)c->step);
    }
    if (c->chunks > 1) {
        format_figure(share, sizeof share, view, &o->share[SHARE_EXPOSED], 100, 1);
        fprintf(
            view->table,
            "%s %zu ranks, %s dispatch and combine (%s), overlapped with experts in %zu chunks, "
            "leave %s %% of a %s iteration exposed.\n",
            start, view->ranks, o->style->name, o->algorithm, c->chunks, share, pass_name(c));
        return;
    }
    format_figure(share, sizeof share, view, &o->share[SHARE_A2A], 100, 1);
    fprintf(view->table,
            "%s %zu ranks, %s dispatch and combine (%s) take %s %% of a %s iteration.\n", start,
            view->ranks, o->style->name, o->algorithm, share, pass_name(c));
}

/* ---- Records ---- */

/* parts: seconds of each, or NULL: their medians. */
static json_t *part_times(const iteration_view_t *view, const outcome_t *o,
                          const moe_summary_t *columns, const double *parts)
{
    json_t *times = json_object();
    json_object_set_new(times, "iteration", json_real(columns[MOE_COLUMN_ITERATION].median * 1e3));
    for (int p = 0; p < MOE_PARTS; p++) {
        if (has_part(view, o->style, (moe_part_t)p)) {
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

static json_t *intervals(const iteration_view_t *view, const outcome_t *o)
{
    json_t *ci = json_object();
    add_interval(ci, "iteration_ms", &o->whole, 1e3);
    for (int s = 0; s < SHARES; s++) {
        if (has_share(view, s)) {
            add_interval(ci, share_names[s], &o->share[s], 1);
        }
    }
    return ci;
}

/* One prediction is no sample; readers want the fields of one. */
static moe_status_t add_samples(json_t *record, const outcome_t *o, const moe_series_t *series,
                                moe_error_t *error)
{
    moe_summary_t summary;
    if (series != NULL) {
        return add_series(record, series, MOE_COLUMN_ITERATION, &summary, error);
    }
    json_object_set_new(record, "reps", json_integer(1));
    json_object_set_new(record, "warmup", json_integer(0));
    json_object_set_new(record, "converged", json_true());
    json_object_set_new(record, "slowest_rank", json_integer((json_int_t)o->slowest));
    return MOE_OK;
}

moe_status_t outcome_record(const iteration_view_t *view, const outcome_t *o,
                            const moe_series_t *series, json_t **out, moe_error_t *error)
{
    const config_t *c = view->config;
    json_t *share = json_object();
    for (int s = 0; s < SHARES; s++) {
        if (has_share(view, s)) {
            json_object_set_new(share, share_names[s], json_real(o->share[s].median));
        }
    }
    json_t *record = json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o}", "record", "iteration", "style",
        o->style->name, "algorithm", o->algorithm, "pass", pass_name(c), "layers",
        (json_int_t)c->model.layers, "time_ms", part_times(view, o, o->mean, o->part), "max_ms",
        part_times(view, o, o->max, NULL), "share", share, "ci", intervals(view, o));
    const moe_status_t status = add_samples(record, o, series, error);
    if (status != MOE_OK) {
        json_decref(record);
        return status;
    }
    json_object_set_new(record, "compute", json_string(view->compute));
    if (c->chunks > 1) {
        json_object_set_new(record, "overlap", json_string(c->options.value[OPT_OVERLAP]));
    }
    if (view->total_moe != view->moe_layers || view->total_dense != view->dense_layers) {
        json_object_set_new(
            record, "extrapolated_from_layers",
            json_integer((json_int_t)view->moe_layers + (json_int_t)view->dense_layers));
    }
    if (series != NULL && c->check != MOE_CHECK_OFF) {
        json_object_set_new(record, "errors", json_integer((json_int_t)o->errors));
    }
    *out = record;
    return MOE_OK;
}

void print_timeline(const iteration_view_t *view)
{
    const config_t *c = view->config;
    fprintf(view->table,
            "compute   %s\npass      %s%s\n%s  %zu of %zu MoE layers, %zu of %zu dense",
            view->compute, pass_name(c),
            c->dp > 1 && c->pass == MOE_TRAINING ? ", with the gradient all-reduce (fp32)" : "",
            view->predicted ? "layers  " : "measured", view->moe_layers, view->total_moe,
            view->dense_layers, view->total_dense);
    if (view->moe_layers != view->total_moe || view->dense_layers != view->total_dense) {
        fprintf(view->table, "; EXTRAPOLATED to all %zu", view->total_moe + view->total_dense);
    }
    fprintf(view->table, "\n");
    if (c->chunks > 1) {
        fprintf(
            view->table,
            "overlap   %zu chunks a layer: metadata, dispatch and combine are what compute waits "
            "for\n",
            c->chunks);
    }
}
