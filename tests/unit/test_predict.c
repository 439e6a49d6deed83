/* The cost model: against closed forms, against counting, and against itself. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../src/predict/ports.h"
#include "moe/predict.h"
#include "world.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define US            1e-6

static void assert_near(double value, double wanted, double share)
{
    if (!(fabs(value - wanted) <= share * fabs(wanted) + 1e-15))
        fail_msg("%g is not %g within %g", value, wanted, share);
}

/* One network; a message of n bytes takes 3 + 2 + n us, 2 + n of them on its ports. */
static moe_machine_t plain(size_t ranks_per_node)
{
    return (moe_machine_t){
        .name = "plain",
        .ranks_per_node = ranks_per_node,
        .tiers = 1,
        .tier = {{.name = "wire",
                  .latency = 3 * US,
                  .overhead = 2 * US,
                  .bandwidth = 1e6,
                  .ranks_per_port = 1}},
        .memory = 1e12,
        .efficiency = 1,
    };
}

/* Within nodes ten times as fast. */
static moe_machine_t two_tiers(size_t ranks_per_node)
{
    moe_machine_t m = plain(ranks_per_node);
    m.tiers = 2;
    m.tier[1] = m.tier[0];
    m.tier[0].ranks = ranks_per_node;
    m.tier[0].latency = m.tier[0].overhead = 0;
    m.tier[0].bandwidth = 1e7;
    return m;
}

static double seconds(const char *algorithm, const moe_way_t *way, const moe_machine_t *m,
                      double row_bytes)
{
    moe_cost_t cost = {0};
    assert_int_equal(moe_predict_exchange(algorithm, way, m, row_bytes, &cost, NULL), MOE_OK);
    double by_constants = 0;
    for (size_t t = 0; t < m->tiers; t++)
        by_constants += cost.steps[t] * m->tier[t].latency +
                        cost.messages[t] * m->tier[t].overhead +
                        cost.bytes[t] / m->tier[t].bandwidth;
    assert_near(by_constants + cost.terms.memory, moe_terms_sum(&cost.terms), 1e-9);
    return moe_terms_sum(&cost.terms);
}

/* The same rows, counted from every rank instead of expected. */
static void count_uniform(moe_way_t *way)
{
    way->rows = calloc(way->ranks * way->ranks, sizeof *way->rows);
    assert_non_null(way->rows);
    for (size_t i = 0; i < way->ranks * way->ranks; i++)
        way->rows[i] = (float)way->mean[i % way->ranks];
}

/* All rows go to the first of 8 ranks, on 2 nodes of 4. */
static void heat_first(moe_way_t *way, double rows)
{
    for (size_t r = 0; r < way->ranks; r++)
        way->mean[r] = r == 0 ? rows : 0;
}

/* ---- The largest of many ---- */

static void test_the_largest_of_normal_variables_is_as_in_the_tables(void **state)
{
    (void)state;
    /* Expected maxima of n standard normals (Harter, Biometrika 48, 1961). */
    const struct {
        size_t n;
        double largest;
    } cases[] = {{10, 1.5388}, {100, 2.5076}, {400, 2.9682}, {1000, 3.2414}};
    static double mean[1000], sigma[1000];
    for (size_t i = 0; i < 1000; i++)
        sigma[i] = 1;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        assert_near(moe_largest(mean, sigma, cases[i].n, 1, NULL), cases[i].largest, 0.045);
        assert_near(moe_largest(mean, sigma, 1, (double)cases[i].n, NULL), cases[i].largest, 0.045);
    }
}

static void test_without_chance_the_largest_is_the_largest(void **state)
{
    (void)state;
    const double mean[] = {1, 5, 3}, none[3] = {0}, little[] = {1e-3, 0, 1e-3};
    size_t which = 0;
    assert_true(moe_largest(mean, none, 3, 1, &which) == 5);
    assert_int_equal(which, 1);
    assert_true(moe_largest(mean, little, 3, 1, NULL) == 5);
}

/* ---- Closed forms ---- */

static void test_equal_blocks_take_what_alpha_beta_says(void **state)
{
    (void)state;
    const moe_machine_t m = plain(8);
    const struct {
        const char *algorithm;
        double us;
    } cases[] = {
        {"native", 3 + 7 * (2 + 10)},   {"linear", 3 + 7 * (2 + 10)},
        {"pairwise", 7 * (3 + 2 + 10)}, {"bruck", 3 * (3 + 2 + 4 * 10)},
        {"bruck:8", 3 + 7 * (2 + 10)},  {"hierarchical", 3 + 7 * (2 + 10)},
        {"birkhoff", 7 * (3 + 2 + 10)}, {"best", 3 + 7 * (2 + 10)},
    };
    for (int counted = 0; counted < 2; counted++) {
        moe_way_t way;
        assert_int_equal(moe_way_uniform(8, 8, MOE_SCOPE_GROUP, 5, &way, NULL), MOE_OK);
        if (counted)
            count_uniform(&way);
        for (size_t i = 0; i < LENGTH(cases); i++)
            assert_near(seconds(cases[i].algorithm, &way, &m, 2), cases[i].us * US, 1e-6);
        moe_way_destroy(&way);
    }
}

static void test_rows_of_a_hot_rank_come_back_on_all_rails(void **state)
{
    (void)state;
    const moe_machine_t m = two_tiers(4);
    for (int counted = 0; counted < 2; counted++) {
        moe_way_t way;
        assert_int_equal(moe_way_uniform(8, 4, MOE_SCOPE_GROUP, 0, &way, NULL), MOE_OK);
        heat_first(&way, 100);
        if (counted)
            count_uniform(&way);
        /* In the node 4 * 100 to every other number's rank, less what is their own, at 10 a us; 400 on one rail */
        const double there = seconds("hierarchical", &way, &m, 1);
        assert_true(there >= (3 + 2 + 400) * US);
        way.back = true;
        /* From the hot rank 2 * 100 to each of the 3 others at 10 a us, as none is for itself; 100 on each of 4 rails */
        assert_near(seconds("hierarchical", &way, &m, 1), (60 + 3 + 2 + 100) * US, 1e-6);
        way.back = false;
        assert_near(seconds("hierarchical", &way, &m, 1), there, 1e-12);
        moe_way_destroy(&way);
    }
}

static void test_the_slower_tier_decides_and_nodes_spare_its_messages(void **state)
{
    (void)state;
    const moe_machine_t m = two_tiers(4);
    for (int counted = 0; counted < 2; counted++) {
        moe_way_t way;
        assert_int_equal(moe_way_uniform(16, 4, MOE_SCOPE_GROUP, 10, &way, NULL), MOE_OK);
        if (counted)
            count_uniform(&way);
        assert_near(seconds("native", &way, &m, 1), (3 + 12 * (2 + 10)) * US, 1e-6);
        /* 4 blocks each to 3 peers in the node, then 3 messages of 4 blocks. */
        assert_near(seconds("hierarchical", &way, &m, 1), (12 + 3 * (3 + 2 + 40)) * US, 1e-6);
        moe_way_destroy(&way);
    }
}

static void test_ranks_that_share_a_port_take_as_much_longer(void **state)
{
    (void)state;
    moe_machine_t m = two_tiers(4);
    moe_way_t way;
    assert_int_equal(moe_way_uniform(16, 4, MOE_SCOPE_GROUP, 10, &way, NULL), MOE_OK);
    m.tier[1].ranks_per_port = 4;
    assert_near(seconds("native", &way, &m, 1), (3 + 4 * 12 * (2 + 10)) * US, 1e-6);
    moe_way_destroy(&way);
}

static void test_hops_stay_in_their_scope(void **state)
{
    (void)state;
    const moe_machine_t m = two_tiers(4);
    moe_way_t node, rail;
    assert_int_equal(moe_way_uniform(16, 4, MOE_SCOPE_NODE, 10, &node, NULL), MOE_OK);
    assert_int_equal(moe_way_uniform(16, 4, MOE_SCOPE_RAIL, 10, &rail, NULL), MOE_OK);
    assert_near(seconds("native", &node, &m, 1), 3 * US, 1e-6);
    assert_near(seconds("native", &rail, &m, 1), (3 + 3 * (2 + 10)) * US, 1e-6);
    assert_near(seconds("pairwise", &rail, &m, 1), 3 * (3 + 2 + 10) * US, 1e-6);
    moe_way_destroy(&node);
    moe_way_destroy(&rail);
}

static void test_a_hot_receiver_is_what_all_wait_for(void **state)
{
    (void)state;
    const moe_machine_t m = plain(1);
    moe_way_t way;
    for (int counted = 0; counted < 2; counted++) {
        assert_int_equal(moe_way_uniform(8, 1, MOE_SCOPE_GROUP, 1, &way, NULL), MOE_OK);
        way.mean[3] = 1000;
        if (counted)
            count_uniform(&way);
        assert_near(seconds("native", &way, &m, 1), (3 + 7 * 1002) * US, 1e-6);
        /* The sender that comes last waits for all before it. */
        assert_near(seconds("pairwise", &way, &m, 1), 7 * 1005 * US, 1e-6);
        moe_way_destroy(&way);
    }
}

static void test_nobody_to_send_to_takes_no_time(void **state)
{
    (void)state;
    const moe_machine_t m = two_tiers(4);
    moe_way_t alone, empty;
    assert_int_equal(moe_way_uniform(1, 1, MOE_SCOPE_GROUP, 10, &alone, NULL), MOE_OK);
    assert_int_equal(moe_way_uniform(8, 4, MOE_SCOPE_GROUP, 0, &empty, NULL), MOE_OK);
    for (size_t i = 0; i < moe_predictor_count(); i++) {
        assert_true(seconds(moe_predictor_at(i)->name, &alone, &m, 1) == 0);
        assert_true(seconds(moe_predictor_at(i)->name, &empty, &m, 1) == 0);
    }
    moe_way_destroy(&alone);
    moe_way_destroy(&empty);
}

static void test_an_algorithm_without_a_model_is_refused(void **state)
{
    (void)state;
    const moe_machine_t m = plain(4);
    moe_way_t way;
    moe_cost_t cost = {0};
    moe_error_t error = {0};
    assert_int_equal(moe_way_uniform(4, 4, MOE_SCOPE_GROUP, 1, &way, NULL), MOE_OK);
    assert_int_equal(moe_predict_exchange("magic", &way, &m, 1, &cost, &error), MOE_BAD_INPUT);
    assert_non_null(strstr(error.text, "magic"));
    moe_way_destroy(&way);
    for (size_t i = 0; i < moe_algorithm_count(); i++) { /* and every one that there is has one */
        assert_int_equal(moe_way_uniform(4, 4, MOE_SCOPE_GROUP, 1, &way, NULL), MOE_OK);
        assert_int_equal(moe_predict_exchange(moe_algorithm_at(i)->name, &way, &m, 1, &cost, NULL),
                         MOE_OK);
        moe_way_destroy(&way);
    }
}

/* ---- Against counting ---- */

/* Bytes that the ports of a rank carry in both hops. */
static void add_ports(const moe_way_t *way, double row_bytes, double *sent, double *received)
{
    const moe_machine_t m = plain(1);
    moe_ports_t ports;
    assert_int_equal(moe_ports_create(way, &m, &ports, NULL), MOE_OK);
    for (size_t r = 0; r < way->ranks; r++) {
        sent[r] += ports.tier[0].rows[MOE_SENT][r] * row_bytes;
        received[r] += ports.tier[0].rows[MOE_RECEIVED][r] * row_bytes;
    }
    moe_ports_destroy(&ports);
}

static const world_spec_t worlds[] = {
    {.experts = 32, .top_k = 4, .ranks = 16, .tokens = 64, .ranks_per_node = 4, .skew = "zipf:1.0"},
    {.experts = 7, .top_k = 2, .ranks = 4, .tokens = 33, .ranks_per_node = 2, .empty_rank = 2},
    {.experts = 16,
     .top_k = 4,
     .ranks = 8,
     .tokens = 64,
     .skew = "hot:1,0.9",
     .capacity = {.factor = 1.25, .min = 4},
     .ranks_per_node = 8},
    {.experts = 3, .top_k = 1, .ranks = 6, .tokens = 20, .ranks_per_node = 3},
    {.experts = 1, .top_k = 1, .ranks = 4, .tokens = 5, .ranks_per_node = 2},
    {.experts = 8, .top_k = 2, .ranks = 4, .tokens = 0, .ranks_per_node = 2},
};

static void test_counted_ports_carry_what_flows_say(void **state)
{
    (void)state;
    for (size_t c = 0; c < LENGTH(worlds); c++) {
        world_t w;
        moe_sample_t sample;
        world_create(&w, &worlds[c]);
        assert_int_equal(moe_sample_create(&w.workload, 1 << 20, NULL, NULL, &sample, NULL),
                         MOE_OK);
        assert_int_equal(sample.sampled, w.ranks);
        assert_true((size_t)sample.count_max == w.sizes.count_max);
        for (size_t s = 0; s < moe_style_count(); s++) {
            const moe_style_ops_t *style = moe_style_at(s);
            if (strcmp(style->name, "allgather") == 0 && worlds[c].empty_rank > 0)
                continue; /* taken to have the tokens of the fullest on every rank */
            moe_flow_t dispatch, combine;
            moe_way_t way[MOE_MOST_WAYS];
            size_t ways = 0;
            double sent[16] = {0}, received[16] = {0};
            assert_int_equal(moe_flow_create(w.ranks, 4, 10, &dispatch, NULL), MOE_OK);
            assert_int_equal(moe_flow_create(w.ranks, 4, 10, &combine, NULL), MOE_OK);
            for (size_t r = 0; r < w.ranks; r++)
                moe_flow_add_batch(style, &w.sizes, w.batch[r], r, 0, &dispatch, &combine);
            assert_int_equal(moe_ways_create(style, &w.sizes, &sample, way, &ways, NULL), MOE_OK);
            for (size_t i = 0; i < ways; i++) {
                add_ports(&way[i], 10, sent, received);
                moe_way_destroy(&way[i]);
            }
            for (size_t r = 0; r < w.ranks; r++) {
                assert_near(sent[r], (double)dispatch.sent[r], 1e-6);
                assert_near(received[r], (double)dispatch.received[r], 1e-6);
            }
            moe_flow_destroy(&dispatch);
            moe_flow_destroy(&combine);
        }
        moe_sample_destroy(&sample);
        world_destroy(&w);
    }
}

static double style_seconds(const moe_style_ops_t *style, const char *algorithm, const world_t *w,
                            const moe_sample_t *sample, const moe_machine_t *m)
{
    moe_way_t way[MOE_MOST_WAYS];
    size_t ways = 0;
    double sum = 0;
    assert_int_equal(moe_ways_create(style, &w->sizes, sample, way, &ways, NULL), MOE_OK);
    for (size_t i = 0; i < ways; i++) {
        sum += seconds(algorithm, &way[i], m, 1000);
        moe_way_destroy(&way[i]);
    }
    return sum;
}

/* 8 of 64 ranks stand for all. What docs/predict.md says of the error is what is printed here. */
static void test_a_sample_of_ranks_predicts_what_counting_all_does(void **state)
{
    (void)state;
    static const char *const skews[] = {"balanced", "uniform",       "zipf:0.5",
                                        "zipf:1.0", "lognormal:1.0", "hot:2,0.5"};
    static const char *const algorithms[] = {"native", "pairwise", "hierarchical", "birkhoff",
                                             "bruck"};
    const moe_machine_t m = two_tiers(8);
    double worst[LENGTH(algorithms)] = {0};
    for (size_t k = 0; k < LENGTH(skews); k++) {
        world_t w;
        moe_sample_t counted, some;
        const world_spec_t spec = {.experts = 128,
                                   .top_k = 4,
                                   .ranks = 64,
                                   .tokens = 512,
                                   .skew = skews[k],
                                   .ranks_per_node = 8,
                                   .seed = 3};
        world_create(&w, &spec);
        assert_int_equal(moe_sample_create(&w.workload, 1 << 20, NULL, NULL, &counted, NULL),
                         MOE_OK);
        assert_int_equal(moe_sample_create(&w.workload, 8 * 512, NULL, NULL, &some, NULL), MOE_OK);
        assert_int_equal(counted.sampled, 64);
        assert_int_equal(some.sampled, 8);
        assert_near(some.count_max, counted.count_max, 0.12);
        for (size_t s = 0; s < moe_style_count(); s++) {
            for (size_t a = 0; a < LENGTH(algorithms); a++) {
                const moe_style_ops_t *style = moe_style_at(s);
                if (strcmp(style->name, "padded-max") == 0)
                    continue; /* as count_max */
                const double wanted = style_seconds(style, algorithms[a], &w, &counted, &m);
                const double error =
                    style_seconds(style, algorithms[a], &w, &some, &m) / wanted - 1;
                worst[a] = fmax(worst[a], fabs(error));
                if (fabs(error) > (a == 1 ? 0.20 : 0.08))
                    fail_msg("%s, %s, %s: off by %.3f", skews[k], style->name, algorithms[a],
                             error);
            }
        }
        moe_sample_destroy(&counted);
        moe_sample_destroy(&some);
        world_destroy(&w);
    }
    for (size_t a = 0; a < LENGTH(algorithms); a++)
        print_message("# %s: off by %.3f at most\n", algorithms[a], worst[a]);
}

static void test_many_ranks_need_no_matrix(void **state)
{
    (void)state;
    world_t w = {0};
    const world_spec_t spec = {
        .experts = 64, .top_k = 2, .ranks = 8, .tokens = 16, .ranks_per_node = 8};
    world_create(&w, &spec);
    const size_t ranks = 4096;
    moe_placement_t placement;
    size_t *tokens = world_array(ranks, sizeof *tokens);
    uint64_t *first = world_array(ranks, sizeof *first);
    for (size_t r = 0; r < ranks; r++) {
        tokens[r] = 16;
        first[r] = 16 * r;
    }
    assert_int_equal(moe_placement_create("block", 64, ranks, &placement, NULL), MOE_OK);
    moe_workload_t workload = w.workload;
    workload.placement = &placement;
    workload.tokens = tokens;
    workload.first_token = first;
    moe_sample_t sample;
    assert_int_equal(moe_sample_create(&workload, 1 << 12, NULL, NULL, &sample, NULL), MOE_OK);
    assert_int_equal(sample.sampled, 256);
    assert_null(sample.rank.rows);
    double rows = 0;
    for (size_t r = 0; r < ranks; r++)
        rows += sample.rank.mean[r];
    assert_near(rows, 32, 1e-9); /* 16 tokens, two experts each */
    moe_sample_destroy(&sample);
    moe_placement_destroy(&placement);
    free(tokens);
    free(first);
    world_destroy(&w);
}

/* ---- Iterations ---- */

static moe_model_t model(void)
{
    moe_model_t m;
    assert_int_equal(moe_model_find("mixtral-8x7b", &m, NULL), MOE_OK);
    return m;
}

static moe_forecast_t iteration(const char *skew, moe_pass_t pass, size_t chunks, size_t dp,
                                moe_layer_forecast_t *layer)
{
    static moe_model_t shape;
    static moe_machine_t machine;
    const world_spec_t spec = {
        .experts = 8, .top_k = 2, .ranks = 8, .tokens = 256, .skew = skew, .ranks_per_node = 4};
    world_t w;
    moe_sample_t sample;
    moe_forecast_t forecast;
    shape = model();
    machine = two_tiers(4);
    machine.tier[0].bandwidth = 100e9;
    machine.tier[1].bandwidth = 10e9;
    world_create(&w, &spec);
    const moe_style_ops_t *exact;
    assert_int_equal(moe_style_find("exact", &exact, NULL), MOE_OK);
    const moe_forecast_spec_t s = {.machine = &machine,
                                   .model = &shape,
                                   .style = exact,
                                   .algorithm = "native",
                                   .dtype = MOE_BF16,
                                   .combine_dtype = MOE_BF16,
                                   .pass = pass,
                                   .tokens = 256,
                                   .sequence = 256,
                                   .ep = 8,
                                   .dp = dp,
                                   .chunks = chunks,
                                   .flops = 1e14,
                                   .roofline = true};
    assert_int_equal(moe_sample_create(&w.workload, 1 << 20, NULL, NULL, &sample, NULL), MOE_OK);
    assert_int_equal(moe_predict_layer(&s, &w.workload, &sample, layer, NULL), MOE_OK);
    assert_int_equal(moe_predict_iteration(&s, layer, 1, &forecast, NULL), MOE_OK);
    moe_sample_destroy(&sample);
    world_destroy(&w);
    return forecast;
}

static void test_parts_add_up_and_training_exchanges_twice(void **state)
{
    (void)state;
    moe_layer_forecast_t layer;
    const moe_forecast_t forward = iteration("zipf:1.0", MOE_FORWARD, 1, 1, &layer);
    const moe_forecast_t training = iteration("zipf:1.0", MOE_TRAINING, 1, 1, &layer);
    double sum = 0;
    for (int p = 0; p < MOE_PARTS; p++)
        sum += training.part[p];
    assert_near(sum, training.iteration, 1e-12);
    assert_near(training.part[MOE_PART_DISPATCH], 2 * forward.part[MOE_PART_DISPATCH], 1e-9);
    assert_near(training.part[MOE_PART_COMPUTE], 3 * forward.part[MOE_PART_COMPUTE], 1e-9);
    assert_near(training.part[MOE_PART_METADATA], forward.part[MOE_PART_METADATA], 1e-9);
    assert_true(training.part[MOE_PART_ALLREDUCE] == 0);
    assert_true(iteration("zipf:1.0", MOE_TRAINING, 1, 2, &layer).part[MOE_PART_ALLREDUCE] > 0);
    assert_true(training.share_a2a > 0 && training.share_a2a < 1 &&
                training.share_exposed <= training.share_a2a);
}

static void test_skew_makes_ranks_wait(void **state)
{
    (void)state;
    moe_layer_forecast_t layer;
    const moe_forecast_t even = iteration("balanced", MOE_TRAINING, 1, 1, &layer);
    assert_near(layer.expert_max, layer.expert_mean, 1e-9);
    assert_true(even.wait <= 1e-9 * even.iteration);
    const moe_forecast_t uneven = iteration("zipf:1.5", MOE_TRAINING, 1, 1, &layer);
    assert_true(layer.expert_max > 2 * layer.expert_mean);
    assert_true(uneven.wait > 0 && uneven.wait < uneven.part[MOE_PART_COMBINE]);
    assert_true(uneven.iteration > 1.2 * even.iteration);
}

/* Chunks are predicted with the rows of a whole layer here: overlap must hide time of them, and no more than
 * there is to hide. */
static void test_overlap_hides_no_more_than_there_is(void **state)
{
    (void)state;
    moe_layer_forecast_t layer;
    const moe_forecast_t serial = iteration("balanced", MOE_FORWARD, 1, 1, &layer);
    const moe_forecast_t chunks = iteration("balanced", MOE_FORWARD, 4, 1, &layer);
    const double exchanges =
        moe_terms_sum(&layer.dispatch.terms) + moe_terms_sum(&layer.combine.terms);
    const double layers = 32;
    assert_true(chunks.overlapped && !serial.overlapped);
    assert_true(chunks.iteration <
                serial.iteration + 3 * layers *
                                       (layer.expert_max + exchanges + layer.permute_max +
                                        moe_terms_sum(&layer.metadata.terms)));
    assert_true(chunks.iteration >= layers * 4 * exchanges);
    assert_true(chunks.iteration >= chunks.compute_only);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_largest_of_normal_variables_is_as_in_the_tables),
        cmocka_unit_test(test_without_chance_the_largest_is_the_largest),
        cmocka_unit_test(test_equal_blocks_take_what_alpha_beta_says),
        cmocka_unit_test(test_rows_of_a_hot_rank_come_back_on_all_rails),
        cmocka_unit_test(test_the_slower_tier_decides_and_nodes_spare_its_messages),
        cmocka_unit_test(test_ranks_that_share_a_port_take_as_much_longer),
        cmocka_unit_test(test_hops_stay_in_their_scope),
        cmocka_unit_test(test_a_hot_receiver_is_what_all_wait_for),
        cmocka_unit_test(test_nobody_to_send_to_takes_no_time),
        cmocka_unit_test(test_an_algorithm_without_a_model_is_refused),
        cmocka_unit_test(test_counted_ports_carry_what_flows_say),
        cmocka_unit_test(test_a_sample_of_ranks_predicts_what_counting_all_does),
        cmocka_unit_test(test_many_ranks_need_no_matrix),
        cmocka_unit_test(test_parts_add_up_and_training_exchanges_twice),
        cmocka_unit_test(test_skew_makes_ranks_wait),
        cmocka_unit_test(test_overlap_hides_no_more_than_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
