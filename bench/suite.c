/* moe-a2a suite: the set of runs for a purpose, one after another on the same ranks, with verdict and
 * report; what was done by an earlier call is not run again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "moe/system.h"
#include "suite_verdict.h"

static const command_t command = {
    .name = "suite",
    .arguments = "acceptance|quick",
    .summary = "the set of runs for a purpose, resumable, with verdict and report",
    .help =
        "Runs what a site wants to know of a machine, judges it, and writes results, verdict and a "
        "report into a folder. Called again with the same options, it runs what is not there yet.\v"
        "acceptance: every pair of ranks, equal and skewed exchanges at three sizes, all styles in "
        "both "
        "placements, iterations of two models. quick: a little of each, in a minute on a laptop. "
        "Options "
        "of exchange, layout and measuring hold for all that is run; --max-seconds is for all of "
        "it "
        "together.\n\n"
        "  mpirun -np 16 moe-a2a suite acceptance --out healthy\n"
        "  mpirun -np 16 moe-a2a suite acceptance --out today --baseline healthy/all.jsonl\n\n"
        "Exit status: 0 PASS, 1 FAIL, 3 INCONCLUSIVE, 4 the run itself failed.",
    .groups = GROUP_LAYOUT | GROUP_EXCHANGE | GROUP_GPU | GROUP_MEASURE | GROUP_SUITE,
    .runs_others = true,
};

/* ---- The folder ---- */

/* What a folder is of: other options or ranks would make other results. */
static moe_status_t describe(const suite_t *suite, char **out, moe_error_t *error)
{
    const config_t *c = &suite->world->config;
    json_t *options = json_object();
    for (int id = 0; id < OPTIONS; id++) {
        const bool decides = id != OPT_OUT && id != OPT_RULES && id != OPT_BASELINE &&
                             id != OPT_QUIET && id != OPT_MAX_SECONDS && id != OPT_TIMEOUT;
        if (c->options.given[id] && decides) {
            json_object_set_new(options, option_row((option_t)id)->name,
                                json_string(c->options.value[id]));
        }
    }
    json_t *about =
        json_pack("{s:i, s:s, s:I, s:o}", "schema", MOE_SCHEMA, "suite", suite->profile->name,
                  "ranks", (json_int_t)suite->world->all->size, "options", options);
    *out = about != NULL ? json_dumps(about, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    json_decref(about);
    return *out != NULL ? MOE_OK : moe_fail(error, MOE_BAD_INPUT, "out of memory");
}

static moe_status_t write_text(const char *path, const char *text, moe_error_t *error)
{
    FILE *file = fopen(path, "w");
    bool written = file != NULL && fputs(text, file) != EOF;
    written = (file == NULL || fclose(file) == 0) && written;
    return written ? MOE_OK
                   : moe_fail(error, MOE_BAD_INPUT, "--out: cannot write '%.700s': %s", path,
                              strerror(errno));
}

/* Rank 0 only. */
static moe_status_t open_folder(const suite_t *suite, moe_error_t *error)
{
    char path[SUITE_PATH], *about = NULL, *there = NULL;
    size_t size = 0;
    if (mkdir(suite->folder, 0777) != 0 && errno != EEXIST) {
        return moe_fail(error, MOE_BAD_INPUT, "--out %.700s: %s", suite->folder, strerror(errno));
    }
    moe_status_t status = suite_path(suite, "suite", ".json", path, error);
    if (status == MOE_OK) {
        status = describe(suite, &about, error);
    }
    if (status == MOE_OK && access(path, F_OK) != 0) {
        status = write_text(path, about, error);
    } else if (status == MOE_OK) {
        status = moe_file_read(path, SUITE_PATH, &there, &size, error);
        if (status == MOE_OK && strcmp(there, about) != 0) {
            status = moe_fail(error, MOE_BAD_INPUT,
                              "--out %.700s: it holds a suite of another kind, other options or "
                              "another number of ranks (its suite.json says which): name a new "
                              "folder",
                              suite->folder);
        }
    }
    free(about);
    free(there);
    return status;
}

/* ---- Items ---- */

static void tell(const suite_t *suite, size_t i, const char *what)
{
    FILE *table = suite->world->table;
    if (table != NULL) {
        fprintf(table, "[%zu of %zu] %-22s %s\n", i + 1, suite->profile->items,
                suite->profile->item[i].name, what);
        fflush(table);
    }
}

/* Rank 0 decides: whether there are results, and else whether there is time. */
static moe_status_t decide(const suite_t *suite, size_t i, const char *done, double seconds,
                           double end, moe_error_t *error)
{
    moe_transport_t *t = suite->world->all;
    suite_state_t state = SUITE_DONE;
    if (t->rank == 0 && access(done, F_OK) == 0) {
        state = SUITE_BEFORE;
    } else if (t->rank == 0 &&
               moe_now() + suite_item_seconds(suite->profile, &suite->profile->item[i], seconds) >
                   end) {
        state = SUITE_NO_TIME;
    }
    const moe_status_t status = t->ops->broadcast(t, &state, sizeof state, 0, error);
    suite->state[i] = state;
    return status;
}

/* What a call that was killed had of this item: kept aside, as not all of it. */
static void put_aside(const suite_t *suite, const char *name, const char *part)
{
    char cut[SUITE_PATH];
    if (suite->world->all->rank == 0 && access(part, F_OK) == 0 &&
        suite_path(suite, name, ".cut.jsonl", cut, NULL) == MOE_OK) {
        (void)rename(part, cut);
    }
}

static moe_status_t run_item(const suite_t *suite, size_t i, double seconds, moe_error_t *error)
{
    const suite_item_t *item = &suite->profile->item[i];
    world_t *w = suite->world;
    char part[SUITE_PATH], done[SUITE_PATH], table[SUITE_PATH], **line = NULL;
    int count = 0;
    moe_status_t status = suite_path(suite, item->name, ".part", part, error);
    if (status == MOE_OK) {
        status = suite_path(suite, item->name, ".jsonl", done, error);
    }
    if (status == MOE_OK) {
        status = suite_path(suite, item->name, ".txt", table, error);
    }
    if (status == MOE_OK) {
        status = suite_line(suite->profile, item, &w->config, seconds, part, &count, &line, error);
    }
    status = world_agree(w, status, error);
    if (status != MOE_OK) {
        suite_free_line(line);
        return status;
    }
    put_aside(suite, item->name, part);
    tell(suite, i, "...");
    const double begin = moe_now();
    const moe_status_t ended =
        world_run_other(w, item->entry->command, count, line, table, item->entry->body);
    suite->seconds[i] = moe_now() - begin;
    suite_free_line(line);
    if (ended != MOE_OK && ended != MOE_WRONG_DATA) {
        suite->state[i] = SUITE_REFUSED;
        return ended == MOE_FAILED ? MOE_FAILED : MOE_OK;
    }
    if (w->all->rank == 0 && rename(part, done) != 0) {
        return moe_fail(error, MOE_FAILED, "cannot rename '%.700s': %s", part, strerror(errno));
    }
    return MOE_OK;
}

static moe_status_t run_items(const suite_t *suite, double seconds, moe_error_t *error)
{
    const double end = moe_now() + seconds;
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < suite->profile->items; i++) {
        char done[SUITE_PATH], text[64];
        status = suite_path(suite, suite->profile->item[i].name, ".jsonl", done, error);
        if (status == MOE_OK) {
            status = decide(suite, i, done, seconds, end, error);
        }
        if (status != MOE_OK || suite->state[i] != SUITE_DONE) {
            tell(suite, i,
                 suite->state[i] == SUITE_BEFORE ? "is there already" : "not run: no time is left");
            continue;
        }
        status = run_item(suite, i, seconds, error);
        snprintf(text, sizeof text, "%s after %.1f s",
                 suite->state[i] == SUITE_REFUSED ? "refused" : "done", suite->seconds[i]);
        tell(suite, i, text);
    }
    return status;
}

/* ---- The run ---- */

/* All results in one file, for `compare` and as a baseline. */
static moe_status_t join_results(const suite_t *suite, moe_error_t *error)
{
    char path[SUITE_PATH], buffer[8192];
    moe_status_t status = suite_path(suite, "all", ".jsonl", path, error);
    FILE *all = status == MOE_OK ? fopen(path, "w") : NULL;
    bool written = all != NULL;
    for (size_t i = 0; status == MOE_OK && written && i < suite->profile->items; i++) {
        status = suite_path(suite, suite->profile->item[i].name, ".jsonl", path, error);
        FILE *one = status == MOE_OK ? fopen(path, "r") : NULL;
        for (size_t n; one != NULL && (n = fread(buffer, 1, sizeof buffer, one)) > 0;) {
            written = fwrite(buffer, 1, n, all) == n && written;
        }
        if (one != NULL) {
            fclose(one);
        }
    }
    written = (all == NULL || fclose(all) == 0) && written;
    return status != MOE_OK || written
               ? status
               : moe_fail(error, MOE_BAD_INPUT, "--out: cannot write all.jsonl");
}

static moe_status_t end_suite(const suite_t *suite, moe_error_t *error)
{
    moe_transport_t *t = suite->world->all;
    moe_status_t status = MOE_OK;
    if (t->rank == 0) {
        status = join_results(suite, error);
    }
    if (t->rank == 0 && status == MOE_OK) {
        status = suite_judge(suite, error);
    }
    const moe_status_t told = t->ops->broadcast(t, &status, sizeof status, 0, error);
    if (told != MOE_OK || status == MOE_OK) {
        return told;
    }
    return status == MOE_WRONG_DATA || status == MOE_INCONCLUSIVE
               ? moe_fail(error, status, "%s: %s/report.md says why",
                          status == MOE_WRONG_DATA ? "FAIL" : "INCONCLUSIVE", suite->folder)
               : status;
}

static moe_status_t run_all(suite_t *suite, moe_error_t *error)
{
    world_t *w = suite->world;
    const config_t *c = &w->config;
    const size_t items = suite->profile->items;
    moe_status_t status =
        moe_alloc("a suite", items, sizeof *suite->state, (void **)&suite->state, error);
    if (status == MOE_OK) {
        status =
            moe_alloc("a suite", items, sizeof *suite->seconds, (void **)&suite->seconds, error);
    }
    if (status == MOE_OK && w->all->rank == 0) {
        status = open_folder(suite, error);
    }
    status = world_agree(w, status, error);
    if (status == MOE_OK) {
        status = run_items(suite,
                           c->options.given[OPT_MAX_SECONDS] ? c->measure.max_seconds
                                                             : suite->profile->seconds,
                           error);
    }
    if (status == MOE_OK) {
        status = end_suite(suite, error);
    }
    free(suite->state);
    free(suite->seconds);
    return status;
}

static moe_status_t run_suite(world_t *w, moe_error_t *error)
{
    const config_t *c = &w->config;
    suite_t suite = {.world = w, .folder = c->options.value[OPT_OUT]};
    moe_status_t status = suite_find(c->options.positional, &suite.profile, error);
    if (status == MOE_OK && suite.folder == NULL) {
        status = moe_fail(error, MOE_BAD_INPUT, "--out DIR is needed: where results go");
    }
    return status == MOE_OK ? run_all(&suite, error) : status;
}

static int run(int argc, char **argv)
{
    return world_run(&command, argc, argv, run_suite);
}

const command_entry_t suite_command = {
    .command = &command, .run = run, .where = "[MPI]", .body = run_suite};
