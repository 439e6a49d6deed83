/* What the tests of a layer share: one world of tokens and experts, seen from every rank. Include after
 * cmocka.h. */
#ifndef MOE_TESTS_LAYER_SETTING_H
#define MOE_TESTS_LAYER_SETTING_H

#include "../common/layer_rank.h"
#include "world.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* One, few, many; modulo 3 all different (hidden sizes take turns by it). */
static const size_t some_ranks[] = {1, 3, 8};

/* Elements of a row: one; odd; one more than a block of FP8. And around a panel of the host's. */
#define HIDDEN_SIZES 3
static const size_t short_rows[HIDDEN_SIZES] = {1, 7, 129};
static const size_t long_rows[HIDDEN_SIZES] = {1024, 1025, 2176};

typedef struct setting {
    const world_t *world;
    const moe_device_t *host;
    const size_t *hidden; /* [HIDDEN_SIZES] */
} setting_t;

static inline moe_layer_spec_t spec_of(const setting_t *s, moe_transport_t *t, size_t style,
                                       size_t pair, size_t hidden)
{
    return (moe_layer_spec_t){.transport = t,
                              .style = moe_style_at(style),
                              .algorithm = moe_algorithm_at(0),
                              .workload = &s->world->workload,
                              .hidden = hidden,
                              .dtype = dtype_pairs[pair].dispatch,
                              .combine_dtype = dtype_pairs[pair].combine,
                              .data_seed = DATA_SEED};
}

/* What the refusal of such a layer says; NULL: it is none. */
static inline const char *layer_refusal(const moe_layer_spec_t *spec)
{
    const size_t g = spec->workload->ranks_per_node, ranks = spec->workload->placement->ranks;
    if (spec->style->by_node && g > 0 && g < ranks && ranks % g != 0)
        return "--ranks-per-node";
    if (spec->style->sum_at != MOE_SUM_AT_SOURCE && spec->combine_dtype == MOE_FP8)
        return "--combine-dtype fp8";
    return NULL;
}

static inline void run_on(const world_spec_t *spec, const moe_device_t *host, const size_t *hidden,
                          rank_body_fn body)
{
    world_t world;
    world_create(&world, spec);
    setting_t setting = {.world = &world, .host = host, .hidden = hidden};
    assert_int_equal(run_ranks(spec->ranks, body, &setting), 0);
    world_destroy(&world);
}

#endif
