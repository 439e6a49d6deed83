/* The timeline of an iteration on a cost model: the order of work is that of src/iteration/timeline.c. */
#include <math.h>
#include <string.h>

#include "moe/predict.h"
#include "work.h"

/* ---- One layer in one direction ---- */

/* Two lanes: compute, and exchanges, which go one after another. */
typedef struct lanes {
    double compute, exchange; /* until when each is taken */
    double wait_dispatch, wait_combine;
} lanes_t;

static double start_exchange(lanes_t *l, double seconds)
{
    l->exchange = fmax(l->exchange, l->compute) + seconds;
    return l->exchange;
}

static void wait_for(lanes_t *l, double until, double *wait)
{
    *wait += fmax(0, until - l->compute);
    l->compute = fmax(l->compute, until);
}

/* Chunks are alike. Permutation before and after the experts is taken to be half and half. */
static void run_chunks(const moe_layer_forecast_t *layer, size_t chunks, double experts,
                       double permute, lanes_t *l)
{
    const double dispatch = moe_terms_sum(&layer->dispatch.terms);
    const double combine = moe_terms_sum(&layer->combine.terms);
    double arrived[2], back = 0;
    l->compute += permute / 4;
    arrived[0] = start_exchange(l, dispatch);
    for (size_t n = 0; n < chunks; n++) {
        if (n + 1 < chunks) {
            l->compute += permute / 4;
            arrived[(n + 1) % 2] = start_exchange(l, dispatch);
        }
        wait_for(l, arrived[n % 2], &l->wait_dispatch);
        l->compute += permute / 2 + experts;
        back = start_exchange(l, combine);
    }
    wait_for(l, back, &l->wait_combine);
    l->compute += (double)chunks * permute / 4;
}

/* A layer of the busiest rank sets the pace; what the others have less to do, they wait for in combine. */
static void add_layer(const moe_forecast_spec_t *spec, const moe_layer_forecast_t *layer,
                      bool backward, double times, moe_forecast_t *f)
{
    const double n = (double)spec->chunks, work = backward ? 2 : 1;
    const double experts = work * layer->expert_max;
    lanes_t l = {0};
    run_chunks(layer, spec->chunks, experts, layer->permute_max, &l);
    const double wait =
        n * (experts - work * layer->expert_mean + layer->permute_max - layer->permute_mean);
    f->part[MOE_PART_COMPUTE] += times * n * work * layer->expert_mean;
    f->part[MOE_PART_PERMUTE] += times * n * layer->permute_mean;
    f->part[MOE_PART_DISPATCH] += times * l.wait_dispatch;
    f->part[MOE_PART_COMBINE] += times * (l.wait_combine + wait);
    f->wait += times * wait;
    f->part_max[MOE_PART_COMPUTE] += times * n * experts;
    f->part_max[MOE_PART_PERMUTE] += times * n * layer->permute_max;
    f->part_max[MOE_PART_DISPATCH] += times * l.wait_dispatch;
    f->part_max[MOE_PART_COMBINE] += times * (l.wait_combine + wait);
    f->compute_only += times * n * work * layer->expert_mean;
    f->compute_only_max += times * n * experts;
    moe_terms_add(&f->terms, &layer->dispatch.terms, times * n);
    moe_terms_add(&f->terms, &layer->combine.terms, times * n);
    if (!backward) { /* counts are known by then */
        const double metadata = times * n * moe_terms_sum(&layer->metadata.terms);
        f->part[MOE_PART_METADATA] += metadata;
        f->part_max[MOE_PART_METADATA] += metadata;
        moe_terms_add(&f->terms, &layer->metadata.terms, times * n);
    }
}

static void add_compute(double seconds, moe_forecast_t *f)
{
    f->part[MOE_PART_COMPUTE] += seconds;
    f->part_max[MOE_PART_COMPUTE] += seconds;
    f->compute_only += seconds;
    f->compute_only_max += seconds;
}

/* ---- Gradients ---- */

/* As in src/iteration/timeline.c: fp32, in PyTorch's buckets. */
#define BUCKET_BYTES (25.0 * 1024 * 1024)

/* Ring all-reduce of a bucket on n ranks that lie `stride` apart: 2 (n-1)/n of the bytes through the slowest
 * link of a ring, and a tree's latencies (NCCL). Ranks that lie together use the ports of a node together. */
static double ring(const moe_machine_t *m, double n, double stride, double bytes)
{
    size_t tier = 0;
    if (n < 2)
        return 0;
    while (tier + 1 < m->tiers && (double)m->tier[tier].ranks < n * stride)
        tier++;
    double rate = m->tier[tier].bandwidth / (double)m->tier[tier].ranks_per_port;
    const double node = (double)m->ranks_per_node;
    if (tier > 0 && stride < node)
        rate = fmin(m->tier[0].bandwidth / (double)m->tier[0].ranks_per_port, rate * node / stride);
    return 2 * (n - 1) / n * bytes / rate +
           2 * ceil(log2(n)) * (m->tier[tier].latency + m->tier[tier].overhead);
}

static double sum_gradients(const moe_machine_t *m, double n, double stride, double parameters)
{
    const double bytes = parameters * sizeof(float);
    const double full = floor(bytes / BUCKET_BYTES), rest = bytes - full * BUCKET_BYTES;
    return full * ring(m, n, stride, BUCKET_BYTES) + (rest > 0 ? ring(m, n, stride, rest) : 0);
}

static double all_gradients(const moe_forecast_spec_t *spec)
{
    const moe_model_t *m = spec->model;
    const moe_machine_t *machine = spec->machine;
    const double h = (double)m->hidden, ffn = (m->glu ? 3 : 2) * h;
    const double moe = (double)moe_model_moe_layers(m), dense_layers = (double)m->layers - moe;
    const double attention = moe_model_attention_params(m);
    const double dense = attention + ffn * (double)m->dense_ffn;
    const double beside = attention + h * (double)m->experts +
                          ffn * (double)moe_model_shared_width(m) +
                          (m->dense_residual ? ffn * (double)m->dense_ffn : 0);
    const double local = ceil((double)m->experts / (double)spec->ep);
    const double world = (double)spec->ep * (double)spec->dp;
    return sum_gradients(machine, world, 1, 2 * h * (double)m->vocab) +
           dense_layers * sum_gradients(machine, world, 1, dense) +
           moe * (sum_gradients(machine, world, 1, beside) +
                  sum_gradients(machine, (double)spec->dp, (double)spec->ep,
                                local * ffn * (double)m->expert_ffn));
}

/* ---- The whole ---- */

static void end_forecast(moe_forecast_t *f)
{
    double whole = 0, without_wait;
    for (int p = 0; p < MOE_PARTS; p++)
        whole += f->part[p];
    f->iteration = whole;
    const double tokens =
        f->part[MOE_PART_METADATA] + f->part[MOE_PART_DISPATCH] + f->part[MOE_PART_COMBINE];
    f->share_a2a = whole > 0 ? tokens / whole : 0;
    f->share_serial = whole > 0 ? (tokens + f->part[MOE_PART_ALLREDUCE]) / whole : 0;
    without_wait = f->compute_only_max + f->part_max[MOE_PART_PERMUTE];
    f->share_exposed = whole > without_wait ? (whole - without_wait) / whole : 0;
}

moe_status_t moe_predict_iteration(const moe_forecast_spec_t *spec,
                                   const moe_layer_forecast_t *layers, size_t count,
                                   moe_forecast_t *out, moe_error_t *error)
{
    const double moe = (double)moe_model_moe_layers(spec->model);
    const double dense = (double)spec->model->layers - moe;
    const bool training = spec->pass == MOE_TRAINING;
    moe_forecast_t f = {.overlapped = spec->chunks > 1};
    work_t work;
    const moe_status_t status = work_of_rank(spec, &work, error);
    if (status != MOE_OK)
        return status;
    add_compute((training ? 3 : 1) * (moe * work.moe + dense * work.dense + work.once), &f);
    for (size_t i = 0; i < count; i++) {
        f.sent_rows += layers[i].sent_rows / (double)count;
        add_layer(spec, &layers[i], false, moe / (double)count, &f);
        if (training)
            add_layer(spec, &layers[i], true, moe / (double)count, &f);
    }
    if (training && spec->dp > 1) {
        f.part[MOE_PART_ALLREDUCE] = all_gradients(spec);
        f.part_max[MOE_PART_ALLREDUCE] = f.part[MOE_PART_ALLREDUCE];
    }
    f.busiest = count > 0 ? layers[0].busiest : 0;
    end_forecast(&f);
    *out = f;
    return MOE_OK;
}
