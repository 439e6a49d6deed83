/* Descriptions of machines: read from hostile files, and fitted to exchanges of a known machine. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "moe/predict.h"

#define US        1e-6
#define MOST_SEEN 64

static moe_machine_t machine_of(double latency, double overhead, double gbps, double inner_gbps)
{
    return (moe_machine_t){
        .name = "m",
        .ranks_per_node = 4,
        .tiers = 2,
        .tier = {{.name = "in",
                  .ranks = 4,
                  .latency = latency / 4,
                  .overhead = overhead / 4,
                  .bandwidth = inner_gbps * 1e9,
                  .ranks_per_port = 1},
                 {.name = "out",
                  .latency = latency,
                  .overhead = overhead,
                  .bandwidth = gbps * 1e9,
                  .ranks_per_port = 1}},
        .memory = 1e12,
    };
}

typedef struct seen {
    moe_observation_t o[MOST_SEEN];
    moe_way_t way[MOST_SEEN];
    size_t count;
} seen_t;

/* Exchanges as they would be on `truth`, times some noise. */
static void see(seen_t *s, const moe_machine_t *truth, moe_scope_t scope, const char *algorithm,
                double row_bytes, double noise)
{
    moe_cost_t cost = {.terms = {.latency = 0}};
    moe_observation_t *o = &s->o[s->count];
    moe_way_t *way = &s->way[s->count++];
    assert_int_equal(moe_way_uniform(16, 4, scope, 1, way, NULL), MOE_OK);
    assert_int_equal(moe_predict_exchange(algorithm, way, truth, row_bytes, &cost, NULL), MOE_OK);
    *o = (moe_observation_t){.seconds = moe_terms_sum(&cost.terms) * (1 + noise),
                             .algorithm = algorithm,
                             .way = way,
                             .ways = 1,
                             .row_bytes = row_bytes};
}

static void see_all(seen_t *s, const moe_machine_t *truth, double noise)
{
    static const char *const algorithms[] = {"native", "pairwise", "bruck"};
    double sign = noise;
    for (size_t a = 0; a < 3; a++) {
        for (double bytes = 100; bytes < 2e6; bytes *= 10, sign = -sign) {
            see(s, truth, MOE_SCOPE_GROUP, algorithms[a], bytes, sign);
            see(s, truth, MOE_SCOPE_NODE, algorithms[a], bytes, sign);
        }
    }
}

static void forget(seen_t *s)
{
    for (size_t i = 0; i < s->count; i++)
        moe_way_destroy(&s->way[i]);
}

static void assert_near(double value, double wanted, double share)
{
    if (!(fabs(value - wanted) <= share * fabs(wanted)))
        fail_msg("%g is not %g within %g", value, wanted, share);
}

static void test_a_fit_finds_the_machine_that_made_the_times(void **state)
{
    (void)state;
    const moe_machine_t truth = machine_of(20 * US, 2 * US, 12, 50);
    moe_machine_t m = machine_of(5 * US, 1 * US, 25, 300);
    seen_t seen = {.count = 0};
    moe_fit_t fit;
    double deviation[MOST_SEEN];
    see_all(&seen, &truth, 0);
    assert_int_equal(moe_machine_fit(&m, seen.o, seen.count, deviation, &fit, NULL), MOE_OK);
    for (size_t t = 0; t < 2; t++) {
        assert_near(m.tier[t].latency, truth.tier[t].latency, 0.05);
        assert_near(m.tier[t].overhead, truth.tier[t].overhead, 0.05);
        assert_near(m.tier[t].bandwidth, truth.tier[t].bandwidth, 0.05);
        assert_true(fit.fitted[t]);
    }
    assert_int_equal(fit.used, seen.count);
    assert_true(fit.median < 0.01 && fit.largest < 0.05 && fabs(deviation[0]) <= fit.largest);
    forget(&seen);
}

static void test_noise_is_the_residual_and_no_constant_becomes_negative(void **state)
{
    (void)state;
    const moe_machine_t truth = machine_of(0, 0, 12, 50);
    moe_machine_t m = machine_of(5 * US, 1 * US, 25, 300);
    seen_t seen = {.count = 0};
    moe_fit_t fit;
    see_all(&seen, &truth, 0.1);
    assert_int_equal(moe_machine_fit(&m, seen.o, seen.count, NULL, &fit, NULL), MOE_OK);
    for (size_t t = 0; t < 2; t++) {
        assert_true(m.tier[t].latency >= 0 && m.tier[t].overhead >= 0);
        assert_near(m.tier[t].bandwidth, truth.tier[t].bandwidth, 0.1);
    }
    assert_true(fit.median > 0.03 && fit.median < 0.15);
    forget(&seen);
}

static void test_what_no_exchange_crosses_stays(void **state)
{
    (void)state;
    const moe_machine_t truth = machine_of(20 * US, 2 * US, 12, 50);
    const moe_machine_t from = machine_of(5 * US, 1 * US, 25, 300);
    moe_machine_t m = from;
    seen_t seen = {.count = 0};
    moe_fit_t fit;
    moe_error_t error = {0};
    for (double bytes = 100; bytes < 1e7; bytes *= 10)
        see(&seen, &truth, MOE_SCOPE_NODE, "native", bytes, 0);
    assert_int_equal(moe_machine_fit(&m, seen.o, seen.count, NULL, &fit, NULL), MOE_OK);
    assert_true(fit.fitted[0] && !fit.fitted[1]);
    assert_near(m.tier[1].latency, from.tier[1].latency, 1e-9);
    assert_near(m.tier[1].overhead, from.tier[1].overhead, 1e-9);
    assert_near(m.tier[1].bandwidth, from.tier[1].bandwidth, 1e-9);
    assert_near(m.tier[0].bandwidth, truth.tier[0].bandwidth, 0.05);
    assert_int_equal(moe_machine_fit(&m, seen.o, 0, NULL, &fit, &error), MOE_BAD_INPUT);
    forget(&seen);
}

/* Exchanges of one size cannot tell overhead from bandwidth: neither may run away. */
static void test_what_exchanges_cannot_tell_stays_near_the_description(void **state)
{
    (void)state;
    const moe_machine_t truth = machine_of(20 * US, 2 * US, 12, 50);
    moe_machine_t m = machine_of(20 * US, 2 * US, 15, 50);
    seen_t seen = {.count = 0};
    moe_fit_t fit;
    for (int i = 0; i < 4; i++)
        see(&seen, &truth, MOE_SCOPE_GROUP, "native", 1e6, i % 2 ? 0.02 : -0.02);
    assert_int_equal(moe_machine_fit(&m, seen.o, seen.count, NULL, &fit, NULL), MOE_OK);
    assert_near(m.tier[1].bandwidth, 12e9, 0.05);
    assert_near(m.tier[1].overhead, 2 * US, 0.2);
    assert_near(m.tier[1].latency, 20 * US, 0.2);
    forget(&seen);
}

/* ---- Files ---- */

static const char sound[] =
    "{\"schema\":1,\"name\":\"m\",\"ranks_per_node\":4,\"tiers\":[{\"name\":\"a\",\"ranks\":4,"
    "\"latency_us\":1,\"overhead_us\":1,\"bandwidth_GBps\":{\"value\":10,\"source\":\"s\"}},"
    "{\"name\":\"b\",\"latency_us\":1,\"overhead_us\":1,\"bandwidth_GBps\":1,\"efficiency\":0.5,"
    "\"ranks_per_port\":2}],\"memory_GBps\":100,\"compute\":{\"bf16_TFLOPs\":1,\"efficiency\":0.5}"
    "}";

static moe_status_t read_text(const char *text, size_t length, moe_machine_t *out)
{
    char path[] = "/tmp/moe-test-machine-XXXXXX";
    const int file = mkstemp(path);
    moe_error_t error = {0};
    assert_true(file >= 0);
    FILE *stream = fdopen(file, "w");
    assert_non_null(stream);
    assert_int_equal(fwrite(text, 1, length, stream), length);
    fclose(stream);
    const moe_status_t status = moe_machine_read(path, out, NULL, &error);
    remove(path);
    assert_true((status == MOE_OK) == (error.text[0] == '\0'));
    return status;
}

static void test_a_description_means_what_it_says(void **state)
{
    (void)state;
    moe_machine_t m;
    assert_int_equal(read_text(sound, strlen(sound), &m), MOE_OK);
    assert_int_equal(m.tiers, 2);
    assert_near(m.tier[0].bandwidth, 10e9, 1e-12);
    assert_near(m.tier[1].bandwidth, 0.5e9, 1e-12);
    assert_int_equal(m.tier[1].ranks_per_port, 2);
    assert_near(moe_machine_flops(&m, MOE_FP8), 1e12, 1e-12);
    assert_true(moe_machine_flops(&m, MOE_FP32) == 0);
    moe_machine_set_node(&m, 2);
    assert_int_equal(m.tier[0].ranks, 2);
    assert_int_equal(moe_machine_check(&m, 64, NULL), MOE_OK);
    m.nodes = 4;
    assert_int_equal(moe_machine_check(&m, 9, NULL), MOE_BAD_INPUT);
    moe_machine_set_node(&m, 3);
    m.nodes = 0;
    assert_int_equal(moe_machine_check(&m, 64, NULL), MOE_BAD_INPUT); /* 3 ranks, 2 a port */
}

static void test_only_the_last_tier_joins_all_ranks(void **state)
{
    (void)state;
    moe_machine_t m;
    assert_int_equal(read_text(sound, strlen(sound), &m), MOE_OK);
    m.tier[m.tiers] = m.tier[0];
    m.tier[m.tiers++].ranks = 64;
    assert_int_equal(moe_machine_check(&m, 64, NULL), MOE_BAD_INPUT);
}

/* Cut off anywhere, and with any letter changed, it is read or refused, and nothing else. */
static void test_damaged_descriptions_are_refused(void **state)
{
    (void)state;
    char text[sizeof sound];
    moe_machine_t m;
    for (size_t n = 0; n < strlen(sound); n += 3)
        assert_int_equal(read_text(sound, n, &m), MOE_BAD_INPUT);
    for (size_t n = 0; n < strlen(sound); n += 2) {
        memcpy(text, sound, sizeof sound);
        text[n] = (char)(n % 3 == 0 ? '-' : n % 3 == 1 ? '\0' : '9');
        (void)read_text(text, strlen(sound), &m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_fit_finds_the_machine_that_made_the_times),
        cmocka_unit_test(test_noise_is_the_residual_and_no_constant_becomes_negative),
        cmocka_unit_test(test_what_no_exchange_crosses_stays),
        cmocka_unit_test(test_what_exchanges_cannot_tell_stays_near_the_description),
        cmocka_unit_test(test_a_description_means_what_it_says),
        cmocka_unit_test(test_only_the_last_tier_joins_all_ranks),
        cmocka_unit_test(test_damaged_descriptions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
