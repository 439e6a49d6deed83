#include "popularity.h"

#include <math.h>
#include <stdlib.h>

#include "moe/system.h"
#include "random.h"
#include "real.h"
#include "traced.h"

/* ---- Distributions ---- */

static void fill_equal(const moe_skew_t *skew, size_t experts, const moe_source_t *source,
                       double *log_popularity)
{
    (void)skew;
    (void)source;
    for (size_t r = 0; r < experts; r++)
        log_popularity[r] = 0;
}

/* p_r ~ r^-S, r from 1. */
static void fill_zipf(const moe_skew_t *skew, size_t experts, const moe_source_t *source,
                      double *log_popularity)
{
    (void)source;
    for (size_t r = 0; r < experts; r++)
        log_popularity[r] = -skew->a * moe_real_log((double)(r + 1));
}

/* ln(share / among); minus infinity for nothing. */
static double log_share(double share, size_t among)
{
    return share > 0 ? moe_real_log(share / (double)among) : -INFINITY;
}

static void fill_hot(const moe_skew_t *skew, size_t experts, const moe_source_t *source,
                     double *log_popularity)
{
    (void)source;
    const size_t hot = (size_t)skew->a;
    if (hot == experts) { /* nobody else is there to take the rest */
        fill_equal(skew, experts, source, log_popularity);
        return;
    }
    for (size_t r = 0; r < experts; r++)
        log_popularity[r] =
            r < hot ? log_share(skew->b, hot) : log_share(1 - skew->b, experts - hot);
}

static void fill_lognormal(const moe_skew_t *skew, size_t experts, const moe_source_t *source,
                           double *log_popularity)
{
    for (size_t r = 0; r < experts; r++) {
        moe_stream_t stream = moe_stream_start(source, r, 0);
        double pair[2];
        moe_stream_normals(&stream, pair);
        log_popularity[r] = skew->a * pair[0];
    }
}

/* Symmetric: Gamma(alpha, 1) each, over their sum. */
static void fill_dirichlet(const moe_skew_t *skew, size_t experts, const moe_source_t *source,
                           double *log_popularity)
{
    for (size_t r = 0; r < experts; r++) {
        moe_stream_t stream = moe_stream_start(source, r, 0);
        log_popularity[r] = moe_stream_log_gamma(&stream, skew->a);
    }
}

/* Limits are far past what was ever measured (a slope of 2.9: SmartMoE, USENIX ATC'23) and keep the
 * arithmetic in range. */
#define MAX_SLOPE 64
#define MAX_SIGMA 32
#define MIN_ALPHA 1e-4
#define MAX_ALPHA 1e6

static const moe_distribution_t distributions[] = {
    {.name = "balanced",
     .syntax = "balanced",
     .summary = "experts take turns: exactly equal loads",
     .takes_turns = true,
     .fill = fill_equal},
    {.name = "uniform",
     .syntax = "uniform",
     .summary = "all experts equally popular; loads differ by chance",
     .fill = fill_equal},
    {.name = "zipf",
     .syntax = "zipf:S",
     .summary = "the r-th most popular expert in proportion to r^-S",
     .parameters = 1,
     .parameter = {{.name = "S", .min = 0, .max = MAX_SLOPE}},
     .fill = fill_zipf},
    {.name = "hot",
     .syntax = "hot:N,SHARE",
     .summary = "N experts share SHARE (0 to 1) of the popularity, the others the rest",
     .parameters = 2,
     .parameter = {{.name = "N", .min = 1, .max = MOE_MAX_EXPERTS, .whole = true},
                   {.name = "SHARE", .min = 0, .max = 1}},
     .counts_experts = true,
     .fill = fill_hot},
    {.name = "lognormal",
     .syntax = "lognormal:SIGMA",
     .summary = "exp(SIGMA * N(0, 1)) for each expert",
     .parameters = 1,
     .parameter = {{.name = "SIGMA", .min = 0, .max = MAX_SIGMA}},
     .fill = fill_lognormal},
    {.name = "dirichlet",
     .syntax = "dirichlet:ALPHA",
     .summary = "symmetric Dirichlet: the smaller ALPHA, the more uneven",
     .parameters = 1,
     .parameter = {{.name = "ALPHA", .min = MIN_ALPHA, .max = MAX_ALPHA}},
     .fill = fill_dirichlet},
    {.name = "counts",
     .syntax = "counts:FILE",
     .summary = "as often as the experts of each layer were chosen, by a file (docs/formats.md)",
     .reads = MOE_TRACE_CHOICES | MOE_TRACE_COUNTS},
    {.name = "trace",
     .syntax = "trace:FILE",
     .summary = "the very choices of a trace (docs/formats.md); no gate is asked",
     .reads = MOE_TRACE_CHOICES},
};

const moe_distribution_t *moe_distribution_at(size_t index)
{
    return index < sizeof distributions / sizeof distributions[0] ? &distributions[index] : NULL;
}

/* ---- From logarithms to units, at the experts' places ---- */

/* One unit each, the rest in proportion to exp(log_popularity): running sums are rounded, so the
 * units sum to MOE_MASS exactly and each is within one of its real value. */
static void make_units(double *log_popularity, size_t experts, const uint16_t *place,
                       uint64_t *units)
{
    double most = -INFINITY;
    for (size_t r = 0; r < experts; r++)
        most = log_popularity[r] > most ? log_popularity[r] : most;
    double total = 0;
    for (size_t r = 0; r < experts; r++) {
        log_popularity[r] = moe_real_exp(log_popularity[r] - most);
        total += log_popularity[r];
    }
    const uint64_t spare = MOE_MASS - experts;
    double sum = 0;
    uint64_t given = 0;
    for (size_t r = 0; r < experts; r++) {
        sum += log_popularity[r];
        const uint64_t until =
            r + 1 < experts ? (uint64_t)(sum / total * (double)spare + 0.5) : spare;
        units[place[r]] = 1 + (until - given);
        given = until;
    }
}

moe_status_t moe_popularity_create(const moe_routing_spec_t *spec, size_t layer, uint64_t **units,
                                   moe_error_t *error)
{
    const moe_distribution_t *distribution = moe_distribution_at(spec->skew.kind);
    const moe_source_t popularity = {
        .seed = spec->seed, .purpose = MOE_FOR_POPULARITY, .layer = layer};
    const moe_source_t permutation = {
        .seed = spec->seed, .purpose = MOE_FOR_PERMUTATION, .layer = layer};
    const size_t experts = spec->experts;
    void *weight = NULL, *place = NULL, *out = NULL;
    moe_status_t status = moe_alloc("popularity", experts, sizeof(double), &weight, error);
    if (status == MOE_OK)
        status = moe_alloc("permutation", experts, sizeof(uint16_t), &place, error);
    if (status == MOE_OK)
        status = moe_alloc("popularity", experts, sizeof(uint64_t), &out, error);
    if (status == MOE_OK) {
        moe_stream_t stream = moe_stream_start(&permutation, 0, 0);
        moe_stream_shuffle(&stream, experts, place);
        if (distribution->reads != 0)
            status = moe_traced_popularity(spec, layer, place, weight, error);
        else
            distribution->fill(&spec->skew, experts, &popularity, weight);
    }
    if (status == MOE_OK) {
        make_units(weight, experts, place, out);
        *units = out;
    } else {
        free(out);
    }
    free(place);
    free(weight);
    return status;
}
