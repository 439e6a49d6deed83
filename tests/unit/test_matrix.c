/* Matrices of bytes between ranks: what files may say, what is refused and where, what follows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "moe/traffic.h"

/* The file of a test, removed by the next one and at the end. */
#define PATH "/tmp/moe_test_matrix_XXXXXX"

static char path[] = PATH;

static void write_file(const char *text, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    fclose(file);
}

static void expect_values(const char *text, size_t ranks, const size_t *bytes)
{
    moe_matrix_t matrix;
    moe_error_t error = {0};
    write_file(text, strlen(text));
    if (moe_matrix_read(&(moe_matrix_file_t){.path = path, .ranks = ranks}, &matrix, &error) !=
        MOE_OK)
        fail_msg("%s", error.text);
    assert_int_equal(matrix.ranks, ranks);
    assert_memory_equal(matrix.bytes, bytes, ranks * ranks * sizeof *bytes);
    moe_matrix_destroy(&matrix);
}

/* `place`: ":line:column: " */
static void expect_refusal(const char *text, size_t size, size_t ranks, const char *place,
                           const char *reason)
{
    moe_matrix_t matrix = {.ranks = 77};
    moe_error_t error = {0};
    write_file(text, size);
    assert_int_equal(
        moe_matrix_read(&(moe_matrix_file_t){.path = path, .ranks = ranks}, &matrix, &error),
        MOE_BAD_INPUT);
    assert_int_equal(matrix.ranks, 77);
    const char *found = strstr(error.text, place);
    if (strstr(error.text, path) == NULL || found == NULL || strstr(found, reason) == NULL)
        fail_msg("'%s' has not the file, '%s' and '%s'", error.text, place, reason);
}

#define REFUSE(text, ranks, place, reason) expect_refusal(text, strlen(text), ranks, place, reason)

static void test_a_line_is_a_source(void **state)
{
    (void)state;
    expect_values("0 1\n2 3\n", 2, (const size_t[]){0, 1, 2, 3});
    expect_values("7", 1, (const size_t[]){7});
    expect_values("0 0\n0 0", 2, (const size_t[]){0, 0, 0, 0});
}

static void test_white_space_and_comments_are_free(void **state)
{
    (void)state;
    expect_values("# two ranks\n\n  10\t 20 # first\r\n\n#\n30   0040\r\n\n# end", 2,
                  (const size_t[]){10, 20, 30, 40});
}

static void test_numbers_that_are_no_bytes_are_refused_with_their_place(void **state)
{
    (void)state;
    REFUSE("0 1\n2 -3\n", 2, ":2:3: ", "'-3' is not a whole number");
    REFUSE("0 NaN\n2 3\n", 2, ":1:3: ", "'NaN' is not a whole number");
    REFUSE("0 1\n\n# x\n 2.5 3\n", 2, ":4:2: ", "'2.5' is not a whole number");
    REFUSE("1e6 1\n1 1\n", 2, ":1:1: ", "'1e6' is not a whole number");
    REFUSE("inf 1\n1 1\n", 2, ":1:1: ", "'inf'");
    REFUSE("1;1\n1;1\n", 2, ":1:1: ", "'1;1'");
    REFUSE("+1 1\n1 1\n", 2, ":1:1: ", "'+1'");
    REFUSE("0x10 1\n1 1\n", 2, ":1:1: ", "'0x10'");
    expect_refusal("0 1\n2 \0 3\n", 9, 2, ":2:3: ", "NUL");
}

static void test_what_fits_no_memory_is_refused_with_its_place(void **state)
{
    (void)state;
    REFUSE("0 18446744073709551616\n1 1\n", 2, ":1:3: ", "do not fit memory");
    REFUSE("0 1\n 99999999999999999999999999999999 1\n", 2, ":2:2: ", "do not fit memory");
    REFUSE("0 9223372036854775807\n1 1\n", 2, ":1:3: ", "do not fit memory");
}

static void test_what_is_not_square_is_refused_with_its_place(void **state)
{
    (void)state;
    REFUSE("0 1\n2\n", 2, ":2:2: ", "not square");
    REFUSE("0 1\n2 3 4\n", 2, ":2:5: ", "not square");
    REFUSE("0 1\n", 2, ":1:1: ", "not square");
    REFUSE("0 1\n1 1\n2 2\n", 2, ":3:1: ", "not square");
    REFUSE("0 1 2 3\n", 2, ":1:1: ", "not square");
    REFUSE("", 2, ":1:1: ", "no matrix");
    REFUSE("# nothing\n", 2, ":2:1: ", "no matrix");
}

static void test_another_number_of_ranks_is_refused(void **state)
{
    (void)state;
    REFUSE("0 1 2\n3 4 5\n6 7 8\n", 2, ":3:1: ", "a matrix of 3 ranks, and there are 2");
    REFUSE("0 1\n2 3\n", 4, ":2:1: ", "a matrix of 2 ranks, and there are 4");
}

static void test_a_file_that_is_not_there_is_refused(void **state)
{
    (void)state;
    moe_matrix_t matrix;
    moe_error_t error = {0};
    assert_int_equal(
        moe_matrix_read(&(moe_matrix_file_t){.path = "/no/such/file", .ranks = 2}, &matrix, &error),
        MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "/no/such/file"));
}

static void test_matrices_past_all_memory_are_refused(void **state)
{
    (void)state;
    moe_matrix_t matrix;
    assert_int_equal(moe_matrix_create(0, &matrix, NULL), MOE_BAD_INPUT);
    assert_int_equal(moe_matrix_create((size_t)1 << 32, &matrix, NULL), MOE_BAD_INPUT);
    assert_int_equal(moe_matrix_create(SIZE_MAX, &matrix, NULL), MOE_BAD_INPUT);
}

/* ---- Rows ---- */

static size_t row_of_two(size_t a, size_t b, size_t c, size_t d)
{
    size_t bytes[] = {a, b, c, d};
    const moe_matrix_t matrix = {.ranks = 2, .bytes = bytes};
    return moe_matrix_row_bytes(&matrix);
}

static void test_rows_are_the_largest_that_divide_all_blocks(void **state)
{
    (void)state;
    assert_int_equal(row_of_two(0, 0, 0, 0), 1);
    assert_int_equal(row_of_two(0, 3, 7, 0), 1);
    assert_int_equal(row_of_two(0, 12, 18, 0), 6);
    assert_int_equal(row_of_two(1024, 1024, 1024, 1024), 1024);
    assert_int_equal(row_of_two(4 << 20, 4 << 20, 4 << 20, 4 << 20), 65536);
    assert_int_equal(row_of_two(0, 3 * 65536, 6 * 65536, 0), 65536); /* of 196608, up to 64 KiB */
    assert_int_equal(row_of_two(0, 100000, 300000, 0), 50000);
    assert_int_equal(row_of_two(0, 1048583, 0, 0), 1); /* a prime */
}

static void test_rows_stay_countable_in_an_int(void **state)
{
    (void)state;
    const size_t prime = 2147483659; /* the first past 2^31 */
    assert_int_equal(row_of_two(0, prime, 0, 0), prime);
    assert_int_equal(row_of_two(0, INT_MAX, 0, 0), 1); /* prime too, and just countable */
}

/* ---- What ports carry ---- */

static void test_ports_and_bytes_follow_from_the_matrix(void **state)
{
    (void)state;
    size_t bytes[] = {10, 20, 30, /**/ 0, 5, 100, /**/ 40, 0, 0};
    const moe_matrix_t matrix = {.ranks = 3, .bytes = bytes};
    moe_flow_t flow;
    size_t rank;
    assert_int_equal(moe_matrix_sent(&matrix, 1), 105);
    assert_int_equal(moe_matrix_received(&matrix, 2), 130);
    assert_int_equal(moe_matrix_flow(&matrix, 2, 5, &flow, NULL), MOE_OK);
    assert_int_equal(flow.bytes.logical, 205);
    assert_int_equal(flow.bytes.useful, 205);
    assert_int_equal(flow.bytes.wire, 190);
    assert_int_equal(flow.bytes.padding, 0);
    assert_int_equal(flow.tiers.self, 15);
    assert_int_equal(flow.tiers.intra_node, 20);
    assert_int_equal(flow.tiers.inter_node, 170);
    assert_int_equal(moe_flow_busiest(&flow, &rank), 130);
    assert_int_equal(rank, 2);
    moe_flow_destroy(&flow);
}

static void test_sums_stop_instead_of_wrapping(void **state)
{
    (void)state;
    size_t bytes[] = {0, SIZE_MAX, 2, SIZE_MAX};
    const moe_matrix_t matrix = {.ranks = 2, .bytes = bytes};
    assert_int_equal(moe_matrix_sent(&matrix, 1), SIZE_MAX);
    assert_int_equal(moe_matrix_received(&matrix, 1), SIZE_MAX);
}

static uint64_t hash_of(size_t *bytes, size_t row)
{
    const moe_matrix_t matrix = {.ranks = 2, .bytes = bytes};
    moe_flow_t flow;
    assert_int_equal(moe_matrix_flow(&matrix, 1, row, &flow, NULL), MOE_OK);
    const uint64_t hash = flow.hash;
    moe_flow_destroy(&flow);
    return hash;
}

static void test_the_hash_tells_matrices_apart(void **state)
{
    (void)state;
    size_t a[] = {0, 8, 16, 0}, b[] = {0, 16, 8, 0};
    assert_true(hash_of(a, 1) != hash_of(b, 1));
    assert_true(hash_of(a, 8) == hash_of(a, 1)); /* in whatever rows they travel */
}

static int make_path(void **state)
{
    (void)state;
    const int file = mkstemp(path);
    return file >= 0 ? close(file) : -1;
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_is_a_source),
        cmocka_unit_test(test_white_space_and_comments_are_free),
        cmocka_unit_test(test_numbers_that_are_no_bytes_are_refused_with_their_place),
        cmocka_unit_test(test_what_fits_no_memory_is_refused_with_its_place),
        cmocka_unit_test(test_what_is_not_square_is_refused_with_its_place),
        cmocka_unit_test(test_another_number_of_ranks_is_refused),
        cmocka_unit_test(test_a_file_that_is_not_there_is_refused),
        cmocka_unit_test(test_matrices_past_all_memory_are_refused),
        cmocka_unit_test(test_rows_are_the_largest_that_divide_all_blocks),
        cmocka_unit_test(test_rows_stay_countable_in_an_int),
        cmocka_unit_test(test_ports_and_bytes_follow_from_the_matrix),
        cmocka_unit_test(test_sums_stop_instead_of_wrapping),
        cmocka_unit_test(test_the_hash_tells_matrices_apart),
    };
    return cmocka_run_group_tests_name("traffic", tests, make_path, remove_path);
}
