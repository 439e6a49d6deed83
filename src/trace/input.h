/* A file that is read once, from its beginning to its end, and not trusted: plain or packed by gzip. */
#ifndef MOE_TRACE_INPUT_H
#define MOE_TRACE_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "moe/status.h"

#define MOE_INPUT_BUFFER ((size_t)64 << 10)

typedef struct moe_input {
    const char *path; /* not owned */
    FILE *file;
    void *unpacker; /* gzFile of zlib; NULL: the file is plain */
    size_t stored;  /* bytes of the file */
    size_t most;    /* bytes that can come of it, unpacked */
    unsigned char *buffer;
    size_t at, end;    /* what is left of the buffer */
    size_t offset;     /* of the buffer's beginning */
    size_t line;       /* from 1, of the byte that comes next */
    size_t line_start; /* offset of its first byte */
    moe_status_t
        status; /* of reading: the end of the file and an error look alike to moe_input_get() */
    moe_error_t *error; /* where it is reported */
} moe_input_t;

/* Only regular files: of others nobody knows how much can come. `error` is used by all calls to come. */
moe_status_t moe_input_open(const char *path, moe_input_t *out, moe_error_t *error);
void moe_input_close(moe_input_t *input);

/* Bytes that can still come. */
size_t moe_input_left(const moe_input_t *input);
/* Offset of the byte that comes next. */
size_t moe_input_offset(const moe_input_t *input);
/* What comes next, at most MOE_INPUT_BUFFER bytes and as many where there are; nothing is taken. */
size_t moe_input_peek(moe_input_t *input, const unsigned char **bytes);
/* Fills the empty buffer; false at the end or after an error. */
bool moe_input_fill(moe_input_t *input);
/* Exactly so many bytes; refuses a file that ends before. */
moe_status_t moe_input_read(moe_input_t *input, void *out, size_t size);
/* Refuses what stands behind the end. */
moe_status_t moe_input_end(moe_input_t *input);

#define MOE_INPUT_END (-1)

/* The next byte, not taken; MOE_INPUT_END. */
static inline int moe_input_look(moe_input_t *input)
{
    return input->at < input->end || moe_input_fill(input) ? input->buffer[input->at]
                                                           : MOE_INPUT_END;
}

/* Takes the byte that was looked at. */
static inline void moe_input_take(moe_input_t *input)
{
    if (input->buffer[input->at++] == '\n') {
        input->line++;
        input->line_start = input->offset + input->at;
    }
}

/* Refuses with "path:line:column: " of the byte that comes next, or of one before it in the same line. An
 * error of reading, which came first, is kept. */
moe_status_t moe_input_refuse(moe_input_t *input, const char *format, ...) MOE_PRINTF(2, 3);
moe_status_t moe_input_refuse_at(moe_input_t *input, size_t line, size_t column, const char *format,
                                 ...) MOE_PRINTF(4, 5);
/* The same with "path: byte N: ". */
moe_status_t moe_input_refuse_byte(moe_input_t *input, size_t offset, const char *format, ...)
    MOE_PRINTF(3, 4);
/* Refuses `bytes` of memory that the file's bytes do not justify: see MOE_TRACE_MEMORY_FACTOR. */
moe_status_t moe_input_allow(moe_input_t *input, size_t bytes);

static inline size_t moe_input_column(const moe_input_t *input)
{
    return input->offset + input->at - input->line_start + 1;
}

#endif
