/* Options of routing: gate, skew, placement, seed. */
#include "config.h"

static moe_status_t read_gate(config_t *c, moe_error_t *error)
{
    const moe_gate_ops_t **gate = &c->routing.gate;
    const char *name = config_given(c, OPT_GATE);
    if (name != NULL) {
        return config_name_option(OPT_GATE, moe_gate_find(name, gate, error), error);
    }
    if (c->model.n_group > 0) {
        return moe_gate_find("group-limited", gate, error);
    }
    return moe_gate_find(c->model.gate, gate, NULL) == MOE_OK
               ? MOE_OK
               : moe_gate_find("softmax", gate, error);
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
        status = moe_skew_parse("--skew", c->options.value[OPT_SKEW], &c->routing.skew, error);
        status = config_name_option(OPT_SKEW, status, error);
    }
    if (status == MOE_OK) {
        status = config_name_option(
            OPT_SKEW, moe_skew_check(&c->routing.skew, c->routing.experts, c->routing.top_k, error),
            error);
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
