#include "matrix_file.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "../system/quote.h"
#include "moe/system.h"
#include "saturate.h"

/* Text of one value: 20 digits of 64 bits, white space, and room for columns that are aligned. */
#define VALUE_TEXT ((size_t)32)
/* Of comments. */
#define COMMENT_TEXT ((size_t)16 << 20)
/* Of a file whose number of ranks is not known before: 16,384 ranks with room to spare. */
#define FILE_TEXT ((size_t)4 << 30)
/* Of a word in a message. */
#define WORD_TEXT 24
/* Of blocks that every machine has memory for: how much there is, is asked for larger ones only. */
#define SMALL_BYTES ((double)(1 << 20))
/* What is looked at to tell formats apart. */
#define HEAD_BYTES 4096

/* The last takes what no other knows. */
static const moe_matrix_format_t *const formats[] = {
    &moe_matrix_ucc, &moe_matrix_csv, &moe_matrix_csv_fractions, &moe_matrix_nccl_tests};
#define FORMATS (sizeof formats / sizeof formats[0])

const moe_matrix_format_t *moe_matrix_format_at(size_t index)
{
    return index < FORMATS ? formats[index] : NULL;
}

const moe_matrix_format_t *moe_matrix_format_find(const char *name)
{
    for (size_t i = 0; i < FORMATS; i++) {
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    }
    return NULL;
}

const char *moe_matrix_format_name(const moe_matrix_format_t *format)
{
    return format->name;
}

const char *moe_matrix_format_summary(const moe_matrix_format_t *format)
{
    return format->summary;
}

static const moe_matrix_format_t *detect(const char *head, size_t size)
{
    size_t i = 0;
    while (i + 1 < FORMATS && !formats[i]->detect(head, size < HEAD_BYTES ? size : HEAD_BYTES))
        i++;
    return formats[i];
}

const moe_matrix_format_t *moe_matrix_format_of(const char *path)
{
    char head[HEAD_BYTES];
    FILE *file = fopen(path, "rb");
    const size_t size = file == NULL ? 0 : fread(head, 1, sizeof head, file);
    if (file != NULL)
        fclose(file);
    return detect(head, size);
}

/* ---- Walking through the text ---- */

size_t moe_matrix_column(const moe_matrix_text_t *text)
{
    return (size_t)(text->at - text->line_start) + 1;
}

static moe_status_t refuse(moe_matrix_text_t *text, size_t line, size_t column, const char *format,
                           va_list values)
{
    char reason[MOE_ERROR_TEXT / 2];
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    vsnprintf(reason, sizeof reason, format, values);
    return moe_fail(text->error, MOE_BAD_INPUT, MOE_QUOTED ":%zu:%zu: %s",
                    MOE_QUOTE(text->file->path, 400), line, column, reason);
}

moe_status_t moe_matrix_refuse(moe_matrix_text_t *text, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    const moe_status_t status = refuse(text, text->line, moe_matrix_column(text), format, values);
    va_end(values);
    return status;
}

moe_status_t moe_matrix_refuse_at(moe_matrix_text_t *text, size_t line, size_t column,
                                  const char *format, ...)
{
    va_list values;
    va_start(values, format);
    const moe_status_t status = refuse(text, line, column, format, values);
    va_end(values);
    return status;
}

void moe_matrix_skip_blanks(moe_matrix_text_t *text, const char *comments)
{
    while (text->at < text->end && *text->at != '\n' && isspace((unsigned char)*text->at))
        text->at++;
    if (text->at < text->end && *text->at != '\0' && strchr(comments, *text->at) != NULL) {
        while (text->at < text->end && *text->at != '\n')
            text->at++;
    }
}

bool moe_matrix_next_line(moe_matrix_text_t *text)
{
    while (text->at < text->end && *text->at != '\n')
        text->at++;
    if (text->at == text->end)
        return false;
    text->at++;
    text->line++;
    text->line_start = text->at;
    return true;
}

bool moe_matrix_fits(moe_matrix_text_t *text, double bytes)
{
    if (bytes <= SMALL_BYTES)
        return true;
    if (text->memory == 0)
        text->memory = moe_memory_available();
    return bytes <= (double)text->memory;
}

moe_status_t moe_matrix_whole(moe_matrix_text_t *text, size_t length, size_t *out)
{
    const int shown = length < WORD_TEXT ? (int)length : WORD_TEXT;
    size_t value = 0, digits = 0;
    bool fits = true;
    for (; digits < length && isdigit((unsigned char)text->at[digits]); digits++) {
        fits = fits && !__builtin_mul_overflow(value, (size_t)10, &value) &&
               !__builtin_add_overflow(value, (size_t)(text->at[digits] - '0'), &value);
    }
    if (length == 0)
        return moe_matrix_refuse(text, "there is a NUL byte: this is no text");
    if (digits < length)
        return moe_matrix_refuse(text,
                                 "'%.*s' is not a whole number of bytes, 0 or more (digits only)",
                                 shown, text->at);
    if (!fits || !moe_matrix_fits(text, (double)value)) {
        char have[16];
        text->memory = text->memory == 0 ? moe_memory_available() : text->memory;
        return moe_matrix_refuse(text, "'%.*s%s' bytes do not fit memory: %s are available", shown,
                                 text->at, length > WORD_TEXT ? "..." : "",
                                 moe_format_bytes((double)text->memory, have));
    }
    *out = value;
    return MOE_OK;
}

moe_status_t moe_matrix_add(moe_matrix_text_t *text, double value)
{
    const moe_status_t status = moe_grow("a matrix", text->count, sizeof value,
                                         (void **)&text->value, &text->room, text->error);
    if (status == MOE_OK)
        text->value[text->count++] = value;
    return status;
}

/* ---- Reading and writing ---- */

static moe_status_t hand_over(moe_matrix_text_t *text, size_t ranks, moe_matrix_t *out)
{
    const size_t wanted = text->file->ranks;
    moe_matrix_t matrix;
    if (wanted != 0 && ranks != wanted)
        return moe_matrix_refuse_at(text, text->line, 1,
                                    "a matrix of %zu ranks, and there are %zu: start %zu, or give "
                                    "another matrix",
                                    ranks, wanted, ranks);
    const moe_status_t status = moe_matrix_create(ranks, &matrix, text->error);
    for (size_t i = 0; status == MOE_OK && i < ranks * ranks; i++)
        matrix.bytes[i] = (size_t)text->value[i];
    if (status == MOE_OK)
        *out = matrix;
    return status;
}

moe_status_t moe_matrix_read(const moe_matrix_file_t *file, moe_matrix_t *out, moe_error_t *error)
{
    char *bytes = NULL;
    size_t size = 0, ranks = 0;
    const size_t values =
        moe_saturating_multiply(moe_saturating_multiply(file->ranks, file->ranks), VALUE_TEXT);
    const size_t limit = file->ranks == 0 ? FILE_TEXT : moe_saturating_add(values, COMMENT_TEXT);
    moe_status_t status = moe_file_read(file->path, limit, &bytes, &size, error);
    if (status != MOE_OK)
        return status;
    moe_matrix_text_t text = {.file = file,
                              .at = bytes,
                              .end = bytes + size,
                              .line_start = bytes,
                              .line = 1,
                              .error = error};
    const moe_matrix_format_t *format = file->format != NULL ? file->format : detect(bytes, size);
    status = format->read(&text, &ranks);
    if (status == MOE_OK)
        status = hand_over(&text, ranks, out);
    free(text.value);
    free(bytes);
    return status;
}

moe_status_t moe_matrix_write(const moe_matrix_t *matrix, const moe_matrix_format_t *format,
                              const char *path, moe_error_t *error)
{
    FILE *out = fopen(path, "w");
    if (out == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "cannot write '" MOE_QUOTED "': %s",
                        MOE_QUOTE_PATH(path), strerror(errno));
    const moe_status_t status = format->write(matrix, out, error);
    const bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed)
        return status != MOE_OK
                   ? status
                   : moe_fail(error, MOE_FAILED, "'" MOE_QUOTED "' could not be written",
                              MOE_QUOTE_PATH(path));
    return status;
}
