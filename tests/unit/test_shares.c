/* Shares of an iteration from a series by hand, and the names that go with the numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "moe/iteration.h"

static void test_columns_and_parts_have_the_names_of_the_records(void **state)
{
    (void)state;
    static const char *const parts[MOE_PARTS] = {"compute",  "metadata", "permute",
                                                 "dispatch", "combine",  "allreduce"};
    static const char *const columns[MOE_LAYER_COLUMNS] = {
        "dispatch", "combine", "total", "metadata", "schedule", "permute", "unpermute"};
    for (int p = 0; p < MOE_PARTS; p++)
        assert_string_equal(moe_part_name((moe_part_t)p), parts[p]);
    for (int c = 0; c < MOE_LAYER_COLUMNS; c++)
        assert_string_equal(moe_layer_column_name((moe_layer_column_t)c), columns[c]);
}

/* Repetitions by hand: the warm-up, which must not be looked at, and three others. */
#define REPS     3
#define CAPACITY 5

typedef struct table {
    double mean[MOE_ITERATION_COLUMNS][CAPACITY], max[MOE_ITERATION_COLUMNS][CAPACITY];
} table_t;

static moe_series_t series_of(table_t *table)
{
    return (moe_series_t){.columns = MOE_ITERATION_COLUMNS,
                          .warmup = 1,
                          .reps = REPS,
                          .capacity = CAPACITY,
                          .mean = &table->mean[0][0],
                          .max = &table->max[0][0]};
}

static void fill(table_t *table)
{
    memset(table, 0xff, sizeof *table); /* NaN */
    for (size_t r = 0; r < REPS; r++) {
        const double scale = (double)r; /* the first one took no time at all */
        double(*const mean)[CAPACITY] = table->mean, (*const max)[CAPACITY] = table->max;
        const size_t at = r + 1;
        mean[MOE_COLUMN_ITERATION][at] = 100 * scale;
        mean[MOE_COLUMN_COMPUTE_ONLY][at] = 1e6; /* maxima decide what is exposed */
        mean[MOE_COLUMN_PART0 + MOE_PART_COMPUTE][at] = 50 * scale;
        mean[MOE_COLUMN_PART0 + MOE_PART_METADATA][at] = 2 * scale;
        mean[MOE_COLUMN_PART0 + MOE_PART_PERMUTE][at] = 5 * scale;
        mean[MOE_COLUMN_PART0 + MOE_PART_DISPATCH][at] = 12 * scale;
        mean[MOE_COLUMN_PART0 + MOE_PART_COMBINE][at] = 11 * scale;
        mean[MOE_COLUMN_PART0 + MOE_PART_ALLREDUCE][at] = 20 * scale;
        for (int c = 0; c < MOE_ITERATION_COLUMNS; c++)
            max[c][at] = 1e9;
        max[MOE_COLUMN_ITERATION][at] = 128 * scale;
        max[MOE_COLUMN_COMPUTE_ONLY][at] = 64 * scale;
        max[MOE_COLUMN_PART0 + MOE_PART_PERMUTE][at] = 16 * scale;
    }
}

static void test_shares_follow_from_the_series(void **state)
{
    (void)state;
    table_t table;
    fill(&table);
    table.max[MOE_COLUMN_COMPUTE_ONLY][REPS] = 256; /* noise: compute alone took longer */
    const moe_series_t series = series_of(&table);
    double a2a[REPS], serial[REPS], exposed[REPS];
    moe_iteration_shares(&series, a2a, serial, exposed);
    for (size_t r = 1; r < REPS; r++) {
        assert_float_equal(a2a[r], 0.25, 1e-6);
        assert_float_equal(serial[r], 0.45, 1e-6);
    }
    assert_true(a2a[0] == 0 && serial[0] == 0 && exposed[0] == 0);
    assert_float_equal(exposed[1], 0.375, 1e-6);
    assert_true(exposed[2] == 0);
}

/* Nine repetitions, two of them hit by noise in one part or another: medians of the parts would add up
 * to 100, the iteration's median is 104. */
static void test_parts_add_up_to_the_median_iteration(void **state)
{
    (void)state;
    enum { REPETITIONS = 9 };
    static double mean[MOE_ITERATION_COLUMNS][REPETITIONS];
    for (size_t r = 0; r < REPETITIONS; r++) {
        const double more_compute = r % 2 == 0 ? 4 : 0, more_dispatch = r % 2 == 1 ? 5 : 0;
        mean[MOE_COLUMN_PART0 + MOE_PART_COMPUTE][r] = 60 + more_compute + (r == 3 ? 500 : 0);
        mean[MOE_COLUMN_PART0 + MOE_PART_DISPATCH][r] = 40 + more_dispatch;
        mean[MOE_COLUMN_ITERATION][r] = mean[MOE_COLUMN_PART0 + MOE_PART_COMPUTE][r] +
                                        mean[MOE_COLUMN_PART0 + MOE_PART_DISPATCH][r];
    }
    const moe_series_t series = {.columns = MOE_ITERATION_COLUMNS,
                                 .reps = REPETITIONS,
                                 .capacity = REPETITIONS,
                                 .mean = &mean[0][0]};
    double parts[MOE_PARTS], sum = 0;
    assert_int_equal(moe_iteration_parts(&series, parts, NULL), MOE_OK);
    for (int p = 0; p < MOE_PARTS; p++)
        sum += parts[p];
    assert_float_equal(sum, 104, 1e-9);
    assert_true(parts[MOE_PART_COMPUTE] > 58 && parts[MOE_PART_COMPUTE] < 66);
    assert_true(parts[MOE_PART_METADATA] == 0);
}

static void test_too_few_repetitions_for_an_interval_all_count(void **state)
{
    (void)state;
    static double mean[MOE_ITERATION_COLUMNS][2];
    mean[MOE_COLUMN_ITERATION][0] = 10;
    mean[MOE_COLUMN_ITERATION][1] = 20;
    mean[MOE_COLUMN_PART0 + MOE_PART_COMBINE][0] = 10;
    const moe_series_t series = {
        .columns = MOE_ITERATION_COLUMNS, .reps = 2, .capacity = 2, .mean = &mean[0][0]};
    double parts[MOE_PARTS];
    assert_int_equal(moe_iteration_parts(&series, parts, NULL), MOE_OK);
    assert_float_equal(parts[MOE_PART_COMBINE], 15 * 0.5, 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_and_parts_have_the_names_of_the_records),
        cmocka_unit_test(test_shares_follow_from_the_series),
        cmocka_unit_test(test_parts_add_up_to_the_median_iteration),
        cmocka_unit_test(test_too_few_repetitions_for_an_interval_all_count),
    };
    return cmocka_run_group_tests_name("iteration", tests, NULL, NULL);
}
