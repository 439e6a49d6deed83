/* Workloads: their files, and the loads that they make. */
#include <glob.h>
#include <jansson.h>
#include <math.h>

#include "scenario_setting.h"

/* ---- Loads ---- */

static void test_shares_of_a_rule_are_what_a_rank_sends_where(void **state)
{
    (void)state;
    setting_t s;
    double load[16];
    set_text(&s,
             SCENARIO(",\"ranks\":[{\"from\":\"rank 1\",\"to\":{\"next\":0.5,\"self\":0.2,"
                      "\"others\":0.3}}]"),
             16, 2, 4, 2);
    assert_int_equal(moe_scenario_loads(&s.spec, 0, 0, 1, load, NULL), MOE_OK);
    for (size_t e = 0; e < 16; e++) {
        const double share[] = {0.15, 0.2, 0.5, 0.15};
        assert_true(fabs(load[e] - share[e / 4] / 4) < 1e-12);
    }
    assert_int_equal(moe_scenario_loads(&s.spec, 0, 0, 2, load, NULL), MOE_OK); /* no rule: even */
    for (size_t e = 0; e < 16; e++)
        assert_true(fabs(load[e] - 1.0 / 16) < 1e-12);
    unset(&s);
}

static void test_what_more_than_every_token_would_have_to_choose_goes_to_others(void **state)
{
    (void)state;
    setting_t s;
    double load[4];
    set_text(&s,
             SCENARIO(",\"experts\":{\"law\":\"hot\",\"hot\":1,\"heat\":100,\"where\":"
                      "\"one-rank\"}"),
             4, 2, 4, 0);
    assert_int_equal(moe_scenario_loads(&s.spec, 0, 0, 0, load, NULL), MOE_OK);
    assert_true(fabs(load[0] - 0.5) < 1e-12);
    for (size_t e = 1; e < 4; e++)
        assert_true(fabs(load[e] - 0.5 / 3) < 1e-12);
    unset(&s);
}

static void test_the_hot_expert_set_moves_and_keeps_its_heat(void **state)
{
    (void)state;
    static const char *const where[] = {"anywhere", "one-rank", "spread"};
    for (size_t w = 0; w < 3; w++) {
        setting_t s;
        char text[256];
        double load[16], on_rank[4] = {0};
        size_t hot = 0;
        snprintf(text, sizeof text,
                 SCENARIO(",\"experts\":{\"law\":\"hot\",\"heat\":3,\"where\":\"%s\"}"), where[w]);
        set_text(&s, text, 16, 2, 4, 0);
        assert_int_equal(moe_scenario_loads(&s.spec, 5, 0, 0, load, NULL), MOE_OK);
        for (size_t e = 0; e < 16; e++) {
            const bool is_hot = fabs(load[e] - 3.0 / 24) < 1e-12;
            assert_true(is_hot || fabs(load[e] - 1.0 / 24) < 1e-12);
            hot += is_hot;
            on_rank[e / 4] += load[e];
        }
        assert_int_equal(hot, 4);
        if (w == 1)
            assert_true(fabs(on_rank[0] - 0.5) < 1e-12);
        if (w == 2)
            assert_true(fabs(on_rank[0] - 0.25) < 1e-12);
        unset(&s);
    }
}

static void test_a_rotating_hot_rank_is_back_after_its_cycle(void **state)
{
    (void)state;
    setting_t s;
    double first[6], load[6];
    set_text(&s,
             SCENARIO(",\"experts\":{\"law\":\"hot\",\"hot\":2,\"heat\":5,\"where\":"
                      "\"one-rank\",\"rotate\":2},\"tokens\":{\"by_step\":[1,0.5]}"),
             6, 1, 3, 0);
    assert_int_equal(moe_scenario_cycle(s.scenario, 3), 6);
    assert_int_equal(moe_scenario_loads(&s.spec, 0, 0, 0, first, NULL), MOE_OK);
    for (uint32_t step = 0; step < 6; step++) {
        assert_int_equal(moe_scenario_loads(&s.spec, 0, step, 0, load, NULL), MOE_OK);
        assert_true(load[(2 * step) % 3 * 2] > 0.3);
    }
    assert_int_equal(moe_scenario_loads(&s.spec, 0, 6, 0, load, NULL), MOE_OK);
    assert_memory_equal(first, load, sizeof load);
    unset(&s);
}

static void test_nodes_are_supposed_where_all_ranks_share_one(void **state)
{
    (void)state;
    setting_t s;
    double load[8];
    set_text(&s, SCENARIO(",\"ranks\":[{\"to\":{\"rail\":1}}]"), 8, 1, 8, 8);
    assert_int_equal(moe_scenario_node_ranks(s.scenario, 8, 8), 2);
    assert_int_equal(moe_scenario_node_ranks(s.scenario, 8, 4), 4);
    assert_int_equal(moe_scenario_node_ranks(s.scenario, 36, 0), 6);
    assert_int_equal(moe_scenario_loads(&s.spec, 0, 0, 3, load, NULL), MOE_OK);
    for (size_t e = 0; e < 8; e++) /* rank e: odd, and not in the node of 2 and 3 */
        assert_true(fabs(load[e] - (e % 2 == 1 && e != 3 ? 1.0 / 3 : 0)) < 1e-12);
    unset(&s);
    set_text(&s, SCENARIO(""), 8, 1, 8, 8);
    assert_int_equal(moe_scenario_node_ranks(s.scenario, 8, 8), 0);
    unset(&s);
}

static void test_tokens_follow_rank_and_step(void **state)
{
    (void)state;
    setting_t s;
    set_text(&s, SCENARIO(",\"tokens\":{\"by_rank\":[1,0.5,0],\"by_step\":[1,0.25]}"), 4, 1, 4, 0);
    assert_int_equal(moe_scenario_tokens(s.scenario, 100, 0, 0), 100);
    assert_int_equal(moe_scenario_tokens(s.scenario, 100, 4, 1), 13); /* 12.5 */
    assert_int_equal(moe_scenario_tokens(s.scenario, 100, 2, 0), 0);
    assert_int_equal(moe_scenario_tokens(s.scenario, 0, 0, 0), 0);
    assert_int_equal(moe_scenario_cycle(s.scenario, 4), 2);
    unset(&s);
}

/* ---- Routing ---- */

static void test_routing_realises_the_loads(void **state)
{
    (void)state;
    setting_t s;
    double load[16];
    size_t counts[16] = {0};
    const size_t tokens = 20000;
    set_text(&s, SCENARIO(",\"experts\":{\"law\":\"zipf\",\"slope\":1,\"shift\":1}"), 16, 4, 4, 0);
    moe_router_t *router = NULL;
    assert_int_equal(moe_router_create(&s.spec, 0, &router, NULL), MOE_OK);
    add_choices(router, 0, 0, tokens, counts);
    assert_int_equal(moe_scenario_loads(&s.spec, 0, 0, 0, load, NULL), MOE_OK);
    for (size_t e = 0; e < 16; e++) {
        const double share = (double)counts[e] / (double)(4 * tokens);
        assert_true(fabs(share - load[e]) < 0.08 * load[e]);
    }
    moe_router_destroy(router);
    unset(&s);
}

static void test_experts_without_a_load_are_never_chosen(void **state)
{
    (void)state;
    static const char *const gates[] = {"softmax", "noisy", "switch", "gshard"};
    for (size_t g = 0; g < 4; g++) {
        const size_t top_k = g == 2 ? 1 : 2;
        setting_t s;
        size_t counts[8] = {0};
        set_text(&s, SCENARIO(",\"ranks\":[{\"to\":{\"next\":1}}]"), 8, top_k, 4, 0);
        assert_int_equal(moe_gate_find(gates[g], &s.spec.gate, NULL), MOE_OK);
        moe_router_t *router = NULL;
        assert_int_equal(moe_router_create(&s.spec, 0, &router, NULL), MOE_OK);
        add_choices(router, 3, 1, 2000, counts);
        for (size_t e = 0; e < 8; e++)
            assert_int_equal(counts[e] > 0, e / 2 == 2);
        moe_router_destroy(router);
        unset(&s);
    }
}

static void test_a_workload_that_does_not_vary_needs_no_router_of_its_own(void **state)
{
    (void)state;
    setting_t s;
    const moe_router_t *opened = NULL;
    moe_router_t *router = NULL;
    set_text(&s, SCENARIO(""), 8, 2, 4, 0);
    assert_int_equal(moe_router_create(&s.spec, 0, &router, NULL), MOE_OK);
    assert_int_equal(moe_router_open(router, 7, 3, &opened, NULL), MOE_OK);
    assert_ptr_equal(opened, router);
    moe_router_close(router, opened);
    moe_router_destroy(router);
    unset(&s);
}

/* ---- What cannot be ---- */

static void assert_impossible(const char *text, size_t experts, size_t top_k, size_t ranks,
                              const char *said)
{
    setting_t s;
    moe_error_t error = {0};
    set_text(&s, text, experts, top_k, ranks, 0);
    assert_int_equal(moe_scenario_check(&s.spec, &error), MOE_BAD_INPUT);
    if (strstr(error.text, said) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.text, said);
    unset(&s);
}

static void test_what_a_shape_makes_impossible_is_refused(void **state)
{
    (void)state;
    const char *neighbours = SCENARIO(",\"ranks\":[{\"to\":{\"next\":1}}]");
    assert_impossible(neighbours, 8, 3, 4, "reach 2 experts");
    assert_impossible(neighbours, 2, 1, 4, "none that holds experts is 'next' to rank 1");
    assert_impossible(SCENARIO(",\"ranks\":[{\"to\":{\"rank 9\":1}}]"), 8, 1, 4, "'rank 9'");
    assert_impossible(SCENARIO(",\"ranks\":[{\"to\":{\"last\":0,\"others\":1}}]"), 8, 1, 1,
                      "'others'");
    assert_impossible(SCENARIO(",\"ranks\":[{\"to\":{\"cross-rail\":1}}]"), 8, 1, 2, "cross-rail");
    assert_impossible(SCENARIO(",\"experts\":{\"law\":\"hot\",\"hot\":9,\"heat\":2}"), 8, 1, 2,
                      "9 hot experts, but the model has 8");
    assert_impossible(SCENARIO(",\"experts\":{\"law\":\"hot\",\"hot\":7,\"heat\":0}"), 8, 2, 2,
                      "reach 1 experts");
}

static void test_files_that_are_no_workloads_are_refused_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *said;
    } bad[] = {
        {"", ":1:"},
        {"[]", "must be an object"},
        {"{\"workload\":1", ":1:"},
        {"{}", "workload (the version"},
        {"{\"workload\":2,\"name\":\"a\"}", "between 1 and 1"},
        {"{\"workload\":1,\"workload\":1}", "duplicate"},
        {"{\"workload\":1,\"name\":\"A b\"}", "name:"},
        {"{\"workload\":1,\"name\":\"a\"}", "isolates: missing"},
        {SCENARIO(",\"expert\":{}"), "nearest: experts"},
        {SCENARIO(",\"experts\":[]"), "experts: must be"},
        {SCENARIO(",\"experts\":{}"), "experts.law: missing"},
        {SCENARIO(",\"experts\":{\"law\":\"zipfs\"}"), "'zipfs' is not one of: uniform, hot"},
        {SCENARIO(",\"experts\":{\"law\":\"zipf\",\"slope\":1}"), "experts.shift"},
        {SCENARIO(",\"experts\":{\"law\":\"zipf\",\"slope\":-1,\"shift\":0}"), "experts.slope"},
        {SCENARIO(",\"experts\":{\"law\":\"uniform\",\"heat\":1}"), "'heat' is no key"},
        {SCENARIO(",\"experts\":{\"law\":\"hot\",\"heat\":2,\"hot\":0}"), "experts.hot"},
        {SCENARIO(",\"experts\":{\"law\":\"uniform\",\"where\":\"here\"}"), "experts.where"},
        {SCENARIO(",\"experts\":{\"law\":\"uniform\",\"where\":1}"), "must be text"},
        {SCENARIO(",\"experts\":{\"law\":\"uniform\",\"rotate\":1}"), "only with"},
        {SCENARIO(",\"ranks\":{}"), "ranks: must be"},
        {SCENARIO(",\"ranks\":[1]"), "ranks[0]: must be"},
        {SCENARIO(",\"ranks\":[{\"to\":{}}]"), "ranks[0].to"},
        {SCENARIO(",\"ranks\":[{\"to\":{\"next\":0.5}}]"), "sum to 1"},
        {SCENARIO(",\"ranks\":[{\"to\":{\"node\":1}}]"), "'node' is not one of"},
        {SCENARIO(",\"ranks\":[{\"to\":{\"node 99999999999999999999\":1}}]"), "is not one of"},
        {SCENARIO(",\"ranks\":[{\"to\":{\"next\":\"1\"}}]"), "must be a number"},
        {SCENARIO(",\"ranks\":[{\"from\":\"others\",\"to\":{\"all\":1}}]"), "ranks[0].from"},
        {SCENARIO(",\"tokens\":{\"by_rank\":[]}"), "tokens.by_rank"},
        {SCENARIO(",\"tokens\":{\"by_rank\":[0,0]}"), "above 0"},
        {SCENARIO(",\"tokens\":{\"by_step\":[1.5]}"), "between 0 and 1"},
        {SCENARIO(",\"published\":1"), "published"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        moe_error_t error = {0};
        moe_scenario_t *scenario = NULL;
        assert_int_equal(read_scenario_of(bad[i].text, &scenario, &error), MOE_BAD_INPUT);
        assert_null(scenario);
        if (strstr(error.text, bad[i].said) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", error.text, bad[i].said);
    }
}

/* ---- Those that come with the program ---- */

/* Mean figures of a few layers: where experts lie is a matter of chance. */
static void realise(const char *path, const json_t *at, moe_load_t *expert, moe_load_t *rank)
{
    const size_t experts = (size_t)json_integer_value(json_object_get(at, "experts"));
    const size_t top_k = (size_t)json_integer_value(json_object_get(at, "top_k"));
    const json_t *ranks = json_object_get(at, "ranks");
    const size_t layers = 6, tokens = 24000;
    moe_scenario_t *scenario = NULL;
    setting_t s;
    size_t counts[512], on_rank[64];
    assert_int_equal(moe_scenario_read(path, &scenario, NULL), MOE_OK);
    set_scenario(&s, scenario, experts, top_k,
                 ranks != NULL ? (size_t)json_integer_value(ranks) : 1, 0);
    *expert = *rank = (moe_load_t){0};
    for (size_t layer = 0; layer < layers; layer++) {
        moe_router_t *router = NULL;
        moe_load_t one;
        memset(counts, 0, sizeof counts);
        memset(on_rank, 0, sizeof on_rank);
        assert_int_equal(moe_router_create(&s.spec, layer, &router, NULL), MOE_OK);
        add_choices(router, 0, 0, tokens, counts);
        for (size_t e = 0; e < experts; e++)
            on_rank[s.placement.rank_of[e]] += counts[e];
        moe_load_of(counts, experts, &one);
        expert->max_over_mean += one.max_over_mean / (double)layers;
        expert->cv += one.cv / (double)layers;
        moe_load_of(on_rank, s.placement.ranks, &one);
        rank->max_over_mean += one.max_over_mean / (double)layers;
        moe_router_destroy(router);
    }
    unset(&s);
}

/* A published figure is a number, met within 10 %, or a range, met. Absent: nothing was published. */
static void assert_lands(const char *path, const json_t *published, const char *figure,
                         double realised)
{
    const json_t *value = json_object_get(published, figure);
    if (value == NULL)
        return;
    const double low = json_is_array(value) ? json_number_value(json_array_get(value, 0))
                                            : 0.9 * json_number_value(value);
    const double high = json_is_array(value) ? json_number_value(json_array_get(value, 1))
                                             : 1.1 * json_number_value(value);
    if (!(realised >= low && realised <= high))
        fail_msg("%s: %s is %g, published is %g to %g", path, figure, realised, low, high);
}

static void test_calibrated_workloads_land_on_published_loads(void **state)
{
    (void)state;
    glob_t files;
    size_t figures = 0;
    assert_int_equal(glob("patterns/workloads/*.json", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        json_t *root = json_load_file(files.gl_pathv[i], 0, NULL);
        const json_t *published = json_object_get(root, "published");
        for (size_t p = 0; p < json_array_size(published); p++, figures++) {
            const json_t *at = json_array_get(published, p);
            moe_load_t expert, rank;
            realise(files.gl_pathv[i], at, &expert, &rank);
            assert_lands(files.gl_pathv[i], at, "expert_max_over_mean", expert.max_over_mean);
            assert_lands(files.gl_pathv[i], at, "expert_cv", expert.cv);
            assert_lands(files.gl_pathv[i], at, "rank_max_over_mean", rank.max_over_mean);
            assert_non_null(json_string_value(json_object_get(at, "of")));
        }
        json_decref(root);
    }
    assert_true(figures >= 5);
    globfree(&files);
}

static void test_every_workload_is_named_as_its_file(void **state)
{
    (void)state;
    glob_t files;
    assert_int_equal(glob("patterns/workloads/*.json", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        moe_error_t error = {0};
        moe_scenario_t *scenario = NULL;
        char file[128];
        if (moe_scenario_read(files.gl_pathv[i], &scenario, &error) != MOE_OK)
            fail_msg("%s", error.text);
        snprintf(file, sizeof file, "patterns/workloads/%s.json", moe_scenario_name(scenario));
        assert_string_equal(file, files.gl_pathv[i]);
        moe_scenario_destroy(scenario);
    }
    globfree(&files);
}

static void test_a_thousand_ranks_are_within_reach(void **state)
{
    (void)state;
    setting_t s;
    moe_scenario_t *scenario = NULL;
    assert_int_equal(moe_scenario_read("patterns/workloads/node-pair.json", &scenario, NULL),
                     MOE_OK);
    set_scenario(&s, scenario, 256, 8, 1024 / 4, 8);
    assert_int_equal(moe_scenario_check(&s.spec, NULL), MOE_OK);
    unset(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares_of_a_rule_are_what_a_rank_sends_where),
        cmocka_unit_test(test_what_more_than_every_token_would_have_to_choose_goes_to_others),
        cmocka_unit_test(test_the_hot_expert_set_moves_and_keeps_its_heat),
        cmocka_unit_test(test_a_rotating_hot_rank_is_back_after_its_cycle),
        cmocka_unit_test(test_nodes_are_supposed_where_all_ranks_share_one),
        cmocka_unit_test(test_tokens_follow_rank_and_step),
        cmocka_unit_test(test_routing_realises_the_loads),
        cmocka_unit_test(test_experts_without_a_load_are_never_chosen),
        cmocka_unit_test(test_a_workload_that_does_not_vary_needs_no_router_of_its_own),
        cmocka_unit_test(test_what_a_shape_makes_impossible_is_refused),
        cmocka_unit_test(test_files_that_are_no_workloads_are_refused_with_their_place),
        cmocka_unit_test(test_calibrated_workloads_land_on_published_loads),
        cmocka_unit_test(test_every_workload_is_named_as_its_file),
        cmocka_unit_test(test_a_thousand_ranks_are_within_reach),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
