/* Files of matrices: the operations of a format, and the text that readers walk through. */
#ifndef MOE_TRAFFIC_MATRIX_FILE_H
#define MOE_TRAFFIC_MATRIX_FILE_H

#include <stdio.h>

#include "moe/traffic.h"

/* A whole file in memory, and the place where its reader is. */
typedef struct moe_matrix_text {
    const moe_matrix_file_t *file;
    const char *at, *end; /* a NUL stands at `end` */
    const char *line_start;
    size_t line;   /* from 1 */
    size_t memory; /* bytes that there are, 0: not asked yet */
    /* Values in order of reading, of a matrix that need not be square yet. Whole numbers of bytes fit. */
    double *value;
    size_t count, room;
    moe_error_t *error;
} moe_matrix_text_t;

struct moe_matrix_format {
    const char *name;
    const char *summary; /* one line for help */
    bool (*detect)(const char *head, size_t size);
    /* Fills text->value with *ranks times *ranks numbers of bytes. */
    moe_status_t (*read)(moe_matrix_text_t *text, size_t *ranks);
    /* NULL: it is not written. */
    moe_status_t (*write)(const moe_matrix_t *matrix, FILE *out, moe_error_t *error);
};

extern const moe_matrix_format_t moe_matrix_nccl_tests;
extern const moe_matrix_format_t moe_matrix_ucc;
extern const moe_matrix_format_t moe_matrix_csv;
extern const moe_matrix_format_t moe_matrix_csv_fractions;

/* Refuses with "path:line:column: ", of the place at hand or of another. */
moe_status_t moe_matrix_refuse(moe_matrix_text_t *text, const char *format, ...) MOE_PRINTF(2, 3);
moe_status_t moe_matrix_refuse_at(moe_matrix_text_t *text, size_t line, size_t column,
                                  const char *format, ...) MOE_PRINTF(4, 5);
size_t moe_matrix_column(const moe_matrix_text_t *text);
/* Past white space in the line, and past comments that begin with one of `comments`. */
void moe_matrix_skip_blanks(moe_matrix_text_t *text, const char *comments);
/* Past the end of the line; false at the end of the file. */
bool moe_matrix_next_line(moe_matrix_text_t *text);
/* Does a block of so many bytes fit memory? */
bool moe_matrix_fits(moe_matrix_text_t *text, double bytes);
/* A whole number of digits only, of `length` bytes from here, not taken; it must fit memory. */
moe_status_t moe_matrix_whole(moe_matrix_text_t *text, size_t length, size_t *out);
moe_status_t moe_matrix_add(moe_matrix_text_t *text, double value);

#endif
