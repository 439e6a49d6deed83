/* The CUDA device against the host's: memory and rows, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cuda_setting.h"

enum { SOURCE_ROWS = 12 };

/* Rows to be packed: repeated, left out, in no order, and zeros. */
static const size_t packed[] = {11, 0, 0, MOE_ROW_ZERO, 5, 6, 7, MOE_ROW_ZERO, 1, 10, 11};
enum { PACKED = sizeof packed / sizeof *packed };

/* Fewer of the long rows. */
static size_t rows_of(size_t hidden)
{
    return hidden > 2000 ? 4 : PACKED;
}

/* ---- Memory ---- */

static void test_new_memory_is_zero_and_holds_what_is_copied(void **state)
{
    setting_t *s = *state;
    const size_t sizes[] = {0, 1, 4097, (size_t)3 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const pair_t zeros = make_pair(s, sizes[i]), filled = make_random(s, sizes[i]);
        assert_same(&zeros, "new memory");
        s->gpu->ops->copy(s->gpu, zeros.gpu, filled.gpu, sizes[i]);
        memcpy(zeros.host, filled.host, sizes[i]);
        assert_same(&zeros, "a copy on the GPU");
        s->gpu->ops->fill_bytes(s->gpu, filled.gpu, 0xc3, sizes[i]);
        memset(filled.host, 0xc3, sizes[i]);
        assert_same(&filled, "filled bytes");
        drop_pair(&zeros);
        drop_pair(&filled);
    }
    s->gpu->ops->release(s->gpu, NULL);
    s->gpu->ops->drop_list(s->gpu, NULL);
    s->gpu->ops->fill_bytes(s->gpu, NULL, 1, 0);
    s->gpu->ops->copy(s->gpu, NULL, NULL, 0);
    assert_finished(s->gpu);
}

static void test_memory_that_is_not_there_is_refused_by_name_and_size(void **state)
{
    setting_t *s = *state;
    const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 4096, (size_t)1 << 50};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *memory = s;
        moe_error_t error = {.status = MOE_OK};
        assert_int_equal(s->gpu->ops->alloc(s->gpu, "rows to send", sizes[i], &memory, &error),
                         MOE_BAD_INPUT);
        assert_ptr_equal(memory, s);
        assert_int_equal(error.status, MOE_BAD_INPUT);
        assert_non_null(strstr(error.text, "rows to send"));
        assert_non_null(strstr(error.text, "iB"));
    }
    assert_finished(s->gpu);
}

static void test_all_memory_comes_back(void **state)
{
    setting_t *s = *state;
    if (!cuda_is_fake()) {
        return; /* a real GPU's driver keeps some for itself */
    }
    const size_t before = s->gpu->ops->available(s->gpu);
    const pair_t p = make_pair(s, (size_t)5 << 20);
    const void *list = gpu_list(s, packed, sizeof packed);
    assert_true(s->gpu->ops->available(s->gpu) < before);
    drop_list(s, list);
    drop_pair(&p);
    assert_int_equal(s->gpu->ops->available(s->gpu), before);
}

static void test_a_list_stays_as_it_was(void **state)
{
    setting_t *s = *state;
    size_t list[PACKED];
    memcpy(list, packed, sizeof list);
    const void *there = gpu_list(s, list, sizeof list);
    memset(list, 0, sizeof list);
    s->gpu->ops->copy(s->gpu, list, there, sizeof list);
    assert_memory_equal(list, packed, sizeof list);
    drop_list(s, there);
    drop_list(s, gpu_list(s, list, 0));
}

/* ---- Pack ---- */

typedef struct layout {
    size_t to_gap, from_gap; /* bytes behind each row */
} layout_t;

static void check_gather(setting_t *s, moe_dtype_t to_dtype, moe_dtype_t from_dtype, size_t hidden,
                         layout_t gaps, bool with_index)
{
    const size_t rows = rows_of(hidden);
    const size_t to_stride = moe_row_bytes(to_dtype, hidden) + gaps.to_gap;
    const size_t from_stride = moe_row_bytes(from_dtype, hidden) + gaps.from_gap;
    const pair_t from = make_rows(s, from_dtype, SOURCE_ROWS, hidden, from_stride, true);
    const pair_t to = make_output(s, rows * to_stride);
    const void *index = with_index ? gpu_list(s, packed, rows * sizeof *packed) : NULL;
    s->host->ops->gather(s->host, to.host, to_stride, to_dtype, from.host, from_stride, from_dtype,
                         with_index ? packed : NULL, rows, hidden);
    s->gpu->ops->gather(s->gpu, to.gpu, to_stride, to_dtype, from.gpu, from_stride, from_dtype,
                        index, rows, hidden);
    assert_same(&to, "%s from %s, hidden %zu, gaps %zu and %zu, %s index", moe_dtype_name(to_dtype),
                moe_dtype_name(from_dtype), hidden, gaps.to_gap, gaps.from_gap,
                with_index ? "with" : "without");
    drop_list(s, index);
    drop_pair(&from);
    drop_pair(&to);
}

/* Copied where the dtypes are equal, else converted: NaN and infinities, subnormals, ties. */
static void test_every_dtype_is_packed_to_every_other_as_on_the_host(void **state)
{
    static const layout_t layouts[] = {{0, 0}, {12, 4}, {32, 64}};
    for (size_t i = 0; i < CUDA_DTYPES * CUDA_DTYPES * CUDA_HIDDENS; i++) {
        const moe_dtype_t to = cuda_dtypes[i % CUDA_DTYPES];
        const moe_dtype_t from = cuda_dtypes[i / CUDA_DTYPES % CUDA_DTYPES];
        const size_t hidden = cuda_hiddens[i / (CUDA_DTYPES * CUDA_DTYPES)];
        for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++) {
            check_gather(*state, to, from, hidden, layouts[l], true);
            check_gather(*state, to, from, hidden, layouts[l], false);
        }
    }
}

static void check_parts(setting_t *s, size_t bytes, layout_t gaps, size_t offset, bool with_index)
{
    const size_t to_stride = bytes + gaps.to_gap, from_stride = bytes + gaps.from_gap;
    const pair_t from = make_random(s, SOURCE_ROWS * from_stride + offset);
    const pair_t to = make_output(s, PACKED * to_stride + 1);
    const void *index = with_index ? gpu_list(s, packed, sizeof packed) : NULL;
    s->host->ops->copy_parts(s->host, to.host + 1, to_stride, from.host + offset, from_stride,
                             bytes, with_index ? packed : NULL, PACKED);
    s->gpu->ops->copy_parts(s->gpu, to.gpu + 1, to_stride, from.gpu + offset, from_stride, bytes,
                            index, PACKED);
    assert_same(&to, "%zu bytes, gaps %zu and %zu, offset %zu, %s index", bytes, gaps.to_gap,
                gaps.from_gap, offset, with_index ? "with" : "without");
    drop_list(s, index);
    drop_pair(&from);
    drop_pair(&to);
}

/* None of these rows is aligned to anything. */
static void test_parts_of_rows_are_copied_wherever_they_lie(void **state)
{
    static const size_t sizes[] = {1, 2, 15, 16, 17, 63, 64, 65, 1000, 2063};
    static const layout_t layouts[] = {{0, 0}, {3, 0}, {0, 70}, {128, 1}, {7, 9}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++) {
            for (size_t offset = 0; offset < 3; offset++) {
                check_parts(*state, sizes[i], layouts[l], offset, true);
                check_parts(*state, sizes[i], layouts[l], offset, false);
            }
        }
    }
}

static void test_parts_of_rows_go_to_and_from_host_memory(void **state)
{
    setting_t *s = *state;
    enum { BYTES = 48, GPU_STRIDE = 100, HOST_STRIDE = 64, ROWS = 9 };
    unsigned char there[ROWS * HOST_STRIDE], back[ROWS * HOST_STRIDE];
    const pair_t rows = make_output(s, ROWS * GPU_STRIDE);
    for (size_t i = 0; i < sizeof there; i++) {
        there[i] = (unsigned char)rand();
    }
    s->host->ops->copy_parts(s->host, rows.host, GPU_STRIDE, there, HOST_STRIDE, BYTES, NULL, ROWS);
    s->gpu->ops->copy_parts(s->gpu, rows.gpu, GPU_STRIDE, there, HOST_STRIDE, BYTES, NULL, ROWS);
    assert_same(&rows, "from host memory");
    memset(back, 0, sizeof back);
    s->gpu->ops->copy_parts(s->gpu, back, HOST_STRIDE, rows.gpu, GPU_STRIDE, BYTES, NULL, ROWS);
    for (size_t i = 0; i < sizeof back; i++) {
        assert_int_equal(back[i], i % HOST_STRIDE < BYTES ? there[i] : 0);
    }
    drop_pair(&rows);
}

/* More rows than a GPU has lanes, and a row longer than many blocks take at a time. */
static void test_many_short_rows_and_few_long_ones_are_packed_whole(void **state)
{
    static const size_t shapes[][2] = {{20000, 3}, {3000, 24}, {2, 150000}};
    setting_t *s = *state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const size_t rows = shapes[i][0], hidden = shapes[i][1];
        const size_t stride = moe_row_bytes(MOE_BF16, hidden);
        const size_t wide = moe_row_bytes(MOE_FP32, hidden);
        size_t *index = calloc(rows, sizeof *index);
        for (size_t r = 0; r < rows; r++) {
            index[r] = r % 7 == 3 ? MOE_ROW_ZERO : rows - 1 - r;
        }
        const void *list = gpu_list(s, index, rows * sizeof *index);
        const pair_t from = make_random(s, rows * stride), to = make_output(s, rows * stride),
                     converted = make_output(s, rows * wide);
        s->host->ops->gather(s->host, to.host, stride, MOE_BF16, from.host, stride, MOE_BF16, index,
                             rows, hidden);
        s->gpu->ops->gather(s->gpu, to.gpu, stride, MOE_BF16, from.gpu, stride, MOE_BF16, list,
                            rows, hidden);
        s->host->ops->gather(s->host, converted.host, wide, MOE_FP32, from.host, stride, MOE_BF16,
                             index, rows, hidden);
        s->gpu->ops->gather(s->gpu, converted.gpu, wide, MOE_FP32, from.gpu, stride, MOE_BF16, list,
                            rows, hidden);
        assert_same(&to, "%zu rows of %zu", rows, hidden);
        assert_same(&converted, "%zu rows of %zu, converted", rows, hidden);
        drop_list(s, list);
        drop_pair(&from);
        drop_pair(&to);
        drop_pair(&converted);
        free(index);
    }
}

/* ---- Unpack and weigh ---- */

/* Sums of no term, of one, of a few and of many. */
static const size_t sum_first[] = {0, 2, 2, 3, 7, 12, 28};
enum { SUMS = sizeof sum_first / sizeof *sum_first - 1, TERMS = 28 };

static void check_reduce(setting_t *s, moe_dtype_t to_dtype, moe_dtype_t from_dtype, size_t hidden)
{
    const size_t to_bytes = moe_row_bytes(to_dtype, hidden);
    const size_t from_bytes = moe_row_bytes(from_dtype, hidden);
    size_t row[TERMS];
    float weight[TERMS];
    for (size_t i = 0; i < TERMS; i++) {
        row[i] = (i * 5 + 2) % SOURCE_ROWS;
        weight[i] = ordinary_float(); /* nothing is exact: the order of the terms shows */
    }
    const void *first = gpu_list(s, sum_first, sizeof sum_first);
    const void *rows = gpu_list(s, row, sizeof row);
    const void *weights = gpu_list(s, weight, sizeof weight);
    const pair_t from = make_rows(s, from_dtype, SOURCE_ROWS, hidden, from_bytes, false);
    const pair_t to = make_output(s, SUMS * to_bytes + 1);
    s->host->ops->reduce(s->host, to.host, to_dtype, from.host, from_dtype, sum_first, row, weight,
                         SUMS, hidden);
    s->gpu->ops->reduce(s->gpu, to.gpu, to_dtype, from.gpu, from_dtype, first, rows, weights, SUMS,
                        hidden);
    assert_same(&to, "%s summed to %s, hidden %zu", moe_dtype_name(from_dtype),
                moe_dtype_name(to_dtype), hidden);
    drop_list(s, first);
    drop_list(s, rows);
    drop_list(s, weights);
    drop_pair(&from);
    drop_pair(&to);
}

static void test_sums_are_rounded_as_on_the_host(void **state)
{
    for (size_t i = 0; i < CUDA_DTYPES * CUDA_DTYPES * CUDA_HIDDENS; i++) {
        check_reduce(*state, cuda_dtypes[i % CUDA_DTYPES],
                     cuda_dtypes[i / CUDA_DTYPES % CUDA_DTYPES],
                     cuda_hiddens[i / (CUDA_DTYPES * CUDA_DTYPES)]);
    }
}

/* A GPU has one NaN, the host many: that it is one must show. */
static void test_a_nan_in_one_term_reaches_the_sum(void **state)
{
    setting_t *s = *state;
    enum { HIDDEN = 130 };
    static const size_t first[] = {0, 2}, row[] = {0, 1};
    static const float weight[] = {0.5f, 0.25f};
    const size_t bytes = moe_row_bytes(MOE_BF16, HIDDEN);
    const pair_t from = make_rows(s, MOE_BF16, 2, HIDDEN, bytes, false);
    const pair_t to = make_output(s, bytes);
    const void *lists[] = {gpu_list(s, first, sizeof first), gpu_list(s, row, sizeof row),
                           gpu_list(s, weight, sizeof weight)};
    const uint16_t nan = 0x7fc1;
    memcpy(from.host + bytes + 129 * sizeof nan, &nan, sizeof nan);
    push_pair(&from);
    s->gpu->ops->reduce(s->gpu, to.gpu, MOE_BF16, from.gpu, MOE_BF16, lists[0], lists[1], lists[2],
                        1, HIDDEN);
    uint16_t *sums = (uint16_t *)pull(&to);
    for (size_t j = 0; j < HIDDEN; j++) {
        const float sum = moe_bf16_to_float(sums[j]);
        assert_int_equal(sum != sum, j == 129);
    }
    free(sums);
    for (size_t i = 0; i < 3; i++) {
        drop_list(s, lists[i]);
    }
    drop_pair(&from);
    drop_pair(&to);
}

/* ---- The oracle's rows ---- */

static void test_tokens_are_those_of_the_host(void **state)
{
    setting_t *s = *state;
    const uint64_t seed = UINT64_C(0xfedcba9876543210), first = UINT64_C(0x123456789a);
    for (size_t i = 0; i < CUDA_DTYPES * CUDA_HIDDENS; i++) {
        const moe_dtype_t dtype = cuda_dtypes[i % CUDA_DTYPES];
        const size_t hidden = cuda_hiddens[i / CUDA_DTYPES], rows = rows_of(hidden);
        const pair_t to = make_output(s, rows * moe_row_bytes(dtype, hidden) + 1);
        s->host->ops->fill_tokens(s->host, to.host, dtype, seed, first, rows, hidden);
        s->gpu->ops->fill_tokens(s->gpu, to.gpu, dtype, seed, first, rows, hidden);
        assert_same(&to, "%s tokens, hidden %zu", moe_dtype_name(dtype), hidden);
        drop_pair(&to);
    }
}

static void test_the_known_expert_does_the_same(void **state)
{
    setting_t *s = *state;
    for (size_t i = 0; i < CUDA_DTYPES * CUDA_DTYPES * CUDA_HIDDENS; i++) {
        const moe_dtype_t out_dtype = cuda_dtypes[i % CUDA_DTYPES];
        const moe_dtype_t in_dtype = cuda_dtypes[i / CUDA_DTYPES % CUDA_DTYPES];
        const size_t hidden = cuda_hiddens[i / (CUDA_DTYPES * CUDA_DTYPES)];
        const size_t rows = rows_of(hidden);
        const pair_t in =
            make_rows(s, in_dtype, rows, hidden, moe_row_bytes(in_dtype, hidden), true);
        const pair_t out = make_output(s, rows * moe_row_bytes(out_dtype, hidden) + 1);
        s->host->ops->apply_expert(s->host, out.host, out_dtype, in.host, in_dtype, 77, rows,
                                   hidden);
        s->gpu->ops->apply_expert(s->gpu, out.gpu, out_dtype, in.gpu, in_dtype, 77, rows, hidden);
        assert_same(&out, "expert, %s from %s, hidden %zu", moe_dtype_name(out_dtype),
                    moe_dtype_name(in_dtype), hidden);
        drop_pair(&in);
        drop_pair(&out);
    }
}

static void test_no_rows_are_no_work(void **state)
{
    setting_t *s = *state;
    moe_device_t *d = s->gpu;
    const size_t none[] = {0}, row = moe_row_bytes(MOE_BF16, 64);
    const void *first = gpu_list(s, none, sizeof none);
    moe_mismatch_t found = {.count = 0};
    d->ops->gather(d, NULL, row, MOE_BF16, NULL, row, MOE_BF16, NULL, 0, 64);
    d->ops->gather(d, NULL, row, MOE_FP8, NULL, row, MOE_BF16, NULL, 0, 64);
    d->ops->gather(d, NULL, 0, MOE_FP8, NULL, 0, MOE_BF16, NULL, 5, 0);
    d->ops->copy_parts(d, NULL, 8, NULL, 8, 8, NULL, 0);
    d->ops->copy_parts(d, NULL, 8, NULL, 8, 0, first, 3);
    d->ops->reduce(d, NULL, MOE_BF16, NULL, MOE_BF16, first, NULL, NULL, 0, 64);
    d->ops->fill_tokens(d, NULL, MOE_BF16, 0, 0, 0, 64);
    d->ops->apply_expert(d, NULL, MOE_BF16, NULL, MOE_FP8, 0, 0, 64);
    d->ops->check_rows(d, NULL, MOE_BF16, 0, NULL, 0, 1, 64, 0, &found);
    d->ops->check_combined(d, NULL, MOE_BF16, 0, 0, NULL, NULL, NULL, NULL, 0, 2, 1, 64, &found);
    assert_finished(d);
    assert_int_equal(found.count, 0);
    drop_list(s, first);
}

/* 2.4e9 elements, so on a real GPU only; a row of them comes from the end. */
static void test_elements_past_2_to_the_31_are_reached(void **state)
{
    setting_t *s = *state;
    moe_device_t *d = s->gpu;
    enum { ROWS = 1200000, HIDDEN = 2048, STRIDE = 1000, SEED = 3 };
    const size_t row = moe_row_bytes(MOE_BF16, HIDDEN), bytes = ROWS * row, last = ROWS - 1;
    void *rows = NULL, *end = NULL;
    if (cuda_is_fake() || d->ops->available(d) < 2 * bytes) {
        return;
    }
    uint64_t *tokens = calloc(ROWS, sizeof *tokens);
    for (size_t r = 0; r < ROWS; r++) {
        tokens[r] = r;
    }
    assert_int_equal(d->ops->alloc(d, "rows", bytes, &rows, NULL), MOE_OK);
    assert_int_equal(d->ops->alloc(d, "a row", row, &end, NULL), MOE_OK);
    d->ops->fill_tokens(d, rows, MOE_BF16, SEED, 0, ROWS, HIDDEN);
    moe_mismatch_t found = {.count = 0};
    d->ops->check_rows(d, rows, MOE_BF16, SEED, tokens, ROWS, 1, HIDDEN, 0, &found);
    assert_int_equal(found.count, 0);
    const void *index = gpu_list(s, &last, sizeof last);
    d->ops->gather(d, end, row, MOE_BF16, rows, row, MOE_BF16, index, 1, HIDDEN);
    d->ops->check_rows(d, end, MOE_BF16, SEED, &tokens[last], 1, 1, HIDDEN, 0, &found);
    assert_int_equal(found.count, 0);
    d->ops->fill_bytes(d, (char *)rows + bytes - 2, 0x55, 2);
    d->ops->check_rows(d, rows, MOE_BF16, SEED, tokens, ROWS, 1, HIDDEN, 0, &found);
    assert_true(found.count == 1 && found.row == last && found.column == HIDDEN - 1);
    assert_finished(d);
    drop_list(s, index);
    d->ops->release(d, rows);
    d->ops->release(d, end);
    free(tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_memory_is_zero_and_holds_what_is_copied),
        cmocka_unit_test(test_memory_that_is_not_there_is_refused_by_name_and_size),
        cmocka_unit_test(test_all_memory_comes_back),
        cmocka_unit_test(test_a_list_stays_as_it_was),
        cmocka_unit_test(test_every_dtype_is_packed_to_every_other_as_on_the_host),
        cmocka_unit_test(test_parts_of_rows_are_copied_wherever_they_lie),
        cmocka_unit_test(test_parts_of_rows_go_to_and_from_host_memory),
        cmocka_unit_test(test_many_short_rows_and_few_long_ones_are_packed_whole),
        cmocka_unit_test(test_sums_are_rounded_as_on_the_host),
        cmocka_unit_test(test_a_nan_in_one_term_reaches_the_sum),
        cmocka_unit_test(test_tokens_are_those_of_the_host),
        cmocka_unit_test(test_the_known_expert_does_the_same),
        cmocka_unit_test(test_no_rows_are_no_work),
        cmocka_unit_test(test_elements_past_2_to_the_31_are_reached),
    };
    return RUN_CUDA_TESTS("CUDA device", tests, false);
}
