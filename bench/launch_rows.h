/* Repetitions of several launches of the same commands, out of a file of records. */
#ifndef BENCH_LAUNCH_ROWS_H
#define BENCH_LAUNCH_ROWS_H

#include <jansson.h>
#include <stddef.h>

#include "moe/status.h"

/* A measured row, as it occurs once in every launch of its command. */
typedef struct launch_row {
    char *key;       /* command, and what names the row in it */
    json_t *name;    /* style, algorithm, phase, bytes_per_pair, layer, as far as they are there */
    size_t launches; /* that hold it */
    double **values; /* [launches][counts[l]] seconds */
    size_t *counts;  /* [launches] */
} launch_row_t;

typedef struct launch_rows {
    launch_row_t *row;
    size_t rows, room;
    size_t launches; /* run records with a launch number */
} launch_rows_t;

/* Runs without a launch number are passed over. MOE_BAD_INPUT names the file and the line that cannot be
 * read, or says what is missing. */
moe_status_t launch_rows_read(const char *path, launch_rows_t *out, moe_error_t *error);
void launch_rows_destroy(launch_rows_t *rows);

#endif
