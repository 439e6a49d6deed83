/* moe-a2a compare: the same exchanges in several result files, held against those of the first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "compare_output.h"
#include "outputs.h"

static const command_t command = {
    .name = "compare",
    .arguments = "A.jsonl B.jsonl [...]",
    .summary = "two or more result files: how many times as fast, with intervals",
    .help = "Matches results of the same work (routing and matrix, model, style, algorithm, phase, "
            "ranks, size) and says for each whether B is faster or slower than A, what did not "
            "match, and what else differed between the runs.\v"
            "  moe-a2a compare before.jsonl after.jsonl --markdown report.md\n\n"
            "Exit status: 0 compared, 2 bad input or nothing matched.",
    .groups = GROUP_OUTPUT | GROUP_MARKDOWN,
    .most_arguments = MAX_ARGUMENTS,
};

static moe_status_t compare_two(const outputs_t *outputs, const char *path_a, const char *path_b,
                                const moe_results_t *a, int argc, char **argv, size_t *matched,
                                moe_error_t *error)
{
    moe_results_t b = {0};
    moe_comparison_t comparison;
    moe_status_t status = moe_results_read(path_b, &b, error);
    if (status == MOE_OK) {
        status = moe_compare(a, &b, &comparison, error);
    }
    if (status == MOE_OK) {
        *matched += comparison.rows;
        status = write_comparison(outputs, path_a, path_b, &comparison,
                                  heading_record("comparison", argc, argv), error);
        outputs_not_measured(outputs, path_a, a);
        outputs_not_measured(outputs, path_b, &b);
        moe_comparison_destroy(&comparison);
    }
    moe_results_destroy(&b);
    return status;
}

/* Every file is read, and refused where it is unsound, before anything is written. */
static moe_status_t check_files(const options_t *options, moe_error_t *error)
{
    moe_results_t all = {0};
    if (options->argument_count < 2) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "two or more result files are compared, and %zu %s named; see "
                        "`moe-a2a compare --help`",
                        options->argument_count, options->argument_count == 1 ? "was" : "were");
    }
    const moe_status_t status =
        read_results(options->arguments, options->argument_count, &all, error);
    moe_results_destroy(&all);
    return status;
}

static moe_status_t run_compare(const options_t *options, int argc, char **argv, moe_error_t *error)
{
    outputs_t outputs = {0};
    moe_results_t a = {0};
    size_t matched = 0;
    moe_status_t status = check_files(options, error);
    if (status != MOE_OK) {
        return status;
    }
    status = outputs_open(options, &outputs, error);
    if (status == MOE_OK) {
        status = moe_results_read(options->arguments[0], &a, error);
    }
    for (size_t i = 1; status == MOE_OK && i < options->argument_count; i++) {
        status = compare_two(&outputs, options->arguments[0], options->arguments[i], &a, argc, argv,
                             &matched, error);
    }
    if (status == MOE_OK && matched == 0) {
        status = moe_fail(error, MOE_BAD_INPUT,
                          "nothing matched: no result of '%.300s' is of the same work as one of "
                          "the other files; the reasons stand with what did not match",
                          options->arguments[0]);
    }
    moe_results_destroy(&a);
    return outputs_close(&outputs, status, error);
}

static int run(int argc, char **argv)
{
    options_t options;
    moe_error_t error = {0};
    moe_status_t status = options_parse(&command, argc - 1, argv + 1, &options, &error);
    if (status == MOE_OK && !options.help) {
        status = run_compare(&options, argc, argv, &error);
    }
    if (status != MOE_OK) {
        fprintf(stderr, "moe-a2a compare: %s\n", error.text);
    }
    return (int)status;
}

const command_entry_t compare_command = {.command = &command, .run = run, .where = ""};
