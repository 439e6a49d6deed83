/* Rows of a device over a transport that moves host memory: what arrives, and what the device is asked
 * for. The device does a copy when it is waited for and not before, and its memory is out of reach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../common/alltoallv_case.h"
#include "../common/lazy_device.h"
#include "../common/loopback_ranks.h"

/* A rank's device, and a transport of its own before the one that is given (and stays). */
typedef struct staged {
    lazy_device_t lazy;
    moe_device_t *device;
    moe_transport_t *transport;
    moe_transport_ops_t kept; /* the inner transport's, but for destroy() */
    moe_transport_t inner;
} staged_t;

static void keep(moe_transport_t *t)
{
    (void)t;
}

static bool set_up(staged_t *s, moe_transport_t *t, bool direct)
{
    lazy_device_init(&s->lazy, !direct);
    s->device = &s->lazy.device;
    s->kept = *t->ops;
    s->kept.destroy = keep;
    s->inner = *t; /* loopback does not care for the address of its handle */
    s->inner.ops = &s->kept;
    return moe_staged_create(&s->inner, s->device, direct, &s->transport, NULL) == MOE_OK;
}

static void tear_down(staged_t *s)
{
    s->transport->ops->destroy(s->transport);
    lazy_device_end(&s->lazy);
}

/* ---- Every algorithm, every matrix ---- */

typedef struct setting {
    bool direct;
    alltoallv_case_t c;
} setting_t;

static bool exchange(moe_transport_t *t, void *context, char *text)
{
    const setting_t *setting = context;
    staged_t s;
    RANK_EXPECT(set_up(&s, t, setting->direct));
    bool right = true;
    for (size_t a = 0; right && a < moe_algorithm_count(); a++)
        right = case_run(&setting->c, moe_algorithm_at(a), s.transport, s.device, text);
    tear_down(&s);
    return right;
}

static void check(alltoallv_case_t c)
{
    static const size_t sizes[] = {1, 2, 5, 8};
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
        setting_t setting = {.direct = i % 2 == 1, .c = c};
        setting.c.ranks_per_node = i % 4;
        assert_int_equal(run_ranks(sizes[i / 2], exchange, &setting), 0);
    }
}

static void test_random_matrices_arrive(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 3; seed++)
        check((alltoallv_case_t){MATRIX_RANDOM, seed, 24, 9, 0});
}

static void test_equal_blocks_arrive(void **state)
{
    (void)state;
    check((alltoallv_case_t){MATRIX_UNIFORM, 1, 16, 7, 0});
}

static void test_no_rows_need_no_buffers(void **state)
{
    (void)state;
    check((alltoallv_case_t){MATRIX_NOTHING, 0, 16, 1, 0});
    check((alltoallv_case_t){MATRIX_NOTHING, 1, 16, 1, 0});
}

static void test_empty_and_hot_ranks_get_what_is_theirs(void **state)
{
    (void)state;
    check((alltoallv_case_t){MATRIX_EMPTY_RANK, 2, 40, 6, 0});
    check((alltoallv_case_t){MATRIX_OWN_ONLY, 3, 8, 9, 0});
    check((alltoallv_case_t){MATRIX_HOT, 4, 64, 20, 0});
}

/* ---- Messages ---- */

/* Rank 1 sends the second message only after an answer to the first: waiting for both would not end. */
static bool answer_in_between(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    staged_t s;
    RANK_EXPECT(set_up(&s, t, false));
    const moe_transport_ops_t *ops = s.transport->ops;
    moe_row_type_t row = {.bytes = 0};
    RANK_EXPECT(ops->row_type(s.transport, 1, &row, NULL) == MOE_OK);
    void *memory;
    RANK_EXPECT(s.device->ops->alloc(s.device, "rows", 3, &memory, NULL) == MOE_OK);
    char *rows = memory, host[4] = "abc";
    s.device->ops->copy(s.device, rows, t->rank == 0 ? "..c" : "ab.", 3);
    if (t->rank == 0) {
        RANK_EXPECT(ops->start_recv(s.transport, rows, 1, row, 1, NULL) == MOE_OK);
        RANK_EXPECT(ops->start_recv(s.transport, rows + 1, 1, row, 1, NULL) == MOE_OK);
        RANK_EXPECT(ops->finish_but(s.transport, 1, NULL) == MOE_OK);
        RANK_EXPECT(ops->start_send(s.transport, rows + 2, 1, row, 1, NULL) == MOE_OK);
        RANK_EXPECT(ops->finish_but(s.transport, 0, NULL) == MOE_OK);
    } else {
        RANK_EXPECT(ops->start_send(s.transport, rows, 1, row, 0, NULL) == MOE_OK);
        RANK_EXPECT(ops->start_recv(s.transport, rows + 2, 1, row, 0, NULL) == MOE_OK);
        RANK_EXPECT(ops->finish_but(s.transport, 5, NULL) == MOE_OK); /* fewer are under way */
        RANK_EXPECT(ops->finish(s.transport, NULL) == MOE_OK);
        RANK_EXPECT(ops->start_send(s.transport, rows + 1, 1, row, 0, NULL) == MOE_OK);
        RANK_EXPECT(ops->finish(s.transport, NULL) == MOE_OK);
    }
    memset(host, 0, sizeof host);
    s.device->ops->copy(s.device, host, rows, 3);
    RANK_EXPECT(s.device->ops->finish(s.device, NULL) == MOE_OK);
    RANK_EXPECT(strcmp(host, "abc") == 0);
    RANK_EXPECT(ops->start_send(s.transport, rows, 1, row, 7, NULL) == MOE_FAILED);
    RANK_EXPECT(ops->start_recv(s.transport, rows, 1, row, t->rank, NULL) == MOE_FAILED);
    s.device->ops->release(s.device, memory);
    tear_down(&s);
    return true;
}

static void test_the_latest_messages_need_not_be_waited_for(void **state)
{
    (void)state;
    assert_int_equal(run_ranks(2, answer_in_between, NULL), 0);
}

/* However many messages: what is to be sent must be there, and must have been copied. */
static bool count_finishes(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    const alltoallv_case_t c = {MATRIX_UNIFORM, 1, 8, 3, 0};
    static const struct {
        const char *algorithm;
        size_t most;
    } expected[] = {{"native", 2}, {"linear", 2}, {"pairwise", 2 * 4}};
    staged_t s;
    RANK_EXPECT(set_up(&s, t, false));
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const moe_algorithm_ops_t *algorithm;
        case_buffers_t b;
        RANK_EXPECT(moe_algorithm_find(expected[i].algorithm, &algorithm, NULL) == MOE_OK);
        RANK_EXPECT(case_create_on(&c, s.transport, s.device, &b, NULL));
        RANK_EXPECT(case_prepare(algorithm, s.transport, s.device, &b.x, NULL) == MOE_OK);
        for (int run = 0; run < 3; run++) { /* the first two get host memory */
            s.lazy.finishes = 0;
            RANK_EXPECT(algorithm->run(s.transport, s.device, &b.x, NULL) == MOE_OK);
        }
        RANK_EXPECT(s.lazy.finishes == expected[i].most);
        RANK_EXPECT(s.device->ops->finish(s.device, NULL) == MOE_OK);
        case_release(algorithm, s.transport, s.device, &b.x);
        case_destroy(&b);
    }
    tear_down(&s);
    return true;
}

static void test_the_device_is_waited_for_once_before_and_once_after_the_copies(void **state)
{
    (void)state;
    assert_int_equal(run_ranks(5, count_finishes, NULL), 0);
}

/* ---- All else ---- */

static bool sum_gradients(moe_transport_t *t, void *context, char *text)
{
    enum { FLOATS = 1001 };
    staged_t s;
    RANK_EXPECT(set_up(&s, t, *(bool *)context));
    void *memory;
    float values[FLOATS];
    for (size_t i = 0; i < FLOATS; i++)
        values[i] = (float)(t->rank * i);
    RANK_EXPECT(s.device->ops->alloc(s.device, "gradients", sizeof values, &memory, NULL) ==
                MOE_OK);
    s.device->ops->copy(s.device, memory, values, sizeof values);
    RANK_EXPECT(s.transport->ops->sum_floats(s.transport, memory, FLOATS, NULL) == MOE_OK);
    RANK_EXPECT(s.transport->ops->sum_floats(s.transport, memory, 0, NULL) == MOE_OK);
    s.device->ops->copy(s.device, values, memory, sizeof values);
    RANK_EXPECT(s.device->ops->finish(s.device, NULL) == MOE_OK);
    for (size_t i = 0; i < FLOATS; i++)
        RANK_EXPECT(values[i] == (float)(i * t->size * (t->size - 1) / 2));
    s.device->ops->release(s.device, memory);
    tear_down(&s);
    return true;
}

static void test_gradients_are_summed_in_device_memory(void **state)
{
    (void)state;
    for (int direct = 0; direct < 2; direct++)
        assert_int_equal(run_ranks(3, sum_gradients, &(bool){direct != 0}), 0);
}

static bool ask(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    staged_t s;
    RANK_EXPECT(set_up(&s, t, false));
    moe_transport_t *staged = s.transport;
    char inner[64], outer[64];
    t->ops->version(t, inner, sizeof inner);
    staged->ops->version(staged, outer, sizeof outer);
    RANK_EXPECT(strcmp(inner, outer) == 0 && strcmp(staged->ops->name, t->ops->name) == 0);
    RANK_EXPECT((staged->ops->start_alltoallv == NULL) == (t->ops->start_alltoallv == NULL));
    const size_t count[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    size_t sizes[8], got[8], largest = t->rank, all[8], node = 9, nodes = 9;
    for (size_t rank = 0; rank < t->size; rank++)
        sizes[rank] = 10 * t->rank + rank;
    RANK_EXPECT(staged->ops->alltoall_sizes(staged, sizes, count, got, count, NULL) == MOE_OK);
    RANK_EXPECT(staged->ops->max_size(staged, &largest, NULL) == MOE_OK && largest == t->size - 1);
    RANK_EXPECT(staged->ops->allgather(staged, &t->rank, sizeof t->rank, all, NULL) == MOE_OK);
    for (size_t rank = 0; rank < t->size; rank++)
        RANK_EXPECT(got[rank] == 10 * rank + t->rank && all[rank] == rank);
    RANK_EXPECT(staged->ops->nodes(staged, &node, &nodes, NULL) == MOE_OK && nodes == 1);
    s.lazy.finishes = 0;
    RANK_EXPECT(staged->ops->barrier(staged, NULL) == MOE_OK && s.lazy.finishes == 1);
    tear_down(&s);
    return true;
}

static void test_what_is_no_row_is_passed_on(void **state)
{
    (void)state;
    assert_int_equal(run_ranks(4, ask, NULL), 0);
}

static bool split_by_parity(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    const alltoallv_case_t c = {MATRIX_RANDOM, 3, 12, 5, 0};
    const moe_algorithm_ops_t *linear;
    staged_t s;
    moe_transport_t *half;
    RANK_EXPECT(set_up(&s, t, false));
    RANK_EXPECT(s.transport->ops->split(s.transport, (int)(t->rank % 2), &half, NULL) == MOE_OK);
    RANK_EXPECT(half->size == (t->size + 1 - t->rank % 2) / 2 && half->rank == t->rank / 2);
    RANK_EXPECT(moe_algorithm_find("linear", &linear, NULL) == MOE_OK);
    const bool right = case_run(&c, linear, half, s.device, text);
    half->ops->destroy(half);
    tear_down(&s);
    return right;
}

static void test_groups_are_staged_too(void **state)
{
    (void)state;
    assert_int_equal(run_ranks(5, split_by_parity, NULL), 0);
}

static bool run_unprepared(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    staged_t s;
    moe_error_t error = {.status = MOE_OK};
    const moe_alltoallv_t x = {.row = {.bytes = 1}};
    RANK_EXPECT(set_up(&s, t, false));
    RANK_EXPECT(s.transport->ops->alltoallv(s.transport, &x, &error) == MOE_FAILED);
    RANK_EXPECT(strstr(error.text, "before prepare_alltoallv") != NULL);
    tear_down(&s);
    return true;
}

static void test_an_exchange_that_was_not_prepared_is_refused(void **state)
{
    (void)state;
    assert_int_equal(run_ranks(1, run_unprepared, NULL), 0);
}

#ifndef MOE_HAVE_NCCL
static void test_a_build_without_nccl_says_how_to_get_it(void **state)
{
    (void)state;
    const moe_nccl_spec_t spec = {.timeout_seconds = 1};
    moe_transport_t *none = NULL, nobody = {.size = 1};
    moe_error_t error = {.status = MOE_OK};
    char version[16] = "x";
    assert_false(moe_nccl_built_in());
    assert_int_equal(moe_nccl_create(&spec, &nobody, &none, &error), MOE_BAD_INPUT);
    assert_null(none);
    assert_non_null(strstr(error.text, "built without NCCL"));
    assert_non_null(strstr(error.text, "--transport mpi"));
    moe_nccl_version(version, sizeof version);
    assert_string_equal(version, "");
    assert_null(moe_nccl_facts(&nobody));
}
#else
static void test_a_build_with_nccl_says_so(void **state)
{
    (void)state;
    char version[16] = "";
    assert_true(moe_nccl_built_in());
    moe_nccl_version(version, sizeof version);
    assert_string_not_equal(version, "");
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_matrices_arrive),
        cmocka_unit_test(test_equal_blocks_arrive),
        cmocka_unit_test(test_no_rows_need_no_buffers),
        cmocka_unit_test(test_empty_and_hot_ranks_get_what_is_theirs),
        cmocka_unit_test(test_the_latest_messages_need_not_be_waited_for),
        cmocka_unit_test(test_the_device_is_waited_for_once_before_and_once_after_the_copies),
        cmocka_unit_test(test_gradients_are_summed_in_device_memory),
        cmocka_unit_test(test_what_is_no_row_is_passed_on),
        cmocka_unit_test(test_groups_are_staged_too),
        cmocka_unit_test(test_an_exchange_that_was_not_prepared_is_refused),
#ifndef MOE_HAVE_NCCL
        cmocka_unit_test(test_a_build_without_nccl_says_how_to_get_it),
#else
        cmocka_unit_test(test_a_build_with_nccl_says_so),
#endif
    };
    return cmocka_run_group_tests_name("staged", tests, NULL, NULL);
}
