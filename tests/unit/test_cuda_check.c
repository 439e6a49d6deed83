/* The CUDA device's check against the host's: the same count, and the same first finding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cuda_setting.h"
#include "moe/traffic.h"

enum { SEED = 9, ROWS = 7, TOP_K = 5 };
#define FIRST_TOKEN UINT64_C(1000003)

static void assert_same_finding(const moe_mismatch_t *gpu, const moe_mismatch_t *host)
{
    assert_int_equal(gpu->count, host->count);
    if (host->count == 0) {
        return;
    }
    assert_int_equal(gpu->row, host->row);
    assert_int_equal(gpu->column, host->column);
    assert_true(gpu->token == host->token);
    assert_memory_equal(&gpu->expected, &host->expected, sizeof gpu->expected);
    assert_memory_equal(&gpu->got, &host->got, sizeof gpu->got);
}

/* A byte of both buffers with one bit turned over. */
static void flip(const pair_t *p, size_t byte, unsigned bit)
{
    p->host[byte] ^= (unsigned char)(1u << bit);
    p->setting->gpu->ops->copy(p->setting->gpu, p->gpu + byte, p->host + byte, 1);
}

/* ---- After dispatch ---- */

static const uint64_t tokens[ROWS] = {5, 900, MOE_TOKEN_PADDING, 5, UINT64_C(1) << 40, 0, 6};

static pair_t dispatched(setting_t *s, moe_dtype_t dtype, size_t hidden)
{
    const size_t bytes = moe_row_bytes(dtype, hidden);
    const pair_t rows = make_pair(s, ROWS * bytes);
    for (size_t r = 0; r < ROWS; r++) {
        if (tokens[r] != MOE_TOKEN_PADDING) {
            s->host->ops->fill_tokens(s->host, rows.host + r * bytes, dtype, SEED, tokens[r], 1,
                                      hidden);
        }
    }
    push_pair(&rows);
    return rows;
}

static size_t check_both(const pair_t *rows, moe_dtype_t dtype, size_t hidden, size_t stride)
{
    setting_t *s = rows->setting;
    moe_mismatch_t gpu = {.count = 0}, host = {.count = 0};
    s->host->ops->check_rows(s->host, rows->host, dtype, SEED, tokens, ROWS, stride, hidden, 100,
                             &host);
    s->gpu->ops->check_rows(s->gpu, rows->gpu, dtype, SEED, tokens, ROWS, stride, hidden, 100,
                            &gpu);
    assert_finished(s->gpu);
    assert_same_finding(&gpu, &host);
    return gpu.count;
}

static void test_right_rows_and_padding_pass(void **state)
{
    for (size_t i = 0; i < CUDA_DTYPES * CUDA_HIDDENS; i++) {
        const moe_dtype_t dtype = cuda_dtypes[i % CUDA_DTYPES];
        const size_t hidden = cuda_hiddens[i / CUDA_DTYPES];
        const pair_t rows = dispatched(*state, dtype, hidden);
        assert_int_equal(check_both(&rows, dtype, hidden, 1), 0);
        assert_int_equal(check_both(&rows, dtype, hidden, 3), 0);
        drop_pair(&rows);
    }
}

/* Elements and scales, of tokens and of padding. */
static void test_every_flipped_bit_is_found_where_the_host_finds_it(void **state)
{
    static const size_t hiddens[] = {1, 129, 1000};
    for (size_t i = 0; i < CUDA_DTYPES * 3; i++) {
        const moe_dtype_t dtype = cuda_dtypes[i % CUDA_DTYPES];
        const size_t hidden = hiddens[i / CUDA_DTYPES];
        const pair_t rows = dispatched(*state, dtype, hidden);
        const size_t step = 1 + rows.bytes / 101;
        for (size_t at = 0; at < rows.bytes; at += step) {
            flip(&rows, at, (unsigned)at % 8);
            assert_true(check_both(&rows, dtype, hidden, 1) > 0);
            flip(&rows, at, (unsigned)at % 8);
        }
        flip(&rows, rows.bytes - 1, 0);
        assert_true(check_both(&rows, dtype, hidden, 1) > 0);
        drop_pair(&rows);
    }
}

static void test_many_wrong_elements_are_all_counted(void **state)
{
    setting_t *s = *state;
    for (size_t i = 0; i < CUDA_DTYPES; i++) {
        const size_t hidden = 1000;
        const pair_t rows = make_random(s, ROWS * moe_row_bytes(cuda_dtypes[i], hidden));
        assert_true(check_both(&rows, cuda_dtypes[i], hidden, 1) > ROWS * hidden / 2);
        assert_true(check_both(&rows, cuda_dtypes[i], hidden, 2) > 3 * hidden);
        drop_pair(&rows);
    }
}

static void test_earlier_findings_stay(void **state)
{
    setting_t *s = *state;
    const pair_t rows = dispatched(s, MOE_BF16, 64);
    moe_mismatch_t found = {.count = 3, .row = 77, .column = 8, .expected = 1, .got = 2};
    flip(&rows, 5, 3);
    s->gpu->ops->check_rows(s->gpu, rows.gpu, MOE_BF16, SEED, tokens, ROWS, 1, 64, 0, &found);
    assert_finished(s->gpu);
    assert_true(found.count == 4 && found.row == 77 && found.column == 8);
    assert_true(found.expected == 1 && found.got == 2);
    drop_pair(&rows);
}

/* Lists that are too long for what the device keeps for them go in chunks: the first finding is that of
 * the first chunk, and its row is counted from the start. */
static void test_a_long_check_goes_in_chunks(void **state)
{
    setting_t *s = *state;
    enum { LONG = 700000, HIDDEN = 2 };
    const size_t bytes = moe_row_bytes(MOE_BF16, HIDDEN);
    uint64_t *many = calloc(LONG, sizeof *many);
    for (size_t r = 0; r < LONG; r++) {
        many[r] = r;
    }
    const pair_t rows = make_pair(s, LONG * bytes);
    s->host->ops->fill_tokens(s->host, rows.host, MOE_BF16, SEED, 0, LONG, HIDDEN);
    push_pair(&rows);
    for (int i = 0; i < 2; i++) {
        moe_mismatch_t gpu = {.count = 0}, host = {.count = 0};
        flip(&rows, (i == 0 ? LONG - 1 : 50) * bytes + 3, 1);
        s->host->ops->check_rows(s->host, rows.host, MOE_BF16, SEED, many, LONG, 1, HIDDEN, 0,
                                 &host);
        s->gpu->ops->check_rows(s->gpu, rows.gpu, MOE_BF16, SEED, many, LONG, 1, HIDDEN, 0, &gpu);
        assert_finished(s->gpu);
        assert_int_equal(gpu.count, i + 1);
        assert_same_finding(&gpu, &host);
    }
    drop_pair(&rows);
    free(many);
}

/* ---- After combine ---- */

/* What the tokens chose: experts on ranks of 4, ranks on nodes of 2. */
typedef struct choices {
    int32_t expert[ROWS * TOP_K], inner[ROWS * TOP_K], outer[ROWS * TOP_K];
    float weight[ROWS * TOP_K];
    uint8_t kept[ROWS * TOP_K];
    moe_partial_sums_t sums; /* dtype; lists are set by levels_of() */
} choices_t;

static choices_t make_choices(bool whole_weights)
{
    choices_t c = {.sums = {.dtype = MOE_BF16}};
    for (size_t i = 0; i < ROWS * TOP_K; i++) {
        c.expert[i] = (int32_t)((i / TOP_K * 5 + i % TOP_K * 7) % 32);
        c.inner[i] = c.expert[i] / 4;
        c.outer[i] = c.inner[i] / 2;
        c.weight[i] = whole_weights ? (float)(2001 + 1237 * i % 8003) / MOE_WEIGHT_ONE
                                    : 0.01f * (float)(1 + i % 13);
        c.kept[i] = i % 11 != 3 && i / TOP_K != 5; /* token 5 lost all */
    }
    return c;
}

/* Sums that are rounded on the way: at no level, at one, at two. */
static const moe_partial_sums_t *levels_of(choices_t *c, int levels)
{
    c->sums.inner = c->inner;
    c->sums.outer = levels == 2 ? c->outer : NULL;
    return levels == 0 ? NULL : &c->sums;
}

static size_t check_combined_both(const pair_t *out, moe_dtype_t dtype, size_t hidden,
                                  size_t stride, const choices_t *c, const moe_partial_sums_t *sums)
{
    setting_t *s = out->setting;
    moe_mismatch_t gpu = {.count = 0}, host = {.count = 0};
    s->host->ops->check_combined(s->host, out->host, dtype, SEED, FIRST_TOKEN, c->expert, c->weight,
                                 c->kept, sums, ROWS, TOP_K, stride, hidden, &host);
    s->gpu->ops->check_combined(s->gpu, out->gpu, dtype, SEED, FIRST_TOKEN, c->expert, c->weight,
                                c->kept, sums, ROWS, TOP_K, stride, hidden, &gpu);
    assert_finished(s->gpu);
    assert_same_finding(&gpu, &host);
    return gpu.count;
}

/* Rows of junk are turned into right ones by what the host expects of them. */
static pair_t right_rows(setting_t *s, moe_dtype_t dtype, size_t hidden, const choices_t *c,
                         const moe_partial_sums_t *sums)
{
    const pair_t out = make_pair(s, ROWS * moe_row_bytes(dtype, hidden));
    const size_t size = moe_dtype_bytes(dtype);
    for (size_t i = 0; i < ROWS * hidden; i++) {
        moe_mismatch_t found = {.count = 0};
        s->host->ops->check_combined(s->host, out.host, dtype, SEED, FIRST_TOKEN, c->expert,
                                     c->weight, c->kept, sums, ROWS, TOP_K, 1, hidden, &found);
        if (found.count == 0) {
            break;
        }
        const float expected = (float)found.expected;
        s->host->ops->gather(s->host, out.host + (found.row * hidden + found.column) * size, size,
                             dtype, &expected, sizeof expected, MOE_FP32, NULL, 1, 1);
    }
    push_pair(&out);
    return out;
}

static const moe_dtype_t memory_dtypes[] = {MOE_BF16, MOE_FP16, MOE_FP32};

/* Right ones pass, those with a bit turned over do not; whatever the weights and the roundings. */
static void check_sums(setting_t *s, moe_dtype_t dtype, size_t hidden, bool whole, int levels)
{
    choices_t c = make_choices(whole);
    c.sums.dtype = dtype;
    const moe_partial_sums_t *sums = levels_of(&c, levels);
    const pair_t out = right_rows(s, dtype, hidden, &c, sums);
    assert_int_equal(check_combined_both(&out, dtype, hidden, 1, &c, sums), 0);
    for (size_t at = 0; at < out.bytes; at += 1 + out.bytes / 17) {
        flip(&out, at, 4);
        assert_int_equal(check_combined_both(&out, dtype, hidden, 1, &c, sums), 1);
        (void)check_combined_both(&out, dtype, hidden, 2, &c, sums);
        flip(&out, at, 4);
    }
    drop_pair(&out);
}

static void test_sums_are_expected_as_on_the_host(void **state)
{
    static const size_t hiddens[] = {1, 7, 130, 300};
    for (size_t i = 0; i < 3 * 4; i++) {
        for (int levels = 0; levels <= 2; levels++) {
            check_sums(*state, memory_dtypes[i % 3], hiddens[i / 3], true, levels);
            check_sums(*state, memory_dtypes[i % 3], hiddens[i / 3], false, levels);
        }
    }
}

/* Rounding in other places shows on the GPU as it does on the host. */
static void test_sums_that_are_rounded_elsewhere_are_seen(void **state)
{
    setting_t *s = *state;
    enum { HIDDEN = 200 };
    for (int made = 0; made <= 2; made++) {
        choices_t c = make_choices(true);
        const pair_t out = right_rows(s, MOE_BF16, HIDDEN, &c, levels_of(&c, made));
        for (int expected = 0; expected <= 2; expected++) {
            const size_t wrong =
                check_combined_both(&out, MOE_BF16, HIDDEN, 1, &c, levels_of(&c, expected));
            assert_int_equal(wrong == 0, expected == made);
        }
        drop_pair(&out);
    }
}

static void test_junk_is_counted_in_every_format(void **state)
{
    setting_t *s = *state;
    const choices_t c = make_choices(true);
    for (size_t i = 0; i < CUDA_DTYPES * CUDA_HIDDENS; i++) {
        const moe_dtype_t dtype = cuda_dtypes[i % CUDA_DTYPES];
        const size_t hidden = cuda_hiddens[i / CUDA_DTYPES];
        const pair_t out = make_random(s, ROWS * moe_row_bytes(dtype, hidden));
        (void)check_combined_both(&out, dtype, hidden, 1, &c, NULL);
        (void)check_combined_both(&out, dtype, hidden, 2, &c, NULL);
        drop_pair(&out);
    }
}

static void test_a_wrong_expert_weight_drop_or_sum_is_seen(void **state)
{
    setting_t *s = *state;
    enum { HIDDEN = 140 };
    choices_t right = make_choices(true);
    const pair_t out = right_rows(s, MOE_BF16, HIDDEN, &right, levels_of(&right, 2));
    for (size_t i = 0; i < ROWS * TOP_K; i++) {
        choices_t c = right;
        c.expert[i] += 1;
        assert_int_equal(check_combined_both(&out, MOE_BF16, HIDDEN, 1, &c, levels_of(&c, 2)) > 0,
                         c.kept[i]);
        c = right;
        c.weight[i] *= 0.5f;
        assert_int_equal(check_combined_both(&out, MOE_BF16, HIDDEN, 1, &c, levels_of(&c, 2)) > 0,
                         c.kept[i]);
        c = right;
        c.kept[i] ^= 1;
        assert_true(check_combined_both(&out, MOE_BF16, HIDDEN, 1, &c, levels_of(&c, 2)) > 0);
        c = right;
        c.inner[i] ^= 1;
        (void)check_combined_both(&out, MOE_BF16, HIDDEN, 1, &c, levels_of(&c, 2));
    }
    drop_pair(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_rows_and_padding_pass),
        cmocka_unit_test(test_every_flipped_bit_is_found_where_the_host_finds_it),
        cmocka_unit_test(test_many_wrong_elements_are_all_counted),
        cmocka_unit_test(test_earlier_findings_stay),
        cmocka_unit_test(test_a_long_check_goes_in_chunks),
        cmocka_unit_test(test_sums_are_expected_as_on_the_host),
        cmocka_unit_test(test_sums_that_are_rounded_elsewhere_are_seen),
        cmocka_unit_test(test_junk_is_counted_in_every_format),
        cmocka_unit_test(test_a_wrong_expert_weight_drop_or_sum_is_seen),
    };
    return RUN_CUDA_TESTS("CUDA check", tests, false);
}
