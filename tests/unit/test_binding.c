#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "moe/binding.h"

/* What the check said, one line a finding. */
typedef struct said {
    char text[2048];
} said_t;

static void say(void *context, const moe_binding_finding_t *f)
{
    static const char *const names[] = {[MOE_BINDING_OVERSUBSCRIBED] = "oversubscribed",
                                        [MOE_BINDING_SHARED] = "shared",
                                        [MOE_BINDING_GPU_FAR] = "gpu far",
                                        [MOE_BINDING_FABRIC_FAR] = "fabric far"};
    said_t *said = context;
    const size_t used = strlen(said->text);
    char ranks[256];
    moe_binding_list(f->ranks, f->count, ranks, sizeof ranks);
    int more = snprintf(said->text + used, sizeof said->text - used, "node %zu: %s: ranks %s",
                        f->node, names[f->fault], ranks);
    if (f->cores > 0)
        more += snprintf(said->text + used + more, sizeof said->text - used - (size_t)more,
                         ": %zu of %zu cores", f->cores, f->need);
    snprintf(said->text + used + more, sizeof said->text - used - (size_t)more, "\n");
}

/* A rank of `node`, a host of 8 cores (2048 where it is bound past them), bound to cores first .. last. */
static moe_binding_t bound(size_t node, size_t first, size_t last)
{
    moe_binding_t rank = {.known = true, .node = node, .need = 1};
    rank.host_cores = last < 8 ? 8 : MOE_BINDING_CORES;
    for (size_t core = first; core <= last; core++)
        rank.cores[core / 64] |= (uint64_t)1 << core % 64;
    return rank;
}

static void assert_says(const moe_binding_t *ranks, size_t count, const char *expected)
{
    said_t said = {""};
    assert_int_equal(moe_binding_check(ranks, count, say, &said, NULL), MOE_OK);
    assert_string_equal(said.text, expected);
}

static void test_a_core_for_each_rank_is_well(void **state)
{
    (void)state;
    const moe_binding_t ranks[] = {bound(0, 0, 0), bound(0, 1, 1), bound(0, 2047, 2047),
                                   bound(1, 0, 0), bound(1, 1, 1)};
    assert_says(ranks, 5, "");
    assert_says(ranks, 0, "");
}

static void test_ranks_that_may_run_everywhere_share_nothing(void **state)
{
    (void)state;
    const moe_binding_t ranks[] = {bound(0, 0, 3), bound(0, 0, 3), bound(0, 0, 3), bound(0, 0, 3)};
    assert_says(ranks, 4, "");
}

static void test_more_ranks_than_cores_is_oversubscribed(void **state)
{
    (void)state;
    moe_binding_t ranks[] = {bound(0, 0, 1), bound(0, 0, 1), bound(1, 0, 7), bound(0, 0, 1)};
    assert_says(ranks, 4, "node 0: shared: ranks 0-1,3: 2 of 3 cores\n");
    for (size_t r = 0; r < 4; r++)
        ranks[r].host_cores = 2;
    assert_says(ranks, 4, "node 0: oversubscribed: ranks 0-1,3: 2 of 3 cores\n");
}

static void test_two_ranks_on_one_core_of_many_share_it(void **state)
{
    (void)state;
    const moe_binding_t ranks[] = {bound(0, 0, 0), bound(0, 5, 5), bound(0, 1, 1), bound(0, 5, 5)};
    assert_says(ranks, 4, "node 0: shared: ranks 1,3: 1 of 2 cores\n");
}

/* All on socket 0 while socket 1 idles: ranks 0 to 4 have four cores, rank 5 the others. */
static void test_a_crowded_socket_is_told_of_where_another_idles(void **state)
{
    (void)state;
    moe_binding_t ranks[6];
    for (size_t r = 0; r < 5; r++)
        ranks[r] = bound(0, 0, 3);
    ranks[5] = bound(0, 4, 7);
    assert_says(ranks, 6, "node 0: shared: ranks 0-4: 4 of 5 cores\n");
}

/* Rank 0 may move from core 0 to core 1, and rank 1 from there to core 2; in the chain rank 2 has a core
 * that the others cannot take. */
static void test_overlap_alone_is_no_fault_where_ranks_can_move(void **state)
{
    (void)state;
    const moe_binding_t ranks[] = {bound(0, 0, 1), bound(0, 1, 2), bound(0, 0, 0)};
    assert_says(ranks, 3, "");
    const moe_binding_t chain[] = {bound(0, 0, 1), bound(0, 0, 1), bound(0, 0, 2), bound(0, 1, 1),
                                   bound(0, 9, 9)};
    assert_says(chain, 5, "node 0: shared: ranks 0-1,3: 2 of 3 cores\n");
}

static void test_separate_crowds_are_told_of_apart(void **state)
{
    (void)state;
    const moe_binding_t ranks[] = {bound(0, 0, 0), bound(0, 0, 0), bound(0, 1, 1),
                                   bound(0, 1, 1), bound(2, 7, 7), bound(2, 7, 7)};
    assert_says(ranks, 6,
                "node 0: shared: ranks 0-1: 1 of 2 cores\n"
                "node 0: shared: ranks 2-3: 1 of 2 cores\n"
                "node 2: shared: ranks 4-5: 1 of 2 cores\n");
}

static void test_a_rank_with_threads_needs_a_core_for_each(void **state)
{
    (void)state;
    moe_binding_t ranks[] = {bound(0, 0, 3), bound(0, 4, 7)};
    ranks[0].need = ranks[1].need = 4;
    assert_says(ranks, 2, "");
    ranks[1].need = 5;
    assert_says(ranks, 2, "node 0: shared: ranks 1: 4 of 5 cores\n");
}

static void test_ranks_far_from_their_gpu_are_told_of(void **state)
{
    (void)state;
    moe_binding_t ranks[] = {bound(0, 0, 0), bound(0, 1, 1), bound(0, 2, 2)};
    ranks[0].gpu = MOE_NEAR;
    ranks[1].gpu = MOE_FAR;
    assert_says(ranks, 3, "node 0: gpu far: ranks 1\n");
}

/* One rank near it carries on; and on one node nothing goes through it. */
static void test_a_fabric_is_far_where_no_rank_of_the_node_is_near(void **state)
{
    (void)state;
    moe_binding_t ranks[] = {bound(0, 0, 0), bound(0, 1, 1), bound(1, 0, 0), bound(1, 1, 1)};
    ranks[0].fabric = ranks[2].fabric = ranks[3].fabric = MOE_FAR;
    ranks[1].fabric = MOE_NEAR;
    assert_says(ranks, 4, "node 1: fabric far: ranks 2-3\n");
    assert_says(ranks + 2, 2, "");
    ranks[3].fabric = MOE_NEAR_UNKNOWN;
    assert_says(ranks, 4, "");
}

static void test_ranks_of_which_nothing_is_known_are_left_out(void **state)
{
    (void)state;
    moe_binding_t ranks[] = {bound(0, 0, 0), bound(0, 0, 0), {.known = false}};
    ranks[1].known = false;
    ranks[1].gpu = MOE_FAR;
    assert_says(ranks, 3, "");
}

/* 256 ranks and 128 cores, as densely as can be: has to end soon. */
static void test_a_large_node_is_checked_at_once(void **state)
{
    (void)state;
    moe_binding_t *ranks = calloc(256, sizeof *ranks);
    assert_non_null(ranks);
    for (size_t r = 0; r < 256; r++)
        ranks[r] = bound(0, 0, 127), ranks[r].host_cores = 128;
    assert_says(ranks, 256, "node 0: oversubscribed: ranks 0-255: 128 of 256 cores\n");
    free(ranks);
}

static void test_lists_are_ranges_and_show_where_they_were_cut(void **state)
{
    (void)state;
    const size_t ranks[] = {0, 1, 2, 5, 7, 8, 100, 102, 104, 106};
    char text[64];
    assert_string_equal(moe_binding_list(ranks, 10, text, sizeof text),
                        "0-2,5,7-8,100,102,104,106");
    assert_string_equal(moe_binding_list(ranks, 1, text, sizeof text), "0");
    assert_string_equal(moe_binding_list(ranks, 0, text, sizeof text), "");
    assert_string_equal(moe_binding_list(ranks, 10, text, 16), "0-2,5,7-8,...");
}

static void test_this_process_may_run_somewhere(void **state)
{
    (void)state;
    moe_binding_t mine;
    moe_binding_read(&mine);
#ifdef MOE_HAVE_HWLOC
    assert_true(mine.known);
    assert_true(mine.cpus[0] >= '0' && mine.cpus[0] <= '9');
    mine.need = 1;
    assert_says(&mine, 1, "");
#else
    assert_false(mine.known);
#endif
    assert_int_equal(moe_binding_near("ffff:ff:1f.7"), MOE_NEAR_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_core_for_each_rank_is_well),
        cmocka_unit_test(test_ranks_that_may_run_everywhere_share_nothing),
        cmocka_unit_test(test_more_ranks_than_cores_is_oversubscribed),
        cmocka_unit_test(test_two_ranks_on_one_core_of_many_share_it),
        cmocka_unit_test(test_a_crowded_socket_is_told_of_where_another_idles),
        cmocka_unit_test(test_overlap_alone_is_no_fault_where_ranks_can_move),
        cmocka_unit_test(test_separate_crowds_are_told_of_apart),
        cmocka_unit_test(test_a_rank_with_threads_needs_a_core_for_each),
        cmocka_unit_test(test_ranks_far_from_their_gpu_are_told_of),
        cmocka_unit_test(test_a_fabric_is_far_where_no_rank_of_the_node_is_near),
        cmocka_unit_test(test_ranks_of_which_nothing_is_known_are_left_out),
        cmocka_unit_test(test_a_large_node_is_checked_at_once),
        cmocka_unit_test(test_lists_are_ranges_and_show_where_they_were_cut),
        cmocka_unit_test(test_this_process_may_run_somewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
