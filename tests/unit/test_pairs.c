/* Every pair of ranks by itself: the schedule, the messages, and the check that finds what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../common/counting_device.h"
#include "../common/loopback_ranks.h"
#include "../fakes/fault_transport.h"
#include "moe/pairs.h"

#define MOST 64

/* ---- The schedule ---- */

/* Every pair once, partners mutual, one of the two first. */
static size_t check_schedule(const size_t *node, size_t ranks)
{
    moe_pair_schedule_t s;
    unsigned met[MOST][MOST] = {{0}};
    assert_int_equal(moe_pair_schedule_create(node, ranks, &s, NULL), MOE_OK);
    for (size_t round = 0; round < s.rounds; round++) {
        for (size_t r = 0; r < ranks; r++) {
            const size_t partner = moe_pair_schedule_partner(&s, round, r);
            assert_true(partner < ranks);
            assert_int_equal(moe_pair_schedule_partner(&s, round, partner), r);
            if (partner != r) {
                met[r][partner]++;
                assert_true(moe_pair_schedule_first(&s, r, partner) !=
                            moe_pair_schedule_first(&s, partner, r));
            }
        }
    }
    for (size_t a = 0; a < ranks; a++)
        for (size_t b = 0; b < ranks; b++)
            assert_int_equal(met[a][b], a != b);
    const size_t rounds = s.rounds;
    moe_pair_schedule_destroy(&s);
    return rounds;
}

static void test_every_pair_meets_once_in_the_fewest_rounds(void **state)
{
    (void)state;
    size_t apart[MOST], together[MOST] = {0};
    for (size_t r = 0; r < MOST; r++)
        apart[r] = r;
    assert_int_equal(check_schedule(apart, 1), 0);
    for (size_t n = 2; n <= MOST; n++) {
        assert_int_equal(check_schedule(apart, n), n - 1 + n % 2);
        assert_int_equal(check_schedule(together, n), n - 1 + n % 2);
    }
}

static void test_even_numbers_of_hosts_and_ranks_need_no_more(void **state)
{
    (void)state;
    for (size_t hosts = 1; hosts <= 8; hosts++) {
        for (size_t each = 1; each <= 8; each++) {
            size_t block[MOST], cyclic[MOST];
            for (size_t r = 0; r < hosts * each; r++) {
                block[r] = r / each;
                cyclic[r] = r % hosts;
            }
            const size_t rounds = check_schedule(block, hosts * each);
            assert_int_equal(check_schedule(cyclic, hosts * each), rounds);
            if (hosts % 2 == 0 && each % 2 == 0)
                assert_int_equal(rounds, hosts * each - 1);
        }
    }
}

static void test_hosts_need_not_be_filled_evenly(void **state)
{
    (void)state;
    const size_t uneven[] = {0, 0, 0, 1, 2, 2, 1, 5, 0, 5}, far[] = {9, 3, 3, 7};
    check_schedule(uneven, 10);
    check_schedule(far, 4);
}

/* What a port of a host carries is then the same for every pair. */
static void test_all_ranks_of_a_host_meet_one_other_host_at_a_time(void **state)
{
    (void)state;
    size_t node[24];
    moe_pair_schedule_t s;
    for (size_t r = 0; r < 24; r++)
        node[r] = r / 4;
    assert_int_equal(moe_pair_schedule_create(node, 24, &s, NULL), MOE_OK);
    for (size_t round = 0; round < s.rounds; round++) {
        for (size_t r = 0; r < 24; r++) {
            const size_t mate = r / 4 * 4, partner = moe_pair_schedule_partner(&s, round, r);
            const size_t other = moe_pair_schedule_partner(&s, round, mate);
            assert_int_equal(node[partner], node[other]);
            if (node[partner] != node[r]) {
                assert_int_equal(moe_pair_schedule_first(&s, r, partner),
                                 moe_pair_schedule_first(&s, mate, other));
            }
        }
    }
    moe_pair_schedule_destroy(&s);
}

/* ---- Messages ---- */

typedef struct setting {
    const moe_device_t *host;
    size_t bytes, ranks_per_node;
    const fault_t *fault; /* on rank 1 */
    moe_pairs_result_t result;
} setting_t;

static bool each_message_has_a_time(moe_pairs_t *pairs, moe_transport_t *t, char *text)
{
    double seconds[4 * MOST];
    size_t sent = 0;
    moe_error_t error = {0};
    RANK_EXPECT(moe_pairs_repeat(pairs, seconds, &error) == MOE_OK);
    for (size_t c = 0; c < moe_pairs_columns(pairs); c++) {
        size_t to;
        const bool sends = moe_pairs_to(pairs, c, &to);
        RANK_EXPECT(sends ? seconds[c] > 0 : seconds[c] == 0);
        sent += sends;
    }
    RANK_EXPECT(sent == t->size - 1);
    return true;
}

static bool run_pairs(moe_transport_t *t, setting_t *s, fault_transport_t *fault, char *text)
{
    counting_device_t device;
    moe_pairs_t *pairs = NULL;
    moe_pairs_result_t result;
    moe_error_t error = {0};
    size_t node[MOST];
    counting_device_init(&device, s->host);
    for (size_t r = 0; r < t->size; r++)
        node[r] = r / s->ranks_per_node;
    const moe_pairs_spec_t spec = {
        .transport = t, .device = &device.device, .bytes = s->bytes, .node = node};
    RANK_EXPECT(moe_pairs_create(&spec, &pairs, &error) == MOE_OK);
    RANK_EXPECT(device.bytes == moe_pairs_memory(s->bytes));
    fault_arm(fault, t->rank == 1 ? s->fault : NULL);
    RANK_EXPECT(moe_pairs_check(pairs, MOE_CHECK_FULL, &result, &error) == MOE_OK);
    fault_arm(fault, NULL);
    if (t->rank == 0)
        s->result = result;
    if (!each_message_has_a_time(pairs, t, text))
        return false;
    moe_pairs_destroy(pairs);
    RANK_EXPECT(device.blocks == 0);
    return true;
}

static bool checked(moe_transport_t *t, void *context, char *text)
{
    fault_transport_t fault;
    fault_transport_init(&fault, t);
    return run_pairs(&fault.transport, context, &fault, text);
}

static void test_messages_of_all_pairs_arrive(void **state)
{
    static const size_t sizes[] = {2, 1000, 1 << 18};
    for (size_t ranks = 1; ranks <= 7; ranks++) {
        for (size_t i = 0; i < 3; i++) {
            setting_t s = {.host = *state, .bytes = sizes[i], .ranks_per_node = 1 + i};
            assert_int_equal(run_ranks(ranks, checked, &s), 0);
            assert_int_equal(s.result.errors, 0);
        }
    }
}

static void test_a_wrong_element_is_found_and_placed(void **state)
{
    const fault_t flip = {.kind = FAULT_FLIP, .at = {.peer = 0}, .byte = 901, .mask = 0x80};
    const fault_t lose = {.kind = FAULT_LOSE, .at = {.peer = 0}};
    setting_t s = {.host = *state, .bytes = 2000, .ranks_per_node = 1, .fault = &flip};
    char text[256];
    assert_int_equal(run_ranks(4, checked, &s), 0);
    assert_int_equal(s.result.errors, 1);
    assert_int_equal(s.result.from, 0);
    assert_int_equal(s.result.to, 1);
    assert_int_equal(s.result.mismatch.column, 450);
    moe_pairs_describe(&s.result, text, sizeof text);
    assert_non_null(strstr(text, "from rank 0 to rank 1, element 450"));
    s.fault = &lose;
    assert_int_equal(run_ranks(4, checked, &s), 0);
    assert_int_equal(s.result.errors, 1000);
}

static void test_sizes_that_cannot_be_checked_are_refused(void **state)
{
    const size_t sizes[] = {0, 1, 4097, MOE_PAIRS_BYTES_MAX + 2}, node = 0;
    moe_transport_t *alone;
    counting_device_t device;
    counting_device_init(&device, *state);
    assert_int_equal(moe_loopback_create(1, &alone, NULL), MOE_OK);
    for (size_t i = 0; i < 4; i++) {
        moe_pairs_t *pairs = NULL;
        moe_error_t error = {0};
        const moe_pairs_spec_t spec = {
            .transport = alone, .device = &device.device, .bytes = sizes[i], .node = &node};
        assert_int_equal(moe_pairs_create(&spec, &pairs, &error), MOE_BAD_INPUT);
        assert_null(pairs);
    }
    alone->ops->destroy(alone);
}

/* ---- Measured ---- */

static bool measured(moe_transport_t *t, void *context, char *text)
{
    setting_t *s = context;
    counting_device_t device;
    moe_pairs_t *pairs = NULL;
    moe_series_t series = {0};
    moe_error_t error = {0};
    moe_pair_time_t all[MOST];
    size_t node[MOST] = {0};
    const moe_measure_spec_t measure = {.min_reps = 7, .max_reps = 7, .max_seconds = 100, .ci = 1};
    counting_device_init(&device, s->host);
    const moe_pairs_spec_t spec = {
        .transport = t, .device = &device.device, .bytes = s->bytes, .node = node};
    RANK_EXPECT(moe_pairs_create(&spec, &pairs, &error) == MOE_OK);
    const size_t columns = moe_pairs_columns(pairs);
    RANK_EXPECT(moe_measure(t, &measure, columns, columns, moe_pairs_repeat, pairs, &series,
                            &error) == MOE_OK);
    RANK_EXPECT(moe_pairs_times(pairs, &series, all, &error) == MOE_OK);
    for (size_t from = 0; from < t->size; from++) {
        for (size_t to = 0; to < t->size; to++) {
            const moe_pair_time_t *m = &all[from * t->size + to];
            RANK_EXPECT(from == to ? m->median == 0 : m->median > 0);
            RANK_EXPECT(m->min <= m->low && m->low <= m->median && m->median <= m->high);
        }
    }
    moe_series_destroy(&series);
    moe_pairs_destroy(pairs);
    return true;
}

static void test_every_message_has_its_times_on_all_ranks(void **state)
{
    setting_t s = {.host = *state, .bytes = 4096, .ranks_per_node = 1};
    assert_int_equal(run_ranks(5, measured, &s), 0);
}

static int set_up(void **state)
{
    return moe_host_device_create(1, 1, (moe_device_t **)state, NULL) == MOE_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    moe_device_t *host = *state;
    host->ops->destroy(host);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair_meets_once_in_the_fewest_rounds),
        cmocka_unit_test(test_even_numbers_of_hosts_and_ranks_need_no_more),
        cmocka_unit_test(test_hosts_need_not_be_filled_evenly),
        cmocka_unit_test(test_all_ranks_of_a_host_meet_one_other_host_at_a_time),
        cmocka_unit_test(test_messages_of_all_pairs_arrive),
        cmocka_unit_test(test_a_wrong_element_is_found_and_placed),
        cmocka_unit_test(test_sizes_that_cannot_be_checked_are_refused),
        cmocka_unit_test(test_every_message_has_its_times_on_all_ranks),
    };
    return cmocka_run_group_tests_name("pairs", tests, set_up, tear_down);
}
