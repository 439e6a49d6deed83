/* moe-a2a predict: what iterations would take on a described machine, at any number of ranks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "forecast.h"
#include "moe/system.h"
#include "predict_fit.h"
#include "sweep.h"

static const command_t command = {
    .name = "predict",
    .summary = "a cost model of whole iterations, on a described machine, at any number of ranks",
    .help =
        "Routes tokens, counts what each style has each port carry, and reckons what an iteration "
        "would take on a machine that a file describes. Runs in one process; nothing is sent. What "
        "it rests on, and when to trust it: docs/predict.md.\v"
        "  moe-a2a predict --model deepseek-v3 --ranks 4096 --ep 64 --machine h800-ib --style "
        "padded,exact,dedup,two-hop\n"
        "  moe-a2a predict --model mixtral-8x7b --machine h100-ib --sweep ranks=8:512:2 --json -\n"
        "  moe-a2a predict --machine h100-ib --fit layer.jsonl -o mine.json",
    .groups = GROUP_MODEL | GROUP_ROUTING | GROUP_LAYOUT | GROUP_STYLE | GROUP_OUTPUT |
              GROUP_PREDICT | GROUP_FILE,
    .standard_style = "exact",
    .standard_compute = "machine",
};

const command_t *predict_options(void)
{
    return &command;
}

/* What all points of a sweep write to. */
typedef struct prediction {
    const sweep_t *sweep;
    FILE *table;
    moe_recorder_t *recorder;
} prediction_t;

#define REMARK_TEXT 128

/* ---- One point ---- */

static moe_status_t predict_row(const prediction_t *p, const forecast_run_t *run,
                                const moe_style_ops_t *style, const char *algorithm,
                                outcome_t *outcome, moe_error_t *error)
{
    const iteration_view_t view = forecast_view(run, p->table);
    moe_forecast_t forecast;
    char remark[REMARK_TEXT];
    json_t *record = NULL;
    moe_status_t status = forecast_style(run, style, algorithm, &forecast, error);
    if (status != MOE_OK) {
        return status;
    }
    forecast_outcome(&forecast, style, algorithm, outcome);
    if (p->table != NULL) {
        (void)moe_forecast_dominating(&forecast, &run->machine, remark, sizeof remark);
        print_outcome(&view, outcome, NULL, remark);
    }
    status = outcome_record(&view, outcome, NULL, &record, error);
    if (status == MOE_OK) {
        forecast_record(run, &forecast, record);
        status = moe_recorder_write(p->recorder, record, error);
    }
    return status;
}

static moe_status_t announce(const prediction_t *p, const forecast_run_t *run, const char *word,
                             moe_error_t *error)
{
    const iteration_view_t view = forecast_view(run, p->table);
    const run_place_t place = forecast_place(run);
    json_t *record = run_record(run->config, &place, &run->census);
    if (word != NULL) {
        json_object_set_new(record, "sweep", moe_json_text(word + strlen("--")));
    }
    if (p->table != NULL) {
        if (word != NULL) {
            fprintf(p->table, "\n== %s\n", word + strlen("--"));
        }
        print_heading(p->table, run->config, &place, &run->census);
        print_timeline(&view);
        print_iteration_columns(&view);
    }
    return moe_recorder_write(p->recorder, record, error);
}

static moe_status_t predict_all(const prediction_t *p, const forecast_run_t *run, const char *word,
                                moe_error_t *error)
{
    const config_t *c = run->config;
    const size_t count = c->styles * c->algorithms;
    outcome_t *outcomes = NULL;
    moe_status_t status = announce(p, run, word, error);
    if (status == MOE_OK) {
        status = moe_alloc("results", count, sizeof *outcomes, (void **)&outcomes, error);
    }
    for (size_t i = 0; status == MOE_OK && i < count; i++) {
        status = predict_row(p, run, c->style[i / c->algorithms],
                             c->algorithm[i % c->algorithms]->name, &outcomes[i], error);
    }
    if (status == MOE_OK && p->table != NULL) {
        const iteration_view_t view = forecast_view(run, p->table);
        fprintf(p->table, "\n");
        for (size_t i = 0; i < count; i++) {
            print_answer(&view, &outcomes[i]);
        }
    }
    free(outcomes);
    return status;
}

static moe_status_t predict_point(const prediction_t *p, config_t *config, const char *word,
                                  moe_error_t *error)
{
    moe_machine_t machine;
    forecast_run_t run = {0};
    moe_status_t status = forecast_machine(config, &machine, error);
    if (status == MOE_OK) {
        status = forecast_check(config, &machine, error);
    }
    if (status == MOE_OK) {
        status = forecast_create(config, &machine, p->table, &run, error);
    }
    if (status == MOE_OK) {
        status = predict_all(p, &run, word, error);
        forecast_destroy(&run);
    }
    return status;
}

/* ---- All points ---- */

/* The command line with the value of one point behind it, where it decides. */
static moe_status_t read_point(const config_t *config, char *word, char **argv, config_t *out,
                               moe_error_t *error)
{
    char *const *at = config->argv;
    for (int i = 0; i < config->argc; i++) {
        argv[i] = at[i];
    }
    argv[config->argc] = word;
    argv[config->argc + 1] = NULL;
    moe_error_t why = {0};
    const moe_status_t status = config_read(&command, config->argc + 1, argv, out, &why);
    return status == MOE_OK ? MOE_OK
                            : moe_fail(error, status, "--sweep, at %.100s: %.800s", word, why.text);
}

/* Looks at all points first: an impossible one is refused before anything runs. */
static moe_status_t over_points(prediction_t *p, const config_t *config, bool check_only,
                                moe_error_t *error)
{
    char **argv = NULL;
    moe_status_t status =
        moe_alloc("a command line", (size_t)config->argc + 2, sizeof *argv, (void **)&argv, error);
    for (size_t i = 0; status == MOE_OK && i < p->sweep->count; i++) {
        config_t point;
        moe_machine_t machine;
        status = read_point(config, p->sweep->word[i], argv, &point, error);
        if (status == MOE_OK && check_only) {
            status = forecast_machine(&point, &machine, error);
        }
        if (status == MOE_OK && check_only) {
            moe_error_t why = {0};
            status = forecast_check(&point, &machine, &why);
            if (status != MOE_OK) {
                status = moe_fail(error, status, "--sweep, at %.100s: %.800s", p->sweep->word[i],
                                  why.text);
            }
        }
        if (status == MOE_OK && !check_only) {
            status = predict_point(p, &point, p->sweep->word[i], error);
        }
        config_destroy(&point);
    }
    free(argv);
    return status;
}

static moe_status_t run_sweep(prediction_t *p, config_t *config, moe_error_t *error)
{
    if (p->sweep->word == NULL) {
        return predict_point(p, config, NULL, error);
    }
    const moe_status_t status = over_points(p, config, true, error);
    return status == MOE_OK ? over_points(p, config, false, error) : status;
}

/* --platform: the machine itself, for tools/sim. Made whole before the file is touched. */
static moe_status_t make_platform(const config_t *config, char **text, size_t *size,
                                  moe_error_t *error)
{
    moe_machine_t machine;
    moe_status_t status = forecast_machine(config, &machine, error);
    if (status != MOE_OK) {
        return status;
    }
    FILE *memory = open_memstream(text, size);
    if (memory == NULL) {
        return moe_fail(error, MOE_FAILED, "--platform: no memory");
    }
    status = moe_machine_platform(&machine, config->ranks, memory, error);
    if (fclose(memory) != 0 && status == MOE_OK) {
        status = moe_fail(error, MOE_FAILED, "--platform: no memory");
    }
    return status;
}

static moe_status_t write_platform(const config_t *config, moe_error_t *error)
{
    static const option_t others[] = {OPT_FIT, OPT_SWEEP, OPT_OUTPUT, OPT_JSON, OPT_CSV};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (config->options.given[others[i]]) {
            return moe_fail(error, MOE_BAD_INPUT,
                            "--platform and --%s: --platform writes the machine, and nothing else",
                            option_row(others[i])->name);
        }
    }
    const char *path = config->options.value[OPT_PLATFORM];
    const bool is_stdout = strcmp(path, "-") == 0;
    char *text = NULL;
    size_t size = 0;
    moe_status_t status = make_platform(config, &text, &size, error);
    if (status == MOE_OK) {
        FILE *file = is_stdout ? stdout : fopen(path, "w");
        if (file == NULL) {
            free(text);
            return moe_fail(error, MOE_BAD_INPUT, "--platform %s: %s", path, strerror(errno));
        }
        bool written = fwrite(text, 1, size, file) == size;
        written = (is_stdout ? fflush(file) : fclose(file)) == 0 && written;
        if (!written) {
            status = moe_fail(error, MOE_FAILED, "--platform %s: cannot be written", path);
        }
    }
    free(text);
    return status;
}

static moe_status_t run_predict(config_t *config, moe_error_t *error)
{
    sweep_t sweep;
    prediction_t p = {.sweep = &sweep};
    if (config->options.value[OPT_PLATFORM] != NULL) {
        return write_platform(config, error);
    }
    if (config->options.value[OPT_FIT] != NULL) {
        return predict_fit(config, error);
    }
    if (config->options.given[OPT_OUTPUT]) {
        return moe_fail(error, MOE_BAD_INPUT, "--output: is for --fit; records go to --json FILE");
    }
    moe_status_t status = sweep_parse(config->options.value[OPT_SWEEP], &sweep, error);
    if (status != MOE_OK) {
        return status;
    }
    status = moe_recorder_create(config->options.value[OPT_JSON], config->options.value[OPT_CSV],
                                 &p.recorder, error);
    if (status == MOE_OK) {
        p.table = config->quiet ? NULL : config->stdout_taken ? stderr : stdout;
        status = run_sweep(&p, config, error);
    }
    moe_recorder_destroy(p.recorder);
    sweep_destroy(&sweep);
    return status;
}

static int run(int argc, char **argv)
{
    return config_run(&command, argc, argv, run_predict);
}

const command_entry_t predict_command = {.command = &command, .run = run, .where = ""};
