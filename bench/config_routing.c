/* Options of routing: gate, skew, placement, seed. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "moe/system.h"
#include "ready_file.h"

/* A step more is a whole measurement more. */
#define MAX_STEPS 4096

static moe_status_t read_gate(config_t *c, moe_error_t *error)
{
    const moe_gate_ops_t **gate = &c->routing.gate;
    const char *name = config_given(c, OPT_GATE);
    if (name != NULL) {
        return config_name_option(OPT_GATE, moe_gate_find(name, gate, error), error);
    }
    if (strncmp(c->model.gate, "sigmoid", strlen("sigmoid")) == 0) {
        return moe_gate_find("sigmoid", gate, error);
    }
    if (c->model.n_group > 0) {
        return moe_gate_find("group-limited", gate, error);
    }
    return moe_gate_find(c->model.gate, gate, NULL) == MOE_OK
               ? MOE_OK
               : moe_gate_find("softmax", gate, error);
}

static moe_status_t read_skew(config_t *c, moe_error_t *error)
{
    moe_status_t status =
        moe_skew_parse("--skew", c->options.value[OPT_SKEW], &c->routing.skew, error);
    if (status == MOE_OK) {
        status = moe_skew_check(&c->routing.skew, c->routing.experts, c->routing.top_k, error);
    }
    return config_name_option(OPT_SKEW, status, error);
}

/* A workload stands in place of the skew, and is named as one. */
static moe_status_t read_workload(config_t *c, moe_error_t *error)
{
    const char *name = config_given(c, OPT_WORKLOAD);
    char path[PATH_MAX];
    if (name == NULL) {
        return read_skew(c, error);
    }
    if (c->options.given[OPT_SKEW]) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "--workload %.60s and --skew %.60s: each says how popular experts are; "
                        "give one of them",
                        name, c->options.value[OPT_SKEW]);
    }
    moe_status_t status = ready_file_find(&ready_workloads, name, path, sizeof path, error);
    if (status == MOE_OK) {
        status = moe_scenario_read(path, &c->scenario, error);
    }
    if (status == MOE_OK) {
        c->routing.scenario = c->scenario;
        status = moe_skew_parse("--skew", "uniform", &c->routing.skew, error);
        snprintf(c->routing.skew.text, sizeof c->routing.skew.text, "workload:%s",
                 moe_scenario_name(c->scenario));
    }
    return config_name_option(OPT_WORKLOAD, status, error);
}

static moe_status_t read_steps(config_t *c, moe_error_t *error)
{
    c->counts_steps = config_given(c, OPT_STEPS) != NULL;
    return config_read_size(c, OPT_STEPS, 1, MAX_STEPS, &c->steps, error);
}

size_t config_tokens_of(const config_t *config, size_t rank)
{
    return config->scenario != NULL
               ? moe_scenario_tokens(config->scenario, config->tokens, rank, config->step)
               : config->tokens;
}

void config_tokens_range(const config_t *config, size_t *least, size_t *most)
{
    *least = SIZE_MAX;
    *most = 0;
    for (size_t r = 0; r < config->ep; r++) {
        const size_t held = config_tokens_of(config, r);
        *least = held < *least ? held : *least;
        *most = held > *most ? held : *most;
    }
}

moe_status_t config_check_eplb(const config_t *config, moe_error_t *error)
{
    size_t redundant = 0;
    const moe_status_t status =
        moe_eplb_redundant(config->placement, config->model.experts, config->ep, &redundant, error);
    const bool trains =
        (config->command->groups & GROUP_COMPUTE) != 0 && config->pass == MOE_TRAINING;
    if (status == MOE_OK && redundant > 0 && trains) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "%s with --pass training: replicas would have to reduce their gradients, "
                        "which is not measured: give --pass forward",
                        config->placement);
    }
    return status;
}

size_t config_physical_experts(const config_t *config)
{
    size_t redundant = 0;
    if (moe_eplb_asked(config->placement) &&
        moe_eplb_redundant(config->placement, config->model.experts, config->ep, &redundant,
                           NULL) != MOE_OK) {
        redundant = 0; /* it has been refused */
    }
    return config->model.experts + redundant;
}

size_t config_batch_bytes(const config_t *config)
{
    const moe_routing_spec_t *spec = &config->routing;
    size_t bytes = moe_batch_bytes(config->tokens, moe_routing_slots(spec), spec->experts);
    return __builtin_add_overflow(bytes, moe_routing_bytes(spec, config->tokens), &bytes) ? SIZE_MAX
                                                                                          : bytes;
}

moe_status_t config_read_routing(config_t *c, moe_error_t *error)
{
    c->routing = (moe_routing_spec_t){.experts = c->model.experts,
                                      .top_k = c->model.top_k,
                                      .n_group = c->model.n_group,
                                      .topk_group = c->model.topk_group,
                                      .first_moe_layer = c->model.first_dense,
                                      .moe_every = c->model.moe_every};
    c->placement = c->options.value[OPT_PLACEMENT];
    moe_status_t status = read_gate(c, error);
    if (status == MOE_OK) {
        status = read_workload(c, error);
    }
    if (status == MOE_OK && (c->command->groups & GROUP_STEPS)) {
        status = read_steps(c, error);
    }
    size_t seed = 0;
    if (status == MOE_OK) {
        status = config_read_size(c, OPT_SEED, 0, INT64_MAX, &seed, error);
    }
    c->routing.seed = seed;
    return status == MOE_OK
               ? config_name_option(OPT_GATE, moe_routing_check(&c->routing, error), error)
               : status;
}

moe_status_t config_routing_fits(double bytes, moe_error_t *error)
{
    char need[16], have[16];
    const double available = (double)moe_memory_available();
    return bytes <= available
               ? MOE_OK
               : moe_fail(error, MOE_BAD_INPUT,
                          "routing tables need %s, %s are available: lower --tokens, --ranks or "
                          "--experts",
                          moe_format_bytes(bytes, need), moe_format_bytes(available, have));
}
