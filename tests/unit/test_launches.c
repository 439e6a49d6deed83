/* Within a launch and between launches. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../common/noise.h"
#include "moe/measure.h"

#define MOST_LAUNCHES 10
#define MOST_REPS     60

static void test_the_chi_squared_law_is_that_of_the_tables(void **state)
{
    (void)state;
    static const struct {
        double value;
        size_t degrees;
        double p;
    } table[] = {{3.841459, 1, 0.05},  {6.634897, 1, 0.01},   {5.991465, 2, 0.05},
                 {9.487729, 4, 0.05},  {18.307038, 10, 0.05}, {124.342113, 100, 0.05},
                 {10.827566, 1, 1e-3}, {13.815511, 2, 1e-3},  {0.003932, 1, 0.95}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_float_equal(moe_chi_squared_above(table[i].value, table[i].degrees), table[i].p,
                           1e-6 + 1e-4 * table[i].p);
    }
    for (double x = 0.5; x < 60; x += 0.5) { /* two degrees: exp(-x/2) */
        assert_float_equal(moe_chi_squared_above(x, 2), exp(-x / 2), 1e-12);
    }
    assert_float_equal(moe_chi_squared_above(0, 3), 1, 0);
}

typedef struct sample {
    double value[MOST_LAUNCHES][MOST_REPS];
    const double *of[MOST_LAUNCHES];
    size_t count[MOST_LAUNCHES];
} sample_t;

static moe_launches_t summary_of(sample_t *s, size_t launches)
{
    moe_launches_t out;
    for (size_t l = 0; l < launches; l++) {
        s->of[l] = s->value[l];
    }
    assert_int_equal(moe_launches_of(s->of, s->count, launches, &out, NULL), MOE_OK);
    return out;
}

/* By hand: ranks 1 2 3.5 3.5 6 8 | 6 9 6 10 11 12 | 13 14 15.5 15.5 17 18. */
static void test_h_is_that_of_kruskal_and_wallis(void **state)
{
    (void)state;
    sample_t s = {.value = {{1, 2, 3, 3, 4, 4.5}, {4, 5, 4, 6, 7, 7.5}, {8, 9, 10, 10, 11, 12}},
                  .count = {6, 6, 6}};
    const moe_launches_t l = summary_of(&s, 3);
    /* Rank sums 24, 54 and 93; ties 2, 3, 2: 1 - (6 + 24 + 6) / (18 * 323). */
    double h = 12.0 / (18 * 19) * (pow(24 - 57, 2) / 6 + pow(54 - 57, 2) / 6 + pow(93 - 57, 2) / 6);
    h /= 1 - 36.0 / (18 * 323);
    assert_float_equal(l.h, h, 1e-9);
    assert_float_equal(l.p, exp(-h / 2), 1e-9);
    assert_true(l.tested);
}

static void draw(sample_t *s, size_t launches, size_t reps, double between, uint64_t *noise)
{
    for (size_t l = 0; l < launches; l++) {
        const double centre = 100 * (1 + between * noise_normal(noise));
        s->count[l] = reps;
        for (size_t i = 0; i < reps; i++) {
            s->value[l][i] = centre + 5 * noise_exponential(noise);
        }
    }
}

static void test_equal_launches_are_not_told_apart(void **state)
{
    (void)state;
    static sample_t s;
    uint64_t noise = 7;
    size_t small = 0, differ = 0;
    const size_t trials = 4000;
    for (size_t t = 0; t < trials; t++) {
        draw(&s, 5, 30, 0, &noise);
        const moe_launches_t l = summary_of(&s, 5);
        small += l.p < 0.05;
        differ += l.differ;
    }
    assert_in_range(small, trials * 4 / 100, trials * 6 / 100);
    assert_in_range(differ, 0, trials / 250);
}

static void test_launches_that_differ_are_told_apart(void **state)
{
    (void)state;
    static sample_t s;
    uint64_t noise = 8;
    size_t differ = 0;
    for (size_t t = 0; t < 200; t++) {
        draw(&s, 10, 30, 0.1, &noise); /* 10 % between launches, 5 % within */
        const moe_launches_t l = summary_of(&s, 10);
        differ += l.differ;
        assert_int_equal(l.launches, 10);
        assert_int_equal(l.reps, 300);
        assert_true(l.has_within && l.within < 0.1 && l.spread > l.within);
        assert_true(l.medians.has_interval);
    }
    assert_true(differ >= 199);
}

static void test_a_difference_that_does_not_matter_is_none(void **state)
{
    (void)state;
    sample_t s = {.count = {40, 40}};
    for (size_t i = 0; i < 40; i++) {
        s.value[0][i] = 100 + 1e-3 * (double)i;
        s.value[1][i] = 101 + 1e-3 * (double)i;
    }
    const moe_launches_t l = summary_of(&s, 2);
    assert_true(l.p < 1e-9);
    assert_false(l.differ);
    assert_float_equal(l.spread, 1.0 / 100.5195, 1e-6);
}

static void test_too_little_is_not_tested(void **state)
{
    (void)state;
    sample_t s = {.value = {{1, 2, 3, 4, 5, 6}, {101, 102, 103, 104, 105}}, .count = {6, 5}};
    moe_launches_t l = summary_of(&s, 2);
    assert_false(l.tested || l.differ);
    assert_float_equal(l.p, 1, 0);
    l = summary_of(&s, 1);
    assert_false(l.tested);
    assert_float_equal(l.spread, 0, 0);
    const double *none = NULL;
    const size_t zero = 0;
    assert_int_equal(moe_launches_of(&none, &zero, 0, &l, NULL), MOE_BAD_INPUT);
    assert_int_equal(moe_launches_of(&none, &zero, 1, &l, NULL), MOE_BAD_INPUT);
}

static void test_equal_values_show_nothing(void **state)
{
    (void)state;
    sample_t s = {.value = {{5, 5, 5, 5, 5, 5}, {5, 5, 5, 5, 5, 5}}, .count = {6, 6}};
    const moe_launches_t l = summary_of(&s, 2);
    assert_float_equal(l.h, 0, 0);
    assert_float_equal(l.p, 1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_chi_squared_law_is_that_of_the_tables),
        cmocka_unit_test(test_h_is_that_of_kruskal_and_wallis),
        cmocka_unit_test(test_equal_launches_are_not_told_apart),
        cmocka_unit_test(test_launches_that_differ_are_told_apart),
        cmocka_unit_test(test_a_difference_that_does_not_matter_is_none),
        cmocka_unit_test(test_too_little_is_not_tested),
        cmocka_unit_test(test_equal_values_show_nothing),
    };
    return cmocka_run_group_tests_name("launches", tests, NULL, NULL);
}
