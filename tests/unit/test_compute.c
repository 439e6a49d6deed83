#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "moe/iteration.h"
#include "moe/model.h"
#include "watch_device.h"

static moe_compute_t *engine(watch_t *w, const char *text)
{
    moe_compute_t *c = NULL;
    moe_error_t error = {.status = MOE_OK};
    if (moe_compute_create("--compute", text, &w->device, &c, &error) != MOE_OK)
        fail_msg("%s", error.text);
    return c;
}

static void prepare(moe_compute_t *c, const moe_gemm_list_t *lists, size_t count)
{
    moe_error_t error = {.status = MOE_OK};
    if (c->ops->prepare(c, lists, count, &error) != MOE_OK)
        fail_msg("%s", error.text);
}

static void refused(const char *text, const char *part)
{
    moe_compute_t *c = NULL;
    moe_error_t error = {.status = MOE_OK};
    assert_int_equal(moe_compute_create("--compute", text, NULL, &c, &error), MOE_BAD_INPUT);
    assert_null(c);
    if (strstr(error.text, "--compute") == NULL || strstr(error.text, part) == NULL)
        fail_msg("'%s' does not name --compute, or not '%s'", error.text, part);
}

static moe_gemm_list_t ffn(size_t tokens, size_t hidden, size_t inner, bool glu)
{
    moe_gemm_list_t list;
    assert_int_equal(moe_gemms_ffn(tokens, hidden, inner, glu, &list, NULL), MOE_OK);
    return list;
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fabs(b);
}

/* ---- Parsing ---- */

static void test_engines_are_found_by_name(void **state)
{
    watch_t *w = *state;
    assert_null(moe_compute_at(moe_compute_count()));
    const char *texts[] = {"none", "gemm", "model:100e12,0.5", "gpu:h100"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        moe_compute_t *c = engine(w, texts[i]);
        assert_int_equal(strncmp(texts[i], c->ops->name, strlen(c->ops->name)), 0);
        assert_true(strlen(c->description) > 0);
        moe_compute_destroy(c);
        /* To check an option there is no device yet. */
        assert_int_equal(moe_compute_create("--compute", texts[i], NULL, &c, NULL), MOE_OK);
        moe_compute_destroy(c);
    }
    moe_compute_destroy(NULL);
}

static void test_wrong_engines_are_refused_with_what_there_is(void **state)
{
    (void)state;
    refused("", "model:FLOPS,EFFICIENCY");
    refused("gem", "gemm");
    refused("gemms", "there are");
    refused("GPU:h100", "gpu:NAME");
    refused("none:1", "takes no arguments");
    refused("gemm:", "takes no arguments");
    refused("model", "give model:FLOPS,EFFICIENCY");
    refused("model:", "give model:FLOPS,EFFICIENCY");
    refused("model:100e12", "give model:FLOPS,EFFICIENCY");
    refused("gpu", "a100, h100, h200, h800, b200");
    refused("gpu:", "a100, h100, h200, h800, b200");
    refused("gpu:v100", "a100, h100, h200, h800, b200");
}

static void test_impossible_rates_are_refused(void **state)
{
    (void)state;
    const char *rates[] = {"0", "-1e12", "nan", "inf", "1e400", "1e30", "989", "1e12x", ""};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "model:%s,0.5", rates[i]);
        refused(text, "FLOPS");
    }
    const char *efficiencies[] = {"0", "1.01", "-0.5", "nan", "1e-400", "", "0.5,1"};
    for (size_t i = 0; i < sizeof efficiencies / sizeof efficiencies[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "model:1e12,%s", efficiencies[i]);
        refused(text, "EFFICIENCY");
        snprintf(text, sizeof text, "gpu:h100,%s", efficiencies[i]);
        refused(text, "EFFICIENCY");
    }
    char longest[4096];
    memset(longest, '9', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    memcpy(longest, "model:", 6);
    refused(longest, "model:FLOPS,EFFICIENCY");
    memcpy(longest, "gpu:99", 6);
    refused(longest, "h100");
}

/* ---- Modelled compute ---- */

/* Data sheets: dense bf16, TFLOP/s. */
static void test_gpus_have_their_data_sheets_rate(void **state)
{
    watch_t *w = *state;
    const struct {
        const char *text;
        double tflops;
        const char *description;
    } cases[] = {
        {"gpu:a100", 312 * 0.8, "312 TFLOP/s x 0.8 (modelled: a100)"},
        {"gpu:h100", 989 * 0.8, "989 TFLOP/s x 0.8 (modelled: h100)"},
        {"gpu:h800", 989 * 0.8, "989 TFLOP/s x 0.8 (modelled: h800)"},
        {"gpu:h200,1", 989, "989 TFLOP/s x 1 (modelled: h200)"},
        {"gpu:b200,0.5", 1125, "2250 TFLOP/s x 0.5 (modelled: b200)"},
        {"model:100e12,0.25", 25, "100 TFLOP/s x 0.25 (modelled)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        moe_compute_t *c = engine(w, cases[i].text);
        assert_true(near(c->flops_per_second, cases[i].tflops * 1e12));
        assert_string_equal(c->description, cases[i].description);
        moe_compute_destroy(c);
    }
}

static void test_a_model_waits_flops_over_rate(void **state)
{
    watch_t *w = *state;
    moe_compute_t *c = engine(w, "model:1e12,0.5");
    moe_gemm_list_t list = ffn(10, 100, 200, true);
    assert_int_equal(c->ops->memory(c, &list, 1), 0);
    prepare(c, &list, 1);
    c->ops->run(c, &list, false);
    assert_true(near(w->waited, 2.0 * 3 * 10 * 100 * 200 / 0.5e12));
    w->waited = 0;
    c->ops->run(c, &list, true);
    assert_true(near(w->waited, 2 * 2.0 * 3 * 10 * 100 * 200 / 0.5e12));
    moe_gemm_list_t empty = ffn(0, 100, 200, true);
    w->waited = 0;
    c->ops->run(c, &empty, false);
    assert_true(w->waited == 0);
    moe_gemm_list_destroy(&empty);
    moe_gemm_list_destroy(&list);
    moe_compute_destroy(c);
}

static void test_a_modelled_expert_waits_for_the_rows_that_arrived(void **state)
{
    watch_t *w = *state;
    moe_compute_t *c = engine(w, "gpu:h100");
    moe_gemm_list_t list = ffn(10, 100, 200, true);
    const float in[100] = {0};
    float out[100] = {7, 8};
    c->ops->experts(c, &list, &(moe_expert_t){.rows = 1, .in = in, .out = out}, 1, MOE_FP32,
                    MOE_FP32, 100, false);
    assert_true(near(w->waited, 2.0 * 3 * 1 * 100 * 200 / (989e12 * 0.8)));
    assert_true(out[0] == 7 && out[1] == 8);
    w->waited = 0;
    c->ops->experts(c, &list, &(moe_expert_t){.rows = 1, .in = in, .out = out}, 1, MOE_FP32,
                    MOE_FP32, 100, true);
    assert_true(near(w->waited, 2 * 2.0 * 3 * 1 * 100 * 200 / (989e12 * 0.8)));
    w->waited = 0;
    c->ops->experts(c, &list, &(moe_expert_t){.rows = 0, .in = NULL, .out = NULL}, 1, MOE_FP32,
                    MOE_FP32, 100, false);
    assert_true(w->waited == 0);
    moe_gemm_list_destroy(&list);
    moe_compute_destroy(c);
}

static void test_none_does_nothing(void **state)
{
    watch_t *w = *state;
    moe_compute_t *c = engine(w, "none");
    moe_gemm_list_t list = ffn(10, 100, 200, true);
    float out[1] = {7};
    assert_int_equal(c->ops->memory(c, &list, 1), 0);
    prepare(c, &list, 1);
    c->ops->run(c, &list, true);
    c->ops->experts(c, &list, &(moe_expert_t){.rows = 10, .in = NULL, .out = out}, 1, MOE_BF16,
                    MOE_BF16, 100, false);
    assert_true(out[0] == 7 && w->gemms == 0 && w->waited == 0 && c->flops_per_second == 0);
    moe_gemm_list_destroy(&list);
    moe_compute_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCHED(test_engines_are_found_by_name),
        cmocka_unit_test(test_wrong_engines_are_refused_with_what_there_is),
        cmocka_unit_test(test_impossible_rates_are_refused),
        WATCHED(test_gpus_have_their_data_sheets_rate),
        WATCHED(test_a_model_waits_flops_over_rate),
        WATCHED(test_a_modelled_expert_waits_for_the_rows_that_arrived),
        WATCHED(test_none_does_nothing),
    };
    return cmocka_run_group_tests_name("iteration: compute engines", tests, NULL, NULL);
}
