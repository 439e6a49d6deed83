/* Matrices of a line for each source: the format of nccl-tests' alltoallv (white space between values), and CSV
 * of bytes or, as in NVIDIA/nccl-tests #157, of fractions of a message. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "matrix_file.h"

/* Of a number with a point. */
#define NUMBER_TEXT 64

typedef struct rows {
    moe_matrix_text_t *text;
    bool commas;         /* between values; else white space */
    const char *ends;    /* of a value */
    size_t rows, values; /* full rows so far, values so far in this one */
    size_t width;        /* values of the first row; 0: not known yet */
    size_t last_line;    /* of the last row */
    /* The first value that can only be a fraction, and the first that can only be bytes; line 0: none. */
    size_t fraction_line, fraction_column, bytes_line, bytes_column;
} rows_t;

/* At the end of a line that holds values. */
static moe_status_t end_row(rows_t *r)
{
    if (r->width == 0)
        r->width = r->values;
    if (r->values < r->width)
        return moe_matrix_refuse(r->text,
                                 "the matrix is not square: this row ends after %zu values, the "
                                 "first has %zu",
                                 r->values, r->width);
    r->rows++;
    r->values = 0;
    r->last_line = r->text->line;
    return MOE_OK;
}

/* A number with a point or an exponent. */
static moe_status_t read_fraction(rows_t *r, size_t length, double *out)
{
    moe_matrix_text_t *text = r->text;
    char number[NUMBER_TEXT], *end;
    const size_t kept = length < NUMBER_TEXT ? length : NUMBER_TEXT - 1;
    memcpy(number, text->at, kept);
    number[kept] = '\0';
    const double value = strtod(number, &end);
    if (length >= NUMBER_TEXT || *end != '\0' || strspn(number, "0123456789.eE+-") != kept ||
        !(value >= 0 && value <= 1))
        return moe_matrix_refuse(text,
                                 "'%.24s' is neither a whole number of bytes nor a fraction "
                                 "between 0 and 1",
                                 number);
    if (r->fraction_line == 0 && value != 0 && value != 1) {
        r->fraction_line = text->line;
        r->fraction_column = moe_matrix_column(text);
    }
    *out = value;
    return MOE_OK;
}

static moe_status_t read_value(rows_t *r, size_t length, double *out)
{
    moe_matrix_text_t *text = r->text;
    size_t whole = 0;
    if (r->commas && length > 0 && strcspn(text->at, ".eE") < length)
        return read_fraction(r, length, out);
    const moe_status_t status = moe_matrix_whole(text, length, &whole);
    if (status == MOE_OK && whole > 1 && r->bytes_line == 0) {
        r->bytes_line = text->line;
        r->bytes_column = moe_matrix_column(text);
    }
    *out = (double)whole;
    return status;
}

static moe_status_t take_value(rows_t *r)
{
    moe_matrix_text_t *text = r->text;
    double value = 0;
    if (r->width > 0 && (r->values == r->width || r->rows == r->width))
        return moe_matrix_refuse(text, "the matrix is not square: one %s too many after %zu",
                                 r->rows == r->width ? "row" : "value", r->width);
    const size_t length = strcspn(text->at, r->ends);
    moe_status_t status = read_value(r, length, &value);
    if (status == MOE_OK)
        status = moe_matrix_add(text, value);
    if (status != MOE_OK)
        return status;
    r->values++;
    text->at += length;
    if (!r->commas)
        return MOE_OK;
    moe_matrix_skip_blanks(text, "#");
    if (text->at == text->end || *text->at == '\n')
        return MOE_OK;
    if (*text->at != ',')
        return moe_matrix_refuse(text, "',' or the end of the line must come");
    text->at++;
    moe_matrix_skip_blanks(text, "");
    return text->at < text->end && *text->at != '\n'
               ? MOE_OK
               : moe_matrix_refuse(text, "a value must come behind the last ','");
}

static moe_status_t read_rows(rows_t *r)
{
    moe_matrix_text_t *text = r->text;
    for (;;) {
        moe_status_t status = MOE_OK;
        moe_matrix_skip_blanks(text, "#");
        if (text->at < text->end && *text->at != '\n') {
            status = take_value(r);
            if (status != MOE_OK)
                return status;
            continue;
        }
        if (r->values > 0)
            status = end_row(r);
        if (status != MOE_OK || !moe_matrix_next_line(text))
            return status;
    }
}

/* What is wrong with the whole. */
static moe_status_t check_shape(rows_t *r, size_t *ranks)
{
    moe_matrix_text_t *text = r->text;
    if (r->rows == 0)
        return moe_matrix_refuse_at(text, text->line, 1, "there is no matrix in this file");
    if (r->rows < r->width)
        return moe_matrix_refuse_at(
            text, r->last_line, 1, "the matrix is not square: it ends after %zu rows of %zu values",
            r->rows, r->width);
    text->line = r->last_line;
    *ranks = r->rows;
    return MOE_OK;
}

/* ---- nccl-tests ---- */

static bool detect_any(const char *head, size_t size)
{
    (void)head;
    (void)size;
    return true;
}

static moe_status_t read_nccl_tests(moe_matrix_text_t *text, size_t *ranks)
{
    rows_t rows = {.text = text, .ends = " \t\n\v\f\r#"};
    const moe_status_t status = read_rows(&rows);
    return status == MOE_OK ? check_shape(&rows, ranks) : status;
}

static moe_status_t write_rows(const moe_matrix_t *matrix, FILE *out, char separator)
{
    for (size_t i = 0; i < matrix->ranks * matrix->ranks; i++)
        fprintf(out, "%zu%c", matrix->bytes[i], (i + 1) % matrix->ranks == 0 ? '\n' : separator);
    return MOE_OK;
}

static moe_status_t write_nccl_tests(const moe_matrix_t *matrix, FILE *out, moe_error_t *error)
{
    (void)error;
    return write_rows(matrix, out, ' ');
}

const moe_matrix_format_t moe_matrix_nccl_tests = {
    .name = "nccl-tests",
    .summary = "bytes with white space between them, a line for each source",
    .detect = detect_any,
    .read = read_nccl_tests,
    .write = write_nccl_tests,
};

/* ---- CSV ---- */

/* A comma in the first line with values. */
static bool detect_csv(const char *head, size_t size)
{
    bool comment = false, digit = false;
    for (size_t i = 0; i < size; i++) {
        comment = head[i] == '#' || (comment && head[i] != '\n');
        if (comment)
            continue;
        if (head[i] == ',')
            return true;
        if (head[i] == '\n' && digit)
            return false;
        digit = digit || (head[i] >= '0' && head[i] <= '9');
    }
    return false;
}

/* Fractions where some value can only be one, or none is above 1. */
static moe_status_t make_bytes(rows_t *r, bool fractions)
{
    moe_matrix_text_t *text = r->text;
    const size_t whole = text->file->fraction_bytes;
    size_t used = 0;
    while (used < text->count && text->value[used] == 0)
        used++;
    if (used == text->count) /* nothing, in whatever unit */
        return MOE_OK;
    if ((fractions || r->fraction_line != 0) && r->bytes_line != 0)
        return moe_matrix_refuse_at(text, r->bytes_line, r->bytes_column,
                                    "a number of bytes in a file of fractions%s",
                                    fractions ? "" : ", which begin further up or down");
    if (whole == 0)
        return moe_matrix_refuse_at(text, r->last_line, 1,
                                    "the file holds fractions of a message: its size must be given "
                                    "(--matrix-bytes)");
    for (size_t i = 0; i < text->count; i++) {
        text->value[i] = floor(text->value[i] * (double)whole);
        if (!moe_matrix_fits(text, text->value[i]))
            return moe_matrix_refuse_at(text, r->last_line, 1, "%.0f bytes do not fit memory",
                                        text->value[i]);
    }
    return MOE_OK;
}

static moe_status_t read_commas(moe_matrix_text_t *text, size_t *ranks, bool fractions)
{
    rows_t rows = {.text = text, .commas = true, .ends = ", \t\n\v\f\r#"};
    moe_status_t status = read_rows(&rows);
    if (status == MOE_OK)
        status = check_shape(&rows, ranks);
    if (status == MOE_OK && (fractions || rows.fraction_line != 0 || rows.bytes_line == 0))
        status = make_bytes(&rows, fractions);
    return status;
}

static moe_status_t read_csv(moe_matrix_text_t *text, size_t *ranks)
{
    return read_commas(text, ranks, false);
}

static moe_status_t read_csv_fractions(moe_matrix_text_t *text, size_t *ranks)
{
    return read_commas(text, ranks, true);
}

static moe_status_t write_csv(const moe_matrix_t *matrix, FILE *out, moe_error_t *error)
{
    (void)error;
    return write_rows(matrix, out, ',');
}

/* Of the largest block, in as many digits as bring every byte back. */
static moe_status_t write_csv_fractions(const moe_matrix_t *matrix, FILE *out, moe_error_t *error)
{
    size_t most = 0;
    (void)error;
    for (size_t i = 0; i < matrix->ranks * matrix->ranks; i++)
        most = matrix->bytes[i] > most ? matrix->bytes[i] : most;
    for (size_t i = 0; i < matrix->ranks * matrix->ranks; i++) {
        double part = most > 0 ? (double)matrix->bytes[i] / (double)most : 0;
        /* A product that is rounded down a hair below its whole number would lose a byte. */
        while (floor(part * (double)most) < (double)matrix->bytes[i])
            part = nextafter(part, 2);
        fprintf(out, "%.17g%c", part, (i + 1) % matrix->ranks == 0 ? '\n' : ',');
    }
    return MOE_OK;
}

const moe_matrix_format_t moe_matrix_csv = {
    .name = "csv",
    .summary = "bytes, or fractions of a message, with commas between them, a line for each source",
    .detect = detect_csv,
    .read = read_csv,
    .write = write_csv,
};

static bool detect_never(const char *head, size_t size)
{
    (void)head;
    (void)size;
    return false;
}

const moe_matrix_format_t moe_matrix_csv_fractions = {
    .name = "csv-fractions",
    .summary = "fractions of the largest block, with commas between them, a line for each source",
    .detect = detect_never,
    .read = read_csv_fractions,
    .write = write_csv_fractions,
};
