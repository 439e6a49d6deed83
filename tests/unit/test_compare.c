/* What is compared with what, and what is said of it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "moe/verdict.h"
#include "results_setting.h"

typedef struct pair {
    moe_results_t a, b;
    moe_comparison_t c;
} pair_t;

static void compare(const char *a, const char *b, pair_t *out)
{
    moe_error_t error = {0};
    read_results_of(a, &out->a);
    read_results_of(b, &out->b);
    assert_int_equal(moe_compare(&out->a, &out->b, &out->c, &error), MOE_OK);
}

static void forget(pair_t *p)
{
    moe_comparison_destroy(&p->c);
    moe_results_destroy(&p->a);
    moe_results_destroy(&p->b);
}

#define SLOW ROUTED("1") EXCHANGE("exact", "total", TIMES("20", "19.5", "20.5"), "")
#define FAST ROUTED("1") EXCHANGE("exact", "total", TIMES("10", "9.8", "10.2"), "")

static void test_half_the_time_is_twice_as_fast(void **state)
{
    (void)state;
    pair_t p;
    compare(SLOW, FAST, &p);
    assert_int_equal(p.c.rows, 1);
    assert_float_equal(p.c.row[0].ratio.ratio, 2, 1e-12);
    assert_true(p.c.row[0].ratio.low < 2 && 2 < p.c.row[0].ratio.high);
    assert_int_equal(p.c.row[0].call, MOE_FASTER);
    assert_int_equal(p.c.calls[MOE_FASTER], 1);
    assert_int_equal(p.c.unmatched_count, 0);
    forget(&p);
}

static void test_the_other_order_says_the_opposite(void **state)
{
    (void)state;
    pair_t p, q;
    compare(SLOW, FAST, &p);
    compare(FAST, SLOW, &q);
    assert_int_equal(q.c.row[0].call, MOE_SLOWER);
    assert_float_equal(p.c.row[0].ratio.ratio * q.c.row[0].ratio.ratio, 1, 1e-12);
    assert_float_equal(p.c.row[0].ratio.low * q.c.row[0].ratio.high, 1, 1e-12);
    assert_float_equal(p.c.row[0].ratio.high * q.c.row[0].ratio.low, 1, 1e-12);
    forget(&p);
    forget(&q);
}

static void test_intervals_that_reach_across_one_show_no_difference(void **state)
{
    (void)state;
    pair_t p;
    compare(ROUTED("1") EXCHANGE("exact", "total", TIMES("10", "9.5", "10.5"), ""),
            ROUTED("1") EXCHANGE("exact", "total", TIMES("10.4", "10", "10.9"), ""), &p);
    assert_int_equal(p.c.row[0].call, MOE_NO_DIFFERENCE);
    forget(&p);
}

static void test_without_an_interval_no_difference_is_shown(void **state)
{
    (void)state;
    static const char three[] = ROUTED("1")
        EXCHANGE_REPS("exact", "total", "3", "\"converged\":false,\"median_us\":90", "");
    pair_t p;
    compare(three, FAST, &p);
    assert_int_equal(p.c.row[0].ratio.method, MOE_RATIO_NONE);
    assert_float_equal(p.c.row[0].ratio.ratio, 9, 1e-12);
    assert_int_equal(p.c.row[0].call, MOE_NO_DIFFERENCE);
    forget(&p);
}

/* ---- What is the same thing ---- */

static void assert_not_compared(const char *a, const char *b, const char *why)
{
    pair_t p;
    compare(a, b, &p);
    assert_int_equal(p.c.rows, 0);
    assert_int_equal(p.c.unmatched_count, 2);
    assert_true(p.c.unmatched[0].in_a);
    assert_false(p.c.unmatched[1].in_a);
    if (strstr(p.c.unmatched[0].why, why) == NULL)
        fail_msg("'%s' lacks '%s'", p.c.unmatched[0].why, why);
    forget(&p);
}

#define T TIMES("10", "9", "11")

static void test_another_pattern_is_never_compared(void **state)
{
    (void)state;
    assert_not_compared(ROUTED("1") EXCHANGE("exact", "total", T, ""),
                        ROUTED("2") EXCHANGE("exact", "total", T, ""),
                        "differs: run.routing.hash 0123456789abcde1, there 0123456789abcde2");
    assert_not_compared(RUN("") EXCHANGE("raw", "alltoallv", T, ",\"matrix_hash\":" HASH("1")),
                        RUN("") EXCHANGE("raw", "alltoallv", T, ",\"matrix_hash\":" HASH("2")),
                        "differs: matrix_hash");
    assert_not_compared(RUN("") EXCHANGE("raw", "alltoallv", T, ",\"bytes_per_pair\":8"),
                        RUN("") EXCHANGE("raw", "alltoallv", T, ",\"bytes_per_pair\":16"),
                        "differs: bytes_per_pair 8, there 16");
    assert_not_compared(ROUTED("1") EXCHANGE("exact", "total", T, ""),
                        ROUTED("1") EXCHANGE("padded", "total", T, ""),
                        "style exact, there padded");
    assert_not_compared(
        RUN(",\"model\":{\"name\":\"m\",\"tokens\":8}") EXCHANGE("exact", "total", T, ""),
        RUN(",\"model\":{\"name\":\"m\",\"tokens\":9}") EXCHANGE("exact", "total", T, ""),
        "run.model.tokens 8, there 9");
    assert_not_compared(RUN(",\"capacity\":{\"factor\":1.25}") EXCHANGE("exact", "total", T, ""),
                        RUN(",\"capacity\":{\"factor\":0.0}") EXCHANGE("exact", "total", T, ""),
                        "run.capacity.factor 1.25, there 0.0");
}

/* A total has no matrix of its own, and is of the same work only if its dispatch is. */
static void test_a_total_is_matched_by_the_matrix_of_its_dispatch(void **state)
{
    (void)state;
    pair_t p;
#define DISPATCH_AND_TOTAL(digit)                                                                  \
    ROUTED("1")                                                                                    \
    EXCHANGE("hier", "dispatch", T, ",\"layer\":0,\"matrix_hash\":" HASH(digit))                   \
    EXCHANGE("hier", "total", T, ",\"layer\":0")
    compare(DISPATCH_AND_TOTAL("1"), DISPATCH_AND_TOTAL("1"), &p);
    assert_int_equal(p.c.rows, 2);
    forget(&p);
    compare(DISPATCH_AND_TOTAL("1"), DISPATCH_AND_TOTAL("2"), &p);
    assert_int_equal(p.c.rows, 0);
    assert_int_equal(p.c.unmatched_count, 4);
    forget(&p);
}

static void test_a_phase_without_time_has_no_ratio(void **state)
{
    (void)state;
    pair_t p;
    compare(ROUTED("1") EXCHANGE("padded", "metadata", TIMES("0", "0", "0"), ""),
            ROUTED("1") EXCHANGE("padded", "metadata", TIMES("0", "0", "0"), ""), &p);
    assert_int_equal(p.c.rows, 0);
    assert_int_equal(p.c.unmatched_count, 1);
    assert_non_null(strstr(p.c.unmatched[0].why, "takes no time"));
    forget(&p);
}

/* ---- Launches ---- */

static void test_several_launches_of_one_thing_are_one_row(void **state)
{
    (void)state;
    pair_t p;
    compare(SLOW ROUTED("1") EXCHANGE("exact", "total", TIMES("30", "29", "31"), ""), SLOW, &p);
    assert_int_equal(p.c.rows, 1);
    assert_int_equal(p.c.row[0].a->launches, 2);
    assert_float_equal(p.c.row[0].time_a.value, 25, 1e-12);
    assert_float_equal(p.c.row[0].time_a.low, 19.5, 1e-12); /* from the lowest to the highest end */
    assert_float_equal(p.c.row[0].time_a.high, 31, 1e-12);
    assert_int_equal(p.c.row[0].call, MOE_NO_DIFFERENCE);
    forget(&p);
}

static void test_six_launches_have_an_interval_of_their_own(void **state)
{
    (void)state;
    pair_t p;
#define L(t) ROUTED("1") EXCHANGE("exact", "total", TIMES(t, "1", "99"), "")
    compare(L("11") L("12") L("13") L("14") L("15") L("16"), L("11"), &p);
    assert_int_equal(p.c.row[0].time_a.launches, 6);
    assert_float_equal(p.c.row[0].time_a.value, 13.5, 1e-12);
    assert_float_equal(p.c.row[0].time_a.low, 11, 1e-12);
    assert_float_equal(p.c.row[0].time_a.high, 16, 1e-12);
    forget(&p);
}

/* ---- Means ---- */

#define ROW(style, phase, t, more) EXCHANGE(style, phase, TIMES(t, t, t), more)

static void test_a_geometric_mean_is_of_one_phase(void **state)
{
    (void)state;
    pair_t p;
    compare(ROUTED("1") ROW("exact", "total", "40", "") ROW("padded", "total", "10", "")
                ROW("exact", "dispatch", "8", ""),
            ROUTED("1") ROW("exact", "total", "10", "") ROW("padded", "total", "10", "")
                ROW("exact", "dispatch", "4", ""),
            &p);
    assert_int_equal(p.c.means, 2);
    assert_string_equal(p.c.mean[0].phase, "total");
    assert_true(p.c.mean[0].sound);
    assert_float_equal(p.c.mean[0].ratio.ratio, 2, 1e-12); /* sqrt(4 * 1) */
    assert_float_equal(p.c.mean[0].least, 1, 1e-12);
    assert_float_equal(p.c.mean[0].most, 4, 1e-12);
    assert_false(p.c.mean[1].sound); /* one row is no mean */
    forget(&p);
}

static void test_rows_that_contradict_each_other_and_sweeps_have_no_mean(void **state)
{
    (void)state;
    pair_t p;
    compare(ROUTED("1") ROW("exact", "total", "40", "") ROW("padded", "total", "10", ""),
            ROUTED("1") ROW("exact", "total", "10", "") ROW("padded", "total", "40", ""), &p);
    assert_int_equal(p.c.mean[0].rows, 2);
    assert_false(p.c.mean[0].sound);
    forget(&p);
#define SWEEP                                                                                      \
    RUN("")                                                                                        \
    ROW("raw", "alltoallv", "4", ",\"bytes_per_pair\":8")                                          \
    ROW("raw", "alltoallv", "4", ",\"bytes_per_pair\":16")
    compare(SWEEP, SWEEP, &p);
    assert_int_equal(p.c.rows, 2);
    assert_false(p.c.mean[0].sound);
    forget(&p);
}

static void test_the_distances_of_a_mean_add_up_as_squares(void **state)
{
    (void)state;
    pair_t p;
    compare(ROUTED("1") EXCHANGE("exact", "total", TIMES("10", "9", "11"), "")
                EXCHANGE("padded", "total", TIMES("10", "9", "11"), ""),
            ROUTED("1") ROW("exact", "total", "10", "") ROW("padded", "total", "10", ""), &p);
    const double one = log(p.c.row[0].ratio.high);
    assert_float_equal(log(p.c.mean[0].ratio.high), one / sqrt(2), 1e-12);
    forget(&p);
}

/* ---- Environment ---- */

static const moe_difference_t *difference(const moe_comparison_t *c, const char *field)
{
    for (size_t i = 0; i < c->differences; i++) {
        if (strcmp(c->difference[i].field, field) == 0)
            return &c->difference[i];
    }
    return NULL;
}

static void test_what_differs_in_the_runs_is_named(void **state)
{
    (void)state;
    pair_t p;
    compare(RUN(",\"mpi\":\"Open MPI 4\",\"env\":{\"UCX_TLS\":\"tcp\",\"NCCL_ALGO\":\"x\"}")
                ROW("exact", "total", "4", ""),
            RUN(",\"mpi\":\"MPICH 4\",\"env\":{\"UCX_TLS\":\"rc\",\"NCCL_ALGO\":\"x\"},\"gpu\":1")
                ROW("exact", "total", "4", ""),
            &p);
    assert_int_equal(p.c.differences, 3);
    assert_string_equal(json_string_value(json_array_get(difference(&p.c, "mpi")->b, 0)),
                        "MPICH 4");
    assert_non_null(difference(&p.c, "env.UCX_TLS"));
    assert_int_equal(json_array_size(difference(&p.c, "gpu")->a),
                     0); /* one that is not known yet */
    assert_int_equal(json_array_size(difference(&p.c, "gpu")->b), 1);
    forget(&p);
}

static void test_the_order_of_runs_makes_no_difference(void **state)
{
    (void)state;
    pair_t p;
#define UNDER(mpi) RUN(",\"mpi\":\"" mpi "\"") ROW("exact", "total", "4", "")
    compare(UNDER("x") UNDER("y"), UNDER("y") UNDER("x") UNDER("x"), &p);
    assert_int_equal(p.c.differences, 0);
    forget(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_the_time_is_twice_as_fast),
        cmocka_unit_test(test_the_other_order_says_the_opposite),
        cmocka_unit_test(test_intervals_that_reach_across_one_show_no_difference),
        cmocka_unit_test(test_without_an_interval_no_difference_is_shown),
        cmocka_unit_test(test_another_pattern_is_never_compared),
        cmocka_unit_test(test_a_total_is_matched_by_the_matrix_of_its_dispatch),
        cmocka_unit_test(test_a_phase_without_time_has_no_ratio),
        cmocka_unit_test(test_several_launches_of_one_thing_are_one_row),
        cmocka_unit_test(test_six_launches_have_an_interval_of_their_own),
        cmocka_unit_test(test_a_geometric_mean_is_of_one_phase),
        cmocka_unit_test(test_rows_that_contradict_each_other_and_sweeps_have_no_mean),
        cmocka_unit_test(test_the_distances_of_a_mean_add_up_as_squares),
        cmocka_unit_test(test_what_differs_in_the_runs_is_named),
        cmocka_unit_test(test_the_order_of_runs_makes_no_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
