#include <math.h>
#include <string.h>

#include "../../src/routing/random.h"
#include "../../src/routing/real.h"
#include "routing_cases.h"

/* Known answers of philox4x32-10 (Random123, tests/kat_vectors). */
static void test_random_words_are_philox4x32_10(void **state)
{
    (void)state;
    const uint32_t of_zeros[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    const uint32_t of_ones[4] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    uint32_t out[4];
    moe_random(0, (moe_purpose_t)0, 0, 0, 0, 0, out);
    assert_memory_equal(out, of_zeros, sizeof out);
    moe_random(UINT64_MAX, (moe_purpose_t)0xff, 0xffff, UINT32_MAX, ((uint64_t)1 << 48) - 1,
               (1 << 24) - 1, out);
    assert_memory_equal(out, of_ones, sizeof out);
}

static void test_every_part_of_the_counter_changes_the_words(void **state)
{
    (void)state;
    uint32_t words[8][4];
    moe_random(1, MOE_FOR_CHOICE, 1, 1, 1, 1, words[0]);
    moe_random(2, MOE_FOR_CHOICE, 1, 1, 1, 1, words[1]);
    moe_random(1, MOE_FOR_SCORE, 1, 1, 1, 1, words[2]);
    moe_random(1, MOE_FOR_CHOICE, 2, 1, 1, 1, words[3]);
    moe_random(1, MOE_FOR_CHOICE, 1, 2, 1, 1, words[4]);
    moe_random(1, MOE_FOR_CHOICE, 1, 1, 2, 1, words[5]);
    moe_random(1, MOE_FOR_CHOICE, 1, 1, 1, 2, words[6]);
    moe_random(1, MOE_FOR_CHOICE, 1, 1, ((uint64_t)1 << 32) + 1, 1, words[7]);
    for (size_t i = 0; i < 8; i++) {
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(words[i], words[j], sizeof words[i]);
    }
}

static void test_words_in_bulk_are_the_words_one_by_one(void **state)
{
    (void)state;
    enum { ITEMS = 77, BLOCK = 3 };
    const uint64_t first = ((uint64_t)1 << 32) - 40; /* the upper half of the counter changes */
    const moe_source_t source = {.seed = 42, .purpose = MOE_FOR_DATA, .layer = 7, .step = 9};
    uint32_t bulk[4 * ITEMS], one[4], group[MOE_RANDOM_GROUP];
    moe_random_items(&source, first, ITEMS, BLOCK, ITEMS, bulk);
    for (size_t i = 0; i < ITEMS; i++) {
        moe_random(42, MOE_FOR_DATA, 7, 9, first + i, BLOCK, one);
        for (size_t w = 0; w < 4; w++)
            assert_int_equal(bulk[w * ITEMS + i], one[w]);
    }
    moe_random_group(&source, first, MOE_RANDOM_GROUP, group);
    for (uint32_t b = 0; b < MOE_RANDOM_GROUP / 4; b++) {
        moe_random(42, MOE_FOR_DATA, 7, 9, first, MOE_RANDOM_GROUP / 4 + b, one);
        for (size_t w = 0; w < 4; w++)
            assert_int_equal(group[w * MOE_RANDOM_GROUP / 4 + b], one[w]);
    }
}

static void assert_near(double got, double expected, double relative)
{
    if (!(fabs(got - expected) <= relative * fabs(expected)))
        fail_msg("%.17g is not %.17g within %g", got, expected, relative);
}

static void test_own_logarithm_and_exponential_agree_with_the_library(void **state)
{
    (void)state;
    moe_stream_t stream = moe_stream_start(&(moe_source_t){.seed = 1}, 0, 0);
    for (size_t i = 0; i < 100000; i++) {
        const uint32_t word = moe_stream_next(&stream);
        const double u = moe_real_uniform(word);
        assert_true(u > 0 && u < 1);
        assert_near(moe_real_exponential(word), -log(u), 1e-15);
        const double x = ldexp(u, (int)(word % 600) - 300);
        assert_near(moe_real_log(x), log(x), 1e-15);
        const double y = 1400 * u - 700;
        assert_near(moe_real_exp(y), exp(y), 1e-15);
    }
    assert_near(moe_real_exponential(0), 33 * log(2), 1e-15);
    assert_near(moe_real_exponential(UINT32_MAX), -log1p(-0x1p-33), 1e-15);
    assert_true(moe_real_exp(0) == 1 && moe_real_log(1) == 0);
    assert_true(moe_real_exp(-INFINITY) == 0);
}

/* Moments over n draws lie within 5 standard errors. */
static void test_normals_and_gammas_have_their_moments(void **state)
{
    (void)state;
    enum { N = 40000 };
    const double alphas[] = {0.3, 1, 4.5};
    moe_stream_t stream = moe_stream_start(&(moe_source_t){.seed = 2}, 0, 0);
    double sum = 0, squares = 0, fourth = 0;
    for (size_t i = 0; i < N / 2; i++) {
        double pair[2];
        moe_stream_normals(&stream, pair);
        for (size_t j = 0; j < 2; j++) {
            sum += pair[j];
            squares += pair[j] * pair[j];
            fourth += pow(pair[j], 4);
        }
    }
    assert_true(fabs(sum / N) < 5 / sqrt(N));
    assert_true(fabs(squares / N - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(fourth / N - 3) < 5 * sqrt(96.0 / N));
    for (size_t a = 0; a < sizeof alphas / sizeof alphas[0]; a++) {
        const double alpha = alphas[a];
        sum = squares = 0;
        for (size_t i = 0; i < N; i++) {
            const double gamma = exp(moe_stream_log_gamma(&stream, alpha));
            sum += gamma;
            squares += (gamma - alpha) * (gamma - alpha);
        }
        assert_true(fabs(sum / N - alpha) < 5 * sqrt(alpha / N));
        /* Fourth central moment: 3 alpha^2 + 6 alpha. */
        assert_true(fabs(squares / N - alpha) < 5 * sqrt((2 * alpha * alpha + 6 * alpha) / N));
    }
}

static void test_shuffles_are_uniform_permutations(void **state)
{
    (void)state;
    enum { SHUFFLES = 24000 };
    size_t times[256] = {0};
    for (uint64_t i = 0; i < SHUFFLES; i++) {
        uint16_t p[4];
        moe_stream_t stream = moe_stream_start(&(moe_source_t){.seed = 3}, i, 0);
        moe_stream_shuffle(&stream, 4, p);
        assert_int_equal(1 << p[0] | 1 << p[1] | 1 << p[2] | 1 << p[3], 15);
        times[p[0] << 6 | p[1] << 4 | p[2] << 2 | p[3]]++;
    }
    double chi2 = 0; /* 23 degrees of freedom */
    size_t kinds = 0;
    for (size_t i = 0; i < 256; i++) {
        if (times[i] > 0) {
            kinds++;
            chi2 += pow((double)times[i] - SHUFFLES / 24.0, 2) / (SHUFFLES / 24.0);
        }
    }
    assert_int_equal(kinds, 24);
    assert_true(chi2 < 23 + 5 * sqrt(2 * 23));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_words_are_philox4x32_10),
        cmocka_unit_test(test_every_part_of_the_counter_changes_the_words),
        cmocka_unit_test(test_words_in_bulk_are_the_words_one_by_one),
        cmocka_unit_test(test_own_logarithm_and_exponential_agree_with_the_library),
        cmocka_unit_test(test_normals_and_gammas_have_their_moments),
        cmocka_unit_test(test_shuffles_are_uniform_permutations),
    };
    return cmocka_run_group_tests_name("routing", tests, NULL, NULL);
}
