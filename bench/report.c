/* moe-a2a report: results as one HTML page, made by plot/report.py. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands.h"
#include "data_path.h"
#include "moe/record.h"
#include "moe/system.h"

#define STANDARD_OUTPUT "report.html"
#define SCRIPT          "plot/report.py"
#define HOW_TO_GET                                                                                 \
    "(Debian: apt-get install python3 python3-matplotlib python3-jinja2; elsewhere: pip install "  \
    "matplotlib jinja2)"

extern char **environ;

static const command_t command = {
    .name = "report",
    .arguments = "RESULTS.jsonl [...]",
    .summary = "results as one self-contained HTML page, with pictures",
    .help = "Writes what the result files hold as one HTML page that needs no network: the answer "
            "in one sentence, verdicts, figures, matrices, ranks, the environment, and the "
            "commands to "
            "measure it again. Files that `accept`, `compare` or `reproduce` wrote with --json may "
            "be among them.\v"
            "  moe-a2a report out.jsonl verdict.jsonl -o report.html\n\n"
            "Needs Python 3 with matplotlib and Jinja2. Exit status: 0 written, 2 bad input or "
            "Python's parts are missing.",
    .groups = GROUP_FILE,
    .most_arguments = MAX_ARGUMENTS,
};

/* ---- The files ---- */

/* Files of conclusions are led by a record of one of these kinds; no reader of results takes them. */
static bool is_conclusion(const char *path)
{
    static const char *const kinds[] = {"acceptance", "comparison", "reproduce"};
    char *line = NULL;
    size_t room = 0;
    bool found = false;
    FILE *file = fopen(path, "r");
    if (file != NULL && getline(&line, &room, file) > 0) {
        json_t *record = json_loads(line, 0, NULL);
        const char *kind = json_string_value(json_object_get(record, "record"));
        for (size_t i = 0; kind != NULL && i < sizeof kinds / sizeof *kinds; i++) {
            found = found || strcmp(kind, kinds[i]) == 0;
        }
        json_decref(record);
    }
    free(line);
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

static moe_status_t check_files(const options_t *options, moe_error_t *error)
{
    moe_results_t results = {0};
    moe_status_t status = MOE_OK;
    if (options->argument_count == 0) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "no file: name results, as --json FILE wrote them; see `moe-a2a report "
                        "--help`");
    }
    for (size_t i = 0; status == MOE_OK && i < options->argument_count; i++) {
        if (!is_conclusion(options->arguments[i])) {
            status = moe_results_read(options->arguments[i], &results, error);
        }
    }
    if (status == MOE_OK && results.count == 0) {
        status = moe_fail(error, MOE_BAD_INPUT,
                          "'%.300s' holds conclusions only: name the results that they are of too",
                          options->arguments[0]);
    }
    moe_results_destroy(&results);
    return status;
}

/* ---- Python ---- */

/* Runs a program of the search path to its end; returns its exit status, -1 where it could not start or
 * was ended by a signal. silent: what it prints goes nowhere. */
static int run_program(char *const *words, bool silent)
{
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status = 0;
    if (posix_spawn_file_actions_init(&actions) != 0) {
        return -1;
    }
    if (silent) {
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    }
    fflush(NULL);
    const int failed = posix_spawnp(&child, words[0], &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) {
        return -1;
    }
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) {
            return -1;
        }
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* A Python that has what is needed: the one that is found first, or else the system's, for which
 * packages of the system are. */
static moe_status_t find_python(const char **out, moe_error_t *error)
{
    static const char *const names[] = {"python3", "/usr/bin/python3"};
    static char probe[] =
        "import importlib.util as u, sys\n"
        "m = [n for n in ('matplotlib', 'jinja2') if u.find_spec(n) is None]\n"
        "sys.exit(40 + len(m) + ('jinja2' in m) if m else 0)"; /* 41: matplotlib; 42: jinja2; 43: both */
    static const char *const missing[] = {
        [1] = "matplotlib", [2] = "jinja2", [3] = "matplotlib and jinja2"};
    int first = -1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[PATH_MAX], option[] = "-c";
        snprintf(name, sizeof name, "%s", names[i]);
        char *words[] = {name, option, probe, NULL};
        const int status = run_program(words, true);
        if (status == 0) {
            *out = names[i];
            return MOE_OK;
        }
        first = first >= 0 ? first : status;
    }
    return first > 40 && first <= 43
               ? moe_fail(error, MOE_BAD_INPUT, "python3 lacks %s " HOW_TO_GET, missing[first - 40])
               : moe_fail(error, MOE_BAD_INPUT,
                          "python3 is not found, or does not run " HOW_TO_GET);
}

/* ---- The page ---- */

static moe_status_t write_page(const options_t *options, const char *python, const char *script,
                               bool *told, moe_error_t *error)
{
    char program[PATH_MAX];
    const char *output = options->given[OPT_OUTPUT] ? options->value[OPT_OUTPUT] : STANDARD_OUTPUT;
    const char *words[MAX_ARGUMENTS + 16];
    size_t count = 0;
    words[count++] = python;
    words[count++] = "-B"; /* no files of its own beside the script */
    words[count++] = script;
    words[count++] = "--output";
    words[count++] = output;
    if (program_path(program, sizeof program)) {
        words[count++] = "--program";
        words[count++] = program;
    }
    words[count++] = "--";
    for (size_t i = 0; i < options->argument_count; i++) {
        words[count++] = options->arguments[i];
    }
    words[count] = NULL;
    const int status = run_program((char *const *)words, false);
    *told = status == MOE_BAD_INPUT; /* by the script, in its own words */
    return status == 0 ? MOE_OK
           : *told
               ? MOE_BAD_INPUT
               : moe_fail(error, MOE_FAILED, "'%.300s' failed: what it said stands above", script);
}

static moe_status_t run_report(const options_t *options, bool *told, moe_error_t *error)
{
    char script[PATH_MAX];
    const char *python = NULL;
    moe_status_t status = check_files(options, error);
    if (status == MOE_OK && !data_path(SCRIPT, script, sizeof script)) {
        status = moe_fail(error, MOE_BAD_INPUT,
                          SCRIPT " is not found beside the program or in " MOE_DATA_DIR
                                 ": install with `make install`, or use the program where it was "
                                 "built");
    }
    if (status == MOE_OK) {
        status = find_python(&python, error);
    }
    return status == MOE_OK ? write_page(options, python, script, told, error) : status;
}

static int run(int argc, char **argv)
{
    options_t options;
    moe_error_t error = {0};
    bool told = false;
    moe_status_t status = options_parse(&command, argc - 1, argv + 1, &options, &error);
    if (status == MOE_OK && !options.help) {
        status = run_report(&options, &told, &error);
    }
    if (status != MOE_OK && !told) {
        fprintf(stderr, "moe-a2a report: %s\n", error.text);
    }
    return (int)status;
}

const command_entry_t report_command = {.command = &command, .run = run, .where = ""};
