/* Files that are not what they say: refused with their place, before memory is spent. */
#include "trace_setting.h"

#ifdef MOE_HAVE_ZLIB
#include <zlib.h>
#endif

static void test_megatron_lines_are_refused_with_line_and_column(void **state)
{
    (void)state;
#define LINE(choices) "{\"step\":0,\"layer\":1,\"rank\":0,\"top_indices\":" choices "}\n"
    REFUSE_TRACE("megatron", "", ":1:1:", "there are no choices");
    REFUSE_TRACE("megatron", LINE("[]"), ":2:1:", "there are no choices");
    REFUSE_TRACE("megatron", LINE("[[1,2]]") LINE("[[1,-2]]"), ":2:48:", "'-2' is no whole number");
    REFUSE_TRACE("megatron", LINE("[[1,2],[3]]"), ":1:54:", "a token of 1 experts, the first");
    REFUSE_TRACE("megatron", LINE("[[1,2],[3,3]]"), ":1:56:", "chooses expert 3 twice");
    REFUSE_TRACE("megatron", LINE("[[1,65535]]"), ":1:48:", "'65535' is no whole number");
    REFUSE_TRACE("megatron", LINE("[[1,2.5]]"), ":1:48:", "'2.5' is no whole number");
    REFUSE_TRACE("megatron", LINE("[[01,2]]"), ":1:46:", "'01' is no number");
    REFUSE_TRACE("megatron", LINE("[[1,2],]"), ":1:51:", "']' where '[' (the experts of a token)");
    REFUSE_TRACE("megatron", LINE("[[1,2]"), ":1:50:", "'}' where ',' or ']' must come");
    REFUSE_TRACE("megatron", "{\"step\":0,\"layer\":1}\n", ":1:1:", "no \"top_indices\"");
    REFUSE_TRACE("megatron", "{\"layer\":1,\"top_indices\":[[1]]}\n", ":1:1:", "no \"step\"");
    REFUSE_TRACE("megatron", LINE("[[1]],\"num_tokens\":2"),
                 ":1:1:", "\"num_tokens\" is 2, \"top_indices\" has 1");
    REFUSE_TRACE("megatron", LINE("[[1]],\"topk\":2"), ":1:1:", "\"topk\" is 2, tokens have 1");
    REFUSE_TRACE("megatron", LINE("[[1]]") "{\"step\":0,\"layer\":1,\"top_indices\":[[1]]}",
                 ":2:1:", "some objects have a \"rank\"");
    REFUSE_TRACE("megatron",
                 LINE("[[1]]") "{\"step\":1,\"layer\":2,\"rank\":0,\"top_indices\":[[1]]}",
                 ":2:1:", "step 0 has no tokens in layer 2");
    REFUSE_TRACE("megatron", LINE("[[1]],\"x\":[[[{\"y\":nul}]]]"), ":1:65:", "a value must come");
    REFUSE_TRACE("megatron", LINE("[[1]],\"x\":\"\\q\""), ":1:56:", "the letter of an escape");
    REFUSE_TRACE("megatron", LINE("[[1]],\"x\":\"y"), ":1:57:", "the end of a string");
#undef LINE
}

static void test_nesting_without_end_is_refused(void **state)
{
    char text[1000];
    (void)state;
    memset(text, '[', sizeof text);
    memcpy(text, "{\"x\":", 5);
    expect_trace_refusal("sglang", text, sizeof text, ":1:70:", "in one another");
    expect_trace_refusal("eplb", text + 5, sizeof text - 5, ":1:", "arrays in arrays, up to 2");
}

static void test_json_tables_are_refused_with_line_and_column(void **state)
{
    (void)state;
    REFUSE_TRACE("eplb", "[[1,2],\n[3]]", ":2:4:", "an array of 1 behind one of 2");
    REFUSE_TRACE("eplb", "[[1,2],\n[3,-1]]", ":2:4:", "'-1' is not between 0");
    REFUSE_TRACE("eplb", "[[1,2],3]", ":1:8:", "arrays in arrays");
    REFUSE_TRACE("eplb", "[[1,2],[]]", ":1:10:", "an empty array");
    REFUSE_TRACE("eplb", "[[0,0],[0,0]]", ":1:14:", "all counts are 0");
    REFUSE_TRACE("eplb", "[[1,1e999]]", ":1:5:", "'1e999' is not between");
    REFUSE_TRACE("eplb", "[[1,1]] x", ":1:9:", "'x' where the end of the file");
    REFUSE_TRACE("eplb", "[1,1]", ":1:6:", "arrays by layer and expert");
    REFUSE_TRACE("sglang", "{\"a\":1}", ":1:8:", "no \"logical_count\"");
    REFUSE_TRACE("sglang", "{\"physical_to_logical_map\":[[0,1],[1,0.5]]}",
                 ":1:43:", "0.5 in slot 1 of layer 1 is no number of an expert");
    REFUSE_TRACE("trtllm", "{\"slot_dispatch_matrix\":[[1,2],[3,4]]}",
                 ":1:39:", "no \"expert_histogram\"");
    REFUSE_TRACE("trtllm",
                 "{\"slot_dispatch_matrix\":[[1,2],[3,4]],\"expert_histogram\":[[4],[5]]}",
                 ":1:68:", "column 1 of slot_dispatch_matrix sums to 6");
    REFUSE_TRACE(
        "trtllm",
        "{\"ep_size\":3,\"slot_dispatch_matrix\":[[1,2],[3,4]],\"expert_histogram\":[[4],[6]]}",
        ":1:", "ep_size is 3: they must agree");
}

static void test_csv_is_refused_with_line_and_column(void **state)
{
    (void)state;
    REFUSE_TRACE("counts-csv", "", ":1:1:", "no selections");
    REFUSE_TRACE("counts-csv", "layer,expert\n0,1\n0, x\n", ":3:4:", "a whole number (expert)");
    REFUSE_TRACE("counts-csv", "0,1\n0,1,2\n", ":2:6:", "3 values in a line, 2 before");
    REFUSE_TRACE("counts-csv", "0,65535\n", ":1:3:", "expert: more than 65534");
    REFUSE_TRACE("counts-csv", "0,1,99999999999999999999999\n", ":1:5:", "count: more than");
    REFUSE_TRACE("counts-csv", "0,1,1,1\n", ":1:7:", "more than 3 values");
    REFUSE_TRACE("counts-csv", "0\n", ":1:2:", "1 values in a line");
    REFUSE_TRACE("counts-csv", "layers,expert\n", ":1:1:", "the heading is not");
    REFUSE_TRACE("counts-csv", "0,1;2\n", ":1:4:", "',' or the end of the line");
    REFUSE_TRACE("counts-csv", "0,1,0\n", ":2:1:", "all counts are 0");
}

/* A line a layer, and the last of all experts in each: 65,535 times as much memory as file. */
static void test_sparse_numbers_do_not_buy_memory(void **state)
{
    char text[8000];
    size_t length = 0;
    (void)state;
    for (int layer = 0; layer < 500; layer++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%d,65534\n", layer);
    expect_trace_refusal("counts-csv", text, length, ":", "are not credible");
    length = 0;
    for (int i = 0; i < 100; i++)
        length += (size_t)snprintf(text + length, sizeof text - length,
                                   "{\"step\":%d,\"layer\":%d,\"rank\":%d,\"top_indices\":[[1]]}\n",
                                   i, i, i);
    expect_trace_refusal("megatron", text, length, ":", "most of it is missing");
}

/* ---- NPY ---- */

static void expect_npy_refusal(const char *format, const char *header, size_t data,
                               const char *place, const char *reason)
{
    char bytes[512] = "\x93NUMPY\x01\x00\x76";
    memset(bytes + 10, ' ', 0x76);
    memcpy(bytes + 10, header, strlen(header));
    expect_trace_refusal(format, bytes, 10 + 0x76 + data, place, reason);
}

static void test_npy_headers_are_refused_with_their_byte(void **state)
{
    (void)state;
#define SHAPE(descr, shape) "{'descr': '" descr "', 'fortran_order': False, 'shape': (" shape ")}"
    expect_npy_refusal("vllm", SHAPE("<i2", "2, 2, 2"), 15,
                       ": byte 128:", "8 elements of 2 bytes, and 15");
    expect_npy_refusal("vllm", SHAPE("<i2", "2, 2, 2"), 17, ": byte 128:", "and 17 bytes follow");
    expect_npy_refusal("vllm", SHAPE("<i2", "2, 2, 2"), 16,
                       ": byte 128:", "chooses expert 0 twice");
    expect_npy_refusal("vllm", SHAPE("<i2", "0, 2, 2"), 0, ": byte 0:", "0 tokens");
    expect_npy_refusal("vllm", SHAPE("<i2", "4"), 8, ": byte 0:", "1 dimensions");
    expect_npy_refusal("vllm", SHAPE("<f4", "1, 1, 2"), 8, ": byte 0:", "whole numbers");
    expect_npy_refusal("vllm", SHAPE("<c8", "1, 1, 2"), 16, ": byte ", "a type that is not read");
    expect_npy_refusal("vllm", SHAPE("<i3", "1, 1, 2"), 16, ": byte ", "a type that is not read");
    expect_npy_refusal("vllm", SHAPE("<i2", "4294967296, 4294967296, 2"), 8, ": byte ",
                       "past all memory");
    expect_npy_refusal("vllm", SHAPE("<i2", "99999999999999999999"), 8, ": byte ",
                       "past all memory");
    expect_npy_refusal("vllm", SHAPE("<i8", "1000000000, 1000, 8"), 64,
                       ": byte 128:", "8000000000000 elements of 8 bytes");
    expect_npy_refusal("vllm", SHAPE("<i2", "1,1,1,1,1,1,1"), 2, ": byte ", "more than 6");
    expect_npy_refusal("vllm", "{'descr': '<i2', 'fortran_order': True, 'shape': (1,)}", 2,
                       ": byte ", "ascontiguousarray");
    expect_npy_refusal("vllm", "{'descr': [('a', '<i2')], 'shape': (1,)}", 2, ": byte ",
                       "structured");
    expect_npy_refusal("vllm", "{'shape': (1,)}", 2, ": byte ", "is missing");
    expect_npy_refusal("vllm", "{'descr", 2, ": byte ", "does not end");
    expect_npy_refusal("vllm-load", SHAPE("<f4", "2, 0"), 0, ": byte 0:", "0 elements");
    REFUSE_TRACE("vllm", "\x93NUMPY", ": byte 6:", "ends in the middle");
    expect_trace_refusal("vllm", "\x93NUMPY\x09\x00\x76\x00          ", 18, ": byte 0:", "version");
#undef SHAPE
}

static void test_loads_that_are_no_counts_are_refused_with_their_byte(void **state)
{
    char bytes[512] = "\x93NUMPY\x01\x00\x76";
    const float loads[] = {1, 2, -1, 4}, undefined[] = {1, 0.0f / 0.0f, 1, 1};
    static const char header[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}";
    (void)state;
    memset(bytes + 10, ' ', 0x76);
    memcpy(bytes + 10, header, sizeof header - 1);
    memcpy(bytes + 128, loads, sizeof loads);
    expect_trace_refusal("vllm-load", bytes, 144, ": byte 136:", "-1 is not between 0");
    memcpy(bytes + 128, undefined, sizeof undefined);
    expect_trace_refusal("vllm-load", bytes, 144, ": byte 132:", "is not between 0");
}

/* ---- Files as such ---- */

static void test_pickles_are_refused_with_how_to_convert(void **state)
{
    moe_error_t error = {0};
    moe_trace_t *trace = NULL;
    (void)state;
    write_trace("\x80\x04\x95", 3);
    assert_int_equal(moe_trace_read(trace_path, NULL, MOE_TRACE_COUNTS, &trace, &error),
                     MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "weights_only=True"));
    write_trace("PK\x03\x04", 4);
    assert_int_equal(moe_trace_read(trace_path, NULL, MOE_TRACE_CHOICES, &trace, &error),
                     MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "numpy.save"));
}

static void test_what_is_no_regular_file_or_of_no_format_is_refused(void **state)
{
    moe_error_t error = {0};
    moe_trace_t *trace = NULL;
    (void)state;
    assert_int_equal(moe_trace_read("/dev/zero", NULL, MOE_TRACE_ANY, &trace, &error),
                     MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "no regular file"));
    assert_int_equal(moe_trace_read("/no/such", NULL, MOE_TRACE_ANY, &trace, &error),
                     MOE_BAD_INPUT);
    write_trace("hello", 5);
    assert_int_equal(moe_trace_read(trace_path, NULL, MOE_TRACE_ANY, &trace, &error),
                     MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "counts-csv"));
    write_trace("", 0);
    assert_int_equal(moe_trace_read(trace_path, NULL, MOE_TRACE_ANY, &trace, &error),
                     MOE_BAD_INPUT);
}

#ifdef MOE_HAVE_ZLIB

/* 64 MiB of spaces become 64 KiB: a thousand times as little. */
static void test_a_gzip_bomb_is_refused_before_it_goes_off(void **state)
{
    moe_error_t error = {0};
    moe_trace_t *trace = NULL;
    char block[65536];
    (void)state;
    memset(block, ' ', sizeof block);
    gzFile packed = gzopen(trace_path, "wb9");
    assert_non_null(packed);
    gzwrite(packed, "[", 1);
    for (int i = 0; i < 1024; i++)
        gzwrite(packed, block, sizeof block);
    gzclose(packed);
    assert_int_equal(
        moe_trace_read(trace_path, moe_trace_format_find("eplb"), MOE_TRACE_ANY, &trace, &error),
        MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "unpacks to more than 200 times as much"));
}

static void test_a_gzip_file_that_is_cut_off_is_refused(void **state)
{
    char bytes[256];
    moe_error_t error = {0};
    moe_trace_t *trace = NULL;
    (void)state;
    FILE *sample = fopen(SAMPLES "vllm-i2.npy.gz", "rb");
    assert_non_null(sample);
    const size_t size = fread(bytes, 1, sizeof bytes, sample);
    fclose(sample);
    for (size_t cut = 1; cut < size; cut++) {
        write_trace(bytes, size - cut);
        assert_int_equal(moe_trace_read(trace_path, NULL, MOE_TRACE_CHOICES, &trace, &error),
                         MOE_BAD_INPUT);
    }
    bytes[size - 6] ^= 1; /* of its checksum */
    write_trace(bytes, size);
    assert_int_equal(moe_trace_read(trace_path, NULL, MOE_TRACE_CHOICES, &trace, &error),
                     MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "damaged or cut off"));
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_megatron_lines_are_refused_with_line_and_column),
        cmocka_unit_test(test_nesting_without_end_is_refused),
        cmocka_unit_test(test_json_tables_are_refused_with_line_and_column),
        cmocka_unit_test(test_csv_is_refused_with_line_and_column),
        cmocka_unit_test(test_sparse_numbers_do_not_buy_memory),
        cmocka_unit_test(test_npy_headers_are_refused_with_their_byte),
        cmocka_unit_test(test_loads_that_are_no_counts_are_refused_with_their_byte),
        cmocka_unit_test(test_pickles_are_refused_with_how_to_convert),
        cmocka_unit_test(test_what_is_no_regular_file_or_of_no_format_is_refused),
#ifdef MOE_HAVE_ZLIB
        cmocka_unit_test(test_a_gzip_bomb_is_refused_before_it_goes_off),
        cmocka_unit_test(test_a_gzip_file_that_is_cut_off_is_refused),
#endif
    };
    const int file = mkstemp(trace_path);
    if (file < 0)
        return 1;
    close(file);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(trace_path);
    return failed;
}
