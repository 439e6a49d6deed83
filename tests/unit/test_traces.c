/* The samples of patterns/samples, which make-samples makes: what each format imports to. */
#include "trace_setting.h"

static void expect_counts(const moe_trace_t *trace, size_t layer, const double *wanted)
{
    double count[16];
    assert_true(trace->experts <= 16);
    moe_trace_layer_counts(trace, layer, count);
    for (size_t e = 0; e < trace->experts; e++) {
        if (count[e] != wanted[e])
            fail_msg("%s: layer %zu, expert %zu: %g, not %g", trace->path, layer, e, count[e],
                     wanted[e]);
    }
}

static void expect_shape(const moe_trace_t *trace, size_t steps, size_t layers, size_t ranks,
                         size_t experts)
{
    assert_int_equal(trace->steps, steps);
    assert_int_equal(trace->layers, layers);
    assert_int_equal(trace->ranks, ranks);
    assert_int_equal(trace->experts, experts);
}

static void test_vllm_choices_of_every_type_and_byte_order_are_the_same(void **state)
{
    static const char *const paths[] = {SAMPLES "vllm-i2.npy", SAMPLES "vllm-u1.npy",
                                        SAMPLES "vllm-i8-big-endian.npy",
#ifdef MOE_HAVE_ZLIB
                                        SAMPLES "vllm-i2.npy.gz"
#endif
    };
    static const uint16_t chosen[] = {0, 1, 5, 1, 3, 7, 4, 7, 1, 1, 2, 7, 0, 2, 5, 1, 4, 7};
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        moe_trace_t *trace = read_trace(paths[i], NULL, MOE_TRACE_CHOICES);
        assert_string_equal(trace->format, "vllm");
        expect_shape(trace, 1, 2, 1, 8);
        assert_false(trace->has_ranks || trace->has_steps || trace->experts_known);
        assert_int_equal(trace->top_k, 3);
        assert_int_equal(trace->tokens, 12);
        assert_memory_equal(trace->expert, chosen, sizeof chosen);
        expect_counts(trace, 0, (const double[]){2, 5, 2, 1, 2, 2, 0, 4});
        expect_counts(trace, 1, (const double[]){4, 2, 5, 2, 1, 2, 2, 0});
        moe_trace_destroy(trace);
    }
}

static void test_megatron_lines_of_any_order_fill_steps_layers_and_ranks(void **state)
{
    static const uint16_t last[] = {0, 3, 5, 5, 6, 3, 4, 6, 1};
    (void)state;
    moe_trace_t *trace = read_trace(SAMPLES "megatron.jsonl", NULL, MOE_TRACE_CHOICES);
    assert_string_equal(trace->format, "megatron");
    expect_shape(trace, 2, 2, 2, 8);
    assert_true(trace->has_ranks && trace->has_steps);
    assert_int_equal(trace->tokens, 28);
    for (size_t cell = 0; cell < 8; cell++)
        assert_int_equal(trace->first[cell + 1] - trace->first[cell], cell % 2 == 0 ? 4 : 3);
    assert_memory_equal(trace->expert + trace->first[7] * 3, last, sizeof last);
    expect_counts(trace, 0, (const double[]){5, 1, 8, 4, 12, 4, 2, 6});
    expect_counts(trace, 1, (const double[]){6, 5, 1, 8, 4, 12, 4, 2});
    moe_trace_destroy(trace);
}

static void test_loads_are_counts_without_the_dense_layers(void **state)
{
    static const char *const paths[] = {SAMPLES "vllm-load-i4.npy", SAMPLES "vllm-load-f4.npy",
                                        SAMPLES "sglang-logical-count.json"};
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        moe_trace_t *trace = read_trace(paths[i], NULL, MOE_TRACE_CHOICES | MOE_TRACE_COUNTS);
        assert_int_equal(trace->kind, MOE_TRACE_COUNTS);
        expect_shape(trace, 2, 2, 1, 4);
        assert_true(trace->has_steps && trace->experts_known);
        assert_int_equal(trace->empty_layers, 1);
        expect_counts(trace, 0, (const double[]){18, 20, 22, 24});
        expect_counts(trace, 1, (const double[]){26, 28, 30, 32});
        moe_trace_destroy(trace);
    }
}

static void test_maps_of_sglang_are_read_as_maps(void **state)
{
    static const uint16_t map[] = {0, 1, 2, 3, 0, 1, 3, 2, 1, 0, 3, 3};
    (void)state;
    moe_trace_t *trace =
        read_trace(SAMPLES "sglang-physical-to-logical-map.json", NULL, MOE_TRACE_ANY);
    assert_int_equal(trace->kind, MOE_TRACE_MAPS);
    assert_int_equal(trace->slots, 6);
    expect_shape(trace, 1, 2, 1, 4);
    assert_memory_equal(trace->map, map, sizeof map);
    moe_trace_destroy(trace);
}

static void test_patterns_of_tensorrt_llm_are_counts_with_a_matrix(void **state)
{
    static const size_t sent[] = {5, 0, 1, 2, 1, 5, 1, 1, 0, 2, 4, 2, 2, 1, 1, 4};
    (void)state;
    moe_trace_t *trace = read_trace(SAMPLES "trtllm-pattern.json", NULL, MOE_TRACE_COUNTS);
    assert_string_equal(trace->format, "trtllm");
    expect_shape(trace, 1, 1, 4, 8);
    assert_memory_equal(trace->sent, sent, sizeof sent);
    expect_counts(trace, 0, (const double[]){5, 3, 0, 8, 7, 0, 2, 7});
    moe_trace_destroy(trace);
}

static void test_weights_of_eplb_are_counts(void **state)
{
    (void)state;
    moe_trace_t *trace = read_trace(SAMPLES "eplb-weight.json", NULL, MOE_TRACE_COUNTS);
    assert_string_equal(trace->format, "eplb");
    expect_shape(trace, 1, 2, 1, 4);
    expect_counts(trace, 0, (const double[]){90, 132, 40, 61});
    expect_counts(trace, 1, (const double[]){20, 107, 104, 64.5});
    moe_trace_destroy(trace);
}

static void test_csv_of_selections_and_of_counts_are_counts(void **state)
{
    (void)state;
    moe_trace_t *trace = read_trace(SAMPLES "selections.csv", NULL, MOE_TRACE_COUNTS);
    expect_shape(trace, 1, 2, 1, 8);
    expect_counts(trace, 0, (const double[]){2, 5, 2, 1, 2, 2, 0, 4});
    expect_counts(trace, 1, (const double[]){4, 2, 5, 2, 1, 2, 2, 0});
    moe_trace_destroy(trace);
    trace = read_trace(SAMPLES "counts.csv", NULL, MOE_TRACE_COUNTS);
    expect_shape(trace, 1, 2, 1, 4);
    expect_counts(trace, 0, (const double[]){12, 0, 0, 4});
    expect_counts(trace, 1, (const double[]){0, 7, 0, 0});
    moe_trace_destroy(trace);
}

static void test_every_format_has_a_name_of_its_own_and_a_summary(void **state)
{
    (void)state;
    const moe_trace_format_t *format;
    size_t count = 0;
    for (; (format = moe_trace_format_at(count)) != NULL; count++) {
        assert_ptr_equal(moe_trace_format_find(moe_trace_format_name(format)), format);
        assert_true(strlen(moe_trace_format_summary(format)) > 0);
    }
    assert_int_equal(count, 9);
    assert_null(moe_trace_format_find("parquet"));
}

/* ---- The own format ---- */

static moe_trace_t *own_trace(size_t experts, bool weights)
{
    static const size_t tokens[] = {2, 0, 1, 3};
    moe_trace_t *trace = NULL;
    assert_int_equal(moe_trace_create(1, 2, 2, tokens, 2, weights, &trace, NULL), MOE_OK);
    for (size_t i = 0; i < trace->tokens; i++) {
        trace->expert[2 * i] = (uint16_t)(i % experts);
        trace->expert[2 * i + 1] = i == 3 ? MOE_TRACE_NO_EXPERT : (uint16_t)((i + 1) % experts);
        for (size_t k = 0; weights && k < 2; k++)
            trace->weight[2 * i + k] = k == 0 ? 40000 : i == 3 ? 0 : 25536;
    }
    trace->experts = experts;
    trace->experts_known = trace->has_ranks = true;
    return trace;
}

static size_t file_bytes(const char *path, char *text, size_t most)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t size = fread(text, 1, most, file);
    fclose(file);
    return size;
}

static void test_what_is_exported_in_the_own_format_is_read_back(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        char before[512], after[512];
        moe_trace_t *trace = own_trace(i & 1 ? 300 : 5, (i & 2) != 0);
        assert_int_equal(moe_trace_write(trace, trace_path, NULL), MOE_OK);
        const size_t size = file_bytes(trace_path, before, sizeof before);
        moe_trace_t *back = read_trace(trace_path, NULL, MOE_TRACE_CHOICES);
        assert_string_equal(back->format, "moe");
        expect_shape(back, 1, 2, 2, i & 1 ? 300 : 5);
        assert_true(back->has_ranks && !back->has_steps);
        assert_memory_equal(back->first, trace->first, 5 * sizeof(size_t));
        assert_memory_equal(back->expert, trace->expert, 12 * sizeof(uint16_t));
        assert_int_equal(back->weight != NULL, (i & 2) != 0);
        if (back->weight != NULL)
            assert_memory_equal(back->weight, trace->weight, 12 * sizeof(uint32_t));
        assert_int_equal(moe_trace_write(back, trace_path, NULL), MOE_OK);
        assert_int_equal(file_bytes(trace_path, after, sizeof after), size);
        assert_memory_equal(before, after, size);
        moe_trace_destroy(back);
        moe_trace_destroy(trace);
    }
}

/* Any byte that is changed shows: by a checksum, or because the sizes contradict each other. */
static void test_any_damaged_byte_of_the_own_format_is_refused(void **state)
{
    char bytes[512];
    (void)state;
    moe_trace_t *trace = own_trace(5, true);
    assert_int_equal(moe_trace_write(trace, trace_path, NULL), MOE_OK);
    const size_t size = file_bytes(trace_path, bytes, sizeof bytes);
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 4;
        expect_trace_refusal("moe", bytes, size, ": byte ", "");
        bytes[i] ^= 4;
        expect_trace_refusal("moe", bytes, i, ": byte ", "");
    }
    bytes[size] = 0;
    expect_trace_refusal("moe", bytes, size + 1, ": byte 52:", "cut off or damaged");
    moe_trace_destroy(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vllm_choices_of_every_type_and_byte_order_are_the_same),
        cmocka_unit_test(test_megatron_lines_of_any_order_fill_steps_layers_and_ranks),
        cmocka_unit_test(test_loads_are_counts_without_the_dense_layers),
        cmocka_unit_test(test_maps_of_sglang_are_read_as_maps),
        cmocka_unit_test(test_patterns_of_tensorrt_llm_are_counts_with_a_matrix),
        cmocka_unit_test(test_weights_of_eplb_are_counts),
        cmocka_unit_test(test_csv_of_selections_and_of_counts_are_counts),
        cmocka_unit_test(test_every_format_has_a_name_of_its_own_and_a_summary),
        cmocka_unit_test(test_what_is_exported_in_the_own_format_is_read_back),
        cmocka_unit_test(test_any_damaged_byte_of_the_own_format_is_refused),
    };
    const int file = mkstemp(trace_path);
    if (file < 0)
        return 1;
    close(file);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(trace_path);
    return failed;
}
