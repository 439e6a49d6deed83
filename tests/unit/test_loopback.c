/* The transport of one process: what it delivers and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "../common/loopback_ranks.h"

/* ---- Control ---- */

static bool collect(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    const size_t mine[2] = {t->rank, 100 + t->rank};
    size_t all[16][2], word = t->rank == t->size - 1 ? 77 : 0;
    RANK_EXPECT(t->ops->allgather(t, mine, sizeof mine, all, NULL) == MOE_OK);
    for (size_t rank = 0; rank < t->size; rank++)
        RANK_EXPECT(all[rank][0] == rank && all[rank][1] == 100 + rank);
    RANK_EXPECT(t->ops->broadcast(t, &word, sizeof word, t->size - 1, NULL) == MOE_OK);
    RANK_EXPECT(word == 77);
    RANK_EXPECT(t->ops->allgather(t, NULL, 0, NULL, NULL) == MOE_OK);
    return true;
}

static void test_gather_and_broadcast_reach_all(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 8; size++)
        assert_int_equal(run_ranks(size, collect, NULL), 0);
}

/* A word goes round the ring, and neighbours in pairs swap words at the same time. */
static bool pass_words(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    const size_t next = (t->rank + 1) % t->size, before = (t->rank + t->size - 1) % t->size;
    size_t word = 5, swapped = 0;
    if (t->rank > 0) {
        RANK_EXPECT(t->ops->exchange_bytes(t, before, NULL, &word, sizeof word, NULL) == MOE_OK);
    }
    RANK_EXPECT(word == 5 + t->rank);
    word++;
    if (next > 0) {
        RANK_EXPECT(t->ops->exchange_bytes(t, next, &word, NULL, sizeof word, NULL) == MOE_OK);
    }
    const size_t peer = t->rank ^ 1;
    if (peer < t->size) {
        RANK_EXPECT(t->ops->exchange_bytes(t, peer, &word, &swapped, sizeof word, NULL) == MOE_OK);
        RANK_EXPECT(swapped == 6 + peer);
    }
    RANK_EXPECT(t->ops->exchange_bytes(t, t->rank, &word, NULL, sizeof word, NULL) == MOE_FAILED);
    return true;
}

static void test_two_ranks_exchange_bytes_one_way_or_both(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 5; size++)
        assert_int_equal(run_ranks(size, pass_words, NULL), 0);
}

/* Rank r gives peer p (r + p) % 3 numbers, each r * 100 + p. */
static bool exchange_counts(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    size_t send[64], send_count[16], recv[64], recv_count[16], sent = 0, at = 0;
    for (size_t peer = 0; peer < t->size; peer++) {
        send_count[peer] = recv_count[peer] = (t->rank + peer) % 3;
        for (size_t i = 0; i < send_count[peer]; i++)
            send[sent++] = t->rank * 100 + peer;
    }
    RANK_EXPECT(t->ops->alltoall_sizes(t, send, send_count, recv, recv_count, NULL) == MOE_OK);
    for (size_t peer = 0; peer < t->size; peer++) {
        for (size_t i = 0; i < recv_count[peer]; i++)
            RANK_EXPECT(recv[at++] == peer * 100 + t->rank);
    }
    return true;
}

static void test_counts_go_to_their_peers(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 8; size++)
        assert_int_equal(run_ranks(size, exchange_counts, NULL), 0);
}

static bool reduce_all(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    const size_t p = t->size;
    size_t s[3] = {t->rank, SIZE_MAX - t->rank, 5};
    RANK_EXPECT(t->ops->reduce_sizes(t, s, 3, MOE_MAX, NULL) == MOE_OK);
    RANK_EXPECT(s[0] == p - 1 && s[1] == SIZE_MAX && s[2] == 5);
    s[0] = t->rank + 1;
    RANK_EXPECT(t->ops->reduce_sizes(t, s, 1, MOE_SUM, NULL) == MOE_OK && s[0] == p * (p + 1) / 2);
    double d[2] = {-(double)t->rank, 0.5};
    RANK_EXPECT(t->ops->reduce_doubles(t, d, 2, MOE_MIN, NULL) == MOE_OK);
    RANK_EXPECT(d[0] == -(double)(p - 1) && d[1] == 0.5);
    float f[37];
    for (size_t i = 0; i < 37; i++)
        f[i] = (float)(t->rank * i);
    RANK_EXPECT(t->ops->sum_floats(t, f, 37, NULL) == MOE_OK);
    for (size_t i = 0; i < 37; i++)
        RANK_EXPECT(f[i] == (float)(i * p * (p - 1) / 2));
    RANK_EXPECT(t->ops->sum_floats(t, NULL, 0, NULL) == MOE_OK);
    return true;
}

static void test_reductions_give_every_rank_the_same(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 8; size++)
        assert_int_equal(run_ranks(size, reduce_all, NULL), 0);
}

/* Nobody passes a barrier before the last has come: a plain counter is enough to see it. */
typedef struct counter {
    pthread_mutex_t lock;
    size_t count;
} counter_t;

static size_t count_up(counter_t *counter, size_t by)
{
    pthread_mutex_lock(&counter->lock);
    counter->count += by;
    const size_t count = counter->count;
    pthread_mutex_unlock(&counter->lock);
    return count;
}

static bool pass_barriers(moe_transport_t *t, void *context, char *text)
{
    for (size_t round = 1; round <= 20; round++) {
        count_up(context, 1);
        RANK_EXPECT(t->ops->barrier(t, NULL) == MOE_OK);
        RANK_EXPECT(count_up(context, 0) >= round * t->size);
        RANK_EXPECT(t->ops->barrier(t, NULL) == MOE_OK);
    }
    return true;
}

static void test_nobody_passes_a_barrier_before_the_last(void **state)
{
    (void)state;
    counter_t counter = {.lock = PTHREAD_MUTEX_INITIALIZER};
    assert_int_equal(run_ranks(7, pass_barriers, &counter), 0);
}

/* ---- Messages ---- */

/* Many messages of several sizes each way; receives are started before or after the sends. */
static bool talk(moe_transport_t *t, void *context, char *text)
{
    const bool receive_first = *(const bool *)context ? t->rank % 2 == 0 : t->rank == 0;
    enum { MESSAGES = 10 };
    char out[8][MESSAGES][16], in[8][MESSAGES][16];
    for (int side = 0; side < 2; side++) {
        const bool receive = (side == 0) == receive_first;
        for (size_t step = 1; step < t->size; step++) {
            const size_t peer = (t->rank + step) % t->size;
            for (size_t i = 0; i < MESSAGES; i++) {
                memset(out[peer][i], (int)(t->rank * 16 + i), sizeof out[peer][i]);
                RANK_EXPECT((receive ? t->ops->start_recv(t, in[peer][i], 1 + i % 4, row_of(t, 4),
                                                          peer, NULL)
                                     : t->ops->start_send(t, out[peer][i], 1 + i % 4, row_of(t, 4),
                                                          peer, NULL)) == MOE_OK);
            }
        }
    }
    RANK_EXPECT(t->ops->finish(t, NULL) == MOE_OK);
    for (size_t peer = 0; peer < t->size; peer++) {
        for (size_t i = 0; peer != t->rank && i < MESSAGES; i++)
            RANK_EXPECT(in[peer][i][0] == (char)(peer * 16 + i) &&
                        in[peer][i][4 * (1 + i % 4) - 1] == (char)(peer * 16 + i));
    }
    return true;
}

static void test_messages_arrive_in_the_order_of_their_starts(void **state)
{
    (void)state;
    for (size_t size = 2; size <= 8; size += 3) {
        for (int mixed = 0; mixed < 2; mixed++)
            assert_int_equal(run_ranks(size, talk, &(bool){mixed != 0}), 0);
    }
}

/* Rank 1 sends the second message only after an answer to the first: waiting for both would not end. */
static bool answer_in_between(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    char first = 0, second = 0, answer = 0;
    const moe_row_type_t row = row_of(t, 1);
    if (t->rank == 0) {
        answer = 3;
        RANK_EXPECT(t->ops->start_recv(t, &first, 1, row, 1, NULL) == MOE_OK);
        RANK_EXPECT(t->ops->start_recv(t, &second, 1, row, 1, NULL) == MOE_OK);
        RANK_EXPECT(t->ops->finish_but(t, 1, NULL) == MOE_OK);
        RANK_EXPECT(first == 1);
        RANK_EXPECT(t->ops->start_send(t, &answer, 1, row, 1, NULL) == MOE_OK);
        RANK_EXPECT(t->ops->finish_but(t, 0, NULL) == MOE_OK);
        RANK_EXPECT(second == 2);
    } else {
        first = 1, second = 2;
        RANK_EXPECT(t->ops->start_send(t, &first, 1, row, 0, NULL) == MOE_OK);
        RANK_EXPECT(t->ops->start_recv(t, &answer, 1, row, 0, NULL) == MOE_OK);
        RANK_EXPECT(t->ops->finish_but(t, 5, NULL) == MOE_OK); /* fewer are under way */
        RANK_EXPECT(t->ops->finish(t, NULL) == MOE_OK);
        RANK_EXPECT(answer == 3);
        RANK_EXPECT(t->ops->start_send(t, &second, 1, row, 0, NULL) == MOE_OK);
        RANK_EXPECT(t->ops->finish(t, NULL) == MOE_OK);
    }
    return true;
}

static void test_the_latest_messages_need_not_be_waited_for(void **state)
{
    (void)state;
    assert_int_equal(run_ranks(2, answer_in_between, NULL), 0);
}

/* A receiver that expects another size than is sent: both sides hear of it. */
static bool disagree(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    char rows[8] = {0};
    moe_error_t error = {.status = MOE_OK};
    moe_status_t status = t->rank == 0 ? t->ops->start_send(t, rows, 2, row_of(t, 4), 1, &error)
                                       : t->ops->start_recv(t, rows, 1, row_of(t, 4), 0, &error);
    if (status == MOE_OK)
        status = t->ops->finish(t, &error);
    RANK_EXPECT(status == MOE_FAILED);
    RANK_EXPECT(strstr(error.text, t->rank == 0 ? "sends 8 bytes, rank 1 expects 4"
                                                : "expects 4 bytes, rank 0 sends 8") != NULL);
    return true;
}

static void test_a_lost_row_is_seen_by_both_sides(void **state)
{
    (void)state;
    assert_int_equal(run_ranks(2, disagree, NULL), 0);
}

static bool send_to_nobody(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    char row = 0;
    RANK_EXPECT(t->ops->start_send(t, &row, 1, row_of(t, 1), t->size, NULL) == MOE_FAILED);
    RANK_EXPECT(t->ops->start_recv(t, &row, 1, row_of(t, 1), t->rank, NULL) == MOE_FAILED);
    RANK_EXPECT(t->ops->finish(t, NULL) == MOE_OK);
    return true;
}

static void test_messages_to_nobody_or_oneself_are_refused(void **state)
{
    (void)state;
    assert_int_equal(run_ranks(2, send_to_nobody, NULL), 0);
}

/* ---- All-to-all-v: what MPI would let pass ---- */

static bool exchange_wrongly(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    const size_t out[2] = {1, 1}, in[2] = {1, t->rank == 0 ? 2 : 1}, first[2] = {0, 1};
    char send[2] = {0}, recv[3] = {0};
    moe_error_t error = {.status = MOE_OK};
    const moe_alltoallv_t x = {.row = row_of(t, 1),
                               .send = send,
                               .send_rows = out,
                               .send_first = first,
                               .recv = recv,
                               .recv_rows = in,
                               .recv_first = first};
    const moe_status_t status = t->ops->alltoallv(t, &x, &error);
    RANK_EXPECT(status == (t->rank == 0 ? MOE_FAILED : MOE_OK));
    RANK_EXPECT(t->rank != 0 || strstr(error.text, "rank 1 sends 1 rows") != NULL);
    return true;
}

static void test_blocks_that_do_not_fit_each_other_are_refused(void **state)
{
    (void)state;
    assert_int_equal(run_ranks(2, exchange_wrongly, NULL), 0);
}

static bool prepare_wrongly(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    const size_t equal[2] = {3, 3}, unequal[2] = {3, 4}, first[2] = {0, 3}, apart[2] = {0, 5};
    moe_alltoallv_t x = {.row = row_of(t, 1),
                         .send_rows = equal,
                         .send_first = first,
                         .recv_rows = equal,
                         .recv_first = first,
                         .uniform = true};
    RANK_EXPECT(t->ops->prepare_alltoallv(t, &x, NULL) == MOE_OK);
    x.recv_first = apart;
    RANK_EXPECT(t->ops->prepare_alltoallv(t, &x, NULL) == MOE_FAILED);
    x.uniform = false;
    RANK_EXPECT(t->ops->prepare_alltoallv(t, &x, NULL) == MOE_OK);
    x.send_rows = unequal;
    RANK_EXPECT(t->ops->prepare_alltoallv(t, &x, NULL) == (t->rank == 0 ? MOE_OK : MOE_FAILED));
    return true;
}

static void test_blocks_called_uniform_must_be(void **state)
{
    (void)state;
    assert_int_equal(run_ranks(2, prepare_wrongly, NULL), 0);
}

/* ---- Groups ---- */

static bool split_by_parity(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    moe_transport_t *half = NULL, *quarter = NULL;
    RANK_EXPECT(t->ops->split(t, (int)(t->rank % 2), &half, NULL) == MOE_OK);
    RANK_EXPECT(half->size == (t->size + 1 - t->rank % 2) / 2 && half->rank == t->rank / 2);
    size_t sum = t->rank;
    RANK_EXPECT(half->ops->reduce_sizes(half, &sum, 1, MOE_SUM, NULL) == MOE_OK);
    size_t expected = 0;
    for (size_t rank = t->rank % 2; rank < t->size; rank += 2)
        expected += rank;
    RANK_EXPECT(sum == expected);
    RANK_EXPECT(half->ops->split(half, (int)(half->rank / 2), &quarter, NULL) == MOE_OK);
    RANK_EXPECT(quarter->size <= 2 && quarter->rank == half->rank % 2);
    half->ops->destroy(half);
    RANK_EXPECT(quarter->ops->barrier(quarter, NULL) == MOE_OK);
    RANK_EXPECT(t->ops->barrier(t, NULL) == MOE_OK);
    quarter->ops->destroy(quarter);
    return true;
}

static void test_groups_split_and_outlive_their_parents(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 8; size++)
        assert_int_equal(run_ranks(size, split_by_parity, NULL), 0);
}

static bool ask_about(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    size_t node = 9, nodes = 9;
    char version[64] = "";
    RANK_EXPECT(t->ops->nodes(t, &node, &nodes, NULL) == MOE_OK && node == 0 && nodes == 1);
    t->ops->version(t, version, sizeof version);
    RANK_EXPECT(strstr(version, "loopback") != NULL && strchr(version, '\n') == NULL);
    moe_row_type_t row;
    RANK_EXPECT(t->ops->row_type(t, 0, &row, NULL) == MOE_BAD_INPUT);
    return true;
}

static void test_all_ranks_are_on_one_node(void **state)
{
    (void)state;
    assert_int_equal(run_ranks(3, ask_about, NULL), 0);
}

static void test_a_group_of_nobody_is_refused(void **state)
{
    (void)state;
    moe_transport_t *none = NULL;
    moe_error_t error = {.status = MOE_OK};
    assert_int_equal(moe_loopback_create(0, &none, &error), MOE_BAD_INPUT);
    assert_int_equal(moe_loopback_create(SIZE_MAX / 8, &none, &error), MOE_BAD_INPUT);
    assert_null(none);
}

#ifndef MOE_HAVE_MPI
static void test_a_build_without_mpi_says_how_to_get_it(void **state)
{
    (void)state;
    moe_transport_t *none = NULL;
    moe_error_t error = {.status = MOE_OK};
    int argc = 0;
    char **argv = NULL;
    assert_false(moe_mpi_built_in());
    assert_int_equal(moe_mpi_create(&argc, &argv, &none, &error), MOE_BAD_INPUT);
    assert_null(none);
    assert_non_null(strstr(error.text, "built without MPI"));
    assert_non_null(strstr(error.text, "apt-get install"));
}
#else
static void test_a_build_with_mpi_says_so(void **state)
{
    (void)state;
    assert_true(moe_mpi_built_in());
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gather_and_broadcast_reach_all),
        cmocka_unit_test(test_two_ranks_exchange_bytes_one_way_or_both),
        cmocka_unit_test(test_counts_go_to_their_peers),
        cmocka_unit_test(test_reductions_give_every_rank_the_same),
        cmocka_unit_test(test_nobody_passes_a_barrier_before_the_last),
        cmocka_unit_test(test_messages_arrive_in_the_order_of_their_starts),
        cmocka_unit_test(test_the_latest_messages_need_not_be_waited_for),
        cmocka_unit_test(test_a_lost_row_is_seen_by_both_sides),
        cmocka_unit_test(test_messages_to_nobody_or_oneself_are_refused),
        cmocka_unit_test(test_blocks_that_do_not_fit_each_other_are_refused),
        cmocka_unit_test(test_blocks_called_uniform_must_be),
        cmocka_unit_test(test_groups_split_and_outlive_their_parents),
        cmocka_unit_test(test_all_ranks_are_on_one_node),
        cmocka_unit_test(test_a_group_of_nobody_is_refused),
#ifndef MOE_HAVE_MPI
        cmocka_unit_test(test_a_build_without_mpi_says_how_to_get_it),
#else
        cmocka_unit_test(test_a_build_with_mpi_says_so),
#endif
    };
    return cmocka_run_group_tests_name("transport", tests, NULL, NULL);
}
