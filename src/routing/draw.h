/* Drawing one expert in proportion to popularity: by an alias table, or, with some experts left
 * out, by inversion. Both give the same law exactly, in integers. */
#ifndef MOE_ROUTING_DRAW_H
#define MOE_ROUTING_DRAW_H

#include <stddef.h>
#include <stdint.h>

#include "moe/status.h"
#include "popularity.h"

/* One column of the alias table: words below `limit` are the column's own expert, others
 * `other`. */
typedef struct moe_column {
    uint32_t limit; /* counted from word 0, not from the column's first */
    uint32_t other;
} moe_column_t;

typedef struct moe_draw {
    size_t experts;
    unsigned shift;       /* a word's column is word >> shift */
    moe_column_t *column; /* [2^(32 - shift)] at least 2, at least `experts` */
    uint64_t *start;      /* [experts + 1] running sums of the units; the last is MOE_MASS */
} moe_draw_t;

moe_status_t moe_draw_create(const uint64_t *units, size_t experts, moe_draw_t *out,
                             moe_error_t *error);
void moe_draw_destroy(moe_draw_t *draw);

/* The expert of a 32-bit word. */
static inline uint32_t moe_draw_pick(const moe_draw_t *draw, uint32_t word)
{
    const uint32_t own = word >> draw->shift;
    const moe_column_t column = draw->column[own];
    /* Without a branch: which of the two it is cannot be foreseen. */
    const uint32_t mask = (uint32_t)0 - (uint32_t)(word < column.limit);
    return column.other ^ ((column.other ^ own) & mask);
}

/* The units of all experts but those in taken[count], which are ascending. */
uint64_t moe_draw_mass_without(const moe_draw_t *draw, const uint32_t *taken, size_t count);
/* The expert at `place`, counted in units along all experts but those taken; place <
 * moe_draw_mass_without(). */
uint32_t moe_draw_invert(const moe_draw_t *draw, uint64_t place, const uint32_t *taken,
                         size_t count);

#endif
