/* Conditions and files of rules: what they may say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "moe/verdict.h"
#include "rules_setting.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Conditions ---- */

static void test_conditions_are_read_as_they_are_written(void **state)
{
    (void)state;
    static const struct {
        const char *text, *metric;
        moe_condition_t wanted;
    } cases[] = {
        {">= 40", "", {MOE_AT_LEAST, false, 40, 0}},
        {">40", "", {MOE_ABOVE, false, 40, 0}},
        {"<= 1.05 * baseline", "", {MOE_AT_MOST, true, 1.05, 0}},
        {"<=1.05*baseline", "", {MOE_AT_MOST, true, 1.05, 0}},
        {"<= baseline * 1.05", "", {MOE_AT_MOST, true, 1.05, 0}},
        {"< baseline", "", {MOE_BELOW, true, 1, 0}},
        {"== 0", "", {MOE_EQUAL, false, 0, 0}},
        {"!= 1e3", "", {MOE_NOT_EQUAL, false, 1000, 0}},
        {"within 5 % of baseline", "", {MOE_WITHIN, true, 1, 0.05}},
        {"within 5% of 12.5", "", {MOE_WITHIN, false, 12.5, 0.05}},
        {"errors == 0", "errors", {MOE_EQUAL, false, 0, 0}},
        {" efficiency >= 0.8 ", "efficiency", {MOE_AT_LEAST, false, 0.8, 0}},
        {"share.a2a within 10 % of baseline", "share.a2a", {MOE_WITHIN, true, 1, 0.1}},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char metric[32];
        moe_condition_t got;
        moe_error_t error = {0};
        moe_condition_parse("x", cases[i].text, metric, sizeof metric, &got, &error);
        assert_string_equal(error.text, "");
        assert_string_equal(metric, cases[i].metric);
        assert_int_equal(got.op, cases[i].wanted.op);
        assert_int_equal(got.baseline, cases[i].wanted.baseline);
        assert_float_equal(got.factor, cases[i].wanted.factor, 1e-12);
        assert_float_equal(got.share, cases[i].wanted.share, 1e-12);
    }
}

static void test_what_is_no_condition_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        " ",
        "40",
        ">=",
        ">= x",
        "=> 40",
        "= 40",
        "=== 40",
        ">= 40 %",
        ">= nan",
        ">= inf",
        ">= 0x10",
        ">= 1e400",
        ">= 1e30",
        ">= -1",
        "<= 1.05 baseline",
        "<= 1.05 * base",
        "<= 1.05 * baselines",
        "<= 2 * 3",
        "<= baseline * x",
        "within 5 of baseline",
        "within % of baseline",
        "within 5 % baseline",
        "within 0 % of 1",
        "within 100 % of 1",
        "within -5 % of 1",
        "within 5 % of",
        "errors",
        "errors = 0",
        "1errors == 0",
        ">= 40 and",
        "err ors == 0",
        ">= 4,0",
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char metric[32];
        moe_condition_t got = {0};
        moe_error_t error = {0};
        const moe_status_t status =
            moe_condition_parse("rules[3]", cases[i], metric, sizeof metric, &got, &error);
        if (status != MOE_BAD_INPUT || strstr(error.text, "rules[3]: '") == NULL)
            fail_msg("'%s' passed for a condition", cases[i]);
    }
}

/* ---- Files ---- */

static void test_rules_that_are_wrong_are_refused_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", ":1:0: "},
        {"{\"schema\":1,", ":1:"},
        {"[]", "an object with \"schema\" and \"rules\""},
        {"{\"rules\":[]}", ".schema: must be 1"},
        {"{\"schema\":2,\"rules\":[]}", ".schema: must be 1"},
        {"{\"schema\":1}", ".rules: must be a list of at least one rule"},
        {RULES(""), ".rules: must be a list of at least one rule"},
        {"{\"schema\":1,\"rules\":[],\"rule\":1}",
         "'rule' is no key that is known; nearest: rules"},
        {"{\"schema\":1,\"schema\":1}", "duplicate"},
        {RULES("7"), "rules[0]: must be an object"},
        {RULES(RULE("", "errors", "== 0", ",\"sevrity\":\"error\"")),
         "rules[0]: 'sevrity' is no key that is known; nearest: severity"},
        {RULES(RULE("", "errors", "== 0", ",\"severity\":\"high\"")),
         "rules[0].severity: must be \"error\" or \"warning\""},
        {RULES(RULE("", "errors", "== 0", ",\"missing\":true")), "rules[0].missing: must be text"},
        {RULES(RULE("", "errors", "== 0", ",\"name\":\"\"")), "rules[0].name: must be text"},
        {RULES(RULE("", "errors", "== 0", "") "," RULE("", "errors", "== 0", "")),
         "rules[1]: a second rule named 'errors == 0'"},
        {RULES(RULE("", "errors", "=> 0", "")), "rules[0].condition: '=> 0' is no condition"},
        {RULES(RULE("", "eficiency", ">= 1", "")),
         "metric 'eficiency' is no figure; nearest: efficiency"},
        {RULES(RULE("", "min_us", ">= 1", "")), "has no interval that it could be judged on"},
        {RULES(RULE("", "median_us", "== 1", "")), "never equal to anything"},
        {RULES(RULE("", "median_us", "errors == 1", "")),
         "is not the one that the condition names"},
        {RULES(RULE(",\"phase\":[]", "errors", "== 0", "")), "rules[0].select.phase: must be text"},
        {RULES(RULE(",\"phase\":{}", "errors", "== 0", "")), "rules[0].select.phase: must be text"},
        {RULES("{\"metric\":\"errors\",\"condition\":\"== 0\"}"), "rules[0].select: missing"},
        {RULES("{\"select\":{},\"metric\":\"errors\",\"condition\":\"== 0\"}"),
         "rules[0].select.record: must be \"exchange\""},
        {RULES("{\"select\":{\"record\":\"exchanges\"},\"condition\":\"errors == 0\"}"),
         "rules[0].select.record: must be \"exchange\""},
        {RULES("{\"select\":{\"record\":\"exchange\"},\"condition\":\"== 0\"}"),
         "rules[0].metric: missing"},
        {RULES("{\"select\":{\"record\":\"exchange\"},\"metric\":\"errors\"}"),
         "rules[0].condition: missing"},
        {RULES(RULE("", "errors", "== 0", ",\"severity\":\"warning\"")), "every rule is a warning"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        moe_rules_t rules;
        moe_error_t error = {0};
        assert_int_equal(read_rules_of(cases[i].text, &rules, &error), MOE_BAD_INPUT);
        if (strstr(error.text, cases[i].part) == NULL || strstr(error.text, "moe-rules") == NULL)
            fail_msg("'%s' lacks '%s'", error.text, cases[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions_are_read_as_they_are_written),
        cmocka_unit_test(test_what_is_no_condition_is_refused),
        cmocka_unit_test(test_rules_that_are_wrong_are_refused_with_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
