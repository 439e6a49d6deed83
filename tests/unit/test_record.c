#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "moe/record.h"
#include "moe/system.h"

typedef struct files {
    char folder[64];
    char json[96], csv[96];
} files_t;

static int make_files(void **state)
{
    files_t *files = calloc(1, sizeof *files);
    assert_non_null(files);
    snprintf(files->folder, sizeof files->folder, "/tmp/moe-test-XXXXXX");
    assert_non_null(mkdtemp(files->folder));
    snprintf(files->json, sizeof files->json, "%s/out.jsonl", files->folder);
    snprintf(files->csv, sizeof files->csv, "%s/out.csv", files->folder);
    *state = files;
    return 0;
}

static int remove_files(void **state)
{
    files_t *files = *state;
    unlink(files->json);
    unlink(files->csv);
    const int status = rmdir(files->folder);
    free(files);
    return status;
}

static void assert_holds(const char *path, const char *expected)
{
    char *text = NULL;
    size_t size = 0;
    assert_int_equal(moe_file_read(path, 1 << 20, &text, &size, NULL), MOE_OK);
    assert_string_equal(text, expected);
    free(text);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static json_t *parsed(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    return value;
}

/* Compares as compact text and releases `value`. */
static void assert_json(json_t *value, const char *expected)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
    json_decref(value);
}

static moe_recorder_t *recorder_for(const char *json, const char *csv)
{
    moe_recorder_t *recorder = NULL;
    moe_error_t error = {0};
    assert_int_equal(moe_recorder_create(json, csv, &recorder, &error), MOE_OK);
    return recorder;
}

static void write_record(moe_recorder_t *recorder, const char *text)
{
    assert_int_equal(moe_recorder_write(recorder, parsed(text), NULL), MOE_OK);
}

/* ---- JSON Lines ---- */

static void test_a_record_is_one_line_and_on_disk_when_written(void **state)
{
    const files_t *files = *state;
    moe_recorder_t *recorder = recorder_for(files->json, NULL);
    write_record(recorder, "{ \"record\": \"run\",\n \"schema\": 1, \"hosts\": [\"a\\nb\"] }");
    assert_holds(files->json, "{\"record\":\"run\",\"schema\":1,\"hosts\":[\"a\\nb\"]}\n");
    write_record(recorder, "{\"record\":\"exchange\",\"median_us\":0.1}");
    assert_holds(files->json, "{\"record\":\"run\",\"schema\":1,\"hosts\":[\"a\\nb\"]}\n"
                              "{\"record\":\"exchange\",\"median_us\":0.1}\n");
    moe_recorder_destroy(recorder);
}

static void test_records_are_appended_to_what_is_there(void **state)
{
    const files_t *files = *state;
    for (int run = 0; run < 2; run++) {
        moe_recorder_t *recorder = recorder_for(files->json, NULL);
        write_record(recorder, "{\"record\":\"run\"}");
        moe_recorder_destroy(recorder);
    }
    assert_holds(files->json, "{\"record\":\"run\"}\n{\"record\":\"run\"}\n");
}

static void test_a_line_that_an_earlier_run_left_unfinished_is_ended_first(void **state)
{
    const files_t *files = *state;
    write_file(files->json, "{\"record\":\"run\"}\n{\"reco");
    write_file(files->csv, "record,sty");
    moe_recorder_t *recorder = recorder_for(files->json, files->csv);
    assert_holds(files->json, "{\"record\":\"run\"}\n{\"reco"); /* not before there is a record */
    write_record(recorder, "{\"record\":\"run\"}");
    write_record(recorder, "{\"record\":\"rank\"}");
    moe_recorder_destroy(recorder);
    assert_holds(files->json,
                 "{\"record\":\"run\"}\n{\"reco\n{\"record\":\"run\"}\n{\"record\":\"rank\"}\n");
    assert_holds(files->csv, "record,sty");
}

static void test_without_a_recorder_records_are_dropped(void **state)
{
    (void)state;
    json_t *record = parsed("{\"record\":\"run\"}");
    json_incref(record);
    assert_int_equal(moe_recorder_write(NULL, record, NULL), MOE_OK);
    assert_int_equal(record->refcount, 1); /* the other reference was taken over */
    json_decref(record);
    assert_int_equal(moe_recorder_write(NULL, NULL, NULL), MOE_OK);
    moe_recorder_destroy(NULL);
}

static void test_without_paths_a_recorder_writes_nothing(void **state)
{
    (void)state;
    moe_recorder_t *recorder = recorder_for(NULL, NULL);
    write_record(recorder, "{\"record\":\"traffic\"}");
    moe_recorder_destroy(recorder);
}

static void test_a_record_that_memory_was_too_small_for_is_a_failure(void **state)
{
    (void)state;
    moe_error_t error = {0};
    moe_recorder_t *recorder = recorder_for(NULL, NULL);
    assert_int_equal(moe_recorder_write(recorder, NULL, &error), MOE_FAILED);
    moe_recorder_destroy(recorder);
}

static void test_the_dash_is_stdout_and_leaves_it_open(void **state)
{
    const files_t *files = *state;
    fflush(stdout);
    const int kept = dup(STDOUT_FILENO);
    FILE *file = fopen(files->json, "w");
    assert_non_null(file);
    dup2(fileno(file), STDOUT_FILENO);
    moe_recorder_t *recorder = NULL;
    const moe_status_t created = moe_recorder_create("-", NULL, &recorder, NULL);
    const moe_status_t written =
        moe_recorder_write(recorder, json_pack("{s:s}", "record", "run"), NULL);
    moe_recorder_destroy(recorder);
    printf("still open\n");
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    fclose(file);
    assert_int_equal(created, MOE_OK);
    assert_int_equal(written, MOE_OK);
    assert_holds(files->json, "{\"record\":\"run\"}\nstill open\n");
}

static void test_a_path_that_cannot_be_written_is_refused_with_option_path_and_reason(void **state)
{
    const files_t *files = *state;
    moe_error_t error = {0};
    moe_recorder_t *recorder = NULL;
    assert_int_equal(moe_recorder_create("/no/such/out.jsonl", NULL, &recorder, &error),
                     MOE_BAD_INPUT);
    assert_null(recorder);
    assert_string_equal(error.text,
                        "--json: cannot write '/no/such/out.jsonl': No such file or directory");
    assert_int_equal(moe_recorder_create(files->json, files->folder, &recorder, &error),
                     MOE_BAD_INPUT);
    assert_null(recorder);
    assert_int_equal(strncmp(error.text, "--csv: cannot write '", 21), 0);
    assert_non_null(strstr(error.text, files->folder));
    assert_non_null(strstr(error.text, "Is a directory"));
}

static void test_both_formats_in_one_file_are_refused(void **state)
{
    const files_t *files = *state;
    moe_error_t error = {0};
    moe_recorder_t *recorder = NULL;
    assert_int_equal(moe_recorder_create("-", "-", &recorder, &error), MOE_BAD_INPUT);
    char other[128];
    snprintf(other, sizeof other, "%s/./out.jsonl", files->folder);
    assert_int_equal(moe_recorder_create(files->json, other, &recorder, &error), MOE_BAD_INPUT);
    assert_null(recorder);
    assert_non_null(strstr(error.text, "--csv: "));
    moe_recorder_t *nowhere = recorder_for("/dev/null", "/dev/null");
    write_record(nowhere, "{\"record\":\"traffic\"}");
    moe_recorder_destroy(nowhere);
}

static void test_a_full_disk_is_a_failure_of_the_run(void **state)
{
    const files_t *files = *state;
    moe_error_t error = {0};
    moe_recorder_t *recorder = recorder_for("/dev/full", NULL);
    assert_int_equal(moe_recorder_write(recorder, parsed("{\"record\":\"run\"}"), &error),
                     MOE_FAILED);
    assert_string_equal(error.text, "--json: cannot write to '/dev/full': No space left on device; "
                                    "the records before are complete");
    /* It stays one: the caller may go on to its last record. */
    assert_int_equal(moe_recorder_write(recorder, parsed("{\"record\":\"run\"}"), &error),
                     MOE_FAILED);
    moe_recorder_destroy(recorder);

    recorder = recorder_for(files->json, "/dev/full");
    assert_int_equal(moe_recorder_write(recorder, parsed("{\"record\":\"traffic\"}"), &error),
                     MOE_FAILED);
    assert_int_equal(strncmp(error.text, "--csv: cannot write to '/dev/full': ", 36), 0);
    moe_recorder_destroy(recorder);
    assert_holds(files->json, "{\"record\":\"traffic\"}\n");
}

/* A record far larger than the stream's buffer meets the full disk while it is written. */
static void test_a_full_disk_is_seen_in_the_middle_of_a_long_record(void **state)
{
    (void)state;
    enum { TIMES = 100000 };
    double *seconds = calloc(TIMES, sizeof *seconds);
    assert_non_null(seconds);
    moe_error_t error = {0};
    moe_recorder_t *recorder = recorder_for("/dev/full", NULL);
    json_t *record =
        json_pack("{s:s,s:o}", "record", "raw", "times_us", moe_json_times(seconds, TIMES));
    assert_int_equal(moe_recorder_write(recorder, record, &error), MOE_FAILED);
    assert_non_null(strstr(error.text, "--json: cannot write to '/dev/full': "));
    moe_recorder_destroy(recorder);
    free(seconds);
}

/* ---- CSV ---- */

#define EXCHANGE_HEADER                                                                            \
    "record,style,algorithm,phase,layer,reps,warmup,converged,median_us,ci_low_us,ci_high_us,"     \
    "min_us,p95_us,p99_us,slowest_rank,algbw_GBps,busbw_GBps,bound_us,efficiency,bytes_useful,"    \
    "bytes_logical,bytes_wire,bytes_padding,errors,bytes_per_pair,step\n"
#define ITERATION_HEADER                                                                           \
    "record,style,algorithm,pass,layers,reps,warmup,converged,slowest_rank,time_ms_iteration,"     \
    "time_ms_compute,time_ms_metadata,time_ms_permute,time_ms_dispatch,time_ms_combine,"           \
    "time_ms_allreduce,max_ms_iteration,max_ms_compute,max_ms_metadata,max_ms_permute,"            \
    "max_ms_dispatch,max_ms_combine,max_ms_allreduce,max_ms_compute_only,share_a2a,share_serial,"  \
    "share_exposed,ci_a2a_low,ci_a2a_high,ci_serial_low,ci_serial_high,ci_exposed_low,"            \
    "ci_exposed_high,extrapolated_from_layers,step\n"
#define TRAFFIC_HEADER                                                                             \
    "record,style,phase,bytes_useful,bytes_logical,bytes_wire,bytes_padding,tiers_self,"           \
    "tiers_intra_node,tiers_inter_node,busiest_rank,metadata_bytes,step\n"

static void test_csv_flattens_records_under_the_columns_of_their_kind(void **state)
{
    const files_t *files = *state;
    moe_recorder_t *recorder = recorder_for(NULL, files->csv);
    write_record(recorder,
                 "{\"record\":\"exchange\",\"style\":\"padded\",\"algorithm\":\"native\","
                 "\"phase\":\"dispatch\",\"layer\":3,\"reps\":30,\"warmup\":5,\"converged\":true,"
                 "\"median_us\":12.345,\"min_us\":11.0,\"slowest_rank\":2,\"algbw_GBps\":1.5,"
                 "\"unknown\":\"field\",\"errors\":0,\"step\":4,"
                 "\"bytes\":{\"useful\":1,\"logical\":2,\"wire\":9007199254740993,\"padding\":0}}");
    assert_holds(files->csv, EXCHANGE_HEADER
                 "exchange,padded,native,dispatch,3,30,5,true,12.345,,,11,,,2,1.5,,,,1,2,"
                 "9007199254740993,0,0,,4\n");
    moe_recorder_destroy(recorder);
}

static void test_csv_has_every_figure_of_an_iteration(void **state)
{
    const files_t *files = *state;
    moe_recorder_t *recorder = recorder_for(NULL, files->csv);
    write_record(
        recorder,
        "{\"record\":\"iteration\",\"style\":\"exact\",\"algorithm\":\"linear\","
        "\"pass\":\"training\",\"layers\":16,\"reps\":40,\"warmup\":3,\"converged\":false,"
        "\"slowest_rank\":1,\"time_ms\":{\"iteration\":10.5,\"compute\":6,\"metadata\":0.5,"
        "\"permute\":1,\"dispatch\":1.25,\"combine\":1.5,\"allreduce\":0.25},"
        "\"max_ms\":{\"iteration\":11,\"compute_only\":6.5},"
        "\"share\":{\"a2a\":0.3,\"serial\":0.4,\"exposed\":-0.01},"
        "\"ci\":{\"a2a_low\":0.29,\"a2a_high\":0.31},\"extrapolated_from_layers\":2}");
    assert_holds(files->csv, ITERATION_HEADER
                 "iteration,exact,linear,training,16,40,3,false,1,10.5,6,0.5,1,1.25,1.5,0.25,"
                 "11,,,,,,,6.5,0.3,0.4,-0.01,0.29,0.31,,,,,2,\n");
    moe_recorder_destroy(recorder);
}

static void test_csv_repeats_the_header_where_the_kind_changes(void **state)
{
    const files_t *files = *state;
    moe_recorder_t *recorder = recorder_for(NULL, files->csv);
    write_record(recorder, "{\"record\":\"run\",\"schema\":1}"); /* not in CSV */
    write_record(recorder, "{\"record\":\"traffic\",\"style\":\"exact\"}");
    write_record(recorder, "{\"record\":\"raw\"}"); /* not in CSV: no change of kind */
    write_record(recorder, "{\"record\":\"traffic\",\"style\":\"padded\"}");
    write_record(recorder, "{\"record\":\"exchange\",\"style\":\"exact\"}");
    moe_recorder_destroy(recorder);
    recorder = recorder_for(NULL, files->csv);
    write_record(recorder, "{\"record\":\"exchange\",\"style\":\"exact\"}");
    moe_recorder_destroy(recorder);
    assert_holds(files->csv,
                 TRAFFIC_HEADER "traffic,exact,,,,,,,,,,,\n"
                                "traffic,padded,,,,,,,,,,,\n" EXCHANGE_HEADER
                                "exchange,exact,,,,,,,,,,,,,,,,,,,,,,,,\n" EXCHANGE_HEADER
                                "exchange,exact,,,,,,,,,,,,,,,,,,,,,,,,\n");
}

static void test_csv_has_pairs_and_who_stands_out(void **state)
{
    const files_t *files = *state;
    moe_recorder_t *recorder = recorder_for(NULL, files->csv);
    write_record(recorder, "{\"record\":\"pair\",\"from\":0,\"to\":1,\"bytes\":8,\"GBps\":0.5}");
    write_record(recorder, "{\"record\":\"finding\",\"kind\":\"host\",\"ranks\":[2,3,0.5],"
                           "\"hosts\":[\"a,b\",\"c\"],\"ratio\":2}");
    assert_holds(files->csv,
                 "record,from,to,bytes,reps,converged,median_us,ci_low_us,ci_high_us,min_us,GBps\n"
                 "pair,0,1,8,,,,,,,0.5\n"
                 "record,evidence,kind,reach,style,algorithm,phase,ranks,hosts,direction,from,to,"
                 "value_us,others_us,limit_us,ratio,mads\n"
                 "finding,,host,,,,,2;3,\"a,b;c\",,,,,,,2,\n");
    moe_recorder_destroy(recorder);
}

static void test_csv_quotes_as_rfc_4180_says(void **state)
{
    const files_t *files = *state;
    moe_recorder_t *recorder = recorder_for(NULL, files->csv);
    write_record(recorder, "{\"record\":\"traffic\",\"style\":\"a,b\",\"phase\":\"say \\\"x\\\"\","
                           "\"busiest_rank\":\"two\\nlines\",\"metadata_bytes\":null,"
                           "\"bytes\":7,\"tiers\":{\"self\":{\"deep\":1}}}");
    assert_holds(files->csv,
                 TRAFFIC_HEADER "traffic,\"a,b\",\"say \"\"x\"\"\",,,,,,,,\"two\nlines\",,\n");
    moe_recorder_destroy(recorder);
}

static void test_records_carry_the_step_at_hand_and_no_other(void **state)
{
    const files_t *files = *state;
    moe_recorder_t *recorder = recorder_for(files->json, NULL);
    write_record(recorder, "{\"record\":\"rank\"}");
    moe_recorder_set_step(recorder, 3);
    write_record(recorder, "{\"record\":\"rank\"}");
    moe_recorder_set_step(recorder, MOE_NO_STEP);
    write_record(recorder, "{\"record\":\"rank\"}");
    moe_recorder_destroy(recorder);
    moe_recorder_set_step(NULL, 1); /* ranks without a recorder */
    assert_holds(files->json, "{\"record\":\"rank\"}\n{\"record\":\"rank\",\"step\":3}\n"
                              "{\"record\":\"rank\"}\n");
}

static void test_a_record_without_a_kind_stays_out_of_csv(void **state)
{
    const files_t *files = *state;
    moe_recorder_t *recorder = recorder_for(NULL, files->csv);
    write_record(recorder, "{\"record\":7}");
    write_record(recorder, "{}");
    write_record(recorder, "[1]");
    moe_recorder_destroy(recorder);
    assert_holds(files->csv, "");
}

/* ---- Parts ---- */

static void test_bytes_and_tiers_are_whole_numbers(void **state)
{
    (void)state;
    const moe_bytes_t bytes = {.useful = 1, .logical = 9007199254740993, .wire = 3, .padding = 0};
    assert_json(moe_json_bytes(&bytes),
                "{\"useful\":1,\"logical\":9007199254740993,\"wire\":3,\"padding\":0}");
    const moe_tiers_t tiers = {.self = 5, .intra_node = 6, .inter_node = 7};
    assert_json(moe_json_tiers(&tiers), "{\"self\":5,\"intra_node\":6,\"inter_node\":7}");
}

static void test_a_saturated_count_does_not_turn_negative(void **state)
{
    (void)state;
    const moe_bytes_t bytes = {.useful = SIZE_MAX};
    json_t *object = moe_json_bytes(&bytes);
    assert_true(json_number_value(json_object_get(object, "useful")) > 1.8e19);
    json_decref(object);
}

static void test_load_figures_are_by_name(void **state)
{
    (void)state;
    const moe_load_t load = {.max_over_mean = 2.5, .cv = 0.25, .gini = 0.125, .hottest_share = 0.5};
    assert_json(moe_json_load(&load),
                "{\"max_over_mean\":2.5,\"cv\":0.25,\"gini\":0.125,\"hottest_share\":0.5}");
}

static void test_times_are_microseconds_to_the_nanosecond(void **state)
{
    (void)state;
    const moe_summary_t summary = {
        .n = 300,
        .median = 12.3456789e-6,
        .min = 1e-6,
        .has_interval = true,
        .low = 11.1114e-6,
        .high = 13.9996e-6,
        .has_p95 = true,
        .p95 = 0.25,
        .has_p99 = true,
        .p99 = 1.5,
    };
    json_t *record = json_object();
    moe_json_add_times(record, &summary);
    assert_json(record, "{\"median_us\":12.346,\"ci_low_us\":11.111,\"ci_high_us\":14.0,"
                        "\"min_us\":1.0,\"p95_us\":250000.0,\"p99_us\":1500000.0}");
}

static void test_what_a_small_sample_does_not_tell_is_absent(void **state)
{
    (void)state;
    const moe_summary_t small = {.n = 5, .median = 2e-6, .min = 1e-6};
    json_t *record = json_object();
    moe_json_add_times(record, &small);
    assert_json(record, "{\"median_us\":2.0,\"min_us\":1.0}");
    const moe_summary_t none = {.n = 0};
    record = json_object();
    moe_json_add_times(record, &none);
    assert_json(record, "{}");
}

static void test_a_series_of_times_keeps_its_order_and_length(void **state)
{
    (void)state;
    static const double seconds[] = {3e-6, 1e-6, 0.0, INFINITY, 2.0006e-6};
    assert_json(moe_json_times(seconds, 5), "[3.0,1.0,0.0,null,2.001]");
    assert_json(moe_json_times(NULL, 0), "[]");
}

static void test_a_hash_keeps_all_its_bits_as_sixteen_digits(void **state)
{
    (void)state;
    assert_json(moe_json_hash(0xfedcba9876543210ULL), "\"fedcba9876543210\"");
    assert_json(moe_json_hash(0xa), "\"000000000000000a\"");
}

static void test_the_topology_holds_no_zeros(void **state)
{
    (void)state;
    moe_topology_t topology;
    moe_topology_read(&topology);
    json_t *object = moe_json_topology();
    assert_true(json_is_object(object));
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(object, key, value)
    {
        assert_true(json_integer_value(value) > 0 || json_string_length(value) > 0 ||
                    json_array_size(value) > 0);
    }
    assert_true((json_object_get(object, "pus") != NULL) == topology.known);
    json_decref(object);
}

static void test_the_environment_is_recorded_whatever_bytes_it_holds(void **state)
{
    (void)state;
    char **const kept = environ;
    char *planted[] = {"UCX_TLS=\xff\xfeok", "FI_PROVIDER=t\xc3\xbc", "PATH=/bin", NULL};
    environ = planted;
    json_t *object = moe_json_environment();
    environ = kept;
    assert_json(object, "{\"FI_PROVIDER\":\"t\xc3\xbc\",\"UCX_TLS\":\"\?\?ok\"}");
}

static void test_the_time_is_utc_in_iso_8601(void **state)
{
    (void)state;
    json_t *time = moe_json_time();
    int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, end = 0;
    assert_int_equal(sscanf(json_string_value(time), "%4d-%2d-%2dT%2d:%2d:%2dZ%n", &year, &month,
                            &day, &hour, &minute, &second, &end),
                     6);
    assert_int_equal(end, 20);
    assert_int_equal(json_string_length(time), 20);
    assert_true(year >= 2024);
    json_decref(time);
}

#define WITH_FILES(test) cmocka_unit_test_setup_teardown(test, make_files, remove_files)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FILES(test_a_record_is_one_line_and_on_disk_when_written),
        WITH_FILES(test_records_are_appended_to_what_is_there),
        WITH_FILES(test_a_line_that_an_earlier_run_left_unfinished_is_ended_first),
        cmocka_unit_test(test_without_a_recorder_records_are_dropped),
        cmocka_unit_test(test_without_paths_a_recorder_writes_nothing),
        cmocka_unit_test(test_a_record_that_memory_was_too_small_for_is_a_failure),
        WITH_FILES(test_the_dash_is_stdout_and_leaves_it_open),
        WITH_FILES(test_a_path_that_cannot_be_written_is_refused_with_option_path_and_reason),
        WITH_FILES(test_both_formats_in_one_file_are_refused),
        WITH_FILES(test_a_full_disk_is_a_failure_of_the_run),
        cmocka_unit_test(test_a_full_disk_is_seen_in_the_middle_of_a_long_record),
        WITH_FILES(test_csv_flattens_records_under_the_columns_of_their_kind),
        WITH_FILES(test_csv_has_every_figure_of_an_iteration),
        WITH_FILES(test_csv_repeats_the_header_where_the_kind_changes),
        WITH_FILES(test_csv_has_pairs_and_who_stands_out),
        WITH_FILES(test_csv_quotes_as_rfc_4180_says),
        WITH_FILES(test_records_carry_the_step_at_hand_and_no_other),
        WITH_FILES(test_a_record_without_a_kind_stays_out_of_csv),
        cmocka_unit_test(test_bytes_and_tiers_are_whole_numbers),
        cmocka_unit_test(test_a_saturated_count_does_not_turn_negative),
        cmocka_unit_test(test_load_figures_are_by_name),
        cmocka_unit_test(test_times_are_microseconds_to_the_nanosecond),
        cmocka_unit_test(test_what_a_small_sample_does_not_tell_is_absent),
        cmocka_unit_test(test_a_series_of_times_keeps_its_order_and_length),
        cmocka_unit_test(test_a_hash_keeps_all_its_bits_as_sixteen_digits),
        cmocka_unit_test(test_the_topology_holds_no_zeros),
        cmocka_unit_test(test_the_environment_is_recorded_whatever_bytes_it_holds),
        cmocka_unit_test(test_the_time_is_utc_in_iso_8601),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
