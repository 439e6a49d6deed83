/* A layer's exchange over threads: every style, by every algorithm, in every pair of number formats,
 * carries every row to its place and every token's result home. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../common/layer_rank.h"
#include "world.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* One, few, many; modulo 3 all different (see carry_in_every_way()). */
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

static moe_layer_spec_t spec_of(const setting_t *s, moe_transport_t *t, size_t style, size_t pair,
                                size_t hidden)
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

/* Checks, measures, checks again: steps must leave nothing behind that the next ones trip over. */
static bool carries_by_every_algorithm(moe_transport_t *t, moe_layer_t *layer, char *text)
{
    for (size_t a = 0; a < moe_algorithm_count(); a++) {
        RANK_EXPECT(moe_layer_use(layer, moe_algorithm_at(a), NULL) == MOE_OK);
        if (!layer_is_right(layer, text))
            return false;
        RANK_EXPECT(layer_run_steps(layer, NULL) == MOE_OK);
        if (!layer_is_right(layer, text))
            return false;
    }
    return true;
}

static bool carry_one(moe_transport_t *t, const setting_t *s, const moe_layer_spec_t *spec,
                      char *text)
{
    layer_rank_t rank;
    moe_error_t error = {0};
    if (layer_rank_create(&rank, spec, s->host, &error) != MOE_OK) {
        snprintf(text, RANK_TEXT, "%.200s", error.text);
        return false;
    }
    const bool right = carries_by_every_algorithm(t, rank.layer, text);
    layer_rank_destroy(&rank);
    RANK_EXPECT(!right || rank.device.blocks == 0);
    return right;
}

/* Hidden sizes take turns: every pair of formats meets every size, on some number of ranks. */
static bool carry_in_every_way(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = context;
    for (size_t style = 0; style < moe_style_count(); style++) {
        for (size_t pair = 0; pair < DTYPE_PAIRS; pair++) {
            const size_t hidden = s->hidden[(pair + t->size) % HIDDEN_SIZES];
            const moe_layer_spec_t spec = spec_of(s, t, style, pair, hidden);
            if (!carry_one(t, s, &spec, text))
                return false;
        }
    }
    return true;
}

static void run_on(const world_spec_t *spec, const moe_device_t *host, const size_t *hidden,
                   rank_body_fn body)
{
    world_t world;
    world_create(&world, spec);
    setting_t setting = {.world = &world, .host = host, .hidden = hidden};
    assert_int_equal(run_ranks(spec->ranks, body, &setting), 0);
    world_destroy(&world);
}

/* On some numbers of ranks. */
static void carry(world_spec_t spec, void **state)
{
    for (size_t i = 0; i < LENGTH(some_ranks); i++) {
        spec.ranks = some_ranks[i];
        run_on(&spec, *state, short_rows, carry_in_every_way);
    }
}

/* ---- Where tokens go ---- */

static void test_skewed_tokens_arrive_in_every_way_on_1_to_8_ranks(void **state)
{
    world_spec_t spec = {.skew = "zipf:1.0", .experts = 16, .top_k = 4, .tokens = 9, .seed = 1};
    for (spec.ranks = 1; spec.ranks <= 8; spec.ranks++)
        run_on(&spec, *state, short_rows, carry_in_every_way);
}

static void test_rows_longer_than_a_panel_arrive(void **state)
{
    world_spec_t spec = {.experts = 4, .top_k = 2, .tokens = 5, .seed = 2};
    for (spec.ranks = 1; spec.ranks <= 3; spec.ranks++)
        run_on(&spec, *state, long_rows, carry_in_every_way);
}

static void test_no_tokens_on_any_rank_are_carried(void **state)
{
    carry((world_spec_t){.experts = 8, .top_k = 2, .tokens = 0}, state);
}

static void test_ranks_may_hold_different_numbers_of_tokens(void **state)
{
    world_spec_t spec = {.skew = "zipf:0.8", .experts = 12, .top_k = 3, .tokens = 5, .seed = 3};
    for (size_t i = 1; i < LENGTH(some_ranks); i++) {
        spec.ranks = some_ranks[i];
        spec.empty_rank = spec.ranks; /* counted from 1 */
        spec.fuller_rank = 1;
        run_on(&spec, *state, short_rows, carry_in_every_way);
        spec.empty_rank = 1;
        spec.fuller_rank = spec.ranks;
        run_on(&spec, *state, short_rows, carry_in_every_way);
    }
}

static void test_only_one_rank_has_tokens(void **state)
{
    /* 0 everywhere but on the fuller rank, which has 10. */
    carry((world_spec_t){.experts = 6, .top_k = 2, .tokens = 0, .fuller_rank = 1, .seed = 4},
          state);
}

/* ---- Where experts sit ---- */

static void test_one_expert_gets_everything(void **state)
{
    carry((world_spec_t){.experts = 1, .top_k = 1, .tokens = 6, .seed = 5}, state);
}

static void test_ranks_without_experts_send_and_get_back(void **state)
{
    carry((world_spec_t){.skew = "zipf:1.0", .experts = 3, .top_k = 2, .tokens = 7, .seed = 6},
          state);
}

static void test_experts_that_ranks_do_not_divide(void **state)
{
    carry((world_spec_t){.skew = "uniform", .experts = 13, .top_k = 5, .tokens = 6, .seed = 7},
          state);
}

static void test_experts_in_turn_on_the_ranks(void **state)
{
    carry((world_spec_t){.placement = "round-robin",
                         .skew = "zipf:1.0",
                         .experts = 11,
                         .top_k = 3,
                         .tokens = 6,
                         .seed = 8},
          state);
}

static void test_experts_where_a_file_puts_them(void **state)
{
    /* Rank 1 has none, rank 2 has most, nothing is in order. */
    char path[] = "/tmp/moe-test-layer-XXXXXX";
    const int file = mkstemp(path);
    assert_true(file >= 0);
    const char text[] = "# rank of each expert\n2 0 2 3 2 2 0\n2 3 0\n";
    assert_int_equal(write(file, text, sizeof text - 1), sizeof text - 1);
    close(file);
    const world_spec_t spec = {.placement = path,
                               .skew = "zipf:0.5",
                               .experts = 10,
                               .top_k = 3,
                               .tokens = 8,
                               .ranks = 4,
                               .seed = 9};
    run_on(&spec, *state, short_rows, carry_in_every_way);
    unlink(path);
}

/* ---- What the gate and the capacity make of it ---- */

static void test_one_hot_expert_gets_nearly_all(void **state)
{
    carry((world_spec_t){.skew = "hot:1,0.999", .experts = 8, .top_k = 2, .tokens = 12, .seed = 10},
          state);
}

static void test_every_token_on_every_expert(void **state)
{
    carry((world_spec_t){.skew = "zipf:1.0", .experts = 6, .top_k = 6, .tokens = 5, .seed = 11},
          state);
}

static void test_second_experts_that_gshard_leaves_out(void **state)
{
    const world_spec_t spec = {
        .gate = "gshard", .skew = "zipf:1.2", .experts = 8, .top_k = 2, .tokens = 12, .seed = 12};
    world_spec_t alone = spec;
    world_t world;
    alone.ranks = 1;
    world_create(&world, &alone);
    const size_t chosen = world.batch[0]->selections;
    world_destroy(&world);
    assert_in_range(chosen, 12, 23); /* some are left out, or this tests nothing */
    carry(spec, state);
}

static void test_one_expert_a_token_by_switch(void **state)
{
    carry((world_spec_t){.gate = "switch",
                         .skew = "zipf:1.0",
                         .experts = 8,
                         .top_k = 1,
                         .tokens = 12,
                         .seed = 13},
          state);
}

static void test_dropped_tokens_come_back_as_the_rest_of_them(void **state)
{
    static const moe_drop_t drops[] = {MOE_DROP_POSITION, MOE_DROP_PROBABILITY, MOE_DROP_RANDOM};
    for (size_t i = 0; i < LENGTH(drops); i++) {
        const world_spec_t spec = {.skew = "zipf:1.2",
                                   .experts = 8,
                                   .top_k = 2,
                                   .tokens = 16,
                                   .capacity = {.factor = 0.75, .drop = drops[i]},
                                   .seed = 14};
        world_spec_t alone = spec;
        world_t world;
        alone.ranks = 1;
        world_create(&world, &alone);
        const size_t kept = world.batch[0]->kept_selections;
        world_destroy(&world);
        assert_in_range(kept, 1, 31); /* of 32: some are dropped */
        carry(spec, state);
    }
}

static void test_capacity_above_the_tokens_is_padding(void **state)
{
    const world_spec_t spec = {.experts = 4,
                               .top_k = 2,
                               .tokens = 3,
                               .fuller_rank = 2,
                               .ranks = 3,
                               .capacity = {.factor = 1, .min = 20},
                               .seed = 15};
    run_on(&spec, *state, short_rows, carry_in_every_way);
}

/* ---- Several layers in the same buffers ---- */

typedef struct two_layers {
    const world_t *world[2];
    const moe_device_t *host;
} two_layers_t;

static bool share_a_workspace(moe_transport_t *t, void *context, char *text)
{
    const two_layers_t *two = context;
    counting_device_t device;
    counting_device_init(&device, two->host);
    moe_layer_t *layer[2] = {0};
    moe_workspace_t *workspace = NULL;
    for (size_t i = 0; i < 2; i++) {
        moe_layer_spec_t spec = {.transport = t,
                                 .device = &device.device,
                                 .style = moe_style_at(2), /* rows differ from layer to layer */
                                 .algorithm = moe_algorithm_at(0),
                                 .workload = &two->world[i]->workload,
                                 .hidden = 33,
                                 .dtype = MOE_FP8,
                                 .combine_dtype = MOE_BF16,
                                 .data_seed = DATA_SEED};
        RANK_EXPECT(moe_layer_create(&spec, &layer[i], NULL) == MOE_OK);
    }
    RANK_EXPECT(moe_workspace_create(layer, 2, &workspace, NULL) == MOE_OK);
    RANK_EXPECT(device.bytes == moe_workspace_bytes(layer, 2));
    RANK_EXPECT(device.bytes >= moe_workspace_bytes(&layer[0], 1));
    for (size_t i = 0; i < 2; i++)
        RANK_EXPECT(moe_layer_bind(layer[i], workspace, NULL) == MOE_OK);
    for (size_t i = 0; i < 6; i++) {
        if (!layer_is_right(layer[i % 2], text))
            return false;
        RANK_EXPECT(layer_run_steps(layer[(i + 1) % 2], NULL) == MOE_OK);
    }
    for (size_t i = 0; i < 2; i++)
        moe_layer_destroy(layer[i]);
    moe_workspace_destroy(workspace);
    RANK_EXPECT(device.blocks == 0);
    return true;
}

static void test_layers_share_their_buffers(void **state)
{
    world_spec_t spec = {
        .skew = "zipf:1.2", .experts = 12, .top_k = 3, .tokens = 20, .ranks = 4, .seed = 16};
    world_t first, second;
    world_create(&first, &spec);
    spec.seed++;
    world_create(&second, &spec);
    two_layers_t two = {.world = {&first, &second}, .host = *state};
    assert_int_equal(run_ranks(spec.ranks, share_a_workspace, &two), 0);
    world_destroy(&first);
    world_destroy(&second);
}

/* ---- What a layer moves ---- */

static bool bytes_of_this_rank(const moe_transport_t *t, const moe_layer_t *layer,
                               const moe_flow_t *dispatch, const moe_flow_t *combine, char *text)
{
    const moe_hop_t *hop = &moe_layer_plan(layer)->hop;
    const moe_layer_spec_t *spec = moe_layer_spec(layer);
    const size_t row = moe_row_bytes(spec->dtype, spec->hidden);
    const size_t combine_row = moe_row_bytes(spec->combine_dtype, spec->hidden);
    const size_t own = t->rank, sent = hop->send_first[t->size], got = hop->recv_first[t->size];
    RANK_EXPECT(dispatch->row_bytes == row && combine->row_bytes == combine_row);
    RANK_EXPECT(dispatch->sent[own] == (sent - hop->send_rows[own]) * row);
    RANK_EXPECT(dispatch->received[own] == (got - hop->recv_rows[own]) * row);
    RANK_EXPECT(dispatch->arriving[own] == got * row);
    RANK_EXPECT(combine->sent[own] == (got - hop->recv_rows[own]) * combine_row);
    RANK_EXPECT(combine->received[own] == (sent - hop->send_rows[own]) * combine_row);
    RANK_EXPECT(combine->arriving[own] == sent * combine_row);
    return true;
}

static bool bytes_of_all_ranks(moe_transport_t *t, const moe_layer_t *layer,
                               const moe_flow_t *dispatch, const moe_flow_t *combine, char *text)
{
    const moe_hop_t *hop = &moe_layer_plan(layer)->hop;
    enum { ALL, KEPT, OWN, SUMS };
    size_t sums[SUMS] = {[ALL] = hop->send_first[t->size],
                         [KEPT] = moe_layer_batch(layer)->kept_selections,
                         [OWN] = hop->send_rows[t->rank]};
    RANK_EXPECT(t->ops->reduce_sizes(t, sums, SUMS, MOE_SUM, NULL) == MOE_OK);
    const moe_flow_t *const flow[] = {dispatch, combine};
    for (size_t i = 0; i < LENGTH(flow); i++) {
        const moe_flow_t *f = flow[i];
        RANK_EXPECT(f->bytes.logical == sums[ALL] * f->row_bytes);
        RANK_EXPECT(f->bytes.useful == sums[KEPT] * f->row_bytes);
        RANK_EXPECT(f->bytes.wire == (sums[ALL] - sums[OWN]) * f->row_bytes);
        RANK_EXPECT(f->tiers.self == sums[OWN] * f->row_bytes);
        RANK_EXPECT(f->tiers.self + f->tiers.intra_node + f->tiers.inter_node == f->bytes.logical);
    }
    return true;
}

/* 8 bytes for every expert that sits elsewhere; 8 bytes a rank for the largest count. */
static size_t metadata_of(const moe_style_ops_t *style, const moe_placement_t *placement)
{
    const size_t ranks = placement->ranks;
    if (style->metadata == MOE_METADATA_COUNTS)
        return 8 * placement->experts * (ranks - 1);
    return style->metadata == MOE_METADATA_MAX && ranks > 1 ? 8 * ranks : 0;
}

static bool flows_of_a_style(moe_transport_t *t, const setting_t *s, size_t style, size_t *wire,
                             char *text)
{
    const moe_layer_spec_t spec = spec_of(s, t, style, DTYPE_PAIRS - 2, 33);
    layer_rank_t rank;
    RANK_EXPECT(layer_rank_create(&rank, &spec, s->host, NULL) == MOE_OK);
    moe_flow_t dispatch, combine;
    size_t metadata = SIZE_MAX;
    RANK_EXPECT(moe_layer_flows(rank.layer, 2, &dispatch, &combine, &metadata, NULL) == MOE_OK);
    RANK_EXPECT(metadata == metadata_of(spec.style, spec.workload->placement));
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
    size_t wire[3]; /* padded, padded-max, exact */
    for (size_t style = 0; style < LENGTH(wire); style++) {
        if (!flows_of_a_style(t, context, style, &wire[style], text))
            return false;
    }
    RANK_EXPECT(wire[0] >= wire[1] && wire[1] >= wire[2]);
    RANK_EXPECT(t->size == 1 || wire[2] > 0);
    return true;
}

static void test_flows_are_the_rows_of_all_plans(void **state)
{
    world_spec_t spec = {.skew = "zipf:1.0", .experts = 9, .top_k = 3, .tokens = 10, .seed = 17};
    for (size_t i = 0; i < LENGTH(some_ranks); i++) {
        spec.ranks = some_ranks[i];
        spec.fuller_rank = spec.ranks;
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

/* With equal loads, what is asked for at the least is what every style takes. */
static bool balanced_memory(moe_transport_t *t, void *context, char *text)
{
    for (size_t style = 0; style < moe_style_count(); style++) {
        const moe_layer_spec_t spec = spec_of(context, t, style, 0, 64);
        layer_rank_t rank;
        RANK_EXPECT(layer_rank_create(&rank, &spec, ((setting_t *)context)->host, NULL) == MOE_OK);
        const size_t taken = rank.device.bytes + index_bytes(rank.layer);
        const size_t least = moe_layer_least_bytes(&spec);
        RANK_EXPECT(least <= taken && least + sizeof(size_t) >= taken);
        layer_rank_destroy(&rank);
    }
    return true;
}

static void test_balanced_layers_take_the_least(void **state)
{
    const world_spec_t spec = {
        .skew = "balanced", .experts = 8, .top_k = 2, .tokens = 16, .ranks = 4, .seed = 22};
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

/* ---- What goes wrong ---- */

static bool refuse_each_buffer(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = context;
    counting_device_t device;
    counting_device_init(&device, s->host);
    moe_layer_spec_t spec = spec_of(s, t, 2, 0, 33);
    spec.device = &device.device;
    moe_layer_t *layer = NULL;
    RANK_EXPECT(moe_layer_create(&spec, &layer, NULL) == MOE_OK);
    moe_status_t status = MOE_BAD_INPUT;
    size_t allowed = 0;
    for (; status != MOE_OK; allowed++) {
        moe_workspace_t *workspace = NULL;
        device.allocs_left = allowed;
        status = moe_workspace_create(&layer, 1, &workspace, NULL);
        RANK_EXPECT(status == MOE_OK || (status == MOE_BAD_INPUT && workspace == NULL));
        RANK_EXPECT(status == MOE_OK || device.blocks == 0);
        moe_workspace_destroy(workspace);
    }
    RANK_EXPECT(allowed > 2 && device.blocks == 0);
    moe_layer_destroy(layer);
    return true;
}

static void test_a_refused_buffer_gives_back_the_others(void **state)
{
    const world_spec_t spec = {.experts = 8, .top_k = 2, .tokens = 9, .ranks = 2, .seed = 24};
    run_on(&spec, *state, NULL, refuse_each_buffer);
}

/* Rank 1 cannot hold its table; the others are told, and do not wait for it. */
static bool set_up_fails_on_rank_1(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = context;
    size_t tokens[] = {4, 4, 4};
    tokens[1] = t->rank == 1 ? SIZE_MAX / 2 : 4;
    moe_workload_t workload = s->world->workload;
    workload.tokens = tokens;
    moe_layer_spec_t spec = spec_of(s, t, 2, 0, 33);
    spec.workload = &workload;
    moe_layer_t *layer = NULL;
    moe_error_t error = {0};
    RANK_EXPECT(moe_layer_create(&spec, &layer, &error) == MOE_BAD_INPUT && layer == NULL);
    RANK_EXPECT((t->rank == 1) == (error.text[0] != '\0')); /* one message, from one rank */
    return true;
}

static void test_one_rank_that_fails_in_set_up_ends_all(void **state)
{
    const world_spec_t spec = {.experts = 8, .top_k = 2, .tokens = 4, .ranks = 3, .seed = 25};
    run_on(&spec, *state, NULL, set_up_fails_on_rank_1);
}

/* An algorithm may be chosen before the layer has its buffers, and a check may be left out. */
static bool choose_then_bind(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = context;
    counting_device_t device;
    counting_device_init(&device, s->host);
    moe_layer_spec_t spec = spec_of(s, t, 0, 0, 33);
    spec.device = &device.device;
    moe_layer_t *layer = NULL;
    moe_workspace_t *workspace = NULL;
    RANK_EXPECT(moe_layer_create(&spec, &layer, NULL) == MOE_OK);
    RANK_EXPECT(moe_layer_use(layer, moe_algorithm_at(1), NULL) == MOE_OK);
    moe_check_result_t result = {.errors = 1};
    RANK_EXPECT(moe_layer_check(layer, MOE_CHECK_OFF, &result, NULL) == MOE_OK);
    RANK_EXPECT(result.errors == 0);
    RANK_EXPECT(moe_workspace_create(&layer, 1, &workspace, NULL) == MOE_OK);
    RANK_EXPECT(moe_layer_bind(layer, workspace, NULL) == MOE_OK);
    RANK_EXPECT(moe_layer_check(layer, MOE_CHECK_SAMPLE, &result, NULL) == MOE_OK);
    RANK_EXPECT(result.errors == 0);
    const moe_placement_t *placement = spec.workload->placement;
    RANK_EXPECT(moe_layer_local_experts(layer) ==
                placement->first[t->rank + 1] - placement->first[t->rank]);
    moe_layer_destroy(layer);
    moe_workspace_destroy(workspace);
    return true;
}

static void test_the_algorithm_may_be_chosen_before_the_buffers(void **state)
{
    const world_spec_t spec = {.experts = 5, .top_k = 2, .tokens = 9, .ranks = 3, .seed = 26};
    run_on(&spec, *state, NULL, choose_then_bind);
}

/* ---- ---- */

static int make_host(void **state)
{
    moe_device_t *host = NULL;
    const moe_status_t status = moe_host_device_create(1, 1, &host, NULL);
    *state = host;
    return status == MOE_OK ? 0 : -1;
}

static int drop_host(void **state)
{
    moe_device_t *host = *state;
    host->ops->destroy(host);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_skewed_tokens_arrive_in_every_way_on_1_to_8_ranks),
        cmocka_unit_test(test_rows_longer_than_a_panel_arrive),
        cmocka_unit_test(test_no_tokens_on_any_rank_are_carried),
        cmocka_unit_test(test_ranks_may_hold_different_numbers_of_tokens),
        cmocka_unit_test(test_only_one_rank_has_tokens),
        cmocka_unit_test(test_one_expert_gets_everything),
        cmocka_unit_test(test_ranks_without_experts_send_and_get_back),
        cmocka_unit_test(test_experts_that_ranks_do_not_divide),
        cmocka_unit_test(test_experts_in_turn_on_the_ranks),
        cmocka_unit_test(test_experts_where_a_file_puts_them),
        cmocka_unit_test(test_one_hot_expert_gets_nearly_all),
        cmocka_unit_test(test_every_token_on_every_expert),
        cmocka_unit_test(test_second_experts_that_gshard_leaves_out),
        cmocka_unit_test(test_one_expert_a_token_by_switch),
        cmocka_unit_test(test_dropped_tokens_come_back_as_the_rest_of_them),
        cmocka_unit_test(test_capacity_above_the_tokens_is_padding),
        cmocka_unit_test(test_layers_share_their_buffers),
        cmocka_unit_test(test_flows_are_the_rows_of_all_plans),
        cmocka_unit_test(test_memory_is_known_before_it_is_taken),
        cmocka_unit_test(test_balanced_layers_take_the_least),
        cmocka_unit_test(test_rows_past_the_range_do_not_wrap),
        cmocka_unit_test(test_a_refused_buffer_gives_back_the_others),
        cmocka_unit_test(test_one_rank_that_fails_in_set_up_ends_all),
        cmocka_unit_test(test_the_algorithm_may_be_chosen_before_the_buffers),
    };
    return cmocka_run_group_tests_name("exchange", tests, make_host, drop_host);
}
