#include "csv.h"

#include <string.h>

#include "moe/record.h"
#include "sink.h"

/* A column is a path in the record: "bytes.wire" is the field "wire" of the object "bytes", and its
 * heading is bytes_wire. docs/results.md says what each one means. */
#define MOST_COLUMNS 48

struct moe_csv_kind {
    const char *record;
    const char *columns[MOST_COLUMNS]; /* NULL behind the last */
};

static const moe_csv_kind_t kinds[] = {
    {
        .record = "exchange",
        .columns =
            {
                "record",        "style",      "algorithm",     "phase",      "layer",
                "reps",          "warmup",     "converged",     "median_us",  "ci_low_us",
                "ci_high_us",    "min_us",     "p95_us",        "p99_us",     "slowest_rank",
                "algbw_GBps",    "busbw_GBps", "bound_us",      "efficiency", "bytes.useful",
                "bytes.logical", "bytes.wire", "bytes.padding", "errors",     "bytes_per_pair",
                "step",
            },
    },
    {
        .record = "iteration",
        .columns =
            {
                "record",
                "style",
                "algorithm",
                "pass",
                "layers",
                "reps",
                "warmup",
                "converged",
                "slowest_rank",
                "time_ms.iteration",
                "time_ms.compute",
                "time_ms.metadata",
                "time_ms.permute",
                "time_ms.dispatch",
                "time_ms.combine",
                "time_ms.allreduce",
                "max_ms.iteration",
                "max_ms.compute",
                "max_ms.metadata",
                "max_ms.permute",
                "max_ms.dispatch",
                "max_ms.combine",
                "max_ms.allreduce",
                "max_ms.compute_only",
                "share.a2a",
                "share.serial",
                "share.exposed",
                "ci.a2a_low",
                "ci.a2a_high",
                "ci.serial_low",
                "ci.serial_high",
                "ci.exposed_low",
                "ci.exposed_high",
                "extrapolated_from_layers",
                "step",
            },
    },
    {
        .record = "traffic",
        .columns =
            {
                "record",
                "style",
                "phase",
                "bytes.useful",
                "bytes.logical",
                "bytes.wire",
                "bytes.padding",
                "tiers.self",
                "tiers.intra_node",
                "tiers.inter_node",
                "busiest_rank",
                "metadata_bytes",
                "step",
            },
    },
    {
        .record = "pair",
        .columns =
            {
                "record",
                "from",
                "to",
                "bytes",
                "reps",
                "converged",
                "median_us",
                "ci_low_us",
                "ci_high_us",
                "min_us",
                "GBps",
            },
    },
    {
        .record = "finding",
        .columns =
            {
                "record",
                "evidence",
                "kind",
                "reach",
                "style",
                "algorithm",
                "phase",
                "ranks",
                "hosts",
                "direction",
                "from",
                "to",
                "value_us",
                "others_us",
                "limit_us",
                "ratio",
                "mads",
            },
    },
    {
        .record = "ratio",
        .columns =
            {
                "record",      "a",         "b",
                "of",          "model",     "ranks",
                "style",       "algorithm", "phase",
                "pass",        "layer",     "bytes_per_pair",
                "from",        "to",        "routing_hash",
                "matrix_hash", "a_us",      "a_low_us",
                "a_high_us",   "b_us",      "b_low_us",
                "b_high_us",   "ratio",     "ratio_low",
                "ratio_high",  "method",    "verdict",
            },
    },
    {
        .record = "verdict",
        .columns =
            {
                "record",       "rule",           "severity",  "verdict",    "metric",
                "condition",    "value",          "value_low", "value_high", "baseline",
                "baseline_low", "baseline_high",  "ratio",     "ratio_low",  "ratio_high",
                "why",          "file",           "line",      "of",         "model",
                "ranks",        "style",          "algorithm", "phase",      "pass",
                "layer",        "bytes_per_pair", "from",      "to",         "slowest_rank",
                "slowest_host",
            },
    },
};

const moe_csv_kind_t *moe_csv_find(const char *record)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].record, record) == 0)
            return &kinds[i];
    }
    return NULL;
}

/* RFC 4180: quotes around what holds a comma, a quote or an end of line; quotes inside doubled. */
static void write_text(const char *text, FILE *out)
{
    if (text[strcspn(text, ",\"\r\n")] == '\0') {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

/* "2;3": of texts and whole numbers; other members are left out. */
static void write_list(const json_t *list, FILE *out)
{
    char text[4096] = "";
    size_t used = 0;
    for (size_t i = 0; i < json_array_size(list) && used < sizeof text; i++) {
        const json_t *member = json_array_get(list, i);
        const char *between = i > 0 ? ";" : "";
        if (json_is_string(member))
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", between,
                                     json_string_value(member));
        else if (json_is_integer(member))
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%" JSON_INTEGER_FORMAT,
                                     between, json_integer_value(member));
    }
    write_text(text, out);
}

static void write_value(const json_t *value, FILE *out)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        write_text(json_string_value(value), out);
        break;
    case JSON_INTEGER:
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        fprintf(out, "%.*g", MOE_RECORD_DIGITS, json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        fputs(json_is_true(value) ? "true" : "false", out);
        break;
    case JSON_ARRAY:
        write_list(value, out);
        break;
    default: /* null, or an object where a value was expected: nothing that a cell can hold */
        break;
    }
}

void moe_csv_write_header(const moe_csv_kind_t *kind, FILE *out)
{
    for (size_t c = 0; kind->columns[c] != NULL; c++) {
        if (c > 0)
            fputc(',', out);
        for (const char *letter = kind->columns[c]; *letter != '\0'; letter++)
            fputc(*letter == '.' ? '_' : *letter, out);
    }
    fputc('\n', out);
}

void moe_csv_write_line(const moe_csv_kind_t *kind, const json_t *record, FILE *out)
{
    for (size_t c = 0; kind->columns[c] != NULL; c++) {
        if (c > 0)
            fputc(',', out);
        const json_t *value = moe_json_at(record, kind->columns[c]);
        if (value != NULL)
            write_value(value, out);
    }
    fputc('\n', out);
}
