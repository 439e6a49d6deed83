/* Routing by files: popularity from counts, choices from traces, by rank or dealt out, repeated where short. */
#include "trace_setting.h"

#include "routing_cases.h"

static moe_routing_spec_t spec_of(const char *skew, size_t experts, size_t top_k, size_t ranks,
                                  size_t tokens)
{
    moe_routing_spec_t spec = make_spec("softmax", experts, top_k, skew, 1);
    spec.run = (moe_trace_run_t){.ranks = ranks, .tokens_per_rank = tokens};
    return spec;
}

/* The choices of a token by themselves. */
static void expect_choice(const moe_routing_spec_t *spec, size_t layer, uint32_t step,
                          uint64_t token, const int32_t wanted[3])
{
    moe_router_t *router = NULL;
    moe_table_t table;
    moe_error_t error = {0};
    if (moe_router_create(spec, layer, &router, &error) != MOE_OK)
        fail_msg("%s", error.text);
    assert_int_equal(moe_table_create(1, 3, &table, NULL), MOE_OK);
    assert_int_equal(moe_router_route(router, step, token, &table, NULL), MOE_OK);
    for (size_t k = 0; k < 3; k++)
        assert_int_equal(table.expert[k], wanted[k]);
    /* 65536 does not divide by 3: the first has what is left over. */
    assert_true(table.weight[0] == 21846.0f / 65536 && table.weight[2] == 21845.0f / 65536);
    moe_table_destroy(&table);
    moe_router_destroy(router);
}

static void test_choices_without_ranks_are_dealt_out_and_repeat(void **state)
{
    (void)state;
    moe_routing_spec_t spec = spec_of("trace:" SAMPLES "vllm-i2.npy", 8, 3, 2, 4);
    expect_choice(&spec, 0, 0, 0, (const int32_t[]){0, 1, 5});
    expect_choice(&spec, 0, 0, 4, (const int32_t[]){0, 2, 5}); /* the second rank's first */
    expect_choice(&spec, 0, 0, 6, (const int32_t[]){0, 1, 5});
    expect_choice(&spec, 0, 1, 0, (const int32_t[]){4, 7, 1}); /* 8 tokens later */
    expect_choice(&spec, 1, 0, 0, (const int32_t[]){1, 2, 6});
    expect_choice(&spec, 2, 0, 0, (const int32_t[]){0, 1, 5});
    spec.first_moe_layer = 3; /* three dense layers before */
    expect_choice(&spec, 4, 0, 0, (const int32_t[]){1, 2, 6});
    moe_skew_destroy(&spec.skew);
}

static void test_choices_with_ranks_go_to_their_ranks(void **state)
{
    (void)state;
    moe_routing_spec_t spec = spec_of("trace:" SAMPLES "megatron.jsonl", 8, 3, 2, 5);
    expect_choice(&spec, 1, 1, 5, (const int32_t[]){0, 3, 5}); /* rank 1, token 0 */
    expect_choice(&spec, 1, 1, 7, (const int32_t[]){4, 6, 1});
    expect_choice(&spec, 1, 1, 8, (const int32_t[]){0, 3, 5}); /* it has 3: they repeat */
    expect_choice(&spec, 3, 3, 8, (const int32_t[]){0, 3, 5}); /* layers and steps as well */
    spec.run.ranks = 3; /* another number of ranks: dealt out, 4 of rank 0 and 3 of rank 1 */
    expect_choice(&spec, 1, 1, 4, (const int32_t[]){0, 3, 5});
    expect_choice(&spec, 1, 1, 11, (const int32_t[]){0, 3, 5});
    moe_skew_destroy(&spec.skew);
}

static void test_counts_are_the_popularity_of_experts_at_their_places(void **state)
{
    (void)state;
    moe_routing_spec_t spec = spec_of("counts:" SAMPLES "eplb-weight.json", 4, 2, 1, 1);
    static const double wanted[2][4] = {{90, 132, 40, 61}, {20, 107, 104, 64.5}};
    for (size_t layer = 0; layer < 4; layer++) {
        const double *weight = wanted[layer % 2];
        moe_router_t *router = NULL;
        assert_int_equal(moe_router_create(&spec, layer, &router, NULL), MOE_OK);
        for (size_t e = 0; e < 4; e++) {
            const double sum = weight[0] + weight[1] + weight[2] + weight[3];
            const double off = moe_router_popularity(router)[e] - weight[e] / sum;
            assert_true(off < 1e-8 && off > -1e-8);
        }
        moe_router_destroy(router);
    }
    moe_skew_destroy(&spec.skew);
}

static void test_experts_that_the_file_does_not_name_are_hardly_chosen(void **state)
{
    (void)state;
    moe_routing_spec_t spec = spec_of("counts:" SAMPLES "counts.csv", 16, 2, 1, 1);
    moe_router_t *router = NULL;
    assert_int_equal(moe_router_create(&spec, 0, &router, NULL), MOE_OK);
    const double *popularity = moe_router_popularity(router);
    assert_true(popularity[0] > 0.7499 && popularity[3] > 0.2499 && popularity[15] < 1e-9);
    moe_router_destroy(router);
    moe_skew_destroy(&spec.skew);
}

static void test_probabilities_of_a_trace_are_those_of_its_choices(void **state)
{
    (void)state;
    moe_routing_spec_t spec = spec_of("trace:" SAMPLES "vllm-i2.npy", 8, 3, 1, 6);
    moe_router_t *router = NULL;
    double probability[8], sum = 0;
    assert_int_equal(moe_router_create(&spec, 0, &router, NULL), MOE_OK);
    moe_router_probabilities(router, 0, 2, probability);
    for (size_t e = 0; e < 8; e++) {
        assert_int_equal(probability[e] > 0, e == 4 || e == 7 || e == 1);
        sum += probability[e];
    }
    assert_true(sum > 1 - 1e-12 && sum < 1 + 1e-12);
    moe_router_destroy(router);
    moe_skew_destroy(&spec.skew);
}

static void expect_skew_refusal(const char *skew, size_t experts, size_t top_k, const char *reason)
{
    moe_error_t error = {0};
    moe_skew_t parsed = {0};
    moe_status_t status = moe_skew_parse("--skew", skew, &parsed, &error);
    if (status == MOE_OK)
        status = moe_skew_check(&parsed, experts, top_k, &error);
    assert_int_equal(status, MOE_BAD_INPUT);
    if (strstr(error.text, reason) == NULL)
        fail_msg("'%s' has not '%s'", error.text, reason);
    moe_skew_destroy(&parsed);
}

static void test_files_that_do_not_fit_the_model_are_refused_with_the_values(void **state)
{
    (void)state;
    expect_skew_refusal("trace:" SAMPLES "vllm-i2.npy", 8, 2,
                        "choose 3 experts, the model's choose 2");
    expect_skew_refusal("trace:" SAMPLES "vllm-i2.npy", 7, 3,
                        "has 8 experts or more, the model has 7");
    expect_skew_refusal("counts:" SAMPLES "eplb-weight.json", 8, 2,
                        "has 4 experts, the model has 8");
    expect_skew_refusal("trace:" SAMPLES "counts.csv", 8, 3, "none of the formats");
    expect_skew_refusal("counts:" SAMPLES "sglang-physical-to-logical-map.json", 4, 2,
                        "no \"logical_count\"");
    expect_skew_refusal("trace", 8, 3, "names no file: write trace:FILE");
    expect_skew_refusal("counts:", 8, 3, "names no file: write counts:FILE");
    expect_skew_refusal("trace:/no/such", 8, 3, "cannot open '/no/such'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choices_without_ranks_are_dealt_out_and_repeat),
        cmocka_unit_test(test_choices_with_ranks_go_to_their_ranks),
        cmocka_unit_test(test_counts_are_the_popularity_of_experts_at_their_places),
        cmocka_unit_test(test_experts_that_the_file_does_not_name_are_hardly_chosen),
        cmocka_unit_test(test_probabilities_of_a_trace_are_those_of_its_choices),
        cmocka_unit_test(test_files_that_do_not_fit_the_model_are_refused_with_the_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
