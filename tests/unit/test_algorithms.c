/* Every algorithm moves every byte of every matrix to its place, on any number of ranks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "../../src/exchange/algorithm.h"
#include "../../src/exchange/birkhoff_rails.h"
#include "../common/alltoallv_case.h"
#include "../common/loopback_ranks.h"

/* One rank; primes and others; more than a ring of neighbours. */
static const size_t sizes[] = {1, 2, 3, 4, 5, 7, 8};
/* Not known; each rank a node of its own; even nodes, and uneven ones; more than there are ranks. */
static const size_t node_sizes[] = {0, 1, 2, 3, 4, 20};
#define NODE_SIZES (sizeof node_sizes / sizeof node_sizes[0])

typedef struct setting {
    const moe_algorithm_ops_t *algorithm;
    alltoallv_case_t c;
} setting_t;

/* With all node sizes in turn. */
static bool exchange(moe_transport_t *t, void *context, char *text)
{
    setting_t setting = *(const setting_t *)context;
    moe_device_t device = case_device();
    for (size_t n = 0; n < NODE_SIZES; n++) {
        setting.c.ranks_per_node = node_sizes[n];
        if (!case_run(&setting.c, setting.algorithm, t, &device, text))
            return false;
    }
    return true;
}

static void check(const moe_algorithm_ops_t *algorithm, alltoallv_case_t c, unsigned seeds)
{
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (c.seed = 0; c.seed < seeds; c.seed++) {
            setting_t setting = {.algorithm = algorithm, .c = c};
            assert_int_equal(run_ranks(sizes[s], exchange, &setting), 0);
        }
    }
}

static void check_all(matrix_t matrix, size_t row_bytes, size_t max_rows, unsigned seeds)
{
    const alltoallv_case_t c = {.matrix = matrix, .row_bytes = row_bytes, .max_rows = max_rows};
    /* `best` runs all the others many times over: one seed is enough. */
    for (size_t a = 0; a < moe_algorithm_count(); a++)
        check(moe_algorithm_at(a), c, moe_algorithm_at(a) == &moe_algorithm_best ? 1 : seeds);
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
    const alltoallv_case_t c[2] = {{MATRIX_RANDOM, 5, 8, 6, 2}, {MATRIX_UNIFORM, 6, 32, 3, 3}};
    case_buffers_t b[2];
    moe_device_t device = case_device();
    bool right = true;
    for (size_t i = 0; i < 2; i++) {
        RANK_EXPECT(case_create(&c[i], t, &b[i], NULL));
        RANK_EXPECT(case_prepare(algorithm, t, &device, &b[i].x, NULL) == MOE_OK);
    }
    for (size_t run = 0; run < 6; run++)
        RANK_EXPECT(case_exchange(&c[run % 2], algorithm, t, &device, &b[run % 2], &right, text,
                                  NULL) == MOE_OK);
    case_release(algorithm, t, &device, &b[0].x);
    case_release(algorithm, t, &device, &b[1].x);
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

static void test_bruck_arrives_in_every_radix(void **state)
{
    (void)state;
    static const char *const names[] = {"bruck:4", "bruck:8", "bruck:16"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const moe_algorithm_ops_t *found;
        assert_int_equal(moe_algorithm_find(names[i], &found, NULL), MOE_OK);
        assert_string_equal(found->name, names[i]);
        check(found, (alltoallv_case_t){MATRIX_RANDOM, 0, 24, 9, 0}, 3);
        setting_t many = {.algorithm = found, .c = {MATRIX_RANDOM, 3, 8, 4, 0}};
        assert_int_equal(run_ranks(21, exchange, &many), 0);
    }
}

/* ---- Messages counted, or slowed down, under a real transport ---- */

typedef struct watched {
    moe_transport_t
        transport; /* first: its address is that of the whole; shares the real one's state */
    moe_transport_ops_t ops;
    const moe_transport_ops_t *real;
    size_t messages, sent_to[32];
    unsigned collective_us, message_us;
} watched_t;

static moe_status_t watched_send(moe_transport_t *t, const void *rows, size_t count,
                                 moe_row_type_t row, size_t to, moe_error_t *error)
{
    watched_t *w = (watched_t *)t;
    usleep(w->message_us);
    w->messages++;
    w->sent_to[to]++;
    return w->real->start_send(t, rows, count, row, to, error);
}

static moe_status_t watched_alltoallv(moe_transport_t *t, const moe_alltoallv_t *x,
                                      moe_error_t *error)
{
    const watched_t *w = (watched_t *)t;
    usleep(w->collective_us);
    return w->real->alltoallv(t, x, error);
}

static void watch(watched_t *w, const moe_transport_t *t)
{
    *w = (watched_t){.transport = *t, .ops = *t->ops, .real = t->ops};
    w->ops.start_send = watched_send;
    w->ops.alltoallv = watched_alltoallv;
    w->transport.ops = &w->ops;
}

typedef struct count_case {
    const char *algorithm;
    size_t most; /* messages of a rank in two runs */
} count_case_t;

static bool count_messages(moe_transport_t *t, void *context, char *text)
{
    const count_case_t *expected = context;
    const alltoallv_case_t c = {MATRIX_UNIFORM, 1, 8, 3, 0};
    const moe_algorithm_ops_t *algorithm;
    moe_device_t device = case_device();
    watched_t w;
    watch(&w, t);
    RANK_EXPECT(moe_algorithm_find(expected->algorithm, &algorithm, NULL) == MOE_OK);
    RANK_EXPECT(case_run(&c, algorithm, &w.transport, &device, text));
    RANK_EXPECT(w.messages == expected->most);
    return true;
}

static void test_bruck_sends_a_message_for_each_digit_of_the_distance(void **state)
{
    (void)state;
    /* 16 ranks: log2 16 = 4 rounds of one; log4 16 = 2 of three; pairwise: 15. Twice. */
    static const count_case_t cases[] = {
        {"bruck", 2 * 4}, {"bruck:4", 2 * 6}, {"bruck:16", 2 * 15}, {"pairwise", 2 * 15}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(run_ranks(16, count_messages, (void *)&cases[i]), 0);
}

/* Three nodes of four ranks: to each other node one message, to the same local index. */
static bool watch_rails(moe_transport_t *t, void *context, char *text)
{
    const alltoallv_case_t c = {MATRIX_UNIFORM, 1, 8, 3, 4};
    moe_device_t device = case_device();
    watched_t w;
    watch(&w, t);
    RANK_EXPECT(case_run(&c, context, &w.transport, &device, text));
    for (size_t to = 0; to < t->size; to++) {
        const bool here = to / 4 == t->rank / 4, rail = to % 4 == t->rank % 4;
        RANK_EXPECT(here || w.sent_to[to] == (rail ? 2 : 0));
    }
    return true;
}

static void test_hierarchical_crosses_between_nodes_on_rails_once(void **state)
{
    (void)state;
    assert_int_equal(run_ranks(12, watch_rails, (void *)&moe_algorithm_hierarchical), 0);
}

/* All rows of node 0 to node 1 lie on its rank 0; both of its ranks carry half of them. */
static void test_birkhoff_shares_a_ranks_rows_among_its_node(void **state)
{
    (void)state;
    const size_t matrix[16] = {[0 * 4 + 2] = 90, [0 * 4 + 3] = 11};
    const moe_node_map_t map = moe_node_map(4, 2);
    size_t flows[4];
    moe_rails_t rails;
    assert_int_equal(moe_rails_create(matrix, &map, &rails, NULL), MOE_OK);
    moe_rails_flows(&rails, flows);
    assert_int_equal(flows[0 * 2 + 1], 51);
    moe_rails_destroy(&rails);
}

/* ---- The choice ---- */

typedef struct choice {
    unsigned collective_us, message_us;
    bool native; /* must be chosen, or must not be */
} choice_t;

static bool choose(moe_transport_t *t, void *context, char *text)
{
    const choice_t *choice = context;
    const alltoallv_case_t c = {MATRIX_RANDOM, 2, 16, 5, 2};
    const moe_algorithm_ops_t *const best = &moe_algorithm_best;
    moe_device_t device = case_device();
    case_buffers_t b;
    watched_t w;
    watch(&w, t);
    w.collective_us = choice->collective_us;
    w.message_us = choice->message_us;
    RANK_EXPECT(case_create(&c, &w.transport, &b, NULL));
    RANK_EXPECT(strcmp(moe_algorithm_chosen(best, &b.x), "best") == 0);
    RANK_EXPECT(case_prepare(best, &w.transport, &device, &b.x, NULL) == MOE_OK);
    const char *chosen = moe_algorithm_chosen(best, &b.x);
    const moe_algorithm_ops_t *found;
    RANK_EXPECT(moe_algorithm_find(chosen, &found, NULL) == MOE_OK && found != best);
    RANK_EXPECT((strcmp(chosen, "native") == 0) == choice->native);
    const char *all[4];
    RANK_EXPECT(t->ops->allgather(t, &chosen, sizeof chosen, all, NULL) == MOE_OK);
    for (size_t rank = 0; rank < t->size; rank++)
        RANK_EXPECT(strcmp(all[rank], chosen) == 0);
    bool right = true;
    RANK_EXPECT(case_exchange(&c, best, &w.transport, &device, &b, &right, text, NULL) == MOE_OK);
    case_release(best, &w.transport, &device, &b.x);
    RANK_EXPECT(b.x.state == NULL && strcmp(moe_algorithm_chosen(best, &b.x), "best") == 0);
    RANK_EXPECT(strcmp(moe_algorithm_chosen(found, &b.x), found->name) == 0);
    case_destroy(&b);
    return right;
}

static void test_best_keeps_the_fastest_on_all_ranks(void **state)
{
    (void)state;
    choice_t slow_collective = {.collective_us = 20000, .native = false};
    choice_t slow_messages = {.message_us = 5000, .native = true};
    assert_int_equal(run_ranks(4, choose, &slow_collective), 0);
    assert_int_equal(run_ranks(4, choose, &slow_messages), 0);
}

/* ---- Want of memory ---- */

static moe_status_t refusing_alloc(moe_device_t *d, const char *what, size_t bytes, void **out,
                                   moe_error_t *error)
{
    (void)d, (void)out;
    return moe_fail(error, MOE_BAD_INPUT, "%s: %zu bytes do not fit memory", what, bytes);
}

/* The device of rank 1 has no memory: all ranks know, and none waits for it. */
static bool schedule_without_memory(moe_transport_t *t, void *context, char *text)
{
    const moe_algorithm_ops_t *algorithm = context;
    const alltoallv_case_t c = {MATRIX_UNIFORM, 1, 8, 3, 2};
    const moe_device_ops_t refuses = {
        .alloc = refusing_alloc, .release = case_device_release, .copy = case_device_copy};
    moe_device_t device = case_device();
    moe_error_t error = {.status = MOE_OK};
    case_buffers_t b;
    if (t->rank == 1)
        device.ops = &refuses;
    RANK_EXPECT(case_create(&c, t, &b, NULL));
    RANK_EXPECT(case_prepare(algorithm, t, &device, &b.x, NULL) == MOE_OK);
    RANK_EXPECT(algorithm->schedule(t, &b.x, &error) == MOE_BAD_INPUT && error.text[0] != '\0');
    RANK_EXPECT(algorithm->run(t, &device, &b.x, NULL) == MOE_FAILED);
    case_release(algorithm, t, &device, &b.x);
    case_destroy(&b);
    return true;
}

static void test_a_rank_without_memory_for_forwarded_rows_stops_all(void **state)
{
    (void)state;
    const moe_algorithm_ops_t *const forwarding[] = {
        &moe_algorithm_bruck, &moe_algorithm_hierarchical, &moe_algorithm_birkhoff};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(run_ranks(5, schedule_without_memory, (void *)forwarding[i]), 0);
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
    static const char *const names[] = {"native",       "linear",   "pairwise", "bruck",
                                        "hierarchical", "birkhoff", "best"};
    assert_int_equal(moe_algorithm_count(), sizeof names / sizeof names[0]);
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
        cmocka_unit_test(test_bruck_arrives_in_every_radix),
        cmocka_unit_test(test_bruck_sends_a_message_for_each_digit_of_the_distance),
        cmocka_unit_test(test_hierarchical_crosses_between_nodes_on_rails_once),
        cmocka_unit_test(test_birkhoff_shares_a_ranks_rows_among_its_node),
        cmocka_unit_test(test_best_keeps_the_fastest_on_all_ranks),
        cmocka_unit_test(test_a_rank_without_memory_for_forwarded_rows_stops_all),
        cmocka_unit_test(test_linear_starts_all_from_the_next_rank_on_and_skips_empty_blocks),
        cmocka_unit_test(test_pairwise_ends_each_step_before_the_next),
        cmocka_unit_test(test_algorithms_are_found_by_name),
        cmocka_unit_test(test_an_unknown_algorithm_is_refused_with_the_nearest),
    };
    return cmocka_run_group_tests_name("exchange", tests, NULL, NULL);
}
