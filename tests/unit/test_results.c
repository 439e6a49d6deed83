/* Reading results: what is sound is joined with its run, everything else is refused by name and line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "moe/record.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define RUN                                                                                        \
    "{\"record\":\"run\",\"schema\":1,\"program\":\"moe-a2a\",\"version\":\"0.1.0\","              \
    "\"command\":[\"moe-a2a\"],\"time\":\"2026-01-01T00:00:00Z\",\"ranks\":2}\n"
#define BEGIN                                                                                      \
    "{\"record\":\"exchange\",\"style\":\"exact\",\"algorithm\":\"native\",\"phase\":\"total\","   \
    "\"reps\":6,\"warmup\":1,\"converged\":true,\"slowest_rank\":0,\"min_us\":1.0,"
#define SOUND BEGIN "\"median_us\":2.5,\"ci_low_us\":1.0,\"ci_high_us\":4.0}\n"
#define RAW(times)                                                                                 \
    "{\"record\":\"raw\",\"style\":\"exact\",\"algorithm\":\"native\",\"phase\":\"total\","        \
    "\"warmup_us\":[9.0],\"times_us\":[" times "]}\n"
#define ITERATION(share)                                                                           \
    "{\"record\":\"iteration\",\"style\":\"exact\",\"algorithm\":\"native\",\"pass\":\"forward\"," \
    "\"layers\":1,\"reps\":6,\"warmup\":1,\"converged\":true,\"slowest_rank\":1,\"time_ms\":{},"   \
    "\"max_ms\":{\"iteration\":2.5},\"share\":{\"a2a\":" share "},"                                \
    "\"ci\":{\"a2a_low\":0.2,\"a2a_high\":0.4}}\n"

static char path[] = "/tmp/moe-results-XXXXXX";

static int make_file(void **state)
{
    (void)state;
    const int file = mkstemp(path);
    return file < 0 || close(file) != 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_bytes(const char *text, size_t length)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    fclose(file);
}

static moe_status_t read_text(const char *text, moe_results_t *results, moe_error_t *error)
{
    write_bytes(text, strlen(text));
    *results = (moe_results_t){0};
    return moe_results_read(path, results, error);
}

static void assert_reads(const char *text, size_t count, size_t runs)
{
    moe_results_t results;
    moe_error_t error = {0};
    const moe_status_t status = read_text(text, &results, &error);
    assert_string_equal(error.text, "");
    assert_int_equal(status, MOE_OK);
    assert_int_equal(results.count, count);
    assert_int_equal(results.runs, runs);
    moe_results_destroy(&results);
}

static void assert_refused(const char *text, const char *part)
{
    moe_results_t results;
    moe_error_t error = {0};
    assert_int_equal(read_text(text, &results, &error), MOE_BAD_INPUT);
    if (strstr(error.text, part) == NULL || strstr(error.text, path) == NULL)
        fail_msg("'%s' lacks '%s' or the file, for: %s", error.text, part, text);
    moe_results_destroy(&results);
}

/* ---- What is sound ---- */

static void test_each_result_is_joined_with_its_run_and_its_repetitions(void **state)
{
    (void)state;
    moe_results_t results;
    assert_int_equal(read_text(RUN SOUND RAW("1,2,2,3,4,5") RUN ITERATION("0.3"), &results, NULL),
                     MOE_OK);
    assert_int_equal(results.count, 2);
    assert_ptr_equal(results.result[0].run, results.run[0]);
    assert_ptr_equal(results.result[1].run, results.run[1]);
    assert_int_equal(json_array_size(json_object_get(results.result[0].raw, "times_us")), 6);
    assert_null(results.result[1].raw);
    assert_int_equal(results.result[1].line, 5);
    assert_string_equal(results.result[1].file, path);
    assert_string_equal(moe_result_text(&results.result[1], "run.version"), "0.1.0");
    assert_string_equal(moe_result_text(&results.result[1], "pass"), "forward");
    assert_null(moe_result_at(&results.result[1], "run.model.name"));
    moe_results_destroy(&results);
}

static void test_files_are_read_one_behind_the_other(void **state)
{
    (void)state;
    moe_results_t results;
    assert_int_equal(read_text(RUN SOUND, &results, NULL), MOE_OK);
    assert_int_equal(moe_results_read(path, &results, NULL), MOE_OK);
    assert_int_equal(results.count, 2);
    assert_int_equal(results.files, 2);
    assert_ptr_not_equal(results.result[0].run, results.result[1].run);
    moe_results_destroy(&results);
}

static void test_unknown_kinds_and_fields_are_skipped(void **state)
{
    (void)state;
    assert_reads(RUN "{\"record\":\"weather\",\"median_us\":-1}\n" SOUND, 1, 1);
    assert_reads(RUN BEGIN "\"median_us\":2.5,\"mood\":-1}\n", 1, 1);
}

static void test_a_last_line_without_its_end_is_whole_if_it_parses(void **state)
{
    (void)state;
    assert_reads(RUN BEGIN "\"median_us\":2.5}", 1, 1);
    assert_reads(RUN "\r\n\n" SOUND "\n", 1, 1); /* blank lines tell nothing */
}

/* Every place where a record can be cut, with a run of a later start behind it. */
static void test_a_line_that_a_killed_run_cut_off_is_tolerated_before_a_new_run(void **state)
{
    (void)state;
    static const char line[] = SOUND;
    char text[4096];
    for (size_t kept = 1; kept + 2 < sizeof line; kept++) {
        snprintf(text, sizeof text, RUN SOUND "%.*s\n" RUN SOUND, (int)kept, line);
        assert_reads(text, 2, 2);
    }
    assert_reads("{\"record\":\"run\",\"sche\n{\"rec\n" RUN SOUND, 1, 1); /* killed twice */
}

/* ---- What is not ---- */

static void test_a_line_that_is_cut_off_at_the_end_of_the_file_is_a_truncation(void **state)
{
    (void)state;
    static const char line[] = SOUND;
    char text[4096];
    for (size_t kept = 1; kept + 2 < sizeof line; kept++) {
        snprintf(text, sizeof text, RUN SOUND "%.*s", (int)kept, line);
        assert_refused(text, ":3: the last line is cut off");
    }
}

static void test_a_line_that_is_cut_off_before_anything_but_a_run_is_refused(void **state)
{
    (void)state;
    assert_refused(RUN SOUND BEGIN "\n" SOUND, ":3: the line is cut off, and no new run follows");
}

static void test_files_of_others_and_edited_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "is empty"},
        {"\n\n", "is empty"},
        {RUN, "nothing was measured"},
        {RUN "{\"record\":\"weather\"}\n", "nothing was measured"},
        {SOUND, ":1: a record 'exchange' before any run"},
        {"hello\n", ":1: not JSON Lines of moe-a2a"},
        {"<html>\n", ":1: not JSON Lines of moe-a2a"},
        {"[1]\n", ":1: not a record of moe-a2a"},
        {"{\"a\":1}\n", ":1: not a record of moe-a2a"},
        {"{\"record\":7}\n", ":1: not a record of moe-a2a"},
        {RUN SOUND "}\n", ":3: not JSON"},
        {RUN SOUND "{\"record\":\"exchange\",\"reps\":NaN}\n" RUN SOUND, ":3: not JSON"},
        {RUN BEGIN "\"median_us\":1e999}\n", ":2: not JSON"},
        {RUN BEGIN "\"median_us\":2.5,\"median_us\":3}\n", "duplicate"},
        {"{\"record\":\"run\",\"schema\":2,\"program\":\"moe-a2a\"}\n", ":1: schema: not 1"},
        {"{\"record\":\"run\",\"schema\":\"1\",\"program\":\"moe-a2a\"}\n", ":1: schema: not 1"},
        {"{\"record\":\"run\",\"schema\":1,\"program\":\"fio\"}\n", ":1: program: not \"moe-a2a\""},
        {"{\"record\":\"run\",\"schema\":1,\"program\":\"moe-a2a\"}\n", ":1: version: missing"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++)
        assert_refused(cases[i].text, cases[i].part);
}

static void test_fields_of_a_wrong_type_or_sign_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *part;
    } cases[] = {
        {"", ":2: median_us: missing"},
        {"\"median_us\":-2.5", ":2: median_us: -2.5 is not a number, 0 or more"},
        {"\"median_us\":\"2.5\"", ":2: median_us: \"2.5\" is not a number"},
        {"\"median_us\":null", ":2: median_us: null is not a number"},
        {"\"median_us\":[2.5]", ":2: median_us: [2.5] is not a number"},
        {"\"median_us\":2.5,\"errors\":-1", ":2: errors: -1 is not a whole number"},
        {"\"median_us\":2.5,\"errors\":0.5", ":2: errors: 0.5 is not a whole number"},
        {"\"median_us\":2.5,\"bytes\":7", ":2: bytes: 7 is not an object"},
        {"\"median_us\":2.5,\"bytes\":{\"wire\":-7}", ":2: bytes.wire: -7 is not a whole"},
        {"\"median_us\":2.5,\"matrix_hash\":\"12\"", ":2: matrix_hash: \"12\" is not a hash"},
        {"\"median_us\":2.5,\"layer\":true", ":2: layer: true is not a whole number"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char text[2048];
        snprintf(text, sizeof text, RUN BEGIN "\"x\":0%s%s}\n",
                 cases[i].fields[0] != '\0' ? "," : "", cases[i].fields);
        assert_refused(text, cases[i].part);
    }
}

static void test_figures_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *part;
    } cases[] = {
        {"\"median_us\":2.5,\"ci_low_us\":3,\"ci_high_us\":4",
         ":2: ci_low_us: 3 is above median_us"},
        {"\"median_us\":2.5,\"ci_low_us\":1,\"ci_high_us\":2",
         ":2: ci_high_us: 2 is below median_us"},
        {"\"median_us\":2.5,\"ci_low_us\":1", ":2: ci_high_us: missing"},
        {"\"median_us\":0.5", ":2: min_us: 1 is above median_us"},
        {"\"median_us\":2.5,\"p95_us\":2", ":2: median_us: 2.5 is above p95_us"},
        {"\"median_us\":2.5,\"busiest_rank\":2", ":2: busiest_rank: 2, and the run has 2 ranks"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char text[2048];
        snprintf(text, sizeof text, RUN BEGIN "%s}\n", cases[i].fields);
        assert_refused(text, cases[i].part);
    }
    assert_refused(RUN ITERATION("0.5"), ":2: ci.a2a_high: 0.4 is below share.a2a");
    assert_refused(RUN ITERATION("-0.5"), ":2: share.a2a: -0.5 is not a number");
}

static void test_repetitions_must_be_those_of_their_record(void **state)
{
    (void)state;
    assert_refused(RUN SOUND RAW("1,2,3"), ":3: times_us: 3 repetitions, and the record before");
    assert_refused(RUN SOUND RAW("1,2,3,4,5,6"), ":3: times_us: their median is 3.5 us");
    assert_refused(RUN SOUND RAW("1,2,2,3,4,null"), ":3: times_us: ");
    assert_refused(RUN SOUND RUN RAW("1,2,2,3,4,5"), ":4: repetitions without the record");
    assert_refused(RUN SOUND RAW("1,2,2,3,4,5") RAW("1,2,2,3,4,5"),
                   ":4: repetitions without the record");
}

static void test_an_interval_needs_six_repetitions(void **state)
{
    (void)state;
    assert_refused(RUN "{\"record\":\"pair\",\"from\":0,\"to\":1,\"median_us\":2,\"reps\":5,"
                       "\"ci_low_us\":1,\"ci_high_us\":3}\n",
                   ":2: ci_low_us: an interval of 5 repetitions");
    assert_refused(RUN "{\"record\":\"pair\",\"from\":0,\"to\":2,\"median_us\":2}\n",
                   ":2: to: 2, and the run has 2 ranks");
}

static void test_bytes_that_are_no_text_are_refused(void **state)
{
    (void)state;
    static const char nul[] = RUN "{\"record\":\"exchange\0\"}\n";
    moe_results_t results = {0};
    moe_error_t error = {0};
    write_bytes(nul, sizeof nul - 1);
    assert_int_equal(moe_results_read(path, &results, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, ":2: "));
    moe_results_destroy(&results);
    assert_refused(RUN "{\"record\":\"exch\xff\"}\n", ":2: not JSON");
}

static void test_what_cannot_be_opened_or_is_too_long_is_refused(void **state)
{
    (void)state;
    moe_results_t results = {0};
    moe_error_t error = {0};
    assert_int_equal(moe_results_read("/nonexistent/x", &results, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "cannot open '/nonexistent/x'"));
    moe_results_destroy(&results);
    assert_int_equal(moe_results_read("/tmp", &results, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "cannot read '/tmp'"));
    moe_results_destroy(&results);
    write_bytes("", 0);
    assert_int_equal(truncate(path, (off_t)MOE_READ_FILE_BYTES + 1),
                     0); /* a hole: no disk is used */
    assert_int_equal(moe_results_read(path, &results, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "at most"));
    moe_results_destroy(&results);
    assert_int_equal(truncate(path, (off_t)MOE_READ_LINE_BYTES + 1), 0);
    assert_int_equal(moe_results_read(path, &results, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, ":1: the line is longer"));
    moe_results_destroy(&results);
}

static void test_known_fields_and_the_nearest_to_a_typo(void **state)
{
    (void)state;
    assert_true(moe_field_is_known("exchange", "bytes.wire"));
    assert_true(moe_field_is_known("exchange", "run.model.name"));
    assert_false(moe_field_is_known("iteration", "bytes.wire"));
    assert_false(moe_field_is_known("exchange", "run.modle.name"));
    assert_string_equal(moe_field_nearest("exchange", "eficiency"), "efficiency");
    assert_string_equal(moe_field_nearest("exchange", "run.modle.name"), "model.name");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_result_is_joined_with_its_run_and_its_repetitions),
        cmocka_unit_test(test_files_are_read_one_behind_the_other),
        cmocka_unit_test(test_unknown_kinds_and_fields_are_skipped),
        cmocka_unit_test(test_a_last_line_without_its_end_is_whole_if_it_parses),
        cmocka_unit_test(test_a_line_that_a_killed_run_cut_off_is_tolerated_before_a_new_run),
        cmocka_unit_test(test_a_line_that_is_cut_off_at_the_end_of_the_file_is_a_truncation),
        cmocka_unit_test(test_a_line_that_is_cut_off_before_anything_but_a_run_is_refused),
        cmocka_unit_test(test_files_of_others_and_edited_files_are_refused),
        cmocka_unit_test(test_fields_of_a_wrong_type_or_sign_are_refused),
        cmocka_unit_test(test_figures_that_contradict_each_other_are_refused),
        cmocka_unit_test(test_repetitions_must_be_those_of_their_record),
        cmocka_unit_test(test_an_interval_needs_six_repetitions),
        cmocka_unit_test(test_bytes_that_are_no_text_are_refused),
        cmocka_unit_test(test_what_cannot_be_opened_or_is_too_long_is_refused),
        cmocka_unit_test(test_known_fields_and_the_nearest_to_a_typo),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
