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

#include "layer_setting.h"

/* Checks, measures, checks again: steps must leave nothing behind that the next ones trip over. */
static bool carries_by(moe_transport_t *t, moe_layer_t *layer, size_t algorithm, char *text)
{
    RANK_EXPECT(moe_layer_use(layer, moe_algorithm_at(algorithm), NULL) == MOE_OK);
    if (!layer_is_right(layer, text))
        return false;
    RANK_EXPECT(layer_run_steps(layer, NULL) == MOE_OK);
    return layer_is_right(layer, text);
}

/* `best` runs all others to choose: on one number of ranks only, native in its place elsewhere. */
#define WITH_BEST 4

static size_t algorithm_in_turn(const moe_transport_t *t, size_t turn)
{
    const size_t algorithm = turn % moe_algorithm_count();
    const bool is_best = strcmp(moe_algorithm_at(algorithm)->name, "best") == 0;
    return is_best && t->size != WITH_BEST ? 0 : algorithm;
}

/* By `algorithms` of them, from number `first` on. */
static bool carry_one(moe_transport_t *t, const setting_t *s, const moe_layer_spec_t *spec,
                      size_t first, size_t algorithms, char *text)
{
    layer_rank_t rank;
    moe_error_t error = {0};
    const char *refusal = layer_refusal(spec);
    const moe_status_t status = layer_rank_create(&rank, spec, s->host, &error);
    if (refusal != NULL) {
        RANK_EXPECT(status == MOE_BAD_INPUT && strstr(error.text, refusal) != NULL);
        RANK_EXPECT(strstr(error.text, spec->style->name) != NULL);
        return true;
    }
    if (status != MOE_OK) {
        snprintf(text, RANK_TEXT, "%.200s", error.text);
        return false;
    }
    bool right = true;
    for (size_t a = 0; a < algorithms && right; a++)
        right = carries_by(t, rank.layer, algorithm_in_turn(t, first + a), text);
    layer_rank_destroy(&rank);
    RANK_EXPECT(!right || rank.device.blocks == 0);
    return right;
}

/* Pairs of formats, hidden sizes and algorithms take turns: each meets each, on some number of ranks. */
static bool carry_in_every_style(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = context;
    for (size_t style = 0; style < moe_style_count(); style++) {
        for (size_t pair = (style + t->size) % 2; pair < DTYPE_PAIRS; pair += 2) {
            const size_t turn = style * DTYPE_PAIRS + pair + t->size;
            const size_t hidden = s->hidden[turn % HIDDEN_SIZES];
            const moe_layer_spec_t spec = spec_of(s, t, style, pair, hidden);
            if (!carry_one(t, s, &spec, turn, 1, text))
                return false;
        }
    }
    return true;
}

static bool carry_by_every_algorithm(moe_transport_t *t, void *context, char *text)
{
    const setting_t *s = context;
    for (size_t style = 0; style < moe_style_count(); style++) {
        const moe_layer_spec_t spec =
            spec_of(s, t, style, FP8_AND_BF16, s->hidden[t->size % HIDDEN_SIZES]);
        if (!carry_one(t, s, &spec, 0, moe_algorithm_count(), text))
            return false;
    }
    return true;
}

/* On some numbers of ranks, in nodes of two where they fill them, else on one node. */
static void carry(world_spec_t spec, void **state)
{
    for (size_t i = 0; i < LENGTH(some_ranks); i++) {
        spec.ranks = some_ranks[i];
        spec.ranks_per_node = spec.ranks % 2 == 0 ? 2 : 0;
        run_on(&spec, *state, short_rows, carry_in_every_style);
    }
}

/* ---- Where tokens go ---- */

static void test_skewed_tokens_arrive_in_every_way_on_1_to_8_ranks(void **state)
{
    world_spec_t spec = {.skew = "zipf:1.0", .experts = 16, .top_k = 4, .tokens = 9, .seed = 1};
    for (spec.ranks = 1; spec.ranks <= 8; spec.ranks++) {
        spec.ranks_per_node = spec.ranks % 2 == 0 ? 2 : 0;
        run_on(&spec, *state, short_rows,
               spec.ranks > 6 ? carry_in_every_style : carry_by_every_algorithm);
    }
}

static void test_nodes_of_every_size_carry_or_are_refused(void **state)
{
    /* 6 ranks do not fill nodes of 4, and 7 is more than there are: one node. */
    static const size_t sizes[] = {1, 2, 3, 4, 6, 7};
    world_spec_t spec = {.skew = "zipf:1.0", .experts = 9, .top_k = 4, .tokens = 7, .seed = 28};
    spec.ranks = 6;
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        spec.ranks_per_node = sizes[i];
        run_on(&spec, *state, short_rows, carry_in_every_style);
    }
    spec.ranks = 4;
    spec.ranks_per_node = 2;
    run_on(&spec, *state, short_rows, carry_by_every_algorithm);
    spec.ranks = 8;
    spec.ranks_per_node = 4;
    run_on(&spec, *state, short_rows, carry_in_every_style);
}

static void test_rows_longer_than_a_panel_arrive(void **state)
{
    world_spec_t spec = {.experts = 4, .top_k = 2, .tokens = 5, .seed = 2};
    for (spec.ranks = 1; spec.ranks <= 3; spec.ranks++)
        run_on(&spec, *state, long_rows, carry_in_every_style);
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
        spec.ranks_per_node = spec.ranks % 4 == 0 ? 4 : 1;
        spec.empty_rank = spec.ranks; /* counted from 1 */
        spec.fuller_rank = 1;
        run_on(&spec, *state, short_rows, carry_in_every_style);
        spec.empty_rank = 1;
        spec.fuller_rank = spec.ranks;
        run_on(&spec, *state, short_rows, carry_in_every_style);
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
                               .ranks_per_node = 2,
                               .seed = 9};
    run_on(&spec, *state, short_rows, carry_in_every_style);
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
    run_on(&spec, *state, short_rows, carry_in_every_style);
}

/* ---- Several layers in the same buffers ---- */

typedef struct two_layers {
    const world_t *world[2];
    const moe_device_t *host;
} two_layers_t;

static bool share_a_workspace(moe_transport_t *t, const two_layers_t *two, const char *const *style,
                              char *text)
{
    counting_device_t device;
    counting_device_init(&device, two->host);
    moe_layer_t *layer[2] = {0};
    moe_workspace_t *workspace = NULL;
    for (size_t i = 0; i < 2; i++) {
        moe_layer_spec_t spec = {.transport = t,
                                 .device = &device.device,
                                 .algorithm = moe_algorithm_at(0),
                                 .workload = &two->world[i]->workload,
                                 .hidden = 33,
                                 .dtype = MOE_FP8,
                                 .combine_dtype = MOE_BF16,
                                 .data_seed = DATA_SEED};
        RANK_EXPECT(moe_style_find(style[i], &spec.style, NULL) == MOE_OK);
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

/* Rows differ from layer to layer, and so does what lies between them. */
static bool share_in_pairs(moe_transport_t *t, void *context, char *text)
{
    static const char *const pairs[][2] = {{"exact", "exact"},
                                           {"dedup", "padded"},
                                           {"two-hop", "slots"},
                                           {"hier", "exact-per-expert"},
                                           {"allgather", "two-hop"}};
    for (size_t i = 0; i < LENGTH(pairs); i++) {
        if (!share_a_workspace(t, context, pairs[i], text))
            return false;
    }
    return true;
}

static void test_layers_share_their_buffers(void **state)
{
    world_spec_t spec = {.skew = "zipf:1.2",
                         .experts = 12,
                         .top_k = 3,
                         .tokens = 20,
                         .ranks = 4,
                         .ranks_per_node = 2,
                         .seed = 16};
    world_t first, second;
    world_create(&first, &spec);
    spec.seed++;
    world_create(&second, &spec);
    two_layers_t two = {.world = {&first, &second}, .host = *state};
    assert_int_equal(run_ranks(spec.ranks, share_in_pairs, &two), 0);
    world_destroy(&first);
    world_destroy(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_skewed_tokens_arrive_in_every_way_on_1_to_8_ranks),
        cmocka_unit_test(test_nodes_of_every_size_carry_or_are_refused),
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
    };
    return cmocka_run_group_tests_name("exchange", tests, host_set_up, host_tear_down);
}
