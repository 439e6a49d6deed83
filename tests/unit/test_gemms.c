#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "moe/iteration.h"
#include "moe/model.h"

static void assert_shape(const moe_gemm_t *s, size_t m, size_t n, size_t k, bool ta, bool tb)
{
    assert_int_equal(s->m, m);
    assert_int_equal(s->n, n);
    assert_int_equal(s->k, k);
    assert_int_equal(s->transpose_a, ta);
    assert_int_equal(s->transpose_b, tb);
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fabs(b);
}

static double list_flops(moe_status_t status, moe_gemm_list_t *list)
{
    assert_int_equal(status, MOE_OK);
    const double flops = moe_gemm_list_flops(list);
    moe_gemm_list_destroy(list);
    return flops;
}

/* The lists hold whole scores where the formula counts the causal half, and no norms where
 * Megatron-LM's formula counts those of MLA's compressed vectors. */
static void test_lists_hold_the_flops_of_the_formula(void **state)
{
    (void)state;
    const size_t tokens = 256, sequence = 64;
    for (size_t i = 0; i < moe_model_count(); i++) {
        const moe_model_t *m = moe_model_at(i);
        const double t = (double)tokens, layers = (double)m->layers;
        const double moe = (double)moe_model_moe_layers(m);
        const double dense = layers - (m->dense_residual ? 0 : moe);
        moe_flops_t f;
        moe_model_flops(m, sequence, &f);
        moe_gemm_list_t l;
        const double attention = list_flops(moe_gemms_attention(m, tokens, sequence, &l, NULL), &l);
        const double widths = (double)(moe_model_score_width(m) + moe_model_value_width(m));
        const double hidden_half = t * (double)m->heads * (double)sequence * widths;
        const double norms =
            m->mla.kv_lora > 0 ? 2 * t * (double)(m->mla.q_lora + m->mla.kv_lora) : 0;
        assert_true(near(layers * (attention - hidden_half + norms), t * f.attention));

        const size_t shared = moe_model_shared_width(m);
        assert_true(near(
            dense *
                list_flops(moe_gemms_ffn(tokens, m->hidden, m->dense_ffn, m->glu, &l, NULL), &l),
            t * f.dense));
        assert_true(
            near(moe * list_flops(moe_gemms_ffn(tokens, m->hidden, shared, m->glu, &l, NULL), &l),
                 t * f.shared));
        assert_true(near(moe * list_flops(moe_gemms_ffn(tokens * m->top_k, m->hidden, m->expert_ffn,
                                                        m->glu, &l, NULL),
                                          &l),
                         t * f.experts));
        assert_true(
            near(moe * list_flops(moe_gemms_router(m, tokens, &l, NULL), &l), t * f.router));
        assert_true(near(list_flops(moe_gemms_head(m, tokens, &l, NULL), &l), t * f.head));
    }
}

static void test_grouped_query_attention_has_four_gemms(void **state)
{
    (void)state;
    moe_model_t m;
    assert_int_equal(moe_model_find("mixtral-8x7b", &m, NULL), MOE_OK);
    moe_gemm_list_t l;
    assert_int_equal(moe_gemms_attention(&m, 100, 50, &l, NULL), MOE_OK);
    assert_int_equal(l.count, 4);
    assert_shape(&l.shape[0], 100, 4096 + 2 * 1024, 4096, false, false);
    assert_shape(&l.shape[1], 100, 4096, 4096, false, false);
    assert_shape(&l.shape[2], 50, 50, 128, false, true);
    assert_shape(&l.shape[3], 50, 128, 50, false, false);
    assert_int_equal(l.times[0], 1);
    assert_int_equal(l.times[2], 2 * 32);
    assert_int_equal(l.times[3], 2 * 32);
    moe_gemm_list_destroy(&l);
    assert_int_equal(l.count, 0);
    assert_null(l.shape);
    moe_gemm_list_destroy(&l);
}

static void test_latent_attention_compresses_queries_where_the_model_does(void **state)
{
    (void)state;
    moe_model_t m;
    moe_gemm_list_t l;
    assert_int_equal(moe_model_find("deepseek-v3", &m, NULL), MOE_OK);
    assert_int_equal(moe_gemms_attention(&m, 7, 7, &l, NULL), MOE_OK);
    assert_int_equal(l.count, 7);
    assert_shape(&l.shape[0], 7, 1536, 7168, false, false);
    assert_shape(&l.shape[1], 7, 128 * 192, 1536, false, false);
    assert_shape(&l.shape[2], 7, 512 + 64, 7168, false, false);
    assert_shape(&l.shape[3], 7, 128 * 256, 512, false, false);
    assert_shape(&l.shape[4], 7, 7168, 128 * 128, false, false);
    assert_shape(&l.shape[5], 7, 7, 192, false, true);
    assert_shape(&l.shape[6], 7, 128, 7, false, false);
    moe_gemm_list_destroy(&l);
    assert_int_equal(moe_model_find("deepseek-v2-lite", &m, NULL), MOE_OK);
    assert_int_equal(moe_gemms_attention(&m, 7, 7, &l, NULL), MOE_OK);
    assert_int_equal(l.count, 6);
    assert_shape(&l.shape[0], 7, 16 * 192, 2048, false, false);
    moe_gemm_list_destroy(&l);
}

static void test_the_last_sequence_may_be_shorter(void **state)
{
    (void)state;
    moe_model_t m;
    moe_gemm_list_t l;
    assert_int_equal(moe_model_find("mixtral-8x7b", &m, NULL), MOE_OK);
    assert_int_equal(moe_gemms_attention(&m, 100, 40, &l, NULL), MOE_OK);
    assert_int_equal(l.count, 6);
    assert_int_equal(l.times[2], 2 * 32);
    assert_shape(&l.shape[4], 20, 20, 128, false, true);
    assert_int_equal(l.times[4], 32);
    moe_gemm_list_destroy(&l);
    /* A sequence longer than the rank's tokens is one sequence of them. */
    assert_int_equal(moe_gemms_attention(&m, 100, 4096, &l, NULL), MOE_OK);
    assert_int_equal(l.count, 4);
    assert_shape(&l.shape[2], 100, 100, 128, false, true);
    assert_int_equal(l.times[2], 32);
    moe_gemm_list_destroy(&l);
}

static void test_no_tokens_and_no_width_are_no_gemms(void **state)
{
    (void)state;
    moe_model_t m;
    moe_gemm_list_t l;
    assert_int_equal(moe_model_find("deepseek-v3", &m, NULL), MOE_OK);
    assert_int_equal(moe_gemms_attention(&m, 0, 0, &l, NULL), MOE_OK);
    assert_int_equal(l.count, 0);
    assert_true(moe_gemm_list_flops(&l) == 0);
    moe_gemm_list_destroy(&l);
    assert_true(list_flops(moe_gemms_router(&m, 0, &l, NULL), &l) == 0);
    assert_true(list_flops(moe_gemms_head(&m, 0, &l, NULL), &l) == 0);
    assert_true(list_flops(moe_gemms_ffn(0, 8, 8, true, &l, NULL), &l) == 0);
    assert_true(list_flops(moe_gemms_ffn(8, 8, 0, true, &l, NULL), &l) == 0);
}

static void test_impossible_tokens_are_refused(void **state)
{
    (void)state;
    moe_model_t m;
    moe_gemm_list_t l;
    moe_error_t error = {.status = MOE_OK};
    assert_int_equal(moe_model_find("mixtral-8x7b", &m, NULL), MOE_OK);
    assert_int_equal(moe_gemms_attention(&m, 5, 0, &l, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "--seq-len 0"));
    assert_int_equal(moe_gemms_head(&m, SIZE_MAX, &l, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "--tokens 18446744073709551615"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists_hold_the_flops_of_the_formula),
        cmocka_unit_test(test_grouped_query_attention_has_four_gemms),
        cmocka_unit_test(test_latent_attention_compresses_queries_where_the_model_does),
        cmocka_unit_test(test_the_last_sequence_may_be_shorter),
        cmocka_unit_test(test_no_tokens_and_no_width_are_no_gemms),
        cmocka_unit_test(test_impossible_tokens_are_refused),
    };
    return cmocka_run_group_tests_name("iteration: GEMM lists", tests, NULL, NULL);
}
