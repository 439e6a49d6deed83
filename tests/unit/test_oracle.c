/* The oracle: its numbers, and that every dtype holds them exactly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../common/floats.h"
#include "moe/device.h"

static const moe_dtype_t dtypes[] = {MOE_BF16, MOE_FP16, MOE_FP32, MOE_FP8};
enum { DTYPE_COUNT = sizeof dtypes / sizeof *dtypes };

#define SEED UINT64_C(0xfeedbeef12345678)

static int set_up(void **state)
{
    return moe_host_device_create(1, 1, (moe_device_t **)state, NULL);
}

static int tear_down(void **state)
{
    moe_device_t *d = *state;
    d->ops->destroy(d);
    return 0;
}

static void *rows_of(moe_device_t *d, moe_dtype_t dtype, size_t rows, size_t hidden)
{
    void *memory = NULL;
    const size_t bytes = rows * moe_row_bytes(dtype, hidden);
    assert_int_equal(d->ops->alloc(d, "rows", bytes, &memory, NULL), MOE_OK);
    return memory;
}

/* ---- The numbers ---- */

/* Pearson's statistic of n draws against equal shares of `bins` values. */
static double chi_square(const size_t *counts, size_t bins, size_t n)
{
    const double mean = (double)n / (double)bins;
    double sum = 0;
    for (size_t i = 0; i < bins; i++) {
        sum += ((double)counts[i] - mean) * ((double)counts[i] - mean) / mean;
    }
    return sum;
}

static void test_all_values_are_used_about_equally(void **state)
{
    (void)state;
    enum { ITEMS = 500, COLUMNS = 512 };
    size_t tokens[16] = {0}, experts[17] = {0};
    for (size_t i = 0; i < ITEMS; i++) {
        for (size_t c = 0; c < COLUMNS; c++) {
            const int x = moe_oracle_token(SEED, i, c), b = moe_oracle_bias(i, c);
            assert_in_range(x + 8, 0, 15);
            assert_in_range(b + 8, 0, 16);
            tokens[x + 8]++;
            experts[b + 8]++;
        }
    }
    /* Of a good generator, one draw in 10,000 is above these (15 and 16 degrees of freedom). */
    assert_true(chi_square(tokens, 16, ITEMS * COLUMNS) < 44.3);
    assert_true(chi_square(experts, 17, ITEMS * COLUMNS) < 45.9);
}

/* Equal elements of two rows of n columns; about n / 16 where the rows have nothing in common. */
static size_t equal_tokens(uint64_t seed_a, uint64_t a, uint64_t seed_b, uint64_t b, size_t n)
{
    size_t equal = 0;
    for (size_t c = 0; c < n; c++) {
        equal += moe_oracle_token(seed_a, a, c) == moe_oracle_token(seed_b, b, c);
    }
    return equal;
}

static void test_tokens_seeds_experts_and_columns_all_differ(void **state)
{
    (void)state;
    enum { COLUMNS = 16384, LIMIT = COLUMNS / 16 + 200 }; /* 6.4 standard deviations */
    const uint64_t tokens[] = {0, 1, 2, 3, 255, 256, 1u << 16, UINT64_C(1) << 32, UINT64_MAX - 1};
    for (size_t i = 1; i < sizeof tokens / sizeof *tokens; i++) {
        assert_true(equal_tokens(SEED, tokens[i], SEED, tokens[i - 1], COLUMNS) < LIMIT);
        assert_true(equal_tokens(SEED, tokens[i], SEED + 1, tokens[i], COLUMNS) < LIMIT);
        assert_true(equal_tokens(0, tokens[i], 1, tokens[i] + 1, COLUMNS) < LIMIT);
    }
    size_t experts = 0, columns = 0;
    for (size_t c = 0; c < COLUMNS; c++) {
        experts += moe_oracle_bias(6, c) == moe_oracle_bias(7, c);
        columns += moe_oracle_token(SEED, 9, c) == moe_oracle_token(SEED, 9, c + 1);
    }
    assert_true(experts < LIMIT && columns < LIMIT);
}

static void test_no_two_of_a_thousand_tokens_or_experts_agree_in_eight_columns(void **state)
{
    (void)state;
    enum { ITEMS = 1000, COLUMNS = 8 };
    static const size_t first_columns[] = {0, 7160};
    int32_t rows[ITEMS][2][COLUMNS];
    for (size_t f = 0; f < 2; f++) {
        for (size_t i = 0; i < ITEMS * COLUMNS; i++) {
            const size_t item = i / COLUMNS, column = first_columns[f] + i % COLUMNS;
            rows[item][0][i % COLUMNS] = moe_oracle_token(SEED, item, column);
            rows[item][1][i % COLUMNS] = moe_oracle_bias(item, column);
        }
        for (size_t a = 0; a < ITEMS; a++) {
            for (size_t b = 0; b < a; b++) {
                assert_memory_not_equal(rows[a][0], rows[b][0], sizeof rows[a][0]);
                assert_memory_not_equal(rows[a][1], rows[b][1], sizeof rows[a][1]);
            }
        }
    }
}

static void test_tokens_and_what_experts_make_of_them_are_exact_in_every_dtype(void **state)
{
    moe_device_t *d = *state;
    enum { ROWS = 3, LONGEST = 2050, EXPERT = 11 };
    const size_t hiddens[] = {1, 7, 128, 129, 1024, LONGEST};
    float values[ROWS * LONGEST];
    for (size_t i = 0; i < DTYPE_COUNT * DTYPE_COUNT * 6; i++) {
        const moe_dtype_t in_dtype = dtypes[i % DTYPE_COUNT];
        const moe_dtype_t out_dtype = dtypes[i / DTYPE_COUNT % DTYPE_COUNT];
        const size_t hidden = hiddens[i / (DTYPE_COUNT * DTYPE_COUNT)];
        void *in = rows_of(d, in_dtype, ROWS, hidden), *out = rows_of(d, out_dtype, ROWS, hidden);
        d->ops->fill_tokens(d, in, in_dtype, SEED, 40, ROWS, hidden);
        rows_to_floats(d, values, in, in_dtype, ROWS, hidden);
        for (size_t j = 0; j < ROWS * hidden; j++) {
            assert_true(values[j] == (float)moe_oracle_token(SEED, 40 + j / hidden, j % hidden));
        }
        d->ops->apply_expert(d, out, out_dtype, in, in_dtype, EXPERT, ROWS, hidden);
        rows_to_floats(d, values, out, out_dtype, ROWS, hidden);
        for (size_t j = 0; j < ROWS * hidden; j++) {
            assert_true(values[j] == (float)(moe_oracle_token(SEED, 40 + j / hidden, j % hidden) +
                                             moe_oracle_bias(EXPERT, j % hidden)));
        }
        d->ops->release(d, in);
        d->ops->release(d, out);
    }
    assert_int_equal(moe_memory_dtype(MOE_FP8), MOE_BF16);
    assert_int_equal(moe_memory_dtype(MOE_FP16), MOE_FP16);
    assert_int_equal(moe_memory_dtype(MOE_FP32), MOE_FP32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_values_are_used_about_equally),
        cmocka_unit_test(test_tokens_seeds_experts_and_columns_all_differ),
        cmocka_unit_test(test_no_two_of_a_thousand_tokens_or_experts_agree_in_eight_columns),
        cmocka_unit_test(test_tokens_and_what_experts_make_of_them_are_exact_in_every_dtype),
    };
    return cmocka_run_group_tests_name("oracle", tests, set_up, tear_down);
}
