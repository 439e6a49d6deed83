/* What each style puts on the wire, counted. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "world.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Styles ---- */

static void test_every_style_is_found_by_its_name(void **state)
{
    (void)state;
    assert_int_equal(moe_style_count(), 9);
    for (size_t i = 0; i < moe_style_count(); i++) {
        const moe_style_ops_t *style = moe_style_at(i);
        assert_ptr_equal(style_named(style->name), style);
        assert_true(strlen(style->summary) > 0);
        assert_true(strlen(style->source) > 0);
    }
    assert_null(moe_style_at(moe_style_count()));
}

static void test_an_unknown_style_is_told_the_nearest(void **state)
{
    (void)state;
    const moe_style_ops_t *style = NULL;
    moe_error_t error = {0};
    assert_int_equal(moe_style_find("exakt", &style, &error), MOE_BAD_INPUT);
    assert_null(style);
    assert_non_null(strstr(error.text, "did you mean \"exact\""));
    assert_non_null(strstr(error.text, "padded, padded-max, exact"));
    assert_int_equal(moe_style_find("", &style, &error), MOE_BAD_INPUT);
    assert_int_equal(moe_style_find("something else", &style, &error), MOE_BAD_INPUT);
    assert_null(strstr(error.text, "did you mean"));
}

/* ---- Rows ---- */

static void test_four_gpus_with_eight_experts_send_as_the_blog_says(void **state)
{
    (void)state;
    /* GPU 0 holds t0 -> E2, t1 -> E7, t2 -> E0, t3 -> E3; experts 2 per GPU in blocks. */
    moe_placement_t placement;
    assert_int_equal(moe_placement_create("block", 8, 4, &placement, NULL), MOE_OK);
    const moe_sizes_t sizes = {
        .placement = &placement, .top_k = 1, .tokens_max = 4, .count_max = 1};
    const size_t counts[8] = {1, 0, 1, 1, 0, 0, 0, 1};
    size_t rows[4], tokens[4];
    const moe_sent_t sent = {.rows = rows, .tokens = tokens};
    const struct {
        const char *style;
        size_t rows[4];
    } expected[] = {
        {"exact", {1, 2, 0, 1}}, {"padded-max", {2, 2, 2, 2}}, {"padded", {8, 8, 8, 8}}};
    for (size_t i = 0; i < LENGTH(expected); i++) {
        moe_sent_t out = sent;
        moe_style_count_rows(style_named(expected[i].style), &sizes, counts, &out);
        assert_memory_equal(rows, expected[i].rows, sizeof rows);
        assert_memory_equal(tokens, expected[0].rows, sizeof tokens);
    }
    moe_placement_destroy(&placement);
}

static void test_padded_blocks_have_the_capacity_where_one_is_set(void **state)
{
    (void)state;
    const moe_sizes_t without = {.tokens_max = 100, .count_max = 40};
    const moe_sizes_t with = {.tokens_max = 100, .count_max = 40, .slots = 50};
    assert_int_equal(style_named("padded")->block_rows(&without, 7), 100);
    assert_int_equal(style_named("padded")->block_rows(&with, 7), 50);
    assert_int_equal(style_named("padded-max")->block_rows(&with, 7), 40);
    assert_int_equal(style_named("exact")->block_rows(&with, 7), 7);
}

static void test_rows_past_the_range_saturate(void **state)
{
    (void)state;
    moe_placement_t placement;
    assert_int_equal(moe_placement_create("block", 8, 2, &placement, NULL), MOE_OK);
    const moe_sizes_t sizes = {.placement = &placement, .slots = SIZE_MAX / 3};
    const size_t counts[8] = {0};
    size_t rows[2], tokens[2];
    moe_sent_t sent = {.rows = rows, .tokens = tokens};
    moe_style_count_rows(style_named("padded"), &sizes, counts, &sent);
    assert_true(rows[0] == SIZE_MAX);
    assert_true(rows[1] == SIZE_MAX);
    moe_flow_t flow;
    assert_int_equal(moe_flow_create(2, 1, 8192, &flow, NULL), MOE_OK);
    moe_flow_add(&flow, 0, &sent, SIZE_MAX, false);
    assert_true(flow.bytes.logical == SIZE_MAX);
    assert_true(flow.bytes.useful == SIZE_MAX);
    assert_true(flow.sent[0] == SIZE_MAX);
    moe_flow_destroy(&flow);
    moe_placement_destroy(&placement);
}

static void test_padding_share_follows_from_drops_and_capacity_factor(void **state)
{
    (void)state;
    /* With integral capacity: padded share = 1 - (1 - drop_share) / capacity_factor. */
    const double factors[] = {0.5, 1.0, 1.25, 2.0, 3.5};
    const char *const skews[] = {"balanced", "uniform", "zipf:1.2"};
    for (size_t f = 0; f < LENGTH(factors); f++) {
        for (size_t s = 0; s < LENGTH(skews); s++) {
            const world_spec_t spec = {.experts = 8,
                                       .top_k = 2,
                                       .ranks = 4,
                                       .tokens = 1024,
                                       .skew = skews[s],
                                       .capacity = {.factor = factors[f], .min = 4},
                                       .seed = 7};
            world_t w;
            world_create(&w, &spec);
            moe_flow_t flow;
            world_flow(&w, "padded", 1, 1, false, &flow);
            size_t selections = 0, kept = 0;
            for (size_t r = 0; r < w.ranks; r++) {
                selections += w.batch[r]->selections;
                kept += w.batch[r]->kept_selections;
            }
            assert_int_equal(flow.bytes.useful, kept);
            const double drop_share = 1 - (double)kept / (double)selections;
            const double padded = 1 - (double)kept / (double)flow.bytes.logical;
            assert_true(fabs(padded - (1 - (1 - drop_share) / factors[f])) < 1e-12);
            moe_flow_destroy(&flow);
            world_destroy(&w);
        }
    }
}

static void test_a_dropless_padded_batch_is_zeros_but_for_k_of_e(void **state)
{
    (void)state;
    /* The "Torch AtA" baseline of pplx-kernels: T=128, E=256, K=8, 7392 B a token: 242221056 B are
     * moved, 7569408 useful, E/K = 32 times less (its README; the useful bytes are also those of
     * DeepEP's low-latency dispatch: 128*8*(7168 + 7168/128*4)). */
    const world_spec_t spec = {
        .experts = 256, .top_k = 8, .ranks = 8, .tokens = 128, .skew = "zipf:1.0", .seed = 1};
    world_t w;
    world_create(&w, &spec);
    moe_flow_t flow;
    world_flow(&w, "padded", 8, 7392, false, &flow);
    assert_int_equal(flow.bytes.logical / w.ranks, 242221056);
    assert_int_equal(flow.bytes.useful / w.ranks, 7569408);
    assert_int_equal(flow.bytes.logical / flow.bytes.useful, 256 / 8);
    moe_flow_destroy(&flow);
    world_destroy(&w);
}

/* ---- Order of the styles ---- */

static const world_spec_t dropless[] = {
    {.experts = 8, .top_k = 2, .ranks = 4, .tokens = 100, .skew = "uniform"},
    {.experts = 8, .top_k = 2, .ranks = 4, .tokens = 100, .skew = "balanced"},
    {.experts = 10, .top_k = 3, .ranks = 4, .tokens = 57, .skew = "zipf:1.5", .empty_rank = 2},
    {.experts = 3, .top_k = 1, .ranks = 8, .tokens = 20, .skew = "uniform", .fuller_rank = 8},
    {.experts = 1, .top_k = 1, .ranks = 3, .tokens = 9},
    {.experts = 16, .top_k = 2, .ranks = 4, .tokens = 64, .skew = "hot:1,0.9"},
    {.experts = 16, .top_k = 2, .ranks = 1, .tokens = 64, .skew = "dirichlet:0.3"},
    {.experts = 16, .top_k = 2, .ranks = 4, .tokens = 50, .gate = "gshard"},
    {.experts = 16, .top_k = 2, .ranks = 4, .tokens = 0},
    {.experts = 64, .top_k = 8, .ranks = 8, .tokens = 40, .placement = "round-robin"},
};

static void test_without_drops_padded_sends_most_and_exact_least(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(dropless); i++) {
        for (uint64_t seed = 0; seed < 5; seed++) {
            world_spec_t spec = dropless[i];
            spec.seed = seed;
            world_t w;
            world_create(&w, &spec);
            moe_flow_t padded, padded_max, exact;
            world_flow(&w, "padded", 2, 1, false, &padded);
            world_flow(&w, "padded-max", 2, 1, false, &padded_max);
            world_flow(&w, "exact", 2, 1, false, &exact);
            assert_true(padded.bytes.wire >= padded_max.bytes.wire);
            assert_true(padded_max.bytes.wire >= exact.bytes.wire);
            assert_true(padded.bytes.logical >= padded_max.bytes.logical);
            assert_true(padded_max.bytes.logical >= exact.bytes.logical);
            assert_int_equal(exact.bytes.logical, exact.bytes.useful);
            assert_int_equal(exact.bytes.padding, 0);
            assert_int_equal(padded.bytes.useful, exact.bytes.useful);
            assert_int_equal(padded.bytes.wire - padded.bytes.padding, exact.bytes.wire);
            assert_int_equal(padded_max.bytes.wire - padded_max.bytes.padding, exact.bytes.wire);
            moe_flow_destroy(&padded);
            moe_flow_destroy(&padded_max);
            moe_flow_destroy(&exact);
            world_destroy(&w);
        }
    }
}

static void test_balanced_traffic_needs_no_padding(void **state)
{
    (void)state;
    const world_spec_t spec = {.experts = 8,
                               .top_k = 2,
                               .ranks = 4,
                               .tokens = 64,
                               .skew = "balanced",
                               .capacity = {.factor = 1}};
    world_t w;
    world_create(&w, &spec);
    moe_flow_t padded, exact;
    world_flow(&w, "padded", 2, 1, false, &padded);
    world_flow(&w, "exact", 2, 1, false, &exact);
    assert_int_equal(padded.bytes.logical, 4 * 64 * 2);
    assert_int_equal(padded.bytes.padding, 0);
    assert_int_equal(exact.bytes.wire, padded.bytes.wire);
    assert_true(exact.hash == padded.hash);
    moe_flow_destroy(&padded);
    moe_flow_destroy(&exact);
    world_destroy(&w);
}

/* ---- Metadata ---- */

static void check_metadata(const char *style, const moe_sizes_t *sizes, const size_t expected[4])
{
    for (size_t r = 0; r < 4; r++) {
        assert_int_equal(moe_style_metadata_bytes(style_named(style), sizes, r), expected[r]);
    }
}

static void test_metadata_is_eight_bytes_a_count(void **state)
{
    (void)state;
    moe_placement_t placement;
    assert_int_equal(moe_placement_create("block", 10, 4, &placement, NULL), MOE_OK);
    moe_sizes_t sizes = {.placement = &placement, .top_k = 2, .ranks_per_node = 2};
    /* 3, 3, 2 and 2 experts are a rank's own. */
    const size_t counts[4] = {56, 56, 64, 64}, one[4] = {8, 8, 8, 8}, none[4] = {0};
    const size_t three[4] = {24, 24, 24, 24}, two[4] = {16, 16, 16, 16};
    check_metadata("exact", &sizes, counts);
    check_metadata("exact-per-expert", &sizes, counts);
    check_metadata("padded-max", &sizes, one);
    const char *const silent[] = {"padded", "allgather", "slots", "hier"};
    for (size_t i = 0; i < LENGTH(silent); i++) {
        check_metadata(silent[i], &sizes, none);
    }
    check_metadata("dedup", &sizes, three); /* rows to each other rank */
    check_metadata("two-hop", &sizes, two); /* to the other node, and the other rank of this one */
    sizes.ranks_per_node = 1;
    check_metadata("two-hop", &sizes, three);
    sizes.ranks_per_node = 0; /* all on one */
    check_metadata("two-hop", &sizes, three);
    moe_placement_destroy(&placement);
    assert_int_equal(moe_placement_create("block", 10, 1, &placement, NULL), MOE_OK);
    for (size_t i = 0; i < moe_style_count(); i++) {
        assert_int_equal(moe_style_metadata_bytes(moe_style_at(i), &sizes, 0), 0);
    }
    moe_placement_destroy(&placement);
}

/* ---- Flows ---- */

/* Three ranks, two on a node, rows of 10 bytes. */
static const size_t matrix[3][3] = {{1, 2, 3}, {4, 5, 6}, {0, 7, 8}};
static const size_t tokens_of[3][3] = {{1, 1, 3}, {4, 2, 0}, {0, 7, 8}};

static void add_rank(moe_flow_t *flow, size_t rank, bool backward)
{
    size_t rows[3], tokens[3];
    memcpy(rows, matrix[rank], sizeof rows);
    memcpy(tokens, tokens_of[rank], sizeof tokens);
    const moe_sent_t sent = {.rows = rows, .tokens = tokens};
    moe_flow_add(flow, rank, &sent, tokens[0] + tokens[1] + tokens[2], backward);
}

static void make_flow(moe_flow_t *flow, bool backward)
{
    assert_int_equal(moe_flow_create(3, 2, 10, flow, NULL), MOE_OK);
    const size_t order[] = {2, 0, 1};
    for (size_t i = 0; i < 3; i++) {
        add_rank(flow, order[i], backward);
    }
}

static void test_bytes_are_kept_apart_by_tier_and_purpose(void **state)
{
    (void)state;
    moe_flow_t flow;
    make_flow(&flow, false);
    assert_int_equal(flow.bytes.useful, 260);
    assert_int_equal(flow.bytes.logical, 360);
    assert_int_equal(flow.bytes.wire, 220);
    assert_int_equal(flow.bytes.padding, 70);
    assert_int_equal(flow.tiers.self, 140);
    assert_int_equal(flow.tiers.intra_node, 60);
    assert_int_equal(flow.tiers.inter_node, 160);
    const size_t sent[] = {50, 100, 70}, received[] = {40, 90, 90}, arriving[] = {50, 140, 170};
    assert_memory_equal(flow.sent, sent, sizeof sent);
    assert_memory_equal(flow.received, received, sizeof received);
    assert_memory_equal(flow.arriving, arriving, sizeof arriving);
    size_t rank = 99;
    assert_int_equal(moe_flow_busiest(&flow, &rank), 100);
    assert_int_equal(rank, 1);
    assert_int_equal(moe_flow_busiest(&flow, NULL), 100);
    assert_int_equal(moe_flow_most_arriving(&flow), 170);
    moe_flow_destroy(&flow);
    assert_null(flow.sent);
}

static void test_combine_carries_the_transposed_matrix(void **state)
{
    (void)state;
    moe_flow_t there, back;
    make_flow(&there, false);
    make_flow(&back, true);
    assert_memory_equal(&there.bytes, &back.bytes, sizeof there.bytes);
    assert_memory_equal(&there.tiers, &back.tiers, sizeof there.tiers);
    assert_memory_equal(there.sent, back.received, 3 * sizeof(size_t));
    assert_memory_equal(there.received, back.sent, 3 * sizeof(size_t));
    assert_true(there.hash != back.hash);
    moe_flow_destroy(&there);
    moe_flow_destroy(&back);
}

static void test_the_hash_of_a_matrix_sees_every_cell(void **state)
{
    (void)state;
    moe_flow_t flow;
    make_flow(&flow, false);
    moe_flow_t other;
    assert_int_equal(moe_flow_create(3, 1, 10, &other, NULL), MOE_OK); /* nodes do not matter */
    for (size_t r = 0; r < 3; r++) {
        add_rank(&other, r, false);
    }
    assert_true(other.hash == flow.hash); /* nor the order of adding */
    moe_flow_destroy(&other);
    for (size_t from = 0; from < 3; from++) {
        for (size_t to = 0; to < 3; to++) {
            assert_int_equal(moe_flow_create(3, 2, 10, &other, NULL), MOE_OK);
            for (size_t r = 0; r < 3; r++) {
                size_t rows[3], tokens[3] = {0};
                memcpy(rows, matrix[r], sizeof rows);
                rows[to] += r == from ? 1 : 0;
                moe_flow_add(&other, r, &(moe_sent_t){.rows = rows, .tokens = tokens}, 0, false);
            }
            assert_true(other.hash != flow.hash);
            moe_flow_destroy(&other);
        }
    }
    moe_flow_destroy(&flow);
}

static void test_a_flow_keeps_from_whom_to_whom(void **state)
{
    (void)state;
    moe_flow_t there, back, sum;
    make_flow(&there, false);
    make_flow(&back, true);
    assert_int_equal(there.cells, 3);
    assert_int_equal(there.ranks_per_cell, 1);
    for (size_t from = 0; from < 3; from++) {
        for (size_t to = 0; to < 3; to++) {
            assert_int_equal(there.cell[from * 3 + to], 10 * matrix[from][to]);
            assert_int_equal(back.cell[to * 3 + from], 10 * matrix[from][to]);
        }
    }
    size_t *sums = calloc(moe_flow_sums(&there), sizeof *sums);
    assert_non_null(sums);
    moe_flow_export(&there, sums);
    assert_int_equal(moe_flow_create(3, 2, 10, &sum, NULL), MOE_OK);
    moe_flow_import(&sum, sums);
    assert_memory_equal(sum.cell, there.cell, 9 * sizeof(size_t));
    free(sums);
    moe_flow_destroy(&sum);
    moe_flow_destroy(&there);
    moe_flow_destroy(&back);
}

static void test_many_ranks_share_a_cell(void **state)
{
    (void)state;
    static const struct {
        size_t ranks, per_cell, cells;
    } cases[] = {{1, 1, 1}, {64, 1, 64}, {65, 2, 33}, {128, 2, 64}, {1000, 16, 63}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const size_t last = cases[c].ranks - 1;
        moe_flow_t flow;
        assert_int_equal(moe_flow_create(cases[c].ranks, 8, 10, &flow, NULL), MOE_OK);
        assert_int_equal(flow.ranks_per_cell, cases[c].per_cell);
        assert_int_equal(flow.cells, cases[c].cells);
        moe_flow_add_rows(&flow, 0, last, 3, 0);
        moe_flow_add_rows(&flow, 0, last, 4, 4); /* padding travels too */
        assert_int_equal(flow.cell[cases[c].cells - 1], 70);
        moe_flow_destroy(&flow);
    }
}

static void test_nothing_sent_keeps_no_rank_busy(void **state)
{
    (void)state;
    moe_flow_t flow;
    assert_int_equal(moe_flow_create(2, 8, 10, &flow, NULL), MOE_OK);
    size_t rank = 99;
    assert_int_equal(moe_flow_busiest(&flow, &rank), 0);
    assert_int_equal(rank, 0);
    assert_int_equal(moe_flow_most_arriving(&flow), 0);
    moe_flow_destroy(&flow);
    moe_error_t error = {0};
    assert_int_equal(moe_flow_create(0, 8, 10, &flow, &error), MOE_BAD_INPUT);
    assert_int_equal(moe_flow_create(8, 0, 10, &flow, &error), MOE_BAD_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_style_is_found_by_its_name),
        cmocka_unit_test(test_an_unknown_style_is_told_the_nearest),
        cmocka_unit_test(test_four_gpus_with_eight_experts_send_as_the_blog_says),
        cmocka_unit_test(test_padded_blocks_have_the_capacity_where_one_is_set),
        cmocka_unit_test(test_rows_past_the_range_saturate),
        cmocka_unit_test(test_padding_share_follows_from_drops_and_capacity_factor),
        cmocka_unit_test(test_a_dropless_padded_batch_is_zeros_but_for_k_of_e),
        cmocka_unit_test(test_without_drops_padded_sends_most_and_exact_least),
        cmocka_unit_test(test_balanced_traffic_needs_no_padding),
        cmocka_unit_test(test_metadata_is_eight_bytes_a_count),
        cmocka_unit_test(test_bytes_are_kept_apart_by_tier_and_purpose),
        cmocka_unit_test(test_combine_carries_the_transposed_matrix),
        cmocka_unit_test(test_the_hash_of_a_matrix_sees_every_cell),
        cmocka_unit_test(test_a_flow_keeps_from_whom_to_whom),
        cmocka_unit_test(test_many_ranks_share_a_cell),
        cmocka_unit_test(test_nothing_sent_keeps_no_rank_busy),
    };
    return cmocka_run_group_tests_name("traffic", tests, NULL, NULL);
}
