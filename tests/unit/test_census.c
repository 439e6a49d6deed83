/* Load figures of a run, added up over ranks and averaged over layers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "world.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define NEAR 1e-12

static void assert_near(double value, double expected)
{
    assert_true(fabs(value - expected) <= NEAR * (1 + fabs(expected)));
}

static void assert_same_load(const moe_load_t *a, const moe_load_t *b)
{
    assert_near(a->max_over_mean, b->max_over_mean);
    assert_near(a->cv, b->cv);
    assert_near(a->gini, b->gini);
    assert_near(a->hottest_share, b->hottest_share);
}

static void assert_same_report(const moe_census_report_t *a, const moe_census_report_t *b)
{
    assert_same_load(&a->expert, &b->expert);
    assert_same_load(&a->rank, &b->rank);
    assert_near(a->aux_loss, b->aux_loss);
    assert_near(a->importance_cv2, b->importance_cv2);
    assert_int_equal(a->gate_tokens, b->gate_tokens);
    assert_int_equal(a->tokens, b->tokens);
    assert_int_equal(a->selections, b->selections);
    assert_int_equal(a->kept, b->kept);
    assert_near(a->drop_share, b->drop_share);
    assert_near(a->padding_share, b->padding_share);
    assert_true(a->hash == b->hash);
}

/* ---- By hand ---- */

#define EXPERTS 4
#define TOP_K   2
#define MOST    3 /* tokens of a rank */

/* A batch whose choices are given. */
typedef struct by_hand {
    moe_batch_t batch;
    int32_t expert[MOST * TOP_K];
    float weight[MOST * TOP_K];
    uint8_t kept[MOST * TOP_K];
    size_t selected[EXPERTS], counts[EXPERTS];
} by_hand_t;

/* Tokens keep their place: of an expert's selections the first `slots` are kept. */
static void choose(by_hand_t *b, uint64_t first_token, size_t tokens, const int32_t *expert,
                   size_t slots)
{
    *b = (by_hand_t){.batch = {.slots = slots}};
    moe_batch_t *batch = &b->batch;
    batch->table = (moe_table_t){.first_token = first_token,
                                 .tokens = tokens,
                                 .top_k = TOP_K,
                                 .expert = b->expert,
                                 .weight = b->weight};
    batch->kept = b->kept;
    batch->selected = b->selected;
    batch->counts = b->counts;
    for (size_t i = 0; i < tokens * TOP_K; i++) {
        const int32_t e = b->expert[i] = expert[i];
        if (e == MOE_NO_EXPERT)
            continue;
        b->selected[e]++;
        batch->selections++;
        if (slots == 0 || b->counts[e] < slots) {
            b->kept[i] = 1;
            b->counts[e]++;
            batch->kept_selections++;
        }
    }
}

/* Two ranks, blocks of two experts; expert loads 4, 3, 1, 1, rank loads 7, 2. */
static const int32_t first_choices[] = {0, 1, 0, 2, 3, 0};
static const int32_t second_choices[] = {0, 1, 1, MOE_NO_EXPERT};

static void create_hand_made(world_t *w, double factor, by_hand_t batches[2])
{
    const world_spec_t spec = {.experts = EXPERTS,
                               .top_k = TOP_K,
                               .ranks = 2,
                               .tokens = 3,
                               .capacity = {.factor = factor},
                               .seed = 1};
    world_create(w, &spec);
    w->tokens[1] = 2;
    /* 3 tokens * 2 / 4 experts * 1.3, rounded up, are 2 slots. */
    choose(&batches[0], 0, 3, first_choices, factor > 0 ? 2 : 0);
    choose(&batches[1], 3, 2, second_choices, factor > 0 ? 2 : 0);
}

static void census_of(const world_t *w, const by_hand_t *batches, const size_t *order, size_t count,
                      moe_census_report_t *out)
{
    moe_census_t census;
    assert_int_equal(moe_census_create(w->experts, w->ranks, &census, NULL), MOE_OK);
    for (size_t i = 0; i < count; i++)
        moe_census_add(&census, &w->workload, &batches[order[i]].batch, 0, 1);
    moe_census_summarise(&census, out);
    moe_census_destroy(&census);
}

static const size_t both[] = {0, 1};

static void test_loads_are_counted_by_expert_and_by_rank(void **state)
{
    (void)state;
    world_t w;
    by_hand_t batches[2];
    moe_census_report_t report;
    create_hand_made(&w, 0, batches);
    census_of(&w, batches, both, 2, &report);
    assert_int_equal(report.tokens, 5);
    assert_int_equal(report.selections, 9);
    assert_int_equal(report.kept, 9);
    assert_near(report.expert.max_over_mean, 16.0 / 9);
    assert_near(report.expert.cv, 1 / sqrt(3)); /* squares 6.75 / 4, mean 9/4 */
    assert_near(report.expert.gini, 11.0 / 36); /* differences of pairs: 1 + 3 + 3 + 2 + 2 + 0 */
    assert_near(report.expert.hottest_share, 4.0 / 9);
    assert_near(report.rank.max_over_mean, 14.0 / 9);
    assert_near(report.rank.hottest_share, 7.0 / 9);
    assert_near(report.rank.gini, 5.0 / 18);
    assert_near(report.drop_share, 0);
    assert_near(report.padding_share, -1); /* no capacity, no slots */
    world_destroy(&w);
}

static void test_drops_and_padding_are_shares_of_selections_and_slots(void **state)
{
    (void)state;
    world_t w;
    by_hand_t batches[2];
    moe_census_report_t report;
    create_hand_made(&w, 1.3, batches);
    census_of(&w, batches, both, 2, &report);
    assert_int_equal(report.selections, 9); /* loads are those of the gate, before drops */
    assert_near(report.expert.hottest_share, 4.0 / 9);
    assert_int_equal(report.kept, 8); /* one of the three that chose expert 0 on rank 0 */
    assert_near(report.drop_share, 1.0 / 9);
    assert_near(report.padding_share, 1 - 8.0 / 16); /* 2 slots * 4 experts * 2 ranks */
    world_destroy(&w);
}

static void test_slots_of_an_empty_rank_are_padding_too(void **state)
{
    /* `padded` sends blocks of the fullest rank's capacity from every rank. */
    (void)state;
    world_t w;
    by_hand_t batches[2];
    moe_census_report_t report;
    create_hand_made(&w, 1.3, batches);
    w.tokens[1] = 0;
    choose(&batches[1], 3, 0, NULL, 0);
    census_of(&w, batches, both, 2, &report);
    moe_flow_t flow;
    moe_sent_t sent = {.rows = (size_t[2]){0}, .tokens = (size_t[2]){0}};
    assert_int_equal(moe_flow_create(2, 1, 1, &flow, NULL), MOE_OK);
    moe_sizes_of(&w.workload, 0, &w.sizes);
    for (size_t r = 0; r < 2; r++) {
        moe_style_count_rows(style_named("padded"), &w.sizes, batches[r].counts, &sent);
        moe_flow_add(&flow, r, &sent, batches[r].batch.kept_selections, false);
    }
    assert_near(report.padding_share, 1 - (double)flow.bytes.useful / (double)flow.bytes.logical);
    assert_near(report.padding_share, 1 - 5.0 / 16);
    moe_flow_destroy(&flow);
    world_destroy(&w);
}

static void test_first_choices_and_probabilities_make_the_loss(void **state)
{
    (void)state;
    world_t w;
    by_hand_t batches[2];
    moe_census_report_t report;
    create_hand_made(&w, 0, batches);
    census_of(&w, batches, both, 2, &report);
    assert_int_equal(report.gate_tokens, 5);
    /* First choices: 0, 0, 3, 0, 1. */
    const double share[EXPERTS] = {3.0 / 5, 1.0 / 5, 0, 1.0 / 5};
    double mean[EXPERTS] = {0}, one[EXPERTS], loss = 0;
    for (uint64_t token = 0; token < 5; token++) {
        moe_router_probabilities(w.router, w.workload.step, token, one);
        for (size_t e = 0; e < EXPERTS; e++)
            mean[e] += one[e] / 5;
    }
    double squares = 0;
    for (size_t e = 0; e < EXPERTS; e++) {
        loss += share[e] * mean[e] / EXPERTS;
        squares += (mean[e] * EXPERTS - 1) * (mean[e] * EXPERTS - 1) / EXPERTS;
    }
    assert_near(report.aux_loss, loss);
    assert_near(report.importance_cv2, squares);
    world_destroy(&w);
}

/* ---- Over ranks ---- */

static void census_in_order(const world_t *w, const size_t *order, moe_census_report_t *out)
{
    moe_census_t census;
    assert_int_equal(moe_census_create(w->experts, w->ranks, &census, NULL), MOE_OK);
    for (size_t i = 0; i < w->ranks; i++)
        moe_census_add(&census, &w->workload, w->batch[order[i]], 0, 1);
    moe_census_summarise(&census, out);
    moe_census_destroy(&census);
}

static const world_spec_t traffic = {.skew = "zipf:1.0",
                                     .experts = 12,
                                     .top_k = 3,
                                     .ranks = 4,
                                     .tokens = 50,
                                     .capacity = {.factor = 1.25},
                                     .seed = 2};

static void test_the_order_of_ranks_does_not_matter(void **state)
{
    (void)state;
    static const size_t orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}};
    world_t w;
    world_create(&w, &traffic);
    moe_census_report_t first, other;
    census_in_order(&w, orders[0], &first);
    assert_int_equal(first.tokens, 200);
    assert_true(first.drop_share > 0 && first.padding_share > 0);
    for (size_t i = 1; i < LENGTH(orders); i++) {
        census_in_order(&w, orders[i], &other);
        assert_same_report(&first, &other);
    }
    world_destroy(&w);
}

/* As a run does it: every rank adds its own, one reduction adds the ranks. */
static void test_sums_of_ranks_are_the_census_of_all(void **state)
{
    (void)state;
    static const size_t order[] = {0, 1, 2, 3};
    world_t w;
    world_create(&w, &traffic);
    moe_census_t all, own;
    moe_census_report_t expected, report;
    census_in_order(&w, order, &expected);
    assert_int_equal(moe_census_create(w.experts, w.ranks, &all, NULL), MOE_OK);
    for (size_t r = 0; r < w.ranks; r++) {
        assert_int_equal(moe_census_create(w.experts, w.ranks, &own, NULL), MOE_OK);
        moe_census_add(&own, &w.workload, w.batch[r], 0, 1);
        for (size_t i = 0; i < own.count; i++)
            all.sums[i] += own.sums[i];
        for (size_t e = 0; e < w.experts; e++) {
            all.gates.first_choice[e] += own.gates.first_choice[e];
            all.gates.probability[e] += own.gates.probability[e];
        }
        all.gates.tokens += own.gates.tokens;
        moe_census_destroy(&own);
    }
    moe_census_summarise(&all, &report);
    assert_same_report(&expected, &report);
    moe_census_destroy(&all);
    world_destroy(&w);
}

static void test_as_many_tokens_on_fewer_ranks_choose_the_same(void **state)
{
    (void)state;
    static const size_t order[] = {0, 1, 2, 3};
    moe_census_report_t four, two;
    world_spec_t spec = traffic;
    spec.capacity.factor = 0;
    world_t w;
    world_create(&w, &spec);
    census_in_order(&w, order, &four);
    world_destroy(&w);
    spec.ranks = 2;
    spec.tokens = 100;
    world_create(&w, &spec);
    census_in_order(&w, order, &two);
    world_destroy(&w);
    assert_true(four.hash == two.hash);
    assert_int_equal(four.selections, two.selections);
    assert_same_load(&four.expert, &two.expert);
    assert_near(four.aux_loss, two.aux_loss);
}

static void test_the_hash_is_that_of_the_tables(void **state)
{
    (void)state;
    static const size_t order[] = {0, 1, 2, 3};
    world_t w;
    world_create(&w, &traffic);
    uint64_t hash = 0;
    for (size_t r = 0; r < w.ranks; r++)
        hash += moe_table_hash(&w.batch[r]->table, moe_router_layer(w.router), w.workload.step);
    moe_census_report_t report;
    census_in_order(&w, order, &report);
    assert_true(report.hash == hash && hash != 0);
    /* One other choice is another hash. */
    int32_t *choice = &w.batch[2]->table.expert[7];
    *choice = (*choice + 1) % (int32_t)w.experts;
    census_in_order(&w, order, &report);
    assert_true(report.hash != hash);
    world_destroy(&w);
}

static void test_groups_of_a_run_have_their_own_ranks(void **state)
{
    (void)state;
    world_t w;
    by_hand_t batches[2];
    create_hand_made(&w, 0, batches);
    moe_census_t census;
    assert_int_equal(moe_census_create(EXPERTS, 4, &census, NULL), MOE_OK);
    moe_census_add(&census, &w.workload, &batches[0].batch, 0, 1); /* the first group */
    moe_census_add(&census, &w.workload, &batches[1].batch, 2, 1); /* the second */
    const size_t expected[] = {4, 3, 1, 1, 4, 2, 3, 0};
    assert_memory_equal(census.sums, expected, sizeof expected);
    moe_census_destroy(&census);
    world_destroy(&w);
}

static void test_every_nth_token_enters_the_loss(void **state)
{
    (void)state;
    world_t w;
    world_create(&w, &traffic);
    moe_census_t census;
    moe_census_report_t report;
    assert_int_equal(moe_census_create(w.experts, w.ranks, &census, NULL), MOE_OK);
    moe_census_add(&census, &w.workload, w.batch[0], 0, 7);
    moe_census_summarise(&census, &report);
    assert_int_equal(report.gate_tokens, 8); /* 0, 7, ... 49 */
    assert_int_equal(report.tokens, 50);     /* loads are of all */
    moe_census_destroy(&census);
    world_destroy(&w);
}

static void test_nothing_counted_is_all_zeros(void **state)
{
    (void)state;
    moe_census_t census;
    moe_census_report_t report;
    assert_int_equal(moe_census_create(3, 2, &census, NULL), MOE_OK);
    moe_census_summarise(&census, &report);
    const moe_census_report_t nothing = {.padding_share = -1};
    assert_same_report(&report, &nothing);
    assert_near(report.expert.cv, 0); /* not NaN */
    moe_census_destroy(&census);
}

/* ---- Over layers ---- */

static moe_census_report_t report_of(double x, uint64_t hash)
{
    return (moe_census_report_t){.expert = {x, 2 * x, 3 * x, 4 * x},
                                 .rank = {5 * x, 6 * x, 7 * x, 8 * x},
                                 .aux_loss = 9 * x,
                                 .importance_cv2 = 10 * x,
                                 .gate_tokens = 11,
                                 .tokens = 12,
                                 .selections = 13,
                                 .kept = 14,
                                 .drop_share = 15 * x,
                                 .padding_share = 16 * x,
                                 .hash = hash};
}

static void test_layers_are_averaged_and_their_counts_added(void **state)
{
    (void)state;
    const moe_census_report_t layers[] = {report_of(1, UINT64_MAX), report_of(2, 3),
                                          report_of(6, 5)};
    moe_census_report_t mean, expected = report_of(3, 7); /* modulo 2^64 */
    expected.gate_tokens = 33;
    expected.tokens = 36;
    expected.selections = 39;
    expected.kept = 42;
    moe_census_mean(layers, LENGTH(layers), &mean);
    assert_same_report(&mean, &expected);
    moe_census_mean(layers, 1, &mean);
    assert_same_report(&mean, &layers[0]);
}

static void test_no_layer_with_a_capacity_has_no_padding(void **state)
{
    (void)state;
    moe_census_report_t layers[61], mean;
    for (size_t i = 0; i < LENGTH(layers); i++)
        layers[i] = (moe_census_report_t){.padding_share = -1};
    for (size_t n = 1; n <= LENGTH(layers); n++) {
        moe_census_mean(layers, n, &mean);
        assert_near(mean.padding_share, -1);
    }
}

static void test_the_mean_of_layers_shows_the_skew_that_their_sum_hides(void **state)
{
    (void)state;
    /* Each layer sends all to one expert, each to another one. */
    moe_census_report_t layers[EXPERTS], mean;
    for (size_t l = 0; l < EXPERTS; l++) {
        size_t counts[EXPERTS] = {0};
        counts[l] = 10;
        layers[l] = (moe_census_report_t){0};
        moe_load_of(counts, EXPERTS, &layers[l].expert);
    }
    moe_census_mean(layers, EXPERTS, &mean);
    assert_near(mean.expert.max_over_mean, EXPERTS);
    assert_near(mean.expert.hottest_share, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loads_are_counted_by_expert_and_by_rank),
        cmocka_unit_test(test_drops_and_padding_are_shares_of_selections_and_slots),
        cmocka_unit_test(test_slots_of_an_empty_rank_are_padding_too),
        cmocka_unit_test(test_first_choices_and_probabilities_make_the_loss),
        cmocka_unit_test(test_the_order_of_ranks_does_not_matter),
        cmocka_unit_test(test_sums_of_ranks_are_the_census_of_all),
        cmocka_unit_test(test_as_many_tokens_on_fewer_ranks_choose_the_same),
        cmocka_unit_test(test_the_hash_is_that_of_the_tables),
        cmocka_unit_test(test_groups_of_a_run_have_their_own_ranks),
        cmocka_unit_test(test_every_nth_token_enters_the_loss),
        cmocka_unit_test(test_nothing_counted_is_all_zeros),
        cmocka_unit_test(test_layers_are_averaged_and_their_counts_added),
        cmocka_unit_test(test_no_layer_with_a_capacity_has_no_padding),
        cmocka_unit_test(test_the_mean_of_layers_shows_the_skew_that_their_sum_hides),
    };
    return cmocka_run_group_tests_name("traffic", tests, NULL, NULL);
}
