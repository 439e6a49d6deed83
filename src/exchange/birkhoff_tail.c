/* Every stage takes, from the longest block down, what is free of its ports: blocks of a stage are
 * alike in length, and ports wait little for each other. */
#include "birkhoff_tail.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "moe/system.h"

#define NO_STAGE SIZE_MAX

static int longest_first(const void *a, const void *b)
{
    const moe_birkhoff_block_t *x = a, *y = b;
    if (x->rows != y->rows)
        return x->rows < y->rows ? 1 : -1;
    /* The same order on every machine: all ranks must find the same stages. */
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    return (x->to > y->to) - (x->to < y->to);
}

static moe_status_t list_blocks(const size_t *matrix, size_t ports, moe_birkhoff_tail_t *tail,
                                moe_error_t *error)
{
    size_t blocks = 0;
    for (size_t i = 0; i < ports * ports; i++)
        blocks += matrix[i] > 0;
    void *memory;
    const moe_status_t status =
        moe_alloc("the last stages", blocks, sizeof(moe_birkhoff_block_t), &memory, error);
    if (status != MOE_OK)
        return status;
    tail->block = memory;
    for (size_t i = 0; i < ports * ports; i++) {
        if (matrix[i] > 0)
            tail->block[tail->blocks++] = (moe_birkhoff_block_t){
                .from = i / ports, .to = i % ports, .rows = matrix[i], .stage = NO_STAGE};
    }
    qsort(tail->block, tail->blocks, sizeof *tail->block, longest_first);
    return MOE_OK;
}

/* Returns the length of the stage, 0 where no block was left. busy[2][ports]: senders, receivers. */
static size_t deal_stage(moe_birkhoff_tail_t *tail, size_t *first, bool *busy, size_t ports)
{
    size_t length = 0;
    memset(busy, 0, 2 * ports * sizeof *busy);
    while (*first < tail->blocks && tail->block[*first].stage != NO_STAGE)
        ++*first;
    for (size_t i = *first; i < tail->blocks; i++) {
        moe_birkhoff_block_t *block = &tail->block[i];
        if (block->stage != NO_STAGE || busy[block->from] || busy[ports + block->to])
            continue;
        block->stage = tail->stages;
        busy[block->from] = busy[ports + block->to] = true;
        length = block->rows > length ? block->rows : length;
    }
    return length;
}

moe_status_t moe_birkhoff_deal_tail(const size_t *matrix, size_t ports, size_t most,
                                    moe_birkhoff_tail_t *out, moe_error_t *error)
{
    moe_birkhoff_tail_t tail = {.blocks = 0};
    void *busy;
    moe_status_t status = moe_alloc("the last stages", 2 * ports, sizeof(bool), &busy, error);
    if (status != MOE_OK)
        return status;
    status = list_blocks(matrix, ports, &tail, error);
    if (status == MOE_OK) {
        size_t first = 0, length, left = most;
        while ((length = deal_stage(&tail, &first, busy, ports)) > 0 && length <= left) {
            left -= length;
            tail.stages++;
        }
        tail.fits = length == 0;
        *out = tail;
    }
    free(busy);
    return status;
}

void moe_birkhoff_free_tail(moe_birkhoff_tail_t *tail)
{
    free(tail->block);
    *tail = (moe_birkhoff_tail_t){.blocks = 0};
}
