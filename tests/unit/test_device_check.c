/* The checks of rows after dispatch and after combine see every fault. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../common/floats.h"
#include "moe/device.h"
#include "moe/routing.h"
#include "moe/traffic.h"

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

/* ---- Faults after dispatch ---- */

enum { ROWS = 4, HIDDEN = 131 }; /* FP8: two blocks, the second of 3; scales not aligned */

static const uint64_t tokens[ROWS] = {9, MOE_TOKEN_PADDING, 2, 1000000};

/* Rows as they should arrive. */
static unsigned char *arrived(moe_device_t *d, moe_dtype_t dtype)
{
    const size_t bytes = moe_row_bytes(dtype, HIDDEN);
    unsigned char *rows = rows_of(d, dtype, ROWS, HIDDEN);
    for (size_t r = 0; r < ROWS; r++) {
        if (tokens[r] != MOE_TOKEN_PADDING) {
            d->ops->fill_tokens(d, rows + r * bytes, dtype, SEED, tokens[r], 1, HIDDEN);
        }
    }
    return rows;
}

static moe_mismatch_t check(moe_device_t *d, const void *rows, moe_dtype_t dtype)
{
    moe_mismatch_t found = {0};
    d->ops->check_rows(d, rows, dtype, SEED, tokens, ROWS, 1, HIDDEN, 50, &found);
    return found;
}

/* The elements that a byte of a row decides. */
static void elements_of(moe_dtype_t dtype, size_t byte, size_t *first, size_t *count)
{
    if (dtype != MOE_FP8 || byte < HIDDEN) {
        *first = byte / moe_dtype_bytes(dtype);
        *count = 1;
        return;
    }
    *first = (byte - HIDDEN) / sizeof(float) * MOE_FP8_BLOCK;
    *count = HIDDEN - *first < MOE_FP8_BLOCK ? HIDDEN - *first : MOE_FP8_BLOCK;
}

static void test_every_flipped_bit_is_seen_where_it_is(void **state)
{
    moe_device_t *d = *state;
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        const size_t bytes = moe_row_bytes(dtypes[i], HIDDEN);
        unsigned char *rows = arrived(d, dtypes[i]);
        assert_int_equal(check(d, rows, dtypes[i]).count, 0);
        for (size_t bit = 0; bit < ROWS * bytes * 8; bit++) {
            const size_t row = bit / 8 / bytes;
            size_t first, count;
            elements_of(dtypes[i], bit / 8 % bytes, &first, &count);
            rows[bit / 8] ^= (unsigned char)(1u << bit % 8);
            const moe_mismatch_t found = check(d, rows, dtypes[i]);
            rows[bit / 8] ^= (unsigned char)(1u << bit % 8);
            assert_int_equal(found.count, count);
            assert_int_equal(found.row, 50 + row);
            assert_int_equal(found.column, first);
            assert_true(found.token == tokens[row]);
            const int expected =
                tokens[row] == MOE_TOKEN_PADDING ? 0 : moe_oracle_token(SEED, tokens[row], first);
            assert_true(found.expected == expected);
        }
        d->ops->release(d, rows);
    }
}

static void test_swapped_stale_lost_and_poisoned_rows_are_seen(void **state)
{
    moe_device_t *d = *state;
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        const moe_dtype_t dtype = dtypes[i];
        const size_t bytes = moe_row_bytes(dtype, HIDDEN);
        unsigned char *rows = arrived(d, dtype), *good = arrived(d, dtype);
        d->ops->copy(d, rows, good + 2 * bytes, bytes); /* swapped with row 2 */
        d->ops->copy(d, rows + 2 * bytes, good, bytes);
        moe_mismatch_t found = check(d, rows, dtype);
        assert_true(found.count > HIDDEN && found.count <= 2 * HIDDEN && found.row == 50);
        d->ops->copy(d, rows, good, ROWS * bytes);
        d->ops->copy(d, rows + bytes, good, bytes); /* stale in the padding */
        found = check(d, rows, dtype);
        assert_true(found.count > HIDDEN / 2 && found.row == 51 && found.expected == 0);
        assert_true(found.token == MOE_TOKEN_PADDING);
        d->ops->copy(d, rows, good, ROWS * bytes);
        d->ops->fill_bytes(d, rows + 3 * bytes, 0, bytes); /* lost */
        found = check(d, rows, dtype);
        assert_true(found.count > HIDDEN / 2 && found.row == 53 && found.got == 0);
        d->ops->fill_bytes(d, rows, 0xff, ROWS * bytes); /* nothing arrived */
        found = check(d, rows, dtype);
        assert_int_equal(found.count, ROWS * HIDDEN);
        assert_true(isnan(found.got));
        d->ops->release(d, rows);
        d->ops->release(d, good);
    }
}

static void test_a_check_looks_at_every_nth_row_and_keeps_earlier_findings(void **state)
{
    moe_device_t *d = *state;
    const size_t bytes = moe_row_bytes(MOE_BF16, HIDDEN);
    unsigned char *rows = arrived(d, MOE_BF16);
    moe_mismatch_t found = {0};
    rows[bytes + 6] ^= 1;
    d->ops->check_rows(d, rows, MOE_BF16, SEED, tokens, ROWS, 2, HIDDEN, 0, &found);
    assert_int_equal(found.count, 0);
    rows[2 * bytes + 8] ^= 1;
    d->ops->check_rows(d, rows, MOE_BF16, SEED, tokens, ROWS, 2, HIDDEN, 0, &found);
    assert_true(found.count == 1 && found.row == 2 && found.column == 4);
    d->ops->check_rows(d, rows, MOE_BF16, SEED, tokens, ROWS, 1, HIDDEN, 70, &found);
    assert_true(found.count == 3 && found.row == 2 && found.column == 4);
    d->ops->release(d, rows);
}

/* ---- Faults after combine ---- */

enum { TOKENS = 5, TOP_K = 3, FIRST_TOKEN = 77 };

/* Token 2 lost all its experts, token 3 one of them; weights are multiples of 2^-16. */
static const int32_t experts[TOKENS * TOP_K] = {4, 0, 2, 1, 3, 0, 2, 4, 1, 0, 1, 2, 3, 2, -1};
static const uint8_t kept[TOKENS * TOP_K] = {1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0, 1, 1, 1, 0};
static const float weights[TOKENS * TOP_K] = {40001.0f / MOE_WEIGHT_ONE,
                                              20003.0f / MOE_WEIGHT_ONE,
                                              5531.0f / MOE_WEIGHT_ONE,
                                              0.5f,
                                              0.25f,
                                              0.125f,
                                              0.75f,
                                              0.125f,
                                              0.125f,
                                              30000.0f / MOE_WEIGHT_ONE,
                                              17777.0f / MOE_WEIGHT_ONE,
                                              1.0f / MOE_WEIGHT_ONE,
                                              0.9375f,
                                              0.0625f,
                                              0};

/* Carries tokens through pack, experts and the weighted sum, without a network. */
static unsigned char *combined(moe_device_t *d, moe_dtype_t wire, size_t hidden)
{
    enum { SLOTS = TOKENS * TOP_K };
    const moe_dtype_t memory = moe_memory_dtype(wire);
    const size_t bytes = moe_row_bytes(wire, hidden);
    size_t index[SLOTS], first[TOKENS + 1], row[SLOTS], terms = 0;
    float weight[SLOTS];
    unsigned char *in = rows_of(d, memory, TOKENS, hidden),
                  *out = rows_of(d, memory, TOKENS, hidden);
    unsigned char *sent = rows_of(d, wire, SLOTS, hidden), *back = rows_of(d, wire, SLOTS, hidden);
    for (size_t i = 0; i < SLOTS; i++) {
        index[SLOTS - 1 - i] = kept[i] ? i / TOP_K : MOE_ROW_ZERO;
        first[i / TOP_K] = i % TOP_K == 0 ? terms : first[i / TOP_K];
        if (kept[i]) {
            row[terms] = SLOTS - 1 - i;
            weight[terms++] = weights[i];
        }
    }
    first[TOKENS] = terms;
    d->ops->fill_tokens(d, in, memory, SEED, FIRST_TOKEN, TOKENS, hidden);
    d->ops->gather(d, sent, moe_row_bytes(wire, hidden), wire, in, moe_row_bytes(memory, hidden),
                   memory, index, SLOTS, hidden);
    for (size_t i = 0; i < SLOTS; i++) {
        const size_t at = (SLOTS - 1 - i) * bytes;
        d->ops->apply_expert(d, back + at, wire, sent + at, wire,
                             experts[i] < 0 ? 0 : (size_t)experts[i], 1, hidden);
    }
    d->ops->reduce(d, out, memory, back, wire, first, row, weight, TOKENS, hidden);
    d->ops->release(d, in);
    d->ops->release(d, sent);
    d->ops->release(d, back);
    return out;
}

static moe_mismatch_t check_out(moe_device_t *d, const void *out, moe_dtype_t dtype, size_t hidden,
                                size_t stride)
{
    moe_mismatch_t found = {0};
    d->ops->check_combined(d, out, dtype, SEED, FIRST_TOKEN, experts, weights, kept, NULL, TOKENS,
                           TOP_K, stride, hidden, &found);
    return found;
}

static void test_what_comes_back_is_exact_for_every_dtype_with_drops(void **state)
{
    moe_device_t *d = *state;
    const size_t hiddens[] = {1, 33, HIDDEN, 1024, 3001};
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        for (size_t h = 0; h < sizeof hiddens / sizeof *hiddens; h++) {
            unsigned char *out = combined(d, dtypes[i], hiddens[h]);
            const moe_dtype_t memory = moe_memory_dtype(dtypes[i]);
            assert_int_equal(check_out(d, out, memory, hiddens[h], 1).count, 0);
            d->ops->release(d, out);
        }
    }
}

static void test_the_expected_sum_is_that_of_whole_numbers(void **state)
{
    moe_device_t *d = *state;
    float *out = (float *)(void *)combined(d, MOE_FP32, HIDDEN);
    for (size_t t = 0; t < TOKENS; t++) {
        for (size_t c = 0; c < HIDDEN; c++) {
            long sum = 0;
            for (size_t i = t * TOP_K; i < (t + 1) * TOP_K; i++) {
                const long weight = (long)(weights[i] * MOE_WEIGHT_ONE);
                sum += kept[i] ? weight * (moe_oracle_token(SEED, FIRST_TOKEN + t, c) +
                                           moe_oracle_bias((size_t)experts[i], c))
                               : 0;
            }
            assert_true((double)out[t * HIDDEN + c] == (double)sum / MOE_WEIGHT_ONE);
        }
    }
    d->ops->release(d, out);
}

static void test_every_flipped_bit_of_the_result_is_seen(void **state)
{
    moe_device_t *d = *state;
    enum { SHORT = 37 };
    for (size_t i = 0; i < 3; i++) {
        const size_t size = moe_dtype_bytes(dtypes[i]);
        unsigned char *out = combined(d, dtypes[i], SHORT);
        for (size_t bit = 0; bit < TOKENS * SHORT * size * 8; bit++) {
            const size_t element = bit / 8 / size;
            out[bit / 8] ^= (unsigned char)(1u << bit % 8);
            const moe_mismatch_t found = check_out(d, out, dtypes[i], SHORT, 1);
            out[bit / 8] ^= (unsigned char)(1u << bit % 8);
            assert_int_equal(found.count, 1);
            assert_int_equal(found.row, element / SHORT);
            assert_int_equal(found.column, element % SHORT);
            assert_true(found.token == FIRST_TOKEN + element / SHORT);
        }
        d->ops->release(d, out);
    }
}

static void test_a_wrong_expert_weight_drop_or_token_is_seen(void **state)
{
    moe_device_t *d = *state;
    unsigned char *out = combined(d, MOE_BF16, HIDDEN);
    for (size_t i = 0; i < TOKENS * TOP_K - 1; i++) { /* the last has no expert */
        int32_t expert[TOKENS * TOP_K];
        float weight[TOKENS * TOP_K];
        uint8_t keep[TOKENS * TOP_K];
        moe_mismatch_t found = {0};
        memcpy(expert, experts, sizeof expert);
        memcpy(weight, weights, sizeof weight);
        memcpy(keep, kept, sizeof keep);
        expert[i] += 1;
        d->ops->check_combined(d, out, MOE_BF16, SEED, FIRST_TOKEN, expert, weight, keep, NULL,
                               TOKENS, TOP_K, 1, HIDDEN, &found);
        assert_true(kept[i] ? found.count > 0 && found.row == i / TOP_K : found.count == 0);
        found = (moe_mismatch_t){0};
        expert[i] -= 1;
        keep[i] ^= 1;
        d->ops->check_combined(d, out, MOE_BF16, SEED, FIRST_TOKEN, expert, weight, keep, NULL,
                               TOKENS, TOP_K, 1, HIDDEN, &found);
        assert_true(found.count > 0 && found.row == i / TOP_K);
    }
    moe_mismatch_t found = {0};
    d->ops->check_combined(d, out, MOE_BF16, SEED, FIRST_TOKEN + 1, experts, weights, kept, NULL,
                           TOKENS, TOP_K, 1, HIDDEN, &found);
    assert_true(found.count > HIDDEN && found.row == 0 && found.token == FIRST_TOKEN + 1);
    d->ops->release(d, out);
}

static void test_a_dropped_token_must_be_zero_and_a_stride_skips_rows(void **state)
{
    moe_device_t *d = *state;
    unsigned char *out = combined(d, MOE_BF16, HIDDEN);
    out[2 * moe_row_bytes(MOE_BF16, HIDDEN) + 2 * 17 + 1] = 0x80; /* -0 */
    assert_int_equal(check_out(d, out, MOE_BF16, HIDDEN, 3).count, 0);
    const moe_mismatch_t found = check_out(d, out, MOE_BF16, HIDDEN, 2);
    assert_true(found.count == 1 && found.row == 2 && found.column == 17 && found.expected == 0);
    d->ops->release(d, out);
}

/* ---- Partial sums ---- */

/* Tokens with more experts, so that sums have several terms. */
enum { MANY = 7, WIDE_K = 6, WIDE_HIDDEN = 200 };

typedef struct wide {
    int32_t expert[MANY * WIDE_K], inner[MANY * WIDE_K], outer[MANY * WIDE_K];
    float weight[MANY * WIDE_K];
    uint8_t kept[MANY * WIDE_K];
} wide_t;

/* Experts on ranks of 4, ranks on nodes of 2; weights are multiples of 2^-16 that need their bits. */
static wide_t make_wide(void)
{
    wide_t w;
    for (size_t i = 0; i < MANY * WIDE_K; i++) {
        w.expert[i] = (int32_t)((i / WIDE_K * 5 + i % WIDE_K * 7) % 32);
        w.inner[i] = w.expert[i] / 4;
        w.outer[i] = w.inner[i] / 2;
        w.weight[i] = (float)(2001 + 1237 * i % 8003) / MOE_WEIGHT_ONE;
        w.kept[i] = i % 11 != 3 && i / WIDE_K != 5; /* token 5 lost all */
    }
    return w;
}

static float rounded(moe_device_t *d, moe_dtype_t dtype, float value)
{
    unsigned char row[sizeof(float)];
    float back;
    rows_from_floats(d, row, dtype, &value, 1, 1);
    rows_to_floats(d, &back, row, dtype, 1, 1);
    return back;
}

/* The sum of an element over the kept selections whose number in each list is `inner` (`outer`); -1:
 * any. Whole numbers, in units of 2^-16. */
static float whole_sum(const wide_t *w, size_t t, size_t column, int32_t inner)
{
    long sum = 0;
    for (size_t i = t * WIDE_K; i < (t + 1) * WIDE_K; i++) {
        if (w->kept[i] && (inner < 0 || w->inner[i] == inner)) {
            sum += (long)(w->weight[i] * MOE_WEIGHT_ONE) *
                   (moe_oracle_token(SEED, FIRST_TOKEN + t, column) +
                    moe_oracle_bias((size_t)w->expert[i], column));
        }
    }
    return (float)((double)sum / MOE_WEIGHT_ONE);
}

/* As ranks and forwarders would: every partial sum is rounded before it is summed again. */
static float naive_sum(moe_device_t *d, const wide_t *w, size_t t, size_t column, moe_dtype_t dtype,
                       bool outer)
{
    float total = 0;
    for (int32_t node = 0; node < 4; node++) {
        float sum = 0;
        for (int32_t rank = 2 * node; rank < 2 * node + 2; rank++) {
            const float part = rounded(d, dtype, whole_sum(w, t, column, rank));
            *(outer ? &sum : &total) += part;
        }
        total += outer ? rounded(d, dtype, sum) : 0;
    }
    return total;
}

static void *wide_rows(moe_device_t *d, const wide_t *w, moe_dtype_t dtype, int levels)
{
    void *out = rows_of(d, dtype, MANY, WIDE_HIDDEN);
    float values[MANY * WIDE_HIDDEN];
    for (size_t i = 0; i < MANY * WIDE_HIDDEN; i++) {
        const size_t t = i / WIDE_HIDDEN, column = i % WIDE_HIDDEN;
        values[i] = levels == 0 ? whole_sum(w, t, column, -1)
                                : naive_sum(d, w, t, column, dtype, levels == 2);
    }
    rows_from_floats(d, out, dtype, values, MANY, WIDE_HIDDEN);
    return out;
}

static size_t wide_errors(moe_device_t *d, const wide_t *w, const void *out, moe_dtype_t dtype,
                          int levels)
{
    moe_mismatch_t found = {0};
    const moe_partial_sums_t sums = {
        .inner = w->inner, .outer = levels == 2 ? w->outer : NULL, .dtype = dtype};
    d->ops->check_combined(d, out, dtype, SEED, FIRST_TOKEN, w->expert, w->weight, w->kept,
                           levels > 0 ? &sums : NULL, MANY, WIDE_K, 1, WIDE_HIDDEN, &found);
    return found.count;
}

static void test_sums_that_are_rounded_on_the_way_are_expected_so(void **state)
{
    moe_device_t *d = *state;
    static const moe_dtype_t narrow[] = {MOE_BF16, MOE_FP16, MOE_FP32};
    const wide_t w = make_wide();
    for (size_t i = 0; i < sizeof narrow / sizeof *narrow; i++) {
        for (int levels = 0; levels <= 2; levels++) {
            void *out = wide_rows(d, &w, narrow[i], levels);
            for (int expected = 0; expected <= 2; expected++) {
                const size_t errors = wide_errors(d, &w, out, narrow[i], expected);
                /* fp32 rounds nothing here; the others do, and other places show. */
                assert_int_equal(errors == 0, expected == levels || narrow[i] == MOE_FP32);
            }
            d->ops->release(d, out);
        }
    }
}

static void test_one_partial_sum_for_all_is_the_sum_rounded(void **state)
{
    moe_device_t *d = *state;
    wide_t w = make_wide();
    void *out = wide_rows(d, &w, MOE_BF16, 0);
    memset(w.inner, 0, sizeof w.inner);
    memset(w.outer, 0, sizeof w.outer);
    for (int levels = 0; levels <= 2; levels++) {
        assert_int_equal(wide_errors(d, &w, out, MOE_BF16, levels), 0);
    }
    d->ops->release(d, out);
}

static void test_a_selection_in_another_partial_sum_is_seen(void **state)
{
    moe_device_t *d = *state;
    const wide_t w = make_wide();
    void *out = wide_rows(d, &w, MOE_BF16, 2);
    size_t seen = 0;
    for (size_t i = 0; i < MANY * WIDE_K; i++) {
        wide_t other = w;
        other.weight[i] *= 0.5f;
        assert_int_equal(wide_errors(d, &other, out, MOE_BF16, 2) > 0, w.kept[i]);
        other.weight[i] = w.weight[i];
        other.inner[i] = other.inner[i] % 2 == 0 ? other.inner[i] + 1 : other.inner[i] - 1;
        seen += wide_errors(d, &other, out, MOE_BF16, 2) > 0;
    }
    assert_true(seen > MANY);
    d->ops->release(d, out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_flipped_bit_is_seen_where_it_is),
        cmocka_unit_test(test_swapped_stale_lost_and_poisoned_rows_are_seen),
        cmocka_unit_test(test_a_check_looks_at_every_nth_row_and_keeps_earlier_findings),
        cmocka_unit_test(test_what_comes_back_is_exact_for_every_dtype_with_drops),
        cmocka_unit_test(test_the_expected_sum_is_that_of_whole_numbers),
        cmocka_unit_test(test_every_flipped_bit_of_the_result_is_seen),
        cmocka_unit_test(test_a_wrong_expert_weight_drop_or_token_is_seen),
        cmocka_unit_test(test_a_dropped_token_must_be_zero_and_a_stride_skips_rows),
        cmocka_unit_test(test_sums_that_are_rounded_on_the_way_are_expected_so),
        cmocka_unit_test(test_one_partial_sum_for_all_is_the_sum_rounded),
        cmocka_unit_test(test_a_selection_in_another_partial_sum_is_seen),
    };
    return cmocka_run_group_tests_name("device check", tests, set_up, tear_down);
}
