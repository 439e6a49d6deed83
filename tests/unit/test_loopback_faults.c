/* The transport of one process: when ranks give up or disagree, nobody waits for ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../common/loopback_ranks.h"

/* ---- Abort: rank 0 gives up while the others wait ---- */

typedef enum place { IN_BARRIER, IN_FINISH, IN_ALLGATHER, IN_SPLIT, IN_HALF, PLACES } place_t;

static moe_status_t wait_somewhere(moe_transport_t *t, place_t place, moe_error_t *error)
{
    char all[8];
    moe_transport_t *out;
    switch (place) {
    case IN_FINISH: {
        char row;
        const moe_status_t status = t->ops->start_recv(t, &row, 1, row_of(t, 1), 0, error);
        return status == MOE_OK ? t->ops->finish(t, error) : status;
    }
    case IN_ALLGATHER:
        return t->ops->allgather(t, "x", 1, all, error);
    case IN_SPLIT:
        return t->ops->split(t, 0, &out, error);
    default:
        return t->ops->barrier(t, error);
    }
}

static bool hang_until_aborted(moe_transport_t *t, void *context, char *text)
{
    const place_t place = *(const place_t *)context;
    moe_transport_t *group = t;
    moe_error_t error = {.status = MOE_OK};
    if (place == IN_HALF)
        RANK_EXPECT(t->ops->split(t, t->rank < 2, &group, NULL) == MOE_OK);
    if (t->rank == 0) {
        usleep(20 * 1000);
        t->ops->abort(t, MOE_FAILED);
    } else if (place != IN_HALF || t->rank == 1) {
        RANK_EXPECT(wait_somewhere(group, place, &error) == MOE_FAILED);
        RANK_EXPECT(strstr(error.text, "aborted") != NULL);
    } else {
        while (group->ops->barrier(group, NULL) == MOE_OK)
            usleep(1000);
    }
    RANK_EXPECT(t->ops->barrier(t, NULL) == MOE_FAILED);
    RANK_EXPECT(t->ops->start_send(t, "x", 1, row_of(t, 1), (t->rank + 1) % t->size, NULL) ==
                MOE_FAILED);
    RANK_EXPECT(group->ops->finish(group, NULL) == MOE_FAILED);
    if (group != t)
        group->ops->destroy(group);
    return true;
}

static void test_an_abort_releases_all_who_wait(void **state)
{
    (void)state;
    for (place_t place = IN_BARRIER; place < PLACES; place++) {
        struct timespec begin, end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        assert_int_equal(run_ranks(4, hang_until_aborted, &place), 0);
        clock_gettime(CLOCK_MONOTONIC, &end);
        assert_true(end.tv_sec - begin.tv_sec < 5);
    }
}

/* Buffers are freed as soon as a call has failed: no other rank may still read or write them (seen
 * under the address sanitizer). */
static bool exchange_until_aborted(moe_transport_t *t, void *context, char *text)
{
    const bool collective = *(const bool *)context;
    enum { BYTES = 1 << 16 };
    const size_t peer = (t->rank + 1) % t->size, from = (t->rank + t->size - 1) % t->size;
    for (int round = 0;; round++) {
        char *mine = malloc(BYTES), *all = malloc(BYTES * t->size);
        memset(mine, (int)t->rank, BYTES);
        if (t->rank == 0 && round == 10)
            t->ops->abort(t, MOE_FAILED);
        moe_status_t status;
        if (collective) {
            status = t->ops->allgather(t, mine, BYTES, all, NULL);
        } else {
            status = t->ops->start_recv(t, all, BYTES, row_of(t, 1), from, NULL);
            if (status == MOE_OK)
                status = t->ops->start_send(t, mine, BYTES, row_of(t, 1), peer, NULL);
            const moe_status_t finished = t->ops->finish(t, NULL);
            status = status == MOE_OK ? finished : status;
        }
        free(mine);
        free(all);
        RANK_EXPECT(round < 1000);
        if (status != MOE_OK)
            return status == MOE_FAILED;
    }
}

static void test_buffers_may_go_once_a_call_has_failed(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++)
        assert_int_equal(run_ranks(4, exchange_until_aborted, &(bool){i % 2 == 0}), 0);
}

/* With MPI this hangs; here both hear of it. */
static bool call_different_things(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    size_t value = 1;
    const moe_status_t status =
        t->rank == 0 ? t->ops->barrier(t, NULL) : t->ops->reduce_sizes(t, &value, 1, MOE_SUM, NULL);
    RANK_EXPECT(status == MOE_FAILED);
    return true;
}

static void test_ranks_in_different_calls_are_told(void **state)
{
    (void)state;
    assert_int_equal(run_ranks(2, call_different_things, NULL), 0);
}

static bool give_different_counts(moe_transport_t *t, void *context, char *text)
{
    (void)context;
    double values[4] = {0};
    RANK_EXPECT(t->ops->reduce_doubles(t, values, 1 + t->rank, MOE_SUM, NULL) == MOE_FAILED);
    RANK_EXPECT(t->ops->broadcast(t, values, 8 * (1 + t->rank), 0, NULL) == MOE_FAILED);
    RANK_EXPECT(t->ops->barrier(t, NULL) == MOE_OK);
    return true;
}

static void test_different_counts_are_refused_on_all_ranks(void **state)
{
    (void)state;
    assert_int_equal(run_ranks(3, give_different_counts, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_abort_releases_all_who_wait),
        cmocka_unit_test(test_buffers_may_go_once_a_call_has_failed),
        cmocka_unit_test(test_ranks_in_different_calls_are_told),
        cmocka_unit_test(test_different_counts_are_refused_on_all_ranks),
    };
    return cmocka_run_group_tests_name("transport", tests, NULL, NULL);
}
