/* Choices of tokens as they arrive, in pieces of one (step, layer, rank), into the cells of a trace. */
#ifndef MOE_TRACE_ROWS_H
#define MOE_TRACE_ROWS_H

#include "format.h"

/* Consecutive tokens of one cell. Numbers as the file has them: they need be neither dense nor in order. */
typedef struct moe_piece {
    uint64_t step, layer, rank;
    size_t first, tokens;
    size_t line; /* where it stands */
} moe_piece_t;

typedef struct moe_rows {
    size_t top_k; /* 0: not known yet */
    uint16_t *expert;
    size_t tokens, room; /* of tokens */
    size_t most;         /* one more than the largest number of an expert */
    moe_piece_t *piece;
    size_t pieces, piece_room;
} moe_rows_t;

void moe_rows_destroy(moe_rows_t *rows);
/* A token: row[rows->top_k] with -1 for none. Refuses an expert that is chosen twice. */
moe_status_t moe_rows_add(moe_rows_t *rows, moe_input_t *input, const int64_t *row);
moe_status_t moe_rows_add_piece(moe_rows_t *rows, moe_input_t *input, const moe_piece_t *piece);
/* Sorts into cells and hands over to the trace; the rows are empty then. Refuses where a layer has no tokens
 * in a step. */
moe_status_t moe_rows_finish(moe_rows_t *rows, moe_input_t *input, moe_trace_t *out);

/* A row of choices: those that are none move behind the others; false where one stands there twice, *twice:
 * which. */
bool moe_row_sound(uint16_t *row, size_t top_k, uint16_t *twice);

#endif
