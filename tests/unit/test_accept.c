/* The verdicts that come of rules and results. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "moe/verdict.h"
#include "results_setting.h"
#include "rules_setting.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Verdicts ---- */

typedef struct trial {
    moe_rules_t rules;
    moe_results_t results, baseline;
    moe_acceptance_t a;
    moe_error_t error;
} trial_t;

static moe_status_t judge(const char *rules, const char *results, const char *baseline,
                          trial_t *out)
{
    *out = (trial_t){0};
    moe_status_t status = read_rules_of(rules, &out->rules, &out->error);
    assert_string_equal(out->error.text, "");
    assert_int_equal(status, MOE_OK);
    read_results_of(results, &out->results);
    if (baseline != NULL)
        read_results_of(baseline, &out->baseline);
    return moe_accept(&out->rules, &out->results, baseline != NULL ? &out->baseline : NULL, &out->a,
                      &out->error);
}

static void forget(trial_t *t)
{
    moe_acceptance_destroy(&t->a);
    moe_results_destroy(&t->results);
    moe_results_destroy(&t->baseline);
    moe_rules_destroy(&t->rules);
}

static void assert_verdict(const char *rules, const char *results, const char *baseline,
                           moe_verdict_t wanted, const char *why)
{
    trial_t t;
    judge(rules, results, baseline, &t);
    assert_string_equal(t.error.text, "");
    const moe_judgement_t *last = &t.a.judgement[t.a.count - 1];
    if (t.a.verdict != wanted || strstr(last->why, why) == NULL)
        fail_msg("%s, '%s', and not %s, '%s': %s", moe_verdict_name(t.a.verdict), last->why,
                 moe_verdict_name(wanted), why, rules);
    forget(&t);
}

static void assert_error(const char *rules, const char *results, const char *baseline,
                         const char *part)
{
    trial_t t;
    assert_int_equal(judge(rules, results, baseline, &t), MOE_BAD_INPUT);
    if (strstr(t.error.text, part) == NULL)
        fail_msg("'%s' lacks '%s'", t.error.text, part);
    forget(&t);
}

#define TEN            ROUTED("1") EXCHANGE("exact", "total", TIMES("10", "9", "11"), ",\"errors\":0")
#define MED(c)         RULES(RULE("", "median_us", c, ""))
#define MED_X(c, more) RULES(RULE("", "median_us", c, more))

static void test_the_interval_decides_and_not_the_point(void **state)
{
    (void)state;
    static const struct {
        const char *rules;
        moe_verdict_t wanted;
    } cases[] = {
        {MED("<= 11"), MOE_PASS},
        {MED("<= 10.5"), MOE_UNDECIDED},
        {MED("<= 9"), MOE_UNDECIDED},
        {MED("<= 8.9"), MOE_FAIL},
        {MED("< 11"), MOE_UNDECIDED},
        {MED("< 9"), MOE_FAIL},
        {MED(">= 9"), MOE_PASS},
        {MED(">= 9.5"), MOE_UNDECIDED},
        {MED(">= 11.1"), MOE_FAIL},
        {MED("> 9"), MOE_UNDECIDED},
        {MED("> 11"), MOE_FAIL},
        {MED("> 8"), MOE_PASS},
        {MED("within 10 % of 10"), MOE_PASS},
        {MED("within 5 % of 10"), MOE_UNDECIDED},
        {MED("within 5 % of 20"), MOE_FAIL},
        {MED("within 5 % of 5"), MOE_FAIL},
    };
    for (size_t i = 0; i < LENGTH(cases); i++)
        assert_verdict(cases[i].rules, TEN, NULL, cases[i].wanted, "");
}

static void test_a_rate_has_the_interval_of_its_time_turned_over(void **state)
{
    (void)state;
    static const char rated[] =
        ROUTED("1") EXCHANGE("exact", "total", TIMES("10", "8", "12.5"), ",\"efficiency\":0.8");
    assert_verdict(RULES(RULE("", "efficiency", ">= 0.64", "")), rated, NULL, MOE_PASS, "");
    assert_verdict(RULES(RULE("", "efficiency", ">= 0.65", "")), rated, NULL, MOE_UNDECIDED, "");
    assert_verdict(RULES(RULE("", "efficiency", "> 1.0", "")), rated, NULL, MOE_FAIL, "");
}

static void test_counts_are_exact(void **state)
{
    (void)state;
    static const char wrong[] =
        ROUTED("1") EXCHANGE("exact", "total", UNCONVERGED("10", "9", "11"), ",\"errors\":3");
    assert_verdict(RULES(RULE("", "errors", "== 0", "")), TEN, NULL, MOE_PASS, "");
    assert_verdict(RULES(RULE("", "errors", "== 0", "")), wrong, NULL, MOE_FAIL,
                   "beyond the limit");
    assert_verdict(RULES(RULE("", "errors", "!= 3", "")), wrong, NULL, MOE_FAIL, "");
}

static void test_what_has_not_converged_is_inconclusive(void **state)
{
    (void)state;
    static const char rough[] =
        ROUTED("1") EXCHANGE("exact", "total", UNCONVERGED("10", "9", "11"), "");
    static const char three[] = ROUTED("1")
        EXCHANGE_REPS("exact", "total", "3", "\"converged\":false,\"median_us\":90", "");
    assert_verdict(MED("<= 100"), rough, NULL, MOE_UNDECIDED, "not converged");
    assert_verdict(MED("<= 1"), rough, NULL, MOE_UNDECIDED, "not converged");
    assert_verdict(MED_X("<= 100", ",\"unconverged\":\"judge\""), rough, NULL, MOE_PASS, "");
    assert_verdict(MED_X("<= 1", ",\"unconverged\":\"judge\""), rough, NULL, MOE_FAIL, "");
    assert_verdict(MED_X("<= 1", ",\"unconverged\":\"judge\""), three, NULL, MOE_UNDECIDED,
                   "no interval");
    assert_verdict(MED("<= 2 * baseline"), TEN, rough, MOE_UNDECIDED, "baseline has not converged");
}

static void test_times_of_ranks_that_shared_a_gpu_decide_nothing(void **state)
{
    (void)state;
    const char shared[] = RUN(",\"functional_only\":true,\"routing\":{\"spec\":\"s\",\"seed\":1,"
                              "\"hash\":" HASH("1") "}")
        EXCHANGE("exact", "total", TIMES("10", "9", "11"), ",\"errors\":0");
    assert_verdict(MED("< 100"), shared, NULL, MOE_UNDECIDED, "shared a GPU");
    assert_verdict(RULES(RULE("", "errors", "== 0", "")), shared, NULL, MOE_PASS, "");
}

static void test_against_a_baseline_the_ratio_decides(void **state)
{
    (void)state;
    static const char near[] =
        ROUTED("1") EXCHANGE("exact", "total", TIMES("10", "9.8", "10.2"), "");
    static const char twice[] =
        ROUTED("1") EXCHANGE("exact", "total", TIMES("20", "19.6", "20.4"), "");
    /* 2 % and 2 % are 2.8 % together */
    assert_verdict(MED("<= 1.03 * baseline"), near, near, MOE_PASS, "");
    assert_verdict(MED("<= 1.02 * baseline"), near, near, MOE_UNDECIDED, "straddles");
    assert_verdict(MED("<= 1.05 * baseline"), twice, near, MOE_FAIL, "");
    assert_verdict(MED("within 5 % of baseline"), near, near, MOE_PASS, "");
    assert_verdict(MED("within 5 % of baseline"), near, twice, MOE_FAIL, "");
    assert_verdict(MED(">= 0.97 * baseline"), near, near, MOE_PASS, "");
}

static void test_a_time_of_nothing_is_no_worse_than_nothing(void **state)
{
    (void)state;
    static const char none[] = ROUTED("1") EXCHANGE("padded", "metadata", TIMES("0", "0", "0"), "");
    static const char some[] = ROUTED("1") EXCHANGE("padded", "metadata", TIMES("3", "2", "4"), "");
    assert_verdict(MED("<= 1.05 * baseline"), none, none, MOE_PASS, "");
    assert_verdict(MED("<= 1.05 * baseline"), some, none, MOE_FAIL, "");
    assert_verdict(MED("<= 1.05 * baseline"), none, some, MOE_PASS, "");
}

/* ---- Nothing passes by absence ---- */

static void test_what_the_baseline_has_and_the_results_have_not_fails(void **state)
{
    (void)state;
    static const char both[] =
        TEN EXCHANGE("padded", "total", TIMES("10", "9.9", "10.1"), ",\"errors\":0");
    assert_verdict(MED("<= 2 * baseline"), TEN, both, MOE_FAIL,
                   "missing: the baseline has it, the results do not");
    assert_verdict(MED("<= 2 * baseline"), both, TEN, MOE_UNDECIDED,
                   "the baseline has no such measurement");
}

static void test_a_metric_that_some_records_lack_fails_there(void **state)
{
    (void)state;
    static const char one_bare[] = TEN EXCHANGE("padded", "total", TIMES("10", "9", "11"), "");
    assert_verdict(RULES(RULE("", "errors", "== 0", "")), one_bare, NULL, MOE_FAIL,
                   "the metric was not measured here");
}

static void test_every_value_of_a_list_must_be_there(void **state)
{
    (void)state;
    assert_verdict(RULES(RULE(",\"phase\":[\"total\",\"dispatch\"]", "errors", "== 0", "")), TEN,
                   NULL, MOE_FAIL, "missing: no result with phase \"dispatch\"");
    assert_verdict(RULES(RULE(",\"phase\":[\"total\"]", "errors", "== 0", "")), TEN, NULL, MOE_PASS,
                   "");
}

static void test_a_rule_that_cannot_be_applied_is_an_error(void **state)
{
    (void)state;
    assert_error(RULES(RULE(",\"phase\":\"dispatch\"", "errors", "== 0", "")), TEN, NULL,
                 "rules[0] (errors == 0): selects none of the 1 results");
    assert_error(RULES(RULE("", "efficiency", ">= 0.8", "")), TEN, NULL,
                 "metric 'efficiency' is in none of the 1 results");
    assert_error(RULES(RULE(",\"phse\":\"total\"", "errors", "== 0", "")), TEN, NULL,
                 "'phse' is no field of exchange records; nearest: phase");
    assert_error(RULES(RULE(",\"run.modle.name\":\"m\"", "errors", "== 0", "")), TEN, NULL,
                 "'run.modle.name' is no field of exchange records; nearest: run.model.name");
    assert_error(MED("<= baseline"), TEN, NULL, "needs --baseline");
    assert_error(RULES(RULE("", "errors", "== 0", "")), TEN, TEN, "--baseline: no rule of");
}

static void test_a_measurement_that_a_rule_knows_of_fails_where_it_is_missing(void **state)
{
    (void)state;
    static const char known[] = RULES(RULE("", "errors", "== 0", "") "," RULE(
        ",\"phase\":\"dispatch\"", "median_us", "<= 1", ",\"missing\":\"fail\""));
    static const char only[] =
        RULES(RULE(",\"phase\":\"dispatch\"", "median_us", "<= 1", ",\"missing\":\"fail\""));
    assert_verdict(known, TEN, NULL, MOE_FAIL, "missing: no result is selected");
    assert_error(only, TEN, NULL, "they are of other runs");
}

static void test_fields_of_the_run_select_and_unknown_ones_too_if_they_occur(void **state)
{
    (void)state;
    static const char with_more[] = RUN(",\"site\":\"x\",\"model\":{\"name\":\"m\",\"tokens\":8}")
        EXCHANGE("exact", "total", TIMES("10", "9", "11"), ",\"errors\":0,\"rack\":7");
    assert_verdict(RULES(RULE(",\"run.model.tokens\":8,\"run.site\":\"x\",\"rack\":7.0", "errors",
                              "== 0", "")),
                   with_more, NULL, MOE_PASS, "");
}

static void test_a_warning_does_not_decide(void **state)
{
    (void)state;
    trial_t t;
    judge(RULES(RULE("", "errors", "== 0", "") "," RULE("", "median_us", "<= 1",
                                                        ",\"severity\":\"warning\"")),
          TEN, NULL, &t);
    assert_int_equal(t.a.verdict, MOE_PASS);
    assert_int_equal(t.a.of_rule[1], MOE_FAIL);
    assert_int_equal(t.a.verdicts[MOE_FAIL], 0);
    forget(&t);
}

static void test_fail_outweighs_inconclusive_which_outweighs_pass(void **state)
{
    (void)state;
    trial_t t;
#define THREE(a, b, c)                                                                             \
    RULES(RULE("", "median_us", a, "") "," RULE("", "median_us", b, "") "," RULE("", "median_us",  \
                                                                                 c, ""))
    judge(THREE("<= 20", "<= 1", "<= 10"), TEN, NULL, &t);
    assert_int_equal(t.a.verdict, MOE_FAIL);
    forget(&t);
    judge(THREE("<= 20", "<= 21", "<= 10"), TEN, NULL, &t);
    assert_int_equal(t.a.verdict, MOE_UNDECIDED);
    assert_int_equal(t.a.verdicts[MOE_PASS], 2);
    forget(&t);
}

/* ---- Rules from a healthy run ---- */

static void judge_by_rules_from(const char *healthy, const char *results, double margin,
                                trial_t *out)
{
    moe_results_t made_from;
    json_t *rules;
    size_t left_out;
    read_results_of(healthy, &made_from);
    assert_int_equal(moe_rules_make(&made_from, margin, &rules, &left_out, NULL), MOE_OK);
    char *text = json_dumps(rules, 0);
    judge(text, results, NULL, out);
    free(text);
    json_decref(rules);
    moe_results_destroy(&made_from);
}

static void test_a_healthy_run_passes_the_rules_made_from_it(void **state)
{
    (void)state;
    trial_t t;
    judge_by_rules_from(TEN, TEN, 0, &t);
    assert_string_equal(t.error.text, "");
    assert_int_equal(t.rules.count, 2); /* the time, and errors */
    assert_int_equal(t.a.verdict, MOE_PASS);
    forget(&t);
    judge_by_rules_from(
        TEN, ROUTED("1") EXCHANGE("exact", "total", TIMES("12", "11.6", "12.4"), ",\"errors\":0"),
        0.05, &t); /* 11 * 1.05 = 11.55 */
    assert_int_equal(t.a.verdict, MOE_FAIL);
    forget(&t);
}

static void
test_a_healthy_run_that_did_not_converge_makes_rules_that_judge_by_the_interval(void **state)
{
    (void)state;
    static const char rough[] =
        ROUTED("1") EXCHANGE("exact", "total", UNCONVERGED("10", "5", "15"), "");
    trial_t t;
    judge_by_rules_from(rough, rough, 0.05, &t);
    assert_int_equal(t.a.verdict, MOE_PASS);
    forget(&t);
}

static void test_nothing_is_made_of_results_without_an_interval(void **state)
{
    (void)state;
    moe_results_t results;
    moe_error_t error = {0};
    json_t *rules = NULL;
    size_t left_out = 0;
    read_results_of(ROUTED("1") EXCHANGE_REPS("exact", "total", "3",
                                              "\"converged\":false,\"median_us\":90", ""),
                    &results);
    assert_int_equal(moe_rules_make(&results, 0.05, &rules, &left_out, &error), MOE_BAD_INPUT);
    assert_int_equal(left_out, 1);
    assert_non_null(strstr(error.text, "no rule can be made"));
    moe_results_destroy(&results);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_interval_decides_and_not_the_point),
        cmocka_unit_test(test_a_rate_has_the_interval_of_its_time_turned_over),
        cmocka_unit_test(test_counts_are_exact),
        cmocka_unit_test(test_what_has_not_converged_is_inconclusive),
        cmocka_unit_test(test_times_of_ranks_that_shared_a_gpu_decide_nothing),
        cmocka_unit_test(test_against_a_baseline_the_ratio_decides),
        cmocka_unit_test(test_a_time_of_nothing_is_no_worse_than_nothing),
        cmocka_unit_test(test_what_the_baseline_has_and_the_results_have_not_fails),
        cmocka_unit_test(test_a_metric_that_some_records_lack_fails_there),
        cmocka_unit_test(test_every_value_of_a_list_must_be_there),
        cmocka_unit_test(test_a_rule_that_cannot_be_applied_is_an_error),
        cmocka_unit_test(test_a_measurement_that_a_rule_knows_of_fails_where_it_is_missing),
        cmocka_unit_test(test_fields_of_the_run_select_and_unknown_ones_too_if_they_occur),
        cmocka_unit_test(test_a_warning_does_not_decide),
        cmocka_unit_test(test_fail_outweighs_inconclusive_which_outweighs_pass),
        cmocka_unit_test(test_a_healthy_run_passes_the_rules_made_from_it),
        cmocka_unit_test(
            test_a_healthy_run_that_did_not_converge_makes_rules_that_judge_by_the_interval),
        cmocka_unit_test(test_nothing_is_made_of_results_without_an_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
