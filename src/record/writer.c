#include <stdlib.h>

#include "csv.h"
#include "moe/record.h"
#include "moe/simulated.h"
#include "sink.h"

struct moe_recorder {
    moe_sink_t json, csv;
    const moe_csv_kind_t *csv_kind; /* of the last line written by this run; NULL: none yet */
    size_t step;                    /* MOE_NO_STEP: records have none */
};

moe_status_t moe_recorder_create(const char *json_path, const char *csv_path, moe_recorder_t **out,
                                 moe_error_t *error)
{
    moe_recorder_t *recorder = calloc(1, sizeof *recorder);
    if (recorder == NULL)
        return moe_fail(error, MOE_FAILED, "the writer of records: out of memory");
    recorder->step = MOE_NO_STEP;
    moe_status_t status = moe_sink_open("--json", json_path, &recorder->json, error);
    if (status != MOE_OK)
        goto destroy;
    status = moe_sink_open("--csv", csv_path, &recorder->csv, error);
    if (status != MOE_OK)
        goto destroy;
    if (moe_sink_same(&recorder->json, &recorder->csv)) {
        status = moe_fail(error, MOE_BAD_INPUT,
                          "--csv: '%s' is where --json writes too: name another file", csv_path);
        goto destroy;
    }
    *out = recorder;
    return MOE_OK;
destroy:
    moe_recorder_destroy(recorder);
    return status;
}

static moe_status_t write_json(moe_sink_t *sink, const json_t *record, moe_error_t *error)
{
    moe_sink_begin(sink);
    if (json_dumpf(record, sink->stream, JSON_COMPACT | JSON_REAL_PRECISION(MOE_RECORD_DIGITS)) !=
            0 &&
        !ferror(sink->stream))
        return moe_fail(error, MOE_FAILED, "%s: a record cannot be put into JSON", sink->option);
    fputc('\n', sink->stream);
    return moe_sink_flush(sink, error);
}

static moe_status_t write_csv(moe_recorder_t *recorder, const json_t *record, moe_error_t *error)
{
    const char *name = json_string_value(json_object_get(record, "record"));
    const moe_csv_kind_t *kind = name == NULL ? NULL : moe_csv_find(name);
    moe_sink_t *sink = &recorder->csv;
    if (kind == NULL)
        return MOE_OK;
    moe_sink_begin(sink);
    if (kind != recorder->csv_kind)
        moe_csv_write_header(kind, sink->stream);
    recorder->csv_kind = kind;
    moe_csv_write_line(kind, record, sink->stream);
    return moe_sink_flush(sink, error);
}

moe_status_t moe_recorder_write(moe_recorder_t *recorder, json_t *record, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    if (recorder == NULL)
        goto release;
    if (record == NULL)
        return moe_fail(error, MOE_FAILED, "a record could not be made: out of memory");
    if (recorder->step != MOE_NO_STEP)
        json_object_set_new(record, "step", json_integer((json_int_t)recorder->step));
    if (moe_simulated())
        json_object_set_new(record, "simulated", json_true());
    if (recorder->json.stream != NULL)
        status = write_json(&recorder->json, record, error);
    if (status == MOE_OK && recorder->csv.stream != NULL)
        status = write_csv(recorder, record, error);
release:
    json_decref(record);
    return status;
}

void moe_recorder_set_step(moe_recorder_t *recorder, size_t step)
{
    if (recorder != NULL)
        recorder->step = step;
}

void moe_recorder_destroy(moe_recorder_t *recorder)
{
    if (recorder == NULL)
        return;
    moe_sink_close(&recorder->csv);
    moe_sink_close(&recorder->json);
    free(recorder);
}
