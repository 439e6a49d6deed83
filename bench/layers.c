#include "layers.h"

#include <stdio.h>
#include <stdlib.h>

#include "moe/system.h"

/* The gate distribution of a token costs as much as all experts: loss figures are made of at most
 * about so many tokens of a layer, evenly spread, and the record says of how many. */
#define GATE_SUM_TOKENS 65536

/* Tokens are cut as evenly as they can be; the first chunks have one more. */
static void cut_tokens(layer_set_t *set, const config_t *config, size_t first_rank)
{
    for (size_t r = 0; r < config->ep; r++) {
        const size_t held = config_tokens_of(config, r);
        const size_t even = held / set->chunks, longer = held % set->chunks;
        for (size_t c = 0; c < set->chunks; c++) {
            const size_t at = c * config->ep + r, before = c * even + (c < longer ? c : longer);
            set->tokens[at] = even + (c < longer);
            set->first_token[at] = (uint64_t)(first_rank + r) * config->tokens + before;
        }
    }
}

static moe_status_t make_arrays(layer_set_t *set, size_t ep, moe_error_t *error)
{
    moe_status_t status =
        moe_alloc("layers", set->count, sizeof *set->layer, (void **)&set->layer, error);
    if (status == MOE_OK) {
        status = moe_alloc("layers", set->count, sizeof *set->router, (void **)&set->router, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc("layers", set->count, sizeof *set->placement, (void **)&set->placement,
                           error);
    }
    if (status == MOE_OK) {
        status = moe_alloc("layers", set->count * set->chunks, sizeof *set->workload,
                           (void **)&set->workload, error);
    }
    if (status == MOE_OK) {
        status =
            moe_alloc("ranks", ep * set->chunks, sizeof *set->tokens, (void **)&set->tokens, error);
    }
    if (status == MOE_OK) {
        status = moe_alloc("ranks", ep * set->chunks, sizeof *set->first_token,
                           (void **)&set->first_token, error);
    }
    return status;
}

/* Tokens by which ranks' shares are told: so many that none is rounded away. */
#define WEIGHING_TOKENS ((size_t)1 << 30)

/* The first step at which any rank has tokens. */
static uint32_t first_busy_step(const moe_scenario_t *scenario, size_t ranks)
{
    const size_t cycle = moe_scenario_cycle(scenario, ranks);
    for (uint32_t step = 0; step < cycle; step++) {
        for (size_t r = 0; r < ranks; r++) {
            if (moe_scenario_tokens(scenario, WEIGHING_TOKENS, r, step) > 0) {
                return step;
            }
        }
    }
    return 0;
}

/* What one layer's experts are expected to have to do at the first step that has tokens, over all ranks
 * of the group. */
static moe_status_t expected_loads(const layer_set_t *set, const config_t *config, size_t i,
                                   double *load, double *one, moe_error_t *error)
{
    const moe_scenario_t *scenario = config->scenario;
    const bool varies = scenario != NULL && moe_scenario_varies(scenario);
    const uint32_t step = varies ? first_busy_step(scenario, config->ep) : 0;
    moe_status_t status = MOE_OK;
    for (size_t r = 0; status == MOE_OK && r < (varies ? config->ep : 1); r++) {
        const double tokens =
            varies ? (double)moe_scenario_tokens(scenario, WEIGHING_TOKENS, r, step) : 1;
        const moe_router_t *opened = NULL;
        status = moe_router_open(set->router[i], step, r, &opened, error);
        if (status != MOE_OK) {
            break;
        }
        moe_router_loads(opened, one);
        for (size_t e = 0; e < config->model.experts; e++) {
            load[e] += tokens * one[e];
        }
        moe_router_close(set->router[i], opened);
    }
    return status;
}

static moe_status_t place_by_load(layer_set_t *set, const config_t *config, size_t ranks_per_node,
                                  size_t i, moe_error_t *error)
{
    const size_t experts = config->model.experts, ep = config->ep;
    moe_eplb_t shape = {
        .experts = experts,
        .ranks = ep,
        .groups = config->model.n_group,
        .nodes = ranks_per_node > 0 && ep % ranks_per_node == 0 ? ep / ranks_per_node : 1};
    double *load = NULL;
    moe_status_t status =
        moe_eplb_redundant(config->placement, experts, ep, &shape.redundant, error);
    if (status == MOE_OK) {
        status = moe_alloc("eplb", 2 * experts, sizeof *load, (void **)&load, error);
    }
    if (status == MOE_OK) {
        status = expected_loads(set, config, i, load, load + experts, error);
    }
    if (status == MOE_OK) {
        status = moe_eplb_place(load, &shape, &set->placement[i], error);
    }
    free(load);
    return config_name_option(OPT_PLACEMENT, status, error);
}

static void set_workloads(layer_set_t *set, const config_t *config, size_t ranks_per_node, size_t i)
{
    const bool replicated = set->placement[i].experts > 0;
    for (size_t c = 0; c < set->chunks; c++) {
        set->workload[i * set->chunks + c] =
            (moe_workload_t){.router = set->router[i],
                             .placement = replicated ? &set->placement[i] : &set->home,
                             .tokens = set->tokens + c * config->ep,
                             .first_token = set->first_token + c * config->ep,
                             .capacity = config->capacity,
                             .step = config->step,
                             .ranks_per_node = ranks_per_node};
    }
}

static moe_status_t make_routers(layer_set_t *set, const config_t *config, size_t ranks_per_node,
                                 moe_error_t *error)
{
    moe_routing_spec_t spec = config->routing;
    moe_status_t status = MOE_OK;
    spec.home = &set->home;
    spec.ranks_per_node = ranks_per_node;
    if (spec.scenario != NULL) {
        status = config_name_option(OPT_WORKLOAD, moe_scenario_check(&spec, error), error);
    }
    for (size_t i = 0, l = 0; status == MOE_OK && i < set->count; l++) {
        if (!moe_model_layer_is_moe(&config->model, l)) {
            continue;
        }
        status = moe_router_create(&spec, l, &set->router[i], error);
        if (status == MOE_OK && moe_eplb_asked(config->placement)) {
            status = place_by_load(set, config, ranks_per_node, i, error);
        }
        set->layer[i] = l;
        set_workloads(set, config, ranks_per_node, i);
        i++;
    }
    return status;
}

moe_status_t layer_set_create(const config_t *config, size_t first_rank, size_t ranks_per_node,
                              size_t count, layer_set_t *out, moe_error_t *error)
{
    const size_t ep = config->ep;
    const char *home = moe_eplb_asked(config->placement) ? "block" : config->placement;
    *out = (layer_set_t){.count = count, .chunks = config->chunks};
    moe_status_t status = moe_placement_create(home, config->model.experts, ep, &out->home, error);
    status = config_name_option(OPT_PLACEMENT, status, error);
    if (status == MOE_OK) {
        status = make_arrays(out, ep, error);
    }
    if (status == MOE_OK) {
        cut_tokens(out, config, first_rank);
        status = make_routers(out, config, ranks_per_node, error);
    }
    if (status != MOE_OK) {
        layer_set_destroy(out);
    }
    return status;
}

void layer_set_destroy(layer_set_t *set)
{
    for (size_t i = 0; set->router != NULL && i < set->count; i++) {
        moe_router_destroy(set->router[i]);
    }
    for (size_t i = 0; set->placement != NULL && i < set->count; i++) {
        moe_placement_destroy(&set->placement[i]);
    }
    free(set->placement);
    moe_placement_destroy(&set->home);
    free(set->layer);
    free(set->router);
    free(set->workload);
    free(set->tokens);
    free(set->first_token);
    *set = (layer_set_t){0};
}

static moe_status_t add_own(const layer_set_t *set, size_t layer, world_t *world,
                            moe_census_t *census, moe_error_t *error)
{
    const size_t all = world->config.tokens * world->all->size;
    const size_t stride = all / GATE_SUM_TOKENS + 1;
    const size_t rank = world->group->rank;
    moe_status_t status = MOE_OK;
    for (size_t c = 0; status == MOE_OK && c < set->chunks; c++) {
        const moe_workload_t *workload = &set->workload[layer * set->chunks + c];
        moe_batch_t *batch = NULL;
        status = moe_batch_create(workload, rank, &batch, error);
        if (status == MOE_OK) {
            moe_census_add(census, workload, batch, world->all->rank - rank, stride);
            moe_batch_destroy(batch);
        }
    }
    return status;
}

static moe_status_t add_ranks(moe_census_t *census, moe_transport_t *t, moe_error_t *error)
{
    moe_gate_sums_t *gates = &census->gates;
    moe_status_t status = t->ops->reduce_sizes(t, census->sums, census->count, MOE_SUM, error);
    if (status == MOE_OK) {
        status = t->ops->reduce_doubles(t, &gates->tokens, 1, MOE_SUM, error);
    }
    if (status == MOE_OK) {
        status = t->ops->reduce_doubles(t, gates->first_choice, gates->experts, MOE_SUM, error);
    }
    return status == MOE_OK
               ? t->ops->reduce_doubles(t, gates->probability, gates->experts, MOE_SUM, error)
               : status;
}

static moe_status_t census_of_layer(const layer_set_t *set, size_t layer, world_t *world,
                                    moe_census_report_t *out, moe_error_t *error)
{
    moe_census_t census = {0};
    moe_status_t status = moe_census_create_placed(set->workload[layer * set->chunks].placement,
                                                   world->all->size, &census, error);
    if (status == MOE_OK) {
        status = add_own(set, layer, world, &census, error);
    }
    status = world_agree(world, status, error);
    if (status == MOE_OK) {
        status = add_ranks(&census, world->all, error);
    }
    if (status == MOE_OK) {
        moe_census_summarise(&census, out);
    }
    moe_census_destroy(&census);
    return status;
}

moe_status_t layer_set_census(const layer_set_t *set, world_t *world, moe_census_report_t *out,
                              moe_error_t *error)
{
    moe_census_report_t *layers = NULL;
    moe_status_t status =
        moe_alloc("load figures", set->count, sizeof *layers, (void **)&layers, error);
    for (size_t i = 0; status == MOE_OK && i < set->count; i++) {
        status = census_of_layer(set, i, world, &layers[i], error);
    }
    if (status == MOE_OK) {
        moe_census_mean(layers, set->count, out);
    }
    free(layers);
    return status;
}

moe_status_t layer_set_choose(const layer_set_t *set, config_t *config, FILE *table,
                              moe_error_t *error)
{
    moe_sizes_t sizes;
    size_t kept = 0;
    moe_sizes_of(&set->workload[0], 0, &sizes);
    for (size_t s = 0; s < config->styles; s++) {
        moe_error_t why = {0};
        if (moe_style_check(config->style[s], &sizes, config->combine_dtype, &why) == MOE_OK) {
            config->style[kept++] = config->style[s];
        } else if (!config->all_styles) {
            return moe_fail(error, MOE_BAD_INPUT, "%s", why.text);
        } else if (table != NULL) {
            fprintf(table, "left out  %s\n", why.text);
        }
    }
    config->styles = kept;
    return MOE_OK;
}
