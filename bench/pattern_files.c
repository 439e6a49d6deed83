#include "pattern_files.h"

#include <stdlib.h>
#include <string.h>

#include "moe/system.h"
#include "moe/trace.h"
#include "outputs.h"
#include "trace_report.h"

#define OWN_FORMAT   "moe"
#define MOST_FORMATS 32
/* Layers that are printed; records have all. */
#define SHOWN_LAYERS 64
/* What counts that are no whole numbers are scaled to, for load figures. */
#define SCALED_SUM ((double)((uint64_t)1 << 50))

/* ---- Names of formats ---- */

static moe_status_t refuse_name(const char *option, const char *name, bool writes,
                                moe_error_t *error)
{
    const char *names[MOST_FORMATS];
    char all[MOE_ERROR_TEXT / 2] = "";
    size_t count = 0;
    const moe_trace_format_t *trace;
    const moe_matrix_format_t *matrix;
    for (size_t i = 0; (trace = moe_trace_format_at(i)) != NULL && count < MOST_FORMATS; i++) {
        if (!writes || strcmp(moe_trace_format_name(trace), OWN_FORMAT) == 0) {
            names[count++] = moe_trace_format_name(trace);
        }
    }
    for (size_t i = 0; (matrix = moe_matrix_format_at(i)) != NULL && count < MOST_FORMATS; i++) {
        names[count++] = moe_matrix_format_name(matrix);
    }
    for (size_t i = 0; i < count; i++) {
        const size_t length = strlen(all);
        snprintf(all + length, sizeof all - length, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    const char *near = moe_nearest(name, names, count);
    return moe_fail(error, MOE_BAD_INPUT, "--%s: there is no format '%.40s'%s%s%s; there are %s%s",
                    option, name, near != NULL ? " (did you mean " : "", near != NULL ? near : "",
                    near != NULL ? "?)" : "", writes ? "" : "auto, ", all);
}

moe_status_t pattern_files_check(const config_t *c, moe_error_t *error)
{
    const char *import = c->options.value[OPT_IMPORT], *export = c->options.value[OPT_EXPORT];
    if (import != NULL && strcmp(import, "auto") != 0 && moe_trace_format_find(import) == NULL &&
        moe_matrix_format_find(import) == NULL) {
        return refuse_name("import", import, false, error);
    }
    if (export != NULL && strcmp(export, OWN_FORMAT) != 0 &&
        moe_matrix_format_find(export) == NULL) {
        return refuse_name("export", export, true, error);
    }
    const moe_style_ops_t *style;
    const bool matrix = export != NULL && import == NULL && strcmp(export, OWN_FORMAT) != 0;
    return matrix ? pattern_export_style(c, &style, error) : MOE_OK;
}

/* ---- Traces ---- */

static void load_of_layer(const moe_trace_t *trace, size_t layer, double *count, size_t *whole,
                          moe_load_t *load)
{
    double sum = 0;
    bool exact = true;
    moe_trace_layer_counts(trace, layer, count);
    for (size_t e = 0; e < trace->experts; e++) {
        sum += count[e];
        exact = exact && count[e] < SCALED_SUM && count[e] == (double)(size_t)count[e];
    }
    for (size_t e = 0; e < trace->experts; e++) {
        whole[e] = (size_t)(exact || sum == 0 ? count[e] : count[e] / sum * SCALED_SUM);
    }
    moe_load_of(whole, trace->experts, load);
}

static moe_status_t describe_layers(const moe_trace_t *trace, FILE *table, moe_recorder_t *recorder,
                                    moe_error_t *error)
{
    double *count = NULL;
    size_t *whole = NULL;
    moe_status_t status =
        moe_alloc("counts of experts", trace->experts, sizeof *count, (void **)&count, error);
    if (status == MOE_OK) {
        status =
            moe_alloc("counts of experts", trace->experts, sizeof *whole, (void **)&whole, error);
    }
    if (status == MOE_OK && table != NULL) {
        fprintf(table, "\nlayer   selections  max/mean      CV    Gini  hottest %%\n");
    }
    for (size_t l = 0; status == MOE_OK && l < trace->layers; l++) {
        moe_load_t load;
        double selections = 0;
        load_of_layer(trace, l, count, whole, &load);
        for (size_t e = 0; e < trace->experts; e++) {
            selections += count[e];
        }
        if (table != NULL && l < SHOWN_LAYERS) {
            fprintf(table, "%5zu %12.0f %9.2f %7.3f %7.3f %10.2f\n", l, selections,
                    load.max_over_mean, load.cv, load.gini, 100 * load.hottest_share);
        } else if (table != NULL && l == SHOWN_LAYERS) {
            fprintf(table, "...   (%zu layers; --json has all)\n", trace->layers);
        }
        status = moe_recorder_write(recorder,
                                    json_pack("{s:s, s:I, s:f, s:o}", "record", "import_layer",
                                              "layer", (json_int_t)l, "selections", selections,
                                              "load", moe_json_load(&load)),
                                    error);
    }
    free(whole);
    free(count);
    return status;
}

static moe_status_t describe_trace(const config_t *c, const moe_trace_t *trace, FILE *table,
                                   moe_recorder_t *recorder, moe_error_t *error)
{
    char text[TRACE_TEXT];
    json_t *record = heading_record("import", c->argc, c->argv);
    json_object_set_new(record, "file", moe_json_text(trace->path));
    json_object_set_new(record, "format", json_string(trace->format));
    json_object_set_new(record, "kind", json_string(trace_kind_name(trace)));
    json_object_set_new(record, "steps", json_integer((json_int_t)trace->steps));
    json_object_set_new(record, "layers", json_integer((json_int_t)trace->layers));
    json_object_set_new(record, "ranks", json_integer((json_int_t)trace->ranks));
    json_object_set_new(record, "experts", json_integer((json_int_t)trace->experts));
    if (trace->kind == MOE_TRACE_CHOICES) {
        json_object_set_new(record, "tokens", json_integer((json_int_t)trace->tokens));
        json_object_set_new(record, "top_k", json_integer((json_int_t)trace->top_k));
        json_object_set_new(record, "has_weights", json_boolean(trace->weight != NULL));
    } else if (trace->kind == MOE_TRACE_MAPS) {
        json_object_set_new(record, "slots", json_integer((json_int_t)trace->slots));
    }
    json_object_set_new(record, "hash", moe_json_hash(trace->hash));
    moe_status_t status = moe_recorder_write(recorder, record, error);
    trace_describe(trace, text);
    if (table != NULL) {
        fprintf(table, "file      %s\nformat    %s%s\nholds     %s\n", trace->path, trace->format,
                trace->packed ? ", packed by gzip" : "", text);
    }
    if (table != NULL && trace->empty_layers > 0) {
        fprintf(table, "          (%zu more layers without any count are left out)\n",
                trace->empty_layers);
    }
    return status == MOE_OK && trace->kind != MOE_TRACE_MAPS
               ? describe_layers(trace, table, recorder, error)
               : status;
}

/* Before anything is printed. */
static moe_status_t check_export(const config_t *c, const moe_trace_t *trace, moe_error_t *error)
{
    const char *export = c->options.value[OPT_EXPORT];
    if (export == NULL) {
        return MOE_OK;
    }
    if (strcmp(export, OWN_FORMAT) == 0 && trace->kind != MOE_TRACE_CHOICES) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "--export moe: only choices of tokens can be written so, and '%.300s' (%s) "
                        "holds none",
                        trace->path, trace->format);
    }
    if (strcmp(export, OWN_FORMAT) != 0 && trace->sent == NULL) {
        return moe_fail(
            error, MOE_BAD_INPUT,
            "--export %s: '%.300s' (%s) says nothing of which rank sends what: route it "
            "with --skew, and export that",
            export, trace->path, trace->format);
    }
    return MOE_OK;
}

/* Selections from rank to rank, as rows of the model's width. */
static moe_status_t write_selections(const config_t *c, const moe_trace_t *trace, FILE *table,
                                     moe_error_t *error)
{
    moe_matrix_t matrix;
    const size_t row = moe_row_bytes(c->dtype, c->model.hidden);
    moe_status_t status = moe_matrix_create(trace->ranks, &matrix, error);
    if (status != MOE_OK) {
        return status;
    }
    for (size_t i = 0; status == MOE_OK && i < trace->ranks * trace->ranks; i++) {
        if (__builtin_mul_overflow(trace->sent[i], row, &matrix.bytes[i])) {
            status = moe_fail(error, MOE_BAD_INPUT, "%zu rows of %zu bytes: too many to send",
                              trace->sent[i], row);
        }
    }
    if (status == MOE_OK) {
        status = pattern_write_matrix(c, &matrix, table, error);
    }
    moe_matrix_destroy(&matrix);
    return status;
}

static moe_status_t import_trace(const config_t *c, const moe_trace_format_t *format, FILE *table,
                                 moe_recorder_t *recorder, moe_error_t *error)
{
    const char *export = c->options.value[OPT_EXPORT];
    moe_trace_t *trace = NULL;
    moe_status_t status =
        moe_trace_read(c->options.file[OPT_IMPORT], format, MOE_TRACE_ANY, &trace, error);
    status = config_name_option(OPT_IMPORT, status, error);
    if (status == MOE_OK) {
        status = check_export(c, trace, error);
    }
    if (status == MOE_OK) {
        status = describe_trace(c, trace, table, recorder, error);
    }
    if (status == MOE_OK && export != NULL) {
        status = strcmp(export, OWN_FORMAT) == 0 ? pattern_write_choices(c, trace, table, error)
                                                 : write_selections(c, trace, table, error);
    }
    moe_trace_destroy(trace);
    return status;
}

/* ---- Matrices ---- */

static moe_status_t describe_matrix(const config_t *c, const moe_matrix_t *matrix,
                                    const char *format, FILE *table, moe_recorder_t *recorder,
                                    moe_error_t *error)
{
    moe_flow_t flow;
    size_t busiest = 0;
    moe_status_t status = moe_matrix_flow(matrix, matrix->ranks, 1, &flow, error);
    if (status != MOE_OK) {
        return status;
    }
    const size_t port = moe_flow_busiest(&flow, &busiest);
    json_t *record = heading_record("import", c->argc, c->argv);
    json_object_set_new(record, "file", moe_json_text(c->options.file[OPT_IMPORT]));
    json_object_set_new(record, "format", json_string(format));
    json_object_set_new(record, "kind", json_string("matrix"));
    json_object_set_new(record, "ranks", json_integer((json_int_t)matrix->ranks));
    json_object_set_new(record, "bytes", moe_json_bytes(&flow.bytes));
    json_object_set_new(record, "busiest_rank", json_integer((json_int_t)busiest));
    json_object_set_new(record, "busiest_rank_bytes", json_integer((json_int_t)port));
    json_object_set_new(record, "matrix_hash", moe_json_hash(flow.hash));
    status = moe_recorder_write(recorder, record, error);
    if (table != NULL) {
        char all[16], wire[16], most[16];
        fprintf(table,
                "file      %s\nformat    %s\nholds     a matrix of %zu ranks: %s, %s of them to "
                "other ranks; hash %016llx\nbusiest   rank %zu: %s in its busier direction\n",
                c->options.file[OPT_IMPORT], format, matrix->ranks,
                moe_format_bytes((double)flow.bytes.logical, all),
                moe_format_bytes((double)flow.bytes.wire, wire), (unsigned long long)flow.hash,
                busiest, moe_format_bytes((double)port, most));
    }
    moe_flow_destroy(&flow);
    return status;
}

static moe_status_t import_matrix(const config_t *c, const moe_matrix_format_t *format, FILE *table,
                                  moe_recorder_t *recorder, moe_error_t *error)
{
    const char *export = c->options.value[OPT_EXPORT];
    const moe_matrix_file_t file = {.path = c->options.file[OPT_IMPORT],
                                    .format = format,
                                    .ranks = c->options.given[OPT_RANKS] ? c->ranks : 0,
                                    .fraction_bytes = c->matrix_bytes};
    moe_matrix_t matrix = {0};
    if (export != NULL && strcmp(export, OWN_FORMAT) == 0) {
        return moe_fail(error, MOE_BAD_INPUT,
                        "--export moe: a matrix has no choices of tokens; export it as nccl-tests, "
                        "ucc, csv or csv-fractions");
    }
    moe_status_t status =
        config_name_option(OPT_IMPORT, moe_matrix_read(&file, &matrix, error), error);
    if (status == MOE_OK) {
        status =
            describe_matrix(c, &matrix, moe_matrix_format_name(format), table, recorder, error);
    }
    if (status == MOE_OK && export != NULL) {
        status = pattern_write_matrix(c, &matrix, table, error);
    }
    moe_matrix_destroy(&matrix);
    return status;
}

/* ---- Which it is ---- */

/* Two or three whole numbers a line without a heading are counts, or a matrix of so many ranks. */
static bool may_be_matrix(const moe_trace_format_t *format, const char *path)
{
    FILE *file =
        strcmp(moe_trace_format_name(format), "counts-csv") == 0 ? fopen(path, "rb") : NULL;
    const int first = file == NULL ? 'l' : fgetc(file);
    if (file != NULL) {
        fclose(file);
    }
    return first != 'l';
}

static moe_status_t find_format(const char *path, const moe_trace_format_t **trace,
                                moe_error_t *error)
{
    const moe_trace_format_t *other;
    *trace = moe_trace_recognise(path, &other);
    const char *second = other != NULL ? moe_trace_format_name(other)
                         : *trace != NULL && may_be_matrix(*trace, path) ? "csv"
                                                                         : NULL;
    return second == NULL
               ? MOE_OK
               : moe_fail(error, MOE_BAD_INPUT,
                          "--import auto: by its beginning '%.600s' may be %s or %s: say "
                          "which",
                          path, moe_trace_format_name(*trace), second);
}

moe_status_t pattern_import(const config_t *c, FILE *table, moe_recorder_t *recorder,
                            moe_error_t *error)
{
    const char *name = c->options.value[OPT_IMPORT], *path = c->options.file[OPT_IMPORT];
    const bool find = strcmp(name, "auto") == 0;
    const moe_trace_format_t *trace = find ? NULL : moe_trace_format_find(name);
    const moe_status_t status = find ? find_format(path, &trace, error) : MOE_OK;
    if (status != MOE_OK) {
        return status;
    }
    if (trace != NULL) {
        return import_trace(c, trace, table, recorder, error);
    }
    return import_matrix(c, find ? moe_matrix_format_of(path) : moe_matrix_format_find(name), table,
                         recorder, error);
}
