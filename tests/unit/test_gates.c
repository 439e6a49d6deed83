#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "routing_cases.h"

#define UNIT (1.0 / MOE_WEIGHT_ONE)

/* ---- What is refused ---- */

static void test_impossible_choices_are_refused(void **state)
{
    (void)state;
    moe_routing_spec_t spec = make_spec("softmax", 8, 9, "uniform", 1);
    assert_refused(&spec, "9 distinct experts of 8");
    spec.top_k = 0;
    assert_refused(&spec, "top-k: 0 is not between 1 and 1024");
    spec.top_k = MOE_MAX_TOP_K + 1;
    assert_refused(&spec, "1025");
    spec.top_k = 1;
    spec.experts = 0;
    assert_refused(&spec, "experts: 0");
    spec.experts = MOE_MAX_EXPERTS + 1;
    assert_refused(&spec, "65537 is not between 1 and 65536");
    spec = make_spec("switch", 8, 2, "uniform", 1);
    assert_refused(&spec, "gate 'switch' is defined for top-k 1 only, not 2");
    spec = make_spec("gshard", 8, 1, "uniform", 1);
    assert_refused(&spec, "gate 'gshard' is defined for top-k 2 only, not 1");
    spec.gate = NULL;
    assert_refused(&spec, "gate");
    spec = make_spec("softmax", 8, 2, "hot:9,0.5", 1);
    assert_refused(&spec, "9 hot experts");
}

static void test_layers_past_the_counter_are_refused(void **state)
{
    (void)state;
    const moe_routing_spec_t spec = make_spec("softmax", 8, 2, "uniform", 1);
    moe_error_t error = {0};
    moe_router_t *router = NULL;
    assert_int_equal(moe_router_create(&spec, MOE_MAX_LAYERS, &router, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "65535"));
}

static void test_unknown_gates_name_the_nearest(void **state)
{
    (void)state;
    moe_error_t error = {0};
    const moe_gate_ops_t *gate = NULL;
    assert_int_equal(moe_gate_find("sofmax", &gate, &error), MOE_BAD_INPUT);
    assert_null(gate);
    assert_non_null(strstr(error.text, "'sofmax' (did you mean softmax?)"));
    assert_non_null(strstr(error.text, "softmax, switch, gshard, noisy, group-limited"));
    assert_int_equal(moe_gate_find("", &gate, &error), MOE_BAD_INPUT);
    size_t count = 0;
    for (; (gate = moe_gate_at(count)) != NULL; count++)
        assert_true(strlen(moe_gate_name(gate)) > 0 && strlen(moe_gate_summary(gate)) > 0);
    assert_int_equal(count, 9);
}

/* ---- Distributions ---- */

enum { E = 24, TOKENS = 20000 };

/* Chosen experts are the most probable, heaviest first, and probabilities sum to 1. */
static void check_probabilities(const char *gate, size_t experts, size_t top_k, const char *skew)
{
    enum { FEW = 200, MOST = 300 };
    double probability[MOST];
    moe_router_t *router = make_router(gate, experts, top_k, skew, 31, 1);
    moe_table_t table = make_table(router, 6, 50, FEW);
    for (size_t t = 0; t < FEW; t++) {
        const int32_t *expert = &table.expert[t * top_k];
        double sum = 0, chosen = 0, least = 1;
        moe_router_probabilities(router, 6, 50 + t, probability);
        for (size_t e = 0; e < experts; e++)
            sum += probability[e];
        assert_true(fabs(sum - 1) < 1e-12);
        for (size_t k = 0; k < top_k; k++) {
            if (expert[k] == MOE_NO_EXPERT)
                continue;
            assert_true(probability[expert[k]] <= least);
            least = probability[expert[k]];
            chosen += least;
            probability[expert[k]] = 0;
        }
        for (size_t e = 0; e < experts && expert[top_k - 1] != MOE_NO_EXPERT; e++)
            assert_true(probability[e] <= least);
    }
    moe_table_destroy(&table);
    moe_router_destroy(router);
}

static void test_the_chosen_are_the_most_probable(void **state)
{
    (void)state;
    const char *skews[] = {"uniform", "zipf:1.0", "hot:1,0.9999", "hot:1,1"};
    for (size_t s = 0; s < 4; s++) {
        check_probabilities("softmax", 300, 8, skews[s]);
        check_probabilities("softmax", 5, 5, skews[s]);
        check_probabilities("softmax", 1, 1, skews[s]);
        check_probabilities("switch", 300, 1, skews[s]);
        check_probabilities("gshard", 300, 2, skews[s]);
        check_probabilities("noisy", 299, 4, skews[s]);
    }
    check_probabilities("softmax", 256, 8, "balanced");
    check_probabilities("gshard", 6, 2, "balanced");
}

/* weight_k = p_k / sum of the chosen p, to a unit. */
static void check_renormalised(const char *gate, size_t top_k, const char *skew)
{
    double probability[E];
    moe_router_t *router = make_router(gate, E, top_k, skew, 5, 0);
    moe_table_t table = make_table(router, 0, 0, 300);
    for (size_t t = 0; t < 300; t++) {
        const int32_t *expert = &table.expert[t * top_k];
        double chosen = 0;
        moe_router_probabilities(router, 0, t, probability);
        for (size_t k = 0; k < top_k; k++)
            chosen += probability[expert[k]];
        for (size_t k = 0; k < top_k; k++)
            assert_true(fabs(table.weight[t * top_k + k] - probability[expert[k]] / chosen) < UNIT);
    }
    moe_table_destroy(&table);
    moe_router_destroy(router);
}

static void test_softmax_and_noisy_weights_are_renormalised_over_the_chosen(void **state)
{
    (void)state;
    check_renormalised("softmax", 6, "zipf:1.0");
    check_renormalised("softmax", E, "uniform");
    check_renormalised("noisy", 4, "zipf:1.0");
    check_renormalised("softmax", 6, "balanced");
}

static void test_the_weight_of_switch_is_a_probability_among_all(void **state)
{
    (void)state;
    double probability[E];
    moe_router_t *router = make_router("switch", E, 1, "zipf:1.0", 5, 0);
    moe_table_t table = make_table(router, 0, 0, 300);
    for (size_t t = 0; t < 300; t++) {
        moe_router_probabilities(router, 0, t, probability);
        assert_true(fabs(table.weight[t] - probability[table.expert[t]]) <= UNIT / 2 + 1e-9);
        assert_true(table.weight[t] < 1);
    }
    moe_table_destroy(&table);
    moe_router_destroy(router);
}

/* With one expert there is nothing else: the weight is 1. */
static void test_one_expert_takes_every_token(void **state)
{
    (void)state;
    const char *gates[] = {"softmax", "switch", "noisy"};
    for (size_t g = 0; g < 3; g++) {
        moe_router_t *router = make_router(gates[g], 1, 1, "zipf:1.0", 5, 0);
        moe_table_t table = make_table(router, 0, 0, 20);
        for (size_t t = 0; t < 20; t++)
            assert_true(table.expert[t] == 0 && table.weight[t] == 1);
        moe_table_destroy(&table);
        moe_router_destroy(router);
    }
}

/* The jitter is small: the first choice still follows the popularity. */
static void test_switch_chooses_by_popularity(void **state)
{
    (void)state;
    moe_router_t *router = make_router("switch", E, 1, "zipf:1.0", 5, 0);
    moe_table_t table = make_table(router, 0, 0, TOKENS);
    const double *p = moe_router_popularity(router);
    double times[E] = {0};
    for (size_t t = 0; t < TOKENS; t++)
        times[table.expert[t]] += 1;
    for (size_t e = 0; e < E; e++) {
        const double error = sqrt(p[e] * (1 - p[e]) / TOKENS);
        /* 1 % of a logit of about -ln p moves a probability by less than 5 %. */
        assert_true(fabs(times[e] / TOKENS - p[e]) < 4.5 * error + 0.05 * p[e]);
    }
    moe_table_destroy(&table);
    moe_router_destroy(router);
}

/* GShard, arXiv 2006.16668, algorithm 1: with probability min(1, 2 g2). */
static void test_gshard_keeps_the_second_expert_with_twice_its_weight(void **state)
{
    (void)state;
    double probability[E], expected = 0, variance = 0, kept = 0;
    moe_router_t *router = make_router("gshard", E, 2, "uniform", 5, 0);
    moe_table_t table = make_table(router, 0, 0, TOKENS);
    for (size_t t = 0; t < TOKENS; t++) {
        double first = 0, second = 0;
        moe_router_probabilities(router, 0, t, probability);
        for (size_t e = 0; e < E; e++) {
            if (probability[e] > first) {
                second = first;
                first = probability[e];
            } else if (probability[e] > second) {
                second = probability[e];
            }
        }
        const double g2 = second / (first + second), keep = fmin(1, 2 * g2);
        expected += keep;
        variance += keep * (1 - keep);
        assert_true(fabs(table.weight[2 * t] - (1 - g2)) < UNIT);
        if (table.expert[2 * t + 1] == MOE_NO_EXPERT) {
            assert_true(table.weight[2 * t + 1] == 0);
        } else {
            kept += 1;
            assert_true(fabs(table.weight[2 * t + 1] - g2) < UNIT);
            assert_true(table.weight[2 * t] + table.weight[2 * t + 1] == 1);
        }
    }
    assert_true(kept > 0 && kept < TOKENS);
    assert_true(fabs(kept - expected) < 4.5 * sqrt(variance));
    moe_table_destroy(&table);
    moe_router_destroy(router);
}

/* Variance of the difference of two experts' logits, over tokens. */
static double logit_variance(const char *gate, size_t top_k)
{
    double probability[E], sum = 0, squares = 0;
    moe_router_t *router = make_router(gate, E, top_k, "uniform", 8, 0);
    for (uint64_t t = 0; t < TOKENS; t++) {
        moe_router_probabilities(router, 0, t, probability);
        const double difference = log(probability[2] / probability[15]);
        sum += difference;
        squares += difference * difference;
    }
    moe_router_destroy(router);
    return squares / TOKENS - sum / TOKENS * (sum / TOKENS);
}

static void test_logits_vary_as_gumbel_and_the_noise_of_shazeer(void **state)
{
    (void)state;
    /* A Gumbel has variance pi^2 / 6; the noise of arXiv 1701.06538 at softplus(0) adds (ln 2)^2.
     * The difference of two Gumbels is logistic, of kurtosis 4.2: standard error below. */
    const double gumbel = 2 * M_PI * M_PI / 6, noise = 2 * log(2) * log(2);
    const double error = sqrt(3.2 / TOKENS);
    assert_true(fabs(logit_variance("softmax", 4) / gumbel - 1) < 4.5 * error);
    assert_true(fabs(logit_variance("gshard", 2) / gumbel - 1) < 4.5 * error);
    assert_true(fabs(logit_variance("switch", 1) / gumbel - 1) < 4.5 * error);
    assert_true(fabs(logit_variance("noisy", 4) / (gumbel + noise) - 1) < 4.5 * error);
}

static void test_gates_route_no_tokens(void **state)
{
    (void)state;
    const struct {
        const char *gate;
        size_t top_k;
    } cases[] = {{"softmax", 2}, {"switch", 1}, {"gshard", 2}, {"noisy", 2}};
    for (size_t i = 0; i < 4; i++) {
        moe_router_t *router = make_router(cases[i].gate, 4, cases[i].top_k, "uniform", 1, 0);
        moe_table_t table = make_table(router, 0, 0, 0);
        moe_table_destroy(&table);
        moe_router_destroy(router);
    }
}

/* Nothing is dropped where loads are to be equal. */
static void test_balanced_keeps_every_choice_whatever_the_gate(void **state)
{
    (void)state;
    moe_router_t *router = make_router("gshard", 8, 2, "balanced", 1, 0);
    moe_table_t table = make_table(router, 0, 0, 400);
    size_t counts[8] = {0};
    for (size_t i = 0; i < 800; i++) {
        assert_int_not_equal(table.expert[i], MOE_NO_EXPERT);
        counts[table.expert[i]]++;
    }
    for (size_t e = 0; e < 8; e++)
        assert_int_equal(counts[e], 100);
    moe_table_destroy(&table);
    moe_router_destroy(router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_impossible_choices_are_refused),
        cmocka_unit_test(test_layers_past_the_counter_are_refused),
        cmocka_unit_test(test_unknown_gates_name_the_nearest),
        cmocka_unit_test(test_the_chosen_are_the_most_probable),
        cmocka_unit_test(test_softmax_and_noisy_weights_are_renormalised_over_the_chosen),
        cmocka_unit_test(test_the_weight_of_switch_is_a_probability_among_all),
        cmocka_unit_test(test_one_expert_takes_every_token),
        cmocka_unit_test(test_switch_chooses_by_popularity),
        cmocka_unit_test(test_gshard_keeps_the_second_expert_with_twice_its_weight),
        cmocka_unit_test(test_logits_vary_as_gumbel_and_the_noise_of_shazeer),
        cmocka_unit_test(test_gates_route_no_tokens),
        cmocka_unit_test(test_balanced_keeps_every_choice_whatever_the_gate),
    };
    return cmocka_run_group_tests_name("routing", tests, NULL, NULL);
}
