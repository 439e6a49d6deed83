/* One MoE layer: its exchanges, its permutation, and what its experts do. */
#include <math.h>
#include <stdlib.h>

#include "moe/predict.h"
#include "moe/system.h"
#include "work.h"

/* A count on the wire: as src/traffic has it. */
#define COUNT_BYTES 8.0

/* ---- Metadata ---- */

/* An all-to-all of so many bytes a pair: by the library's choice, taken to be the better of all at once and
 * rounds of radix 2. */
static moe_status_t counts(const moe_forecast_spec_t *spec, const moe_sizes_t *sizes,
                           moe_scope_t scope, double bytes, moe_cost_t *out, moe_error_t *error)
{
    moe_way_t way;
    moe_cost_t at_once = {0}, rounds = {0};
    moe_status_t status = moe_way_uniform(sizes->placement->ranks, moe_sizes_node_ranks(sizes),
                                          scope, 1, &way, error);
    if (status == MOE_OK)
        status = moe_predict_exchange("native", &way, spec->machine, bytes, &at_once, error);
    if (status == MOE_OK)
        status = moe_predict_exchange("bruck", &way, spec->machine, bytes, &rounds, error);
    moe_way_destroy(&way);
    if (status == MOE_OK)
        moe_cost_add(
            out, moe_terms_sum(&at_once.terms) <= moe_terms_sum(&rounds.terms) ? &at_once : &rounds,
            1);
    return status;
}

/* An all-reduce of one count: recursive doubling (Thakur, Rabenseifner and Gropp 2005). */
static void largest_count(const moe_forecast_spec_t *spec, size_t ranks, moe_cost_t *out)
{
    const moe_machine_t *m = spec->machine;
    for (size_t distance = 1; distance < ranks; distance *= 2) {
        size_t tier = 0;
        while (tier + 1 < m->tiers && m->tier[tier].ranks <= distance)
            tier++;
        out->steps[tier]++;
        out->messages[tier]++;
        out->bytes[tier] += COUNT_BYTES;
        out->terms.latency += m->tier[tier].latency;
        out->terms.overhead += m->tier[tier].overhead;
        out->terms.bytes[tier] += COUNT_BYTES / m->tier[tier].bandwidth;
    }
}

static moe_status_t metadata(const moe_forecast_spec_t *spec, const moe_sizes_t *sizes,
                             moe_cost_t *out, moe_error_t *error)
{
    const size_t ranks = sizes->placement->ranks;
    const double local = ceil((double)sizes->placement->experts / (double)ranks);
    moe_status_t status = MOE_OK;
    switch (spec->style->metadata) {
    case MOE_METADATA_NONE:
        break;
    case MOE_METADATA_MAX:
        largest_count(spec, ranks, out);
        break;
    case MOE_METADATA_COUNTS:
        return counts(spec, sizes, MOE_SCOPE_GROUP, local * COUNT_BYTES, out, error);
    case MOE_METADATA_ROWS:
        if (!spec->style->by_node)
            return counts(spec, sizes, MOE_SCOPE_GROUP, COUNT_BYTES, out, error);
        status = counts(spec, sizes, MOE_SCOPE_RAIL, COUNT_BYTES, out, error);
        return status == MOE_OK ? counts(spec, sizes, MOE_SCOPE_NODE, COUNT_BYTES, out, error)
                                : status;
    }
    return status;
}

/* ---- Experts ---- */

/* Rows of each expert from one source, padding included. */
static double expert_rows(const moe_forecast_spec_t *spec, const moe_sizes_t *sizes,
                          const moe_sample_t *sample, size_t e, double *variance)
{
    *variance = 0;
    if (spec->style->block_rows != NULL &&
        spec->style->block_rows(sizes, 0) == spec->style->block_rows(sizes, 1))
        return (double)spec->style->block_rows(sizes, 0);
    *variance = sample->sampled == sample->ranks ? 0 : sample->expert.variance[e];
    return sample->expert.mean[e];
}

/* Work of the experts of every rank: mean[ranks] seconds and rows, and deviations. */
typedef struct expert_work {
    double *seconds, *seconds_sigma, *rows, *rows_sigma; /* [ranks] */
} expert_work_t;

static moe_status_t work_of_experts(const moe_forecast_spec_t *spec, const moe_sizes_t *sizes,
                                    const moe_sample_t *sample, expert_work_t *w,
                                    moe_error_t *error)
{
    const moe_placement_t *p = sizes->placement;
    const size_t n = p->ranks;
    moe_status_t status =
        moe_alloc("work of experts", 4 * n, sizeof(double), (void **)&w->seconds, error);
    if (status != MOE_OK)
        return status;
    w->seconds_sigma = w->seconds + n;
    w->rows = w->seconds_sigma + n;
    w->rows_sigma = w->rows + n;
    for (size_t r = 0; r < n; r++) {
        for (size_t i = p->first[r]; i < p->first[r + 1]; i++) {
            double variance;
            const double rows =
                (double)n * expert_rows(spec, sizes, sample, (size_t)p->expert_at[i], &variance);
            w->seconds[r] += work_expert_seconds(spec, rows);
            w->rows[r] += rows;
            w->rows_sigma[r] += (double)n * variance;
        }
        w->rows_sigma[r] = sqrt(w->rows_sigma[r]);
        w->seconds_sigma[r] = w->rows_sigma[r] * work_row_seconds(spec);
    }
    return MOE_OK;
}

/* ---- Permutation ---- */

/* Bytes read and written by a rank with `arrived` rows for its experts: pack, by expert, back in order of
 * arrival, weigh and sum. Rows that arrive for one expert alone are in order already. */
static double permuted_bytes(const moe_forecast_spec_t *spec, const moe_sizes_t *sizes, double sent,
                             double arrived)
{
    const double in = (double)moe_row_bytes(spec->dtype, spec->model->hidden);
    const double out = (double)moe_row_bytes(spec->combine_dtype, spec->model->hidden);
    const bool one_expert = sizes->placement->experts <= sizes->placement->ranks &&
                            spec->style->block_rows != NULL && !spec->style->by_node;
    double bytes = 2 * sent * in + sent * out + (double)sizes->tokens_max * out;
    if (!one_expert)
        bytes += 2 * arrived * (in + out);
    return bytes;
}

/* Rows that a rank sends by the first hop, itself included. */
static double rows_sent(const moe_way_t *way)
{
    double rows = 0;
    for (size_t r = 0; r < way->ranks; r++)
        rows += way->mean[r];
    return way->scope == MOE_SCOPE_RAIL   ? rows / (double)way->node_ranks
           : way->scope == MOE_SCOPE_NODE ? rows * (double)way->node_ranks / (double)way->ranks
                                          : rows;
}

/* ---- All of it ---- */

static void finish(const moe_forecast_spec_t *spec, const moe_sizes_t *sizes,
                   const expert_work_t *w, double sent, moe_layer_forecast_t *out)
{
    const size_t n = sizes->placement->ranks;
    double rows = 0, seconds = 0;
    for (size_t r = 0; r < n; r++) {
        rows += w->rows[r] / (double)n;
        seconds += w->seconds[r] / (double)n;
    }
    const double most_rows = moe_largest(w->rows, w->rows_sigma, n, 1, &out->busiest);
    out->sent_rows = sent;
    out->expert_mean = seconds;
    out->expert_max = moe_largest(w->seconds, w->seconds_sigma, n, 1, NULL);
    out->permute_mean = permuted_bytes(spec, sizes, sent, rows) / spec->machine->memory;
    out->permute_max = permuted_bytes(spec, sizes, sent, most_rows) / spec->machine->memory;
}

static moe_status_t exchanges(const moe_forecast_spec_t *spec, const moe_sizes_t *sizes,
                              const moe_sample_t *sample, double *sent, moe_layer_forecast_t *out,
                              moe_error_t *error)
{
    const double in = (double)(moe_row_bytes(spec->dtype, spec->model->hidden) +
                               moe_style_side_bytes(spec->style, sizes));
    const double back = (double)moe_row_bytes(spec->combine_dtype, spec->model->hidden);
    moe_way_t way[MOE_MOST_WAYS];
    size_t ways = 0;
    moe_status_t status = moe_ways_create(spec->style, sizes, sample, way, &ways, error);
    if (status == MOE_OK)
        *sent = rows_sent(&way[0]);
    for (size_t i = 0; status == MOE_OK && i < ways; i++) {
        status = moe_predict_exchange(spec->algorithm, &way[i], spec->machine, in, &out->dispatch,
                                      error);
        way[i].back = true;
        if (status == MOE_OK)
            status = moe_predict_exchange(spec->algorithm, &way[i], spec->machine, back,
                                          &out->combine, error);
    }
    for (size_t i = 0; i < ways; i++)
        moe_way_destroy(&way[i]);
    return status;
}

moe_status_t moe_predict_layer(const moe_forecast_spec_t *spec, const moe_workload_t *workload,
                               const moe_sample_t *sample, moe_layer_forecast_t *out,
                               moe_error_t *error)
{
    moe_layer_forecast_t layer = {.busiest = 0};
    expert_work_t work = {0};
    moe_sizes_t sizes;
    double sent = 0;
    moe_sizes_of(workload, (size_t)ceil(sample->count_max), &sizes);
    moe_status_t status = exchanges(spec, &sizes, sample, &sent, &layer, error);
    if (status == MOE_OK)
        status = metadata(spec, &sizes, &layer.metadata, error);
    if (status == MOE_OK)
        status = work_of_experts(spec, &sizes, sample, &work, error);
    if (status == MOE_OK) {
        finish(spec, &sizes, &work, sent, &layer);
        *out = layer;
    }
    free(work.seconds);
    return status;
}
