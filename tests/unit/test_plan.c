/* Plans, carried out by hand for all ranks of a group. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plans_by_hand.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* Rows of 4 bytes, and what travels behind them. */
#define ROW_BYTES 4

static void same_flow(const moe_flow_t *counted, const moe_flow_t *carried)
{
    const size_t list = carried->ranks * sizeof(size_t);
    assert_int_equal(counted->bytes.logical, carried->bytes.logical);
    assert_int_equal(counted->bytes.wire, carried->bytes.wire);
    assert_int_equal(counted->bytes.padding, carried->bytes.padding);
    assert_memory_equal(&counted->tiers, &carried->tiers, sizeof carried->tiers);
    assert_memory_equal(counted->sent, carried->sent, list);
    assert_memory_equal(counted->received, carried->received, list);
    assert_memory_equal(counted->arriving, carried->arriving, list);
}

/* What is counted for reports is what the plans really carry, rank by rank and tier by tier. */
static void check_counting(const hands_t *s, size_t ranks_per_node)
{
    const world_t *w = s->world;
    size_t kept = 0;
    for (size_t r = 0; r < w->ranks; r++) {
        kept += w->batch[r]->kept_selections;
    }
    moe_flow_t dispatch, combine;
    world_flows(w, s->style, ranks_per_node, ROW_BYTES, &dispatch, &combine);
    same_flow(&dispatch, &s->dispatch);
    same_flow(&combine, &s->combine);
    assert_int_equal(dispatch.bytes.useful, kept * ROW_BYTES);
    assert_int_equal(combine.bytes.useful, kept * ROW_BYTES);
    moe_flow_destroy(&dispatch);
    moe_flow_destroy(&combine);
}

static void carry_style(const world_t *w, const moe_style_ops_t *style, size_t ranks_per_node)
{
    hands_t hands;
    hands_create(&hands, w, style, ranks_per_node, ROW_BYTES);
    carry_by_hand(&hands);
    check_counting(&hands, ranks_per_node);
    hands_destroy(&hands);
}

/* The plan of a style that cannot be with these nodes. */
static void check_refusal(const world_t *w, const moe_style_ops_t *style)
{
    moe_plan_t plan = {.rank = 77};
    moe_error_t error = {0};
    assert_int_equal(
        moe_plan_create(style, &w->workload, &w->sizes, w->batch[0], 0, NULL, &plan, &error),
        MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, style->name));
    assert_non_null(strstr(error.text, "--ranks-per-node"));
    assert_int_equal(plan.rank, 77);
}

/* Every style, on nodes of every size: those that ranks do not fill are for those styles that do not
 * go by nodes. */
static void carry_out(const world_spec_t *spec)
{
    world_t w;
    world_create(&w, spec);
    for (size_t g = 0; g <= w.ranks; g++) {
        w.workload.ranks_per_node = w.sizes.ranks_per_node = g;
        for (size_t i = 0; i < moe_style_count(); i++) {
            const moe_style_ops_t *style = moe_style_at(i);
            if (style->by_node && g > 0 && w.ranks % g != 0) {
                check_refusal(&w, style);
            } else {
                carry_style(&w, style, g > 0 ? g : w.ranks);
            }
        }
    }
    world_destroy(&w);
}

/* ---- Every shape of group ---- */

static void test_every_kept_token_reaches_its_experts_and_returns(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){.experts = 8, .top_k = 2, .ranks = 4, .tokens = 50});
}

static void test_a_rank_alone_keeps_its_rows(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){.experts = 8, .top_k = 3, .ranks = 1, .tokens = 50});
}

static void test_no_tokens_make_empty_plans(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){.experts = 8, .top_k = 2, .ranks = 4, .tokens = 0});
    carry_out(&(world_spec_t){.experts = 8,
                              .top_k = 2,
                              .ranks = 4,
                              .tokens = 0,
                              .capacity = {.factor = 1, .min = 4}}); /* blocks of padding alone */
}

static void test_one_expert_takes_everything(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){.experts = 1, .top_k = 1, .ranks = 4, .tokens = 17});
}

static void test_experts_need_not_divide_among_ranks(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){.experts = 10, .top_k = 3, .ranks = 4, .tokens = 33});
}

static void test_there_may_be_more_ranks_than_experts(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){.experts = 3, .top_k = 2, .ranks = 8, .tokens = 21});
}

static void test_a_rank_may_be_empty(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){
        .experts = 8, .top_k = 2, .ranks = 4, .tokens = 20, .empty_rank = 3, .fuller_rank = 1});
}

static void test_one_expert_may_be_hot(void **state)
{
    (void)state;
    carry_out(
        &(world_spec_t){.experts = 16, .top_k = 2, .ranks = 4, .tokens = 60, .skew = "hot:1,0.95"});
}

static void test_dropped_tokens_are_neither_sent_nor_summed(void **state)
{
    (void)state;
    for (int drop = MOE_DROP_POSITION; drop <= MOE_DROP_RANDOM; drop++) {
        const world_spec_t spec = {.experts = 10,
                                   .top_k = 3,
                                   .ranks = 4,
                                   .tokens = 70,
                                   .empty_rank = 2,
                                   .skew = "zipf:1.2",
                                   .capacity = {.factor = 0.6, .drop = (moe_drop_t)drop},
                                   .seed = 5};
        world_t w;
        world_create(&w, &spec);
        assert_true(w.batch[0]->kept_selections < w.batch[0]->selections);
        world_destroy(&w);
        carry_out(&spec);
    }
}

static void test_a_second_expert_may_be_left_out(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){
        .gate = "gshard", .experts = 6, .top_k = 2, .ranks = 3, .tokens = 90, .seed = 3});
}

static void test_experts_may_be_dealt_round_robin(void **state)
{
    (void)state;
    carry_out(&(world_spec_t){
        .placement = "round-robin", .experts = 11, .top_k = 4, .ranks = 4, .tokens = 40});
}

/* ---- What a plan claims ---- */

static void check_claim(size_t experts, size_t ranks, const char *style, bool uniform)
{
    const world_spec_t spec = {.experts = experts, .top_k = 1, .ranks = ranks, .tokens = 12};
    world_t w;
    world_create(&w, &spec);
    hands_t hands;
    hands_create(&hands, &w, style_named(style), 1, ROW_BYTES);
    for (size_t r = 0; r < ranks; r++) {
        assert_int_equal(hands.hand[r].plan.hop.uniform, uniform);
    }
    hands_destroy(&hands);
    world_destroy(&w);
}

static void test_only_equal_blocks_are_uniform(void **state)
{
    (void)state;
    check_claim(8, 4, "padded", true);
    check_claim(8, 4, "padded-max", true);
    check_claim(8, 4, "exact", false);
    check_claim(8, 4, "slots", false);
    check_claim(8, 4, "hier", false);
    check_claim(8, 4, "allgather", false); /* one copy of the rows goes to all */
    check_claim(10, 4, "padded", false);
    check_claim(3, 4, "padded-max", false);
    check_claim(1, 1, "padded", true);
    check_claim(1, 1, "exact", false);
}

static void test_rows_are_rearranged_only_where_they_must_be(void **state)
{
    (void)state;
    const struct {
        size_t experts, ranks;
        bool rearranged;
    } cases[] = {{8, 4, true}, {4, 4, false}, {2, 4, false}, {8, 1, false}};
    for (size_t i = 0; i < LENGTH(cases); i++) {
        const world_spec_t spec = {
            .experts = cases[i].experts, .top_k = 1, .ranks = cases[i].ranks, .tokens = 12};
        world_t w;
        world_create(&w, &spec);
        hands_t hands;
        hands_create(&hands, &w, style_named("exact"), 1, ROW_BYTES);
        for (size_t r = 0; r < w.ranks; r++) {
            assert_int_equal(hands.hand[r].plan.expert_gather != NULL, cases[i].rearranged);
        }
        hands_destroy(&hands);
        world_destroy(&w);
    }
}

/* ---- What is refused ---- */

static void test_rows_past_the_range_are_refused(void **state)
{
    (void)state;
    const world_spec_t spec = {.experts = 8, .top_k = 2, .ranks = 4, .tokens = 10};
    world_t w;
    world_create(&w, &spec);
    moe_plan_t plan = {.rank = 77};
    moe_error_t error = {0};
    moe_sizes_t sizes = w.sizes;
    sizes.slots = SIZE_MAX / 4;
    assert_int_equal(moe_plan_send(style_named("padded"), &sizes, w.batch[0], 0, &plan, &error),
                     MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "do not fit"));
    assert_int_equal(plan.rank, 77); /* outputs are set on success only */
    /* Rows that can be numbered, but not held. */
    sizes.slots = SIZE_MAX / 16;
    assert_int_equal(moe_plan_send(style_named("padded"), &sizes, w.batch[0], 0, &plan, &error),
                     MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "does not fit"));

    assert_int_equal(moe_plan_send(style_named("padded"), &w.sizes, w.batch[0], 0, &plan, NULL),
                     MOE_OK);
    sizes.slots = SIZE_MAX / 4;
    assert_int_equal(moe_plan_receive(&plan, &sizes, NULL, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "receive"));
    assert_null(plan.hop.recv_rows);
    moe_plan_destroy(&plan);
    world_destroy(&w);
}

static void test_sizes_of_another_batch_are_refused(void **state)
{
    (void)state;
    const world_spec_t spec = {.experts = 2, .top_k = 1, .ranks = 2, .tokens = 10};
    world_t w;
    world_create(&w, &spec);
    moe_sizes_t sizes = w.sizes;
    sizes.slots = 1;
    sizes.count_max = 1;
    moe_plan_t plan = {0};
    moe_error_t error = {0};
    const char *const styles[] = {"padded", "padded-max"};
    for (size_t i = 0; i < LENGTH(styles); i++) {
        assert_int_equal(
            moe_plan_send(style_named(styles[i]), &sizes, w.batch[0], 0, &plan, &error),
            MOE_BAD_INPUT);
        assert_null(plan.hop.gather);
    }
    world_destroy(&w);
}

static void test_exact_needs_the_counts_of_its_peers(void **state)
{
    (void)state;
    const world_spec_t spec = {.experts = 2, .top_k = 1, .ranks = 2, .tokens = 10};
    world_t w;
    world_create(&w, &spec);
    moe_plan_t plan;
    moe_error_t error = {0};
    assert_int_equal(moe_plan_send(style_named("exact"), &w.sizes, w.batch[0], 0, &plan, NULL),
                     MOE_OK);
    assert_int_equal(moe_plan_receive(&plan, &w.sizes, NULL, &error), MOE_BAD_INPUT);
    moe_plan_destroy(&plan);
    moe_style_ops_t other = {.name = "other"};
    assert_int_equal(moe_plan_send(&other, &w.sizes, w.batch[0], 0, &plan, &error), MOE_BAD_INPUT);
    world_destroy(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kept_token_reaches_its_experts_and_returns),
        cmocka_unit_test(test_a_rank_alone_keeps_its_rows),
        cmocka_unit_test(test_no_tokens_make_empty_plans),
        cmocka_unit_test(test_one_expert_takes_everything),
        cmocka_unit_test(test_experts_need_not_divide_among_ranks),
        cmocka_unit_test(test_there_may_be_more_ranks_than_experts),
        cmocka_unit_test(test_a_rank_may_be_empty),
        cmocka_unit_test(test_one_expert_may_be_hot),
        cmocka_unit_test(test_dropped_tokens_are_neither_sent_nor_summed),
        cmocka_unit_test(test_a_second_expert_may_be_left_out),
        cmocka_unit_test(test_experts_may_be_dealt_round_robin),
        cmocka_unit_test(test_only_equal_blocks_are_uniform),
        cmocka_unit_test(test_rows_are_rearranged_only_where_they_must_be),
        cmocka_unit_test(test_rows_past_the_range_are_refused),
        cmocka_unit_test(test_sizes_of_another_batch_are_refused),
        cmocka_unit_test(test_exact_needs_the_counts_of_its_peers),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
