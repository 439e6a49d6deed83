/* A raw exchange: every byte of any matrix arrives by every algorithm, and the check finds what does
 * not: planted faults, each kind by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "../common/counting_device.h"
#include "../common/loopback_ranks.h"
#include "../fakes/fault_transport.h"
#include "moe/exchange.h"

#define MOST_RANKS 7

typedef struct setting {
    const moe_device_t *host;
    const moe_algorithm_ops_t *algorithm;
    size_t bytes[MOST_RANKS * MOST_RANKS];
    size_t ranks_per_node;
    moe_check_t how;
    size_t planted;          /* how often the fault has happened */
    const fault_t *fault;    /* on rank 1 */
    bool must_find;          /* wrong bytes are expected, else none */
    moe_raw_result_t result; /* as rank 0 has it */
} setting_t;

static void random_matrix(setting_t *s, size_t ranks, unsigned seed, size_t unit)
{
    for (size_t i = 0; i < ranks * ranks; i++) {
        seed = seed * 1103515245u + 12345u;
        s->bytes[i] = seed >> 16 & 1 ? (seed >> 17) % 300 * unit : 0;
    }
}

static void even_matrix(setting_t *s, size_t ranks, size_t bytes)
{
    for (size_t i = 0; i < ranks * ranks; i++)
        s->bytes[i] = bytes;
}

#define ROW 24

/* A block that starts a row too late ends a row behind its buffer: that row is there. */
static moe_status_t alloc_a_row_more(moe_device_t *d, const char *what, size_t bytes, void **out,
                                     moe_error_t *error)
{
    const moe_status_t status = counting_alloc(d, what, bytes + ROW, out, error);
    counting_device_of(d)->bytes -= status == MOE_OK ? ROW : 0;
    return status;
}

static bool run_checked(moe_transport_t *t, setting_t *s, fault_transport_t *fault, char *text)
{
    counting_device_t device;
    moe_raw_t *raw = NULL;
    moe_raw_result_t result;
    moe_error_t error = {0};
    counting_device_init(&device, s->host);
    if (s->fault != NULL && s->fault->kind == FAULT_SHIFT)
        device.ops.alloc = alloc_a_row_more;
    const moe_matrix_t matrix = {.ranks = t->size, .bytes = s->bytes};
    const moe_raw_spec_t spec = {.transport = t,
                                 .device = &device.device,
                                 .matrix = &matrix,
                                 .row_bytes = moe_matrix_row_bytes(&matrix),
                                 .ranks_per_node = s->ranks_per_node};
    RANK_EXPECT(moe_raw_create(&spec, &raw, &error) == MOE_OK);
    RANK_EXPECT(device.bytes == moe_raw_bytes(&matrix, t->rank));
    RANK_EXPECT(moe_raw_use(raw, s->algorithm, &error) == MOE_OK);
    fault_arm(fault, t->rank == 1 ? s->fault : NULL);
    RANK_EXPECT(moe_raw_check(raw, s->how, &result, &error) == MOE_OK);
    size_t planted = fault->planted;
    fault_arm(fault, NULL);
    RANK_EXPECT(t->ops->reduce_sizes(t, &planted, 1, MOE_MAX, &error) == MOE_OK);
    if ((result.errors > 0) != (s->must_find && planted > 0)) {
        moe_raw_describe(&result, text, RANK_TEXT);
        return false;
    }
    if (t->rank == 0) {
        s->result = result;
        s->planted = planted;
    }
    moe_raw_destroy(raw);
    RANK_EXPECT(device.blocks == 0);
    return true;
}

static bool checked(moe_transport_t *t, void *context, char *text)
{
    fault_transport_t fault;
    fault_transport_init(&fault, t);
    return run_checked(&fault.transport, context, &fault, text);
}

static void run_all(setting_t *s, size_t ranks)
{
    for (size_t a = 0; a < moe_algorithm_count(); a++) {
        s->algorithm = moe_algorithm_at(a);
        if (run_ranks(ranks, checked, s) != 0)
            fail_msg("%s on %zu ranks", s->algorithm->name, ranks);
    }
}

static void test_every_byte_of_any_matrix_arrives(void **state)
{
    static const size_t units[] = {1, 24, 30000}, sizes[] = {1, 2, 3, 5, MOST_RANKS};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t ranks = sizes[i];
        for (unsigned u = 0; u < sizeof units / sizeof *units; u++) {
            setting_t s = {.host = *state, .how = MOE_CHECK_FULL, .ranks_per_node = 1 + u};
            if (units[u] > 1000 && ranks > 3)
                continue; /* 9 MB a block */
            random_matrix(&s, ranks, (unsigned)ranks * 10 + u, units[u]);
            run_all(&s, ranks);
        }
    }
}

static void test_equal_blocks_and_none_at_all_arrive(void **state)
{
    static const size_t sizes[] = {0, 1, 7, 4096, 4097};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        setting_t s = {.host = *state, .how = MOE_CHECK_FULL};
        even_matrix(&s, 5, sizes[i]);
        run_all(&s, 5);
    }
}

static void test_an_exchange_can_change_its_algorithm(void **state)
{
    (void)state; /* run_checked() makes a new one each time; here one lives through all */
    moe_transport_t *alone;
    moe_raw_t *raw;
    size_t bytes[] = {100};
    const moe_matrix_t matrix = {.ranks = 1, .bytes = bytes};
    counting_device_t device;
    moe_raw_result_t result;
    counting_device_init(&device, *state);
    assert_int_equal(moe_loopback_create(1, &alone, NULL), MOE_OK);
    const moe_raw_spec_t spec = {
        .transport = alone, .device = &device.device, .matrix = &matrix, .row_bytes = 20};
    assert_int_equal(moe_raw_create(&spec, &raw, NULL), MOE_OK);
    for (size_t a = 0; a < moe_algorithm_count(); a++) {
        assert_int_equal(moe_raw_use(raw, moe_algorithm_at(a), NULL), MOE_OK);
        assert_non_null(moe_raw_chosen(raw));
        assert_int_equal(moe_raw_check(raw, MOE_CHECK_FULL, &result, NULL), MOE_OK);
        assert_int_equal(result.errors, 0);
    }
    moe_raw_destroy(raw);
    assert_int_equal(device.blocks, 0);
    alone->ops->destroy(alone);
}

static void test_what_cannot_be_is_refused(void **state)
{
    moe_transport_t *alone;
    moe_raw_t *raw = NULL;
    size_t bytes[] = {100, 0, 0, 0};
    counting_device_t device;
    moe_error_t error = {0};
    counting_device_init(&device, *state);
    assert_int_equal(moe_loopback_create(1, &alone, NULL), MOE_OK);
    moe_matrix_t matrix = {.ranks = 1, .bytes = bytes};
    moe_raw_spec_t spec = {
        .transport = alone, .device = &device.device, .matrix = &matrix, .row_bytes = 30};
    assert_int_equal(moe_raw_create(&spec, &raw, &error), MOE_BAD_INPUT); /* 100 % 30 */
    spec.row_bytes = 1;
    matrix.ranks = 2;
    assert_int_equal(moe_raw_create(&spec, &raw, &error), MOE_BAD_INPUT);
    matrix.ranks = 1;
    bytes[0] = SIZE_MAX;
    assert_int_equal(moe_raw_bytes(&matrix, 0), SIZE_MAX);
    assert_int_equal(moe_raw_create(&spec, &raw, &error), MOE_BAD_INPUT);
    bytes[0] = 100;
    device.allocs_left = 1; /* the second buffer is refused, the first given back */
    assert_int_equal(moe_raw_create(&spec, &raw, &error), MOE_BAD_INPUT);
    assert_int_equal(device.blocks, 0);
    assert_null(raw);
    alone->ops->destroy(alone);
}

/* ---- Planted faults ---- */

/* Some algorithms send nothing from rank 1 to a certain peer: the fault is then tried at the next. */
static void find(moe_device_t *host, fault_t fault)
{
    static const size_t peers[] = {0, 2};
    setting_t s = {.host = host,
                   .how = MOE_CHECK_FULL,
                   .fault = &fault,
                   .must_find = true,
                   .ranks_per_node = 2};
    even_matrix(&s, 4, 3 * ROW);
    s.bytes[3 * 4 + 3] = ROW; /* the common divisor */
    for (size_t a = 0; a < moe_algorithm_count(); a++) {
        s.algorithm = moe_algorithm_at(a);
        if (strcmp(s.algorithm->name, "best") == 0) {
            continue; /* it carries one of the others, whichever was fastest: they have their turn */
        }
        s.planted = 0;
        for (size_t p = 0; s.planted == 0 && p < sizeof peers / sizeof *peers; p++) {
            fault.at.peer = fault.other.peer = peers[p];
            if (run_ranks(4, checked, &s) != 0)
                fail_msg("%s: fault %d was not found", s.algorithm->name, (int)fault.kind);
        }
        assert_true(s.planted > 0);
    }
}

static void test_one_wrong_bit_is_found(void **state)
{
    const fault_t fault = {.kind = FAULT_FLIP, .at = {.peer = 0, .row = 1}, .byte = 5, .mask = 1};
    find(*state, fault);
}

static void test_a_lost_row_is_found(void **state)
{
    const fault_t fault = {.kind = FAULT_LOSE, .at = {.peer = 0, .row = 2}};
    find(*state, fault);
}

static void test_rows_in_each_others_place_are_found(void **state)
{
    const fault_t fault = {
        .kind = FAULT_SWAP, .at = {.peer = 0, .row = 0}, .other = {.peer = 0, .row = 2}};
    find(*state, fault);
}

static void test_a_row_that_arrives_twice_is_found(void **state)
{
    const fault_t fault = {
        .kind = FAULT_DUPLICATE, .at = {.peer = 0, .row = 0}, .other = {.peer = 0, .row = 1}};
    find(*state, fault);
}

static void test_a_wrong_displacement_is_found(void **state)
{
    const fault_t fault = {.kind = FAULT_SHIFT, .at = {.peer = 0}};
    find(*state, fault);
}

static void test_the_finding_names_rank_source_and_byte(void **state)
{
    char text[256];
    const fault_t fault = {
        .kind = FAULT_FLIP, .at = {.peer = 2, .row = 1}, .byte = 5, .mask = 0x81};
    setting_t s = {.host = *state, .how = MOE_CHECK_FULL, .fault = &fault, .must_find = true};
    even_matrix(&s, 3, 3 * ROW);
    s.bytes[0] = ROW;
    assert_int_equal(moe_algorithm_find("linear", &s.algorithm, NULL), MOE_OK);
    assert_int_equal(run_ranks(3, checked, &s), 0);
    assert_int_equal(s.result.errors, 1);
    assert_int_equal(s.result.rank, 1);
    assert_int_equal(s.result.source, 2);
    assert_int_equal(s.result.offset, ROW + 5);
    assert_int_equal(s.result.expected ^ s.result.got, 0x81);
    moe_raw_describe(&s.result, text, sizeof text);
    assert_non_null(strstr(text, "rank 1: from rank 2, byte 29: expected 0x"));
}

static void test_a_sample_sees_every_16th_row_and_no_other(void **state)
{
    for (size_t row = 0; row <= 17; row++) {
        const fault_t fault = {.kind = FAULT_FLIP, .at = {.peer = 0, .row = row}, .mask = 4};
        setting_t s = {.host = *state,
                       .how = MOE_CHECK_SAMPLE,
                       .fault = &fault,
                       .must_find = row % MOE_CHECK_STRIDE == 0};
        even_matrix(&s, 2, 20 * 10);
        s.bytes[0] = 10;
        assert_int_equal(moe_algorithm_find("linear", &s.algorithm, NULL), MOE_OK);
        assert_int_equal(run_ranks(2, checked, &s), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte_of_any_matrix_arrives),
        cmocka_unit_test(test_equal_blocks_and_none_at_all_arrive),
        cmocka_unit_test(test_an_exchange_can_change_its_algorithm),
        cmocka_unit_test(test_what_cannot_be_is_refused),
        cmocka_unit_test(test_one_wrong_bit_is_found),
        cmocka_unit_test(test_a_lost_row_is_found),
        cmocka_unit_test(test_rows_in_each_others_place_are_found),
        cmocka_unit_test(test_a_row_that_arrives_twice_is_found),
        cmocka_unit_test(test_a_wrong_displacement_is_found),
        cmocka_unit_test(test_the_finding_names_rank_source_and_byte),
        cmocka_unit_test(test_a_sample_sees_every_16th_row_and_no_other),
    };
    return cmocka_run_group_tests_name("exchange", tests, host_set_up, host_tear_down);
}
