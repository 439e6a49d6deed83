#include <math.h>
#include <string.h>

#include "routing_cases.h"

static void assert_near(double got, double expected)
{
    if (!(fabs(got - expected) < 1e-12))
        fail_msg("%.15g is not %.15g", got, expected);
}

static void test_load_figures_of_a_hand_case(void **state)
{
    (void)state;
    const size_t counts[] = {3, 1, 4, 2};
    moe_load_t load;
    moe_load_of(counts, 4, &load);
    assert_near(load.max_over_mean, 1.6);
    assert_near(load.cv, sqrt(1.25) / 2.5);
    assert_near(load.gini, 0.25); /* pairs differ by 10 in all; 10 / (4 * 10) */
    assert_near(load.hottest_share, 0.4);
}

static void test_equal_loads_have_no_spread(void **state)
{
    (void)state;
    size_t counts[100];
    moe_load_t load;
    for (size_t i = 0; i < 100; i++)
        counts[i] = 7;
    for (size_t bins = 1; bins <= 100; bins += 33) {
        moe_load_of(counts, bins, &load);
        assert_near(load.max_over_mean, 1);
        assert_near(load.cv, 0);
        assert_near(load.gini, 0);
        assert_near(load.hottest_share, 1.0 / (double)bins);
    }
}

static void test_one_bin_with_everything_is_the_most_uneven(void **state)
{
    (void)state;
    size_t counts[100] = {0};
    counts[17] = 5;
    const size_t sizes[] = {18, 32, 33, 100};
    for (size_t i = 0; i < 4; i++) {
        const double n = (double)sizes[i];
        moe_load_t load;
        moe_load_of(counts, sizes[i], &load);
        assert_near(load.max_over_mean, n);
        assert_near(load.cv, sqrt(n - 1));
        assert_near(load.gini, (n - 1) / n);
        assert_near(load.hottest_share, 1);
    }
}

/* Of 1 ... n, in any order: (n - 1) / (3 n). */
static void test_gini_of_a_ramp_for_few_and_many_bins(void **state)
{
    (void)state;
    size_t counts[1000];
    const size_t sizes[] = {2, 31, 32, 33, 1000};
    for (size_t i = 0; i < 5; i++) {
        const size_t n = sizes[i];
        moe_load_t load;
        for (size_t j = 0; j < n; j++)
            counts[j] = n % 7 == 0 ? n - j : (j * 7) % n + 1; /* 7 and n have no common factor */
        moe_load_of(counts, n, &load);
        assert_near(load.gini, ((double)n - 1) / (3 * (double)n));
    }
}

static void test_nothing_counted_gives_zeros(void **state)
{
    (void)state;
    const size_t counts[3] = {0};
    const moe_load_t zeros = {0};
    moe_load_t load = {1, 1, 1, 1};
    moe_load_of(counts, 3, &load);
    assert_memory_equal(&load, &zeros, sizeof load);
    load.cv = 1;
    moe_load_of(counts, 0, &load);
    assert_memory_equal(&load, &zeros, sizeof load);
}

static void test_counts_past_32_bits_are_counted(void **state)
{
    (void)state;
    const size_t counts[] = {(size_t)3 << 40, (size_t)1 << 40};
    moe_load_t load;
    moe_load_of(counts, 2, &load);
    assert_near(load.max_over_mean, 1.5);
    assert_near(load.gini, 0.25);
}

/* ---- Losses ---- */

/* l_aux = (1/E) sum (c_e/S) m_e (GShard, arXiv 2006.16668) and CV(importance)^2 (Shazeer et al.,
 * arXiv 1701.06538), by hand: S = 4, c = (3, 1), m = (5/8, 3/8). All in binary fractions: exact. */
static void test_losses_of_a_hand_case(void **state)
{
    (void)state;
    double first_choice[] = {3, 1}, probability[] = {2.5, 1.5};
    const moe_gate_sums_t sums = {
        .experts = 2, .tokens = 4, .first_choice = first_choice, .probability = probability};
    assert_true(moe_aux_loss(&sums) == 0.28125);
    assert_true(moe_importance_cv2(&sums) == 0.0625);
}

static void add_tokens(moe_gate_sums_t *sums, const moe_router_t *router, uint64_t first,
                       size_t tokens, size_t stride)
{
    moe_table_t table = make_table(router, 0, first, tokens);
    moe_gate_sums_add(sums, router, 0, &table, stride);
    moe_table_destroy(&table);
}

/* Where gating is uniform, c_e/S = m_e = 1/E: l_aux = 1/E^2, its least. */
static void test_uniform_gating_has_an_auxiliary_loss_of_one_over_e_squared(void **state)
{
    (void)state;
    enum { E = 16 };
    const char *gates[] = {"softmax", "noisy"};
    for (size_t g = 0; g < 2; g++) {
        moe_gate_sums_t sums;
        moe_router_t *router = make_router(gates[g], E, 2, "uniform", 1, 0);
        assert_int_equal(moe_gate_sums_create(E, &sums, NULL), MOE_OK);
        add_tokens(&sums, router, 0, 16384, 1);
        assert_true(sums.tokens == 16384);
        assert_true(fabs(moe_aux_loss(&sums) * E * E - 1) < 0.01);
        assert_true(moe_importance_cv2(&sums) < 0.001);
        moe_gate_sums_destroy(&sums);
        moe_router_destroy(router);
    }
}

static void test_skew_raises_both_losses(void **state)
{
    (void)state;
    enum { E = 16 };
    moe_gate_sums_t sums;
    moe_router_t *router = make_router("softmax", E, 2, "zipf:1.0", 1, 0);
    assert_int_equal(moe_gate_sums_create(E, &sums, NULL), MOE_OK);
    add_tokens(&sums, router, 0, 4096, 1);
    assert_true(moe_aux_loss(&sums) * E * E > 1.3);
    assert_true(moe_importance_cv2(&sums) > 0.3);
    moe_gate_sums_destroy(&sums);
    moe_router_destroy(router);
}

static void test_sums_of_two_ranks_add_up_to_those_of_all(void **state)
{
    (void)state;
    enum { E = 8 };
    moe_gate_sums_t all, part;
    moe_router_t *router = make_router("gshard", E, 2, "zipf:1.0", 1, 0);
    assert_int_equal(moe_gate_sums_create(E, &all, NULL), MOE_OK);
    assert_int_equal(moe_gate_sums_create(E, &part, NULL), MOE_OK);
    add_tokens(&all, router, 0, 100, 1);
    add_tokens(&part, router, 0, 30, 1);
    add_tokens(&part, router, 30, 70, 1);
    assert_true(all.tokens == part.tokens);
    for (size_t e = 0; e < E; e++) {
        assert_true(all.first_choice[e] == part.first_choice[e]);
        assert_near(all.probability[e], part.probability[e]);
    }
    assert_near(moe_aux_loss(&all), moe_aux_loss(&part));
    moe_gate_sums_destroy(&part);
    moe_gate_sums_destroy(&all);
    moe_router_destroy(router);
}

static void test_a_stride_looks_at_every_nth_token(void **state)
{
    (void)state;
    moe_gate_sums_t sums;
    moe_router_t *router = make_router("softmax", 8, 2, "uniform", 1, 0);
    assert_int_equal(moe_gate_sums_create(8, &sums, NULL), MOE_OK);
    assert_true(moe_aux_loss(&sums) == 0 && moe_importance_cv2(&sums) == 0);
    add_tokens(&sums, router, 0, 10, 4);
    assert_true(sums.tokens == 3);
    add_tokens(&sums, router, 0, 0, 4);
    assert_true(sums.tokens == 3);
    moe_gate_sums_destroy(&sums);
    moe_router_destroy(router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_figures_of_a_hand_case),
        cmocka_unit_test(test_equal_loads_have_no_spread),
        cmocka_unit_test(test_one_bin_with_everything_is_the_most_uneven),
        cmocka_unit_test(test_gini_of_a_ramp_for_few_and_many_bins),
        cmocka_unit_test(test_nothing_counted_gives_zeros),
        cmocka_unit_test(test_counts_past_32_bits_are_counted),
        cmocka_unit_test(test_losses_of_a_hand_case),
        cmocka_unit_test(test_uniform_gating_has_an_auxiliary_loss_of_one_over_e_squared),
        cmocka_unit_test(test_skew_raises_both_losses),
        cmocka_unit_test(test_sums_of_two_ranks_add_up_to_those_of_all),
        cmocka_unit_test(test_a_stride_looks_at_every_nth_token),
    };
    return cmocka_run_group_tests_name("routing", tests, NULL, NULL);
}
