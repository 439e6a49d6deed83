/* What a layer moves, and what memory it takes: known before, and found again in its plans. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "layer_setting.h"

/* ---- What a layer moves ---- */

/* Rows that this rank sends and gets in dispatch, over all hops; those to itself apart. */
typedef struct travelling {
    size_t sent, got, sent_to_others, got_from_others;
} travelling_t;

static void add_hop(const moe_hop_t *hop, size_t own, travelling_t *rows)
{
    for (size_t p = 0; p < hop->peers; p++) {
        rows->sent += hop->send_rows[p];
        rows->got += hop->recv_rows[p];
        rows->sent_to_others += p == own ? 0 : hop->send_rows[p];
        rows->got_from_others += p == own ? 0 : hop->recv_rows[p];
    }
}

static travelling_t travelling_of(const moe_transport_t *t, const moe_layer_t *layer)
{
    const moe_plan_t *plan = moe_layer_plan(layer);
    const size_t per_node = moe_layer_spec(layer)->workload->ranks_per_node;
    const size_t g = per_node > 0 ? per_node : t->size;
    const size_t own[] = {[MOE_SCOPE_GROUP] = t->rank,
                          [MOE_SCOPE_NODE] = t->rank % g,
                          [MOE_SCOPE_RAIL] = t->rank / g};
    travelling_t rows = {0};
    add_hop(&plan->hop, own[plan->hop.scope], &rows);
    if (plan->two_hops)
        add_hop(&plan->forward, own[plan->forward.scope], &rows);
    return rows;
}

static size_t side_of(const moe_layer_t *layer)
{
    moe_sizes_t sizes;
    moe_sizes_of(moe_layer_spec(layer)->workload, 0, &sizes);
    return moe_style_side_bytes(moe_layer_spec(layer)->style, &sizes);
}

static bool bytes_of_this_rank(const moe_transport_t *t, const moe_layer_t *layer,
                               const moe_flow_t *dispatch, const moe_flow_t *combine, char *text)
{
    const travelling_t rows = travelling_of(t, layer);
    const moe_layer_spec_t *spec = moe_layer_spec(layer);
    const size_t row = moe_row_bytes(spec->dtype, spec->hidden) + side_of(layer);
    const size_t combine_row = moe_row_bytes(spec->combine_dtype, spec->hidden);
    const size_t own = t->rank;
    RANK_EXPECT(dispatch->row_bytes == row && combine->row_bytes == combine_row);
    RANK_EXPECT(dispatch->sent[own] == rows.sent_to_others * row);
    RANK_EXPECT(dispatch->received[own] == rows.got_from_others * row);
    RANK_EXPECT(dispatch->arriving[own] == rows.got * row);
    RANK_EXPECT(combine->sent[own] == rows.got_from_others * combine_row);
    RANK_EXPECT(combine->received[own] == rows.sent_to_others * combine_row);
    RANK_EXPECT(combine->arriving[own] == rows.sent * combine_row);
    return true;
}

static bool bytes_of_all_ranks(moe_transport_t *t, const moe_layer_t *layer,
                               const moe_flow_t *dispatch, const moe_flow_t *combine, char *text)
{
    const travelling_t rows = travelling_of(t, layer);
    enum { ALL, KEPT, OTHERS, SUMS };
    size_t sums[SUMS] = {[ALL] = rows.sent,
                         [KEPT] = moe_layer_batch(layer)->kept_selections,
                         [OTHERS] = rows.sent_to_others};
    RANK_EXPECT(t->ops->reduce_sizes(t, sums, SUMS, MOE_SUM, NULL) == MOE_OK);
    const moe_flow_t *const flow[] = {dispatch, combine};
    const size_t side[] = {side_of(layer), 0}; /* what travels beside a token is not useful */
    for (size_t i = 0; i < LENGTH(flow); i++) {
        const moe_flow_t *f = flow[i];
        RANK_EXPECT(f->bytes.logical == sums[ALL] * f->row_bytes);
        RANK_EXPECT(f->bytes.useful == sums[KEPT] * (f->row_bytes - side[i]));
        RANK_EXPECT(f->bytes.wire == sums[OTHERS] * f->row_bytes);
        RANK_EXPECT(f->tiers.self == (sums[ALL] - sums[OTHERS]) * f->row_bytes);
        RANK_EXPECT(f->tiers.self + f->tiers.intra_node + f->tiers.inter_node == f->bytes.logical);
    }
    return true;
}

/* 8 bytes for every expert that sits elsewhere; 8 bytes a rank for the largest count; 8 bytes for every
 * other peer of every hop. */
static size_t metadata_of(const moe_style_ops_t *style, const moe_workload_t *workload)
{
    const size_t ranks = workload->placement->ranks;
    const size_t g = workload->ranks_per_node > 0 ? workload->ranks_per_node : ranks;
    switch (style->metadata) {
    case MOE_METADATA_COUNTS:
        return 8 * workload->placement->experts * (ranks - 1);
    case MOE_METADATA_MAX:
        return ranks > 1 ? 8 * ranks : 0;
    case MOE_METADATA_ROWS:
        return 8 * ranks * (style->by_node ? g - 1 + ranks / g - 1 : ranks - 1);
    default:
        return 0;
    }
}

static bool flows_of_a_style(moe_transport_t *t, const setting_t *s, size_t style, size_t *wire,
                             char *text)
{
    const moe_layer_spec_t spec = spec_of(s, t, style, FP8_AND_BF16, 33);
    layer_rank_t rank;
    RANK_EXPECT(layer_rank_create(&rank, &spec, s->host, NULL) == MOE_OK);
    moe_flow_t dispatch, combine;
    size_t metadata = SIZE_MAX;
    RANK_EXPECT(moe_layer_flows(rank.layer, 2, &dispatch, &combine, &metadata, NULL) == MOE_OK);
    RANK_EXPECT(metadata == metadata_of(spec.style, spec.workload));
    if (!bytes_of_this_rank(t, rank.layer, &dispatch, &combine, text) ||
        !bytes_of_all_ranks(t, rank.layer, &dispatch, &combine, text))
        return false;
    *wire = dispatch.bytes.wire;
    moe_flow_destroy(&dispatch);
    moe_flow_destroy(&combine);
    layer_rank_destroy(&rank);
    return true;
}

static bool flows_are_those_of_the_plans(moe_transport_t *t, void *context, char *text)
{
    for (size_t style = 0; style < moe_style_count(); style++) {
        size_t wire = 0;
        if (!flows_of_a_style(t, context, style, &wire, text))
            return false;
        RANK_EXPECT((wire > 0) == (t->size > 1));
    }
    return true;
}

static void test_flows_are_the_rows_of_all_plans(void **state)
{
    world_spec_t spec = {.skew = "zipf:1.0", .experts = 9, .top_k = 3, .tokens = 10, .seed = 17};
    for (size_t i = 0; i < LENGTH(some_ranks); i++) {
        spec.ranks = some_ranks[i];
        spec.fuller_rank = spec.ranks;
        spec.ranks_per_node = 0;
        run_on(&spec, *state, NULL, flows_are_those_of_the_plans);
        spec.ranks_per_node = spec.ranks % 2 == 0 ? 2 : 1;
        run_on(&spec, *state, NULL, flows_are_those_of_the_plans);
    }
}

/* ---- Memory ---- */

/* Index lists of a plan and what routing keeps of each selection, as they are allocated. */
static size_t index_bytes(const moe_layer_t *layer)
{
    const moe_plan_t *plan = moe_layer_plan(layer);
    const moe_hop_t *hop = &plan->hop;
    const moe_table_t *table = &moe_layer_batch(layer)->table;
    const size_t sent = hop->send_first[hop->peers], got = hop->recv_first[hop->peers];
    const size_t terms = hop->reduce_first[hop->before];
    return sizeof(size_t) * (sent + hop->before + 1 + terms) + sizeof(float) * terms +
           (plan->expert_gather != NULL ? 2 * sizeof(size_t) * got : 0) +
           table->tokens * table->top_k * (sizeof(int32_t) + sizeof(float) + 1);
}

static bool memory_of_a_style(moe_transport_t *t, const setting_t *s, size_t style, size_t pair,
                              size_t hidden, char *text)
{
    const moe_layer_spec_t spec = spec_of(s, t, style, pair, hidden);
    if (layer_refusal(&spec) != NULL)
        return true;
    const size_t least = moe_layer_least_bytes(&spec);
    layer_rank_t rank;
    RANK_EXPECT(layer_rank_create(&rank, &spec, s->host, NULL) == MOE_OK);
    const size_t rows = rank.device.bytes, taken = rows + index_bytes(rank.layer);
    RANK_EXPECT(rows == moe_workspace_bytes(&rank.layer, 1));
    if (strcmp(spec.style->name, "padded") == 0) {
        /* Rows are known exactly; of the lists, terms of kept selections are guessed. */
        const moe_table_t *table = &moe_layer_batch(rank.layer)->table;
        const size_t slack = (table->tokens * table->top_k + 1) * (sizeof(size_t) + sizeof(float));
        RANK_EXPECT(least >= rows && least <= taken + slack && least + slack >= taken);
    } else if (spec.style->block_rows == NULL) {
        RANK_EXPECT(least <= rows);
    }
    layer_rank_destroy(&rank);
    return true;
}

static bool memory_is_known_before(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = context;
    for (size_t style = 0; style < moe_style_count(); style++) {
        for (size_t pair = 0; pair < DTYPE_PAIRS; pair++) {
            if (!memory_of_a_style(t, s, style, pair, short_rows[pair % HIDDEN_SIZES], text))
                return false;
        }
    }
    return true;
}

static void test_memory_is_known_before_it_is_taken(void **state)
{
    /* Even, uneven, and ranks without experts; capacities; ranks without tokens. */
    static const world_spec_t specs[] = {
        {.experts = 16, .top_k = 2, .tokens = 12, .ranks = 4, .seed = 18},
        {.experts = 13, .top_k = 3, .tokens = 12, .ranks = 5, .empty_rank = 2, .seed = 19},
        {.experts = 3, .top_k = 2, .tokens = 12, .ranks = 5, .fuller_rank = 1, .seed = 20},
        {.experts = 8, .top_k = 2, .tokens = 16, .ranks = 1, .seed = 21},
        {.experts = 8, .top_k = 2, .tokens = 16, .ranks = 2, .capacity = {.factor = 0.5}},
        {.experts = 8, .top_k = 2, .tokens = 0, .ranks = 3},
    };
    for (size_t i = 0; i < LENGTH(specs); i++)
        run_on(&specs[i], *state, NULL, memory_is_known_before);
}

/* With equal loads, what is asked for at the least is what blocks that travel straight take; slots,
 * second hops and side data come on top. */
static bool takes_the_least(const moe_style_ops_t *style)
{
    return style->block_rows != NULL && style->plan == NULL && !style->fixed_slots;
}

static bool balanced_memory(moe_transport_t *t, void *context, char *text)
{
    for (size_t style = 0; style < moe_style_count(); style++) {
        const moe_layer_spec_t spec = spec_of(context, t, style, 0, 64);
        layer_rank_t rank;
        RANK_EXPECT(layer_rank_create(&rank, &spec, ((setting_t *)context)->host, NULL) == MOE_OK);
        const size_t taken = rank.device.bytes + index_bytes(rank.layer);
        const size_t least = moe_layer_least_bytes(&spec);
        RANK_EXPECT(least > 0 && least <= taken);
        RANK_EXPECT(!takes_the_least(spec.style) || least + sizeof(size_t) >= taken);
        layer_rank_destroy(&rank);
    }
    return true;
}

static void test_balanced_layers_take_the_least(void **state)
{
    world_spec_t spec = {
        .skew = "balanced", .experts = 8, .top_k = 2, .tokens = 16, .ranks = 4, .seed = 22};
    run_on(&spec, *state, NULL, balanced_memory);
    spec.capacity.factor = 0.5; /* every expert keeps half */
    run_on(&spec, *state, NULL, balanced_memory);
}

static void test_rows_past_the_range_do_not_wrap(void **state)
{
    world_t world;
    const world_spec_t spec = {.experts = 8, .top_k = 2, .ranks = 2, .seed = 23};
    world_create(&world, &spec);
    world.tokens[0] = (size_t)1 << 46;
    moe_transport_t transport = {.rank = 0, .size = 2};
    const setting_t setting = {.world = &world, .host = *state};
    moe_layer_spec_t layer = spec_of(&setting, &transport, 0, 2, 7168);
    assert_true(moe_layer_least_bytes(&layer) > (size_t)1 << 60);
    layer.hidden = (size_t)1 << 40;
    assert_true(moe_layer_least_bytes(&layer) == SIZE_MAX);
    world.tokens[0] = 0;
    world_destroy(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flows_are_the_rows_of_all_plans),
        cmocka_unit_test(test_memory_is_known_before_it_is_taken),
        cmocka_unit_test(test_balanced_layers_take_the_least),
        cmocka_unit_test(test_rows_past_the_range_do_not_wrap),
    };
    return cmocka_run_group_tests_name("exchange", tests, host_set_up, host_tear_down);
}
