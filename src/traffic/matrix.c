/* Matrices of bytes between ranks: reading them from files, and what follows from them. */
#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"
#include "moe/traffic.h"
#include "saturate.h"

/* Text of one value: 20 digits of 64 bits, white space, and room for columns that are aligned. */
#define VALUE_TEXT ((size_t)32)
/* Of comments. */
#define COMMENT_TEXT ((size_t)16 << 20)
/* Of a word in a message. */
#define WORD_TEXT 24

moe_status_t moe_matrix_create(size_t ranks, moe_matrix_t *out, moe_error_t *error)
{
    if (ranks == 0)
        return moe_fail(error, MOE_BAD_INPUT, "a matrix of 0 ranks: it needs at least 1");
    void *bytes;
    const moe_status_t status =
        moe_alloc("a matrix of bytes between ranks", ranks,
                  moe_saturating_multiply(ranks, sizeof(size_t)), &bytes, error);
    if (status == MOE_OK)
        *out = (moe_matrix_t){.ranks = ranks, .bytes = bytes};
    return status;
}

void moe_matrix_destroy(moe_matrix_t *matrix)
{
    free(matrix->bytes);
    *matrix = (moe_matrix_t){0};
}

/* ---- Files ---- */

typedef struct cursor {
    const char *path, *at, *end;
    const char *line_start;
    size_t line;         /* from 1 */
    size_t rows, values; /* full rows so far, values so far in this one */
    size_t width;        /* values of the first row; 0: not known yet */
    size_t last_line;    /* of the last row */
    size_t memory;       /* bytes that there are: no block can have more */
} cursor_t;

static size_t column_of(const cursor_t *c)
{
    return (size_t)(c->at - c->line_start) + 1;
}

/* Past white space and comments inside the line. */
static void skip_blanks(cursor_t *c)
{
    while (c->at < c->end && *c->at != '\n' && isspace((unsigned char)*c->at))
        c->at++;
    while (c->at < c->end && *c->at == '#') {
        while (c->at < c->end && *c->at != '\n')
            c->at++;
    }
}

static moe_status_t read_value(cursor_t *c, size_t *out, moe_error_t *error)
{
    const size_t length = strcspn(c->at, " \t\n\v\f\r#");
    const int shown = length < WORD_TEXT ? (int)length : WORD_TEXT;
    size_t value = 0, digits = 0;
    bool fits = true;
    for (; digits < length && isdigit((unsigned char)c->at[digits]); digits++) {
        fits = fits && !__builtin_mul_overflow(value, (size_t)10, &value) &&
               !__builtin_add_overflow(value, (size_t)(c->at[digits] - '0'), &value);
    }
    if (length == 0)
        return moe_fail(error, MOE_BAD_INPUT,
                        "%.256s:%zu:%zu: there is a NUL byte: this is no text", c->path, c->line,
                        column_of(c));
    if (digits < length)
        return moe_fail(error, MOE_BAD_INPUT,
                        "%.256s:%zu:%zu: '%.*s' is not a whole number of bytes, 0 or more (digits "
                        "only)",
                        c->path, c->line, column_of(c), shown, c->at);
    if (!fits || value > c->memory) {
        char have[16];
        return moe_fail(error, MOE_BAD_INPUT,
                        "%.256s:%zu:%zu: '%.*s%s' bytes do not fit memory: %s are available",
                        c->path, c->line, column_of(c), shown, c->at,
                        length > WORD_TEXT ? "..." : "", moe_format_bytes((double)c->memory, have));
    }
    *out = value;
    return MOE_OK;
}

/* At the end of a line that holds values. */
static moe_status_t end_row(cursor_t *c, moe_error_t *error)
{
    if (c->width == 0)
        c->width = c->values;
    if (c->values < c->width)
        return moe_fail(error, MOE_BAD_INPUT,
                        "%.256s:%zu:%zu: the matrix is not square: this row ends after %zu values, "
                        "the first has %zu",
                        c->path, c->line, column_of(c), c->values, c->width);
    c->rows++;
    c->values = 0;
    c->last_line = c->line;
    return MOE_OK;
}

static moe_status_t take_value(cursor_t *c, moe_matrix_t *matrix, moe_error_t *error)
{
    size_t value = 0;
    if (c->width > 0 && (c->values == c->width || c->rows == c->width))
        return moe_fail(error, MOE_BAD_INPUT,
                        "%.256s:%zu:%zu: the matrix is not square: one %s too many after %zu",
                        c->path, c->line, column_of(c), c->rows == c->width ? "row" : "value",
                        c->width);
    const moe_status_t status = read_value(c, &value, error);
    if (status != MOE_OK)
        return status;
    if (c->rows < matrix->ranks && c->values < matrix->ranks)
        matrix->bytes[c->rows * matrix->ranks + c->values] = value;
    c->values++;
    c->at += strcspn(c->at, " \t\n\v\f\r#");
    return MOE_OK;
}

static moe_status_t read_rows(cursor_t *c, moe_matrix_t *matrix, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    while (status == MOE_OK) {
        skip_blanks(c);
        if (c->at < c->end && *c->at != '\n') {
            status = take_value(c, matrix, error);
            continue;
        }
        if (c->values > 0)
            status = end_row(c, error);
        if (c->at == c->end)
            break;
        c->at++;
        c->line++;
        c->line_start = c->at;
    }
    return status;
}

/* What is wrong with the whole. */
static moe_status_t check_shape(const cursor_t *c, size_t ranks, moe_error_t *error)
{
    if (c->rows == 0)
        return moe_fail(error, MOE_BAD_INPUT, "%.256s:%zu:1: there is no matrix in this file",
                        c->path, c->line);
    if (c->rows < c->width)
        return moe_fail(error, MOE_BAD_INPUT,
                        "%.256s:%zu:1: the matrix is not square: it ends after %zu rows of %zu "
                        "values",
                        c->path, c->last_line, c->rows, c->width);
    if (c->rows != ranks)
        return moe_fail(
            error, MOE_BAD_INPUT,
            "%.256s:%zu:1: a matrix of %zu ranks, and there are %zu: start %zu, or give "
            "another matrix",
            c->path, c->last_line, c->rows, ranks, c->rows);
    return MOE_OK;
}

moe_status_t moe_matrix_read(const char *path, size_t ranks, moe_matrix_t *out, moe_error_t *error)
{
    moe_matrix_t matrix = {0};
    char *text = NULL;
    size_t size = 0;
    moe_status_t status = moe_matrix_create(ranks, &matrix, error);
    if (status != MOE_OK)
        return status;
    const size_t values = moe_saturating_multiply(ranks * ranks, VALUE_TEXT);
    status = moe_file_read(path, moe_saturating_add(values, COMMENT_TEXT), &text, &size, error);
    if (status == MOE_OK) {
        cursor_t c = {.path = path,
                      .at = text,
                      .end = text + size,
                      .line_start = text,
                      .line = 1,
                      .memory = moe_memory_available()};
        status = read_rows(&c, &matrix, error);
        if (status == MOE_OK)
            status = check_shape(&c, ranks, error);
    }
    free(text);
    if (status != MOE_OK) {
        moe_matrix_destroy(&matrix);
        return status;
    }
    *out = matrix;
    return MOE_OK;
}

/* ---- What follows from it ---- */

size_t moe_matrix_sent(const moe_matrix_t *matrix, size_t rank)
{
    size_t sum = 0;
    for (size_t to = 0; to < matrix->ranks; to++)
        sum = moe_saturating_add(sum, matrix->bytes[rank * matrix->ranks + to]);
    return sum;
}

size_t moe_matrix_received(const moe_matrix_t *matrix, size_t rank)
{
    size_t sum = 0;
    for (size_t from = 0; from < matrix->ranks; from++)
        sum = moe_saturating_add(sum, matrix->bytes[from * matrix->ranks + rank]);
    return sum;
}

static size_t common_divisor(size_t a, size_t b)
{
    while (b != 0) {
        const size_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

size_t moe_matrix_row_bytes(const moe_matrix_t *matrix)
{
    size_t common = 0, most = 0;
    for (size_t i = 0; i < matrix->ranks * matrix->ranks; i++)
        common = common_divisor(common, matrix->bytes[i]);
    for (size_t rank = 0; rank < matrix->ranks; rank++) {
        const size_t sent = moe_matrix_sent(matrix, rank), got = moe_matrix_received(matrix, rank);
        most = sent > most ? sent : most;
        most = got > most ? got : most;
    }
    size_t row = common < MOE_MATRIX_ROW_LIMIT ? common : MOE_MATRIX_ROW_LIMIT;
    while (row > 1 && common % row != 0)
        row--;
    if (row == 0)
        return 1;
    return most / row > INT_MAX ? common : row;
}

moe_status_t moe_matrix_flow(const moe_matrix_t *matrix, size_t ranks_per_node, size_t row_bytes,
                             moe_flow_t *out, moe_error_t *error)
{
    moe_flow_t flow;
    const moe_status_t status =
        moe_flow_create(matrix->ranks, ranks_per_node, row_bytes, &flow, error);
    if (status != MOE_OK)
        return status;
    for (size_t from = 0; from < matrix->ranks; from++) {
        for (size_t to = 0; to < matrix->ranks; to++) {
            const size_t rows = matrix->bytes[from * matrix->ranks + to] / row_bytes;
            moe_flow_add_rows(&flow, from, to, rows, 0);
            moe_flow_add_useful(&flow, rows, row_bytes);
        }
    }
    *out = flow;
    return MOE_OK;
}
