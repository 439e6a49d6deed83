/* Drifts within a run: found where they are planted, and hardly ever where there are none. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../common/noise.h"
#include "moe/measure.h"

#define MOST 1000

static moe_trend_t trend_of(const double *values, size_t n)
{
    moe_trend_t trend;
    assert_int_equal(moe_trend_of(values, n, &trend, NULL), MOE_OK);
    return trend;
}

static void test_halves_that_do_not_overlap_have_the_known_score(void **state)
{
    (void)state;
    double values[21];
    for (size_t i = 0; i < 21; i++)
        values[i] = (double)(i + 1);
    /* U = 100 of 100 pairs, mean 50, variance 10 * 10 * 21 / 12. */
    const moe_trend_t up = trend_of(values, 20), odd = trend_of(values, 21);
    assert_true(up.judged && up.drifts);
    assert_float_equal(up.z, 49.5 / sqrt(175), 1e-12);
    assert_float_equal(up.change, 15.5 / 5.5 - 1, 1e-12);
    assert_float_equal(odd.change, 16.5 / 5.5 - 1, 1e-12); /* 11 is in neither half */
    assert_float_equal(odd.z, up.z, 0);
    for (size_t i = 0; i < 20; i++)
        values[i] = (double)(20 - i);
    assert_float_equal(trend_of(values, 20).z, -up.z, 0);
}

/* By the definition: all pairs, and t^3 - t of each group counted once. */
static double score_by_hand(const double *values, size_t n)
{
    const size_t half = n / 2;
    double u = 0, ties = 0;
    for (size_t i = 0; i < half; i++)
        for (size_t j = n - half; j < n; j++)
            u += values[i] < values[j] ? 1 : values[i] == values[j] ? 0.5 : 0;
    for (size_t i = 0; i < n; i++) {
        double equal = 0;
        for (size_t j = 0; j < n; j++)
            equal += values[i] == values[j];
        ties += equal * equal - 1; /* each of t values adds t^2 - 1: t^3 - t in all */
    }
    const double m = (double)half, all = 2 * m, away = u - m * m / 2;
    const double variance = m * m / 12 * (all + 1 - ties / (all * (all - 1)));
    return copysign(fmax(fabs(away) - 0.5, 0) / sqrt(variance), away);
}

static void test_the_score_counts_pairs_and_ties(void **state)
{
    (void)state;
    uint64_t noise = 5;
    double values[60];
    for (size_t kinds = 2; kinds < 40; kinds += 3) {
        for (size_t i = 0; i < 60; i++)
            values[i] = 1 + (double)(noise_bits(&noise) % kinds) + (i >= 30 ? 0.3 : 0);
        assert_float_equal(trend_of(values, 60).z, score_by_hand(values, 60), 1e-9);
        for (size_t i = 0; i < 60; i++)
            values[i] = 1 + (double)(noise_bits(&noise) % kinds);
        assert_float_equal(trend_of(values, 60).z, score_by_hand(values, 60), 1e-9);
    }
}

static void test_equal_values_and_few_values_do_not_drift(void **state)
{
    (void)state;
    double values[40];
    for (size_t i = 0; i < 40; i++)
        values[i] = 7;
    const moe_trend_t even = trend_of(values, 40);
    assert_true(even.judged && !even.drifts);
    assert_float_equal(even.z, 0, 0);
    for (size_t i = 0; i < 40; i++)
        values[i] = (double)i + 1;
    assert_false(trend_of(values, MOE_TREND_LEAST - 1).judged);
    assert_false(trend_of(values, MOE_TREND_LEAST - 1).drifts);
    assert_true(trend_of(values, MOE_TREND_LEAST).drifts);
    for (size_t i = 0; i < 40; i++)
        values[i] = 0; /* a phase that the run does not have */
    assert_false(trend_of(values, 40).judged);
}

static void test_a_change_too_small_to_matter_is_no_drift(void **state)
{
    (void)state;
    double values[100];
    for (size_t i = 0; i < 100; i++)
        values[i] = 100 + (i < 50 ? 0 : 2) + (double)(i % 7) / 100;
    assert_true(trend_of(values, 100).z > MOE_TREND_Z);
    assert_false(trend_of(values, 100).drifts);
    for (size_t i = 50; i < 100; i++)
        values[i] += 1;
    assert_true(trend_of(values, 100).drifts);
}

typedef double (*draw_fn)(uint64_t *state);

static double draw_long_tail(uint64_t *state)
{
    return exp(noise_normal(state));
}

static double draw_ticks(uint64_t *state)
{
    return 1 + floor(5 * noise_uniform(state)); /* a coarse clock: many ties */
}

/* A series of one law, with a step or a ramp of so many times its median added. */
static void draw_series(draw_fn draw, double step, double ramp, double *values, size_t n,
                        uint64_t *noise)
{
    for (size_t i = 0; i < n; i++)
        values[i] = draw(noise) + (i >= n / 2 ? step : 0) + ramp * (double)i / (double)(n - 1);
}

static double share_that_drifts(draw_fn draw, size_t n, double step, double ramp, size_t trials)
{
    double values[MOST];
    uint64_t noise = 1 + n;
    size_t drifts = 0;
    for (size_t i = 0; i < trials; i++) {
        draw_series(draw, step, ramp, values, n, &noise);
        drifts += trend_of(values, n).drifts;
    }
    return (double)drifts / (double)trials;
}

static void test_without_a_drift_one_run_in_a_thousand_is_accused(void **state)
{
    (void)state;
    const draw_fn draws[] = {noise_exponential, noise_uniform, draw_long_tail, draw_ticks};
    const size_t sizes[] = {20, 30, 100, 300}, trials = 20000;
    for (size_t d = 0; d < 4; d++) {
        for (size_t s = 0; s < 4; s++) {
            const double share = share_that_drifts(draws[d], sizes[s], 0, 0, trials);
            if (share > 0.002) /* 20 are expected, with a deviation of 4.5 */
                fail_msg("law %zu, n = %zu: %g of the runs", d, sizes[s], share);
        }
    }
}

static void test_steps_and_ramps_are_found(void **state)
{
    (void)state;
    /* The uniform law has a deviation of 0.29. */
    assert_true(share_that_drifts(noise_uniform, 30, 0.7, 0, 500) > 0.9);
    assert_true(share_that_drifts(noise_uniform, 100, 0.3, 0, 500) > 0.9);
    assert_true(share_that_drifts(noise_uniform, 30, 0, 1.6, 500) > 0.9);
    assert_true(share_that_drifts(noise_uniform, 100, -0.3, 0, 500) > 0.9);
    assert_true(share_that_drifts(draw_long_tail, 100, 1.5, 0, 500) > 0.9);
}

static void test_a_summary_carries_the_trend(void **state)
{
    (void)state;
    double values[30];
    moe_summary_t summary;
    for (size_t i = 0; i < 30; i++)
        values[i] = i < 15 ? 1 + (double)i / 100 : 2 + (double)i / 100;
    assert_int_equal(moe_summarise(values, 30, &summary, NULL), MOE_OK);
    assert_true(summary.trend.drifts);
    assert_int_equal(moe_summarise(values, 15, &summary, NULL), MOE_OK);
    assert_false(summary.trend.judged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_halves_that_do_not_overlap_have_the_known_score),
        cmocka_unit_test(test_the_score_counts_pairs_and_ties),
        cmocka_unit_test(test_equal_values_and_few_values_do_not_drift),
        cmocka_unit_test(test_a_change_too_small_to_matter_is_no_drift),
        cmocka_unit_test(test_without_a_drift_one_run_in_a_thousand_is_accused),
        cmocka_unit_test(test_steps_and_ramps_are_found),
        cmocka_unit_test(test_a_summary_carries_the_trend),
    };
    return cmocka_run_group_tests_name("trend", tests, NULL, NULL);
}
