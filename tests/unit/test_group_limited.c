/* The gate group-limited, and balanced choices within groups. */
#include <math.h>
#include <stdbool.h>

#include "routing_cases.h"

#define UNIT (1.0 / MOE_WEIGHT_ONE)

enum { E = 24, TOKENS = 20000 };

/* Shapes: DeepSeek-V3 and V2, all groups allowed, a group of one expert, K over several groups. */
static const struct shape {
    size_t experts, top_k, n_group, topk_group;
} shapes[] = {{256, 8, 8, 4}, {160, 6, 8, 3},  {24, 5, 6, 6},     {24, 3, 24, 3}, {12, 4, 4, 2},
              {300, 7, 3, 2}, {24, 1, 4, 3},   {7, 3, 1, 1},      {1, 1, 1, 1},   {30, 9, 3, 1},
              {30, 10, 3, 1}, {512, 10, 8, 5}, {1024, 2, 1024, 2}};

#define SHAPES (sizeof shapes / sizeof shapes[0])

static moe_routing_spec_t group_spec(const struct shape *s, const char *skew, uint64_t seed)
{
    moe_routing_spec_t spec = make_spec("group-limited", s->experts, s->top_k, skew, seed);
    spec.n_group = s->n_group;
    spec.topk_group = s->topk_group;
    return spec;
}

static moe_router_t *group_router(const struct shape *s, const char *skew)
{
    const moe_routing_spec_t spec = group_spec(s, skew, 19);
    moe_router_t *router = NULL;
    moe_error_t error = {0};
    if (moe_router_create(&spec, 2, &router, &error) != MOE_OK)
        fail_msg("%s", error.text);
    return router;
}

static void test_groups_that_cannot_be_are_refused(void **state)
{
    (void)state;
    const struct {
        struct shape shape;
        const char *said;
    } cases[] = {
        {{256, 8, 0, 0},
         "gate 'group-limited' needs groups of experts: give --n-group and "
         "--topk-group"},
        {{256, 8, 0, 4}, "--n-group"},
        {{256, 8, 7, 4}, "--n-group 7: does not divide 256 experts"},
        {{8, 2, 16, 4}, "--n-group 16: does not divide 8 experts"},
        {{4096, 2, 2048, 4}, "--n-group 2048: at most 1024"},
        {{256, 8, 8, 0}, "--topk-group 0: is not between 1 and --n-group 8"},
        {{256, 8, 8, 9}, "--topk-group 9: is not between 1 and --n-group 8"},
        {{256, 33, 8, 1}, "top-k 33: --topk-group 1 of --n-group 8 leaves a token 32 experts"},
        {{256, 8, 8, SIZE_MAX}, "--topk-group 18446744073709551615"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const moe_routing_spec_t spec = group_spec(&cases[i].shape, "uniform", 1);
        assert_refused(&spec, cases[i].said);
    }
    /* Other gates do not look at them. */
    moe_routing_spec_t spec = make_spec("softmax", 256, 8, "uniform", 1);
    spec.n_group = 7;
    assert_int_equal(moe_routing_check(&spec, NULL), MOE_OK);
}

static size_t groups_used(const struct shape *s, const int32_t *expert)
{
    bool used[1024] = {false};
    size_t count = 0;
    for (size_t k = 0; k < s->top_k; k++) {
        const size_t group = (size_t)expert[k] / (s->experts / s->n_group);
        count += !used[group];
        used[group] = true;
    }
    return count;
}

static void test_a_token_uses_topk_groups_at_most(void **state)
{
    (void)state;
    const char *skews[] = {"uniform", "zipf:1.0", "hot:1,0.9999", "balanced"};
    for (size_t i = 0; i < SHAPES * 4; i++) {
        const struct shape *s = &shapes[i / 4];
        if (s->experts == 1 && i % 4 == 2)
            continue;
        moe_router_t *router = group_router(s, skews[i % 4]);
        moe_table_t table = make_table(router, 1, 70, 200);
        for (size_t t = 0; t < 200; t++) {
            const int32_t *expert = &table.expert[t * s->top_k];
            assert_true(groups_used(s, expert) <= s->topk_group);
            for (size_t k = 0; k < s->top_k; k++) {
                assert_in_range(expert[k], 0, s->experts - 1);
                for (size_t j = 0; j < k; j++)
                    assert_int_not_equal(expert[j], expert[k]);
            }
        }
        moe_table_destroy(&table);
        moe_router_destroy(router);
    }
}

/* Index of the largest; taken out. */
static size_t take_largest(double *value, size_t count)
{
    size_t largest = 0;
    for (size_t i = 1; i < count; i++)
        largest = value[i] > value[largest] ? i : largest;
    value[largest] = -1;
    return largest;
}

/* The rule as the papers state it, on the scores of one token, which are used up. */
static void choose_plainly(const struct shape *s, double *score, size_t *expert, double *chosen)
{
    const size_t size = s->experts / s->n_group;
    double sum[1024], in_group[300], kept[1024];
    for (size_t g = 0; g < s->n_group; g++) {
        memcpy(in_group, score + g * size, size * sizeof *score);
        sum[g] = score[g * size + take_largest(in_group, size)];
        if (size > 1)
            sum[g] += score[g * size + take_largest(in_group, size)];
    }
    for (size_t e = 0; e < s->experts; e++)
        kept[e] = -1;
    for (size_t i = 0; i < s->topk_group; i++) {
        const size_t g = take_largest(sum, s->n_group);
        memcpy(kept + g * size, score + g * size, size * sizeof *score);
    }
    for (size_t k = 0; k < s->top_k; k++) {
        expert[k] = take_largest(kept, s->experts);
        chosen[k] = score[expert[k]];
    }
}

static void test_groups_and_experts_are_chosen_as_the_papers_say(void **state)
{
    (void)state;
    const char *skews[] = {"uniform", "zipf:1.0"};
    for (size_t i = 0; i < SHAPES * 2; i++) {
        const struct shape *s = &shapes[i / 2];
        moe_router_t *router = group_router(s, skews[i % 2]);
        moe_table_t table = make_table(router, 3, 11, 200);
        double score[1024], chosen[16];
        size_t expert[16];
        for (size_t t = 0; t < 200; t++) {
            moe_router_probabilities(router, 3, 11 + t, score);
            choose_plainly(s, score, expert, chosen);
            double total = 0, weights = 0;
            for (size_t k = 0; k < s->top_k; k++)
                total += chosen[k];
            for (size_t k = 0; k < s->top_k; k++) {
                const float weight = table.weight[t * s->top_k + k];
                assert_int_equal(table.expert[t * s->top_k + k], expert[k]);
                assert_true(fabs(weight - chosen[k] / total) < UNIT);
                weights += weight;
            }
            assert_true(weights == 1);
        }
        moe_table_destroy(&table);
        moe_router_destroy(router);
    }
}

/* One group, or groups of one expert, limit nothing: the choice is gshard's of the same logits. */
static void test_groups_that_limit_nothing_choose_the_best_of_all(void **state)
{
    (void)state;
    const struct shape one = {E, 2, 1, 1}, single = {E, 2, E, 2}, all = {E, 2, 6, 6};
    const struct shape *cases[] = {&one, &single, &all};
    for (size_t i = 0; i < 3; i++) {
        moe_router_t *router = group_router(cases[i], "zipf:1.0");
        moe_router_t *plain = make_router("gshard", E, 2, "zipf:1.0", 19, 2);
        moe_table_t table = make_table(router, 0, 0, 2000), best = make_table(plain, 0, 0, 2000);
        for (size_t j = 0; j < 2 * 2000; j++)
            assert_true(best.expert[j] == table.expert[j] || best.expert[j] == MOE_NO_EXPERT);
        moe_table_destroy(&best);
        moe_table_destroy(&table);
        moe_router_destroy(plain);
        moe_router_destroy(router);
    }
}

static void test_one_group_has_the_law_of_softmax(void **state)
{
    (void)state;
    const struct shape one = {E, 4, 1, 1};
    moe_router_t *routers[] = {group_router(&one, "zipf:1.0"),
                               make_router("softmax", E, 4, "zipf:1.0", 19, 2)};
    double times[2][E] = {{0}}, weights[2] = {0};
    for (size_t r = 0; r < 2; r++) {
        moe_table_t table = make_table(routers[r], 0, 0, TOKENS);
        for (size_t i = 0; i < (size_t)TOKENS * 4; i++)
            times[r][table.expert[i]] += 1;
        for (size_t t = 0; t < TOKENS; t++)
            weights[r] += table.weight[4 * t];
        moe_table_destroy(&table);
        moe_router_destroy(routers[r]);
    }
    for (size_t e = 0; e < E; e++) {
        const double p = (times[0][e] + times[1][e]) / (2 * TOKENS);
        assert_true(fabs(times[0][e] - times[1][e]) < 4.5 * sqrt(2 * p * (1 - p) * TOKENS));
    }
    /* A weight in [1/4, 1] has a standard deviation of 3/8 at most. */
    assert_true(fabs(weights[0] - weights[1]) < 4.5 * 0.375 * sqrt(2 * TOKENS));
}

static void test_the_largest_k_takes_whole_groups(void **state)
{
    (void)state;
    const struct shape s = {24, 12, 6, 3};
    moe_router_t *router = group_router(&s, "zipf:0.5");
    moe_table_t table = make_table(router, 0, 0, 500);
    size_t sets[6] = {0};
    for (size_t t = 0; t < 500; t++) {
        size_t count[6] = {0};
        for (size_t k = 0; k < 12; k++)
            count[table.expert[12 * t + k] / 4]++;
        for (size_t g = 0; g < 6; g++) {
            assert_true(count[g] == 0 || count[g] == 4);
            sets[g] += count[g] == 4;
        }
    }
    for (size_t g = 0; g < 6; g++)
        assert_true(sets[g] > 0 && sets[g] < 500);
    moe_table_destroy(&table);
    moe_router_destroy(router);
}

static size_t common_divisor(size_t a, size_t b)
{
    return b == 0 ? a : common_divisor(b, a % b);
}

static void test_balanced_loads_are_equal_within_the_limit_of_groups(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        const struct shape *s = &shapes[i];
        const size_t size = s->experts / s->n_group, divisor = common_divisor(size, s->top_k);
        const size_t block = s->n_group * size / divisor;
        moe_router_t *router = group_router(s, "balanced");
        moe_table_t table = make_table(router, 0, 3 * block, 2 * block);
        size_t counts[1024] = {0};
        for (size_t t = 0; t < 2 * block; t++) {
            const size_t most = s->topk_group < s->top_k ? s->topk_group : s->top_k;
            assert_int_equal(groups_used(s, &table.expert[t * s->top_k]), most);
        }
        for (size_t j = 0; j < 2 * block * s->top_k; j++)
            counts[table.expert[j]]++;
        for (size_t e = 0; e < s->experts; e++)
            assert_int_equal(counts[e], 2 * s->top_k / divisor);
        moe_table_destroy(&table);
        moe_router_destroy(router);
    }
}

static void test_grouped_routing_does_not_depend_on_how_tokens_are_split(void **state)
{
    (void)state;
    const char *skews[] = {"zipf:1.0", "balanced"};
    for (size_t i = 0; i < SHAPES * 2; i++) {
        const struct shape *s = &shapes[i / 2];
        moe_router_t *router = group_router(s, skews[i % 2]);
        moe_table_t whole = make_table(router, 4, 1000, 60);
        for (size_t first = 0; first < 60; first += 7) {
            const size_t tokens = first + 7 < 60 ? 7 : 60 - first;
            moe_table_t part = make_table(router, 4, 1000 + first, tokens);
            assert_memory_equal(part.expert, whole.expert + first * s->top_k,
                                tokens * s->top_k * sizeof *part.expert);
            assert_memory_equal(part.weight, whole.weight + first * s->top_k,
                                tokens * s->top_k * sizeof *part.weight);
            moe_table_destroy(&part);
        }
        moe_table_destroy(&whole);
        moe_table_t none = make_table(router, 4, 1000, 0);
        moe_table_destroy(&none);
        moe_router_destroy(router);
    }
}

/* Of this library's own making, to be the same on every processor, compiler and clone; see
 * test_routing.c. */
static void test_grouped_choices_are_those_of_every_machine(void **state)
{
    (void)state;
    const struct {
        const char *skew;
        uint64_t choices;
    } cases[] = {{"zipf:1.0", 0x91071bf5c6449c44}, {"balanced", 0x1e1ce7ce09784739}};
    for (size_t i = 0; i < 2; i++) {
        moe_router_t *router = group_router(&shapes[0], cases[i].skew);
        moe_table_t table = make_table(router, 2, 1, 1000);
        const uint64_t choices = moe_table_hash(&table, 2, 2);
        if (choices != cases[i].choices)
            fail_msg("{\"%s\", 0x%016llx}", cases[i].skew, (unsigned long long)choices);
        moe_table_destroy(&table);
        moe_router_destroy(router);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups_that_cannot_be_are_refused),
        cmocka_unit_test(test_a_token_uses_topk_groups_at_most),
        cmocka_unit_test(test_groups_and_experts_are_chosen_as_the_papers_say),
        cmocka_unit_test(test_groups_that_limit_nothing_choose_the_best_of_all),
        cmocka_unit_test(test_one_group_has_the_law_of_softmax),
        cmocka_unit_test(test_the_largest_k_takes_whole_groups),
        cmocka_unit_test(test_balanced_loads_are_equal_within_the_limit_of_groups),
        cmocka_unit_test(test_grouped_routing_does_not_depend_on_how_tokens_are_split),
        cmocka_unit_test(test_grouped_choices_are_those_of_every_machine),
    };
    return cmocka_run_group_tests_name("routing", tests, NULL, NULL);
}
