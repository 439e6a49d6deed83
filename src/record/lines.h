/* A file of lines that is not trusted: read one by one, none longer than MOE_READ_LINE_BYTES, not more
 * than MOE_READ_FILE_BYTES in all. */
#ifndef MOE_RECORD_LINES_H
#define MOE_RECORD_LINES_H

#include <stdbool.h>
#include <stdio.h>

#include "moe/status.h"

typedef struct moe_lines {
    FILE *file;
    const char *path; /* not owned */
    char *text;       /* the line, without its end; not terminated */
    size_t length, room;
    size_t number;     /* of the line, from 1 */
    size_t bytes_read; /* of the file */
    bool ended;        /* the line has an end: the file goes on, or stops there */
} moe_lines_t;

moe_status_t moe_lines_open(const char *path, moe_lines_t *out, moe_error_t *error);
/* *more: a line was read; false at the end of the file. */
moe_status_t moe_lines_next(moe_lines_t *lines, bool *more, moe_error_t *error);
void moe_lines_close(moe_lines_t *lines);

#endif
