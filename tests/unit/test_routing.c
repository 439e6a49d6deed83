#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "routing_cases.h"

/* A chi-square statistic of that many degrees of freedom, five standard deviations up: with a fixed
 * seed the tests are deterministic; this is how strict they are. */
static double chi_square_limit(double degrees)
{
    return degrees + 5 * sqrt(2 * degrees);
}

/* ---- The law: Plackett-Luce ---- */

/* All ordered choices of 3 experts, against p_a p_b / (1 - p_a) p_c / (1 - p_a - p_b). */
static void check_ordered_choices(const char *gate, size_t experts, const char *skew)
{
    enum { TOKENS = 60000, MOST = 8 };
    moe_router_t *router = make_router(gate, experts, 3, skew, 5, 2);
    const double *p = moe_router_popularity(router);
    moe_table_t table = make_table(router, 3, 1000, TOKENS);
    static size_t times[MOST][MOST][MOST];
    memset(times, 0, sizeof times);
    for (size_t t = 0; t < TOKENS; t++) {
        const int32_t *e = &table.expert[3 * t];
        times[e[0]][e[1]][e[2]]++;
    }
    double chi2 = 0, rest_expected = 0, rest_seen = 0;
    size_t cells = 0;
    for (size_t a = 0; a < experts; a++) {
        for (size_t b = 0; b < experts; b++) {
            for (size_t c = 0; c < experts; c++) {
                if (a == b || b == c || a == c) {
                    assert_int_equal(times[a][b][c], 0);
                    continue;
                }
                const double law = p[a] * p[b] / (1 - p[a]) * p[c] / (1 - p[a] - p[b]);
                const double expected = law * TOKENS, seen = (double)times[a][b][c];
                if (expected < 5) { /* rare ones count together */
                    rest_expected += expected;
                    rest_seen += seen;
                    continue;
                }
                chi2 += (seen - expected) * (seen - expected) / expected;
                cells++;
            }
        }
    }
    if (rest_expected >= 5) {
        chi2 += (rest_seen - rest_expected) * (rest_seen - rest_expected) / rest_expected;
        cells++;
    }
    assert_true(cells > 5);
    if (!(chi2 < chi_square_limit((double)cells - 1)))
        fail_msg("%s, %s, %zu experts: chi2 %g of %zu cells", gate, skew, experts, chi2, cells);
    moe_table_destroy(&table);
    moe_router_destroy(router);
}

static void test_experts_are_drawn_in_proportion_without_replacement(void **state)
{
    (void)state;
    check_ordered_choices("softmax", 6, "uniform");
    check_ordered_choices("softmax", 6, "zipf:1.0");
    check_ordered_choices("softmax", 5, "lognormal:1");
    check_ordered_choices("softmax", 8, "dirichlet:0.7");
    check_ordered_choices("softmax", 3, "zipf:2");
}

/* Nearly every draw falls on the same expert: the others come by inversion. */
static void test_inversion_has_the_same_law(void **state)
{
    (void)state;
    check_ordered_choices("softmax", 6, "hot:1,0.99");
    check_ordered_choices("softmax", 7, "hot:1,0.9999");
    check_ordered_choices("softmax", 5, "zipf:6");
}

/* ---- Against the definition: sort ln p_e + Gumbel_e ---- */

enum { E = 64, K = 8, TOKENS = 8000 };

typedef struct figures {
    double included[E];       /* tokens that chose e */
    double weight[K];         /* sums of the weights by rank */
    double weight_squared[K]; /* and of their squares */
    double probability[E];    /* sums of the gate probability */
    double probability_squared[E];
} figures_t;

typedef struct score {
    double value;
    size_t expert;
} score_t;

static int descending(const void *a, const void *b)
{
    const score_t *x = a, *y = b;
    return (x->value < y->value) - (x->value > y->value);
}

static void add(double value, double *sum, double *squares)
{
    *sum += value;
    *squares += value * value;
}

static void sort_scores(const double *p, uint64_t token, figures_t *f)
{
    score_t score[E];
    double all = 0, chosen = 0;
    for (size_t e = 0; e < E; e++) {
        uint32_t words[4];
        moe_random(99, MOE_FOR_DATA, 0, 0, token, (uint32_t)e, words);
        const double u = (words[0] + 0.5) * 0x1p-32;
        score[e] = (score_t){log(p[e]) - log(-log(u)), e};
        all += exp(score[e].value);
    }
    for (size_t e = 0; e < E; e++)
        add(exp(score[e].value) / all, &f->probability[e], &f->probability_squared[e]);
    qsort(score, E, sizeof score[0], descending);
    for (size_t k = 0; k < K; k++)
        chosen += exp(score[k].value);
    for (size_t k = 0; k < K; k++) {
        f->included[score[k].expert] += 1;
        add(exp(score[k].value) / chosen, &f->weight[k], &f->weight_squared[k]);
    }
}

static void race(const moe_router_t *router, const moe_table_t *table, figures_t *f)
{
    double probability[E];
    for (size_t t = 0; t < TOKENS; t++) {
        moe_router_probabilities(router, 0, t, probability);
        for (size_t e = 0; e < E; e++)
            add(probability[e], &f->probability[e], &f->probability_squared[e]);
        for (size_t k = 0; k < K; k++) {
            f->included[table->expert[t * K + k]] += 1;
            add(table->weight[t * K + k], &f->weight[k], &f->weight_squared[k]);
        }
    }
}

/* Difference of two means of TOKENS values in standard errors. */
static double z_of(double sum_a, double squares_a, double sum_b, double squares_b)
{
    const double mean_a = sum_a / TOKENS, mean_b = sum_b / TOKENS;
    const double variance =
        squares_a / TOKENS - mean_a * mean_a + squares_b / TOKENS - mean_b * mean_b;
    return fabs(mean_a - mean_b) / sqrt(variance / TOKENS);
}

static void test_the_race_agrees_with_sorting_perturbed_scores(void **state)
{
    (void)state;
    static figures_t by_race, by_sorting;
    moe_router_t *router = make_router("softmax", E, K, "zipf:1.0", 3, 0);
    moe_table_t table = make_table(router, 0, 0, TOKENS);
    race(router, &table, &by_race);
    for (uint64_t t = 0; t < TOKENS; t++)
        sort_scores(moe_router_popularity(router), t, &by_sorting);
    for (size_t e = 0; e < E; e++) {
        /* Inclusion is 0 or 1: its squares sum to the same. */
        assert_true(z_of(by_race.included[e], by_race.included[e], by_sorting.included[e],
                         by_sorting.included[e]) < 4.5);
        assert_true(z_of(by_race.probability[e], by_race.probability_squared[e],
                         by_sorting.probability[e], by_sorting.probability_squared[e]) < 4.5);
    }
    for (size_t k = 0; k < K; k++)
        assert_true(z_of(by_race.weight[k], by_race.weight_squared[k], by_sorting.weight[k],
                         by_sorting.weight_squared[k]) < 4.5);
    moe_table_destroy(&table);
    moe_router_destroy(router);
}

/* ---- Tables ---- */

static void check_row(const int32_t *expert, const float *weight, size_t experts, size_t top_k)
{
    double sum = 0;
    for (size_t k = 0; k < top_k; k++) {
        assert_in_range(expert[k], 0, experts - 1);
        for (size_t j = 0; j < k; j++)
            assert_int_not_equal(expert[j], expert[k]);
        const float units = weight[k] * MOE_WEIGHT_ONE;
        assert_true(units == floorf(units) && units >= 0);
        assert_true(k == 0 || weight[k] <= weight[k - 1]);
        sum += weight[k];
    }
    assert_true(sum == 1);
}

static void check_table(size_t experts, size_t top_k, const char *skew, size_t tokens)
{
    moe_router_t *router = make_router("softmax", experts, top_k, skew, 17, 1);
    moe_table_t table = make_table(router, 0, 5, tokens);
    for (size_t t = 0; t < tokens; t++)
        check_row(&table.expert[t * top_k], &table.weight[t * top_k], experts, top_k);
    moe_table_destroy(&table);
    moe_router_destroy(router);
}

static void test_choices_are_distinct_and_weights_sum_to_one_exactly(void **state)
{
    (void)state;
    const char *skews[] = {"balanced", "uniform", "zipf:1.0",   "hot:1,0.9999",
                           "hot:1,1",  "zipf:64", "lognormal:3"};
    for (size_t s = 0; s < sizeof skews / sizeof skews[0]; s++) {
        check_table(1, 1, skews[s], 300);
        check_table(2, 1, skews[s], 600);
        check_table(2, 2, skews[s], 300);
        check_table(7, 7, skews[s], 300);
        check_table(8, 2, skews[s], 1000);
        check_table(60, 5, skews[s], 200);
        check_table(256, 8, skews[s], 300);
        check_table(256, 256, skews[s], 3);
        check_table(1500, 1023, skews[s], 2);
        check_table(MOE_MAX_EXPERTS, 8, skews[s], 130);
    }
    check_table(MOE_MAX_EXPERTS, MOE_MAX_TOP_K, "zipf:1.0", 2);
}

static void test_no_tokens_give_an_empty_table(void **state)
{
    (void)state;
    const char *skews[] = {"balanced", "zipf:1.0"};
    for (size_t s = 0; s < 2; s++) {
        moe_router_t *router = make_router("softmax", 8, 2, skews[s], 1, 0);
        moe_table_t table = make_table(router, 0, 12, 0);
        assert_int_equal(table.tokens, 0);
        assert_int_equal(table.first_token, 12);
        assert_int_equal(moe_table_hash(&table, 0, 0), 0);
        moe_table_destroy(&table);
        moe_router_destroy(router);
    }
    moe_table_t none = {0};
    moe_table_destroy(&none);
}

static void test_tables_past_memory_are_refused(void **state)
{
    (void)state;
    moe_table_t table;
    moe_error_t error = {0};
    assert_int_equal(moe_table_create(SIZE_MAX / 2, 8, &table, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "lower tokens"));
    assert_int_equal(moe_table_create(SIZE_MAX / 8, 8, &table, &error), MOE_BAD_INPUT);
}

/* ---- Balanced ---- */

static void count(const moe_table_t *table, size_t *counts, size_t experts)
{
    memset(counts, 0, experts * sizeof *counts);
    for (size_t i = 0; i < table->tokens * table->top_k; i++)
        counts[table->expert[i]]++;
}

static void check_balance(size_t experts, size_t top_k, size_t block)
{
    size_t counts[64];
    moe_router_t *router = make_router("softmax", experts, top_k, "balanced", 23, 0);
    for (size_t tokens = 1; tokens <= 4 * block; tokens++) {
        moe_table_t table = make_table(router, 0, 0, tokens);
        count(&table, counts, experts);
        size_t least = SIZE_MAX, most = 0;
        for (size_t e = 0; e < experts; e++) {
            least = counts[e] < least ? counts[e] : least;
            most = counts[e] > most ? counts[e] : most;
        }
        if (most - least > (tokens % block == 0 ? 0 : 1))
            fail_msg("E %zu, K %zu: after %zu tokens loads are %zu to %zu", experts, top_k, tokens,
                     least, most);
        moe_table_destroy(&table);
    }
    moe_router_destroy(router);
}

static void test_balanced_loads_are_exactly_equal(void **state)
{
    (void)state;
    check_balance(8, 2, 4);
    check_balance(6, 4, 3);
    check_balance(7, 3, 7);
    check_balance(64, 8, 8);
    check_balance(5, 5, 1);
    check_balance(1, 1, 1);
    check_balance(9, 1, 9);
}

static void test_balanced_blocks_have_permutations_of_their_own(void **state)
{
    (void)state;
    moe_router_t *router = make_router("softmax", 16, 4, "balanced", 1, 0);
    moe_table_t table = make_table(router, 0, 0, 8); /* two blocks of 4 tokens */
    assert_memory_not_equal(table.expert, table.expert + 16, 16 * sizeof table.expert[0]);
    moe_table_destroy(&table);
    moe_router_destroy(router);
}

/* ---- Reproducibility ---- */

static const char *const gates[][2] = {
    /* gate, K */
    {"softmax", "8"},
    {"switch", "1"},
    {"gshard", "2"},
    {"noisy", "3"}};

static void check_splits(const char *gate, size_t top_k, const char *skew)
{
    enum { N = 1000, STEP = 4 };
    const uint64_t first = ((uint64_t)1 << 32) - 300; /* past 32 bits on the way */
    moe_router_t *router = make_router(gate, 40, top_k, skew, 77, 3);
    moe_table_t whole = make_table(router, STEP, first, N);
    const uint64_t hash = moe_table_hash(&whole, 3, STEP);
    const size_t parts[] = {8, 4, N, 3};
    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
        uint64_t sum = 0;
        for (size_t i = 0; i < parts[p]; i++) {
            const size_t from = i * N / parts[p], to = (i + 1) * N / parts[p];
            moe_table_t part = make_table(router, STEP, first + from, to - from);
            const size_t entries = (to - from) * top_k;
            assert_memory_equal(part.expert, whole.expert + from * top_k,
                                entries * sizeof part.expert[0]);
            assert_memory_equal(part.weight, whole.weight + from * top_k,
                                entries * sizeof part.weight[0]);
            sum += moe_table_hash(&part, 3, STEP);
            moe_table_destroy(&part);
        }
        assert_true(sum == hash);
    }
    moe_table_destroy(&whole);
    moe_router_destroy(router);
}

static void test_choices_do_not_depend_on_how_tokens_are_split(void **state)
{
    (void)state;
    for (size_t g = 0; g < 4; g++) {
        check_splits(gates[g][0], (size_t)atoi(gates[g][1]), "zipf:1.0");
        check_splits(gates[g][0], (size_t)atoi(gates[g][1]), "balanced");
    }
}

static uint64_t hash_of(uint64_t seed, size_t layer, uint32_t step, uint64_t first)
{
    moe_router_t *router = make_router("softmax", 32, 4, "uniform", seed, layer);
    moe_table_t table = make_table(router, step, first, 100);
    const uint64_t hash = moe_table_hash(&table, 0, 0); /* of the choices alone */
    moe_table_destroy(&table);
    moe_router_destroy(router);
    return hash;
}

static void test_seed_layer_step_and_token_change_the_table(void **state)
{
    (void)state;
    const uint64_t hashes[] = {hash_of(1, 0, 0, 0), hash_of(2, 0, 0, 0), hash_of(1, 1, 0, 0),
                               hash_of(1, 0, 1, 0), hash_of(1, 0, 0, 100)};
    assert_true(hash_of(1, 0, 0, 0) == hashes[0]);
    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < i; j++)
            assert_true(hashes[i] != hashes[j]);
    }
}

static void test_hash_sees_every_part_of_a_table(void **state)
{
    (void)state;
    int32_t expert[] = {0, 1, 2, 3};
    float weight[] = {0.5F, 0.5F, 0.5F, 0.5F};
    moe_table_t table = {.tokens = 2, .top_k = 2, .expert = expert, .weight = weight};
    const uint64_t hash = moe_table_hash(&table, 0, 0);
    assert_true(moe_table_hash(&table, 1, 0) != hash);
    assert_true(moe_table_hash(&table, 0, 1) != hash);
    table.first_token = 1;
    assert_true(moe_table_hash(&table, 0, 0) != hash);
    table.first_token = 0;
    expert[0] = 1, expert[1] = 0; /* order counts */
    assert_true(moe_table_hash(&table, 0, 0) != hash);
    expert[0] = 2, expert[1] = 3, expert[2] = 0, expert[3] = 1; /* so does who chose */
    assert_true(moe_table_hash(&table, 0, 0) != hash);
    expert[3] = MOE_NO_EXPERT;
    const uint64_t without = moe_table_hash(&table, 0, 0);
    expert[3] = 1;
    assert_true(moe_table_hash(&table, 0, 0) != without);
}

static uint64_t hash_of_weights(const moe_table_t *table)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < table->tokens * table->top_k; i++)
        hash = hash * 0x100000001b3 + (uint64_t)(table->weight[i] * MOE_WEIGHT_ONE); /* FNV */
    return hash;
}

/* Figures of this library's own making, to be the same on every processor, compiler and clone.
 * Where a change of the draw is meant, they change; results from before can then not be
 * repeated. */
static void test_tables_are_those_of_every_machine(void **state)
{
    (void)state;
    const struct {
        const char *gate;
        size_t top_k;
        const char *skew;
        uint64_t choices, weights;
    } cases[] = {
        {"softmax", 8, "zipf:1.0", 0x322c1eca2eb2a64c, 0x4ed212b0f3f7e180},
        {"softmax", 8, "hot:1,0.9999", 0x1f04d192698a0c8b, 0x76e3e8f3b1ed6088},
        {"softmax", 8, "balanced", 0xe53c76c907a53500, 0x23d1210167eccd38},
        {"softmax", 8, "lognormal:0.5", 0x9e0223079ed5e0ea, 0x132f0d08eb6b309a},
        {"softmax", 8, "dirichlet:0.3", 0x89cb483582b5f032, 0xe0c3fb3bcc0901ec},
        {"switch", 1, "zipf:1.0", 0x757c1574e1c1c5c7, 0x8e362487e2a272e4},
        {"gshard", 2, "zipf:1.0", 0xec9f3c0d2fa10403, 0x07db9066e90aeb4f},
        {"noisy", 4, "zipf:1.0", 0x6da07a184995d9a4, 0x30c7616aaa1cf4b4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        moe_router_t *router = make_router(cases[i].gate, 256, cases[i].top_k, cases[i].skew, 7, 5);
        moe_table_t table = make_table(router, 2, 1, 1000);
        const uint64_t choices = moe_table_hash(&table, 5, 2), weights = hash_of_weights(&table);
        if (choices != cases[i].choices || weights != cases[i].weights)
            fail_msg("{\"%s\", %zu, \"%s\", 0x%016llx, 0x%016llx}", cases[i].gate, cases[i].top_k,
                     cases[i].skew, (unsigned long long)choices, (unsigned long long)weights);
        moe_table_destroy(&table);
        moe_router_destroy(router);
    }
}

static void test_the_last_token_layer_and_step_can_be_routed(void **state)
{
    (void)state;
    moe_router_t *router = make_router("softmax", 8, 2, "zipf:1", UINT64_MAX, MOE_MAX_LAYERS - 1);
    moe_table_t table = make_table(router, UINT32_MAX, MOE_MAX_TOKENS - 10, 10);
    for (size_t t = 0; t < 10; t++)
        check_row(&table.expert[2 * t], &table.weight[2 * t], 8, 2);
    moe_table_destroy(&table);
    moe_router_destroy(router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_experts_are_drawn_in_proportion_without_replacement),
        cmocka_unit_test(test_inversion_has_the_same_law),
        cmocka_unit_test(test_the_race_agrees_with_sorting_perturbed_scores),
        cmocka_unit_test(test_choices_are_distinct_and_weights_sum_to_one_exactly),
        cmocka_unit_test(test_no_tokens_give_an_empty_table),
        cmocka_unit_test(test_tables_past_memory_are_refused),
        cmocka_unit_test(test_balanced_loads_are_exactly_equal),
        cmocka_unit_test(test_balanced_blocks_have_permutations_of_their_own),
        cmocka_unit_test(test_choices_do_not_depend_on_how_tokens_are_split),
        cmocka_unit_test(test_seed_layer_step_and_token_change_the_table),
        cmocka_unit_test(test_hash_sees_every_part_of_a_table),
        cmocka_unit_test(test_tables_are_those_of_every_machine),
        cmocka_unit_test(test_the_last_token_layer_and_step_can_be_routed),
    };
    return cmocka_run_group_tests_name("routing", tests, NULL, NULL);
}
