#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "moe/model.h"

static moe_model_t preset(const char *name)
{
    moe_model_t model;
    moe_error_t error = {.status = MOE_OK};
    if (moe_model_find(name, &model, &error) != MOE_OK)
        fail_msg("%s", error.text);
    return model;
}

static void assert_refused(const moe_model_t *model, const char *part)
{
    moe_error_t error = {.status = MOE_OK};
    assert_int_equal(moe_model_check(model, &error), MOE_BAD_INPUT);
    if (strstr(error.text, part) == NULL)
        fail_msg("'%s' does not say '%s'", error.text, part);
}

/* ---- Presets ---- */

static void test_every_preset_is_a_possible_shape_of_its_own_name(void **state)
{
    (void)state;
    assert_int_equal(moe_model_count(), 24);
    assert_null(moe_model_at(moe_model_count()));
    for (size_t i = 0; i < moe_model_count(); i++) {
        const moe_model_t *model = moe_model_at(i);
        moe_error_t error = {.status = MOE_OK};
        if (moe_model_check(model, &error) != MOE_OK)
            fail_msg("%s: %s", model->name, error.text);
        assert_non_null(model->gate);
        assert_non_null(model->note);
        assert_non_null(model->source);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(model->name, moe_model_at(j)->name);
        const moe_model_t copy = preset(model->name);
        assert_string_equal(copy.name, model->name);
        assert_int_equal(copy.hidden, model->hidden);
        assert_ptr_equal(copy.source, model->source);
    }
}

/* A shape that misses its published size is mistyped, or the formula does not hold for it. */
static void test_every_preset_has_the_published_number_of_parameters(void **state)
{
    (void)state;
    size_t compared = 0;
    for (size_t i = 0; i < moe_model_count(); i++) {
        const moe_model_t *model = moe_model_at(i);
        moe_params_t params;
        moe_model_params(model, &params);
        if (model->published_params_b == 0)
            continue;
        const double off = params.total / 1e9 / model->published_params_b - 1;
        if (!(fabs(off) <= 0.035))
            fail_msg("%s: %.2f %% off the published total", model->name, 100 * off);
        compared++;
    }
    assert_int_equal(compared, moe_model_count() - 1); /* Switch gives none for this variant */
}

/* num_hidden_layers less the dense ones, by the publishers' configurations. */
static void test_moe_layers_are_those_of_the_configurations(void **state)
{
    (void)state;
    const struct {
        const char *name;
        size_t moe_layers, first_moe;
    } cases[] = {
        {"mixtral-8x7b", 32, 0},    {"deepseek-v2-lite", 26, 1}, {"deepseek-v2", 59, 1},
        {"deepseek-v3", 58, 3},     {"kimi-k2", 60, 1},          {"glm-4.5", 89, 3},
        {"llama4-maverick", 24, 1}, {"switch-base-8", 12, 1},    {"gshard-600b", 18, 1},
        {"arctic", 35, 0},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const moe_model_t model = preset(cases[c].name);
        size_t found = 0, first = model.layers;
        for (size_t layer = model.layers; layer-- > 0;) {
            if (moe_model_layer_is_moe(&model, layer)) {
                found++;
                first = layer;
            }
        }
        assert_int_equal(found, cases[c].moe_layers);
        assert_int_equal(first, cases[c].first_moe);
        assert_int_equal(moe_model_moe_layers(&model), cases[c].moe_layers);
    }
}

static void test_the_last_of_every_n_layers_is_moe(void **state)
{
    (void)state;
    const moe_model_t model = {.layers = 9, .first_dense = 1, .moe_every = 3};
    const bool expected[] = {false, false, false, true, false, false, true, false, false};
    for (size_t layer = 0; layer < model.layers; layer++)
        assert_int_equal(moe_model_layer_is_moe(&model, layer), expected[layer]);
    assert_int_equal(moe_model_moe_layers(&model), 2);
}

static void test_a_wrong_name_lists_the_nearest(void **state)
{
    (void)state;
    const struct {
        const char *name, *says;
    } cases[] = {
        {"deepsek-v3", "nearest: deepseek-v3, deepseek-v2"},
        {"Mixtral-8x7B", "nearest: mixtral-8x7b, mixtral-8x22b;"},
        {"qwen3", "nearest: qwen3-30b-a3b, qwen3-235b-a22b, qwen3-coder-480b-a35b;"},
        {"zzz", "no such preset; `moe-a2a models` lists all"},
        {"", "no such preset; `moe-a2a models` lists all"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        moe_model_t model = {.hidden = 17};
        moe_error_t error = {.status = MOE_OK};
        assert_int_equal(moe_model_find(cases[i].name, &model, &error), MOE_BAD_INPUT);
        if (strstr(error.text, cases[i].says) == NULL)
            fail_msg("'%s' does not say '%s'", error.text, cases[i].says);
        assert_non_null(strstr(error.text, "`moe-a2a models` lists all"));
        assert_int_equal(model.hidden, 17);
        assert_int_equal(moe_model_find(cases[i].name, &model, NULL), MOE_BAD_INPUT);
    }
}

/* ---- Impossible shapes ---- */

static void test_impossible_sizes_are_refused_with_their_option(void **state)
{
    (void)state;
    moe_model_t model = preset("mixtral-8x7b");
    model.top_k = 9;
    assert_refused(&model, "--top-k 9: more than --experts 8");
    model = preset("mixtral-8x7b");
    model.experts = 0;
    assert_refused(&model, "--experts 0");
    model = preset("mixtral-8x7b");
    model.top_k = 0;
    assert_refused(&model, "--top-k 0");
    model = preset("mixtral-8x7b");
    model.hidden = 0;
    assert_refused(&model, "--hidden 0");
    model = preset("mixtral-8x7b");
    model.expert_ffn = 0;
    assert_refused(&model, "--expert-ffn 0");
    model = preset("mixtral-8x7b");
    model.layers = 0;
    assert_refused(&model, "--layers 0");
    model = preset("mixtral-8x7b");
    model.head_dim = 0;
    assert_refused(&model, "head_dim 0");
    model = preset("mixtral-8x7b");
    model.capacity_factor = NAN;
    assert_refused(&model, "capacity_factor nan");
}

static void test_sizes_whose_products_overflow_are_refused(void **state)
{
    (void)state;
    moe_model_t model = preset("mixtral-8x7b");
    model.hidden = SIZE_MAX;
    assert_refused(&model, "--hidden 18446744073709551615");
    model = preset("mixtral-8x7b");
    model.experts = (size_t)1 << 40;
    assert_refused(&model, "--experts 1099511627776");
    model = preset("mixtral-8x7b");
    model.layers = SIZE_MAX;
    assert_refused(&model, "--layers");
    model = preset("deepseek-v2");
    model.shared_experts = (size_t)1 << 20;
    assert_refused(&model, "shared experts 1610612736 elements wide");
}

static void test_fewer_layers_than_a_moe_layer_needs_are_refused(void **state)
{
    (void)state;
    moe_model_t model = preset("deepseek-v3");
    model.layers = 2;
    assert_refused(&model,
                   "--layers 2 leaves no MoE layer: deepseek-v3 starts with 3 dense layers; "
                   "give --layers 4 or more");
    model.layers = 3;
    assert_refused(&model, "--layers 4 or more");
    model.layers = 4;
    assert_int_equal(moe_model_check(&model, NULL), MOE_OK);
    model = preset("switch-base-8");
    model.layers = 1;
    assert_refused(&model, "give --layers 2 or more");
    model.layers = 2;
    model.dense_ffn = 0;
    assert_refused(&model, "dense_ffn 0");
    model.layers = 1;
    model.moe_every = 1;
    assert_int_equal(moe_model_check(&model, NULL), MOE_OK);
}

static void test_one_expert_is_a_possible_model(void **state)
{
    (void)state;
    moe_model_t model = preset("olmoe-1b-7b");
    model.experts = 1;
    model.top_k = 1;
    assert_int_equal(moe_model_check(&model, NULL), MOE_OK);
    moe_params_t params;
    moe_model_params(&model, &params);
    assert_true(params.active == params.total);
}

/* ---- Bytes ---- */

/* Seed lecture: a token of Qwen3-235B is 8 KB, of DeepSeek-V3 14 KB, in bf16. */
static void test_token_bytes_match_the_lecture(void **state)
{
    (void)state;
    assert_int_equal(moe_row_bytes(MOE_BF16, preset("qwen3-235b-a22b").hidden), 8192);
    assert_int_equal(moe_row_bytes(MOE_BF16, preset("deepseek-v3").hidden), 14336);
}

/* DeepEP (README, v1): 7168 + 7168 / 128 * 4 bytes a token in FP8. */
static void test_fp8_rows_carry_a_scale_for_each_128_elements(void **state)
{
    (void)state;
    assert_int_equal(moe_row_bytes(MOE_FP8, 7168), 7392);
    assert_int_equal(moe_row_bytes(MOE_FP8, 128), 132);
    assert_int_equal(moe_row_bytes(MOE_FP8, 129), 137);
    assert_int_equal(moe_row_bytes(MOE_FP8, 1), 5);
    assert_int_equal(moe_row_bytes(MOE_FP8, 0), 0);
    assert_int_equal(moe_row_bytes(MOE_FP32, 7), 28);
    assert_int_equal(moe_row_bytes(MOE_FP16, 7), 14);
}

static void test_dtypes_are_read_as_they_are_written(void **state)
{
    (void)state;
    for (int i = 0; i < MOE_DTYPES; i++) {
        moe_dtype_t dtype = MOE_DTYPES;
        const char *name = moe_dtype_name((moe_dtype_t)i);
        assert_int_equal(moe_dtype_parse("--dtype", name, &dtype, NULL), MOE_OK);
        assert_int_equal(dtype, i);
    }
    const char *wrong[] = {"", "bf", "bf16 ", "BF16", "fp64", "NaN"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        moe_dtype_t dtype = MOE_FP8;
        moe_error_t error = {.status = MOE_OK};
        assert_int_equal(moe_dtype_parse("--dtype", wrong[i], &dtype, &error), MOE_BAD_INPUT);
        assert_int_equal(dtype, MOE_FP8);
        assert_non_null(strstr(error.text, "--dtype"));
        assert_non_null(strstr(error.text, "bf16, fp16, fp32 or fp8"));
    }
}

/* ---- Parameters ---- */

/* Seed lecture's sums for Mixtral-8x7B; 46.7 B in all (arXiv 2401.04088). */
static void test_mixtral_parameters_match_the_lecture(void **state)
{
    (void)state;
    const moe_model_t model = preset("mixtral-8x7b");
    moe_params_t params;
    moe_model_params(&model, &params);
    assert_true(params.embedding == 131072000);
    assert_true(params.attention == 1342177280);
    assert_true(params.experts == 45097156608);
    assert_true(params.experts_active == 11274289152);
    assert_true(params.lm_head == 131072000);
    assert_true(fabs(params.total / 1e9 - 46.7) < 0.05);
    assert_true(fabs(params.active / 1e9 - 12.9) < 0.05);
}

static void test_ffns_without_a_gate_have_two_matrices(void **state)
{
    (void)state;
    const moe_model_t model = preset("switch-base-8");
    moe_params_t params;
    moe_model_params(&model, &params);
    assert_true(params.experts == 12.0 * 8 * 2 * 768 * 3072);
    assert_true(params.dense == 12.0 * 2 * 768 * 3072);
    assert_true(params.shared == 0);
    assert_true(params.router == 12.0 * 768 * 8);
}

/* Arctic: a dense FFN beside the experts of every layer, though no layer is dense. */
static void test_a_dense_residual_counts_in_every_moe_layer(void **state)
{
    (void)state;
    const moe_model_t model = preset("arctic");
    moe_params_t params;
    moe_model_params(&model, &params);
    assert_true(params.dense == 35.0 * 3 * 7168 * 4864);
}

static void test_shared_experts_may_be_narrower_than_routed_ones(void **state)
{
    (void)state;
    moe_model_t model = preset("deepseek-v2");
    assert_int_equal(moe_model_shared_width(&model), 2 * 1536);
    model.shared_ffn = 100;
    assert_int_equal(moe_model_shared_width(&model), 200);
    model = preset("qwen3-next-80b-a3b");
    assert_int_equal(moe_model_shared_width(&model), 512);
    model = preset("mixtral-8x7b");
    assert_int_equal(moe_model_shared_width(&model), 0);
}

static void test_queries_that_are_not_compressed_have_one_matrix(void **state)
{
    (void)state;
    const moe_model_t lite = preset("deepseek-v2-lite");
    const double query = 2048.0 * 16 * 192, key_value = 2048.0 * (512 + 64) + 512.0 * 16 * 256;
    assert_true(moe_model_attention_params(&lite) == query + key_value + 16.0 * 128 * 2048);
    assert_int_equal(moe_model_score_width(&lite), 192);
    assert_int_equal(moe_model_value_width(&lite), 128);
}

/* ---- FLOP ---- */

/* arXiv 2505.09343, table 2: 250 and 155 GFLOP a token of training at sequence 4096; two digits
 * more by Megatron-LM's num_floating_point_operations (megatron/training/training.py). */
static void test_training_flops_match_the_published_ones(void **state)
{
    (void)state;
    const struct {
        const char *name;
        double gflop, published;
    } cases[] = {{"deepseek-v3", 249.81, 250}, {"deepseek-v2", 155.01, 155}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const moe_model_t model = preset(cases[i].name);
        moe_flops_t flops;
        moe_model_flops(&model, 4096, &flops);
        assert_true(fabs(flops.training / 1e9 - cases[i].gflop) < 0.005);
        assert_true(round(flops.training / 1e9) == cases[i].published);
    }
}

static void test_forward_is_the_sum_without_the_router_and_a_third_of_training(void **state)
{
    (void)state;
    for (size_t i = 0; i < moe_model_count(); i++) {
        const moe_model_t *model = moe_model_at(i);
        moe_flops_t f;
        moe_model_flops(model, 1024, &f);
        assert_true(f.forward == f.attention + f.dense + f.experts + f.shared + f.head);
        assert_true(f.training == 3 * f.forward);
        assert_true(f.router == 2.0 * (double)moe_model_moe_layers(model) * (double)model->hidden *
                                    (double)model->experts);
    }
}

/* By hand, from the formula: Q = 32 * 128, K = V = 8 * 128. */
static void test_attention_counts_half_the_scores(void **state)
{
    (void)state;
    const moe_model_t model = preset("mixtral-8x7b");
    moe_flops_t empty, full;
    moe_model_flops(&model, 0, &empty);
    moe_model_flops(&model, 2048, &full);
    assert_true(empty.attention == 2.0 * 32 * (4096.0 * (4096 + 1024 + 1024) + 4096.0 * 4096));
    assert_true(full.attention - empty.attention == 2.0 * 32 * 4096 * (2048.0 / 2) * 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_preset_is_a_possible_shape_of_its_own_name),
        cmocka_unit_test(test_every_preset_has_the_published_number_of_parameters),
        cmocka_unit_test(test_moe_layers_are_those_of_the_configurations),
        cmocka_unit_test(test_the_last_of_every_n_layers_is_moe),
        cmocka_unit_test(test_a_wrong_name_lists_the_nearest),
        cmocka_unit_test(test_impossible_sizes_are_refused_with_their_option),
        cmocka_unit_test(test_sizes_whose_products_overflow_are_refused),
        cmocka_unit_test(test_fewer_layers_than_a_moe_layer_needs_are_refused),
        cmocka_unit_test(test_one_expert_is_a_possible_model),
        cmocka_unit_test(test_token_bytes_match_the_lecture),
        cmocka_unit_test(test_fp8_rows_carry_a_scale_for_each_128_elements),
        cmocka_unit_test(test_dtypes_are_read_as_they_are_written),
        cmocka_unit_test(test_mixtral_parameters_match_the_lecture),
        cmocka_unit_test(test_ffns_without_a_gate_have_two_matrices),
        cmocka_unit_test(test_a_dense_residual_counts_in_every_moe_layer),
        cmocka_unit_test(test_shared_experts_may_be_narrower_than_routed_ones),
        cmocka_unit_test(test_queries_that_are_not_compressed_have_one_matrix),
        cmocka_unit_test(test_training_flops_match_the_published_ones),
        cmocka_unit_test(test_forward_is_the_sum_without_the_router_and_a_third_of_training),
        cmocka_unit_test(test_attention_counts_half_the_scores),
    };
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
