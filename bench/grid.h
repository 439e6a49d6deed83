/* A table of texts, printed with columns as wide as they need be, or as Markdown. */
#ifndef BENCH_GRID_H
#define BENCH_GRID_H

#include <stdbool.h>
#include <stdio.h>

#include "moe/status.h"

#define GRID_COLUMNS 12
#define GRID_CELL    240 /* bytes; longer text is cut */

typedef struct grid {
    size_t columns;
    char (*row)[GRID_COLUMNS][GRID_CELL]; /* the first holds the headings */
    size_t rows, room;
    moe_status_t status; /* MOE_FAILED once memory was refused: what came later is missing */
} grid_t;

/* headings[columns] */
void grid_start(grid_t *grid, size_t columns, const char *const *headings);
/* A row of empty cells; grid_cell() fills the last row. */
void grid_add_row(grid_t *grid);
void grid_cell(grid_t *grid, size_t column, const char *format, ...) MOE_PRINTF(3, 4);
void grid_print(const grid_t *grid, FILE *out);
void grid_print_markdown(const grid_t *grid, FILE *out);
void grid_destroy(grid_t *grid);

/* Text with what Markdown would read as markup made harmless. */
void markdown_text(const char *text, FILE *out);

#endif
