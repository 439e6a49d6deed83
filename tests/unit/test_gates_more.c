/* Gates that choose by more than a token's own softmax: sigmoid with bias, hash, and those that look at
 * all tokens of a rank together. */
#include <math.h>
#include <stdlib.h>

#include "routing_cases.h"

enum { EXPERTS = 32 };

static void count_choices(const moe_table_t *table, size_t *counts, size_t experts)
{
    memset(counts, 0, experts * sizeof *counts);
    for (size_t i = 0; i < table->tokens * table->top_k; i++) {
        if (table->expert[i] != MOE_NO_EXPERT)
            counts[table->expert[i]]++;
    }
}

static moe_table_t route_all(const moe_router_t *router, uint32_t step, uint64_t first,
                             size_t tokens)
{
    moe_table_t table;
    const size_t slots = moe_routing_slots(moe_router_spec(router));
    assert_int_equal(moe_table_create(tokens, slots, &table, NULL), MOE_OK);
    assert_int_equal(moe_router_route(router, step, first, &table, NULL), MOE_OK);
    return table;
}

/* What every table owes: experts distinct and known, weights multiples of a unit, descending, of a sum of
 * at most 1, and none with no expert. */
static void assert_sound(const moe_table_t *table, size_t experts)
{
    for (size_t t = 0; t < table->tokens; t++) {
        const int32_t *expert = &table->expert[t * table->top_k];
        const float *weight = &table->weight[t * table->top_k];
        double sum = 0;
        bool ended = false;
        for (size_t k = 0; k < table->top_k; k++) {
            const double units = (double)weight[k] * MOE_WEIGHT_ONE;
            assert_true(units == floor(units) && units >= 0);
            assert_true(k == 0 || weight[k] <= weight[k - 1]);
            sum += (double)weight[k];
            assert_true(!ended || expert[k] == MOE_NO_EXPERT);
            ended = expert[k] == MOE_NO_EXPERT;
            assert_true(!ended || weight[k] == 0);
            assert_true(ended || (expert[k] >= 0 && (size_t)expert[k] < experts));
            for (size_t j = 0; j < k && !ended; j++)
                assert_true(expert[j] != expert[k]);
        }
        assert_true(sum <= 1);
    }
}

static void test_tables_of_every_gate_are_sound(void **state)
{
    (void)state;
    static const size_t shapes[][2] = {{1, 1}, {5, 5}, {32, 1}, {32, 4}, {300, 8}};
    static const char *const skews[] = {"uniform", "zipf:1.5", "hot:1,1", "balanced"};
    const moe_gate_ops_t *gate;
    for (size_t g = 0; (gate = moe_gate_at(g)) != NULL; g++) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            for (size_t k = 0; k < 4; k++) {
                moe_routing_spec_t spec =
                    make_spec(moe_gate_name(gate), shapes[s][0], shapes[s][1], skews[k], 3);
                moe_router_t *router = NULL;
                spec.n_group = spec.topk_group = 1;
                if (moe_router_create(&spec, 1, &router, NULL) != MOE_OK)
                    continue; /* defined for one top-k only */
                for (size_t tokens = 0; tokens < 100; tokens = 3 * tokens + 1) {
                    moe_table_t table = route_all(router, 2, 1000, tokens);
                    assert_sound(&table, spec.experts);
                    moe_table_destroy(&table);
                }
                moe_router_destroy(router);
            }
        }
    }
}

static void test_sigmoid_has_the_loads_of_the_popularity(void **state)
{
    (void)state;
    enum { TOKENS = 20000 };
    size_t counts[EXPERTS], softmax[EXPERTS];
    static const char *const names[] = {"sigmoid", "softmax"};
    size_t *const into[] = {counts, softmax};
    for (size_t g = 0; g < 2; g++) {
        moe_router_t *router = make_router(names[g], EXPERTS, 4, "zipf:1.0", 9, 0);
        moe_table_t table = route_all(router, 0, 0, TOKENS);
        count_choices(&table, into[g], EXPERTS);
        moe_table_destroy(&table);
        moe_router_destroy(router);
    }
    for (size_t e = 0; e < EXPERTS; e++) {
        const double of_softmax = (double)softmax[e];
        if (fabs((double)counts[e] - of_softmax) > 0.25 * of_softmax)
            fail_msg("expert %zu: %zu, with softmax %zu", e, counts[e], softmax[e]);
    }
}

static void test_the_bias_of_sigmoid_is_not_in_its_weights(void **state)
{
    (void)state;
    double probability[EXPERTS];
    size_t against_affinity = 0;
    moe_router_t *router = make_router("sigmoid", EXPERTS, 4, "zipf:1.0", 9, 0);
    moe_table_t table = route_all(router, 0, 0, 500);
    for (size_t t = 0; t < 500; t++) {
        const int32_t *expert = &table.expert[t * 4];
        double chosen = 0;
        moe_router_probabilities(router, 0, t, probability);
        for (size_t k = 0; k < 4; k++)
            chosen += probability[expert[k]];
        for (size_t k = 0; k < 4; k++) {
            const double wanted = probability[expert[k]] / chosen;
            assert_true(fabs((double)table.weight[t * 4 + k] - wanted) < 2.0 / MOE_WEIGHT_ONE);
        }
        for (size_t e = 0; e < EXPERTS; e++)
            against_affinity += probability[e] > probability[expert[3]];
    }
    assert_true(against_affinity > 100); /* better liked, and not chosen: the bias decided */
    moe_table_destroy(&table);
    moe_router_destroy(router);
}

static void test_sigmoid_keeps_to_groups_where_there_are(void **state)
{
    (void)state;
    moe_routing_spec_t spec = make_spec("sigmoid", EXPERTS, 4, "zipf:0.5", 9);
    moe_router_t *router = NULL;
    spec.n_group = 8;
    spec.topk_group = 2;
    assert_int_equal(moe_router_create(&spec, 0, &router, NULL), MOE_OK);
    moe_table_t table = route_all(router, 0, 0, 300);
    for (size_t t = 0; t < 300; t++) {
        bool used[8] = {0};
        size_t groups = 0;
        for (size_t k = 0; k < 4; k++) {
            bool *group = &used[table.expert[t * 4 + k] / 4];
            groups += !*group;
            *group = true;
        }
        assert_true(groups <= 2);
    }
    moe_table_destroy(&table);
    moe_router_destroy(router);
    spec.topk_group = 9;
    assert_refused(&spec, "--topk-group 9");
}

static void test_sinkhorn_evens_out_any_popularity(void **state)
{
    (void)state;
    static const size_t top_ks[] = {1, 4};
    for (size_t i = 0; i < 2; i++) {
        size_t counts[EXPERTS];
        moe_load_t load;
        moe_router_t *router = make_router("sinkhorn", EXPERTS, top_ks[i], "zipf:1.5", 9, 0);
        moe_table_t table = route_all(router, 0, 0, 4000);
        count_choices(&table, counts, EXPERTS);
        moe_load_of(counts, EXPERTS, &load);
        assert_true(load.max_over_mean < 1.3);
        moe_table_destroy(&table);
        moe_router_destroy(router);
    }
}

static void test_expert_choice_gives_every_expert_its_capacity(void **state)
{
    (void)state;
    enum { TOKENS = 1000, TOP_K = 2 };
    size_t counts[EXPERTS], with[5] = {0};
    moe_router_t *router = make_router("expert-choice", EXPERTS, TOP_K, "zipf:1.0", 9, 0);
    assert_int_equal(moe_routing_slots(moe_router_spec(router)), 8);
    moe_table_t table = route_all(router, 0, 0, TOKENS);
    count_choices(&table, counts, EXPERTS);
    const size_t capacity = (TOKENS * TOP_K + EXPERTS - 1) / EXPERTS;
    for (size_t e = 0; e < EXPERTS; e++) /* a token that too many want leaves the lightest out */
        assert_true(counts[e] <= capacity && counts[e] + 5 >= capacity);
    for (size_t t = 0; t < TOKENS; t++) {
        size_t taken = 0;
        while (taken < table.top_k && table.expert[t * table.top_k + taken] != MOE_NO_EXPERT)
            taken++;
        with[taken < 4 ? taken : 4]++;
    }
    for (size_t n = 0; n < 5; n++) /* from none to many */
        assert_true(with[n] > 0);
    moe_table_destroy(&table);
    moe_router_destroy(router);
}

static void test_expert_choice_of_a_single_token_fills_its_places(void **state)
{
    (void)state;
    moe_router_t *router = make_router("expert-choice", 64, 2, "uniform", 9, 0);
    moe_table_t table = route_all(router, 0, 0, 1);
    for (size_t k = 0; k < 8; k++)
        assert_true(table.expert[k] != MOE_NO_EXPERT);
    moe_table_destroy(&table);
    moe_router_destroy(router);
}

static void test_a_batch_gate_depends_on_the_tokens_beside(void **state)
{
    (void)state;
    static const char *const names[] = {"sinkhorn", "expert-choice"};
    for (size_t g = 0; g < 2; g++) {
        moe_router_t *router = make_router(names[g], 8, 2, "zipf:1.0", 9, 0);
        moe_table_t both = route_all(router, 0, 0, 64), again = route_all(router, 0, 0, 64);
        moe_table_t half = route_all(router, 0, 0, 32);
        const size_t bytes = 32 * both.top_k * sizeof *both.expert;
        assert_memory_equal(both.expert, again.expert, 2 * bytes);
        assert_memory_not_equal(both.expert, half.expert, bytes);
        assert_int_equal(moe_routing_bytes(moe_router_spec(router), 64), 64 * 8 * sizeof(double));
        moe_table_destroy(&half);
        moe_table_destroy(&again);
        moe_table_destroy(&both);
        moe_router_destroy(router);
    }
}

static void test_hash_sends_a_word_to_its_experts_at_every_step(void **state)
{
    (void)state;
    enum { TOKENS = 4000, TOP_K = 2 };
    moe_router_t *router = make_router("hash", EXPERTS, TOP_K, "uniform", 9, 0);
    size_t pairs[EXPERTS][EXPERTS] = {{0}}, most = 0, counts[EXPERTS];
    moe_load_t load;
    int32_t commonest[2] = {0};
    for (uint32_t step = 0; step < 2; step++) {
        moe_table_t table = route_all(router, step, 0, TOKENS);
        memset(pairs, 0, sizeof pairs);
        most = 0;
        for (size_t t = 0; t < TOKENS; t++) {
            const int32_t a = table.expert[t * 2], b = table.expert[t * 2 + 1];
            assert_true(table.weight[t * 2] == 0.5F && table.weight[t * 2 + 1] == 0.5F);
            if (++pairs[a][b] > most) {
                most = pairs[a][b];
                commonest[step] = a * EXPERTS + b;
            }
        }
        count_choices(&table, counts, EXPERTS);
        moe_table_destroy(&table);
    }
    assert_int_equal(commonest[0], commonest[1]); /* of the commonest word */
    assert_true(most > TOKENS / 25);              /* ln 2 / ln 32001 = 6.7 % of all words */
    moe_load_of(counts, EXPERTS, &load);
    assert_true(load.max_over_mean > 1.3); /* words are uneven, and so are loads */
    moe_router_destroy(router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_of_every_gate_are_sound),
        cmocka_unit_test(test_sigmoid_has_the_loads_of_the_popularity),
        cmocka_unit_test(test_the_bias_of_sigmoid_is_not_in_its_weights),
        cmocka_unit_test(test_sigmoid_keeps_to_groups_where_there_are),
        cmocka_unit_test(test_sinkhorn_evens_out_any_popularity),
        cmocka_unit_test(test_expert_choice_gives_every_expert_its_capacity),
        cmocka_unit_test(test_expert_choice_of_a_single_token_fills_its_places),
        cmocka_unit_test(test_a_batch_gate_depends_on_the_tokens_beside),
        cmocka_unit_test(test_hash_sends_a_word_to_its_experts_at_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
