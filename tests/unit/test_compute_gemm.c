#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "moe/iteration.h"
#include "moe/model.h"
#include "watch_device.h"

static const moe_device_ops_t blunt_ops = {.name = "blunt", .has_gemm = false};

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

static moe_gemm_list_t ffn(size_t tokens, size_t hidden, size_t inner, bool glu)
{
    moe_gemm_list_t list;
    assert_int_equal(moe_gemms_ffn(tokens, hidden, inner, glu, &list, NULL), MOE_OK);
    return list;
}

static void assert_shape(const moe_gemm_t *s, size_t m, size_t n, size_t k, bool ta, bool tb)
{
    assert_int_equal(s->m, m);
    assert_int_equal(s->n, n);
    assert_int_equal(s->k, k);
    assert_int_equal(s->transpose_a, ta);
    assert_int_equal(s->transpose_b, tb);
}

static void test_gemm_is_refused_where_the_device_has_none(void **state)
{
    watch_t *w = *state;
    w->device.ops = &blunt_ops;
    moe_compute_t *c = NULL;
    moe_error_t error = {.status = MOE_OK};
    assert_int_equal(moe_compute_create("--compute", "gemm", &w->device, &c, &error),
                     MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "device blunt has no matrix product"));
}

static void test_memory_is_what_prepare_allocates(void **state)
{
    watch_t *w = *state;
    moe_compute_t *c = engine(w, "gemm");
    moe_gemm_list_t lists[] = {ffn(10, 100, 200, true), ffn(3, 64, 1000, false),
                               ffn(0, 5, 5, true)};
    prepare(c, lists, 3);
    assert_int_equal(w->allocated, c->ops->memory(c, lists, 3));
    /* A second time replaces the first. */
    prepare(c, lists, 1);
    assert_int_equal(w->allocated, c->ops->memory(c, lists, 1));
    prepare(c, &lists[2], 1);
    assert_int_equal(w->allocated, 0);
    assert_int_equal(c->ops->memory(c, &lists[2], 1), 0);
    for (size_t i = 0; i < 3; i++)
        moe_gemm_list_destroy(&lists[i]);
    moe_compute_destroy(c);
}

static void test_memory_that_is_refused_leaves_nothing_behind(void **state)
{
    watch_t *w = *state;
    moe_compute_t *c = engine(w, "gemm");
    moe_gemm_list_t list = ffn(10, 100, 200, true);
    for (size_t works = 0; works < 3; works++) {
        moe_error_t error = {.status = MOE_OK};
        w->allocs_left = works;
        assert_int_equal(c->ops->prepare(c, &list, 1, &error), MOE_BAD_INPUT);
        assert_non_null(strstr(error.text, "no memory left"));
        assert_int_equal(w->allocated, 0);
    }
    moe_gemm_list_destroy(&list);
    moe_compute_destroy(c);
}

static void test_gemms_are_those_of_the_list(void **state)
{
    watch_t *w = *state;
    moe_compute_t *c = engine(w, "gemm");
    moe_gemm_list_t list = ffn(10, 100, 200, true);
    prepare(c, &list, 1);
    c->ops->run(c, &list, false);
    assert_int_equal(w->gemms, 3);
    assert_shape(&w->log[0].shape, 10, 200, 100, false, false);
    assert_shape(&w->log[1].shape, 10, 200, 100, false, false);
    assert_shape(&w->log[2].shape, 10, 100, 200, false, false);
    assert_true(w->flops == moe_gemm_list_flops(&list));
    moe_gemm_list_destroy(&list);
    moe_compute_destroy(c);
}

/* C = A B: dA = dC B^T, dB = A^T dC. C = Q K^T: dQ = dC K, dK = dC^T Q. */
static void test_backward_runs_both_gradients_of_each_gemm(void **state)
{
    watch_t *w = *state;
    moe_compute_t *c = engine(w, "gemm");
    moe_gemm_t shapes[] = {{.m = 10, .n = 200, .k = 100},
                           {.m = 7, .n = 9, .k = 5, .transpose_b = true},
                           {.m = 7, .n = 9, .k = 5, .transpose_a = true},
                           {.m = 7, .n = 9, .k = 5, .transpose_a = true, .transpose_b = true}};
    size_t times[] = {1, 1, 1, 1};
    const moe_gemm_list_t list = {.count = 4, .capacity = 4, .shape = shapes, .times = times};
    prepare(c, &list, 1);
    c->ops->run(c, &list, true);
    assert_int_equal(w->gemms, 8);
    assert_shape(&w->log[0].shape, 10, 100, 200, false, true);
    assert_shape(&w->log[1].shape, 100, 200, 10, true, false);
    assert_shape(&w->log[2].shape, 7, 5, 9, false, false);
    assert_shape(&w->log[3].shape, 9, 5, 7, true, false);
    assert_shape(&w->log[4].shape, 5, 7, 9, false, true);
    assert_shape(&w->log[5].shape, 5, 9, 7, false, false);
    assert_shape(&w->log[6].shape, 5, 7, 9, true, true);
    assert_shape(&w->log[7].shape, 9, 5, 7, true, true);
    assert_true(w->flops == 2 * moe_gemm_list_flops(&list));
    moe_compute_destroy(c);
}

static bool apart(const float *a, size_t a_floats, const float *b, size_t b_floats)
{
    return a + a_floats <= b || b + b_floats <= a;
}

/* Cold operands: a GEMM never reads what the one before it has just read. */
static void test_gemms_in_a_row_read_other_memory(void **state)
{
    watch_t *w = *state;
    moe_compute_t *c = engine(w, "gemm");
    moe_gemm_list_t list = ffn(64, 1024, 2048, true);
    prepare(c, &list, 1);
    for (size_t i = 0; i < LOG / 3; i++)
        c->ops->run(c, &list, false);
    for (size_t i = 1; i < LOG / 3 * 3; i++) {
        const gemm_call_t *now = &w->log[i], *last = &w->log[i - 1];
        const size_t weights = now->shape.k * now->shape.n;
        assert_true(apart(now->b, weights, last->b, last->shape.k * last->shape.n));
        assert_true(apart(now->b, weights, now->a, now->shape.m * now->shape.k));
        assert_true(apart(now->b, weights, now->c, now->shape.m * now->shape.n));
    }
    moe_gemm_list_destroy(&list);
    moe_compute_destroy(c);
}

static void test_the_pool_is_random_and_always_the_same(void **state)
{
    watch_t *w = *state;
    moe_compute_t *c = engine(w, "gemm");
    moe_gemm_list_t list = ffn(4, 100, 400, true);
    w->copies = true;
    prepare(c, &list, 1);
    c->ops->run(c, &list, false);
    const float *pool = w->log[0].a;
    const size_t count = 100000;
    double sum = 0, squares = 0, first[4];
    for (size_t i = 0; i < count; i++) {
        assert_true(fabsf(pool[i]) <= 0.0501f); /* 1 / sqrt(400), rounded */
        sum += pool[i];
        squares += (double)pool[i] * pool[i];
    }
    /* Uniform in [-0.05, 0.05]: mean 0, variance 0.05^2 / 3. */
    assert_true(fabs(sum / (double)count) < 5 * 0.05 / sqrt(3.0 * (double)count));
    assert_true(fabs(squares / (double)count / (0.05 * 0.05 / 3) - 1) < 0.02);
    for (size_t i = 0; i < 4; i++)
        first[i] = pool[i];
    w->gemms = 0;
    prepare(c, &list, 1);
    c->ops->run(c, &list, false);
    for (size_t i = 0; i < 4; i++)
        assert_true(w->log[0].a[i] == (float)first[i]);
    moe_gemm_list_destroy(&list);
    moe_compute_destroy(c);
}

/* DeepSeek-V3's head for 4,096 tokens: weights of 3.5 GiB in fp32, a result of 2 GiB. */
static void test_large_matrices_go_through_in_panels(void **state)
{
    watch_t *w = *state;
    moe_model_t m;
    moe_gemm_list_t list;
    assert_int_equal(moe_model_find("deepseek-v3", &m, NULL), MOE_OK);
    assert_int_equal(moe_gemms_head(&m, 4096, &list, NULL), MOE_OK);
    moe_compute_t *c = engine(w, "gemm");
    prepare(c, &list, 1);
    assert_true(w->allocated <= (size_t)384 * 1024 * 1024);
    assert_true(w->largest <= (size_t)256 * 1024 * 1024);
    c->ops->run(c, &list, false);
    assert_true(w->gemms > 1);
    assert_true(w->flops == moe_gemm_list_flops(&list));
    w->flops = 0;
    c->ops->run(c, &list, true);
    assert_true(w->flops == 2 * moe_gemm_list_flops(&list));
    moe_gemm_list_destroy(&list);
    moe_compute_destroy(c);
}

/* 2^30 tokens: gradients of weights sum over more tokens than a panel of the pool is long. */
static void test_memory_is_bounded_for_any_number_of_tokens(void **state)
{
    watch_t *w = *state;
    moe_compute_t *c = engine(w, "gemm");
    moe_gemm_list_t list = ffn((size_t)1 << 30, 4096, 14336, true);
    assert_true(c->ops->memory(c, &list, 1) <= (size_t)384 * 1024 * 1024);
    moe_gemm_list_destroy(&list);
    list = ffn(((size_t)3 << 20) + 5, 64, 96, false);
    prepare(c, &list, 1);
    c->ops->run(c, &list, true);
    assert_true(w->flops == 2 * moe_gemm_list_flops(&list));
    moe_gemm_list_destroy(&list);
    moe_compute_destroy(c);
}

/* ---- Experts ---- */

/* One expert, rows of one dtype. */
static void run_expert(moe_compute_t *c, const moe_gemm_list_t *list, const void *in, void *out,
                       moe_dtype_t dtype, size_t rows, size_t hidden, bool backward)
{
    const moe_expert_t expert = {.rows = rows, .in = in, .out = out};
    c->ops->experts(c, list, &expert, 1, dtype, dtype, hidden, backward);
}

static void fill_oracle_like(float *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        rows[i] = (float)((int)(i * 7 % 33) - 16);
}

static void test_an_expert_writes_finite_rows_and_only_its_rows(void **state)
{
    watch_t *w = *state;
    enum { ROWS = 5, HIDDEN = 128, INNER = 320, GUARD = 16 };
    w->copies = w->computes = true;
    moe_compute_t *c = engine(w, "gemm");
    moe_gemm_list_t list = ffn(ROWS, HIDDEN, INNER, true);
    prepare(c, &list, 1);
    float memory[2 * ROWS * HIDDEN + GUARD], *in = memory, *out = memory + ROWS * HIDDEN;
    lend(w, memory, sizeof memory);
    for (int backward = 0; backward < 2; backward++) {
        fill_oracle_like(in, ROWS * HIDDEN);
        for (size_t i = 0; i < ROWS * HIDDEN + GUARD; i++)
            out[i] = NAN;
        w->flops = 0;
        run_expert(c, &list, in, out, MOE_FP32, ROWS, HIDDEN, backward != 0);
        double largest = 0;
        for (size_t i = 0; i < ROWS * HIDDEN; i++) {
            assert_true(isfinite(out[i]));
            largest = fmax(largest, fabs(out[i]));
        }
        assert_true(largest > 0 && largest < 448); /* the largest number of E4M3 */
        for (size_t i = ROWS * HIDDEN; i < ROWS * HIDDEN + GUARD; i++)
            assert_true(isnan(out[i]));
        assert_true(w->flops == (backward ? 2 : 1) * moe_gemm_list_flops(&list));
    }
    moe_gemm_list_destroy(&list);
    moe_compute_destroy(c);
}

static void test_an_expert_feeds_each_gemm_with_the_last_ones_result(void **state)
{
    watch_t *w = *state;
    moe_compute_t *c = engine(w, "gemm");
    moe_gemm_list_t list = ffn(8, 64, 96, true);
    prepare(c, &list, 1);
    float rows[8 * 64];
    fill_oracle_like(rows, 8 * 64);
    lend(w, rows, sizeof rows);
    run_expert(c, &list, rows, rows, MOE_FP32, 8, 64, false);
    assert_int_equal(w->gemms, 3);
    assert_ptr_equal(w->log[0].a, w->log[1].a);
    assert_ptr_equal(w->log[2].a, w->log[1].c);
    w->gemms = 0;
    run_expert(c, &list, rows, rows, MOE_FP32, 8, 64, true);
    assert_int_equal(w->gemms, 6);
    assert_shape(&w->log[0].shape, 8, 96, 64, false, true);
    assert_shape(&w->log[1].shape, 96, 64, 8, true, false);
    assert_ptr_equal(w->log[1].b, w->log[0].a);
    assert_ptr_equal(w->log[2].a, w->log[0].c);
    assert_shape(&w->log[2].shape, 8, 64, 96, false, true);
    assert_shape(&w->log[3].shape, 64, 96, 8, true, false);
    moe_gemm_list_destroy(&list);
    moe_compute_destroy(c);
}

/* Fewer rows than the list was made for, none, and more than the scratch holds at a time, of another
 * dtype than matrices. The watch does not multiply, so that rows come back as they went in: each from
 * and to its own place. */
static void test_an_expert_takes_the_rows_that_arrived(void **state)
{
    watch_t *w = *state;
    enum { HIDDEN = 1024, INNER = 14336, MANY = 2500 };
    moe_compute_t *c = engine(w, "gemm");
    moe_gemm_list_t list = ffn(MANY, HIDDEN, INNER, false);
    prepare(c, &list, 1);
    uint16_t *in = calloc(MANY * HIDDEN, sizeof *in), *out = calloc(MANY * HIDDEN, sizeof *out);
    assert_true(in != NULL && out != NULL);
    for (size_t i = 0; i < MANY * HIDDEN; i++)
        in[i] = (uint16_t)(i * 40503 >> 4);
    const size_t counts[] = {1, 0, MANY, MANY - 1};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const double once = 2.0 * 2 * (double)counts[i] * HIDDEN * INNER;
        memset(out, 0, MANY * HIDDEN * sizeof *out);
        w->flops = 0;
        w->gemms = w->widened = w->narrowed = 0;
        run_expert(c, &list, in, out, MOE_FP16, counts[i], HIDDEN, false);
        assert_true(w->flops == once);
        assert_int_equal(w->widened, counts[i]);
        assert_int_equal(w->narrowed, counts[i]);
        assert_int_equal(w->gemms > 2, counts[i] >= MANY - 1);
        assert_memory_equal(out, in, counts[i] * HIDDEN * sizeof *out);
        run_expert(c, &list, in, out, MOE_FP16, counts[i], HIDDEN, true);
        assert_true(w->flops == 3 * once);
    }
    free(in);
    free(out);
    moe_gemm_list_destroy(&list);
    moe_compute_destroy(c);
}

/* Weights of 2^27 floats, twice the pool: panels lie side by side in the rows of the scratch. */
static void test_an_expert_wider_than_the_pool_goes_through_in_panels(void **state)
{
    watch_t *w = *state;
    enum { HIDDEN = 8192, INNER = 16384, ROWS = 3 };
    moe_compute_t *c = engine(w, "gemm");
    moe_gemm_list_t list = ffn(ROWS, HIDDEN, INNER, true);
    prepare(c, &list, 1);
    float *rows = calloc(ROWS * HIDDEN, sizeof *rows);
    assert_non_null(rows);
    lend(w, rows, ROWS * HIDDEN * sizeof *rows);
    run_expert(c, &list, rows, rows, MOE_FP32, ROWS, HIDDEN, false);
    assert_true(w->gemms > 3);
    assert_true(w->flops == moe_gemm_list_flops(&list));
    run_expert(c, &list, rows, rows, MOE_FP32, ROWS, HIDDEN, true);
    assert_true(w->flops == 3 * moe_gemm_list_flops(&list));
    free(rows);
    moe_gemm_list_destroy(&list);
    moe_compute_destroy(c);
}

/* A device that likes many products at once gets those of all experts with rows together: gate, up and
 * down; for gradients twice as many. What one expert reads and writes is its own. */
static void test_experts_go_through_together_where_the_device_likes_it(void **state)
{
    watch_t *w = *state;
    enum { HIDDEN = 32, INNER = 48, EXPERTS = 5, ROWS = 3 + 0 + 7 + 1 + 2 };
    const size_t rows[EXPERTS] = {3, 0, 7, 1, 2};
    w->ops.gemm_group = 64;
    moe_compute_t *c = engine(w, "gemm");
    moe_gemm_list_t list[EXPERTS];
    moe_expert_t expert[EXPERTS];
    float memory[2 * ROWS * HIDDEN] = {0}, *at = memory;
    lend(w, memory, sizeof memory);
    for (size_t e = 0; e < EXPERTS; e++) {
        list[e] = ffn(rows[e], HIDDEN, INNER, true);
        expert[e] = (moe_expert_t){.rows = rows[e], .in = at, .out = at + ROWS * HIDDEN};
        at += rows[e] * HIDDEN;
    }
    prepare(c, list, EXPERTS);
    c->ops->experts(c, list, expert, EXPERTS, MOE_FP32, MOE_FP32, HIDDEN, false);
    assert_int_equal(w->gemms, 3 * 4);
    for (size_t i = 0; i < w->gemms; i++) {
        const size_t with_rows[] = {0, 2, 3, 4}, e = with_rows[i % 4];
        const gemm_call_t *call = &w->log[i];
        assert_int_equal(call->together, 4);
        assert_int_equal(call->shape.m, rows[e]);
        assert_ptr_equal(i < 8 ? call->a : call->c, i < 8 ? expert[e].in : expert[e].out);
        assert_true(i < 8 || call->a == w->log[i - 4].c);
        assert_true(i % 4 == 0 || apart(call->c, rows[e] * HIDDEN, w->log[i - 1].c,
                                        w->log[i - 1].shape.m * HIDDEN));
    }
    double flops = 0;
    for (size_t e = 0; e < EXPERTS; e++) {
        flops += moe_gemm_list_flops(&list[e]);
    }
    w->flops = 0;
    w->gemms = 0;
    c->ops->experts(c, list, expert, EXPERTS, MOE_FP32, MOE_FP32, HIDDEN, true);
    assert_int_equal(w->gemms, 6 * 4);
    assert_true(w->flops == 2 * flops);
    for (size_t e = 0; e < EXPERTS; e++)
        moe_gemm_list_destroy(&list[e]);
    moe_compute_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCHED(test_gemm_is_refused_where_the_device_has_none),
        WATCHED(test_memory_is_what_prepare_allocates),
        WATCHED(test_memory_that_is_refused_leaves_nothing_behind),
        WATCHED(test_gemms_are_those_of_the_list),
        WATCHED(test_backward_runs_both_gradients_of_each_gemm),
        WATCHED(test_gemms_in_a_row_read_other_memory),
        WATCHED(test_the_pool_is_random_and_always_the_same),
        WATCHED(test_large_matrices_go_through_in_panels),
        WATCHED(test_memory_is_bounded_for_any_number_of_tokens),
        WATCHED(test_an_expert_writes_finite_rows_and_only_its_rows),
        WATCHED(test_an_expert_feeds_each_gemm_with_the_last_ones_result),
        WATCHED(test_an_expert_takes_the_rows_that_arrived),
        WATCHED(test_an_expert_wider_than_the_pool_goes_through_in_panels),
        WATCHED(test_experts_go_through_together_where_the_device_likes_it),
    };
    return cmocka_run_group_tests_name("iteration: compute gemm", tests, NULL, NULL);
}
