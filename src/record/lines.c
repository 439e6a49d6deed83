#include "lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../system/quote.h"
#include "moe/record.h"

#define FIRST_ROOM ((size_t)4096)

/* The length that a file states is looked at before anything of it is read; pipes state none. */
static moe_status_t check_length(const moe_lines_t *lines, moe_error_t *error)
{
    struct stat about;
    if (fstat(fileno(lines->file), &about) == 0 && S_ISREG(about.st_mode) &&
        (unsigned long long)about.st_size > MOE_READ_FILE_BYTES)
        return moe_fail(error, MOE_BAD_INPUT,
                        "'" MOE_QUOTED
                        "' has %lld bytes, and at most %zu are read of a result file",
                        MOE_QUOTE_PATH(lines->path), (long long)about.st_size, MOE_READ_FILE_BYTES);
    return MOE_OK;
}

moe_status_t moe_lines_open(const char *path, moe_lines_t *out, moe_error_t *error)
{
    moe_lines_t lines = {.path = path, .file = fopen(path, "rb")};
    if (lines.file == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "cannot open '" MOE_QUOTED "': %s",
                        MOE_QUOTE_PATH(path), strerror(errno));
    const moe_status_t status = check_length(&lines, error);
    if (status != MOE_OK) {
        fclose(lines.file);
        return status;
    }
    *out = lines;
    return MOE_OK;
}

static moe_status_t too_long(const moe_lines_t *lines, moe_error_t *error)
{
    const bool line = lines->length >= MOE_READ_LINE_BYTES;
    return moe_fail(error, MOE_BAD_INPUT,
                    "" MOE_QUOTED ":%zu: %s is longer than the %zu bytes that are read of one",
                    MOE_QUOTE_PATH(lines->path), lines->number, line ? "the line" : "the file",
                    line ? MOE_READ_LINE_BYTES : MOE_READ_FILE_BYTES);
}

static moe_status_t append(moe_lines_t *lines, char letter, moe_error_t *error)
{
    if (lines->length >= MOE_READ_LINE_BYTES || lines->bytes_read > MOE_READ_FILE_BYTES)
        return too_long(lines, error);
    if (lines->length == lines->room) {
        const size_t room = lines->room == 0 ? FIRST_ROOM : 2 * lines->room;
        char *moved = realloc(lines->text, room);
        if (moved == NULL)
            return moe_fail(error, MOE_BAD_INPUT, "'" MOE_QUOTED "' does not fit memory",
                            MOE_QUOTE_PATH(lines->path));
        lines->text = moved;
        lines->room = room;
    }
    lines->text[lines->length++] = letter;
    return MOE_OK;
}

moe_status_t moe_lines_next(moe_lines_t *lines, bool *more, moe_error_t *error)
{
    moe_status_t status = MOE_OK;
    lines->length = 0;
    lines->number++;
    int letter = getc_unlocked(lines->file);
    *more = letter != EOF;
    while (status == MOE_OK && letter != EOF && letter != '\n') {
        lines->bytes_read++;
        status = append(lines, (char)letter, error);
        letter = getc_unlocked(lines->file);
    }
    lines->bytes_read++;
    lines->ended = letter == '\n';
    if (status == MOE_OK && ferror(lines->file))
        return moe_fail(error, MOE_BAD_INPUT, "cannot read '" MOE_QUOTED "': %s",
                        MOE_QUOTE_PATH(lines->path), strerror(errno));
    return status;
}

void moe_lines_close(moe_lines_t *lines)
{
    fclose(lines->file);
    free(lines->text);
}
