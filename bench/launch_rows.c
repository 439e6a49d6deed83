#include "launch_rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/record.h"
#include "moe/system.h"

/* Where the reader stands. */
typedef struct reader {
    launch_rows_t *rows;
    const char *path;
    size_t line;
    json_t *command; /* of the run, without the launch's number; NULL: the run is no launch */
    json_t *name;    /* of the last exchange or iteration */
} reader_t;

static moe_status_t out_of_memory(moe_error_t *error)
{
    return moe_fail(error, MOE_BAD_INPUT, "out of memory");
}

static const char *text_of(const json_t *record, const char *field)
{
    const char *text = json_string_value(json_object_get(record, field));
    return text != NULL ? text : "";
}

/* The command line without --launch and its number, which make every launch another one. */
static json_t *command_of(const json_t *run)
{
    json_t *words = json_array();
    const json_t *all = json_object_get(run, "command");
    for (size_t i = 0; i < json_array_size(all); i++) {
        const char *word = json_string_value(json_array_get(all, i));
        if (word != NULL && strcmp(word, "--launch") == 0) {
            i++;
        } else if (word != NULL && strncmp(word, "--launch=", strlen("--launch=")) != 0) {
            json_array_append_new(words, json_string(word));
        }
    }
    return words;
}

static moe_status_t take_run(reader_t *reader, const json_t *run, moe_error_t *error)
{
    const json_t *schema = json_object_get(run, "schema");
    json_decref(reader->command);
    json_decref(reader->name);
    reader->command = reader->name = NULL;
    if (json_integer_value(schema) != MOE_SCHEMA) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "%s:%zu: a run of schema %lld, and this program reads %d", reader->path,
                        reader->line, (long long)json_integer_value(schema), MOE_SCHEMA);
    }
    if (json_object_get(run, "launch") != NULL) {
        reader->command = command_of(run);
        reader->rows->launches++;
    }
    return MOE_OK;
}

static void take_name(reader_t *reader, json_t *record)
{
    static const char *const fields[] = {"style", "algorithm", "phase",
                                         "layer", "step",      "bytes_per_pair"};
    json_decref(reader->name);
    reader->name = json_object();
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        json_t *value = json_object_get(record, fields[i]);
        if (value != NULL) {
            json_object_set(reader->name, fields[i], value);
        }
    }
    if (strcmp(text_of(record, "record"), "iteration") == 0) {
        json_object_set_new(reader->name, "phase", json_string("iteration"));
    }
}

/* The row of the reader's command and name, made where it is new. */
static moe_status_t find_row(reader_t *reader, launch_row_t **out, moe_error_t *error)
{
    launch_rows_t *rows = reader->rows;
    json_t *both = json_pack("[O, O]", reader->command, reader->name);
    char *key = json_dumps(both, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(both);
    if (key == NULL) {
        return out_of_memory(error);
    }
    for (size_t r = 0; r < rows->rows; r++) {
        if (strcmp(rows->row[r].key, key) == 0) {
            free(key);
            *out = &rows->row[r];
            return MOE_OK;
        }
    }
    if (rows->rows == rows->room) {
        const size_t room = 2 * rows->room + 16;
        launch_row_t *grown = realloc(rows->row, room * sizeof *grown);
        if (grown == NULL) {
            free(key);
            return out_of_memory(error);
        }
        rows->row = grown;
        rows->room = room;
    }
    *out = &rows->row[rows->rows++];
    **out = (launch_row_t){.key = key, .name = json_incref(reader->name)};
    return MOE_OK;
}

static moe_status_t add_launch(launch_row_t *row, const json_t *times, moe_error_t *error)
{
    const size_t n = json_array_size(times), l = row->launches;
    double **values = realloc(row->values, (l + 1) * sizeof *values);
    row->values = values != NULL ? values : row->values;
    size_t *counts = realloc(row->counts, (l + 1) * sizeof *counts);
    row->counts = counts != NULL ? counts : row->counts;
    if (values == NULL || counts == NULL) {
        return out_of_memory(error);
    }
    const moe_status_t status =
        moe_alloc("repetitions", n, sizeof **values, (void **)&values[l], error);
    for (size_t i = 0; status == MOE_OK && i < n; i++) {
        values[l][i] = 1e-6 * json_number_value(json_array_get(times, i));
    }
    counts[l] = n;
    row->launches += status == MOE_OK;
    return status;
}

/* Repetitions stand behind the record that they belong to. */
static moe_status_t take_raw(reader_t *reader, const json_t *raw, moe_error_t *error)
{
    const json_t *times = json_object_get(raw, "times_us");
    launch_row_t *row = NULL;
    if (reader->command == NULL || reader->name == NULL || json_array_size(times) == 0 ||
        strcmp(text_of(raw, "phase"), text_of(reader->name, "phase")) != 0) {
        return MOE_OK;
    }
    const moe_status_t status = find_row(reader, &row, error);
    return status == MOE_OK ? add_launch(row, times, error) : status;
}

static moe_status_t take_record(reader_t *reader, json_t *record, moe_error_t *error)
{
    const char *kind = text_of(record, "record");
    if (strcmp(kind, "run") == 0) {
        return take_run(reader, record, error);
    }
    if (strcmp(kind, "exchange") == 0 || strcmp(kind, "iteration") == 0) {
        take_name(reader, record);
    } else if (strcmp(kind, "raw") == 0) {
        return take_raw(reader, record, error);
    }
    return MOE_OK;
}

/* A line that is no record was cut off when a run was killed, unless nothing at all can be read. */
static moe_status_t read_lines(reader_t *reader, FILE *file, moe_error_t *error)
{
    char *line = NULL;
    size_t room = 0, records = 0;
    moe_status_t status = MOE_OK;
    while (status == MOE_OK && getline(&line, &room, file) > 0) {
        json_t *record = json_loads(line, 0, NULL);
        reader->line++;
        if (json_is_object(record)) {
            status = take_record(reader, record, error);
            records++;
        }
        json_decref(record);
    }
    free(line);
    if (status == MOE_OK && records == 0) {
        status = moe_fail(error, MOE_BAD_INPUT, "%s: no record in it: is it JSON Lines of moe-a2a?",
                          reader->path);
    }
    return status;
}

moe_status_t launch_rows_read(const char *path, launch_rows_t *out, moe_error_t *error)
{
    launch_rows_t rows = {0};
    reader_t reader = {.rows = &rows, .path = path};
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return moe_fail(error, MOE_BAD_INPUT, "%s: cannot open it: %s", path, strerror(errno));
    }
    moe_status_t status = read_lines(&reader, file, error);
    fclose(file);
    json_decref(reader.command);
    json_decref(reader.name);
    if (status == MOE_OK && rows.rows == 0) {
        status =
            moe_fail(error, MOE_BAD_INPUT, "%s: %s", path,
                     rows.launches == 0 ? "no run has a launch number: tools/launches gives them"
                                        : "launches have no repetitions in it: they need --raw");
    }
    if (status != MOE_OK) {
        launch_rows_destroy(&rows);
        return status;
    }
    *out = rows;
    return MOE_OK;
}

void launch_rows_destroy(launch_rows_t *rows)
{
    for (size_t r = 0; r < rows->rows; r++) {
        launch_row_t *row = &rows->row[r];
        for (size_t l = 0; l < row->launches; l++) {
            free(row->values[l]);
        }
        free(row->values);
        free(row->counts);
        free(row->key);
        json_decref(row->name);
    }
    free(rows->row);
    *rows = (launch_rows_t){0};
}
