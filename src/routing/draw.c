#include "draw.h"

#include <stdlib.h>

#include "moe/system.h"

/* Columns are a power of two, so that a word's upper bits are its column and all columns are
 * equally wide. Two at least: a shift by 32 is undefined. */
static unsigned column_bits(size_t experts)
{
    unsigned bits = 1;
    while ((size_t)1 << bits < experts)
        bits++;
    return bits;
}

/* Vose's algorithm (IEEE Trans. Software Eng. 17, 1991) for Walker's alias method, in integers: a
 * column of `width` words holds what its own expert has, filled up by one expert that has more. */
static void fill_columns(moe_column_t *column, size_t columns, uint64_t width, uint64_t *rest,
                         size_t *stack)
{
    /* One array, two stacks: lacking ones grow from the left, ample ones from the right. */
    size_t lacking = 0, ample = columns;
    for (size_t i = 0; i < columns; i++) {
        if (rest[i] < width)
            stack[lacking++] = i;
        else
            stack[--ample] = i;
    }
    while (lacking > 0 && ample < columns) {
        const size_t poor = stack[--lacking];
        const size_t rich = stack[ample];
        column[poor] =
            (moe_column_t){.limit = (uint32_t)(poor * width + rest[poor]), .other = (uint32_t)rich};
        rest[rich] -= width - rest[poor];
        if (rest[rich] < width) {
            ample++;
            stack[lacking++] = rich;
        }
    }
    /* What is left has exactly one column each. */
    for (; ample < columns; ample++)
        column[stack[ample]] = (moe_column_t){.limit = 0, .other = (uint32_t)stack[ample]};
}

moe_status_t moe_draw_create(const uint64_t *units, size_t experts, moe_draw_t *out,
                             moe_error_t *error)
{
    const unsigned bits = column_bits(experts);
    const size_t columns = (size_t)1 << bits;
    void *column = NULL, *start = NULL, *rest = NULL, *stack = NULL;
    moe_status_t status = moe_alloc("alias table", columns, sizeof(moe_column_t), &column, error);
    if (status == MOE_OK)
        status = moe_alloc("popularity sums", experts + 1, sizeof(uint64_t), &start, error);
    if (status == MOE_OK)
        status = moe_alloc("alias table", columns, sizeof(uint64_t), &rest, error);
    if (status == MOE_OK)
        status = moe_alloc("alias table", columns, sizeof(size_t), &stack, error);
    if (status == MOE_OK) {
        uint64_t *const sum = start, *const left = rest;
        for (size_t e = 0; e < experts; e++) {
            sum[e + 1] = sum[e] + units[e];
            left[e] = units[e];
        }
        fill_columns(column, columns, MOE_MASS / columns, left, stack);
        *out =
            (moe_draw_t){.experts = experts, .shift = 32 - bits, .column = column, .start = start};
    } else {
        free(start);
        free(column);
    }
    free(stack);
    free(rest);
    return status;
}

void moe_draw_destroy(moe_draw_t *draw)
{
    free(draw->start);
    free(draw->column);
}

uint64_t moe_draw_mass_without(const moe_draw_t *draw, const uint32_t *taken, size_t count)
{
    uint64_t mass = MOE_MASS;
    for (size_t i = 0; i < count; i++)
        mass -= draw->start[taken[i] + 1] - draw->start[taken[i]];
    return mass;
}

uint32_t moe_draw_invert(const moe_draw_t *draw, uint64_t place, const uint32_t *taken,
                         size_t count)
{
    /* Every taken expert that lies before the place pushes it on by its width. */
    for (size_t i = 0; i < count && place >= draw->start[taken[i]]; i++)
        place += draw->start[taken[i] + 1] - draw->start[taken[i]];
    size_t low = 0, high = draw->experts; /* start[low] <= place < start[high] */
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (draw->start[middle] <= place)
            low = middle;
        else
            high = middle;
    }
    return (uint32_t)low;
}
