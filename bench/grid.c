#include "grid.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void grid_add_row(grid_t *grid)
{
    if (grid->rows == grid->room) {
        const size_t room = grid->room == 0 ? 16 : 2 * grid->room;
        void *moved = realloc(grid->row, room * sizeof *grid->row);
        if (moved == NULL) {
            grid->status = MOE_FAILED;
            return;
        }
        grid->row = moved;
        grid->room = room;
    }
    memset(grid->row[grid->rows++], 0, sizeof *grid->row);
}

void grid_start(grid_t *grid, size_t columns, const char *const *headings)
{
    *grid = (grid_t){.columns = columns};
    grid_add_row(grid);
    for (size_t c = 0; c < columns; c++) {
        grid_cell(grid, c, "%s", headings[c]);
    }
}

/* Text of files that are not trusted must not reach the terminal as commands. */
static void make_plain(char *text)
{
    for (; *text != '\0'; text++) {
        if (iscntrl((unsigned char)*text)) {
            *text = '?';
        }
    }
}

void grid_cell(grid_t *grid, size_t column, const char *format, ...)
{
    if (grid->status != MOE_OK) {
        return;
    }
    char *cell = grid->row[grid->rows - 1][column];
    va_list arguments;
    va_start(arguments, format);
    /* The analyzer forgets va_start() in runs over several files: */
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    vsnprintf(cell, GRID_CELL, format, arguments);
    va_end(arguments);
    make_plain(cell);
}

void grid_print(const grid_t *grid, FILE *out)
{
    size_t width[GRID_COLUMNS] = {0};
    for (size_t r = 0; r < grid->rows; r++) {
        for (size_t c = 0; c < grid->columns; c++) {
            const size_t length = strlen(grid->row[r][c]);
            width[c] = length > width[c] ? length : width[c];
        }
    }
    for (size_t r = 0; r < grid->rows; r++) {
        const char *gap = "";
        for (size_t c = 0; c < grid->columns; c++) {
            const bool last = c + 1 == grid->columns;
            fprintf(out, "%s%-*s", gap, last ? 0 : (int)width[c], grid->row[r][c]);
            gap = "  ";
        }
        fputc('\n', out);
    }
}

void markdown_text(const char *text, FILE *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '<') {
            fputs("&lt;", out);
        } else if (*text == '&') {
            fputs("&amp;", out);
        } else {
            if (strchr("\\`*|[]", *text) != NULL) {
                fputc('\\', out);
            }
            fputc(iscntrl((unsigned char)*text) ? '?' : *text, out);
        }
    }
}

void grid_print_markdown(const grid_t *grid, FILE *out)
{
    for (size_t r = 0; r < grid->rows; r++) {
        for (size_t c = 0; c < grid->columns; c++) {
            fputs(c == 0 ? "| " : " | ", out);
            markdown_text(grid->row[r][c], out);
        }
        fputs(" |\n", out);
        for (size_t c = 0; r == 0 && c < grid->columns; c++) {
            fputs(c + 1 == grid->columns ? "|---|\n" : "|---", out);
        }
    }
    fputc('\n', out);
}

void grid_destroy(grid_t *grid)
{
    free(grid->row);
    *grid = (grid_t){0};
}
