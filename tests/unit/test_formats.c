/* Number formats: every pattern of the small ones, and every tie between two of them. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../src/device/formats.h"

/* One small format as the tests see it. */
typedef struct format {
    uint32_t patterns; /* with sign */
    uint32_t largest;  /* pattern of the largest finite number */
    int fraction, bias;
    double (*decode)(uint32_t pattern);
    uint32_t (*encode)(float value);
} format_t;

static double decode_bf16(uint32_t pattern)
{
    return (double)moe_bf16_to_float((uint16_t)pattern);
}

static uint32_t encode_bf16(float value)
{
    return moe_bf16_from_float(value);
}

static double decode_fp16(uint32_t pattern)
{
    return (double)moe_fp16_to_float((uint16_t)pattern);
}

static uint32_t encode_fp16(float value)
{
    return moe_fp16_from_float(value);
}

static double decode_e4m3(uint32_t pattern)
{
    return (double)moe_e4m3_to_float((uint8_t)pattern);
}

static uint32_t encode_e4m3(float value)
{
    return moe_e4m3_from_float(value);
}

static const format_t formats[] = {
    {0x10000, 0x7f7f, 7, 127, decode_bf16, encode_bf16},
    {0x10000, 0x7bff, 10, 15, decode_fp16, encode_fp16},
    {0x100, 0x7e, 3, 7, decode_e4m3, encode_e4m3},
};
enum { FORMATS = sizeof formats / sizeof *formats };

static uint32_t sign_bit(const format_t *f)
{
    return f->patterns / 2;
}

/* The number of a finite pattern without sign, by the definition of IEEE 754. */
static double by_definition(const format_t *f, uint32_t pattern)
{
    const uint32_t exponent = pattern >> f->fraction;
    const uint32_t fraction = pattern & ((1u << f->fraction) - 1);
    const uint32_t hidden_one = exponent == 0 ? 0 : 1u << f->fraction;
    return ldexp((double)(hidden_one + fraction),
                 (exponent == 0 ? 1 : (int)exponent) - f->bias - f->fraction);
}

static void test_every_finite_pattern_has_the_value_of_its_definition(void **state)
{
    (void)state;
    for (int i = 0; i < FORMATS; i++) {
        const format_t *f = &formats[i];
        for (uint32_t p = 0; p <= f->largest; p++) {
            assert_true(f->decode(p) == by_definition(f, p));
            assert_true(f->decode(p | sign_bit(f)) == -by_definition(f, p));
            assert_true(signbit(f->decode(p | sign_bit(f))) != 0);
        }
    }
    assert_true(moe_e4m3_to_float(0x7e) == 448.0f);
    assert_true(moe_fp16_to_float(0x7bff) == 65504.0f);
}

static void test_every_pattern_survives_the_round_trip_and_nan_stays_nan(void **state)
{
    (void)state;
    for (int i = 0; i < FORMATS; i++) {
        const format_t *f = &formats[i];
        size_t not_numbers = 0;
        for (uint32_t p = 0; p < f->patterns; p++) {
            const double value = f->decode(p);
            const uint32_t back = f->encode((float)value);
            if (isnan(value)) {
                not_numbers++;
                assert_true(isnan(f->decode(back)));
                assert_int_equal(back & sign_bit(f), p & sign_bit(f));
            } else {
                assert_int_equal(back, p);
            }
        }
        const size_t infinities = f->patterns == 0x100 ? 0 : 1;
        assert_int_equal(not_numbers, 2 * (sign_bit(f) - 1 - f->largest - infinities));
    }
}

static void test_ties_go_to_even_and_all_else_to_the_nearest(void **state)
{
    (void)state;
    for (int i = 0; i < FORMATS; i++) {
        const format_t *f = &formats[i];
        for (uint32_t p = 0; p < f->largest; p++) {
            const float tie = (float)((f->decode(p) + f->decode(p + 1)) / 2);
            const uint32_t even = p % 2 == 0 ? p : p + 1;
            assert_int_equal(f->encode(tie), even);
            assert_int_equal(f->encode(-tie), even | sign_bit(f));
            assert_int_equal(f->encode(nextafterf(tie, 0)), p);
            assert_int_equal(f->encode(nextafterf(tie, INFINITY)), p + 1);
        }
    }
}

static void test_past_the_largest_number_fp16_is_infinite_and_e4m3_saturates(void **state)
{
    (void)state;
    assert_int_equal(moe_fp16_from_float(nextafterf(65520.0f, 0)), 0x7bff);
    assert_int_equal(moe_fp16_from_float(65520.0f), 0x7c00);
    assert_int_equal(moe_fp16_from_float(-FLT_MAX), 0xfc00);
    assert_int_equal(moe_bf16_from_float(FLT_MAX), 0x7f80);
    assert_true(isinf(moe_bf16_to_float(0xff80)));
    const float large[] = {449.0f, 464.0f, 480.0f, 1e30f, FLT_MAX, INFINITY};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        assert_int_equal(moe_e4m3_from_float(large[i]), 0x7e);
        assert_int_equal(moe_e4m3_from_float(-large[i]), 0xfe);
    }
}

static void test_nan_with_any_payload_stays_nan(void **state)
{
    (void)state;
    const uint32_t payloads[] = {0x7f800001, 0x7f80ffff, 0x7fbfffff, 0x7fc00000, 0x7fffffff};
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
        for (int j = 0; j < FORMATS; j++) {
            const format_t *f = &formats[j];
            assert_true(isnan(f->decode(f->encode(moe_float_of(payloads[i])))));
            assert_true(isnan(f->decode(f->encode(moe_float_of(payloads[i] | MOE_FP32_SIGN)))));
        }
    }
}

/* ---- Rows ---- */

enum { LONGEST = 2600 };
static const size_t lengths[] = {1, 2, 31, 127, 128, 129, 255, 257, 1024, 1025, 2049, LONGEST};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

/* Bit patterns of all kinds: normal, subnormal, zero, infinite, NaN. */
static float anything(void)
{
    const uint32_t bits = ((uint32_t)rand() << 16) ^ (uint32_t)rand();
    return moe_float_of(rand() % 8 == 0 ? bits & MOE_FP32_INFINITY : bits);
}

static void encode_in_panels(moe_dtype_t dtype, void *row, const float *from, size_t hidden)
{
    for (size_t first = 0; first < hidden; first += MOE_PANEL) {
        moe_format_encode(dtype, row, from + first, hidden, first, moe_panel_width(hidden, first));
    }
}

static void test_rows_are_converted_as_single_elements_are(void **state)
{
    (void)state;
    float from[LONGEST], back[LONGEST];
    uint16_t row[LONGEST + 1];
    for (size_t i = 0; i < LENGTHS; i++) {
        const size_t n = lengths[i];
        for (size_t j = 0; j < n; j++) {
            from[j] = anything();
        }
        row[n] = 0xabcd;
        encode_in_panels(MOE_BF16, row, from, n);
        moe_format_decode(MOE_BF16, back, row, n, 0, n);
        for (size_t j = 0; j < n; j++) {
            assert_int_equal(row[j], moe_bf16_from_float(from[j]));
            assert_int_equal(moe_bits_of(back[j]), (uint32_t)row[j] << 16);
        }
        encode_in_panels(MOE_FP16, row, from, n);
        moe_format_decode(MOE_FP16, back, row, n, 0, n);
        for (size_t j = 0; j < n; j++) {
            assert_int_equal(row[j], moe_fp16_from_float(from[j]));
            assert_int_equal(moe_bits_of(back[j]), moe_bits_of(moe_fp16_to_float(row[j])));
        }
        assert_int_equal(row[n], 0xabcd);
    }
}

static float scale_at(const uint8_t *row, size_t hidden, size_t block)
{
    float scale;
    memcpy(&scale, row + hidden + block * sizeof scale, sizeof scale);
    return scale;
}

static void test_fp8_rows_hold_small_whole_numbers_exactly(void **state)
{
    (void)state;
    float from[LONGEST], back[LONGEST];
    uint8_t memory[LONGEST + 4 * (LONGEST / MOE_FP8_BLOCK + 1) + 2];
    uint8_t *row = memory + 1; /* rows start anywhere */
    for (size_t i = 0; i < LENGTHS; i++) {
        const size_t n = lengths[i], bytes = moe_row_bytes(MOE_FP8, n);
        assert_int_equal(bytes, n + 4 * moe_fp8_blocks(n));
        memset(memory, 0x5a, sizeof memory);
        for (size_t j = 0; j < n; j++) {
            from[j] = (float)(rand() % 33 - 16);
        }
        encode_in_panels(MOE_FP8, row, from, n);
        moe_format_decode(MOE_FP8, back, row, n, 0, n);
        assert_memory_equal(back, from, n * sizeof *from);
        assert_int_equal(memory[0], 0x5a);
        assert_int_equal(row[bytes], 0x5a);
        const size_t start = n / 3;
        moe_format_decode(MOE_FP8, back, row, n, start, n - start);
        assert_memory_equal(back, from + start, (n - start) * sizeof *from);
    }
}

static void test_fp8_scale_is_the_smallest_power_of_two_that_fits(void **state)
{
    (void)state;
    uint8_t row[MOE_FP8_BLOCK + 4];
    float from[MOE_FP8_BLOCK];
    for (int round = 0; round < 3000; round++) {
        float largest = 0;
        const int magnitude = rand() % 200 - 100;
        for (size_t j = 0; j < MOE_FP8_BLOCK; j++) {
            from[j] = ldexpf((float)(rand() % 20001 - 10000), magnitude);
            largest = fmaxf(largest, fabsf(from[j]));
        }
        moe_format_encode(MOE_FP8, row, from, MOE_FP8_BLOCK, 0, MOE_FP8_BLOCK);
        const float scale = scale_at(row, MOE_FP8_BLOCK, 0);
        int exponent;
        assert_true(frexpf(scale, &exponent) == 0.5f);
        assert_true(largest / scale <= 448.0f);
        assert_true(largest / (scale / 2) > 448.0f);
    }
    const struct {
        float largest, scale;
    } known[] = {{0, 1}, {448, 1}, {449, 2}, {-448, 1}, {224, 0.5f}, {16, 0x1p-4f}, {8, 0x1p-5f}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        moe_format_encode(MOE_FP8, row, &known[i].largest, 1, 0, 1);
        assert_true(scale_at(row, 1, 0) == known[i].scale);
    }
}

static void test_fp8_error_is_at_most_a_sixteenth(void **state)
{
    (void)state;
    uint8_t row[MOE_FP8_BLOCK + 4];
    float from[MOE_FP8_BLOCK], back[MOE_FP8_BLOCK];
    for (size_t j = 0; j < MOE_FP8_BLOCK; j++) {
        from[j] = (float)rand() / (float)RAND_MAX * 3e-5f + 1e-6f;
    }
    moe_format_encode(MOE_FP8, row, from, MOE_FP8_BLOCK, 0, MOE_FP8_BLOCK);
    moe_format_decode(MOE_FP8, back, row, MOE_FP8_BLOCK, 0, MOE_FP8_BLOCK);
    for (size_t j = 0; j < MOE_FP8_BLOCK; j++) {
        assert_true(fabsf(back[j] - from[j]) <= from[j] / 16);
    }
}

static void test_fp8_extremes_stay_in_range_and_nan_spoils_no_neighbour(void **state)
{
    (void)state;
    uint8_t row[3 + 4];
    float back[3];
    const float with_nan[3] = {NAN, 3.0f, -8.0f};
    moe_format_encode(MOE_FP8, row, with_nan, 3, 0, 3);
    moe_format_decode(MOE_FP8, back, row, 3, 0, 3);
    assert_true(isnan(back[0]) && back[1] == 3.0f && back[2] == -8.0f);
    const float huge[3] = {0x1p127f, -0x1p127f, 0.0f};
    moe_format_encode(MOE_FP8, row, huge, 3, 0, 3);
    moe_format_decode(MOE_FP8, back, row, 3, 0, 3);
    assert_memory_equal(back, huge, sizeof huge);
    const float tiny[3] = {FLT_MIN, FLT_TRUE_MIN, -0.0f};
    moe_format_encode(MOE_FP8, row, tiny, 3, 0, 3);
    moe_format_decode(MOE_FP8, back, row, 3, 0, 3);
    assert_true(back[0] == FLT_MIN && back[1] == 0.0f && signbit(back[2]));
    memset(row, 0, sizeof row);
    moe_format_decode(MOE_FP8, back, row, 3, 0, 3);
    assert_true(moe_bits_of(back[0]) == 0 && moe_bits_of(back[1]) == 0 &&
                moe_bits_of(back[2]) == 0);
}

static void test_adding_a_row_rounds_product_and_sum_apart(void **state)
{
    (void)state;
    const moe_dtype_t dtypes[] = {MOE_BF16, MOE_FP16, MOE_FP32, MOE_FP8};
    float from[LONGEST], sums[LONGEST], expected[LONGEST];
    void *row = malloc(LONGEST * sizeof(float));
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
        for (size_t j = 0; j < LONGEST; j++) {
            from[j] = (float)rand() / (float)RAND_MAX - 0.5f;
            expected[j] = sums[j] = (float)rand() / (float)RAND_MAX;
        }
        encode_in_panels(dtypes[d], row, from, LONGEST);
        moe_format_decode(dtypes[d], from, row, LONGEST, 0, LONGEST);
        moe_format_add(dtypes[d], sums, 0.3f, row, LONGEST, 0, LONGEST);
        for (size_t j = 0; j < LONGEST; j++) {
            const volatile float product = 0.3f * from[j];
            expected[j] += product;
        }
        assert_memory_equal(sums, expected, sizeof sums);
    }
    free(row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_finite_pattern_has_the_value_of_its_definition),
        cmocka_unit_test(test_every_pattern_survives_the_round_trip_and_nan_stays_nan),
        cmocka_unit_test(test_ties_go_to_even_and_all_else_to_the_nearest),
        cmocka_unit_test(test_past_the_largest_number_fp16_is_infinite_and_e4m3_saturates),
        cmocka_unit_test(test_nan_with_any_payload_stays_nan),
        cmocka_unit_test(test_rows_are_converted_as_single_elements_are),
        cmocka_unit_test(test_fp8_rows_hold_small_whole_numbers_exactly),
        cmocka_unit_test(test_fp8_scale_is_the_smallest_power_of_two_that_fits),
        cmocka_unit_test(test_fp8_error_is_at_most_a_sixteenth),
        cmocka_unit_test(test_fp8_extremes_stay_in_range_and_nan_spoils_no_neighbour),
        cmocka_unit_test(test_adding_a_row_rounds_product_and_sum_apart),
    };
    return cmocka_run_group_tests_name("formats", tests, NULL, NULL);
}
