/* The host's device: memory, packing, weighted sums, conversion, matrix products, time. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "../../src/device/formats.h"
#include "../common/floats.h"
#include "moe/device.h"
#include "moe/traffic.h"

static const moe_dtype_t dtypes[] = {MOE_BF16, MOE_FP16, MOE_FP32, MOE_FP8};
enum { DTYPE_COUNT = sizeof dtypes / sizeof *dtypes };

static const size_t hiddens[] = {1, 31, 32, 33, 127, 129, 1024, 1025, 2050};
enum { HIDDENS = sizeof hiddens / sizeof *hiddens, LONGEST = 2050 };

enum { SOURCE_ROWS = 12 };

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

static float small_real(void)
{
    return (float)rand() / (float)RAND_MAX - 0.5f;
}

/* Random rows of that dtype, and what they hold as floats. */
static void *random_rows(moe_device_t *d, moe_dtype_t dtype, size_t rows, size_t hidden,
                         float *values)
{
    void *memory = rows_of(d, dtype, rows, hidden);
    for (size_t i = 0; i < rows * hidden; i++) {
        values[i] = small_real();
    }
    rows_from_floats(d, memory, dtype, values, rows, hidden);
    rows_to_floats(d, values, memory, dtype, rows, hidden);
    return memory;
}

/* ---- Memory ---- */

static void test_buffers_are_aligned_to_a_page_and_hold_what_is_copied(void **state)
{
    moe_device_t *d = *state;
    const size_t sizes[] = {0, 1, 4095, 4097, (size_t)5 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *a = NULL, *b = NULL;
        assert_int_equal(d->ops->alloc(d, "a", sizes[i], (void **)&a, NULL), MOE_OK);
        assert_int_equal(d->ops->alloc(d, "b", sizes[i], (void **)&b, NULL), MOE_OK);
        assert_int_equal((uintptr_t)a % 4096, 0);
        d->ops->fill_bytes(d, a, 0xc3, sizes[i]);
        d->ops->copy(d, b, a, sizes[i]);
        for (size_t j = 0; j < sizes[i]; j++) {
            assert_int_equal(b[j], 0xc3);
        }
        d->ops->release(d, a);
        d->ops->release(d, b);
    }
    d->ops->release(d, NULL);
    d->ops->fill_bytes(d, NULL, 1, 0);
    d->ops->copy(d, NULL, NULL, 0);
}

static void test_memory_that_is_not_there_is_refused_by_name_and_size(void **state)
{
    moe_device_t *d = *state;
    const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 4096, (size_t)1 << 50};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *memory = d;
        moe_error_t error = {0};
        assert_int_equal(d->ops->alloc(d, "rows to send", sizes[i], &memory, &error),
                         MOE_BAD_INPUT);
        assert_ptr_equal(memory, d);
        assert_non_null(strstr(error.text, "rows to send"));
        assert_non_null(strstr(error.text, "iB"));
        assert_int_equal(error.status, MOE_BAD_INPUT);
    }
}

/* ---- Pack ---- */

static void test_pack_copies_rows_and_writes_zeros_for_padding(void **state)
{
    moe_device_t *d = *state;
    enum { ROWS = 40 };
    size_t index[ROWS];
    for (size_t r = 0; r < ROWS; r++) {
        index[r] = r % 5 == 4 ? MOE_ROW_ZERO : (r * 7 + 3) % SOURCE_ROWS;
    }
    for (size_t i = 0; i < DTYPE_COUNT * HIDDENS; i++) {
        const moe_dtype_t dtype = dtypes[i / HIDDENS];
        const size_t hidden = hiddens[i % HIDDENS], bytes = moe_row_bytes(dtype, hidden);
        unsigned char *from = rows_of(d, dtype, SOURCE_ROWS, hidden);
        unsigned char *to = rows_of(d, dtype, ROWS + 1, hidden);
        for (size_t j = 0; j < SOURCE_ROWS * bytes; j++) {
            from[j] = (unsigned char)rand();
        }
        d->ops->fill_bytes(d, to, 0xff, (ROWS + 1) * bytes);
        d->ops->gather(d, to, moe_row_bytes(dtype, hidden), dtype, from,
                       moe_row_bytes(dtype, hidden), dtype, index, ROWS, hidden);
        for (size_t j = 0; j < ROWS * bytes; j++) {
            const size_t source = index[j / bytes];
            assert_int_equal(to[j], source == MOE_ROW_ZERO ? 0 : from[source * bytes + j % bytes]);
        }
        assert_int_equal(to[ROWS * bytes], 0xff);
        d->ops->gather(d, to, moe_row_bytes(dtype, hidden), dtype, from,
                       moe_row_bytes(dtype, hidden), dtype, NULL, SOURCE_ROWS, hidden);
        assert_memory_equal(to, from, SOURCE_ROWS * bytes);
        d->ops->release(d, from);
        d->ops->release(d, to);
    }
}

/* Rows with something behind them, on both sides: it stays as it was. */
static void check_strided(moe_device_t *d, moe_dtype_t to_dtype, moe_dtype_t from_dtype,
                          size_t hidden, bool with_index)
{
    enum { ROWS = 9, TO_GAP = 6, FROM_GAP = 12 }; /* elements stay aligned */
    static const size_t index[ROWS] = {4, 0, MOE_ROW_ZERO, 7, 7, 1, MOE_ROW_ZERO, 11, 2};
    const size_t to_bytes = moe_row_bytes(to_dtype, hidden), to_stride = to_bytes + TO_GAP;
    const size_t from_bytes = moe_row_bytes(from_dtype, hidden),
                 from_stride = from_bytes + FROM_GAP;
    unsigned char *close = rows_of(d, from_dtype, SOURCE_ROWS, hidden);
    unsigned char *expected = rows_of(d, to_dtype, ROWS, hidden);
    unsigned char *from = calloc(SOURCE_ROWS, from_stride), *to = malloc(ROWS * to_stride);
    d->ops->fill_tokens(d, close, from_dtype, 3, 40, SOURCE_ROWS, hidden);
    for (size_t r = 0; r < SOURCE_ROWS; r++) {
        memcpy(from + r * from_stride, close + r * from_bytes, from_bytes);
        memset(from + r * from_stride + from_bytes, 0x77, FROM_GAP);
    }
    memset(to, 0xee, ROWS * to_stride);
    const size_t *list = with_index ? index : NULL;
    d->ops->gather(d, expected, to_bytes, to_dtype, close, from_bytes, from_dtype, list, ROWS,
                   hidden);
    d->ops->gather(d, to, to_stride, to_dtype, from, from_stride, from_dtype, list, ROWS, hidden);
    for (size_t r = 0; r < ROWS; r++) {
        assert_memory_equal(to + r * to_stride, expected + r * to_bytes, to_bytes);
        for (size_t i = 0; i < TO_GAP; i++) {
            assert_int_equal(to[r * to_stride + to_bytes + i], 0xee);
        }
    }
    d->ops->release(d, close);
    d->ops->release(d, expected);
    free(from);
    free(to);
}

static void test_pack_leaves_what_lies_between_rows(void **state)
{
    static const moe_dtype_t pairs[][2] = {{MOE_BF16, MOE_BF16}, {MOE_FP16, MOE_FP16},
                                           {MOE_FP32, MOE_FP32}, {MOE_FP8, MOE_FP8},
                                           {MOE_FP8, MOE_BF16},  {MOE_BF16, MOE_FP8}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        for (size_t h = 0; h < HIDDENS; h++) {
            check_strided(*state, pairs[i][0], pairs[i][1], hiddens[h], true);
            check_strided(*state, pairs[i][0], pairs[i][1], hiddens[h], false);
        }
    }
}

/* A naive copy, byte by byte. */
static void check_parts(moe_device_t *d, size_t bytes, size_t to_gap, size_t from_gap,
                        const size_t *index, size_t rows)
{
    const size_t to_stride = bytes + to_gap, from_stride = bytes + from_gap;
    unsigned char *from = malloc(SOURCE_ROWS * from_stride), *to = malloc(rows * to_stride);
    for (size_t i = 0; i < SOURCE_ROWS * from_stride; i++) {
        from[i] = (unsigned char)rand();
    }
    memset(to, 0xee, rows * to_stride);
    d->ops->copy_parts(d, to, to_stride, from, from_stride, bytes, index, rows);
    for (size_t i = 0; i < rows * to_stride; i++) {
        const size_t source = index != NULL ? index[i / to_stride] : i / to_stride;
        const size_t at = i % to_stride;
        const unsigned char copied = source == MOE_ROW_ZERO ? 0
                                     : at < bytes           ? from[source * from_stride + at]
                                                            : 0;
        assert_int_equal(to[i], at < bytes ? copied : 0xee);
    }
    free(from);
    free(to);
}

static void test_parts_of_rows_are_copied_whatever_they_are(void **state)
{
    static const size_t index[] = {11, 0, 0, MOE_ROW_ZERO, 5, 6, 7, MOE_ROW_ZERO, 1, 10};
    static const size_t sizes[] = {1, 16, 63, 64, 65, 1000};
    enum { ROWS = sizeof index / sizeof *index };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_parts(*state, sizes[i], 0, 0, index, ROWS);
        check_parts(*state, sizes[i], 3, 0, index, ROWS);
        check_parts(*state, sizes[i], 0, 70, index, ROWS);
        check_parts(*state, sizes[i], 0, 0, NULL, ROWS);
        check_parts(*state, sizes[i], 128, 1, NULL, ROWS);
        check_parts(*state, sizes[i], 1, 128, NULL, SOURCE_ROWS);
    }
    moe_device_t *d = *state;
    d->ops->copy_parts(d, NULL, 8, NULL, 8, 8, NULL, 0);
    d->ops->copy_parts(d, NULL, 8, NULL, 8, 0, index, ROWS);
}

static void test_packing_to_fp8_and_back_keeps_tokens_exactly(void **state)
{
    moe_device_t *d = *state;
    const size_t index[] = {3, MOE_ROW_ZERO, 0, 3};
    const size_t back_index[] = {2, 1, 0};
    for (size_t i = 0; i < HIDDENS; i++) {
        const size_t hidden = hiddens[i], bytes = moe_row_bytes(MOE_BF16, hidden);
        char *tokens = rows_of(d, MOE_BF16, 4, hidden), *back = rows_of(d, MOE_BF16, 4, hidden);
        char *wire = rows_of(d, MOE_FP8, 4, hidden), *zeros = rows_of(d, MOE_BF16, 1, hidden);
        d->ops->fill_tokens(d, tokens, MOE_BF16, 5, 100, 4, hidden);
        d->ops->fill_bytes(d, wire, 0xff, 4 * moe_row_bytes(MOE_FP8, hidden));
        d->ops->gather(d, wire, moe_row_bytes(MOE_FP8, hidden), MOE_FP8, tokens,
                       moe_row_bytes(MOE_BF16, hidden), MOE_BF16, index, 4, hidden);
        assert_memory_equal(wire + moe_row_bytes(MOE_FP8, hidden), zeros,
                            moe_row_bytes(MOE_FP8, hidden));
        d->ops->gather(d, back, moe_row_bytes(MOE_BF16, hidden), MOE_BF16, wire,
                       moe_row_bytes(MOE_FP8, hidden), MOE_FP8, back_index, 3, hidden);
        assert_memory_equal(back, tokens, bytes);
        assert_memory_equal(back + bytes, zeros, bytes);
        assert_memory_equal(back + 2 * bytes, tokens + 3 * bytes, bytes);
        d->ops->gather(d, back, moe_row_bytes(MOE_BF16, hidden), MOE_BF16, wire,
                       moe_row_bytes(MOE_FP8, hidden), MOE_FP8, NULL, 4, hidden);
        assert_memory_equal(back, tokens + 3 * bytes, bytes);
        d->ops->release(d, tokens);
        d->ops->release(d, back);
        d->ops->release(d, wire);
        d->ops->release(d, zeros);
    }
}

static void test_no_rows_are_no_work(void **state)
{
    moe_device_t *d = *state;
    const size_t first[] = {0};
    moe_mismatch_t found = {0};
    d->ops->gather(d, NULL, moe_row_bytes(MOE_BF16, 64), MOE_BF16, NULL,
                   moe_row_bytes(MOE_BF16, 64), MOE_BF16, NULL, 0, 64);
    d->ops->gather(d, NULL, moe_row_bytes(MOE_FP8, 64), MOE_FP8, NULL, moe_row_bytes(MOE_BF16, 64),
                   MOE_BF16, NULL, 0, 64);
    d->ops->reduce(d, NULL, MOE_BF16, NULL, MOE_BF16, first, NULL, NULL, 0, 64);
    d->ops->reduce(d, NULL, MOE_FP32, NULL, MOE_FP8, first, NULL, NULL, 0, 64);
    d->ops->fill_tokens(d, NULL, MOE_BF16, 0, 0, 0, 64);
    d->ops->apply_expert(d, NULL, MOE_BF16, NULL, MOE_FP8, 0, 0, 64);
    d->ops->check_rows(d, NULL, MOE_BF16, 0, NULL, 0, 1, 64, 0, &found);
    d->ops->check_combined(d, NULL, MOE_BF16, 0, 0, NULL, NULL, NULL, NULL, 0, 2, 1, 64, &found);
    assert_int_equal(found.count, 0);
}

/* ---- Unpack and weigh ---- */

enum { SUMS = 12, TERMS = SUMS * (SUMS - 1) / 2 };

/* Sum b has b terms: 0, 1, 2 ... 11. */
static void make_terms(size_t *first, size_t *row, float *weight)
{
    for (size_t b = 0; b <= SUMS; b++) {
        first[b] = b * (b - (b > 0)) / 2;
    }
    for (size_t i = 0; i < TERMS; i++) {
        row[i] = (size_t)rand() % SOURCE_ROWS;
        weight[i] = small_real();
    }
}

static void check_sums(moe_device_t *d, moe_dtype_t to_dtype, moe_dtype_t from_dtype, size_t hidden)
{
    size_t first[SUMS + 1], row[TERMS];
    float weight[TERMS];
    float *values = calloc(SOURCE_ROWS * hidden, sizeof *values);
    float *sums = calloc(SUMS * hidden, sizeof *sums);
    void *from = random_rows(d, from_dtype, SOURCE_ROWS, hidden, values);
    unsigned char *to = rows_of(d, to_dtype, SUMS + 1, hidden);
    void *expected = rows_of(d, to_dtype, SUMS, hidden);
    const size_t bytes = SUMS * moe_row_bytes(to_dtype, hidden);
    make_terms(first, row, weight);
    for (size_t b = 0; b < SUMS; b++) {
        for (size_t i = first[b]; i < first[b + 1]; i++) {
            for (size_t j = 0; j < hidden; j++) {
                const volatile float product = weight[i] * values[row[i] * hidden + j];
                sums[b * hidden + j] += product;
            }
        }
    }
    d->ops->fill_bytes(d, to, 0xff, bytes + 1);
    rows_from_floats(d, expected, to_dtype, sums, SUMS, hidden);
    d->ops->reduce(d, to, to_dtype, from, from_dtype, first, row, weight, SUMS, hidden);
    assert_memory_equal(to, expected, bytes);
    assert_int_equal(to[bytes], 0xff);
    d->ops->release(d, from);
    d->ops->release(d, to);
    d->ops->release(d, expected);
    free(values);
    free(sums);
}

/* Bit for bit: no fused multiply-add, no other order, in any instruction set. */
static void test_weighted_sums_are_those_of_a_plain_loop_in_fp32(void **state)
{
    for (size_t i = 0; i < DTYPE_COUNT * DTYPE_COUNT; i++) {
        for (size_t h = 0; h < HIDDENS; h++) {
            check_sums(*state, dtypes[i / DTYPE_COUNT], dtypes[i % DTYPE_COUNT], hiddens[h]);
        }
    }
}

static void test_a_sum_of_nothing_or_of_opposites_is_plus_zero(void **state)
{
    moe_device_t *d = *state;
    enum { HIDDEN = 40 };
    const size_t first[] = {0, 0, 2, 3}, row[] = {0, 1, 1};
    const float weight[] = {0.5f, 0.5f, 0.0f};
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        float values[2 * HIDDEN], sums[3 * HIDDEN];
        for (size_t j = 0; j < HIDDEN; j++) {
            values[j] = 3.0f;
            values[HIDDEN + j] = -3.0f;
        }
        void *from = rows_of(d, dtypes[i], 2, HIDDEN), *to = rows_of(d, MOE_BF16, 3, HIDDEN);
        rows_from_floats(d, from, dtypes[i], values, 2, HIDDEN);
        d->ops->fill_bytes(d, to, 0xff, 3 * moe_row_bytes(MOE_BF16, HIDDEN));
        d->ops->reduce(d, to, MOE_BF16, from, dtypes[i], first, row, weight, 3, HIDDEN);
        rows_to_floats(d, sums, to, MOE_BF16, 3, HIDDEN);
        for (size_t j = 0; j < 3 * HIDDEN; j++) {
            assert_int_equal(moe_bits_of(sums[j]), 0);
        }
        d->ops->release(d, from);
        d->ops->release(d, to);
    }
}

static void test_a_nan_in_one_term_reaches_the_sum(void **state)
{
    moe_device_t *d = *state;
    enum { HIDDEN = 70 };
    const size_t first[] = {0, 2}, row[] = {0, 1};
    const float weight[] = {0.5f, 0.25f};
    for (size_t column = 0; column < HIDDEN; column++) {
        float values[2 * HIDDEN] = {0}, sums[HIDDEN];
        values[HIDDEN + column] = NAN;
        void *from = rows_of(d, MOE_BF16, 2, HIDDEN), *to = rows_of(d, MOE_BF16, 1, HIDDEN);
        rows_from_floats(d, from, MOE_BF16, values, 2, HIDDEN);
        d->ops->reduce(d, to, MOE_BF16, from, MOE_BF16, first, row, weight, 1, HIDDEN);
        rows_to_floats(d, sums, to, MOE_BF16, 1, HIDDEN);
        for (size_t j = 0; j < HIDDEN; j++) {
            assert_int_equal(isnan(sums[j]) != 0, j == column);
        }
        d->ops->release(d, from);
        d->ops->release(d, to);
    }
}

/* ---- Matrix products ---- */

static void check_gemm(moe_device_t *d, const moe_gemm_t *s)
{
    float *a = calloc(s->m * s->k + 1, sizeof *a), *b = calloc(s->k * s->n + 1, sizeof *b);
    float *c = calloc(s->m * s->n + 1, sizeof *c);
    for (size_t i = 0; i < s->m * s->k; i++) {
        a[i] = (float)(rand() % 9 - 4);
    }
    for (size_t i = 0; i < s->k * s->n; i++) {
        b[i] = (float)(rand() % 9 - 4);
    }
    for (size_t i = 0; i <= s->m * s->n; i++) {
        c[i] = NAN; /* what was there must not matter */
    }
    moe_device_gemm(d, s, a, b, c);
    for (size_t i = 0; i < s->m * s->n; i++) {
        const size_t row = i / s->n, column = i % s->n;
        float sum = 0;
        for (size_t x = 0; x < s->k; x++) {
            sum += (s->transpose_a ? a[x * s->m + row] : a[row * s->k + x]) *
                   (s->transpose_b ? b[column * s->k + x] : b[x * s->n + column]);
        }
        assert_true(c[i] == sum);
    }
    assert_true(isnan(c[s->m * s->n]));
    free(a);
    free(b);
    free(c);
}

static void test_matrix_products_are_right_in_all_four_layouts(void **state)
{
    moe_device_t *d = *state;
    if (!d->ops->has_gemm) {
        skip();
    }
    const size_t sizes[][3] = {{7, 5, 3}, {1, 1, 1}, {64, 33, 17}, {0, 4, 4}, {4, 0, 4}, {4, 4, 0}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int t = 0; t < 4; t++) {
            const moe_gemm_t shape = {.m = sizes[i][0],
                                      .n = sizes[i][1],
                                      .k = sizes[i][2],
                                      .transpose_a = t & 1,
                                      .transpose_b = t & 2};
            check_gemm(d, &shape);
        }
    }
}

static void check_threads(size_t threads, size_t ranks_on_host, const char *expected)
{
    moe_device_t *d = NULL;
    assert_int_equal(moe_host_device_create(threads, ranks_on_host, &d, NULL), MOE_OK);
    assert_string_equal(d->ops->name, "host");
    assert_memory_equal(d->description, "host memory, ", 13);
    if (strstr(d->description, "OpenBLAS") != NULL) {
        assert_non_null(strstr(d->description, expected));
    }
    d->ops->destroy(d);
}

static void test_blas_threads_are_those_asked_for_or_a_share_of_the_cores(void **state)
{
    (void)state;
    unsetenv("OPENBLAS_NUM_THREADS");
    check_threads(2, 1, ", 2 threads");
    check_threads(0, 1000000, ", 1 thread");
    setenv("OPENBLAS_NUM_THREADS", "2", 1);
    check_threads(0, 1000000, ", 2 threads");
    check_threads(1, 1000000, ", 1 thread");
    setenv("OPENBLAS_NUM_THREADS", "many", 1);
    check_threads(0, 1000000, ", 1 thread");
    unsetenv("OPENBLAS_NUM_THREADS");
}

/* ---- Time ---- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void test_a_wait_is_never_shorter_than_asked(void **state)
{
    moe_device_t *d = *state;
    const double seconds[] = {1e-6, 30e-6, 100e-6, 2e-3};
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        double shortest = INFINITY;
        for (int r = 0; r < 20; r++) {
            const double start = now();
            d->ops->wait(d, seconds[i]);
            shortest = fmin(shortest, now() - start);
        }
        assert_true(shortest >= seconds[i] - 2e-9); /* doubles of seconds since boot */
        assert_true(shortest < seconds[i] + 1e-3);
    }
    const double start = now();
    d->ops->wait(d, 0.0);
    d->ops->wait(d, -1e9);
    d->ops->wait(d, NAN);
    assert_true(now() - start < 0.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buffers_are_aligned_to_a_page_and_hold_what_is_copied),
        cmocka_unit_test(test_memory_that_is_not_there_is_refused_by_name_and_size),
        cmocka_unit_test(test_pack_copies_rows_and_writes_zeros_for_padding),
        cmocka_unit_test(test_pack_leaves_what_lies_between_rows),
        cmocka_unit_test(test_parts_of_rows_are_copied_whatever_they_are),
        cmocka_unit_test(test_packing_to_fp8_and_back_keeps_tokens_exactly),
        cmocka_unit_test(test_no_rows_are_no_work),
        cmocka_unit_test(test_weighted_sums_are_those_of_a_plain_loop_in_fp32),
        cmocka_unit_test(test_a_sum_of_nothing_or_of_opposites_is_plus_zero),
        cmocka_unit_test(test_a_nan_in_one_term_reaches_the_sum),
        cmocka_unit_test(test_matrix_products_are_right_in_all_four_layouts),
        cmocka_unit_test(test_blas_threads_are_those_asked_for_or_a_share_of_the_cores),
        cmocka_unit_test(test_a_wait_is_never_shorter_than_asked),
    };
    return cmocka_run_group_tests_name("device", tests, set_up, tear_down);
}
