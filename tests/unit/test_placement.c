#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "routing_cases.h"

static moe_placement_t make_placement(const char *what, size_t experts, size_t ranks)
{
    moe_error_t error = {0};
    moe_placement_t placement;
    if (moe_placement_create(what, experts, ranks, &placement, &error) != MOE_OK)
        fail_msg("%s", error.text);
    return placement;
}

/* The four arrays tell the same. */
static void assert_consistent(const moe_placement_t *p)
{
    assert_int_equal(p->first[0], 0);
    assert_int_equal(p->first[p->ranks], p->experts);
    for (size_t r = 0; r < p->ranks; r++) {
        assert_true(p->first[r] <= p->first[r + 1]);
        for (size_t i = p->first[r]; i < p->first[r + 1]; i++) {
            const int32_t e = p->expert_at[i];
            assert_int_equal(p->rank_of[e], r);
            assert_int_equal(p->local_of[e], i - p->first[r]);
            assert_true(i == p->first[r] || p->expert_at[i - 1] < e);
        }
    }
}

static void assert_ranks(const char *what, size_t experts, size_t ranks, const int32_t *expected)
{
    moe_placement_t p = make_placement(what, experts, ranks);
    assert_consistent(&p);
    for (size_t e = 0; e < experts; e++)
        assert_int_equal(p.rank_of[e], expected[e]);
    moe_placement_destroy(&p);
}

static void test_blocks_are_even_or_the_first_hold_one_more(void **state)
{
    (void)state;
    assert_ranks("block", 8, 4, (int32_t[]){0, 0, 1, 1, 2, 2, 3, 3});
    assert_ranks("block", 10, 4, (int32_t[]){0, 0, 0, 1, 1, 1, 2, 2, 3, 3});
    assert_ranks("block", 5, 1, (int32_t[]){0, 0, 0, 0, 0});
    assert_ranks("block", 1, 1, (int32_t[]){0});
}

static void test_ranks_past_the_experts_hold_none(void **state)
{
    (void)state;
    assert_ranks("block", 2, 5, (int32_t[]){0, 1});
    assert_ranks("round-robin", 2, 5, (int32_t[]){0, 1});
    moe_placement_t p = make_placement("block", 2, 5);
    for (size_t r = 2; r < 5; r++)
        assert_int_equal(p.first[r], p.first[r + 1]);
    moe_placement_destroy(&p);
}

static void test_round_robin_deals_experts_out(void **state)
{
    (void)state;
    assert_ranks("round-robin", 7, 3, (int32_t[]){0, 1, 2, 0, 1, 2, 0});
    moe_placement_t p = make_placement("round-robin", MOE_MAX_EXPERTS, 1000);
    assert_consistent(&p);
    moe_placement_destroy(&p);
}

/* The worked example of the introductory texts on expert parallelism: 4 GPUs, 8 experts in
 * blocks of two; GPU 0 holds four tokens routed to experts 2, 7, 0, 3 and sends 1, 2, 0, 1 of
 * them. */
static void test_four_gpus_eight_experts_send_what_the_example_says(void **state)
{
    (void)state;
    const int32_t chosen[] = {2, 7, 0, 3};
    const size_t expected[] = {1, 2, 0, 1};
    size_t sent[4] = {0};
    moe_placement_t p = make_placement("block", 8, 4);
    for (size_t t = 0; t < 4; t++)
        sent[p.rank_of[chosen[t]]]++;
    assert_memory_equal(sent, expected, sizeof sent);
    moe_placement_destroy(&p);
}

/* ---- Files ---- */

typedef struct file {
    char path[40];
} file_t;

static file_t make_file(const void *text, size_t size)
{
    file_t file = {"/tmp/moe-placement-XXXXXX"};
    const int fd = mkstemp(file.path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), (ssize_t)size);
    close(fd);
    return file;
}

static void test_a_file_places_each_expert(void **state)
{
    (void)state;
    const char *text = "# hot ones apart\n3 0\t0\r\n\n2#the last\n 001 # end";
    const file_t file = make_file(text, strlen(text));
    assert_ranks(file.path, 5, 4, (int32_t[]){3, 0, 0, 2, 1});
    unlink(file.path);
}

static void assert_file_refused(const void *text, size_t size, const char *line, const char *said)
{
    const file_t file = make_file(text, size);
    moe_error_t error = {0};
    moe_placement_t placement = {.experts = 99};
    char place[64];
    snprintf(place, sizeof place, "%s:%s:", file.path, line);
    assert_int_equal(moe_placement_create(file.path, 4, 2, &placement, &error), MOE_BAD_INPUT);
    assert_int_equal(placement.experts, 99); /* untouched */
    if (strstr(error.text, place) == NULL || strstr(error.text, said) == NULL)
        fail_msg("\"%s\" does not say \"%s ... %s\"", error.text, place, said);
    unlink(file.path);
}

static void refuse(const char *text, const char *line, const char *said)
{
    assert_file_refused(text, strlen(text), line, said);
}

static void test_files_that_do_not_fit_are_refused_with_their_line(void **state)
{
    (void)state;
    refuse("0 1\n2 0\n", "2", "'2' (expert 2) is not a rank between 0 and 1");
    refuse("0 1\n\n-1 0\n", "3", "'-1'");
    refuse("0 1 99999999999999999999 0", "1", "'99999999999999999999'");
    refuse("0 1 1.0 0", "1", "'1.0'");
    refuse("zero", "1", "'zero' (expert 0)");
    refuse("0 1 1", "1", "after 3 ranks, but there are 4 experts");
    refuse("", "1", "after 0 ranks");
    refuse("# 0 0 0 0\n", "2", "after 0 ranks");
    refuse("0 0\n1 1\n1", "3", "one rank too many: there are 4 experts");
    assert_file_refused("0 0 1 1\n\0 0", 11, "2", "NUL");
}

static void test_names_that_are_no_file_are_refused(void **state)
{
    (void)state;
    moe_error_t error = {0};
    moe_placement_t placement;
    assert_int_equal(moe_placement_create("blok", 4, 2, &placement, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "neither block, round-robin nor eplb"));
    assert_non_null(strstr(error.text, "blok"));
    assert_int_equal(moe_placement_create("/tmp", 4, 2, &placement, &error), MOE_BAD_INPUT);
}

static void test_sizes_that_cannot_be_placed_are_refused(void **state)
{
    (void)state;
    moe_error_t error = {0};
    moe_placement_t placement;
    const size_t bad[][2] = {
        {0, 4}, {4, 0}, {MOE_MAX_EXPERTS + 1, 4}, {4, (size_t)INT32_MAX + 1}, {SIZE_MAX, SIZE_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(moe_placement_create("block", bad[i][0], bad[i][1], &placement, &error),
                         MOE_BAD_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_even_or_the_first_hold_one_more),
        cmocka_unit_test(test_ranks_past_the_experts_hold_none),
        cmocka_unit_test(test_round_robin_deals_experts_out),
        cmocka_unit_test(test_four_gpus_eight_experts_send_what_the_example_says),
        cmocka_unit_test(test_a_file_places_each_expert),
        cmocka_unit_test(test_files_that_do_not_fit_are_refused_with_their_line),
        cmocka_unit_test(test_names_that_are_no_file_are_refused),
        cmocka_unit_test(test_sizes_that_cannot_be_placed_are_refused),
    };
    return cmocka_run_group_tests_name("routing", tests, NULL, NULL);
}
