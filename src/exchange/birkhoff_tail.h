/* Greedy stages for what little is left of a matrix: whole blocks, longest first. */
#ifndef MOE_EXCHANGE_BIRKHOFF_TAIL_H
#define MOE_EXCHANGE_BIRKHOFF_TAIL_H

#include <stdbool.h>
#include <stddef.h>

#include "moe/status.h"

typedef struct moe_birkhoff_block {
    size_t from, to, rows;
    size_t stage;
} moe_birkhoff_block_t;

typedef struct moe_birkhoff_tail {
    bool fits; /* in `most` rows; if not, the rest of this says nothing */
    size_t stages, blocks;
    moe_birkhoff_block_t *block; /* [blocks] */
} moe_birkhoff_tail_t;

/* matrix[ports][ports] as in moe_birkhoff_decompose(). Free *out with moe_birkhoff_free_tail(). */
moe_status_t moe_birkhoff_deal_tail(const size_t *matrix, size_t ports, size_t most,
                                    moe_birkhoff_tail_t *out, moe_error_t *error);
void moe_birkhoff_free_tail(moe_birkhoff_tail_t *tail);

#endif
