#include "observed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "moe/exchange.h"
#include "moe/system.h"

/* Rebuilt rows are held against the bytes that the busiest port carried by the record: they may differ by
 * rounding of its figures, not by another routing. */
#define SAME_BYTES  1e-3
#define MOST_ROUTED ((size_t)1 << 22)

static size_t count_at(const moe_result_t *result, const char *path)
{
    return (size_t)json_number_value(moe_result_at(result, path));
}

/* One run's layer, rebuilt. */
typedef struct rebuilt {
    moe_skew_t skew; /* may own a trace, which the router borrows */
    moe_router_t *router;
    moe_placement_t placement;
    moe_workload_t workload;
    size_t *tokens;
    uint64_t *first_token;
    moe_sample_t sample;
} rebuilt_t;

static void rebuilt_destroy(rebuilt_t *b)
{
    moe_sample_destroy(&b->sample);
    moe_placement_destroy(&b->placement);
    moe_router_destroy(b->router);
    moe_skew_destroy(&b->skew);
    free(b->tokens);
    free(b->first_token);
}

/* skew: where the spec's is kept. */
static moe_status_t routing_of(const moe_result_t *r, moe_skew_t *skew, moe_routing_spec_t *out,
                               moe_error_t *error)
{
    moe_model_t preset = {.moe_every = 1}; /* tells which layers have experts; others: all */
    (void)moe_model_find(moe_result_text(r, "run.model.name"), &preset, NULL);
    *out = (moe_routing_spec_t){.experts = count_at(r, "run.model.experts"),
                                .top_k = count_at(r, "run.model.top_k"),
                                .n_group = count_at(r, "run.model.n_group"),
                                .topk_group = count_at(r, "run.model.topk_group"),
                                .seed = count_at(r, "run.routing.seed"),
                                .first_moe_layer = preset.first_dense,
                                .moe_every = preset.moe_every,
                                .run = {count_at(r, "run.ranks"), count_at(r, "run.model.tokens")}};
    moe_status_t status = moe_gate_find(moe_result_text(r, "run.routing.gate"), &out->gate, error);
    if (status == MOE_OK)
        status = moe_skew_parse("skew", moe_result_text(r, "run.routing.skew"), skew, error);
    out->skew = *skew;
    return status;
}

static moe_status_t capacity_of(const moe_result_t *r, moe_capacity_spec_t *out, moe_error_t *error)
{
    *out =
        (moe_capacity_spec_t){.factor = json_number_value(moe_result_at(r, "run.capacity.factor")),
                              .min = count_at(r, "run.capacity.min")};
    const char *drop = moe_result_text(r, "run.capacity.drop");
    return drop[0] != '\0' ? moe_drop_parse("drop", drop, &out->drop, error) : MOE_OK;
}

static moe_status_t rebuild(const moe_result_t *r, rebuilt_t *out, moe_error_t *error)
{
    const size_t ranks = count_at(r, "run.layout.ep"), tokens = count_at(r, "run.model.tokens");
    moe_routing_spec_t spec;
    moe_capacity_spec_t capacity = {0};
    if (ranks == 0 || ranks > MOE_MOST_COUNTED || tokens > MOST_ROUTED / ranks)
        return moe_fail(error, MOE_BAD_INPUT, "too many ranks or tokens to count them");
    moe_status_t status = routing_of(r, &out->skew, &spec, error);
    if (status == MOE_OK)
        status = capacity_of(r, &capacity, error);
    if (status == MOE_OK)
        status = moe_router_create(&spec, count_at(r, "layer"), &out->router, error);
    if (status == MOE_OK)
        status = moe_placement_create(moe_result_text(r, "run.routing.placement"), spec.experts,
                                      ranks, &out->placement, error);
    if (status == MOE_OK)
        status = moe_alloc("ranks", ranks, sizeof *out->tokens, (void **)&out->tokens, error);
    if (status == MOE_OK)
        status =
            moe_alloc("ranks", ranks, sizeof *out->first_token, (void **)&out->first_token, error);
    for (size_t i = 0; status == MOE_OK && i < ranks; i++) {
        out->tokens[i] = tokens;
        out->first_token[i] = (uint64_t)i * tokens;
    }
    out->workload = (moe_workload_t){.router = out->router,
                                     .placement = &out->placement,
                                     .tokens = out->tokens,
                                     .first_token = out->first_token,
                                     .capacity = capacity,
                                     .step = (uint32_t)count_at(r, "step"),
                                     .ranks_per_node = count_at(r, "run.layout.ranks_per_node")};
    return status == MOE_OK
               ? moe_sample_create(&out->workload, 2 * MOST_ROUTED, NULL, NULL, &out->sample, error)
               : status;
}

/* ---- One record ---- */

static moe_status_t row_of(const moe_result_t *r, const moe_style_ops_t *style,
                           const moe_sizes_t *sizes, bool combine, double *out, moe_error_t *error)
{
    moe_dtype_t dtype;
    const moe_status_t status = moe_dtype_parse(
        "dtype", moe_result_text(r, combine ? "run.model.combine_dtype" : "run.model.dtype"),
        &dtype, error);
    if (status == MOE_OK)
        *out = (double)(moe_row_bytes(dtype, count_at(r, "run.model.hidden")) +
                        (combine ? 0 : moe_style_side_bytes(style, sizes)));
    return status;
}

/* Bytes of the busiest port in its busier direction, on whatever tier. */
static moe_status_t busiest_bytes(const moe_observation_t *o, double *out, moe_error_t *error)
{
    double *sum = NULL;
    const size_t n = o->way[0].ranks;
    moe_status_t status = moe_alloc("ports", 2 * n, sizeof *sum, (void **)&sum, error);
    for (size_t w = 0; status == MOE_OK && w < o->ways; w++) {
        for (size_t i = 0; i < n * n; i++) {
            if (i / n != i % n) {
                sum[i / n] += (double)o->way[w].rows[i] * o->row_bytes;
                sum[n + i % n] += (double)o->way[w].rows[i] * o->row_bytes;
            }
        }
    }
    *out = 0;
    for (size_t i = 0; status == MOE_OK && i < 2 * n; i++)
        *out = fmax(*out, sum[i]);
    free(sum);
    return status;
}

static moe_status_t check_rows(const moe_result_t *r, const moe_observation_t *o,
                               moe_error_t *error)
{
    const json_t *busbw = moe_result_at(r, "busbw_GBps");
    double bytes = 0;
    for (size_t w = 0; w < o->ways; w++) {
        if (o->way[w].rows == NULL) /* does not depend on routing */
            return MOE_OK;
    }
    const moe_status_t status = busiest_bytes(o, &bytes, error);
    const double stated = json_number_value(busbw) * 1e9 * o->seconds;
    if (status == MOE_OK && busbw != NULL && fabs(bytes - stated) > SAME_BYTES * stated)
        return moe_fail(
            error, MOE_BAD_INPUT,
            "routing cannot be rebuilt from the record: the busiest port had %.0f bytes", stated);
    return status;
}

static moe_status_t observe_layer(const moe_result_t *r, bool combine, moe_observation_t *out,
                                  moe_error_t *error)
{
    rebuilt_t b = {.router = NULL};
    const moe_style_ops_t *style = NULL;
    moe_sizes_t sizes;
    out->way = NULL;
    moe_status_t status = moe_style_find(moe_result_text(r, "style"), &style, error);
    if (status == MOE_OK)
        status = rebuild(r, &b, error);
    if (status == MOE_OK)
        status = moe_alloc("ways", MOE_MOST_WAYS, sizeof *out->way, (void **)&out->way, error);
    if (status == MOE_OK) {
        moe_sizes_of(&b.workload, (size_t)b.sample.count_max, &sizes);
        status = row_of(r, style, &sizes, combine, &out->row_bytes, error);
    }
    if (status == MOE_OK)
        status = moe_ways_create(style, &sizes, &b.sample, out->way, &out->ways, error);
    for (size_t w = 0; status == MOE_OK && w < out->ways; w++)
        out->way[w].back = combine;
    if (status == MOE_OK)
        status = check_rows(r, out, error);
    rebuilt_destroy(&b);
    return status;
}

static moe_status_t observe_sizes(const moe_result_t *r, moe_observation_t *out, moe_error_t *error)
{
    const size_t ranks = count_at(r, "run.ranks"), node = count_at(r, "run.layout.ranks_per_node");
    if (ranks > MOE_MOST_COUNTED || node == 0)
        return moe_fail(error, MOE_BAD_INPUT, "too many ranks, or the record tells no layout");
    const moe_status_t status =
        moe_alloc("ways", MOE_MOST_WAYS, sizeof *out->way, (void **)&out->way, error);
    if (status != MOE_OK)
        return status;
    out->row_bytes = (double)count_at(r, "bytes_per_pair");
    out->ways = 1;
    return moe_way_uniform(ranks, node < ranks ? node : ranks, MOE_SCOPE_GROUP, 1, &out->way[0],
                           error);
}

static moe_status_t observe(const moe_result_t *r, moe_observation_t *out, moe_error_t *error)
{
    const char *phase = moe_result_text(r, "phase");
    const char *chosen = moe_result_text(r, "chosen");
    const bool combine = strcmp(phase, "combine") == 0;
    *out = (moe_observation_t){.seconds = json_number_value(moe_result_at(r, "median_us")) * 1e-6,
                               .algorithm =
                                   chosen[0] != '\0' ? chosen : moe_result_text(r, "algorithm")};
    if (!(out->seconds > 0))
        return moe_fail(error, MOE_BAD_INPUT, "it took no time");
    if (moe_result_at(r, "bytes_per_pair") != NULL)
        return observe_sizes(r, out, error);
    if (!combine && strcmp(phase, "dispatch") != 0)
        return moe_fail(error, MOE_BAD_INPUT, "matrices are not in the records");
    return observe_layer(r, combine, out, error);
}

/* ---- All of them ---- */

static void drop_ways(moe_observation_t *o)
{
    for (size_t w = 0; o->way != NULL && w < o->ways; w++)
        moe_way_destroy(&o->way[w]);
    free(o->way);
}

static bool is_exchange(const moe_result_t *r)
{
    static const char *const phases[] = {"dispatch", "combine", "alltoallv"};
    const char *phase = moe_result_text(r, "phase");
    bool known = false;
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        known = known || strcmp(phase, phases[i]) == 0;
    return known && strcmp(moe_result_text(r, "record"), "exchange") == 0;
}

static moe_status_t add(observed_t *out, const moe_result_t *result, moe_observation_t *o,
                        moe_error_t *error)
{
    moe_status_t status = moe_grow("exchanges", out->count, sizeof *out->observation,
                                   (void **)&out->observation, &out->room, error);
    if (status == MOE_OK)
        status = moe_grow("exchanges", out->count, sizeof *out->result, (void **)&out->result,
                          &out->result_room, error);
    if (status != MOE_OK)
        return status;
    out->observation[out->count] = *o;
    out->result[out->count++] = result;
    return MOE_OK;
}

/* Laid out as the others, and understood by the model. */
static moe_status_t fits_in(const moe_result_t *r, const moe_machine_t *machine,
                            const moe_observation_t *o, moe_error_t *error)
{
    moe_cost_t cost = {.terms = {.latency = 0}};
    if (count_at(r, "run.layout.ranks_per_node") != machine->ranks_per_node)
        return moe_fail(error, MOE_BAD_INPUT, "another number of ranks on a node");
    moe_status_t status = moe_machine_check(machine, count_at(r, "run.ranks"), error);
    for (size_t w = 0; status == MOE_OK && w < o->ways; w++)
        status =
            moe_predict_exchange(o->algorithm, &o->way[w], machine, o->row_bytes, &cost, error);
    return status == MOE_OK && moe_terms_sum(&cost.terms) <= 0
               ? moe_fail(error, MOE_BAD_INPUT, "nothing crossed a link")
               : status;
}

moe_status_t observed_read(const moe_results_t *results, moe_machine_t *machine, observed_t *out,
                           moe_error_t *error)
{
    observed_t observed = {.count = 0};
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < results->count; i++) {
        const moe_result_t *r = &results->result[i];
        moe_observation_t o;
        moe_error_t why = {0};
        if (!is_exchange(r))
            continue;
        if (observed.count == 0 && count_at(r, "run.layout.ranks_per_node") > 0)
            moe_machine_set_node(machine, count_at(r, "run.layout.ranks_per_node"));
        moe_status_t sound = observe(r, &o, &why);
        if (sound == MOE_OK)
            sound = fits_in(r, machine, &o, &why);
        if (sound == MOE_OK) {
            status = add(&observed, r, &o, error);
            continue;
        }
        drop_ways(&o);
        observed.left_out++;
        snprintf(observed.why, sizeof observed.why, "%.150s", why.text);
    }
    if (status != MOE_OK) {
        observed_destroy(&observed);
        return status;
    }
    *out = observed;
    return MOE_OK;
}

void observed_destroy(observed_t *observed)
{
    for (size_t i = 0; i < observed->count; i++)
        drop_ways(&observed->observation[i]);
    free(observed->observation);
    free(observed->result);
    *observed = (observed_t){0};
}
