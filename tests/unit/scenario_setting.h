/* Scenarios of a few words, on ranks. */
#ifndef TESTS_UNIT_SCENARIO_SETTING_H
#define TESTS_UNIT_SCENARIO_SETTING_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "moe/scenario.h"
#include "routing_cases.h"

#define SCENARIO(parts)                                                                            \
    "{\"workload\":1,\"name\":\"a-test\",\"isolates\":\"something\",\"source\":\"us\"" parts "}"

static inline moe_status_t read_scenario_of(const char *text, moe_scenario_t **out,
                                            moe_error_t *error)
{
    char path[] = "/tmp/moe-workload-XXXXXX";
    const int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, strlen(text)), strlen(text));
    close(file);
    const moe_status_t status = moe_scenario_read(path, out, error);
    unlink(path);
    return status;
}

typedef struct setting {
    moe_scenario_t *scenario;
    moe_placement_t placement;
    moe_routing_spec_t spec;
} setting_t;

/* Softmax, seed 1. The setting must stay where it is. */
static inline void set_scenario(setting_t *s, moe_scenario_t *scenario, size_t experts,
                                size_t top_k, size_t ranks, size_t ranks_per_node)
{
    moe_error_t error = {0};
    s->scenario = scenario;
    if (moe_placement_create("block", experts, ranks, &s->placement, &error) != MOE_OK)
        fail_msg("%s", error.text);
    s->spec = make_spec("softmax", experts, top_k, "uniform", 1);
    s->spec.scenario = scenario;
    s->spec.home = &s->placement;
    s->spec.ranks_per_node = ranks_per_node;
}

static inline void set_text(setting_t *s, const char *text, size_t experts, size_t top_k,
                            size_t ranks, size_t ranks_per_node)
{
    moe_error_t error = {0};
    moe_scenario_t *scenario = NULL;
    if (read_scenario_of(text, &scenario, &error) != MOE_OK)
        fail_msg("%s", error.text);
    set_scenario(s, scenario, experts, top_k, ranks, ranks_per_node);
}

static inline void unset(setting_t *s)
{
    moe_placement_destroy(&s->placement);
    moe_scenario_destroy(s->scenario);
}

/* Adds the choices of `tokens` tokens of a rank at a step to counts[experts]. */
static inline void add_choices(const moe_router_t *router, uint32_t step, size_t source,
                               size_t tokens, size_t *counts)
{
    const moe_router_t *opened = NULL;
    moe_error_t error = {0};
    if (moe_router_open(router, step, source, &opened, &error) != MOE_OK)
        fail_msg("%s", error.text);
    moe_table_t table = make_table(opened, step, source * tokens, tokens);
    for (size_t i = 0; i < tokens * table.top_k; i++) {
        if (table.expert[i] != MOE_NO_EXPERT)
            counts[table.expert[i]]++;
    }
    moe_table_destroy(&table);
    moe_router_close(router, opened);
}

#endif
