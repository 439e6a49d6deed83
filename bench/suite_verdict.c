#include "suite_verdict.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "accept_output.h"
#include "moe/system.h"
#include "outputs.h"
#include "ready_file.h"
#include "who_is_slow.h"

/* Rules that come with the program, by what they are about: right at all, and as fast as a healthy run. */
static const char *const correct[] = {"alltoallv-correct", "layer-correct", "iteration-correct"};
static const char *const baselines[] = {"alltoallv-baseline", "layer-baseline",
                                        "iteration-baseline"};
#define KINDS (sizeof correct / sizeof *correct)

moe_status_t suite_path(const suite_t *suite, const char *name, const char *ending,
                        char path[SUITE_PATH], moe_error_t *error)
{
    const int length = snprintf(path, SUITE_PATH, "%s/%s%s", suite->folder, name, ending);
    return length < SUITE_PATH
               ? MOE_OK
               : moe_fail(error, MOE_BAD_INPUT, "--out %.60s...: too long a path", suite->folder);
}

/* ---- Results ---- */

static moe_status_t read_items(const suite_t *suite, moe_results_t *out, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < suite->profile->items; i++) {
        char path[SUITE_PATH];
        if (suite->state[i] == SUITE_NO_TIME || suite->state[i] == SUITE_REFUSED) {
            continue;
        }
        status = suite_path(suite, suite->profile->item[i].name, ".jsonl", path, error);
        if (status == MOE_OK) {
            status = moe_results_read(path, out, error);
        }
    }
    return status;
}

/* FAIL outweighs INCONCLUSIVE, which outweighs PASS. */
static moe_status_t worse(moe_status_t a, moe_status_t b)
{
    return a == MOE_WRONG_DATA || b == MOE_WRONG_DATA       ? MOE_WRONG_DATA
           : a == MOE_INCONCLUSIVE || b == MOE_INCONCLUSIVE ? MOE_INCONCLUSIVE
                                                            : MOE_OK;
}

/* ---- Rules ---- */

typedef struct judging {
    const suite_t *suite;
    outputs_t outputs;
    const moe_results_t *results, *baseline;
    moe_status_t verdict;
} judging_t;

static moe_status_t write_verdict(judging_t *j, const moe_rules_t *rules, const char *name,
                                  const moe_acceptance_t *acceptance, moe_error_t *error)
{
    const config_t *c = &j->suite->world->config;
    const char *base = strrchr(name, '/') != NULL ? strrchr(name, '/') + 1 : name;
    char path[SUITE_PATH], ending[128];
    snprintf(ending, sizeof ending, "-%.100s.xml", base);
    moe_status_t status = suite_path(j->suite, "verdict", ending, path, error);
    if (status != MOE_OK) {
        return status;
    }
    j->outputs.junit = fopen(path, "w");
    if (j->outputs.junit == NULL) {
        return moe_fail(error, MOE_BAD_INPUT, "cannot write '%.700s'", path);
    }
    outputs_line(&j->outputs, "## %s", name);
    status = write_acceptance(&j->outputs, rules, acceptance,
                              heading_record("acceptance", c->argc, c->argv), error);
    fclose(j->outputs.junit);
    j->outputs.junit = NULL;
    return status;
}

static moe_status_t judge_by(judging_t *j, const char *name, const moe_results_t *baseline,
                             moe_error_t *error)
{
    static const moe_status_t statuses[] = {
        [MOE_PASS] = MOE_OK, [MOE_FAIL] = MOE_WRONG_DATA, [MOE_UNDECIDED] = MOE_INCONCLUSIVE};
    moe_rules_t rules = {0};
    moe_acceptance_t acceptance = {0};
    char path[PATH_MAX];
    moe_status_t status = ready_file_find(&ready_rules, name, path, sizeof path, error);
    if (status == MOE_OK) {
        status = moe_rules_read(path, &rules, error);
    }
    if (status == MOE_OK) {
        status = moe_accept(&rules, j->results, baseline, &acceptance, error);
    }
    if (status == MOE_OK) {
        status = write_verdict(j, &rules, name, &acceptance, error);
        j->verdict = worse(j->verdict, statuses[acceptance.verdict]);
    }
    moe_acceptance_destroy(&acceptance);
    moe_rules_destroy(&rules);
    return status;
}

/* Whether any item of the command that rules are about ("layer-...") has results: what has none counts
 * by itself, and its rules would match nothing. */
static bool has_results(const suite_t *suite, const char *rules)
{
    for (size_t i = 0; i < suite->profile->items; i++) {
        const char *name = suite->profile->item[i].entry->command->name;
        const bool done = suite->state[i] == SUITE_DONE || suite->state[i] == SUITE_BEFORE;
        if (done && strncmp(rules, name, strlen(name)) == 0) {
            return true;
        }
    }
    return false;
}

static moe_status_t judge_by_all(judging_t *j, moe_error_t *error)
{
    const char *own = j->suite->world->config.options.value[OPT_RULES];
    moe_status_t status = MOE_OK;
    if (own != NULL) {
        return judge_by(j, own, j->baseline, error);
    }
    for (size_t k = 0; status == MOE_OK && k < KINDS; k++) {
        if (!has_results(j->suite, correct[k])) {
            continue;
        }
        status = judge_by(j, correct[k], NULL, error);
        if (status == MOE_OK && j->baseline != NULL) {
            status = judge_by(j, baselines[k], j->baseline, error);
        }
    }
    return status;
}

/* ---- The report ---- */

static void list_items(const judging_t *j)
{
    static const char *const words[] = {[SUITE_DONE] = "done",
                                        [SUITE_BEFORE] = "done in an earlier call",
                                        [SUITE_NO_TIME] = "NOT RUN: no time was left",
                                        [SUITE_REFUSED] = "REFUSED (see the messages)"};
    const suite_t *s = j->suite;
    outputs_line(&j->outputs, "# moe-a2a suite %s, %zu ranks", s->profile->name,
                 s->world->all->size);
    for (size_t i = 0; i < s->profile->items; i++) {
        outputs_line(&j->outputs, "- %s: %s (%s.txt, %s.jsonl)", s->profile->item[i].name,
                     words[s->state[i]], s->profile->item[i].name, s->profile->item[i].name);
    }
}

static moe_status_t open_outputs(const suite_t *suite, outputs_t *out, moe_error_t *error)
{
    char records[SUITE_PATH], report[SUITE_PATH];
    moe_status_t status = suite_path(suite, "verdict", ".jsonl", records, error);
    if (status == MOE_OK) {
        status = suite_path(suite, "report", ".md", report, error);
    }
    if (status == MOE_OK) {
        (void)remove(records); /* of an earlier call */
        status = moe_recorder_create(records, NULL, &out->recorder, error);
    }
    if (status != MOE_OK) {
        return status;
    }
    out->table = suite->world->table;
    out->markdown = fopen(report, "w");
    return out->markdown != NULL ? MOE_OK
                                 : moe_fail(error, MOE_BAD_INPUT, "cannot write '%.700s'", report);
}

/* What was not measured counts as well. */
static moe_status_t verdict_of_items(const suite_t *suite)
{
    moe_status_t verdict = MOE_OK;
    for (size_t i = 0; i < suite->profile->items; i++) {
        verdict = worse(verdict, suite->state[i] == SUITE_REFUSED   ? MOE_WRONG_DATA
                                 : suite->state[i] == SUITE_NO_TIME ? MOE_INCONCLUSIVE
                                                                    : MOE_OK);
    }
    return verdict;
}

static void conclude(judging_t *j)
{
    static const char *const words[] = {
        [MOE_OK] = "PASS", [MOE_WRONG_DATA] = "FAIL", [MOE_INCONCLUSIVE] = "INCONCLUSIVE"};
    j->verdict = worse(j->verdict, verdict_of_items(j->suite));
    outputs_line(&j->outputs, "## Verdict: %s", words[j->verdict]);
}

moe_status_t suite_judge(const suite_t *suite, moe_error_t *error)
{
    const char *file = suite->world->config.options.value[OPT_BASELINE];
    moe_results_t results = {0}, baseline = {0};
    judging_t j = {.suite = suite, .results = &results, .verdict = MOE_OK};
    moe_status_t status = open_outputs(suite, &j.outputs, error);
    if (status == MOE_OK) {
        list_items(&j);
        status = read_items(suite, &results, error);
    }
    if (status == MOE_OK && file != NULL) {
        status = moe_results_read(file, &baseline, error);
        j.baseline = &baseline;
    }
    if (status == MOE_OK && results.count > 0) {
        status = judge_by_all(&j, error);
    }
    if (status == MOE_OK) {
        status = tell_who_is_slow(&j.outputs, &results, error);
    }
    if (status == MOE_OK) {
        conclude(&j);
    }
    if (j.outputs.markdown != NULL) {
        fclose(j.outputs.markdown);
    }
    moe_recorder_destroy(j.outputs.recorder);
    moe_results_destroy(&baseline);
    moe_results_destroy(&results);
    return status == MOE_OK ? j.verdict : status;
}
