/* The sizes that a group agrees on, and bandwidths. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "world.h"

#define NEAR 1e-12

static void assert_near(double value, double expected)
{
    assert_true(fabs(value - expected) <= NEAR * (1 + fabs(expected)));
}

/* ---- Sizes ---- */

static void test_sizes_are_those_of_the_fullest_rank(void **state)
{
    (void)state;
    const world_spec_t spec = {.experts = 8,
                               .top_k = 2,
                               .ranks = 3,
                               .tokens = 20,
                               .fuller_rank = 2,
                               .empty_rank = 3,
                               .capacity = {.factor = 1.25, .min = 4},
                               .seed = 3};
    world_t w;
    moe_sizes_t sizes;
    world_create(&w, &spec);
    moe_sizes_of(&w.workload, 17, &sizes);
    assert_ptr_equal(sizes.placement, &w.placement);
    assert_int_equal(sizes.top_k, 2);
    assert_int_equal(sizes.tokens_max, 30);
    assert_int_equal(sizes.slots, 10); /* ceil(30 * 2 / 8 * 1.25) = ceil(9.375) */
    assert_int_equal(sizes.count_max, 17);
    w.workload.capacity.factor = 0;
    moe_sizes_of(&w.workload, 0, &sizes);
    assert_int_equal(sizes.slots, 0);
    world_destroy(&w);
}

/* ---- Bandwidths ---- */

static void test_a_uniform_exchange_has_the_bandwidths_of_the_benchmarks(void **state)
{
    /* S bytes a rank over P ranks in t: S/t, and S/t * (P-1)/P. */
    (void)state;
    enum { P = 4, ROWS = 10, ROW_BYTES = 100 };
    size_t rows[P] = {ROWS, ROWS, ROWS, ROWS}, tokens[P] = {ROWS, ROWS, ROWS, ROWS};
    const moe_sent_t sent = {.rows = rows, .tokens = tokens};
    moe_flow_t flow;
    assert_int_equal(moe_flow_create(P, P, ROW_BYTES, &flow, NULL), MOE_OK);
    for (size_t r = 0; r < P; r++)
        moe_flow_add(&flow, r, &sent, P * ROWS, false);
    const double s = P * ROWS * ROW_BYTES, t = 2e-6;
    assert_near(moe_flow_algbw(&flow, t), s / t);
    assert_near(moe_flow_busbw(&flow, t), s / t * (P - 1) / P);
    moe_flow_destroy(&flow);
}

static void test_the_busiest_port_makes_the_bandwidth(void **state)
{
    /* Rank 0 sends 30 rows to rank 1 and keeps 5; rank 1 sends 2. */
    (void)state;
    size_t rows[2][2] = {{5, 30}, {2, 0}};
    moe_flow_t flow;
    assert_int_equal(moe_flow_create(2, 1, 10, &flow, NULL), MOE_OK);
    for (size_t r = 0; r < 2; r++) {
        const moe_sent_t sent = {.rows = rows[r], .tokens = rows[r]};
        moe_flow_add(&flow, r, &sent, rows[r][0] + rows[r][1], false);
    }
    assert_near(moe_flow_algbw(&flow, 0.5), 600); /* 30 rows arrive on rank 1 */
    assert_near(moe_flow_busbw(&flow, 0.5), 600);
    moe_flow_destroy(&flow);
}

static void test_no_time_is_no_bandwidth(void **state)
{
    (void)state;
    size_t rows[1] = {7};
    const moe_sent_t sent = {.rows = rows, .tokens = rows};
    moe_flow_t flow;
    assert_int_equal(moe_flow_create(1, 1, 10, &flow, NULL), MOE_OK);
    moe_flow_add(&flow, 0, &sent, 7, false);
    assert_true(moe_flow_algbw(&flow, 0) == 0 && moe_flow_busbw(&flow, 0) == 0);
    assert_true(moe_flow_algbw(&flow, -1) == 0 && moe_flow_busbw(&flow, NAN) == 0);
    assert_near(moe_flow_algbw(&flow, 1), 70);
    assert_near(moe_flow_busbw(&flow, 1), 0); /* alone: nothing goes over a port */
    moe_flow_destroy(&flow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_are_those_of_the_fullest_rank),
        cmocka_unit_test(test_a_uniform_exchange_has_the_bandwidths_of_the_benchmarks),
        cmocka_unit_test(test_the_busiest_port_makes_the_bandwidth),
        cmocka_unit_test(test_no_time_is_no_bandwidth),
    };
    return cmocka_run_group_tests_name("traffic", tests, NULL, NULL);
}
