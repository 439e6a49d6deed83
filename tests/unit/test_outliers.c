/* Who is slow: what is planted is named, for what it is, and nothing else is. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../common/noise.h"
#include "moe/outliers.h"

#define MOST 64

/* Pairs of a machine: 1 s between hosts, 0.2 s within. */
typedef struct machine {
    size_t ranks;
    size_t node[MOST];
    double seconds[MOST * MOST];
    moe_findings_t found; /* of the last look */
} machine_t;

static void build(machine_t *m, size_t hosts, size_t ranks_per_host, double noise, uint64_t seed)
{
    *m = (machine_t){.ranks = hosts * ranks_per_host};
    for (size_t r = 0; r < m->ranks; r++)
        m->node[r] = r / ranks_per_host;
    for (size_t from = 0; from < m->ranks; from++)
        for (size_t to = 0; to < m->ranks; to++)
            m->seconds[from * m->ranks + to] =
                (m->node[from] == m->node[to] ? 0.2 : 1) * (1 + noise * noise_normal(&seed));
}

/* Slower by a factor: all that matches; ANY matches all. */
#define ANY SIZE_MAX
static void plant(machine_t *m, size_t from, size_t to, double factor)
{
    for (size_t i = 0; i < m->ranks; i++)
        for (size_t j = 0; j < m->ranks; j++)
            if ((from == ANY || from == i) && (to == ANY || to == j)) {
                double *t = &m->seconds[i * m->ranks + j];
                *t = fmax(*t, factor * (m->node[i] == m->node[j] ? 0.2 : 1));
            }
}

static void look(machine_t *m, moe_reach_t reach)
{
    const moe_pair_times_t times = {.ranks = m->ranks, .seconds = m->seconds, .node = m->node};
    moe_findings_destroy(&m->found);
    assert_int_equal(moe_outliers_of_pairs(&times, reach, &moe_outlier_rule, &m->found, NULL),
                     MOE_OK);
}

/* "host 3 both" of the last look, separated by "; " */
static const char *told(const machine_t *m)
{
    static char text[1024];
    text[0] = '\0';
    for (size_t i = 0; i < m->found.count; i++) {
        const moe_finding_t *f = &m->found.finding[i];
        char to[32] = "";
        if (f->what == MOE_SLOW_LINK)
            snprintf(to, sizeof to, "-%zu", f->to);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s %zu%s %s",
                 i > 0 ? "; " : "", moe_slow_name(f->what), f->rank, to,
                 f->sending && f->receiving ? "both"
                 : f->sending               ? "sending"
                                            : "receiving");
    }
    return text;
}

#define FOUND(machine, reach, expected)                                                            \
    do {                                                                                           \
        look(machine, reach);                                                                      \
        assert_string_equal(told(machine), expected);                                              \
    } while (0)

/* ---- The rule ---- */

static void test_the_spread_of_a_known_sample(void **state)
{
    (void)state;
    const double values[] = {1, 1, 2, 2, 4, 6, 9}; /* median 2, deviations 0 0 1 1 2 4 7 */
    moe_spread_t s;
    assert_int_equal(moe_spread_of(values, 7, &s, NULL), MOE_OK);
    assert_float_equal(s.center, 2, 0);
    assert_float_equal(s.scale, 1.4826022185 * 1.14, 1e-9); /* b(7) = 1.140, MAD 1 */
}

static void test_the_scale_is_the_deviation_of_a_normal_law(void **state)
{
    (void)state;
    const size_t sizes[] = {4, 5, 8, 9, 20, 101};
    for (size_t s = 0; s < 6; s++) {
        uint64_t noise = 77;
        double sum = 0, values[101];
        for (size_t trial = 0; trial < 20000; trial++) {
            moe_spread_t spread;
            for (size_t i = 0; i < sizes[s]; i++)
                values[i] = 10 + 2 * noise_normal(&noise);
            assert_int_equal(moe_spread_of(values, sizes[s], &spread, NULL), MOE_OK);
            sum += spread.scale / 20000;
        }
        if (fabs(sum - 2) > 0.05)
            fail_msg("n = %zu: %g instead of 2", sizes[s], sum);
    }
}

static void test_equal_values_leave_the_floor(void **state)
{
    (void)state;
    const double values[] = {3, 3, 3, 3, 90};
    moe_spread_t s;
    assert_int_equal(moe_spread_of(values, 5, &s, NULL), MOE_OK);
    assert_float_equal(s.scale, 0, 0);
    assert_float_equal(moe_spread_limit(&s, &moe_outlier_rule), 3.3, 1e-12);
}

/* ---- What is planted ---- */

static const double noises[] = {0, 0.01};

static void test_a_slow_sender_is_named(void **state)
{
    (void)state;
    for (size_t n = 0; n < 2; n++) {
        for (size_t hosts = 4; hosts <= 9; hosts++) {
            machine_t m;
            build(&m, hosts, 1, noises[n], hosts);
            plant(&m, 2, ANY, 2);
            FOUND(&m, MOE_REACH_BETWEEN, "sender 2 sending");
            assert_float_equal(m.found.finding[0].value, 2, 0.1);
            assert_float_equal(m.found.finding[0].others, 1, 0.05);
            moe_findings_destroy(&m.found);
        }
    }
}

static void test_a_slow_receiver_is_named(void **state)
{
    (void)state;
    for (size_t n = 0; n < 2; n++) {
        for (size_t hosts = 4; hosts <= 9; hosts++) {
            machine_t m;
            build(&m, hosts, 1, noises[n], hosts);
            plant(&m, ANY, 3, 1.5);
            FOUND(&m, MOE_REACH_BETWEEN, "receiver 3 receiving");
            moe_findings_destroy(&m.found);
        }
    }
}

static void test_a_slow_link_is_named_in_its_directions(void **state)
{
    (void)state;
    for (size_t n = 0; n < 2; n++) {
        for (size_t hosts = 4; hosts <= 9; hosts++) {
            machine_t m;
            build(&m, hosts, 1, noises[n], hosts);
            plant(&m, 3, 1, 2);
            FOUND(&m, MOE_REACH_BETWEEN, "link 3-1 sending");
            plant(&m, 1, 3, 3);
            FOUND(&m, MOE_REACH_BETWEEN, "link 1-3 both");
            assert_float_equal(m.found.finding[0].value, 3, 0.2); /* of the slower direction */
            moe_findings_destroy(&m.found);
        }
    }
}

static void test_a_slow_host_of_one_rank_is_named(void **state)
{
    (void)state;
    for (size_t n = 0; n < 2; n++) {
        for (size_t hosts = 4; hosts <= 9; hosts++) {
            machine_t m;
            build(&m, hosts, 1, noises[n], hosts);
            plant(&m, 0, ANY, 2);
            plant(&m, ANY, 0, 2);
            FOUND(&m, MOE_REACH_BETWEEN, "host 0 both");
            moe_findings_destroy(&m.found);
        }
    }
}

static void plant_host(machine_t *m, size_t host, bool sending, bool receiving, double factor)
{
    for (size_t r = 0; r < m->ranks; r++) {
        if (m->node[r] == host && sending)
            plant(m, r, ANY, factor);
        if (m->node[r] == host && receiving)
            plant(m, ANY, r, factor);
    }
}

static void test_a_slow_host_of_several_ranks_is_named_once(void **state)
{
    (void)state;
    for (size_t n = 0; n < 2; n++) {
        for (size_t ranks = 2; ranks <= 8; ranks += 3) {
            machine_t m;
            build(&m, 4, ranks, noises[n], ranks);
            plant_host(&m, 2, true, true, 2);
            look(&m, MOE_REACH_BETWEEN);
            assert_int_equal(m.found.count, 1);
            assert_int_equal(m.found.finding[0].what, MOE_SLOW_HOST);
            assert_int_equal(m.found.finding[0].rank, 2 * ranks);
            assert_int_equal(m.found.finding[0].ranks, ranks);
            assert_true(m.found.finding[0].sending && m.found.finding[0].receiving);
            moe_findings_destroy(&m.found);
            build(&m, 4, ranks, noises[n], ranks);
            plant_host(&m, 0, false, true, 2);
            FOUND(&m, MOE_REACH_BETWEEN, "host 0 receiving");
            moe_findings_destroy(&m.found);
        }
    }
}

static void test_one_rank_of_a_host_is_not_its_host(void **state)
{
    (void)state;
    machine_t m;
    build(&m, 4, 4, 0.01, 3);
    plant(&m, 5, ANY, 2);
    plant(&m, ANY, 5, 2);
    FOUND(&m, MOE_REACH_BETWEEN, "rank 5 both");
    FOUND(&m, MOE_REACH_WITHIN, "rank 5 both");
    moe_findings_destroy(&m.found);
}

static void test_a_slow_cable_between_two_hosts_is_one_link(void **state)
{
    (void)state;
    machine_t m;
    build(&m, 5, 4, 0.01, 3);
    for (size_t a = 4; a < 8; a++)
        for (size_t b = 12; b < 16; b++)
            plant(&m, a, b, 3);
    FOUND(&m, MOE_REACH_BETWEEN, "link 4-12 sending");
    assert_int_equal(m.found.finding[0].pairs, 16);
    plant(&m, 13, 5, 3); /* and one pair of them the other way */
    FOUND(&m, MOE_REACH_BETWEEN, "link 4-12 sending; link 13-5 sending");
    moe_findings_destroy(&m.found);
}

static void test_slow_within_a_host_does_not_show_between_hosts(void **state)
{
    (void)state;
    machine_t m;
    build(&m, 4, 4, 0.01, 3);
    for (size_t i = 8; i < 12; i++)
        for (size_t j = 8; j < 12; j++)
            m.seconds[i * m.ranks + j] = 0.4;
    FOUND(&m, MOE_REACH_WITHIN, "host 8 both");
    FOUND(&m, MOE_REACH_BETWEEN, "");
    moe_findings_destroy(&m.found);
}

static void test_several_at_once_are_told_apart(void **state)
{
    (void)state;
    machine_t m;
    build(&m, 8, 1, 0.01, 3);
    plant(&m, 1, ANY, 2);
    plant(&m, ANY, 6, 3);
    plant(&m, 4, 5, 2);
    FOUND(&m, MOE_REACH_BETWEEN, "sender 1 sending; receiver 6 receiving; link 4-5 sending");
    plant(&m, 1, 3, 5); /* a bad link of a slow sender */
    FOUND(&m, MOE_REACH_BETWEEN,
          "sender 1 sending; receiver 6 receiving; link 1-3 sending; link 4-5 sending");
    moe_findings_destroy(&m.found);
}

/* ---- Nothing to be found ---- */

static void test_nothing_stands_out_of_ties_or_where_all_are_slow_alike(void **state)
{
    (void)state;
    machine_t m;
    for (size_t hosts = 4; hosts <= 8; hosts++) {
        build(&m, hosts, 1, 0, 1);
        FOUND(&m, MOE_REACH_BETWEEN, "");
        assert_int_equal(m.found.judged, MOE_JUDGED_ALL);
        plant(&m, ANY, ANY, 7);
        FOUND(&m, MOE_REACH_BETWEEN, "");
        moe_findings_destroy(&m.found);
    }
    build(&m, 4, 1, 0, 1);
    plant(&m, 0, ANY, 1.1); /* at the limit, not above it */
    FOUND(&m, MOE_REACH_BETWEEN, "");
    moe_findings_destroy(&m.found);
}

static void test_two_and_three_ranks_are_too_few(void **state)
{
    (void)state;
    for (size_t hosts = 1; hosts <= 3; hosts++) {
        machine_t m;
        build(&m, hosts, 1, 0, 1);
        plant(&m, 0, ANY, 9);
        FOUND(&m, MOE_REACH_BETWEEN, "");
        assert_int_equal(m.found.judged, MOE_JUDGED_NOTHING);
        assert_int_equal(m.found.pairs, hosts * (hosts - 1));
        moe_findings_destroy(&m.found);
    }
}

static void test_two_hosts_of_two_ranks_tell_links_only(void **state)
{
    (void)state;
    machine_t m;
    build(&m, 2, 2, 0, 1);
    plant(&m, 0, 3, 2);
    FOUND(&m, MOE_REACH_BETWEEN, "link 0-3 sending");
    assert_int_equal(m.found.judged, MOE_JUDGED_LINKS);
    FOUND(&m, MOE_REACH_WITHIN, "");
    assert_int_equal(m.found.judged, MOE_JUDGED_NOTHING);
    moe_findings_destroy(&m.found);
}

static void test_of_two_hosts_neither_is_accused_for_the_other(void **state)
{
    (void)state;
    for (size_t ranks = 3; ranks <= 8; ranks++) {
        machine_t m;
        build(&m, 2, ranks, 0.01, ranks);
        plant_host(&m, 0, true, false, 2);
        look(&m, MOE_REACH_BETWEEN);
        for (size_t i = 0; i < m.found.count; i++)
            assert_int_equal(m.found.finding[i].what, MOE_SLOW_LINK);
        moe_findings_destroy(&m.found);
    }
}

static void test_pairs_that_were_not_measured_are_left_out(void **state)
{
    (void)state;
    machine_t m;
    build(&m, 6, 1, 0.01, 3);
    plant(&m, 2, ANY, 2);
    for (size_t r = 0; r < 6; r++)
        m.seconds[r * 6 + (r + 1) % 6] = 0;
    FOUND(&m, MOE_REACH_BETWEEN, "sender 2 sending");
    assert_int_equal(m.found.pairs, 24);
    moe_findings_destroy(&m.found);
}

static void test_noise_alone_hardly_ever_accuses(void **state)
{
    (void)state;
    const size_t hosts[] = {4, 5, 8, 16};
    const double deviations[] = {0.02, 0.05};
    for (size_t h = 0; h < 4; h++) {
        for (size_t d = 0; d < 2; d++) {
            size_t accused = 0, trials = 2000;
            machine_t m;
            for (size_t trial = 0; trial < trials; trial++) {
                build(&m, hosts[h], 1, deviations[d], trial * 1000 + h);
                look(&m, MOE_REACH_BETWEEN);
                accused += m.found.count > 0;
                moe_findings_destroy(&m.found);
            }
            if (accused * 50 > trials)
                fail_msg("%zu hosts, noise of %g: %zu of %zu", hosts[h], deviations[d], accused,
                         trials);
        }
    }
}

/* ---- Ranks by their own times ---- */

static const char *rank_told(const double *seconds, const double *load, size_t ranks,
                             size_t ranks_per_host)
{
    static machine_t m;
    moe_rank_times_t times = {.ranks = ranks, .seconds = seconds, .load = load, .node = m.node};
    for (size_t r = 0; r < ranks; r++)
        m.node[r] = r / ranks_per_host;
    moe_findings_destroy(&m.found);
    assert_int_equal(moe_outliers_of_ranks(&times, &moe_outlier_rule, &m.found, NULL), MOE_OK);
    const char *text = told(&m);
    if (m.found.judged == MOE_JUDGED_NOTHING)
        text = "too few";
    moe_findings_destroy(&m.found);
    return text;
}

static void test_a_rank_that_takes_long_is_named(void **state)
{
    (void)state;
    const double one[] = {1, 1.02, 1.5, 0.99}, host[] = {1, 1, 1.6, 1.7, 1.01, 1, 1, 1},
                 none[] = {1, 1.02, 1.04, 0.99}, alike[] = {7, 7, 7, 7};
    assert_string_equal(rank_told(one, NULL, 4, 1), "rank 2 receiving");
    assert_string_equal(rank_told(one, NULL, 3, 1), "too few");
    assert_string_equal(rank_told(one, NULL, 2, 1), "too few");
    assert_string_equal(rank_told(host, NULL, 8, 2), "host 2 receiving");
    assert_string_equal(rank_told(host, NULL, 8, 1), "rank 2 receiving; rank 3 receiving");
    assert_string_equal(rank_told(none, NULL, 4, 1), "");
    assert_string_equal(rank_told(alike, NULL, 4, 1), "");
}

static void test_a_rank_with_more_to_do_may_take_longer(void **state)
{
    (void)state;
    const double seconds[] = {1, 1, 2, 1, 1}, load[] = {10, 10, 20, 10, 0},
                 little[] = {10, 10, 12, 10, 10}, none[] = {0, 0, 0, 0, 0};
    assert_string_equal(rank_told(seconds, load, 5, 1), "");
    assert_string_equal(rank_told(seconds, little, 5, 1), "rank 2 receiving");
    assert_string_equal(rank_told(seconds, none, 5, 1), "rank 2 receiving");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_spread_of_a_known_sample),
        cmocka_unit_test(test_the_scale_is_the_deviation_of_a_normal_law),
        cmocka_unit_test(test_equal_values_leave_the_floor),
        cmocka_unit_test(test_a_slow_sender_is_named),
        cmocka_unit_test(test_a_slow_receiver_is_named),
        cmocka_unit_test(test_a_slow_link_is_named_in_its_directions),
        cmocka_unit_test(test_a_slow_host_of_one_rank_is_named),
        cmocka_unit_test(test_a_slow_host_of_several_ranks_is_named_once),
        cmocka_unit_test(test_one_rank_of_a_host_is_not_its_host),
        cmocka_unit_test(test_a_slow_cable_between_two_hosts_is_one_link),
        cmocka_unit_test(test_slow_within_a_host_does_not_show_between_hosts),
        cmocka_unit_test(test_several_at_once_are_told_apart),
        cmocka_unit_test(test_nothing_stands_out_of_ties_or_where_all_are_slow_alike),
        cmocka_unit_test(test_two_and_three_ranks_are_too_few),
        cmocka_unit_test(test_two_hosts_of_two_ranks_tell_links_only),
        cmocka_unit_test(test_of_two_hosts_neither_is_accused_for_the_other),
        cmocka_unit_test(test_pairs_that_were_not_measured_are_left_out),
        cmocka_unit_test(test_noise_alone_hardly_ever_accuses),
        cmocka_unit_test(test_a_rank_that_takes_long_is_named),
        cmocka_unit_test(test_a_rank_with_more_to_do_may_take_longer),
    };
    return cmocka_run_group_tests_name("outliers", tests, NULL, NULL);
}
