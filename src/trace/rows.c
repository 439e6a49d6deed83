#include "rows.h"

#include <stdlib.h>
#include <string.h>

#include "moe/system.h"

/* Cells of a trace for each piece of it, at most: of pipelines of up to so many stages a rank has the layers of
 * one. */
#define MOST_CELLS_OF_PIECE 64
#define FEW_CELLS           1024

bool moe_row_sound(uint16_t *row, size_t top_k, uint16_t *twice)
{
    size_t chosen = 0;
    for (size_t k = 0; k < top_k; k++) {
        const uint16_t expert = row[k];
        if (expert == MOE_TRACE_NO_EXPERT)
            continue;
        for (size_t i = 0; i < chosen; i++) {
            if (row[i] == expert) {
                *twice = expert;
                return false;
            }
        }
        row[chosen++] = expert;
    }
    while (chosen < top_k)
        row[chosen++] = MOE_TRACE_NO_EXPERT;
    return true;
}

void moe_rows_destroy(moe_rows_t *rows)
{
    free(rows->piece);
    free(rows->expert);
    *rows = (moe_rows_t){0};
}

static moe_status_t make_room(moe_rows_t *rows, moe_input_t *input)
{
    const size_t first_room = 16, room = rows->room == 0 ? first_room : 2 * rows->room;
    const size_t bytes = room * rows->top_k * sizeof *rows->expert;
    if (rows->tokens < rows->room)
        return MOE_OK;
    if (moe_input_allow(input, bytes) != MOE_OK)
        return input->status;
    void *moved = realloc(rows->expert, bytes);
    if (moved == NULL)
        return moe_input_refuse(input, "%zu tokens do not fit memory", room);
    rows->expert = moved;
    rows->room = room;
    return MOE_OK;
}

moe_status_t moe_rows_add(moe_rows_t *rows, moe_input_t *input, const int64_t *row)
{
    if (make_room(rows, input) != MOE_OK)
        return input->status;
    uint16_t *to = rows->expert + rows->tokens * rows->top_k, twice = 0;
    for (size_t k = 0; k < rows->top_k; k++) {
        to[k] = row[k] < 0 ? MOE_TRACE_NO_EXPERT : (uint16_t)row[k];
        if (row[k] >= 0 && (size_t)row[k] >= rows->most)
            rows->most = (size_t)row[k] + 1;
    }
    if (!moe_row_sound(to, rows->top_k, &twice))
        return moe_input_refuse(input, "a token chooses expert %u twice", twice);
    rows->tokens++;
    return MOE_OK;
}

moe_status_t moe_rows_add_piece(moe_rows_t *rows, moe_input_t *input, const moe_piece_t *piece)
{
    const size_t bytes = 2 * (rows->piece_room + 16) * sizeof *piece;
    if (rows->pieces == rows->piece_room && moe_input_allow(input, bytes) != MOE_OK)
        return input->status;
    const moe_status_t status = moe_grow("pieces of a trace", rows->pieces, sizeof *piece,
                                         (void **)&rows->piece, &rows->piece_room, input->error);
    if (status != MOE_OK)
        return input->status = status;
    rows->piece[rows->pieces++] = *piece;
    return MOE_OK;
}

/* ---- Into cells ---- */

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int by_cell(const void *a, const void *b)
{
    const moe_piece_t *x = a, *y = b;
    const int step = compare(x->step, y->step), layer = compare(x->layer, y->layer),
              rank = compare(x->rank, y->rank);
    return step != 0 ? step : layer != 0 ? layer : rank != 0 ? rank : compare(x->first, y->first);
}

static int by_number(const void *a, const void *b)
{
    return compare(*(const uint64_t *)a, *(const uint64_t *)b);
}

/* The numbers that occur, ascending: which piece has which is found by bisection. */
typedef struct numbers {
    uint64_t *number;
    size_t count;
} numbers_t;

static moe_status_t collect(const moe_rows_t *rows, size_t member, numbers_t *out,
                            moe_error_t *error)
{
    void *memory = NULL;
    const moe_status_t status =
        moe_alloc("numbers of a trace", rows->pieces, sizeof(uint64_t), &memory, error);
    if (status != MOE_OK)
        return status;
    out->number = memory;
    for (size_t i = 0; i < rows->pieces; i++)
        memcpy(&out->number[i], (const char *)&rows->piece[i] + member, sizeof(uint64_t));
    qsort(out->number, rows->pieces, sizeof(uint64_t), by_number);
    for (size_t i = 0; i < rows->pieces; i++) {
        if (out->count == 0 || out->number[out->count - 1] != out->number[i])
            out->number[out->count++] = out->number[i];
    }
    return MOE_OK;
}

static size_t place_of(const numbers_t *numbers, uint64_t number)
{
    const uint64_t *found =
        bsearch(&number, numbers->number, numbers->count, sizeof number, by_number);
    return found == NULL ? 0 : (size_t)(found - numbers->number);
}

/* first[] of all cells, from sorted pieces. */
static moe_status_t make_cells(const moe_rows_t *rows, const numbers_t axis[3], moe_input_t *input,
                               moe_trace_t *out)
{
    size_t cells = 0;
    if (__builtin_mul_overflow(axis[0].count, axis[1].count, &cells) ||
        __builtin_mul_overflow(cells, axis[2].count, &cells) ||
        cells > rows->pieces * MOST_CELLS_OF_PIECE + FEW_CELLS)
        return moe_input_refuse(input,
                                "%zu records of %zu steps, %zu layers and %zu ranks: most of it is "
                                "missing",
                                rows->pieces, axis[0].count, axis[1].count, axis[2].count);
    void *first = NULL;
    const moe_status_t status =
        moe_alloc("cells of a trace", cells + 1, sizeof(size_t), &first, input->error);
    if (status != MOE_OK)
        return input->status = status;
    out->first = first;
    out->steps = axis[0].count;
    out->layers = axis[1].count;
    out->ranks = axis[2].count;
    for (size_t i = 0; i < rows->pieces; i++) {
        const moe_piece_t *piece = &rows->piece[i];
        const size_t cell =
            (place_of(&axis[0], piece->step) * out->layers + place_of(&axis[1], piece->layer)) *
                out->ranks +
            place_of(&axis[2], piece->rank);
        out->first[cell + 1] += piece->tokens;
    }
    for (size_t cell = 0; cell < cells; cell++)
        out->first[cell + 1] += out->first[cell];
    return MOE_OK;
}

static moe_status_t check_cells(const moe_rows_t *rows, const numbers_t axis[3], moe_input_t *input,
                                const moe_trace_t *trace)
{
    for (size_t step = 0; step < trace->steps; step++) {
        for (size_t layer = 0; layer < trace->layers; layer++) {
            const size_t *first = trace->first + (step * trace->layers + layer) * trace->ranks;
            if (first[0] == first[trace->ranks])
                return moe_input_refuse_at(
                    input, rows->piece[rows->pieces - 1].line, 1,
                    "step %llu has no tokens in layer %llu, which others have: cut the "
                    "trace to whole steps",
                    (unsigned long long)axis[0].number[step],
                    (unsigned long long)axis[1].number[layer]);
        }
    }
    return MOE_OK;
}

/* The tokens in the order of the cells. */
static moe_status_t move_rows(moe_rows_t *rows, moe_input_t *input, moe_trace_t *out)
{
    const size_t row_bytes = rows->top_k * sizeof *rows->expert;
    bool sorted = true;
    for (size_t i = 0, next = 0; i < rows->pieces; next += rows->piece[i++].tokens)
        sorted = sorted && rows->piece[i].first == next;
    if (sorted) {
        out->expert = rows->expert;
        rows->expert = NULL;
        return MOE_OK;
    }
    void *memory = NULL;
    const moe_status_t status =
        moe_alloc("choices of a trace", rows->tokens, row_bytes, &memory, input->error);
    if (status != MOE_OK)
        return input->status = status;
    out->expert = memory;
    char *to = memory;
    for (size_t i = 0; i < rows->pieces; i++) {
        const moe_piece_t *piece = &rows->piece[i];
        memcpy(to, (const char *)rows->expert + piece->first * row_bytes,
               piece->tokens * row_bytes);
        to += piece->tokens * row_bytes;
    }
    return MOE_OK;
}

moe_status_t moe_rows_finish(moe_rows_t *rows, moe_input_t *input, moe_trace_t *out)
{
    static const size_t members[3] = {offsetof(moe_piece_t, step), offsetof(moe_piece_t, layer),
                                      offsetof(moe_piece_t, rank)};
    numbers_t axis[3] = {{0}};
    if (rows->tokens == 0)
        return moe_input_refuse(input, "there are no choices in this file");
    moe_status_t status = MOE_OK;
    for (size_t i = 0; status == MOE_OK && i < 3; i++)
        status = collect(rows, members[i], &axis[i], input->error);
    if (status == MOE_OK) {
        out->kind = MOE_TRACE_CHOICES;
        out->top_k = rows->top_k;
        out->tokens = rows->tokens;
        out->experts = rows->most;
        qsort(rows->piece, rows->pieces, sizeof *rows->piece, by_cell);
        status = make_cells(rows, axis, input, out);
    }
    if (status == MOE_OK)
        status = check_cells(rows, axis, input, out);
    if (status == MOE_OK)
        status = move_rows(rows, input, out);
    for (size_t i = 0; i < 3; i++)
        free(axis[i].number);
    moe_rows_destroy(rows);
    return status;
}
