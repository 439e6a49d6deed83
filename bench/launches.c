/* moe-a2a launches: what differs between launches of the same command, and within one. */
#include <string.h>

#include "commands.h"
#include "config.h"
#include "launch_rows.h"
#include "moe/record.h"
#include "output.h"

static const command_t command = {
    .name = "launches",
    .arguments = "FILE",
    .summary = "several launches of a command: variance within and between them",
    .help = "Compares the launches that tools/launches has appended to FILE.\v"
            "Of each row: the median of the launches' medians with its 95 % interval (from 6 "
            "launches on); between: the largest launch median - the smallest, within: half a "
            "launch's own interval, both of the median; p of the test of Kruskal and Wallis. "
            "Launches differ where p < 0.001 and they are more than 2.5 % apart.\n\n"
            "  tools/launches 10 -- mpirun -np 4 build/moe-a2a layer --json out.jsonl\n"
            "  moe-a2a launches out.jsonl",
    .groups = GROUP_OUTPUT,
};

static const char *name_of(const launch_row_t *row, const char *field)
{
    const char *text = json_string_value(json_object_get(row->name, field));
    return text != NULL ? text : "";
}

static const char *verdict(const moe_launches_t *l)
{
    return !l->tested ? "too few to tell" : l->differ ? "launches differ" : "no difference shown";
}

static void print_row(FILE *out, const launch_row_t *row, const moe_launches_t *l)
{
    char size[24] = "", median[64], within[24], p[24];
    const json_t *bytes = json_object_get(row->name, "bytes_per_pair");
    if (bytes != NULL) {
        snprintf(size, sizeof size, "%lld", (long long)json_integer_value(bytes));
    }
    format_interval(median, sizeof median, &l->medians, 1e6, 1);
    format_or_na(within, sizeof within, l->has_within, 100 * l->within, 1);
    format_or_na(p, sizeof p, l->tested, l->p, 4);
    fprintf(out, "%-16s %-12s %-10s %10s %8zu %6zu  %-34s %9.1f %9s %8s  %s\n",
            name_of(row, "style"), name_of(row, "algorithm"), name_of(row, "phase"), size,
            l->launches, l->reps, median, 100 * l->spread, within, p, verdict(l));
}

static void print_columns(FILE *out)
{
    fprintf(out, "%-16s %-12s %-10s %10s %8s %6s  %-34s %9s %9s %8s\n", "style", "algorithm",
            "phase", "bytes", "launches", "reps", "median us [95 % interval]", "between %",
            "within %", "p");
}

static json_t *record_of(const launch_row_t *row, const moe_launches_t *l)
{
    json_t *record = json_pack("{s:s, s:i}", "record", "launches", "schema", MOE_SCHEMA);
    json_object_update(record, row->name);
    json_object_set_new(record, "launches", json_integer((json_int_t)l->launches));
    json_object_set_new(record, "reps", json_integer((json_int_t)l->reps));
    moe_json_add_times(record, &l->medians);
    json_object_set_new(record, "max_us", json_real(l->medians.max * 1e6));
    json_object_set_new(record, "between", json_real(l->spread));
    if (l->has_within) {
        json_object_set_new(record, "within", json_real(l->within));
    }
    if (l->tested) {
        json_object_set_new(record, "h", json_real(l->h));
        json_object_set_new(record, "p", json_real(l->p));
        json_object_set_new(record, "differ", json_boolean(l->differ));
    }
    return record;
}

static moe_status_t report(const launch_rows_t *rows, moe_recorder_t *recorder, FILE *out,
                           moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    if (out != NULL) {
        print_columns(out);
    }
    for (size_t r = 0; status == MOE_OK && r < rows->rows; r++) {
        const launch_row_t *row = &rows->row[r];
        moe_launches_t l;
        status = moe_launches_of((const double *const *)row->values, row->counts, row->launches, &l,
                                 error);
        if (status == MOE_OK && out != NULL) {
            print_row(out, row, &l);
        }
        if (status == MOE_OK) {
            status = moe_recorder_write(recorder, record_of(row, &l), error);
        }
    }
    return status;
}

static moe_status_t run_launches(config_t *config, moe_error_t *error)
{
    const char *path = config->options.positional;
    FILE *out = config->quiet ? NULL : config->stdout_taken ? stderr : stdout;
    launch_rows_t rows = {0};
    moe_recorder_t *recorder = NULL;
    if (path == NULL) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "no file: name the one that launches were recorded in");
    }
    if (config->options.given[OPT_CSV]) {
        return moe_fail(error, MOE_BAD_INPUT, "--csv: of launches there are records in JSON only");
    }
    moe_status_t status = launch_rows_read(path, &rows, error);
    if (status == MOE_OK) {
        status = moe_recorder_create(config->options.value[OPT_JSON], NULL, &recorder, error);
    }
    if (status == MOE_OK) {
        status = report(&rows, recorder, out, error);
    }
    moe_recorder_destroy(recorder);
    launch_rows_destroy(&rows);
    return status;
}

static int run(int argc, char **argv)
{
    return config_run(&command, argc, argv, run_launches);
}

const command_entry_t launches_command = {.command = &command, .run = run, .where = ""};
