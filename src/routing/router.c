#include "router.h"

#include <stdlib.h>

#include "balanced.h"
#include "gate.h"
#include "moe/system.h"
#include "popularity.h"
#include "real.h"
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
    const moe_status_t status = spec->gate->limits_groups ? check_groups(spec, error) : MOE_OK;
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
        router->log_popularity[e] = moe_real_log(router->popularity[e]);
    }
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
    void *memory = NULL;
    uint64_t *units = NULL;
    status = moe_alloc("router", 1, sizeof(moe_router_t), &memory, error);
    if (status != MOE_OK)
        return status;
    moe_router_t *router = memory;
    router->spec = *spec;
    router->layer = layer;
    status = moe_popularity_create(spec, layer, &units, error);
    if (status == MOE_OK)
        status = fill_popularity(router, units, error);
    if (status == MOE_OK)
        status = moe_draw_create(units, spec->experts, &router->draw, error);
    free(units);
    if (status == MOE_OK)
        *out = router;
    else
        moe_router_destroy(router);
    return status;
}

void moe_router_destroy(moe_router_t *router)
{
    if (router == NULL)
        return;
    moe_draw_destroy(&router->draw);
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

static bool takes_turns(const moe_router_t *router)
{
    return moe_distribution_at(router->spec.skew.kind)->takes_turns;
}

void moe_router_route(const moe_router_t *router, uint32_t step, uint64_t first_token,
                      moe_table_t *table)
{
    table->first_token = first_token;
    if (takes_turns(router))
        moe_balanced_route(router, step, first_token, table);
    else if (moe_skew_is_traced(&router->spec.skew))
        moe_traced_route(router, step, first_token, table);
    else
        router->spec.gate->route(router, step, first_token, table);
}

void moe_router_probabilities(const moe_router_t *router, uint32_t step, uint64_t token,
                              double *probability)
{
    if (takes_turns(router))
        moe_balanced_probabilities(router, step, token, probability);
    else if (moe_skew_is_traced(&router->spec.skew))
        moe_traced_probabilities(router, step, token, probability);
    else
        router->spec.gate->probabilities(router, step, token, probability);
}
