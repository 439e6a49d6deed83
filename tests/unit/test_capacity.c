/* Capacity of an expert, and who is dropped. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../src/traffic/capacity.h"
#include "moe/traffic.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define WEIGHT(n)     ((float)(n) / MOE_WEIGHT_ONE)

/* ---- Slots ---- */

static void test_capacity_matches_the_lecture(void **state)
{
    (void)state;
    /* capacity = max(ceil(S/E * K * capacity_factor), min_capacity), as DeepSpeed's sharded_moe.py */
    assert_int_equal(moe_capacity_slots(1024, 8, 2, 1.0, 4), 256);
    assert_int_equal(moe_capacity_slots(1024, 8, 2, 1.25, 4), 320);
    assert_int_equal(moe_capacity_slots(6, 8, 1, 1.0, 4), 4);
    assert_int_equal(moe_capacity_slots(100, 64, 1, 1.0, 1), 2);
}

static void test_decimal_factors_do_not_buy_a_slot(void **state)
{
    (void)state;
    for (size_t hundredths = 1; hundredths <= 400; hundredths++) {
        for (size_t tokens = 100; tokens <= 102400; tokens *= 2) {
            /* 10 * 1.1 is 11.000000000000002 in binary */
            assert_int_equal(moe_capacity_slots(tokens, 1, 1, (double)hundredths / 100, 0),
                             tokens / 100 * hundredths);
        }
    }
}

static void test_a_remainder_buys_a_slot(void **state)
{
    (void)state;
    assert_int_equal(moe_capacity_slots(1025, 8, 2, 1.0, 0), 257);
    assert_int_equal(moe_capacity_slots(1, 65536, 1, 1.0, 0), 1);
    assert_int_equal(moe_capacity_slots(1000000001, 1000000000, 1, 1.0, 0), 2);
    assert_int_equal(moe_capacity_slots(1, 1, 1, 1e-300, 0), 1);
}

static void test_capacity_of_no_tokens_is_the_minimum(void **state)
{
    (void)state;
    assert_int_equal(moe_capacity_slots(0, 8, 2, 1.25, 4), 4);
    assert_int_equal(moe_capacity_slots(0, 8, 2, 1.25, 0), 0);
}

static void test_capacity_past_the_range_saturates(void **state)
{
    (void)state;
    assert_true(moe_capacity_slots(1, 1, 1, 1e30, 0) == SIZE_MAX);
    assert_true(moe_capacity_slots(SIZE_MAX, 1, 1024, 1.0, 0) == SIZE_MAX);
    assert_true(moe_capacity_slots(SIZE_MAX, 2, 1, 1.0, 0) < SIZE_MAX);
}

static void test_ways_to_drop_have_names(void **state)
{
    (void)state;
    const char *const names[] = {"position", "probability", "random"};
    for (size_t i = 0; i < LENGTH(names); i++) {
        moe_drop_t drop;
        assert_int_equal(moe_drop_parse("--drop", names[i], &drop, NULL), MOE_OK);
        assert_string_equal(moe_drop_name(drop), names[i]);
    }
    const char *const bad[] = {"", "Random", "first", "positions"};
    for (size_t i = 0; i < LENGTH(bad); i++) {
        moe_drop_t drop = MOE_DROP_RANDOM;
        moe_error_t error = {0};
        assert_int_equal(moe_drop_parse("--drop", bad[i], &drop, &error), MOE_BAD_INPUT);
        assert_int_equal(drop, MOE_DROP_RANDOM);
        assert_non_null(strstr(error.text, "--drop"));
        assert_non_null(strstr(error.text, "probability"));
    }
}

/* ---- Who is dropped ---- */

#define EXPERTS 4

/* Six tokens with two choices. Expert 0 is the first choice of tokens 1, 3, 5 and the second of 0
 * and 2. */
static int32_t choices[] = {1, 0,      /**/ 0,        2,      /**/ 3, 0, /**/ 0,
                            1, /**/ 2, MOE_NO_EXPERT, /**/ 0, 3};
static float weights[] = {WEIGHT(40000), WEIGHT(25536), /**/ WEIGHT(33000), WEIGHT(32536), /**/
                          WEIGHT(33000), WEIGHT(32536), /**/ WEIGHT(60000), WEIGHT(5536),  /**/
                          WEIGHT(65536), WEIGHT(0),     /**/ WEIGHT(33000), WEIGHT(32536)};

static const moe_table_t table = {
    .first_token = 1000, .tokens = 6, .top_k = 2, .expert = choices, .weight = weights};

static void keep(moe_drop_rule_t rule, const moe_table_t *of, size_t experts, uint8_t *kept,
                 size_t *counts)
{
    size_t *selected = calloc(experts, sizeof *selected);
    assert_non_null(selected);
    for (size_t i = 0; i < of->tokens * of->top_k; i++) {
        if (of->expert[i] != MOE_NO_EXPERT) {
            selected[of->expert[i]]++;
        }
    }
    assert_int_equal(moe_capacity_keep(&rule, of, experts, selected, kept, counts, NULL), MOE_OK);
    free(selected);
}

static void assert_kept(moe_drop_rule_t rule, const uint8_t *expected)
{
    uint8_t kept[LENGTH(choices)];
    size_t counts[EXPERTS];
    keep(rule, &table, EXPERTS, kept, counts);
    for (size_t i = 0; i < LENGTH(choices); i++) {
        assert_int_equal(kept[i], expected[i]);
    }
}

static void test_position_keeps_all_first_choices_before_any_second(void **state)
{
    (void)state;
    const uint8_t four[] = {1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1};
    assert_kept((moe_drop_rule_t){.drop = MOE_DROP_POSITION, .slots = 4}, four);
    const uint8_t two[] = {1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1};
    assert_kept((moe_drop_rule_t){.drop = MOE_DROP_POSITION, .slots = 2}, two);
}

static void test_probability_drops_the_lightest_weights(void **state)
{
    (void)state;
    /* expert 0: 60000 (token 3), 33000 (1, then 5), 32536 (2), 25536 (0);
     * experts 1, 2, 3: 40000 > 5536, 65536 > 32536, 33000 > 32536 */
    const uint8_t four[] = {1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1};
    assert_kept((moe_drop_rule_t){.drop = MOE_DROP_PROBABILITY, .slots = 4}, four);
    const uint8_t two[] = {1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1};
    assert_kept((moe_drop_rule_t){.drop = MOE_DROP_PROBABILITY, .slots = 2}, two);
    const uint8_t one[] = {1, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0};
    assert_kept((moe_drop_rule_t){.drop = MOE_DROP_PROBABILITY, .slots = 1}, one);
}

static void test_ample_capacity_drops_nothing(void **state)
{
    (void)state;
    const uint8_t all[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1}; /* the gate chose none there */
    for (int drop = MOE_DROP_POSITION; drop <= MOE_DROP_RANDOM; drop++) {
        assert_kept((moe_drop_rule_t){.drop = (moe_drop_t)drop, .slots = 5}, all);
        assert_kept((moe_drop_rule_t){.drop = (moe_drop_t)drop, .slots = SIZE_MAX}, all);
    }
}

static void test_no_slots_keep_nobody(void **state)
{
    (void)state;
    const uint8_t none[LENGTH(choices)] = {0};
    for (int drop = MOE_DROP_POSITION; drop <= MOE_DROP_RANDOM; drop++) {
        assert_kept((moe_drop_rule_t){.drop = (moe_drop_t)drop, .slots = 0}, none);
    }
}

#define CROWD 4000

/* Everybody wants expert 0. */
static size_t crowd_kept(moe_drop_rule_t rule, uint64_t first_token, uint8_t *kept)
{
    int32_t zeros[CROWD] = {0};
    float weightless[CROWD] = {0};
    const moe_table_t crowd = {.first_token = first_token,
                               .tokens = CROWD,
                               .top_k = 1,
                               .expert = zeros,
                               .weight = weightless};
    size_t count;
    keep(rule, &crowd, 1, kept, &count);
    size_t sum = 0;
    for (size_t i = 0; i < CROWD; i++) {
        sum += kept[i];
    }
    assert_int_equal(sum, count);
    return count;
}

static void test_random_drops_favour_no_place(void **state)
{
    (void)state;
    uint8_t kept[CROWD];
    const moe_drop_rule_t rule = {.drop = MOE_DROP_RANDOM, .slots = CROWD / 2, .seed = 7};
    assert_int_equal(crowd_kept(rule, 0, kept), CROWD / 2);
    for (size_t quarter = 0; quarter < 4; quarter++) {
        size_t sum = 0;
        for (size_t i = 0; i < CROWD / 4; i++) {
            sum += kept[quarter * (CROWD / 4) + i];
        }
        /* hypergeometric, mean 500, standard deviation 13.7: five of them */
        assert_in_range(sum, 430, 570);
    }
}

static void test_random_drops_depend_on_seed_layer_step_and_token(void **state)
{
    (void)state;
    uint8_t kept[CROWD], other[CROWD];
    const moe_drop_rule_t rule = {
        .drop = MOE_DROP_RANDOM, .slots = CROWD / 2, .seed = 7, .layer = 1, .step = 2};
    crowd_kept(rule, 0, kept);
    crowd_kept(rule, 0, other);
    assert_memory_equal(kept, other, CROWD);
    moe_drop_rule_t changed[] = {rule, rule, rule};
    changed[0].seed++;
    changed[1].layer++;
    changed[2].step++;
    for (size_t i = 0; i < LENGTH(changed); i++) {
        crowd_kept(changed[i], 0, other);
        assert_memory_not_equal(kept, other, CROWD);
    }
    crowd_kept(rule, CROWD, other);
    assert_memory_not_equal(kept, other, CROWD);
}

/* ---- Batches ---- */

typedef struct world {
    moe_router_t *router;
    moe_placement_t placement;
    moe_workload_t workload;
    size_t tokens[3];
    uint64_t first_token[3];
} world_t;

static void make_world(world_t *w, const char *gate, size_t experts, size_t top_k, const char *skew)
{
    moe_routing_spec_t spec = {.experts = experts, .top_k = top_k, .seed = 11};
    assert_int_equal(moe_gate_find(gate, &spec.gate, NULL), MOE_OK);
    assert_int_equal(moe_skew_parse("skew", skew, &spec.skew, NULL), MOE_OK);
    *w = (world_t){.tokens = {700, 0, 33}, .first_token = {0, 700, 700}};
    assert_int_equal(moe_router_create(&spec, 5, &w->router, NULL), MOE_OK);
    assert_int_equal(moe_placement_create("block", experts, 3, &w->placement, NULL), MOE_OK);
    w->workload = (moe_workload_t){.router = w->router,
                                   .placement = &w->placement,
                                   .tokens = w->tokens,
                                   .first_token = w->first_token,
                                   .step = 3};
}

static void destroy_world(world_t *w)
{
    moe_placement_destroy(&w->placement);
    moe_router_destroy(w->router);
}

/* Sums and limits hold; with drop probability no dropped weight is above a kept one. */
static void check_batch(const world_t *w, const moe_batch_t *b, size_t experts)
{
    size_t selections = 0, kept = 0;
    for (size_t e = 0; e < experts; e++) {
        size_t chosen = 0, carried = 0;
        float lightest_kept = 2, heaviest_dropped = -1;
        for (size_t i = 0; i < b->table.tokens * b->table.top_k; i++) {
            if (b->table.expert[i] != (int32_t)e) {
                continue;
            }
            const float weight = b->table.weight[i];
            chosen++;
            carried += b->kept[i];
            lightest_kept = b->kept[i] ? fminf(lightest_kept, weight) : lightest_kept;
            heaviest_dropped = b->kept[i] ? heaviest_dropped : fmaxf(heaviest_dropped, weight);
        }
        assert_int_equal(b->selected[e], chosen);
        assert_int_equal(b->counts[e], carried);
        const bool dropless = w->workload.capacity.factor == 0;
        assert_int_equal(carried, dropless || chosen < b->slots ? chosen : b->slots);
        if (w->workload.capacity.drop == MOE_DROP_PROBABILITY && chosen > 0) {
            assert_true(heaviest_dropped <= lightest_kept);
        }
        selections += chosen;
        kept += carried;
    }
    assert_int_equal(b->selections, selections);
    assert_int_equal(b->kept_selections, kept);
}

static void test_batches_keep_what_their_capacity_allows(void **state)
{
    (void)state;
    const size_t experts = 10, top_k = 2;
    world_t w;
    make_world(&w, "softmax", experts, top_k, "zipf:1.2");
    const double factors[] = {0, 0.5, 1.1, 100};
    for (size_t f = 0; f < LENGTH(factors); f++) {
        for (int drop = MOE_DROP_POSITION; drop <= MOE_DROP_RANDOM; drop++) {
            w.workload.capacity =
                (moe_capacity_spec_t){.factor = factors[f], .min = 4, .drop = (moe_drop_t)drop};
            for (size_t rank = 0; rank < 3; rank++) {
                moe_batch_t *batch = NULL;
                assert_int_equal(moe_batch_create(&w.workload, rank, &batch, NULL), MOE_OK);
                assert_int_equal(batch->table.tokens, w.tokens[rank]);
                assert_int_equal(batch->table.first_token, w.first_token[rank]);
                assert_int_equal(batch->selections, w.tokens[rank] * top_k);
                assert_int_equal(batch->slots, factors[f] == 0
                                                   ? 0
                                                   : moe_capacity_slots(w.tokens[rank], experts,
                                                                        top_k, factors[f], 4));
                check_batch(&w, batch, experts);
                moe_batch_destroy(batch);
            }
        }
    }
    destroy_world(&w);
}

static void test_a_capacity_factor_of_a_half_keeps_at_most_half(void **state)
{
    (void)state;
    world_t w;
    make_world(&w, "softmax", 10, 2, "zipf:1.2");
    w.tokens[0] = 800; /* 160 selections an expert at a factor of 1 */
    w.workload.capacity = (moe_capacity_spec_t){.factor = 0.5};
    moe_batch_t *batch = NULL;
    assert_int_equal(moe_batch_create(&w.workload, 0, &batch, NULL), MOE_OK);
    assert_int_equal(batch->slots, 80);
    assert_true(batch->kept_selections <= batch->selections / 2);
    assert_true(batch->kept_selections > 0);
    moe_batch_destroy(batch);
    destroy_world(&w);
}

static void test_experts_that_gshard_leaves_out_are_not_kept(void **state)
{
    (void)state;
    world_t w;
    make_world(&w, "gshard", 8, 2, "uniform");
    moe_batch_t *batch = NULL;
    assert_int_equal(moe_batch_create(&w.workload, 0, &batch, NULL), MOE_OK);
    size_t none = 0;
    for (size_t i = 0; i < batch->table.tokens * 2; i++) {
        const bool chosen = batch->table.expert[i] != MOE_NO_EXPERT;
        none += !chosen;
        assert_int_equal(batch->kept[i], chosen);
    }
    assert_true(none > 0);
    assert_int_equal(batch->selections, 1400 - none);
    assert_int_equal(batch->kept_selections, 1400 - none);
    moe_batch_destroy(batch);
    destroy_world(&w);
}

static void test_batches_that_cannot_be_are_refused(void **state)
{
    (void)state;
    world_t w;
    make_world(&w, "softmax", 10, 2, "uniform");
    moe_batch_t *batch = NULL;
    moe_error_t error = {0};
    assert_int_equal(moe_batch_create(&w.workload, 3, &batch, &error), MOE_BAD_INPUT);
    assert_null(batch);
    w.placement.experts = 9;
    assert_int_equal(moe_batch_create(&w.workload, 0, &batch, &error), MOE_BAD_INPUT);
    assert_null(batch);
    moe_batch_destroy(NULL);
    destroy_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capacity_matches_the_lecture),
        cmocka_unit_test(test_decimal_factors_do_not_buy_a_slot),
        cmocka_unit_test(test_a_remainder_buys_a_slot),
        cmocka_unit_test(test_capacity_of_no_tokens_is_the_minimum),
        cmocka_unit_test(test_capacity_past_the_range_saturates),
        cmocka_unit_test(test_ways_to_drop_have_names),
        cmocka_unit_test(test_position_keeps_all_first_choices_before_any_second),
        cmocka_unit_test(test_probability_drops_the_lightest_weights),
        cmocka_unit_test(test_ample_capacity_drops_nothing),
        cmocka_unit_test(test_no_slots_keep_nobody),
        cmocka_unit_test(test_random_drops_favour_no_place),
        cmocka_unit_test(test_random_drops_depend_on_seed_layer_step_and_token),
        cmocka_unit_test(test_batches_keep_what_their_capacity_allows),
        cmocka_unit_test(test_a_capacity_factor_of_a_half_keeps_at_most_half),
        cmocka_unit_test(test_experts_that_gshard_leaves_out_are_not_kept),
        cmocka_unit_test(test_batches_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests_name("capacity", tests, NULL, NULL);
}
