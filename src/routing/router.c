#include "router.h"

#include <math.h>
#include <stdlib.h>

#include "balanced.h"
#include "gate.h"
#include "moe/system.h"
#include "popularity.h"
#include "real.h"
#include "scenario.h"
#include "traced.h"

/* Of gates that limit groups. */
static moe_status_t check_groups(const moe_routing_spec_t *spec, moe_error_t *error)
{
    if (spec->n_group == 0)
        return moe_fail(error, MOE_BAD_INPUT,
                        "gate '%s' needs groups of experts: give --n-group and --topk-group, or "
                        "take another gate",
                        spec->gate->name);
    if (spec->n_group > MOE_MAX_GROUPS)
        return moe_fail(error, MOE_BAD_INPUT, "--n-group %zu: at most %d", spec->n_group,
                        MOE_MAX_GROUPS);
    if (spec->experts % spec->n_group != 0)
        return moe_fail(error, MOE_BAD_INPUT,
                        "--n-group %zu: does not divide %zu experts; give a divisor, or take "
                        "another gate than '%s'",
                        spec->n_group, spec->experts, spec->gate->name);
    if (spec->topk_group < 1 || spec->topk_group > spec->n_group)
        return moe_fail(error, MOE_BAD_INPUT,
                        "--topk-group %zu: is not between 1 and --n-group %zu", spec->topk_group,
                        spec->n_group);
    const size_t most = spec->topk_group * (spec->experts / spec->n_group);
    if (spec->top_k > most)
        return moe_fail(error, MOE_BAD_INPUT,
                        "top-k %zu: --topk-group %zu of --n-group %zu leaves a token %zu experts; "
                        "raise --topk-group or lower top-k",
                        spec->top_k, spec->topk_group, spec->n_group, most);
    return MOE_OK;
}

moe_status_t moe_routing_check(const moe_routing_spec_t *spec, moe_error_t *error)
{
    if (spec->experts < 1 || spec->experts > MOE_MAX_EXPERTS)
        return moe_fail(error, MOE_BAD_INPUT, "experts: %zu is not between 1 and %d", spec->experts,
                        MOE_MAX_EXPERTS);
    if (spec->top_k < 1 || spec->top_k > MOE_MAX_TOP_K)
        return moe_fail(error, MOE_BAD_INPUT, "top-k: %zu is not between 1 and %d", spec->top_k,
                        MOE_MAX_TOP_K);
    if (spec->top_k > spec->experts)
        return moe_fail(error, MOE_BAD_INPUT,
                        "top-k: a token cannot choose %zu distinct experts of %zu: lower top-k or "
                        "raise experts",
                        spec->top_k, spec->experts);
    if (spec->gate == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "gate: none is given");
    if (spec->gate->top_k != 0 && spec->gate->top_k != spec->top_k)
        return moe_fail(error, MOE_BAD_INPUT,
                        "gate '%s' is defined for top-k %zu only, not %zu: set top-k %zu or take "
                        "another gate",
                        spec->gate->name, spec->gate->top_k, spec->top_k, spec->gate->top_k);
    const moe_status_t status = moe_gate_limits(spec) ? check_groups(spec, error) : MOE_OK;
    return status == MOE_OK ? moe_skew_check(&spec->skew, spec->experts, spec->top_k, error)
                            : status;
}

static moe_status_t fill_popularity(moe_router_t *router, const uint64_t *units, moe_error_t *error)
{
    const size_t experts = router->spec.experts;
    void *popularity = NULL, *logarithm = NULL;
    moe_status_t status = moe_alloc("popularity", experts, sizeof(double), &popularity, error);
    if (status == MOE_OK)
        status = moe_alloc("popularity", experts, sizeof(double), &logarithm, error);
    router->popularity = popularity;
    router->log_popularity = logarithm;
    for (size_t e = 0; status == MOE_OK && e < experts; e++) {
        router->popularity[e] = (double)units[e] / (double)MOE_MASS;
        router->log_popularity[e] = units[e] > 0 ? moe_real_log(router->popularity[e]) : -INFINITY;
    }
    return status;
}

/* A router of the same spec and layer, with units[experts] as its popularity. */
static moe_status_t make_router(const moe_routing_spec_t *spec, size_t layer, const uint64_t *units,
                                moe_router_t **out, moe_error_t *error)
{
    void *memory = NULL;
    moe_status_t status = moe_alloc("router", 1, sizeof(moe_router_t), &memory, error);
    if (status != MOE_OK)
        return status;
    moe_router_t *router = memory;
    router->spec = *spec;
    router->layer = layer;
    status = fill_popularity(router, units, error);
    if (status == MOE_OK)
        status = moe_draw_create(units, spec->experts, &router->draw, error);
    if (status == MOE_OK && spec->gate->prepare != NULL)
        status = spec->gate->prepare(router, error);
    if (status == MOE_OK)
        *out = router;
    else
        moe_router_destroy(router);
    return status;
}

/* By the scenario, for the tokens of one rank and step. */
static moe_status_t make_for_source(const moe_routing_spec_t *spec, size_t layer, uint32_t step,
                                    size_t source, moe_router_t **out, moe_error_t *error)
{
    void *units = NULL;
    moe_status_t status = moe_alloc("popularity", spec->experts, sizeof(uint64_t), &units, error);
    if (status == MOE_OK)
        status = moe_scenario_units(spec, layer, step, source, units, error);
    if (status == MOE_OK)
        status = make_router(spec, layer, units, out, error);
    free(units);
    return status;
}

moe_status_t moe_router_create(const moe_routing_spec_t *spec, size_t layer, moe_router_t **out,
                               moe_error_t *error)
{
    moe_status_t status = moe_routing_check(spec, error);
    if (status != MOE_OK)
        return status;
    if (layer >= MOE_MAX_LAYERS)
        return moe_fail(error, MOE_BAD_INPUT, "layer %zu: the last is %d", layer,
                        MOE_MAX_LAYERS - 1);
    if (spec->scenario != NULL)
        return make_for_source(spec, layer, 0, 0, out, error);
    uint64_t *units = NULL;
    status = moe_popularity_create(spec, layer, &units, error);
    if (status == MOE_OK)
        status = make_router(spec, layer, units, out, error);
    free(units);
    return status;
}

moe_status_t moe_router_open(const moe_router_t *router, uint32_t step, size_t source,
                             const moe_router_t **out, moe_error_t *error)
{
    const moe_scenario_t *scenario = router->spec.scenario;
    *out = router;
    if (scenario == NULL || !moe_scenario_varies(scenario))
        return MOE_OK;
    moe_router_t *own = NULL;
    const moe_status_t status =
        make_for_source(&router->spec, router->layer, step, source, &own, error);
    *out = own;
    return status;
}

void moe_router_close(const moe_router_t *router, const moe_router_t *opened)
{
    if (opened != router)
        moe_router_destroy((moe_router_t *)opened);
}

void moe_router_destroy(moe_router_t *router)
{
    if (router == NULL)
        return;
    moe_draw_destroy(&router->draw);
    free(router->bias);
    free(router->log_popularity);
    free(router->popularity);
    free(router);
}

const moe_routing_spec_t *moe_router_spec(const moe_router_t *router)
{
    return &router->spec;
}

size_t moe_router_layer(const moe_router_t *router)
{
    return router->layer;
}

const double *moe_router_popularity(const moe_router_t *router)
{
    return router->popularity;
}

static bool takes_turns(const moe_routing_spec_t *spec)
{
    return spec->scenario == NULL && moe_distribution_at(spec->skew.kind)->takes_turns;
}

/* Neither experts that take turns nor a trace leave a gate anything to choose. */
static bool asks_gate(const moe_routing_spec_t *spec)
{
    return !takes_turns(spec) && !moe_skew_is_traced(&spec->skew);
}

size_t moe_routing_slots(const moe_routing_spec_t *spec)
{
    return spec->gate->slots != NULL && asks_gate(spec) ? spec->gate->slots(spec) : spec->top_k;
}

size_t moe_routing_bytes(const moe_routing_spec_t *spec, size_t tokens)
{
    size_t bytes = 0;
    if (!spec->gate->whole_batch || !asks_gate(spec))
        return 0;
    if (__builtin_mul_overflow(tokens, spec->experts, &bytes) ||
        __builtin_mul_overflow(bytes, sizeof(double), &bytes))
        return SIZE_MAX;
    return bytes;
}

moe_status_t moe_router_route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                              moe_table_t *table, moe_error_t *error)
{
    table->first_token = first_token;
    if (takes_turns(&router->spec))
        moe_balanced_route(router, step, first_token, table);
    else if (moe_skew_is_traced(&router->spec.skew))
        moe_traced_route(router, step, first_token, table);
    else
        return router->spec.gate->route(router, step, first_token, table, error);
    return MOE_OK;
}

void moe_router_probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                              double *probability)
{
    if (takes_turns(&router->spec))
        moe_balanced_probabilities(router, step, token, probability);
    else if (moe_skew_is_traced(&router->spec.skew))
        moe_traced_probabilities(router, step, token, probability);
    else
        router->spec.gate->probabilities(router, step, token, probability);
}
