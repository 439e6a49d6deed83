/* Every algorithm moves every byte of every matrix to its place, on any number of ranks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../common/alltoallv_case.h"
#include "../common/loopback_ranks.h"

/* One rank; primes and others; more than a ring of neighbours. */
static const size_t sizes[] = {1, 2, 3, 5, 8};

typedef struct setting {
    const moe_algorithm_ops_t *algorithm;
    alltoallv_case_t c;
} setting_t;

static bool exchange(moe_transport_t *t, void *context, char *text)
{
    const setting_t *setting = context;
    moe_device_t device = case_device();
    return case_run(&setting->c, setting->algorithm, t, &device, text);
}

static void check_all(matrix_t matrix, size_t row_bytes, size_t max_rows, unsigned seeds)
{
    for (size_t a = 0; a < moe_algorithm_count(); a++) {
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            for (unsigned seed = 0; seed < seeds; seed++) {
                setting_t setting = {.algorithm = moe_algorithm_at(a),
                                     .c = {.matrix = matrix,
                                           .seed = seed,
                                           .row_bytes = row_bytes,
                                           .max_rows = max_rows}};
                assert_int_equal(run_ranks(sizes[s], exchange, &setting), 0);
            }
        }
    }
}

static void test_random_matrices_with_empty_blocks_arrive(void **state)
{
    (void)state;
    check_all(MATRIX_RANDOM, 24, 9, 8);
}

static void test_rows_of_one_byte_arrive(void **state)
{
    (void)state;
    check_all(MATRIX_RANDOM, 1, 5, 2);
}

static void test_rows_of_a_real_token_arrive(void **state)
{
    (void)state;
    check_all(MATRIX_RANDOM, 4096, 12, 1);
}

static void test_equal_blocks_arrive(void **state)
{
    (void)state;
    check_all(MATRIX_UNIFORM, 16, 7, 1);
}

static void test_no_rows_need_no_buffers(void **state)
{
    (void)state;
    check_all(MATRIX_NOTHING, 16, 1, 2);
}

static void test_a_rank_without_rows_does_not_hold_up_the_others(void **state)
{
    (void)state;
    check_all(MATRIX_EMPTY_RANK, 40, 6, 2);
}

static void test_rows_that_stay_on_their_rank_are_copied(void **state)
{
    (void)state;
    check_all(MATRIX_OWN_ONLY, 8, 9, 2);
}

static void test_one_hot_rank_receives_all(void **state)
{
    (void)state;
    check_all(MATRIX_HOT, 64, 20, 1);
}

/* Several layers are prepared at once, and run in turn. */
static bool exchange_two_in_turn(moe_transport_t *t, void *context, char *text)
{
    const moe_algorithm_ops_t *algorithm = context;
    const alltoallv_case_t c[2] = {{MATRIX_RANDOM, 5, 8, 6}, {MATRIX_UNIFORM, 6, 32, 3}};
    case_buffers_t b[2];
    moe_device_t device = case_device();
    bool right = true;
    for (size_t i = 0; i < 2; i++) {
        RANK_EXPECT(case_create(&c[i], t, &b[i], NULL));
        RANK_EXPECT(algorithm->prepare == NULL || algorithm->prepare(t, &b[i].x, NULL) == MOE_OK);
    }
    for (size_t run = 0; right && run < 6; run++) {
        const size_t i = run % 2;
        memset(b[i].recv, CASE_POISON, b[i].recv_bytes);
        right = algorithm->run(t, &device, &b[i].x, NULL) == MOE_OK &&
                case_arrived(&c[i], t, &b[i], text);
    }
    case_destroy(&b[0]);
    case_destroy(&b[1]);
    return right;
}

static void test_two_prepared_exchanges_run_in_turn(void **state)
{
    (void)state;
    for (size_t a = 0; a < moe_algorithm_count(); a++)
        assert_int_equal(run_ranks(4, exchange_two_in_turn, (void *)moe_algorithm_at(a)), 0);
}

/* ---- Order of messages: what makes an algorithm itself and not another that also arrives ---- */

#define TRACE_RANKS 5
#define TRACE_LONG  32

/* A transport that only writes down what rank 1 starts: "r0" a receive from 0, "s2", "f" a finish. */
typedef struct trace {
    char text[TRACE_LONG * 4];
} trace_t;

static void trace_add(moe_transport_t *t, const char *what, size_t peer)
{
    trace_t *trace = t->state;
    const size_t used = strlen(trace->text);
    if (*what == 'f')
        snprintf(trace->text + used, sizeof trace->text - used, "f ");
    else
        snprintf(trace->text + used, sizeof trace->text - used, "%s%zu ", what, peer);
}

static moe_status_t trace_send(moe_transport_t *t, const void *rows, size_t count,
                               moe_row_type_t row, size_t to, moe_error_t *error)
{
    (void)rows, (void)count, (void)row, (void)error;
    trace_add(t, "s", to);
    return MOE_OK;
}

static moe_status_t trace_recv(moe_transport_t *t, void *rows, size_t count, moe_row_type_t row,
                               size_t from, moe_error_t *error)
{
    (void)rows, (void)count, (void)row, (void)error;
    trace_add(t, "r", from);
    return MOE_OK;
}

static moe_status_t trace_finish(moe_transport_t *t, moe_error_t *error)
{
    (void)error;
    trace_add(t, "f", 0);
    return MOE_OK;
}

static void check_trace(const char *name, const char *expected)
{
    const moe_transport_ops_t ops = {
        .start_send = trace_send, .start_recv = trace_recv, .finish = trace_finish};
    trace_t trace = {.text = ""};
    moe_transport_t t = {.ops = &ops, .rank = 1, .size = TRACE_RANKS, .state = &trace};
    moe_device_t device = case_device();
    /* Rank 1 sends nothing to rank 3 and receives nothing from rank 4. */
    const size_t send_rows[TRACE_RANKS] = {1, 1, 1, 0, 1}, recv_rows[TRACE_RANKS] = {1, 1, 1, 1, 0};
    const size_t first[TRACE_RANKS] = {0, 1, 2, 3, 4};
    const char send[TRACE_RANKS] = {0, 42, 0, 0, 0};
    char recv[TRACE_RANKS] = {0};
    const moe_alltoallv_t x = {.row = {.bytes = 1},
                               .send = send,
                               .send_rows = send_rows,
                               .send_first = first,
                               .recv = recv,
                               .recv_rows = recv_rows,
                               .recv_first = first};
    const moe_algorithm_ops_t *algorithm;
    assert_int_equal(moe_algorithm_find(name, &algorithm, NULL), MOE_OK);
    assert_int_equal(algorithm->run(&t, &device, &x, NULL), MOE_OK);
    assert_string_equal(trace.text, expected);
    assert_int_equal(recv[1], 42);
}

static void test_linear_starts_all_from_the_next_rank_on_and_skips_empty_blocks(void **state)
{
    (void)state;
    check_trace("linear", "r0 r3 r2 s2 s4 s0 f ");
}

static void test_pairwise_ends_each_step_before_the_next(void **state)
{
    (void)state;
    check_trace("pairwise", "r0 s2 f f r3 s4 f r2 s0 f ");
}

/* ---- Registry ---- */

static void test_algorithms_are_found_by_name(void **state)
{
    (void)state;
    static const char *const names[] = {"native", "linear", "pairwise"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const moe_algorithm_ops_t *found = NULL;
        assert_int_equal(moe_algorithm_find(names[i], &found, NULL), MOE_OK);
        assert_string_equal(found->name, names[i]);
        assert_true(strlen(found->summary) > 0 && strlen(found->source) > 0);
    }
    assert_string_equal(moe_algorithm_at(0)->name, "native");
}

static void test_an_unknown_algorithm_is_refused_with_the_nearest(void **state)
{
    (void)state;
    moe_error_t error = {.status = MOE_OK};
    const moe_algorithm_ops_t *found = NULL;
    assert_int_equal(moe_algorithm_find("parwise", &found, &error), MOE_BAD_INPUT);
    assert_null(found);
    assert_non_null(strstr(error.text, "'parwise'"));
    assert_non_null(strstr(error.text, "did you mean 'pairwise'"));
    assert_non_null(strstr(error.text, "native, linear, pairwise"));
    assert_int_equal(moe_algorithm_find("", &found, &error), MOE_BAD_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_matrices_with_empty_blocks_arrive),
        cmocka_unit_test(test_rows_of_one_byte_arrive),
        cmocka_unit_test(test_rows_of_a_real_token_arrive),
        cmocka_unit_test(test_equal_blocks_arrive),
        cmocka_unit_test(test_no_rows_need_no_buffers),
        cmocka_unit_test(test_a_rank_without_rows_does_not_hold_up_the_others),
        cmocka_unit_test(test_rows_that_stay_on_their_rank_are_copied),
        cmocka_unit_test(test_one_hot_rank_receives_all),
        cmocka_unit_test(test_two_prepared_exchanges_run_in_turn),
        cmocka_unit_test(test_linear_starts_all_from_the_next_rank_on_and_skips_empty_blocks),
        cmocka_unit_test(test_pairwise_ends_each_step_before_the_next),
        cmocka_unit_test(test_algorithms_are_found_by_name),
        cmocka_unit_test(test_an_unknown_algorithm_is_refused_with_the_nearest),
    };
    return cmocka_run_group_tests_name("exchange", tests, NULL, NULL);
}
