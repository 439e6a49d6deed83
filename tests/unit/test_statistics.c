/* The clock, and statistics that assume no distribution. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "moe/measure.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static void test_the_clock_does_not_go_back(void **state)
{
    (void)state;
    double last = moe_now();
    for (int i = 0; i < 1000; i++) {
        const double now = moe_now();
        assert_true(now >= last);
        last = now;
    }
}

static void test_median_ranks_match_the_published_table(void **state)
{
    (void)state;
    /* Le Boudec, Performance Evaluation of Computer and Communication Systems, appendix A. */
    static const size_t table[][3] = {{6, 1, 6},    {10, 2, 9},    {20, 6, 15},     {30, 10, 21},
                                      {50, 18, 33}, {100, 40, 61}, {1000, 469, 532}};
    for (size_t i = 0; i < LENGTH(table); i++) {
        size_t low = 0, high = 0;
        assert_true(moe_median_ranks(table[i][0], 0.95, &low, &high));
        assert_int_equal(low, table[i][1]);
        assert_int_equal(high, table[i][2]);
    }
}

static void test_five_values_have_no_interval(void **state)
{
    (void)state;
    for (size_t n = 0; n <= 5; n++) {
        size_t low = 77, high = 78;
        assert_false(moe_median_ranks(n, 0.95, &low, &high));
        assert_int_equal(low, 77);
        assert_int_equal(high, 78);
    }
    size_t low, high;
    assert_true(moe_median_ranks(5, 0.9, &low, &high)); /* 1 - 2/32 */
    assert_int_equal(low, 1);
    assert_int_equal(high, 5);
}

/* P(X < low), X binomial (n, 1/2), summed from the edge. */
static long double miss_below(size_t n, size_t low)
{
    long double term = powl(0.5L, (long double)n), sum = 0;
    for (size_t k = 0; k < low; k++) {
        sum += term;
        term *= (long double)(n - k) / (long double)(k + 1);
    }
    return sum;
}

static void test_median_ranks_are_the_tightest_that_hold(void **state)
{
    (void)state;
    for (size_t n = 6; n <= 3000; n += n < 200 ? 1 : 137) {
        size_t low, high;
        assert_true(moe_median_ranks(n, 0.95, &low, &high));
        assert_int_equal(low + high, n + 1);
        assert_true(2 * miss_below(n, low) <= 0.05L);
        assert_true(2 * miss_below(n, low + 1) > 0.05L);
    }
}

static void test_median_ranks_of_a_million_follow_the_normal_law(void **state)
{
    (void)state;
    const size_t n = 1000000;
    size_t low, high;
    assert_true(moe_median_ranks(n, 0.95, &low, &high));
    const double expected = (double)n / 2 - 1.959964 * sqrt((double)n) / 2;
    assert_true(fabs((double)low - expected) <= 2);
    assert_int_equal(low + high, n + 1);
}

static void test_summary_of_a_known_sample(void **state)
{
    (void)state;
    const double values[] = {7, 1, 3, 9, 5, 2, 8, 4, 6, 100};
    double copy[LENGTH(values)];
    memcpy(copy, values, sizeof values);
    moe_summary_t s;
    assert_int_equal(moe_summarise(values, LENGTH(values), &s, NULL), MOE_OK);
    assert_memory_equal(copy, values, sizeof values);
    assert_int_equal(s.n, 10);
    assert_float_equal(s.median, 5.5, 0);
    assert_float_equal(s.min, 1, 0);
    assert_float_equal(s.max, 100, 0); /* outliers stay in */
    assert_float_equal(s.mean, 14.5, 1e-12);
    assert_true(s.has_interval);
    assert_float_equal(s.low, 2, 0);
    assert_float_equal(s.high, 9, 0);
    assert_float_equal(s.first_half, 5, 0);
    assert_float_equal(s.second_half, 6, 0);
}

static void test_one_value_is_its_own_summary(void **state)
{
    (void)state;
    const double value = 3;
    moe_summary_t s;
    assert_int_equal(moe_summarise(&value, 1, &s, NULL), MOE_OK);
    assert_float_equal(s.median, 3, 0);
    assert_float_equal(s.first_half, 3, 0);
    assert_float_equal(s.second_half, 3, 0);
    assert_false(s.has_interval);
    assert_false(s.has_p95);
    assert_false(s.has_p99);
}

/* n, n-1, ... 1 */
static moe_summary_t summary_down_from(size_t n)
{
    double *values = malloc(n * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < n; i++) {
        values[i] = (double)(n - i);
    }
    moe_summary_t s;
    assert_int_equal(moe_summarise(values, n, &s, NULL), MOE_OK);
    free(values);
    return s;
}

static void test_percentiles_need_enough_values(void **state)
{
    (void)state;
    assert_false(summary_down_from(58).has_p95);
    moe_summary_t s = summary_down_from(59);
    assert_true(s.has_p95);
    assert_float_equal(s.p95, 57, 0); /* ceil(56.05) */
    assert_false(summary_down_from(298).has_p99);
    s = summary_down_from(299);
    assert_true(s.has_p99);
    assert_float_equal(s.p99, 297, 0); /* ceil(296.01) */
    s = summary_down_from(300);
    assert_float_equal(s.p95, 285, 0); /* exactly */
    assert_float_equal(s.p99, 297, 0);
}

static void test_a_trend_shows_in_the_halves(void **state)
{
    (void)state;
    const moe_summary_t s = summary_down_from(101);
    assert_float_equal(s.first_half, 76, 0); /* 101 .. 51 */
    assert_float_equal(s.second_half, 26, 0);
    assert_float_equal(s.median, 51, 0);
}

static void test_samples_that_are_no_numbers_are_refused(void **state)
{
    (void)state;
    const double bad[] = {NAN, INFINITY, -INFINITY};
    moe_summary_t s = {.n = 42};
    moe_error_t error = {0};
    assert_int_equal(moe_summarise(NULL, 0, &s, &error), MOE_BAD_INPUT);
    for (size_t i = 0; i < LENGTH(bad); i++) {
        const double values[] = {1, bad[i], 2};
        assert_int_equal(moe_summarise(values, 3, &s, &error), MOE_BAD_INPUT);
        assert_non_null(strstr(error.text, "value 1 "));
    }
    assert_int_equal(s.n, 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_clock_does_not_go_back),
        cmocka_unit_test(test_median_ranks_match_the_published_table),
        cmocka_unit_test(test_five_values_have_no_interval),
        cmocka_unit_test(test_median_ranks_are_the_tightest_that_hold),
        cmocka_unit_test(test_median_ranks_of_a_million_follow_the_normal_law),
        cmocka_unit_test(test_summary_of_a_known_sample),
        cmocka_unit_test(test_one_value_is_its_own_summary),
        cmocka_unit_test(test_percentiles_need_enough_values),
        cmocka_unit_test(test_a_trend_shows_in_the_halves),
        cmocka_unit_test(test_samples_that_are_no_numbers_are_refused),
    };
    return cmocka_run_group_tests_name("statistics", tests, NULL, NULL);
}
