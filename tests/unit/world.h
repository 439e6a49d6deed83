/* A whole expert-parallel group in one process: the batches of all ranks, for tests of traffic.
 * Include after cmocka.h. */
#ifndef MOE_TEST_WORLD_H
#define MOE_TEST_WORLD_H

#include <stdlib.h>

#include "moe/traffic.h"

typedef struct world_spec {
    const char *gate, *skew, *placement; /* NULL: softmax, uniform, block */
    size_t experts, top_k, ranks;
    size_t tokens;      /* of every rank ... */
    size_t empty_rank;  /* ... but of this one minus 1: 0, none */
    size_t fuller_rank; /* ... and this one minus 1 has 10 more; 0: none */
    moe_capacity_spec_t capacity;
    uint64_t seed;
    size_t ranks_per_node;      /* 0: all on one */
    size_t n_group, topk_group; /* of group-limited */
} world_spec_t;

typedef struct world {
    size_t experts, ranks;
    moe_router_t *router;
    moe_placement_t placement;
    moe_workload_t workload;
    size_t *tokens;
    uint64_t *first_token;
    moe_batch_t **batch; /* [ranks] */
    moe_sizes_t sizes;
} world_t;

static inline void *world_array(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    assert_non_null(memory);
    return memory;
}

static inline void world_route(world_t *w, const world_spec_t *s)
{
    moe_routing_spec_t spec = {.experts = s->experts,
                               .top_k = s->top_k,
                               .n_group = s->n_group,
                               .topk_group = s->topk_group,
                               .seed = s->seed};
    assert_int_equal(moe_gate_find(s->gate != NULL ? s->gate : "softmax", &spec.gate, NULL),
                     MOE_OK);
    assert_int_equal(
        moe_skew_parse("skew", s->skew != NULL ? s->skew : "uniform", &spec.skew, NULL), MOE_OK);
    assert_int_equal(moe_router_create(&spec, 2, &w->router, NULL), MOE_OK);
    assert_int_equal(moe_placement_create(s->placement != NULL ? s->placement : "block", s->experts,
                                          s->ranks, &w->placement, NULL),
                     MOE_OK);
}

static inline void world_create(world_t *w, const world_spec_t *s)
{
    *w = (world_t){.experts = s->experts,
                   .ranks = s->ranks,
                   .tokens = world_array(s->ranks, sizeof *w->tokens),
                   .first_token = world_array(s->ranks, sizeof *w->first_token),
                   .batch = world_array(s->ranks, sizeof *w->batch)};
    uint64_t next = 0;
    for (size_t r = 0; r < s->ranks; r++) {
        w->tokens[r] = r + 1 == s->empty_rank ? 0 : s->tokens + (r + 1 == s->fuller_rank ? 10 : 0);
        w->first_token[r] = next;
        next += w->tokens[r];
    }
    world_route(w, s);
    w->workload = (moe_workload_t){.router = w->router,
                                   .placement = &w->placement,
                                   .tokens = w->tokens,
                                   .first_token = w->first_token,
                                   .capacity = s->capacity,
                                   .step = 1,
                                   .ranks_per_node = s->ranks_per_node};
    size_t count_max = 0;
    for (size_t r = 0; r < s->ranks; r++) {
        assert_int_equal(moe_batch_create(&w->workload, r, &w->batch[r], NULL), MOE_OK);
        for (size_t e = 0; e < s->experts; e++) {
            const size_t count = w->batch[r]->counts[e];
            count_max = count > count_max ? count : count_max;
        }
    }
    moe_sizes_of(&w->workload, count_max, &w->sizes);
}

static inline void world_destroy(world_t *w)
{
    for (size_t r = 0; r < w->ranks; r++) {
        moe_batch_destroy(w->batch[r]);
    }
    free(w->batch);
    free(w->tokens);
    free(w->first_token);
    moe_placement_destroy(&w->placement);
    moe_router_destroy(w->router);
}

static inline const moe_style_ops_t *style_named(const char *name)
{
    const moe_style_ops_t *style = NULL;
    assert_int_equal(moe_style_find(name, &style, NULL), MOE_OK);
    return style;
}

/* What all ranks send in a style, added up, with rows of row_bytes and what travels behind them. The
 * caller destroys both; ranks_per_node is of the tiers alone. */
static inline void world_flows(const world_t *w, const moe_style_ops_t *style,
                               size_t ranks_per_node, size_t row_bytes, moe_flow_t *dispatch,
                               moe_flow_t *combine)
{
    const size_t side = moe_style_side_bytes(style, &w->sizes);
    assert_int_equal(moe_flow_create(w->ranks, ranks_per_node, row_bytes + side, dispatch, NULL),
                     MOE_OK);
    assert_int_equal(moe_flow_create(w->ranks, ranks_per_node, row_bytes, combine, NULL), MOE_OK);
    for (size_t r = 0; r < w->ranks; r++) {
        moe_flow_add_batch(style, &w->sizes, w->batch[r], r, 0, dispatch, combine);
    }
}

/* Of dispatch alone, or of combine. */
static inline void world_flow(const world_t *w, const char *style, size_t ranks_per_node,
                              size_t row_bytes, bool backward, moe_flow_t *out)
{
    moe_flow_t dispatch, combine;
    world_flows(w, style_named(style), ranks_per_node, row_bytes, &dispatch, &combine);
    *out = backward ? combine : dispatch;
    moe_flow_destroy(backward ? &dispatch : &combine);
}

#endif
