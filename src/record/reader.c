/* Files of records that are not trusted, into results joined with their runs. */
#include <stdlib.h>
#include <string.h>

#include "../system/quote.h"
#include "fields.h"
#include "lines.h"
#include "moe/record.h"
#include "moe/system.h"

typedef struct reader {
    moe_results_t *results;
    moe_place_t place;
    const char *kind;   /* of the record at hand */
    json_t *run;        /* borrowed; NULL before the first */
    size_t first;       /* of this run, in results->result */
    size_t before;      /* results that other files brought */
    size_t cut;         /* line that ends in the middle, 0: none waits for its explanation */
    size_t runs_before; /* of other files */
} reader_t;

static moe_status_t refuse(const reader_t *reader, moe_error_t *error, const char *what)
{
    return moe_fail(error, MOE_BAD_INPUT, MOE_QUOTED ":%zu: %s", MOE_QUOTE_PATH(reader->place.file),
                    reader->place.line, what);
}

/* ---- Records ---- */

static moe_status_t check_schema(const reader_t *reader, const json_t *run, moe_error_t *error)
{
    const json_t *schema = json_object_get(run, "schema");
    const char *program = json_string_value(json_object_get(run, "program"));
    if (program == NULL || strcmp(program, "moe-a2a") != 0)
        return moe_refuse_field(&reader->place, "program", error,
                                "not \"moe-a2a\": the file is of another program");
    if (!json_is_integer(schema) || json_integer_value(schema) != MOE_SCHEMA)
        return moe_refuse_field(&reader->place, "schema", error,
                                "not %d, the one that this version reads: take the version of "
                                "moe-a2a that wrote the file",
                                MOE_SCHEMA);
    return MOE_OK;
}

static moe_status_t take_run(reader_t *reader, json_t *run, moe_error_t *error)
{
    moe_results_t *r = reader->results;
    moe_status_t status = check_schema(reader, run, error);
    if (status == MOE_OK)
        status = moe_fields_check(&reader->place, "run", run, error);
    if (status == MOE_OK)
        status = moe_figures_check(&reader->place, "run", run, NULL, error);
    if (status == MOE_OK)
        status =
            moe_grow("results", r->runs, sizeof(json_t *), (void **)&r->run, &r->run_room, error);
    if (status != MOE_OK)
        return status;
    reader->run = r->run[r->runs++] = json_incref(run);
    reader->first = r->count;
    return MOE_OK;
}

static bool same_text(const json_t *a, const json_t *b, const char *name)
{
    const char *x = json_string_value(json_object_get(a, name));
    const char *y = json_string_value(json_object_get(b, name));
    return x != NULL && y != NULL && strcmp(x, y) == 0;
}

/* Repetitions follow the record that they were summarised in, others of its kind may stand between. */
static moe_status_t take_raw(reader_t *reader, json_t *raw, moe_error_t *error)
{
    moe_results_t *r = reader->results;
    for (size_t i = r->count; i > reader->first; i--) {
        moe_result_t *result = &r->result[i - 1];
        const bool whole = strcmp(moe_result_text(result, "record"), "iteration") == 0;
        if (result->raw != NULL || !same_text(raw, result->record, "style") ||
            !same_text(raw, result->record, "algorithm") ||
            (!whole && !same_text(raw, result->record, "phase")))
            continue;
        const moe_status_t status =
            moe_repetitions_check(&reader->place, raw, result->record, error);
        if (status == MOE_OK)
            result->raw = json_incref(raw);
        return status;
    }
    return refuse(reader, error, "repetitions without the record that they belong to before them");
}

static moe_status_t take_result(reader_t *reader, json_t *record, moe_error_t *error)
{
    moe_results_t *r = reader->results;
    moe_status_t status =
        moe_figures_check(&reader->place, reader->kind, record, reader->run, error);
    if (status == MOE_OK)
        status =
            moe_grow("results", r->count, sizeof *r->result, (void **)&r->result, &r->room, error);
    if (status != MOE_OK)
        return status;
    r->result[r->count++] = (moe_result_t){.record = json_incref(record),
                                           .run = reader->run,
                                           .file = reader->place.file,
                                           .line = reader->place.line};
    return MOE_OK;
}

static moe_status_t take_finding(reader_t *reader, json_t *record, moe_error_t *error)
{
    moe_results_t *r = reader->results;
    const moe_status_t status = moe_grow("findings", r->findings, sizeof *r->finding,
                                         (void **)&r->finding, &r->finding_room, error);
    if (status == MOE_OK)
        r->finding[r->findings++] = (moe_result_t){.record = json_incref(record),
                                                   .run = reader->run,
                                                   .file = reader->place.file,
                                                   .line = reader->place.line};
    return status;
}

static moe_status_t take_record(reader_t *reader, json_t *record, moe_error_t *error)
{
    reader->kind = json_string_value(json_object_get(record, "record"));
    if (reader->kind == NULL)
        return refuse(reader, error,
                      "not a record of moe-a2a: an object with the field \"record\" is expected");
    if (strcmp(reader->kind, "run") == 0)
        return take_run(reader, record, error);
    if (reader->run == NULL)
        return moe_fail(error, MOE_BAD_INPUT,
                        MOE_QUOTED ":%zu: a record '" MOE_QUOTED
                                   "' before any run: the beginning of the file is missing, or it "
                                   "holds no results",
                        MOE_QUOTE_PATH(reader->place.file), reader->place.line,
                        MOE_QUOTE_VALUE(reader->kind));
    if (!moe_kind_is_known(reader->kind))
        return MOE_OK;
    const moe_status_t status = moe_fields_check(&reader->place, reader->kind, record, error);
    if (status != MOE_OK)
        return status;
    if (strcmp(reader->kind, "raw") == 0)
        return take_raw(reader, record, error);
    return strcmp(reader->kind, "finding") == 0 ? take_finding(reader, record, error)
                                                : take_result(reader, record, error);
}

/* ---- Lines ---- */

static bool is_blank(const moe_lines_t *lines)
{
    for (size_t i = 0; i < lines->length; i++) {
        if (strchr(" \t\r", lines->text[i]) == NULL || lines->text[i] == '\0')
            return false;
    }
    return true;
}

/* Is the line the beginning of a record, whole as far as it goes? */
static bool is_cut(const moe_lines_t *lines, const json_error_t *why)
{
    static const char opening[] = "{\"record\":";
    const size_t known = sizeof opening - 1;
    const size_t held = lines->length < known ? lines->length : known;
    return memcmp(lines->text, opening, held) == 0 &&
           (json_error_code(why) == json_error_premature_end_of_input ||
            (why->position >= 0 && (size_t)why->position >= lines->length));
}

static moe_status_t refuse_cut(reader_t *reader, bool at_end, moe_error_t *error)
{
    reader->place.line = reader->cut;
    return refuse(reader, error,
                  at_end ? "the last line is cut off: the run was killed, or the file was "
                           "truncated; delete that line to use what is before it"
                         : "the line is cut off, and no new run follows it, as after a run that "
                           "was killed: the file was truncated or edited");
}

static moe_status_t not_json(reader_t *reader, const json_error_t *why, moe_error_t *error)
{
    return moe_fail(error, MOE_BAD_INPUT,
                    MOE_QUOTED ":%zu: not JSON Lines of moe-a2a: %s (column %d)",
                    MOE_QUOTE_PATH(reader->place.file), reader->place.line, why->text, why->column);
}

static moe_status_t take_line(reader_t *reader, const moe_lines_t *lines, moe_error_t *error)
{
    json_error_t why;
    reader->place.line = lines->number;
    if (is_blank(lines))
        return MOE_OK;
    json_t *record = json_loadb(lines->text, lines->length, JSON_REJECT_DUPLICATES, &why);
    if (record == NULL && is_cut(lines, &why)) {
        reader->cut = reader->cut != 0 ? reader->cut : lines->number;
        return MOE_OK;
    }
    if (record == NULL)
        return not_json(reader, &why, error);
    const char *kind = json_string_value(json_object_get(record, "record"));
    moe_status_t status = MOE_OK;
    if (reader->cut != 0 && (kind == NULL || strcmp(kind, "run") != 0))
        status = refuse_cut(reader, false, error);
    reader->cut = 0;
    if (status == MOE_OK)
        status = take_record(reader, record, error);
    json_decref(record);
    return status;
}

static moe_status_t read_lines(reader_t *reader, moe_lines_t *lines, moe_error_t *error)
{
    bool more = true;
    moe_status_t status = MOE_OK;
    while (status == MOE_OK && more) {
        status = moe_lines_next(lines, &more, error);
        if (status == MOE_OK && more)
            status = take_line(reader, lines, error);
    }
    return status;
}

/* A file that ends too early, or holds nothing, must not pass for one in which nothing was slow. */
static moe_status_t check_end(reader_t *reader, moe_error_t *error)
{
    const size_t runs = reader->results->runs - reader->runs_before;
    if (reader->cut != 0)
        return refuse_cut(reader, true, error);
    if (runs == 0)
        return moe_fail(error, MOE_BAD_INPUT, "'" MOE_QUOTED "' is empty: no results",
                        MOE_QUOTE_PATH(reader->place.file));
    if (reader->results->count == reader->before)
        return moe_fail(error, MOE_BAD_INPUT,
                        "'" MOE_QUOTED "' holds no results: %zu run%s, and nothing was measured",
                        MOE_QUOTE_PATH(reader->place.file), runs, runs == 1 ? "" : "s");
    return MOE_OK;
}

static moe_status_t keep_name(moe_results_t *results, const char *path, moe_error_t *error)
{
    const moe_status_t status = moe_grow("results", results->files, sizeof(char *),
                                         (void **)&results->file, &results->file_room, error);
    if (status != MOE_OK)
        return status;
    char *name = strdup(path);
    if (name == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "the name of a file does not fit memory");
    results->file[results->files++] = name;
    return MOE_OK;
}

moe_status_t moe_results_read(const char *path, moe_results_t *results, moe_error_t *error)
{
    moe_lines_t lines;
    moe_status_t status = keep_name(results, path, error);
    if (status == MOE_OK)
        status = moe_lines_open(path, &lines, error);
    if (status != MOE_OK)
        return status;
    reader_t reader = {.results = results,
                       .place = {.file = results->file[results->files - 1]},
                       .before = results->count,
                       .runs_before = results->runs};
    status = read_lines(&reader, &lines, error);
    if (status == MOE_OK)
        status = check_end(&reader, error);
    moe_lines_close(&lines);
    return status;
}

void moe_results_destroy(moe_results_t *results)
{
    for (size_t i = 0; i < results->count; i++) {
        json_decref(results->result[i].record);
        json_decref(results->result[i].raw);
    }
    for (size_t i = 0; i < results->findings; i++)
        json_decref(results->finding[i].record);
    for (size_t i = 0; i < results->runs; i++)
        json_decref(results->run[i]);
    for (size_t i = 0; i < results->files; i++)
        free(results->file[i]);
    free(results->result);
    free(results->finding);
    free(results->run);
    free(results->file);
    *results = (moe_results_t){0};
}
