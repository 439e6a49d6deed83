/* Redundant experts: EPLB's greedy, and how replicas share what their expert is chosen for. */
#include <math.h>
#include <stdlib.h>

#include "moe/traffic.h"
#include "routing_cases.h"

static moe_placement_t place(const double *load, const moe_eplb_t *shape)
{
    moe_placement_t placement = {0};
    moe_error_t error = {0};
    if (moe_eplb_place(load, shape, &placement, &error) != MOE_OK)
        fail_msg("%s", error.text);
    return placement;
}

static double rank_max_over_mean(const moe_placement_t *placement, const double *load)
{
    double most = 0, total = 0;
    for (size_t r = 0; r < placement->ranks; r++) {
        double on_rank = 0;
        for (size_t i = placement->first[r]; i < placement->first[r + 1]; i++) {
            const int32_t l = placement->logical_of[placement->expert_at[i]];
            const size_t copies = placement->replica_first[l + 1] - placement->replica_first[l];
            on_rank += load[l] / (double)copies;
        }
        most = on_rank > most ? on_rank : most;
        total += on_rank;
    }
    return most / (total / (double)placement->ranks);
}

/* The example of EPLB's README: 12 experts in 4 groups, 16 places on 8 ranks of 2 nodes; experts of each
 * rank, ranks of a node in any order. */
static void test_the_published_example_is_placed_as_published(void **state)
{
    (void)state;
    static const double load[2][12] = {{90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86},
                                       {20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27}};
    static const int published[2][16] = {{5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1},
                                         {7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1}};
    const moe_eplb_t shape = {.experts = 12, .redundant = 4, .ranks = 8, .groups = 4, .nodes = 2};
    for (size_t layer = 0; layer < 2; layer++) {
        moe_placement_t placement = place(load[layer], &shape);
        for (size_t node = 0; node < 2; node++) {
            bool met[4] = {0};
            for (size_t r = 4 * node; r < 4 * node + 4; r++) {
                const int32_t *own = &placement.logical_of[2 * r];
                size_t at = 0;
                for (; at < 4; at++) { /* which published rank, of either node, has the same two */
                    bool same = false;
                    for (size_t n = 0; n < 2; n++) {
                        const int *other = &published[layer][8 * n + 2 * at];
                        same = same || (own[0] == other[0] && own[1] == other[1]) ||
                               (own[0] == other[1] && own[1] == other[0]);
                    }
                    if (same && !met[at])
                        break;
                }
                if (at == 4)
                    fail_msg("layer %zu rank %zu: %d and %d are not together", layer, r, own[0],
                             own[1]);
                met[at] = true;
            }
        }
        moe_placement_destroy(&placement);
    }
}

static void test_groups_stay_on_a_node_where_they_divide_evenly(void **state)
{
    (void)state;
    double load[32];
    for (size_t e = 0; e < 32; e++)
        load[e] = (double)(e * e % 17) + 1;
    const moe_eplb_t shape = {.experts = 32, .redundant = 8, .ranks = 8, .groups = 8, .nodes = 4};
    moe_placement_t placement = place(load, &shape);
    int node_of[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
    for (size_t p = 0; p < 40; p++) {
        const size_t group = (size_t)placement.logical_of[p] / 4;
        const int node = placement.rank_of[p] / 2;
        assert_true(node_of[group] == -1 || node_of[group] == node);
        node_of[group] = node;
    }
    moe_placement_destroy(&placement);
}

static void test_every_expert_is_there_and_ranks_are_equally_full(void **state)
{
    (void)state;
    static const moe_eplb_t shapes[] = {
        {.experts = 1, .redundant = 0, .ranks = 1},
        {.experts = 1, .redundant = 7, .ranks = 4},
        {.experts = 8, .redundant = 8, .ranks = 16},
        {.experts = 10, .redundant = 2, .ranks = 4, .groups = 5, .nodes = 2},
        {.experts = 256, .redundant = 32, .ranks = 32, .groups = 8, .nodes = 4},
    };
    double load[256];
    for (size_t e = 0; e < 256; e++)
        load[e] = e == 3 ? 0 : 1 / ((double)e + 1);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        moe_placement_t p = place(load, &shapes[s]);
        const size_t physical = shapes[s].experts + shapes[s].redundant;
        assert_int_equal(p.experts, physical);
        assert_int_equal(p.logical, shapes[s].experts);
        for (size_t r = 0; r < p.ranks; r++)
            assert_int_equal(p.first[r + 1] - p.first[r], physical / p.ranks);
        for (size_t l = 0; l < p.logical; l++) {
            assert_true(p.replica_first[l + 1] > p.replica_first[l]);
            for (size_t i = p.replica_first[l]; i < p.replica_first[l + 1]; i++)
                assert_int_equal(p.logical_of[p.replica_at[i]], l);
        }
        moe_placement_destroy(&p);
    }
}

static void test_redundant_experts_even_out_ranks(void **state)
{
    (void)state;
    double load[64];
    for (size_t e = 0; e < 64; e++)
        load[e] = 1 / ((double)e + 1);
    const moe_eplb_t without = {.experts = 64, .ranks = 16};
    const moe_eplb_t with = {.experts = 64, .redundant = 16, .ranks = 16};
    moe_placement_t a = place(load, &without), b = place(load, &with);
    assert_true(rank_max_over_mean(&a, load) > 3); /* the hottest has 21 %: 3.4 means */
    assert_true(rank_max_over_mean(&b, load) < 1.3);
    moe_placement_destroy(&b);
    moe_placement_destroy(&a);
}

static void test_what_does_not_divide_is_refused_with_what_does(void **state)
{
    (void)state;
    static const struct {
        const char *placement;
        size_t experts, ranks, redundant; /* SIZE_MAX: refused */
    } cases[] = {
        {"eplb", 8, 4, 4},         {"eplb", 10, 4, 2},          {"eplb", 8, 16, 8},
        {"eplb:0", 8, 4, 0},       {"eplb:8", 8, 4, 8},         {"eplb:3", 8, 4, SIZE_MAX},
        {"eplb:", 8, 4, SIZE_MAX}, {"eplb:-1", 8, 4, SIZE_MAX}, {"eplb:65536", 8, 4, SIZE_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        moe_error_t error = {0};
        size_t redundant = SIZE_MAX;
        assert_true(moe_eplb_asked(cases[i].placement));
        const moe_status_t status = moe_eplb_redundant(cases[i].placement, cases[i].experts,
                                                       cases[i].ranks, &redundant, &error);
        assert_int_equal(status, cases[i].redundant == SIZE_MAX ? MOE_BAD_INPUT : MOE_OK);
        assert_int_equal(redundant, cases[i].redundant);
    }
    assert_false(moe_eplb_asked("eplbx"));
    assert_false(moe_eplb_asked("block"));
    moe_error_t error = {0};
    size_t redundant;
    assert_int_equal(moe_eplb_redundant("eplb:3", 8, 4, &redundant, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "eplb:4"));
}

static void test_replicas_take_even_shares_of_the_same_choices(void **state)
{
    (void)state;
    enum { EXPERTS = 8, TOP_K = 2, TOKENS = 20000 };
    double load[EXPERTS];
    size_t counts[16] = {0};
    moe_router_t *router = make_router("softmax", EXPERTS, TOP_K, "hot:1,0.6", 4, 0);
    moe_router_loads(router, load);
    const moe_eplb_t shape = {.experts = EXPERTS, .redundant = 4, .ranks = 4};
    moe_placement_t placement = place(load, &shape);
    moe_table_t logical = make_table(router, 2, 100, TOKENS);
    moe_table_t physical = make_table(router, 2, 100, TOKENS);
    moe_placement_share(&placement, router, 2, &physical);
    for (size_t i = 0; i < (size_t)TOKENS * TOP_K; i++) {
        assert_int_equal(placement.logical_of[physical.expert[i]], logical.expert[i]);
        counts[physical.expert[i]]++;
    }
    for (size_t p = 0; p < placement.experts; p++) {
        const int32_t l = placement.logical_of[p];
        const size_t first = placement.replica_first[l], end = placement.replica_first[l + 1];
        size_t all = 0;
        for (size_t i = first; i < end; i++)
            all += counts[placement.replica_at[i]];
        const double even = (double)all / (double)(end - first);
        assert_true(fabs((double)counts[p] - even) < 6 * sqrt(even));
    }
    moe_table_destroy(&physical);
    moe_table_destroy(&logical);
    moe_placement_destroy(&placement);
    moe_router_destroy(router);
}

static void test_expected_loads_are_those_of_the_choices(void **state)
{
    (void)state;
    enum { EXPERTS = 16, TOP_K = 3, TOKENS = 20000 };
    double load[EXPERTS], sum = 0;
    size_t counts[EXPERTS] = {0};
    moe_router_t *router = make_router("softmax", EXPERTS, TOP_K, "zipf:1.2", 4, 0);
    moe_table_t table = make_table(router, 0, 0, TOKENS);
    moe_router_loads(router, load);
    for (size_t i = 0; i < (size_t)TOKENS * TOP_K; i++)
        counts[table.expert[i]]++;
    for (size_t e = 0; e < EXPERTS; e++) {
        const double share = (double)counts[e] / (TOKENS * TOP_K);
        assert_true(fabs(load[e] - share) < 0.2 * share);
        sum += load[e];
    }
    assert_true(fabs(sum - 1) < 1e-12);
    moe_table_destroy(&table);
    moe_router_destroy(router);
}

static void test_a_census_counts_replicas_as_their_expert(void **state)
{
    (void)state;
    enum { EXPERTS = 8, RANKS = 4, TOKENS = 500 };
    static const char *const kinds[] = {"block", "eplb"};
    moe_router_t *router = make_router("softmax", EXPERTS, 2, "hot:1,0.6", 4, 0);
    moe_census_report_t report[2];
    for (size_t k = 0; k < 2; k++) {
        double load[EXPERTS];
        const moe_eplb_t shape = {.experts = EXPERTS, .redundant = 4, .ranks = RANKS};
        moe_placement_t placement = {0};
        moe_router_loads(router, load);
        if (k == 0)
            assert_int_equal(moe_placement_create(kinds[k], EXPERTS, RANKS, &placement, NULL),
                             MOE_OK);
        else
            placement = place(load, &shape);
        const size_t tokens[RANKS] = {TOKENS, TOKENS, TOKENS, 0};
        const uint64_t first[RANKS] = {0, TOKENS, 2 * TOKENS, 3 * TOKENS};
        const moe_workload_t workload = {
            .router = router, .placement = &placement, .tokens = tokens, .first_token = first};
        moe_census_t census;
        assert_int_equal(moe_census_create_placed(&placement, RANKS, &census, NULL), MOE_OK);
        for (size_t r = 0; r < RANKS; r++) {
            moe_batch_t *batch = NULL;
            assert_int_equal(moe_batch_create(&workload, r, &batch, NULL), MOE_OK);
            moe_census_add(&census, &workload, batch, 0, 1);
            moe_batch_destroy(batch);
        }
        moe_census_summarise(&census, &report[k]);
        moe_census_destroy(&census);
        moe_placement_destroy(&placement);
    }
    assert_memory_equal(&report[0].expert, &report[1].expert, sizeof report[0].expert);
    assert_true(fabs(report[0].aux_loss - report[1].aux_loss) < 1e-15);
    assert_true(fabs(report[1].block_rank_max_over_mean - report[0].rank.max_over_mean) < 1e-12);
    assert_true(report[1].rank.max_over_mean < report[0].rank.max_over_mean - 0.5);
    assert_true(report[0].block_rank_max_over_mean == 0);
    moe_router_destroy(router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_published_example_is_placed_as_published),
        cmocka_unit_test(test_groups_stay_on_a_node_where_they_divide_evenly),
        cmocka_unit_test(test_every_expert_is_there_and_ranks_are_equally_full),
        cmocka_unit_test(test_redundant_experts_even_out_ranks),
        cmocka_unit_test(test_what_does_not_divide_is_refused_with_what_does),
        cmocka_unit_test(test_replicas_take_even_shares_of_the_same_choices),
        cmocka_unit_test(test_expected_loads_are_those_of_the_choices),
        cmocka_unit_test(test_a_census_counts_replicas_as_their_expert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
