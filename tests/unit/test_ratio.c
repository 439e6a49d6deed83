/* Ratios of medians: what is known exactly, symmetry, and how often the interval holds the truth. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "moe/measure.h"
#include "moe/routing.h"
#include "moe/verdict.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define SEED 77

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static moe_estimate_t interval_only(double value, double low, double high)
{
    return (moe_estimate_t){.value = value, .has_interval = true, .low = low, .high = high};
}

static void assert_ratio(const moe_ratio_t *r, double ratio, double low, double high)
{
    assert_float_equal(r->ratio, ratio, 1e-9);
    assert_float_equal(r->low, low, 1e-6);
    assert_float_equal(r->high, high, 1e-6);
}

static void test_independent_distances_add_up_as_squares(void **state)
{
    (void)state;
    /* exp(0.03) and exp(0.04) away: together exp(0.05) */
    const moe_estimate_t a = interval_only(2, 2 * exp(-0.03), 2 * exp(0.03));
    const moe_estimate_t b = interval_only(1, exp(-0.04), exp(0.04));
    moe_ratio_t r;
    moe_ratio_of(&a, &b, 0.95, &r);
    assert_int_equal(r.method, MOE_RATIO_INTERVALS);
    assert_ratio(&r, 2, 2 * exp(-0.05), 2 * exp(0.05));
    moe_ratio_of(&a, &b, 0.99, &r); /* 2.575829 / 1.959964 as wide */
    assert_ratio(&r, 2, 2 * exp(-0.05 * 2.5758293035 / 1.9599639845),
                 2 * exp(0.05 * 2.5758293035 / 1.9599639845));
}

static void test_what_is_known_exactly_widens_nothing(void **state)
{
    (void)state;
    const moe_estimate_t a = interval_only(10, 9, 12);
    const moe_estimate_t b = {.value = 5, .has_interval = true, .low = 5, .high = 5, .exact = true};
    moe_ratio_t r;
    moe_ratio_of(&a, &b, 0.95, &r);
    assert_ratio(&r, 2, 1.8, 2.4);
    moe_ratio_of(&b, &b, 0.95, &r);
    assert_int_equal(r.method, MOE_RATIO_EXACT);
    assert_ratio(&r, 1, 1, 1);
}

static void test_without_an_interval_or_with_nothing_there_is_none(void **state)
{
    (void)state;
    const moe_estimate_t a = interval_only(10, 9, 12), zero = interval_only(0, 0, 0);
    const moe_estimate_t bare = {.value = 4}, from_zero = interval_only(4, 0, 5);
    moe_ratio_t r;
    moe_ratio_of(&a, &bare, 0.95, &r);
    assert_int_equal(r.method, MOE_RATIO_NONE);
    assert_float_equal(r.ratio, 2.5, 0);
    moe_ratio_of(&a, &from_zero, 0.95, &r);
    assert_int_equal(r.method, MOE_RATIO_NONE);
    moe_ratio_of(&a, &zero, 0.95, &r);
    assert_int_equal(r.method, MOE_RATIO_NONE);
    assert_true(isnan(r.ratio));
    moe_ratio_of(&zero, &a, 0.95, &r);
    assert_int_equal(r.method, MOE_RATIO_NONE);
    assert_float_equal(r.ratio, 0, 0);
}

/* ---- Samples ---- */

/* Skewed, with a tail, as times are: a shifted lognormal times `scale`, median 2 scale. */
#define TRUE_MEDIAN 2.0
static moe_estimate_t drawn(size_t n, uint32_t side, size_t trial, double scale)
{
    double *values = malloc(n * sizeof *values);
    moe_summary_t s;
    assert_non_null(values);
    for (size_t i = 0; i < n; i++) {
        uint32_t words[4];
        moe_random(SEED, MOE_FOR_DATA, side, (uint32_t)n, trial, (uint32_t)i, words);
        const double u = ((double)words[0] + 0.5) / 4294967296.0;
        const double v = ((double)words[1] + 0.5) / 4294967296.0;
        values[i] = scale * (1 + exp(sqrt(-2 * log(u)) * cos(6.283185307179586 * v)));
    }
    assert_int_equal(moe_summarise(values, n, &s, NULL), MOE_OK);
    qsort(values, n, sizeof *values, by_value);
    return (moe_estimate_t){.value = s.median,
                            .has_interval = s.has_interval,
                            .low = s.low,
                            .high = s.high,
                            .sample = values,
                            .n = n};
}

static void test_a_sample_against_a_constant_has_the_interval_of_its_order_statistics(void **state)
{
    (void)state;
    moe_estimate_t a = {.value = 5.5, .sample = malloc(10 * sizeof(double)), .n = 10};
    moe_estimate_t b = {.value = 2, .sample = malloc(1000 * sizeof(double)), .n = 1000};
    for (size_t i = 0; i < a.n; i++)
        a.sample[i] = (double)i + 1;
    for (size_t i = 0; i < b.n; i++)
        b.sample[i] = 2;
    moe_ratio_t r;
    moe_ratio_of(&a, &b, 0.95, &r);
    assert_int_equal(r.method, MOE_RATIO_SAMPLES);
    assert_ratio(&r, 2.75, 2 / 2.0, 9 / 2.0); /* ranks 2-9 of 10 */
    moe_ratio_of(&a, &b, 0.99, &r);
    assert_ratio(&r, 2.75, 1 / 2.0, 10 / 2.0); /* ranks 1-10: 99.8 % */
    moe_estimate_destroy(&a);
    moe_estimate_destroy(&b);
}

static void test_samples_too_small_for_the_confidence_fall_back_to_intervals(void **state)
{
    (void)state;
    moe_estimate_t a = drawn(7, 0, 0, 1), b = drawn(7, 1, 0, 1);
    moe_ratio_t r;
    moe_ratio_of(&a, &b, 0.95, &r); /* 2 / 2^7 is below 2.5 % */
    assert_int_equal(r.method, MOE_RATIO_SAMPLES);
    moe_ratio_of(&a, &b, 0.99, &r);
    assert_int_equal(r.method, MOE_RATIO_INTERVALS);
    moe_estimate_destroy(&a);
    moe_estimate_destroy(&b);
}

static void test_exchanging_the_sides_gives_the_reciprocal(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{10, 10}, {30, 100}, {100, 9}, {1000, 30}};
    for (size_t s = 0; s < LENGTH(sizes); s++) {
        for (int with_samples = 0; with_samples < 2; with_samples++) {
            moe_estimate_t a = drawn(sizes[s][0], 0, s, 1), b = drawn(sizes[s][1], 1, s, 3);
            moe_ratio_t r, inverse;
            if (!with_samples) {
                free(a.sample);
                a.sample = NULL;
            }
            moe_ratio_of(&a, &b, 0.99, &r);
            moe_ratio_of(&b, &a, 0.99, &inverse);
            assert_int_equal(r.method, with_samples ? MOE_RATIO_SAMPLES : MOE_RATIO_INTERVALS);
            assert_int_equal(r.method, inverse.method);
            assert_float_equal(r.ratio * inverse.ratio, 1, 1e-12);
            assert_float_equal(r.low * inverse.high, 1, 1e-12);
            assert_float_equal(r.high * inverse.low, 1, 1e-12);
            assert_true(r.low < r.ratio && r.ratio < r.high);
            moe_estimate_destroy(&a);
            moe_estimate_destroy(&b);
        }
    }
}

/* How often the interval of the ratio holds the true one, 2. */
static double coverage(size_t n, size_t m, double confidence, bool with_samples, size_t trials)
{
    size_t held = 0;
    for (size_t trial = 0; trial < trials; trial++) {
        moe_estimate_t a = drawn(n, 2, trial, 2), b = drawn(m, 3, trial, 1);
        moe_ratio_t r;
        if (!with_samples) {
            free(a.sample);
            a.sample = NULL;
        }
        moe_ratio_of(&a, &b, confidence, &r);
        assert_int_not_equal(r.method, MOE_RATIO_NONE);
        held += r.low <= 2 && 2 <= r.high;
        moe_estimate_destroy(&a);
        moe_estimate_destroy(&b);
    }
    return (double)held / (double)trials;
}

/* No less than it says, but for what chance leaves of 2,000 trials (3 standard errors: 1.5 % at 95 %,
 * 0.7 % at 99 %). */
static void test_the_interval_of_a_ratio_holds_the_truth_as_often_as_it_says(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{10, 10}, {30, 30}, {100, 100}, {10, 100}};
    static const double confidences[] = {0.95, 0.99};
    for (size_t s = 0; s < LENGTH(sizes); s++) {
        for (size_t c = 0; c < LENGTH(confidences); c++) {
            for (int with_samples = 0; with_samples < 2; with_samples++) {
                const double found =
                    coverage(sizes[s][0], sizes[s][1], confidences[c], with_samples, 2000);
                const double error = sqrt(confidences[c] * (1 - confidences[c]) / 2000);
                print_message("# n = %zu and %zu, %s, %.0f %%: %.2f %%\n", sizes[s][0], sizes[s][1],
                              with_samples ? "samples" : "intervals", 100 * confidences[c],
                              100 * found);
                assert_true(found > confidences[c] - 3 * error);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_independent_distances_add_up_as_squares),
        cmocka_unit_test(test_what_is_known_exactly_widens_nothing),
        cmocka_unit_test(test_without_an_interval_or_with_nothing_there_is_none),
        cmocka_unit_test(test_a_sample_against_a_constant_has_the_interval_of_its_order_statistics),
        cmocka_unit_test(test_samples_too_small_for_the_confidence_fall_back_to_intervals),
        cmocka_unit_test(test_exchanging_the_sides_gives_the_reciprocal),
        cmocka_unit_test(test_the_interval_of_a_ratio_holds_the_truth_as_often_as_it_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
