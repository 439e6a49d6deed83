/* moe-a2a accept: results against rules. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accept_output.h"
#include "commands.h"
#include "moe/system.h"
#include "outputs.h"
#include "ready_file.h"
#include "who_is_slow.h"

static const command_t command = {
    .name = "accept",
    .arguments = "RESULTS.jsonl [...]",
    .summary = "rules and results: PASS, FAIL or INCONCLUSIVE",
    .help =
        "Judges results by rules, on the intervals of what was measured. docs/verdicts.md says how "
        "rules are written and decided.\v"
        "  moe-a2a accept --rules link-efficiency run.jsonl\n"
        "  moe-a2a accept --rules layer-baseline --baseline healthy.jsonl run.jsonl\n"
        "  moe-a2a accept --make-baseline healthy.jsonl --margin 5% -o rules.json\n\n"
        "Exit status: 0 PASS, 1 FAIL, 3 INCONCLUSIVE, 2 bad input or a rule that cannot be "
        "applied.",
    .groups = GROUP_OUTPUT | GROUP_MARKDOWN | GROUP_RULES | GROUP_FILE,
    .most_arguments = MAX_ARGUMENTS,
};

/* More than twice as slow is no margin: a limit that wide catches nothing. */
#define MOST_MARGIN 100.0

/* ---- Making rules ---- */

static moe_status_t read_margin(const options_t *options, double *margin, moe_error_t *error)
{
    char text[32];
    snprintf(text, sizeof text, "%s", options->value[OPT_MARGIN]);
    const size_t length = strlen(text);
    if (length > 0 && text[length - 1] == '%') {
        text[length - 1] = '\0';
    }
    const moe_status_t status = moe_parse_real("--margin", text, 0, MOST_MARGIN, margin, error);
    *margin /= 100;
    return status;
}

static moe_status_t write_rules(const char *path, const json_t *rules, moe_error_t *error)
{
    const bool to_stdout = path == NULL || strcmp(path, "-") == 0;
    FILE *out = to_stdout ? stdout : fopen(path, "w");
    if (out == NULL) {
        return moe_fail(error, MOE_BAD_INPUT, "--output: cannot write '%.700s': %s", path,
                        strerror(errno));
    }
    bool written = json_dumpf(rules, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) == 0;
    written = fputc('\n', out) != EOF && fflush(out) == 0 && written;
    written = (to_stdout || fclose(out) == 0) && written;
    return written ? MOE_OK
                   : moe_fail(error, MOE_FAILED, "--output: cannot write all of the rules");
}

static moe_status_t make_rules(const options_t *options, moe_error_t *error)
{
    static const option_t others[] = {OPT_RULES, OPT_BASELINE, OPT_JUNIT,
                                      OPT_JSON,  OPT_CSV,      OPT_MARKDOWN};
    moe_results_t results = {0};
    double margin = 0;
    json_t *rules = NULL;
    size_t left_out = 0;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (options->given[others[i]]) {
            return moe_fail(error, MOE_BAD_INPUT,
                            "--%s: nothing is judged with --make-baseline, which writes rules",
                            option_row(others[i])->name);
        }
    }
    moe_status_t status = read_margin(options, &margin, error);
    if (status == MOE_OK) {
        status = read_results(options->arguments, options->argument_count, &results, error);
    }
    if (status == MOE_OK) {
        status = moe_rules_make(&results, margin, &rules, &left_out, error);
    }
    if (status == MOE_OK) {
        status = write_rules(options->value[OPT_OUTPUT], rules, error);
    }
    if (status == MOE_OK && left_out > 0 && options->value[OPT_QUIET] == NULL) {
        fprintf(stderr,
                "note: %zu results have no interval (fewer than 6 repetitions), and no rule\n",
                left_out);
    }
    json_decref(rules);
    moe_results_destroy(&results);
    return status;
}

/* ---- Judging ---- */

typedef struct judged {
    moe_rules_t rules;
    moe_results_t results, baseline;
    moe_acceptance_t acceptance;
} judged_t;

static moe_status_t judge(const options_t *options, judged_t *out, moe_error_t *error)
{
    char path[PATH_MAX];
    const char *baseline = options->value[OPT_BASELINE];
    moe_status_t status =
        ready_file_find(&ready_rules, options->value[OPT_RULES], path, sizeof path, error);
    if (status == MOE_OK) {
        status = moe_rules_read(path, &out->rules, error);
    }
    if (status == MOE_OK) {
        status = read_results(options->arguments, options->argument_count, &out->results, error);
    }
    if (status == MOE_OK && baseline != NULL) {
        status = moe_results_read(baseline, &out->baseline, error);
    }
    return status == MOE_OK
               ? moe_accept(&out->rules, &out->results, baseline != NULL ? &out->baseline : NULL,
                            &out->acceptance, error)
               : status;
}

static moe_status_t status_of(moe_verdict_t verdict)
{
    static const moe_status_t statuses[] = {
        [MOE_PASS] = MOE_OK, [MOE_FAIL] = MOE_WRONG_DATA, [MOE_UNDECIDED] = MOE_INCONCLUSIVE};
    return statuses[verdict];
}

static moe_status_t run_accept(const options_t *options, int argc, char **argv, moe_error_t *error)
{
    judged_t judged = {0};
    outputs_t outputs = {0};
    moe_status_t status = judge(options, &judged, error);
    if (status == MOE_OK) {
        status = outputs_open(options, &outputs, error);
        if (status == MOE_OK) {
            status = write_acceptance(&outputs, &judged.rules, &judged.acceptance,
                                      heading_record("acceptance", argc, argv), error);
        }
        if (status == MOE_OK) {
            outputs_not_measured(&outputs, "the results", &judged.results);
            status = tell_who_is_slow(&outputs, &judged.results, error);
        }
        if (status == MOE_OK) {
            status = status_of(judged.acceptance.verdict);
        }
        status = outputs_close(&outputs, status, error);
    }
    moe_acceptance_destroy(&judged.acceptance);
    moe_results_destroy(&judged.baseline);
    moe_results_destroy(&judged.results);
    moe_rules_destroy(&judged.rules);
    return status;
}

static moe_status_t choose(const options_t *options, int argc, char **argv, moe_error_t *error)
{
    if (options->argument_count == 0) {
        return moe_fail(error, MOE_BAD_INPUT, "no results named; see `moe-a2a accept --help`");
    }
    if (options->given[OPT_MAKE_BASELINE]) {
        return make_rules(options, error);
    }
    if (options->given[OPT_MARGIN] || options->given[OPT_OUTPUT]) {
        return moe_fail(error, MOE_BAD_INPUT, "--%s goes with --make-baseline",
                        options->given[OPT_MARGIN] ? "margin" : "output");
    }
    if (options->value[OPT_RULES] == NULL) {
        return moe_fail(error, MOE_BAD_INPUT, "--rules RULES is needed, or --make-baseline");
    }
    return run_accept(options, argc, argv, error);
}

static int run(int argc, char **argv)
{
    options_t options;
    moe_error_t error = {0};
    moe_status_t status = options_parse(&command, argc - 1, argv + 1, &options, &error);
    if (status == MOE_OK && !options.help) {
        status = choose(&options, argc, argv, &error);
    }
    if (error.status != MOE_OK) {
        fprintf(stderr, "moe-a2a accept: %s\n", error.text);
    }
    return (int)status;
}

const command_entry_t accept_command = {.command = &command, .run = run, .where = ""};
