/* Styles beside each other on one routing table: what others have published about them, and what must
 * hold between them on any. */
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

/* Rows that a style sends in dispatch. */
static size_t rows_sent(const moe_flow_t *flow)
{
    return flow->bytes.logical / flow->row_bytes;
}

/* Of N(distinct) = units * (1 - C(E - E/units, K) / C(E, K)): K of E experts, drawn without
 * replacement, on equal units. */
static double expected_distinct(size_t experts, size_t top_k, size_t units)
{
    double none = 1;
    for (size_t i = 0; i < top_k; i++) {
        none *= (double)(experts - experts / units - i) / (double)(experts - i);
    }
    return (double)units * (1 - none);
}

/* ---- Published ---- */

/* UCCL-EP, README: E = 256, K = 8, uniform. */
enum { DS_EXPERTS = 256, DS_TOP_K = 8 };

/* Places a token, by dedup on that many ranks. */
static double ranks_of_a_token(size_t ranks, size_t tokens)
{
    const world_spec_t spec = {
        .experts = DS_EXPERTS, .top_k = DS_TOP_K, .ranks = ranks, .tokens = tokens, .seed = 9};
    world_t w;
    world_create(&w, &spec);
    moe_flow_t dispatch;
    world_flow(&w, "dedup", 8, 1, false, &dispatch);
    const double distinct = (double)rows_sent(&dispatch) / (double)(ranks * tokens);
    moe_flow_destroy(&dispatch);
    world_destroy(&w);
    return distinct;
}

/* Places a token, by the first hop of two-hop on that many nodes of 8: its rows to other nodes, and to
 * the source's own node, which is a place as any. */
static double nodes_of_a_token(size_t nodes, size_t tokens)
{
    const size_t ranks = 8 * nodes;
    const world_spec_t spec = {.experts = DS_EXPERTS,
                               .top_k = DS_TOP_K,
                               .ranks = ranks,
                               .tokens = tokens,
                               .ranks_per_node = 8,
                               .seed = 10};
    world_t w;
    world_create(&w, &spec);
    moe_flow_t both, second;
    world_flow(&w, "two-hop", 8, 1, false, &both);
    world_flow(&w, "dedup", 8, 1, false, &second); /* rows to ranks are those of the second hop */
    const double distinct =
        (double)(rows_sent(&both) - rows_sent(&second)) / (double)(ranks * tokens);
    moe_flow_destroy(&both);
    moe_flow_destroy(&second);
    world_destroy(&w);
    return distinct;
}

/* A place is hit by a token or not, with the same probability; hits exclude each other, so that the
 * variance of their sum is below that of as many independent ones. Five standard errors. */
static void assert_near(double measured, double expected, size_t units, size_t tokens)
{
    const double hit = expected / (double)units;
    const double error = sqrt((double)units * hit * (1 - hit) / (double)tokens);
    if (fabs(measured - expected) > 5 * error) {
        fail_msg("%zu places: %g of a token, %g expected", units, measured, expected);
    }
}

static void test_distinct_ranks_and_nodes_are_those_of_uccl_ep(void **state)
{
    (void)state;
    const struct {
        size_t units;
        double published; /* "uccl-ep-dedup" */
    } ranks[] = {{8, 5.3}, {16, 6.52}, {32, 7.27}, {64, 7.68}},
      nodes[] = {{2, 1.993}, {4, 3.614}, {8, 5.3}};
    const size_t tokens = 8192; /* of all ranks */
    for (size_t i = 0; i < LENGTH(ranks); i++) {
        const size_t units = ranks[i].units;
        const double expected = expected_distinct(DS_EXPERTS, DS_TOP_K, units);
        assert_true(fabs(expected - ranks[i].published) < 0.006); /* as far as it is printed */
        assert_near(ranks_of_a_token(units, tokens / units), expected, units, tokens);
    }
    for (size_t i = 0; i < LENGTH(nodes); i++) {
        const size_t units = nodes[i].units;
        const double expected = expected_distinct(DS_EXPERTS, DS_TOP_K, units);
        const double printed = nodes[i].published > 5 ? 0.006 : 0.0006;
        assert_true(fabs(expected - nodes[i].published) < printed);
        assert_near(nodes_of_a_token(units, tokens / units / 8), expected, units, tokens);
    }
}

/* UCCL-EP, README: 4096 tokens * 7392 B * 1.993 in 1196 us are its 50 GB/s on 16 ranks, * 3.614 in
 * 2022 us its 54 GB/s on 32: the local node is counted. */
static void test_published_bandwidths_of_uccl_ep_count_the_local_node(void **state)
{
    (void)state;
    const struct {
        size_t nodes;
        double seconds, published; /* GB/s */
    } cases[] = {{2, 1196e-6, 50}, {4, 2022e-6, 54}};
    for (size_t i = 0; i < LENGTH(cases); i++) {
        const double bytes = 4096 * (double)moe_row_bytes(MOE_FP8, 7168) *
                             expected_distinct(DS_EXPERTS, DS_TOP_K, cases[i].nodes);
        assert_true(fabs(1e-9 * bytes / cases[i].seconds - cases[i].published) < 1);
    }
}

/* DeepEP, README (v1), low-latency: 128 tokens, hidden 7168, top-8: 128*8*(7168 + 7168/128*4) bytes of
 * dispatch and 128*8*7168*2 of combine a rank; its kernels put 16 B of header before every row. */
static void test_low_latency_bytes_are_those_of_deepep(void **state)
{
    (void)state;
    enum { RANKS = 8, HEADER = 16 };
    const world_spec_t spec = {
        .experts = 256, .top_k = 8, .ranks = RANKS, .tokens = 128, .skew = "zipf:0.7", .seed = 2};
    const size_t fp8 = moe_row_bytes(MOE_FP8, 7168), bf16 = moe_row_bytes(MOE_BF16, 7168);
    world_t w;
    world_create(&w, &spec);
    const moe_style_ops_t *slots = style_named("slots");
    assert_int_equal(moe_style_side_bytes(slots, &w.sizes), HEADER);
    moe_flow_t dispatch, combine, unused;
    world_flows(&w, slots, RANKS, fp8, &dispatch, &combine);
    moe_flow_destroy(&combine);
    world_flows(&w, slots, RANKS, bf16, &unused, &combine);
    assert_int_equal(dispatch.bytes.useful / RANKS, 7569408);
    assert_int_equal(combine.bytes.useful / RANKS, 14680064);
    assert_int_equal(combine.bytes.logical, combine.bytes.useful);
    assert_int_equal(dispatch.bytes.logical / RANKS, 7569408 + 128 * 8 * HEADER);
    assert_int_equal(dispatch.bytes.padding, 0);
    moe_flow_destroy(&dispatch);
    moe_flow_destroy(&combine);
    moe_flow_destroy(&unused);
    world_destroy(&w);
}

/* pplx-kernels, README, "Torch AtA": zero-padded, T = 128, E = 256, K = 8, 7392 B a token: E*T rows
 * are moved, E/K = 32 times the useful ones. */
static void test_padding_without_capacity_is_that_of_pplx_kernels(void **state)
{
    (void)state;
    enum { RANKS = 16, TOKENS = 128 };
    const size_t row = moe_row_bytes(MOE_FP8, 7168);
    assert_int_equal(row, 7392);
    const char *const skews[] = {"uniform", "zipf:1.2", "hot:1,0.9"};
    for (size_t i = 0; i < LENGTH(skews); i++) {
        const world_spec_t spec = {.experts = 256,
                                   .top_k = 8,
                                   .ranks = RANKS,
                                   .tokens = TOKENS,
                                   .skew = skews[i],
                                   .seed = 3};
        world_t w;
        world_create(&w, &spec);
        moe_flow_t flow;
        world_flow(&w, "padded", 8, row, false, &flow);
        assert_int_equal(rows_sent(&flow), RANKS * 256 * TOKENS);
        assert_int_equal(flow.bytes.logical / RANKS, 242221056);
        assert_int_equal(flow.bytes.useful / RANKS, 7569408);
        assert_int_equal(flow.bytes.logical, 32 * flow.bytes.useful);
        moe_flow_destroy(&flow);
        world_destroy(&w);
    }
}

/* ---- Between nodes ---- */

typedef struct layout {
    size_t experts, top_k, ranks, ranks_per_node;
    const char *placement;
} layout_t;

static const layout_t layouts[] = {
    {16, 4, 4, 2, "block"},       {16, 2, 8, 4, "block"}, {64, 8, 16, 8, "block"},
    {13, 5, 6, 2, "round-robin"}, {3, 2, 8, 2, "block"},  {9, 9, 6, 3, "round-robin"},
    {8, 1, 4, 1, "block"},        {6, 3, 6, 6, "block"},  {32, 6, 12, 4, "round-robin"},
};

static const char *const skews[] = {"balanced", "uniform",       "zipf:0.6",
                                    "zipf:1.5", "dirichlet:0.4", "hot:1,0.9"};

/* Rows of a style between nodes: what travels behind a row is not counted. */
static size_t rows_between_nodes(const world_t *w, const char *style, bool combine)
{
    moe_flow_t flow;
    world_flow(w, style, w->sizes.ranks_per_node, 1, combine, &flow);
    const size_t rows = flow.tiers.inter_node / flow.row_bytes;
    assert_int_equal(flow.tiers.inter_node % flow.row_bytes, 0);
    moe_flow_destroy(&flow);
    return rows;
}

static void check_order(const world_spec_t *spec)
{
    world_t w;
    world_create(&w, spec);
    for (int combine = 0; combine <= 1; combine++) {
        const size_t padded = rows_between_nodes(&w, "padded", combine);
        const size_t padded_max = rows_between_nodes(&w, "padded-max", combine);
        const size_t exact = rows_between_nodes(&w, "exact", combine);
        const size_t dedup = rows_between_nodes(&w, "dedup", combine);
        const size_t two_hop = rows_between_nodes(&w, "two-hop", combine);
        assert_true(padded >= padded_max && padded_max >= exact);
        assert_true(exact >= dedup && dedup >= two_hop);
        assert_int_equal(rows_between_nodes(&w, "hier", combine), padded);
        assert_int_equal(rows_between_nodes(&w, "exact-per-expert", combine), exact);
        assert_int_equal(rows_between_nodes(&w, "slots", combine), exact);
        /* Nodes without the token's own, at most once each. */
        const size_t nodes = w.ranks / w.sizes.ranks_per_node;
        assert_true(two_hop <= w.ranks * spec->tokens * (nodes - 1));
        assert_int_equal(rows_between_nodes(&w, "allgather", combine),
                         w.ranks * spec->tokens * (w.ranks - w.sizes.ranks_per_node));
    }
    world_destroy(&w);
}

static void test_without_drops_each_style_sends_no_more_between_nodes_than_the_last(void **state)
{
    (void)state;
    for (size_t l = 0; l < LENGTH(layouts); l++) {
        for (size_t i = 0; i < LENGTH(skews) * 4; i++) {
            check_order(&(world_spec_t){.experts = layouts[l].experts,
                                        .top_k = layouts[l].top_k,
                                        .ranks = layouts[l].ranks,
                                        .ranks_per_node = layouts[l].ranks_per_node,
                                        .placement = layouts[l].placement,
                                        .skew = skews[i % LENGTH(skews)],
                                        .tokens = 7 + i,
                                        .seed = 100 * l + i});
        }
    }
}

/* Bytes too, with what travels behind rows, in the shape that the order is shown with: index and
 * weight are 64 B beside 7392. */
static void test_bytes_between_nodes_fall_from_style_to_style(void **state)
{
    (void)state;
    static const char *const order[] = {"padded", "exact", "dedup", "two-hop"};
    const world_spec_t spec = {
        .experts = 256, .top_k = 8, .ranks = 16, .ranks_per_node = 8, .tokens = 128, .seed = 4};
    world_t w;
    world_create(&w, &spec);
    size_t last = SIZE_MAX;
    for (size_t i = 0; i < LENGTH(order); i++) {
        moe_flow_t flow;
        world_flow(&w, order[i], 8, 7392, false, &flow);
        assert_true(flow.tiers.inter_node > 0 && flow.tiers.inter_node < last);
        last = flow.tiers.inter_node;
        moe_flow_destroy(&flow);
    }
    world_destroy(&w);
}

/* More choices than ranks: to send a token to everybody is then less than to send it to each expert. */
static void test_allgather_pays_where_choices_outnumber_ranks(void **state)
{
    (void)state;
    for (size_t top_k = 1; top_k <= 16; top_k++) {
        const world_spec_t spec = {.experts = 64, .top_k = top_k, .ranks = 8, .tokens = 32};
        world_t w;
        world_create(&w, &spec);
        moe_flow_t all, exact;
        world_flow(&w, "allgather", 8, 1, false, &all);
        world_flow(&w, "exact", 8, 1, false, &exact);
        assert_int_equal(rows_sent(&all) < rows_sent(&exact), top_k > 8);
        moe_flow_destroy(&all);
        moe_flow_destroy(&exact);
        world_destroy(&w);
    }
}

/* ---- Groups of experts on nodes ---- */

/* DeepSeek-V3 (arXiv 2412.19437, section 2.1.2): 8 groups, a token uses 4 at most; with a group on
 * each node, it crosses to 4 nodes at most. */
static void test_group_limited_tokens_reach_at_most_so_many_nodes(void **state)
{
    (void)state;
    enum { NODES = 8, RANKS = 16, LIMIT = 3 };
    const world_spec_t spec = {.gate = "group-limited",
                               .experts = 64,
                               .top_k = 8,
                               .n_group = NODES,
                               .topk_group = LIMIT,
                               .ranks = RANKS,
                               .ranks_per_node = RANKS / NODES,
                               .tokens = 1,
                               .skew = "zipf:0.5"};
    size_t most = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        world_spec_t own = spec;
        own.seed = seed;
        world_t w;
        world_create(&w, &own);
        for (size_t r = 0; r < RANKS; r++) { /* one token on each: its rows are this batch's */
            moe_flow_t dispatch, combine;
            assert_int_equal(moe_flow_create(RANKS, RANKS / NODES, 64, &dispatch, NULL), MOE_OK);
            assert_int_equal(moe_flow_create(RANKS, RANKS / NODES, 1, &combine, NULL), MOE_OK);
            moe_flow_add_batch(style_named("two-hop"), &w.sizes, w.batch[r], r, 0, &dispatch,
                               &combine);
            most = combine.tiers.inter_node > most ? combine.tiers.inter_node : most;
            assert_int_equal(dispatch.tiers.inter_node, 64 * combine.tiers.inter_node);
            moe_flow_destroy(&dispatch);
            moe_flow_destroy(&combine);
        }
        world_destroy(&w);
    }
    assert_int_equal(most, LIMIT); /* reached, and not passed */
}

/* ---- By the first hop within a node ---- */

/* Tutel's 2DH: bytes between nodes stay, messages between nodes fall from (N-1)*g to N-1 a rank. */
static void test_hier_sends_as_much_between_nodes_in_fewer_messages(void **state)
{
    (void)state;
    const world_spec_t spec = {.experts = 16,
                               .top_k = 2,
                               .ranks = 8,
                               .ranks_per_node = 4,
                               .tokens = 20,
                               .capacity = {.factor = 1.25, .min = 4}};
    world_t w;
    world_create(&w, &spec);
    const moe_style_ops_t *const style[] = {style_named("padded"), style_named("hier")};
    const size_t expected[] = {4, 1}; /* to the other node's ranks; to the one of this number */
    for (size_t s = 0; s < LENGTH(style); s++) {
        for (size_t r = 0; r < w.ranks; r++) {
            moe_plan_t plan;
            assert_int_equal(
                moe_plan_create(style[s], &w.workload, &w.sizes, w.batch[r], r, NULL, &plan, NULL),
                MOE_OK);
            const moe_hop_t *hop = plan.two_hops ? &plan.forward : &plan.hop;
            size_t messages = 0;
            for (size_t p = 0; p < hop->peers; p++) {
                const size_t to = hop->scope == MOE_SCOPE_RAIL ? p * 4 + r % 4 : p;
                messages += hop->send_rows[p] > 0 && to / 4 != r / 4;
            }
            assert_int_equal(messages, expected[s]);
            moe_plan_destroy(&plan);
        }
    }
    moe_flow_t padded, hier;
    world_flow(&w, "padded", 4, 10, false, &padded);
    world_flow(&w, "hier", 4, 10, false, &hier);
    assert_int_equal(hier.tiers.inter_node, padded.tiers.inter_node);
    assert_true(hier.tiers.inter_node > 0 && hier.bytes.padding >= padded.bytes.padding);
    moe_flow_destroy(&padded);
    moe_flow_destroy(&hier);
    world_destroy(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distinct_ranks_and_nodes_are_those_of_uccl_ep),
        cmocka_unit_test(test_published_bandwidths_of_uccl_ep_count_the_local_node),
        cmocka_unit_test(test_low_latency_bytes_are_those_of_deepep),
        cmocka_unit_test(test_padding_without_capacity_is_that_of_pplx_kernels),
        cmocka_unit_test(test_without_drops_each_style_sends_no_more_between_nodes_than_the_last),
        cmocka_unit_test(test_bytes_between_nodes_fall_from_style_to_style),
        cmocka_unit_test(test_allgather_pays_where_choices_outnumber_ranks),
        cmocka_unit_test(test_group_limited_tokens_reach_at_most_so_many_nodes),
        cmocka_unit_test(test_hier_sends_as_much_between_nodes_in_fewer_messages),
    };
    return cmocka_run_group_tests_name("traffic", tests, NULL, NULL);
}
