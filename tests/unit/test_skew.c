#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "routing_cases.h"

static int descending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* The popularity of a layer's experts, hottest first; freed by the caller. */
static double *sorted_popularity(const char *skew, size_t experts)
{
    moe_router_t *router = make_router("softmax", experts, 1, skew, 11, 0);
    double *p = malloc(experts * sizeof *p);
    assert_non_null(p);
    memcpy(p, moe_router_popularity(router), experts * sizeof *p);
    qsort(p, experts, sizeof *p, descending);
    moe_router_destroy(router);
    return p;
}

/* Popularity is kept in units of 2^-32, each expert one more than its share of the rest. */
#define UNIT 0x1p-32

static void test_zipf_is_r_to_the_minus_s(void **state)
{
    (void)state;
    double *p = sorted_popularity("zipf:1.0", 4);
    const double expected[] = {12.0 / 25, 6.0 / 25, 4.0 / 25, 3.0 / 25};
    for (size_t r = 0; r < 4; r++)
        assert_true(fabs(p[r] - expected[r]) < 5 * UNIT);
    free(p);
    p = sorted_popularity("zipf:0", 7);
    for (size_t r = 0; r < 7; r++)
        assert_true(fabs(p[r] - 1.0 / 7) < 2 * UNIT);
    free(p);
}

static void test_hot_experts_share_what_they_are_given(void **state)
{
    (void)state;
    double *p = sorted_popularity("hot:2,0.8", 10);
    for (size_t r = 0; r < 10; r++)
        assert_true(fabs(p[r] - (r < 2 ? 0.4 : 0.025)) < 10 * UNIT);
    free(p);
    p = sorted_popularity("hot:3,0.5", 3); /* all are hot: nobody takes the other half */
    for (size_t r = 0; r < 3; r++)
        assert_true(fabs(p[r] - 1.0 / 3) < 5 * UNIT);
    free(p);
}

static void test_lognormal_has_the_sigma_that_was_asked_for(void **state)
{
    (void)state;
    enum { E = 4096 };
    double *p = sorted_popularity("lognormal:0.8", E);
    double sum = 0, squares = 0;
    for (size_t e = 0; e < E; e++) {
        sum += log(p[e]);
        squares += log(p[e]) * log(p[e]);
    }
    const double sigma = sqrt(squares / E - sum / E * (sum / E));
    assert_true(fabs(sigma - 0.8) < 5 * 0.8 / sqrt(2.0 * E));
    free(p);
}

/* E[p_e^2] = (alpha + 1) / (E (E alpha + 1)). */
static void test_dirichlet_has_its_second_moment(void **state)
{
    (void)state;
    enum { E = 4096 };
    const struct {
        const char *skew;
        double alpha;
    } cases[] = {{"dirichlet:0.5", 0.5}, {"dirichlet:2", 2}};
    for (size_t i = 0; i < 2; i++) {
        double *p = sorted_popularity(cases[i].skew, E), squares = 0;
        for (size_t e = 0; e < E; e++)
            squares += p[e] * p[e];
        const double expected = (cases[i].alpha + 1) / (E * cases[i].alpha + 1);
        assert_true(fabs(squares / expected - 1) < 0.15);
        free(p);
    }
}

static void test_every_popularity_sums_to_one_and_leaves_nobody_out(void **state)
{
    (void)state;
    const char *skews[] = {"balanced",         "uniform",     "zipf:0",       "zipf:1.2",
                           "zipf:64",          "hot:1,1",     "hot:1,0",      "hot:1,0.9999",
                           "hot:3,.5",         "lognormal:0", "lognormal:32", "dirichlet:0.0001",
                           "dirichlet:1000000"};
    const size_t sizes[] = {3, 8, 100, 4097};
    for (size_t s = 0; s < sizeof skews / sizeof skews[0]; s++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            double *p = sorted_popularity(skews[s], sizes[i]), sum = 0;
            for (size_t e = 0; e < sizes[i]; e++)
                sum += p[e]; /* exact: whole units */
            assert_true(sum == 1);
            assert_true(p[sizes[i] - 1] >= UNIT);
            free(p);
        }
    }
}

static void test_layers_and_seeds_decide_which_experts_are_hot(void **state)
{
    (void)state;
    const size_t bytes = 64 * sizeof(double);
    moe_router_t *a = make_router("softmax", 64, 2, "zipf:1.0", 1, 0);
    moe_router_t *again = make_router("softmax", 64, 2, "zipf:1.0", 1, 0);
    moe_router_t *layer = make_router("softmax", 64, 2, "zipf:1.0", 1, 1);
    moe_router_t *seed = make_router("softmax", 64, 2, "zipf:1.0", 2, 0);
    const double *p = moe_router_popularity(a);
    assert_memory_equal(p, moe_router_popularity(again), bytes);
    assert_memory_not_equal(p, moe_router_popularity(layer), bytes);
    assert_memory_not_equal(p, moe_router_popularity(seed), bytes);
    assert_int_equal(moe_router_layer(layer), 1);
    moe_router_destroy(a);
    moe_router_destroy(again);
    moe_router_destroy(layer);
    moe_router_destroy(seed);
}

static void test_skews_that_mean_nothing_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *text, *said; /* what the message must hold */
    } cases[] = {
        {"", "''"},
        {"zipff:1", "did you mean zipf?"},
        {"Zipf", "did you mean zipf?"},
        {"gaussian", "lognormal:SIGMA"},
        {"zipf", "has 0 parameters, zipf has 1: write zipf:S"},
        {"zipf:", "''"},
        {"zipf:1,2", "has 2 parameters"},
        {"zipf:-1", "'-1'"},
        {"zipf:nan", "'nan'"},
        {"zipf:1e30", "'1e30'"},
        {"zipf:inf", "'inf'"},
        {"zipf:1x", "'1x'"},
        {"zipf:65", "between 0 and 64"},
        {"hot", "write hot:N,SHARE"},
        {"hot:4", "has 1 parameters, hot has 2"},
        {"hot:4,0.5,1", "has 3 parameters"},
        {"hot:0,0.5", "N of hot:N,SHARE: '0'"},
        {"hot:1.5,0.5", "'1.5'"},
        {"hot:1,1.01", "SHARE of hot:N,SHARE: '1.01'"},
        {"hot:1,-0.1", "'-0.1'"},
        {"hot:1,nan", "'nan'"},
        {"hot:99999999999999999999,0.5", "'99999999999999999999'"},
        {"lognormal:-0.5", "'-0.5'"},
        {"lognormal:1e30", "'1e30'"},
        {"dirichlet:0", "'0'"},
        {"dirichlet:nan", "'nan'"},
        {"uniform:1", "has 1 parameters, uniform has 0"},
        {"balanced:", "balanced has 0"},
        {"zipf:1.000000000000000000000000000000000000000000000000000000000000000000000000000000",
         "longer than 79"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        moe_error_t error = {0};
        moe_skew_t skew = {.kind = 77};
        assert_int_equal(moe_skew_parse("--skew", cases[i].text, &skew, &error), MOE_BAD_INPUT);
        assert_int_equal(skew.kind, 77); /* untouched */
        assert_non_null(strstr(error.text, "--skew"));
        if (strstr(error.text, cases[i].said) == NULL)
            fail_msg("'%s': \"%s\" does not say \"%s\"", cases[i].text, error.text, cases[i].said);
    }
    assert_int_equal(moe_skew_parse("--skew", "zipf", &(moe_skew_t){0}, NULL), MOE_BAD_INPUT);
}

static void test_a_skew_keeps_the_text_and_its_parameters(void **state)
{
    (void)state;
    moe_skew_t skew;
    assert_int_equal(moe_skew_parse("--skew", "hot:4,0.25", &skew, NULL), MOE_OK);
    assert_string_equal(skew.text, "hot:4,0.25");
    assert_true(skew.a == 4 && skew.b == 0.25);
}

static void test_more_hot_experts_than_there_are_is_refused(void **state)
{
    (void)state;
    moe_error_t error = {0};
    moe_skew_t skew;
    assert_int_equal(moe_skew_parse("--skew", "hot:9,0.5", &skew, &error), MOE_OK);
    assert_int_equal(moe_skew_check(&skew, 9, 2, &error), MOE_OK);
    assert_int_equal(moe_skew_check(&skew, 8, 2, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "9 hot experts, but there are 8"));
}

static void test_help_can_list_every_skew(void **state)
{
    (void)state;
    const char *summary = NULL;
    size_t count = 0;
    for (const char *syntax; (syntax = moe_skew_syntax(count, &summary)) != NULL; count++)
        assert_true(strlen(syntax) > 0 && strlen(summary) > 0);
    assert_int_equal(count, 8);
    assert_string_equal(moe_skew_syntax(2, NULL), "zipf:S");
    assert_null(moe_skew_syntax(1000, &summary));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zipf_is_r_to_the_minus_s),
        cmocka_unit_test(test_hot_experts_share_what_they_are_given),
        cmocka_unit_test(test_lognormal_has_the_sigma_that_was_asked_for),
        cmocka_unit_test(test_dirichlet_has_its_second_moment),
        cmocka_unit_test(test_every_popularity_sums_to_one_and_leaves_nobody_out),
        cmocka_unit_test(test_layers_and_seeds_decide_which_experts_are_hot),
        cmocka_unit_test(test_skews_that_mean_nothing_are_refused),
        cmocka_unit_test(test_a_skew_keeps_the_text_and_its_parameters),
        cmocka_unit_test(test_more_hot_experts_than_there_are_is_refused),
        cmocka_unit_test(test_help_can_list_every_skew),
    };
    return cmocka_run_group_tests_name("routing", tests, NULL, NULL);
}
