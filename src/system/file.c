#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"
#include "quote.h"

#define FIRST_CAPACITY 4096

/* Doubles, up to `most`. */
static size_t next_capacity(size_t capacity, size_t most)
{
    if (capacity > most / 2)
        return most;
    const size_t doubled = capacity == 0 ? FIRST_CAPACITY : 2 * capacity;
    return doubled < most ? doubled : most;
}

/* Not by the file's stated length: pipes and /proc state none. */
static moe_status_t read_stream(FILE *file, const char *path, size_t limit, char **text,
                                size_t *size, moe_error_t *error)
{
    const size_t most =
        limit < SIZE_MAX - 1 ? limit + 1 : SIZE_MAX - 1; /* one past the limit shows */
    char *buffer = NULL;
    size_t capacity = 0, length = 0;
    do {
        capacity = next_capacity(capacity, most);
        char *moved = realloc(buffer, capacity + 1); /* + 1: the NUL */
        if (moved == NULL) {
            free(buffer);
            return moe_fail(error, MOE_BAD_INPUT, "'" MOE_QUOTED "' does not fit memory",
                            MOE_QUOTE_PATH(path));
        }
        buffer = moved;
        length += fread(buffer + length, 1, capacity - length, file);
    } while (length == capacity && capacity < most);

    if (ferror(file)) {
        const int why = errno;
        free(buffer);
        return moe_fail(error, MOE_BAD_INPUT, "cannot read '" MOE_QUOTED "': %s",
                        MOE_QUOTE_PATH(path), strerror(why));
    }
    if (length > limit) {
        free(buffer);
        return moe_fail(error, MOE_BAD_INPUT,
                        "'" MOE_QUOTED "' is longer than the %zu bytes that are read of such a "
                        "file",
                        MOE_QUOTE_PATH(path), limit);
    }
    buffer[length] = '\0';
    *text = buffer;
    *size = length;
    return MOE_OK;
}

moe_status_t moe_file_read(const char *path, size_t limit, char **text, size_t *size,
                           moe_error_t *error)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return moe_fail(error, MOE_BAD_INPUT, "cannot open '" MOE_QUOTED "': %s",
                        MOE_QUOTE_PATH(path), strerror(errno));
    const moe_status_t status = read_stream(file, path, limit, text, size, error);
    fclose(file);
    return status;
}
